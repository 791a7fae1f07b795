package media

import "time"

// rewriter gives one subscriber's stream continuous sequence numbers and
// timestamps, whoever publishes. Within one source, both differ from the source's
// by a constant, so that what is missing or late there is missing or late here,
// and a number always means the same packet: SRTP must never see it used for two.
type rewriter struct {
	source *track

	first  int64  // the source's index at which it began; what is older is not sent
	offset int64  // our index minus the source's
	shift  uint32 // our timestamp minus the source's

	pictures pictureShift // our numbers of pictures minus the source's

	// The furthest packet sent: our index, timestamp and numbers, and when that was.
	high      int64
	highStamp uint32
	highIDs   pictureIDs
	highAt    time.Time
}

// begin lets a source go on where the one before it stopped: with the next number,
// and a timestamp as much later as time has passed. rate is in Hz.
func (w *rewriter) begin(source *track, p *packet, rate uint32, now time.Time) {
	if w.source == nil {
		// A low start, so that a receiver that misses the first packets cannot
		// mistake the first turn-over of the numbers (RFC 3711 section 3.3.1).
		w.high = 1<<16 + int64(uint16(p.index)&0x3fff)
		w.shift, w.pictures = 0, pictureShift{}
	} else {
		passed := now.Sub(w.highAt)
		ticks := uint32(max(1, passed.Nanoseconds()*int64(rate)/int64(time.Second)))
		w.shift = w.highStamp + ticks - p.stamp
		w.pictures = p.ids.after(w.highIDs)
	}
	w.source, w.first, w.offset = source, p.index, w.high+1-p.index
}

// next numbers a packet of the source; ok is false for one from before it began.
func (w *rewriter) next(p *packet, now time.Time) (seq uint16, out uint32, ok bool) {
	if p.index < w.first {
		return 0, 0, false
	}
	mine := p.index + w.offset
	out = p.stamp + w.shift
	if mine > w.high {
		w.high, w.highStamp, w.highIDs, w.highAt = mine, out, p.ids.plus(w.pictures), now
	}
	return uint16(mine), out, true
}

// find gives the source's index of a packet that was sent as seq.
func (w *rewriter) find(seq uint16) (index int64, ok bool) {
	mine := w.high + int64(int16(seq-uint16(w.high)))
	index = mine - w.offset
	return index, w.source != nil && mine <= w.high && index >= w.first
}
