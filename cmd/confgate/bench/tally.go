package bench

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// span is a range of sequence numbers: from is in it, to is not.
type span struct{ from, to uint32 }

func (s span) len() uint64 { return uint64(s.to - s.from) }

// window is the time whose packets count: those stamped from its opening on and
// before its closing, in nanoseconds of the run's clock.
type window struct{ from, to atomic.Int64 }

func newWindow() *window {
	w := new(window)
	w.from.Store(math.MaxInt64)
	w.to.Store(math.MaxInt64)
	return w
}

func (w *window) holds(at int64) bool { return at >= w.from.Load() && at < w.to.Load() }

// open is how long the window was open.
func (w *window) open() time.Duration { return time.Duration(w.to.Load() - w.from.Load()) }

// maxSeq bounds what a ledger remembers, and so what a run can send on one track:
// two hours of 500 packets a second.
const maxSeq = 1 << 22

// ledger holds which of one track's packets came to one receiver. It knows each by
// its number, so order does not matter and nothing is estimated.
type ledger struct {
	mu   sync.Mutex
	seen bitmap // guarded by mu
}

// add notes a packet; it reports whether it is the first of its number.
func (l *ledger) add(seq uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen.set(seq)
}

// count gives how many different packets of s came.
func (l *ledger) count(s span) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen.count(s)
}

// into adds what came to all, the union over a track's receivers.
func (l *ledger) into(all *bitmap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all.add(l.seen)
}

// bitmap is a set of small numbers.
type bitmap []uint64

// set adds i, which is below maxSeq, and reports whether it was missing.
func (b *bitmap) set(i uint32) bool {
	word, bit := int(i/64), uint64(1)<<(i%64)
	for word >= len(*b) {
		*b = append(*b, 0)
	}
	fresh := (*b)[word]&bit == 0
	(*b)[word] |= bit
	return fresh
}

func (b *bitmap) add(o bitmap) {
	for len(*b) < len(o) {
		*b = append(*b, 0)
	}
	for i, w := range o {
		(*b)[i] |= w
	}
}

// count gives how many numbers of s are in the set.
func (b *bitmap) count(s span) uint64 {
	var n int
	for i, w := range *b {
		low := uint32(i) * 64
		if low+64 <= s.from || low >= s.to {
			continue
		}
		if low < s.from {
			w &= math.MaxUint64 << (s.from - low)
		}
		if s.to-low < 64 {
			w &= 1<<(s.to-low) - 1
		}
		n += bits.OnesCount64(w)
	}
	return uint64(n)
}

// tracklog is when a sender sent each packet of one track, by number.
type tracklog struct {
	mu sync.Mutex
	at []int64 // guarded by mu; ascending
}

func (t *tracklog) add(at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = append(t.at, at)
}

// within gives the numbers of the packets that w holds.
func (t *tracklog) within(w *window) span {
	t.mu.Lock()
	defer t.mu.Unlock()
	return span{from: firstAt(t.at, w.from.Load()), to: firstAt(t.at, w.to.Load())}
}

// outcome is what became of the packets of a window, over all pairs of sender and
// receiver.
type outcome struct {
	expected, received uint64
	// lostIn counts, once for each receiver, packets that came to nobody: they
	// were lost on the way to the gateway or in it. The others that are missing
	// were lost on the way from it to their receivers.
	lostIn uint64
}

func (o outcome) lost() uint64 { return o.expected - o.received }

// loss is the share of expected packets that did not come. Where nothing was
// expected nothing was lost.
func (o outcome) loss() float64 {
	if o.expected == 0 {
		return 0
	}
	return float64(o.lost()) / float64(o.expected)
}

// judge compares what one track's sender sent with what came. receivers is how many
// there should be; those that never came about have no ledger and received nothing.
func judge(sent span, receivers int, ledgers []*ledger) outcome {
	o := outcome{expected: sent.len() * uint64(receivers)}
	var anyone bitmap
	for _, l := range ledgers {
		o.received += l.count(sent)
		l.into(&anyone)
	}
	if receivers > 0 {
		o.lostIn = (sent.len() - anyone.count(sent)) * uint64(receivers)
	}
	return o
}

func (o outcome) plus(p outcome) outcome {
	return outcome{o.expected + p.expected, o.received + p.received, o.lostIn + p.lostIn}
}
