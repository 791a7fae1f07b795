package bench

import (
	"encoding/binary"
	"errors"
)

// kind is what a track carries.
type kind uint8

const (
	audio kind = iota
	video
	kinds // how many there are
)

func (k kind) String() string { return [kinds]string{"audio", "video"}[k] }

// stamp is what every payload says of itself, so that the far end can tell which
// packets came and how long they took.
type stamp struct {
	kind   kind
	sender uint16 // the index of the member who sent it
	seq    uint32 // counts the packets of one sender and kind from 0
	at     int64  // when it was sent: nanoseconds of the run's clock
}

// The stamp on the wire, big endian: mark, kind, sender, seq; at.
const (
	stampSize = 16
	stampMark = 0xc6
)

// opusTOC heads every audio payload: CELT, fullband, one mono frame of 20 ms
// (RFC 6716 section 3.1).
const opusTOC = 0xf8

// What stands before the stamp in a video payload: the payload descriptor with a
// picture ID of two bytes (RFC 7741 section 4.2) and, in a frame's first packet,
// the frame tag and for key frames the start code and size (RFC 6386 section 9.1).
const (
	descriptorSize = 4
	interTagSize   = 3
	keyTagSize     = 10
)

// The least that payloads need.
const (
	minAudioPayload = 1 + stampSize
	minVideoPayload = descriptorSize + keyTagSize + stampSize
)

var errNotOurs = errors.New("payload was not made by this run")

func (s stamp) put(b []byte) {
	b[0], b[1] = stampMark, byte(s.kind)
	binary.BigEndian.PutUint16(b[2:], s.sender)
	binary.BigEndian.PutUint32(b[4:], s.seq)
	binary.BigEndian.PutUint64(b[8:], uint64(s.at))
}

func parseStamp(b []byte, k kind) (stamp, error) {
	if len(b) < stampSize || b[0] != stampMark || kind(b[1]) != k {
		return stamp{}, errNotOurs
	}
	return stamp{
		kind:   k,
		sender: binary.BigEndian.Uint16(b[2:]),
		seq:    binary.BigEndian.Uint32(b[4:]),
		at:     int64(binary.BigEndian.Uint64(b[8:])),
	}, nil
}

// putAudio fills b, which has at least minAudioPayload bytes, with an Opus packet.
func putAudio(b []byte, s stamp) {
	b[0] = opusTOC
	s.put(b[1:])
}

func parseAudio(b []byte) (stamp, error) {
	if len(b) < minAudioPayload || b[0] != opusTOC {
		return stamp{}, errNotOurs
	}
	return parseStamp(b[1:], audio)
}

// picture says which part of which frame a video packet is.
type picture struct {
	id    uint16 // 15 bits
	first bool   // the packet begins the frame
	key   bool   // the frame needs no other; known of first packets only
}

// putVideo fills b, which has at least minVideoPayload bytes, with a VP8 packet.
func putVideo(b []byte, p picture, s stamp) {
	const extended, start, hasID, longID = 0x80, 0x10, 0x80, 0x80
	b[0], b[1] = extended, hasID
	b[2], b[3] = longID|byte(p.id>>8), byte(p.id)
	rest := b[descriptorSize:]
	if p.first {
		b[0] |= start
		rest = rest[putFrameTag(rest, p.key):]
	}
	s.put(rest)
}

// putFrameTag writes the head of a frame that is shown, with a first partition of
// the size that there is room for, and gives its own size.
func putFrameTag(b []byte, key bool) int {
	const shown, inter = 0x10, 0x01
	size, tag := interTagSize, uint32(shown|inter)
	if key {
		size, tag = keyTagSize, shown
		copy(b[3:], []byte{0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00}) // 320 by 180
	}
	tag |= uint32(len(b)-size) << 5
	b[0], b[1], b[2] = byte(tag), byte(tag>>8), byte(tag>>16)
	return size
}

// parseVideo reads the descriptor as it is, not as putVideo wrote it: a gateway may
// rewrite it.
func parseVideo(b []byte) (picture, stamp, error) {
	p, n, err := parseDescriptor(b)
	if err != nil {
		return picture{}, stamp{}, err
	}
	rest := b[n:]
	if p.first {
		if len(rest) < interTagSize {
			return picture{}, stamp{}, errNotOurs
		}
		p.key = rest[0]&1 == 0
		n := interTagSize
		if p.key {
			n = keyTagSize
		}
		rest = rest[min(n, len(rest)):]
	}
	s, err := parseStamp(rest, video)
	return p, s, err
}

// parseDescriptor gives what it says and its size in bytes.
func parseDescriptor(b []byte) (picture, int, error) {
	at := func(i int) byte { // bytes past the end are found out at the end
		if i < len(b) {
			return b[i]
		}
		return 0
	}
	p := picture{first: at(0)&0x10 != 0 && at(0)&0x07 == 0}
	n := 1
	if at(0)&0x80 != 0 {
		ext := at(1)
		n++
		if ext&0x80 != 0 { // picture ID
			p.id = uint16(at(n))
			n++
			if p.id&0x80 != 0 {
				p.id = p.id&0x7f<<8 | uint16(at(n))
				n++
			}
		}
		if ext&0x40 != 0 { // TL0PICIDX
			n++
		}
		if ext&0x30 != 0 { // temporal layer, key index
			n++
		}
	}
	if n > len(b) {
		return picture{}, 0, errNotOurs
	}
	return p, n, nil
}
