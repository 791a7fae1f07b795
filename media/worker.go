package media

import (
	"time"

	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
)

// worker takes packets in bursts, as many as one read gives, and forwards them when
// the burst is over: what a publisher sends at once goes out at once. Each reader
// of the port has one; it is worked on by one goroutine at a time.
type worker struct {
	plane *Plane
	batch *batch
	now   time.Time // of the burst
	fresh []*track  // that have something to forward

	// Scratch.
	check  *stun.Message
	header rtp.Header
	plain  []byte
	copies []copyTo
}

func newWorker(p *Plane, b *batch) *worker {
	return &worker{plane: p, batch: b, check: stun.New(), plain: make([]byte, 0, maxSealed)}
}

// read takes what comes to a socket until it is closed.
func (p *Plane) read(h *host, index int) {
	s, in, w := h.sockets[index], newInbox(), newWorker(p, newBatch(index))
	for {
		n, err := s.receive(in)
		if err != nil {
			return
		}
		w.now = p.now()
		for i := range n {
			if b, from := in.packet(i); b != nil {
				w.take(b, path{host: h, to: from})
			}
		}
		w.flush()
	}
}

// take takes one packet and tells by its first byte what it is (RFC 7983). What is
// not a check is heard only from where a check came before.
func (w *worker) take(b []byte, from path) {
	if len(b) == 0 {
		return
	}
	if b[0] < 4 {
		w.plane.answerCheck(b, from, w.check, w.now)
		return
	}
	k := w.plane.links.at(from)
	if k == nil {
		w.plane.stats.strangers.Add(1)
		return
	}
	switch first := b[0]; {
	case first >= 20 && first < 64:
		k.dtls(b)
	case first >= 128 && first < 192 && len(b) > 12:
		w.media(k, b)
	default:
		w.plane.stats.refused.Add(1)
	}
}

// media takes a packet of SRTP or SRTCP, which the payload type tells apart (RFC
// 5761 section 4).
func (w *worker) media(k *link, b []byte) {
	keys := k.keys.Load()
	if keys == nil {
		return
	}
	defer k.leg.rescue()
	if b[1] >= 192 && b[1] <= 223 {
		plain, err := keys.openReport(w.plain, b)
		if err != nil {
			w.plane.stats.refused.Add(1)
			return
		}
		k.heard(w.now)
		k.leg.report(w, plain)
		return
	}
	if k.leg.dir != uplink {
		return // a subscriber has nothing to send
	}
	if !k.leg.reception.take(w, keys, b) {
		w.plane.stats.refused.Add(1)
		return
	}
	k.heard(w.now)
}

// heard notes that something authentic came from the client: it is there, and has
// the keys, so that the handshake is of no more use.
func (k *link) heard(now time.Time) {
	k.checked.Store(now.UnixNano())
	if !k.agreed.Load() && k.agreed.CompareAndSwap(false, true) {
		k.leg.queue.post(k.letGo)
	}
}

// flush forwards what the burst brought.
func (w *worker) flush() {
	for i, t := range w.fresh {
		t.forward(w)
		w.fresh[i] = nil
	}
	w.fresh = w.fresh[:0]
	w.plane.flush(w.batch)
}

// flush sends what a batch has, and counts what of it is lost.
func (p *Plane) flush(b *batch) {
	b.flush()
	if b.lost > 0 {
		p.stats.dropped.Add(uint64(b.lost))
		b.lost = 0
	}
}
