package main

import (
	"runtime"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

func TestCgroupLimit(t *testing.T) {
	const slice = "sys/fs/cgroup/system.slice/"
	for name, tt := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"none":          {nil, 0},
		"version 2":     {map[string]string{"proc/self/cgroup": "0::/system.slice/a.service\n", slice + "a.service/memory.max": "1000000\n"}, 1e6},
		"no limit":      {map[string]string{"proc/self/cgroup": "0::/system.slice/a.service\n", slice + "a.service/memory.max": "max\n"}, 0},
		"of a parent":   {map[string]string{"proc/self/cgroup": "0::/system.slice/a.service\n", slice + "a.service/memory.max": "9000\n", slice + "memory.max": "5000\n"}, 5000},
		"in a cell":     {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "7000\n"}, 7000},
		"outside of it": {map[string]string{"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "7000\n"}, 7000},
		"version 1": {map[string]string{"proc/self/cgroup": "12:cpu,cpuacct:/d\n5:memory:/docker/abc\n0::/\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "4000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4000},
		"version 1 in a cell": {map[string]string{"proc/self/cgroup": "5:memory:/docker/abc\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000\n"}, 4000},
		"nonsense":            {map[string]string{"proc/self/cgroup": "what\n::\n0::/\n", "sys/fs/cgroup/memory.max": "-5"}, 0},
	} {
		root := fstest.MapFS{}
		for file, text := range tt.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := cgroupLimit(root); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestMemoryGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		used := uint64(849)
		asked := 0
		m := &memory{limit: 1000, guard: 85, used: func() uint64 { asked++; return used }}
		for range 100 {
			if m.isFull() {
				t.Fatal("full")
			}
		}
		used = 850
		<-time.After(memorySpan)
		if !m.isFull() || asked != 2 {
			t.Errorf("not full, asked %d times", asked)
		}
		used = 1
		<-time.After(memorySpan)
		if m.isFull() {
			t.Error("full for ever")
		}
		for _, m := range []*memory{{guard: 85, used: m.used}, {limit: 1, used: m.used}} {
			if m.isFull() {
				t.Error("full without a limit")
			}
		}
	})
}

// What is used is what is held, not what was.
func TestUsedMemory(t *testing.T) {
	const held, gone = 64 << 20, 96 << 20
	runtime.GC()
	before := usedMemory()
	keep := make([]byte, held)
	for range 3 {
		_ = append([]byte(nil), make([]byte, gone/3)...)
	}
	runtime.GC()
	runtime.GC()
	if n := int64(usedMemory()) - int64(before); n < held/2 || n > held+gone/2 {
		t.Errorf("%d bytes are held, and %d seem to be", held, n)
	}
	runtime.KeepAlive(keep)
}
