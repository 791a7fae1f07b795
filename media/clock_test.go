package media

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeyframeRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		start := time.Now()
		k := &keyframes{}
		k.send = func() {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(start))
		}
		check := func(what string, want ...time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(at) != len(want) {
				t.Fatalf("%s: sent at %v, want %v", what, at, want)
			}
			for i := range want {
				if at[i] != want[i] {
					t.Fatalf("%s: sent at %v, want %v", what, at, want)
				}
			}
		}
		const ms = time.Millisecond
		for range 100 {
			k.ask(keyframeGap)
		}
		check("a storm", 0)
		<-time.After(50 * ms)
		k.ask(joinerGap) // sooner than the one that waits
		<-time.After(50 * ms)
		check("a newcomer", 0, 100*ms)
		<-time.After(2 * time.Second)
		check("silence", 0, 100*ms)
		for range 1000 { // a request a millisecond for a second
			k.ask(keyframeGap)
			<-time.After(ms)
		}
		check("a long storm", 0, 100*ms, 2100*ms, 2600*ms, 3100*ms)
		k.ask(keyframeGap)
		k.close()
		<-time.After(time.Second)
		k.ask(keyframeGap)
		check("closed", 0, 100*ms, 2100*ms, 2600*ms, 3100*ms)
	})
}

func TestSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []bool
		s := newSpeech(func(on bool) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, on)
		})
		hear := func(n int, level uint8) {
			for range n {
				s.heard(level)
				<-time.After(20 * time.Millisecond)
			}
		}
		check := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(told) != want || want > 0 && told[want-1] != (want%2 == 1) {
				t.Fatalf("%s: told %v", what, told)
			}
		}
		hear(2, 20)
		hear(100, 80)
		check("a click", 0)
		hear(3, 20)
		check("a word", 1)
		hear(30, 80) // 600 ms
		hear(5, 30)
		hear(30, 80)
		check("a breath", 1)
		hear(20, 127)
		check("silence", 2)
		hear(10, 20)
		<-time.After(time.Minute)
		check("muted", 4)
		hear(10, 20)
		s.close()
		s.close()
		check("gone", 6)
		s.heard(1)
		check("after all", 6)
	})
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		var done []int
		gate := make(chan struct{})
		q.push(func() { <-gate })
		synctest.Wait() // it runs
		for i := range backlog {
			if !q.push(func() { done = append(done, i) }) {
				t.Fatalf("job %d refused", i)
			}
		}
		if q.push(func() {}) {
			t.Error("one too many taken")
		}
		q.post(func() { done = append(done, backlog) })
		close(gate)
		synctest.Wait()
		if len(done) != backlog+1 || done[0] != 0 || done[backlog] != backlog {
			t.Errorf("done %v", done)
		}
		done = nil
		gate = make(chan struct{})
		q.push(func() { <-gate })
		synctest.Wait()
		q.push(func() { done = append(done, 1) })
		q.close(func() { done = append(done, 2) })
		q.close(func() { done = append(done, 3) })
		q.post(func() { done = append(done, 4) })
		close(gate)
		synctest.Wait()
		if len(done) != 2 || done[0] != 1 || done[1] != 2 {
			t.Errorf("done %v", done)
		}
	})
}

func TestQueueRescues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rescued := 0
		q := queue{rescue: func() {
			if recover() != nil {
				rescued++
			}
		}}
		q.push(func() { panic("bug") })
		ran := false
		q.push(func() { ran = true })
		synctest.Wait()
		if rescued != 1 || !ran {
			t.Errorf("rescued %d, went on: %v", rescued, ran)
		}
	})
}
