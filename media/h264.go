package media

import "encoding/binary"

// Types of NAL units, and of packets that carry several, or a part of one (RFC 6184
// section 5.2).
const (
	nalIDR   = 5 // a slice of a picture that refers to no other
	nalSPS   = 7 // a sequence parameter set, which comes before such a picture
	nalSTAPA = 24
	nalFUA   = 28
)

// h264Keyframe reports whether an H.264 payload is where a receiver can begin: it
// has a sequence parameter set, or the first slice of an IDR picture. Both may be so
// of one picture; see [ring.sinceKey]. The parameters say how many pixels it has.
func h264Keyframe(b []byte) (key bool, area int) {
	if len(b) == 0 {
		return false, 0
	}
	switch nal := b[0] & 0x1f; nal {
	case nalSTAPA: // a size of two bytes before each unit
		for b = b[1:]; len(b) > 2; {
			size := int(binary.BigEndian.Uint16(b))
			if size == 0 || size > len(b)-2 {
				return false, 0
			}
			if key, area := beginsIDR(b[2]&0x1f, b[3:2+size]); key {
				return true, area
			}
			b = b[2+size:]
		}
		return false, 0
	case nalFUA:
		const start = 0x80
		if len(b) < 2 || b[1]&start == 0 {
			return false, 0
		}
		return beginsIDR(b[1]&0x1f, b[2:])
	default:
		return beginsIDR(nal, b[1:])
	}
}

// beginsIDR takes a unit without its first byte. A slice begins with the number of
// its first macroblock, coded so that 0 is one bit that is set (ITU-T H.264 section
// 7.3.3): a picture may have several slices.
func beginsIDR(nal byte, unit []byte) (key bool, area int) {
	switch {
	case len(unit) == 0:
		return false, 0
	case nal == nalSPS:
		return true, spsArea(unit)
	default:
		return nal == nalIDR && unit[0]&0x80 != 0, 0
	}
}

// spsArea reads from a sequence parameter set (ITU-T H.264 section 7.3.2.1.1), without
// its first byte, how many pixels a picture has: 0 when it makes no sense, or is of a
// profile beyond the main one, of which nothing is negotiated here.
func spsArea(unit []byte) int {
	const beforeNumbers, mainProfile, macroblock = 3, 88, 16
	if len(unit) < beforeNumbers || unit[0] > mainProfile {
		return 0
	}
	r := bits{rest: withoutEmulation(unit[beforeNumbers:])}
	r.number() // of the set
	r.number() // how long frame numbers are
	switch r.number() {
	case 0: // of the ways to tell the order of pictures
		r.number()
	case 1:
		r.skip(1)
		r.number()
		r.number()
		for n := r.number(); n > 0 && !r.over; n-- {
			r.number()
		}
	}
	r.number() // of pictures that others refer to
	r.skip(1)
	width, height := (r.number()+1)*macroblock, (r.number()+1)*macroblock
	fields := 1
	if r.skip(1) == 0 { // two make a frame
		fields = 2
		r.skip(1)
	}
	r.skip(1)
	height *= fields
	if r.skip(1) == 1 { // the edges are cut off, in units of the chroma's samples
		width -= 2 * (r.number() + r.number())
		height -= 2 * fields * (r.number() + r.number())
	}
	if r.over || width <= 0 || height <= 0 || width > maxSide || height > maxSide {
		return 0
	}
	return width * height
}

// withoutEmulation takes out the bytes that keep a unit from looking like the start of
// another (ITU-T H.264 section 7.4.1.1).
func withoutEmulation(b []byte) []byte {
	const longest = 64 // bytes; what is of interest is shorter
	out := make([]byte, 0, longest)
	for i, zeros := 0, 0; i < len(b) && len(out) < longest; i++ {
		if zeros == 2 && b[i] == 3 {
			zeros = 0
			continue
		}
		if zeros++; b[i] != 0 {
			zeros = 0
		}
		out = append(out, b[i])
	}
	return out
}

// bits reads bits, the highest first. Beyond the end there are zeros, and over is set.
type bits struct {
	rest []byte
	at   int // of the first byte's
	over bool
}

// skip goes on by n bits, at most 16, and gives them.
func (r *bits) skip(n int) (v int) {
	for range n {
		if len(r.rest) == 0 {
			r.over = true
			return 0
		}
		v = v<<1 | int(r.rest[0]>>(7-r.at)&1)
		if r.at++; r.at == 8 {
			r.rest, r.at = r.rest[1:], 0
		}
	}
	return v
}

// number reads a number of Exp-Golomb code (ITU-T H.264 section 9.1), of at most 16 bits.
func (r *bits) number() int {
	const most = 16
	zeros := 0
	for !r.over && r.skip(1) == 0 {
		zeros++
	}
	if r.over = r.over || zeros > most; r.over {
		return 0
	}
	return 1<<zeros - 1 + r.skip(zeros)
}
