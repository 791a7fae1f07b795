package media

import "encoding/binary"

// vp9Keyframe reports whether a VP9 payload begins a key frame: it begins a frame
// that is predicted from no other picture, in the lowest spatial layer (RFC 9628
// section 4.2). Its size is that of the largest layer, if the payload describes them.
func vp9Keyframe(b []byte) (key bool, area int) {
	const i, p, l, f, begins, v = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02
	if len(b) == 0 || b[0]&begins == 0 || b[0]&p != 0 {
		return false, 0
	}
	flags, n := b[0], 1
	if flags&i != 0 {
		if len(b) <= n {
			return false, 0
		}
		if b[n]&0x80 != 0 { // a picture id of two bytes
			n++
		}
		n++
	}
	if flags&l != 0 {
		const spatial = 0x0e
		if len(b) <= n || b[n]&spatial != 0 {
			return false, 0
		}
		n++
		if flags&f == 0 { // not in flexible mode: a counter of base layers
			n++
		}
	}
	if len(b) <= n {
		return false, 0
	}
	if flags&v != 0 {
		area = vp9Area(b[n:])
	}
	return true, area
}

// vp9Area reads the sizes from a scalability structure (RFC 9628 section 4.2.1).
func vp9Area(b []byte) int {
	const sizes = 0x10
	if b[0]&sizes == 0 {
		return 0
	}
	area := 0
	layers := int(b[0]>>5) + 1
	for b = b[1:]; layers > 0 && len(b) >= 4; layers-- {
		area = max(area, int(binary.BigEndian.Uint16(b))*int(binary.BigEndian.Uint16(b[2:])))
		b = b[4:]
	}
	return area
}
