package media

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// numbers are what a receiver reports of a source (RFC 3550 appendix A).
type numbers struct {
	began      bool
	base, high uint32 // extended sequence numbers
	count      uint32 // of packets

	expectedBefore, countBefore uint32 // when it was last reported

	jitter  float64 // in units of the timestamp
	transit uint32

	sent uint32 // the middle of the last sender report's NTP time
	at   time.Time
}

// arrived counts a packet. rate is of timestamps, in Hz.
func (n *numbers) arrived(h *rtp.Header, rate uint32, now time.Time) {
	arrival := uint32(now.UnixMicro() * int64(rate) / 1e6)
	transit := arrival - h.Timestamp
	if !n.began {
		n.began = true
		n.base = 1<<16 + uint32(h.SequenceNumber)
		n.high = n.base
	} else if n.went(h.SequenceNumber) {
		d := float64(int32(transit - n.transit))
		n.jitter += (max(d, -d) - n.jitter) / 16
	}
	n.transit = transit
	n.count++
}

// went goes on to a sequence number. One that is far ahead is of a source that has
// begun anew, rather than of one that has lost as much (RFC 3550 appendix A.1); went
// reports false then. SRTP takes none that is far behind.
func (n *numbers) went(seq uint16) bool {
	ahead := int16(seq - uint16(n.high))
	if ahead > 0 {
		n.high += uint32(ahead)
	}
	if ahead <= maxGap {
		return true
	}
	n.base, n.count = n.high, 0
	n.expectedBefore, n.countBefore = 0, 0
	return false
}

// reported notes a sender report.
func (n *numbers) reported(sr *rtcp.SenderReport, now time.Time) {
	n.sent, n.at = uint32(sr.NTPTime>>16), now
}

// reception makes the report (RFC 3550 section 6.4.1).
func (n *numbers) reception(ssrc uint32, now time.Time) rtcp.ReceptionReport {
	r := rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: n.high - 1<<16, Jitter: uint32(n.jitter), LastSenderReport: n.sent}
	if !n.at.IsZero() {
		r.Delay = uint32(now.Sub(n.at).Seconds() * 65536)
	}
	if !n.began {
		return r
	}
	expected := n.high - n.base + 1
	r.TotalLost = uint32(max(0, min(1<<23-1, int64(expected)-int64(n.count))))
	due, got := expected-n.expectedBefore, n.count-n.countBefore
	n.expectedBefore, n.countBefore = expected, n.count
	if lost := int64(due) - int64(got); due > 0 && lost > 0 {
		r.FractionLost = uint8(min(255, lost*256/int64(due)))
	}
	return r
}

// missing are the packets of a track that have not come, though later ones have.
type missing struct {
	all []gap
}

type gap struct {
	index int64
	asked int
	at    time.Time
}

// Bounds of asking: a packet that has been asked for so often does not exist, and a
// gap that long is not a gap.
const (
	maxMissing = 128
	maxAsked   = 10
	askAgain   = 60 * time.Millisecond
)

// add notes the packets between two that came.
func (m *missing) add(from, to int64) {
	for i := max(from, to-maxMissing); i < to; i++ {
		if len(m.all) == maxMissing {
			copy(m.all, m.all[1:])
			m.all = m.all[:maxMissing-1]
		}
		m.all = append(m.all, gap{index: i})
	}
}

// came takes out one that has come after all.
func (m *missing) came(index int64) {
	for i := range m.all {
		if m.all[i].index == index {
			m.all = append(m.all[:i], m.all[i+1:]...)
			return
		}
	}
}

// ask gives the sequence numbers to ask for now.
func (m *missing) ask(now time.Time) (seqs []uint16) {
	kept := m.all[:0]
	for _, g := range m.all {
		if now.Sub(g.at) >= askAgain {
			if g.asked == maxAsked {
				continue
			}
			g.asked++
			g.at = now
			seqs = append(seqs, uint16(g.index))
		}
		kept = append(kept, g)
	}
	m.all = kept
	return seqs
}
