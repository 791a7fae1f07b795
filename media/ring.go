package media

// packet is an RTP packet as it came in.
type packet struct {
	index   int64 // its sequence number, counted on past 65535
	stamp   uint32
	marker  bool
	format  format
	key     bool // it begins a key frame
	primary int  // of RED: where the primary block begins
	ids     pictureIDs
	payload []byte // without padding
	size    int    // of all of it
}

// ring keeps a track's latest packets, at the place that their index gives them. It
// also is where loss and repetition show.
type ring struct {
	slots []slot
	first int64 // index of the first packet
	high  int64 // the highest index so far; 0 before the first packet
	lost  uint64
}

type slot struct {
	packet packet
	buffer []byte // that packet.payload is part of
	waits  bool   // it has not been forwarded yet
}

// maxGap is how far a sequence number may jump ahead in one stream (RFC 3550
// appendix A.1, MAX_DROPOUT); beyond it, the sender has begun anew.
const maxGap = 3000

// newRing makes a ring of size packets, a power of two.
func newRing(size int) *ring { return &ring{slots: make([]slot, size)} }

// index counts on from the highest index to the one that seq must mean.
func (r *ring) index(seq uint16) int64 {
	if r.high == 0 {
		return 1<<16 + int64(seq)
	}
	return r.high + int64(int16(seq-uint16(r.high)))
}

func (r *ring) at(index int64) *slot { return &r.slots[index&int64(len(r.slots)-1)] }

// put keeps p, which lies in buffer, and gives a buffer to read the next packet
// into. It is not fresh when it was there already or is too old to tell.
func (r *ring) put(p packet, buffer []byte) (spare []byte, fresh bool) {
	switch {
	case r.slots == nil:
		return buffer, false
	case r.high == 0:
		r.first = p.index
	case p.index > r.high:
		r.countLost(p.index)
	case p.index <= r.high-int64(len(r.slots)) || r.at(p.index).packet.index == p.index:
		return buffer, false
	}
	r.high = max(r.high, p.index)
	s := r.at(p.index)
	spare = s.buffer
	if spare == nil || s.waits { // the publisher skips numbers, and has come round before all was forwarded
		spare = make([]byte, 0, maxPacket)
	}
	*s = slot{p, buffer, true}
	return spare, true
}

// countLost counts the packets that, when the ring goes on to index, fall out of it
// without ever having come.
func (r *ring) countLost(index int64) {
	if index-r.high > maxGap {
		r.first = index
		return
	}
	size := int64(len(r.slots))
	for i := r.high + 1; i <= index; i++ {
		gone := i - size
		if gone >= r.first && (gone > r.high || r.at(gone).packet.index != gone) {
			r.lost++
		}
	}
}

// forwarded notes that a packet goes out to all who are there.
func (r *ring) forwarded(index int64) {
	if r.slots == nil {
		return
	}
	if s := r.at(index); s.packet.index == index {
		s.waits = false
	}
}

// waits reports whether a packet that is there has yet to be forwarded.
func (r *ring) waits(index int64) bool { return r.at(index).waits }

// get gives the packet of an index, if it is still there.
func (r *ring) get(index int64) (packet, bool) {
	if r.slots == nil || index <= 0 {
		return packet{}, false
	}
	p := r.at(index).packet
	return p, p.index == index
}

// sinceKey gives the index of the last key frame, if all that came since is at most
// so many packets and bytes and still there.
func (r *ring) sinceKey(packets, size int) (index int64, ok bool) {
	oldest := max(r.first, r.high-int64(min(packets, len(r.slots)))+1)
	if r.slots == nil || r.high == 0 {
		return 0, false
	}
	for i := r.high; i >= oldest; i-- {
		p, ok := r.get(i)
		if !ok {
			continue
		}
		if size -= p.size; size < 0 {
			return 0, false
		}
		if p.key {
			return r.pictureOf(i, oldest, size)
		}
	}
	return 0, false
}

// pictureOf goes back from a packet that begins a key frame to the first such packet
// of the same picture: in H.264, parameters come before the slices. ok is false when
// that is more than size bytes.
func (r *ring) pictureOf(key, oldest int64, size int) (index int64, ok bool) {
	at, _ := r.get(key)
	index = key
	for i := key - 1; i >= oldest; i-- {
		p, ok := r.get(i)
		if !ok || p.stamp != at.stamp {
			break
		}
		if size -= p.size; size < 0 {
			return 0, false
		}
		if p.key {
			index = i
		}
	}
	return index, true
}
