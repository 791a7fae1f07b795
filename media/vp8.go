package media

import "encoding/binary"

// vp8Keyframe reports whether a VP8 payload begins a key frame: it begins the first
// partition (RFC 7741 section 4.2) of a frame whose P bit is 0 (RFC 6386 section
// 9.1).
func vp8Keyframe(b []byte) (key bool, area int) {
	const x, s, partition = 0x80, 0x10, 0x07
	if len(b) == 0 || b[0]&s == 0 || b[0]&partition != 0 {
		return false, 0
	}
	n := 1
	if b[0]&x != 0 {
		if len(b) < 2 {
			return false, 0
		}
		const i, l, t, k = 0x80, 0x40, 0x20, 0x10
		extensions := b[1]
		n = 2
		if extensions&i != 0 {
			if len(b) <= n {
				return false, 0
			}
			if b[n]&0x80 != 0 { // a picture id of two bytes
				n++
			}
			n++
		}
		if extensions&l != 0 {
			n++
		}
		if extensions&(t|k) != 0 {
			n++
		}
	}
	if len(b) <= n || b[n]&1 != 0 {
		return false, 0
	}
	// A frame tag of three bytes, a start code of three, width and height.
	if frame := b[n:]; len(frame) >= 10 && frame[3] == 0x9d && frame[4] == 0x01 && frame[5] == 0x2a {
		const size = 0x3fff // the rest is scaling
		area = int(binary.LittleEndian.Uint16(frame[6:])&size) * int(binary.LittleEndian.Uint16(frame[8:])&size)
	}
	return true, area
}
