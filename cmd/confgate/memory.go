package main

import (
	"bytes"
	"io/fs"
	"log/slog"
	"math"
	"path"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"
)

// cgroupShare is how much of what a cgroup allows is the Go runtime's, in percent.
// The rest is for the kernel's side of sockets, which counts too.
const cgroupShare = 85

// limitMemory gives the runtime a limit where nobody else did, by what the cgroup
// allows, so that it collects garbage in time; and gives the limit, 0 if there is
// none.
func limitMemory(root fs.FS, log *slog.Logger) int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit < math.MaxInt64 {
		return limit // GOMEMLIMIT
	}
	allowed := cgroupLimit(root)
	if allowed == 0 {
		return 0
	}
	limit = allowed / 100 * cgroupShare
	debug.SetMemoryLimit(limit)
	log.Info("memory is limited", "bytes", limit, "cgroup_bytes", allowed)
	return limit
}

// noLimit is from where on version 1 means none: the largest number of whole pages.
const noLimit = 1 << 60

// cgroupLimit gives how many bytes this process's cgroup allows, or one that it is
// in, in version 2 or 1; 0: no limit. Where a container sees only its own part of the
// tree, the path that the kernel tells leads nowhere, and the root has the limit.
func cgroupLimit(root fs.FS) (limit int64) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(fields) < 3 {
			continue
		}
		tree, file := "sys/fs/cgroup", "memory.max"
		switch {
		case fields[1] == "memory":
			tree, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case fields[1] != "":
			continue
		}
		for folder := path.Clean("/" + fields[2]); ; folder = path.Dir(folder) {
			if n := readLimit(root, path.Join(tree, folder, file)); n > 0 && (limit == 0 || n < limit) {
				limit = n
			}
			if folder == "/" {
				break
			}
		}
	}
	return limit
}

func readLimit(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= noLimit { // "max"
		return 0
	}
	return n
}

// memory tells when there is too little of it for new clients and calls.
type memory struct {
	limit uint64 // bytes; 0: none
	guard uint64 // percent of it that may be used; 0: all
	used  func() uint64

	mu    sync.Mutex
	asked time.Time // guarded by mu
	full  bool      // guarded by mu
}

// memorySpan is how long an answer holds: asking costs some microseconds.
const memorySpan = 100 * time.Millisecond

// isFull reports whether there should not be more.
func (m *memory) isFull() bool {
	if m.limit == 0 || m.guard == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.Sub(m.asked) >= memorySpan {
		m.asked, m.full = now, m.used() >= m.limit/100*m.guard
	}
	return m.full
}

// usedMemory is what of the runtime's memory cannot be had back: all but what is
// free, given back, or garbage by the last collection. Near the limit, that is never
// long ago.
func usedMemory() uint64 {
	samples := []runtimemetrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	runtimemetrics.Read(samples)
	value := func(i int) uint64 { return samples[i].Value.Uint64() }
	total, released, free, objects, live := value(0), value(1), value(2), value(3), value(4)
	garbage := objects - min(objects, live)
	return total - min(total, released+free+garbage)
}
