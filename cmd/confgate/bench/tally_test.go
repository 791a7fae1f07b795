package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestJudge(t *testing.T) {
	const n = 200
	sent := span{from: 70, to: 170}
	come := func(l *ledger, skip ...uint32) *ledger {
		for _, i := range rand.Perm(n) { // in any order
			if !slices.Contains(skip, uint32(i)) {
				l.add(uint32(i))
			}
		}
		return l
	}
	for _, c := range []struct {
		name    string
		ledgers []*ledger
		want    outcome
	}{
		{"all came", []*ledger{come(new(ledger)), come(new(ledger))}, outcome{expected: 200, received: 200}},
		{"outside the window", []*ledger{come(new(ledger), 69, 170), come(new(ledger))}, outcome{expected: 200, received: 200}},
		{"one lost one", []*ledger{come(new(ledger), 70), come(new(ledger), 169)}, outcome{expected: 200, received: 198}},
		{"both lost the same", []*ledger{come(new(ledger), 100, 128), come(new(ledger), 100)}, outcome{expected: 200, received: 197, lostIn: 2}},
		{"one never came about", []*ledger{come(new(ledger))}, outcome{expected: 200, received: 100}},
		{"nobody came about", nil, outcome{expected: 200, lostIn: 200}},
	} {
		if got := judge(sent, 2, c.ledgers); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	sum := outcome{expected: 10, received: 9, lostIn: 1}.plus(outcome{expected: 30, received: 29})
	if sum.lost() != 2 || sum.loss() != 0.05 || sum.lostIn != 1 {
		t.Errorf("%+v: lost %d, loss %g", sum, sum.lost(), sum.loss())
	}
	if none := (outcome{}).loss(); none != 0 {
		t.Errorf("nothing expected: loss %g", none)
	}
}

// TestCount compares with counting one by one.
func TestCount(t *testing.T) {
	var b bitmap
	model := make(map[uint32]bool)
	for range 500 {
		i := rand.Uint32N(1000)
		if fresh := b.set(i); fresh == model[i] {
			t.Errorf("set(%d) = %t", i, fresh)
		}
		model[i] = true
	}
	for range 2000 {
		s := span{from: rand.Uint32N(1200), to: rand.Uint32N(1200)}
		if s.from > s.to {
			s.from, s.to = s.to, s.from
		}
		var want uint64
		for i := range model {
			if i >= s.from && i < s.to {
				want++
			}
		}
		if got := b.count(s); got != want {
			t.Fatalf("count(%v) = %d, want %d", s, got, want)
		}
	}
}

// TestWindow: what is counted is what was sent from the opening on and before the
// closing, to the packet.
func TestWindow(t *testing.T) {
	w := newWindow()
	var log tracklog
	for at := range int64(100) {
		log.add(at * 10)
	}
	if s := log.within(w); s.len() != 0 || w.holds(10) {
		t.Errorf("a window that was never opened holds %v", s)
	}
	w.from.Store(500)
	if s := log.within(w); s != (span{50, 100}) {
		t.Errorf("open window holds %v", s)
	}
	w.to.Store(700)
	if s := log.within(w); s != (span{50, 70}) {
		t.Errorf("window holds %v", s)
	}
	for at, want := range map[int64]bool{499: false, 500: true, 699: true, 700: false} {
		if w.holds(at) != want {
			t.Errorf("holds(%d) = %t", at, !want)
		}
	}
}

func TestSpread(t *testing.T) {
	var s, o spread
	for i := range 1000 {
		d := time.Duration(i+1) * 100 * time.Microsecond
		if i%2 == 0 {
			s.add(d)
		} else {
			o.add(d)
		}
	}
	s.merge(&o)
	for q, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond} {
		got := s.quantile(q)
		if off := float64(got-want) / float64(want); off < -0.01 || off > 0.07 {
			t.Errorf("quantile(%g) = %v, want about %v", q, got, want)
		}
	}
	if sum := s.summary(); sum.N != 1000 || sum.Max != 100 {
		t.Errorf("summary %+v", sum)
	}
	s.add(-time.Second)
	s.add(time.Hour) // neither panics
	if new(spread).summary() != (summary{}) {
		t.Error("an empty spread has a summary")
	}
}

func TestSpreadBuckets(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < 2*time.Minute; d += d/40 + 300 {
		i := bucketOf(d)
		if i < last || i >= spreadSize {
			t.Fatalf("%v is in bucket %d after %d", d, i, last)
		}
		if i < spreadSize-1 && (bucketEnd(i) < d || i > 0 && bucketEnd(i-1) >= d) {
			t.Fatalf("%v is in bucket %d, from %v to %v", d, i, bucketEnd(i-1), bucketEnd(i))
		}
		last = i
	}
}

func TestSummarize(t *testing.T) {
	var all []time.Duration
	for i := 100; i >= 0; i-- {
		all = append(all, time.Duration(i)*time.Millisecond)
	}
	if got, want := summarize(all), (summary{101, 50, 99, 100}); got != want {
		t.Errorf("summarize = %+v, want %+v", got, want)
	}
	if summarize(nil) != (summary{}) {
		t.Error("no samples have a summary")
	}
}

func TestBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		done := make(chan error)
		go func() { done <- b.await(t.Context(), func(p progress) bool { return p.joined > 0 && p.flowing > 1 }) }()
		b.note(func(p *progress, _ *timings) { p.joined++ })
		b.note(func(p *progress, _ *timings) { p.flowing++ })
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("too early: %v", err)
		default:
		}
		b.note(func(p *progress, _ *timings) { p.flowing++ })
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFaultsAreBounded(t *testing.T) {
	b := newBoard()
	for i := range 3 * maxFaults {
		b.fault("%d", i)
	}
	now, _, faults := b.read()
	if now.faults != 3*maxFaults || len(faults) != maxFaults {
		t.Errorf("%d faults, %d kept", now.faults, len(faults))
	}
}
