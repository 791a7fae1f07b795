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
// of one picture; see [ring.sinceKey].
func h264Keyframe(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch nal := b[0] & 0x1f; nal {
	case nalSTAPA: // a size of two bytes before each unit
		for b = b[1:]; len(b) > 2; {
			size := int(binary.BigEndian.Uint16(b))
			if size == 0 || size > len(b)-2 {
				return false
			}
			if beginsIDR(b[2]&0x1f, b[3:2+size]) {
				return true
			}
			b = b[2+size:]
		}
		return false
	case nalFUA:
		const start = 0x80
		return len(b) > 1 && b[1]&start != 0 && beginsIDR(b[1]&0x1f, b[2:])
	default:
		return beginsIDR(nal, b[1:])
	}
}

// beginsIDR takes a unit without its first byte. A slice begins with the number of
// its first macroblock, coded so that 0 is one bit that is set (ITU-T H.264 section
// 7.3.3): a picture may have several slices.
func beginsIDR(nal byte, unit []byte) bool {
	return len(unit) > 0 && (nal == nalSPS || nal == nalIDR && unit[0]&0x80 != 0)
}
