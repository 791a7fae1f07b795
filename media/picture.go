package media

import "encoding/binary"

// pictureIDs are the numbers that the payload descriptor of VP8 (RFC 7741 section 4.2) and
// VP9 (RFC 9628 section 4.2) gives a picture. Receivers tell by them which picture is
// predicted from which, so they have to go on from one layer or publisher to the next, as
// sequence numbers have: each begins them anywhere.
type pictureIDs struct {
	picture   uint16 // of 7 or 15 bits
	base      uint8  // of the last picture of the lowest temporal layer (TL0PICIDX)
	pictureAt uint8  // where it stands in the payload; 0: nowhere
	baseAt    uint8
	wide      bool // the picture's has 15 bits
}

// pictureShift is what is added to each.
type pictureShift struct {
	picture uint16
	base    uint8
}

const (
	wideID   = 0x8000 // marks a picture id of 15 bits
	narrowID = 0x7f
)

// pictureIDs finds them in a payload of the format.
func (f format) pictureIDs(b []byte) (ids pictureIDs) {
	const first, layers, extended, flexible = 0x80, 0x40, 0x80, 0x10
	at := 1
	var flags byte
	switch {
	case len(b) == 0:
		return ids
	case f == vp9:
		flags = b[0]
	case f == vp8 && b[0]&extended != 0 && len(b) > 1:
		flags = b[1]
		at = 2
	default:
		return ids
	}
	if flags&first != 0 {
		switch {
		case len(b) <= at+1: // there is no picture behind it
			return pictureIDs{}
		case b[at]&(wideID>>8) != 0:
			ids.picture, ids.pictureAt, ids.wide = binary.BigEndian.Uint16(b[at:])&^wideID, uint8(at), true
			at += 2
		default:
			ids.picture, ids.pictureAt = uint16(b[at]), uint8(at)
			at++
		}
	}
	if f == vp9 && flags&0x20 != 0 { // layer indices; the number follows where they are not flexible
		at++
		if flags&flexible != 0 {
			return ids
		}
	} else if f == vp9 || flags&layers == 0 {
		return ids
	}
	if len(b) > at {
		ids.base, ids.baseAt = b[at], uint8(at)
	}
	return ids
}

// plus gives the numbers as they are sent.
func (ids pictureIDs) plus(s pictureShift) pictureIDs {
	ids.picture += s.picture
	if ids.wide {
		ids.picture &^= wideID
	} else {
		ids.picture &= narrowID
	}
	ids.base += s.base
	return ids
}

// after gives what has to be added to the numbers for them to follow others.
func (ids pictureIDs) after(last pictureIDs) pictureShift {
	return pictureShift{last.picture + 1 - ids.picture, last.base + 1 - ids.base}
}

// shift changes the numbers in a payload that has them.
func (ids pictureIDs) shift(payload []byte, s pictureShift) {
	if s == (pictureShift{}) {
		return
	}
	now := ids.plus(s)
	switch {
	case ids.pictureAt == 0:
	case ids.wide:
		binary.BigEndian.PutUint16(payload[ids.pictureAt:], now.picture|wideID)
	default:
		payload[ids.pictureAt] = byte(now.picture)
	}
	if ids.baseAt != 0 {
		payload[ids.baseAt] = now.base
	}
}
