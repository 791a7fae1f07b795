package transport

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// revision is one of the Engine.IO protocol.
type revision int

// The revisions that are spoken: 3 with clients of Socket.IO 2 and before, 4 with
// those of 3 and 4.
const (
	eio3 revision = 3
	eio4 revision = 4
)

// The kinds of Engine.IO packets.
const (
	eioOpen byte = '0' + iota
	eioClose
	eioPing
	eioPong
	eioMessage
	eioUpgrade
	eioNoop
)

// maxPackets bounds the packets of one payload.
const maxPackets = 256

// separator stands between the packets of a payload of revision 4.
const separator = 0x1e

// enginePacket is an Engine.IO packet from a client.
type enginePacket struct {
	kind   byte
	binary bool   // a message of bytes, which are of no use here and are not kept
	data   []byte // a part of what was decoded
}

// splitter takes the first packet off a payload. The rest is nil after the last.
type splitter func(rev revision, payload []byte) (_ enginePacket, rest []byte, _ error)

// decodePayload reads the body of a request that brings packets.
func decodePayload(rev revision, contentType string, body []byte) ([]enginePacket, error) {
	var split splitter = splitSeparated
	octets := strings.HasPrefix(contentType, "application/octet-stream")
	switch {
	case rev == eio4 && octets:
		return nil, fmt.Errorf("%w: revision 4 posts text only", ErrBroken)
	case rev == eio3 && octets:
		split = splitOctets
	case rev == eio3:
		split = splitCounted
	}
	switch {
	case len(body) == 0:
		return nil, fmt.Errorf("%w: no packets", ErrBroken)
	case !octets && !utf8.Valid(body):
		return nil, ErrNotUTF8
	}
	var packets []enginePacket
	for rest := body; rest != nil; {
		if len(packets) == maxPackets {
			return nil, fmt.Errorf("%w: more than %d packets at once", ErrBroken, maxPackets)
		}
		var (
			p   enginePacket
			err error
		)
		if p, rest, err = split(rev, rest); err != nil {
			return nil, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

// splitSeparated takes a packet up to the separator, as in 4hello, 0x1e, 4world.
func splitSeparated(rev revision, payload []byte) (enginePacket, []byte, error) {
	text, rest, more := bytes.Cut(payload, []byte{separator})
	if !more {
		rest = nil
	}
	p, err := decodeText(rev, text)
	return p, rest, err
}

// splitCounted takes a packet as long as the number before it says, as in
// 6:4hello6:4world. JavaScript counts in units of UTF-16.
func splitCounted(rev revision, payload []byte) (enginePacket, []byte, error) {
	digits, _, ok := bytes.Cut(payload[:min(len(payload), 10)], []byte{':'})
	units, err := strconv.ParseUint(string(digits), 10, 31)
	if !ok || err != nil {
		return enginePacket{}, nil, fmt.Errorf("%w: no length", ErrBroken)
	}
	rest := payload[len(digits)+1:]
	size, ok := utf16Prefix(rest, int(units))
	if !ok {
		return enginePacket{}, nil, fmt.Errorf("%w: wrong length", ErrBroken)
	}
	p, err := decodeText(rev, rest[:size])
	return p, remaining(rest[size:]), err
}

// splitOctets takes a packet from a payload of bytes: 0 for text or 1, the digits
// of its length, 255, and the packet.
func splitOctets(rev revision, payload []byte) (enginePacket, []byte, error) {
	broken := fmt.Errorf("%w: wrong length", ErrBroken)
	end := bytes.IndexByte(payload[:min(len(payload), 11)], 255)
	if end < 2 || payload[0] > 1 {
		return enginePacket{}, nil, broken
	}
	size := 0
	for _, digit := range payload[1:end] {
		if digit > 9 {
			return enginePacket{}, nil, broken
		}
		size = size*10 + int(digit)
	}
	rest := payload[end+1:]
	if size > len(rest) {
		return enginePacket{}, nil, broken
	}
	decode := decodeText
	if payload[0] == 1 {
		decode = decodeBytes
	}
	p, err := decode(rev, rest[:size])
	return p, remaining(rest[size:]), err
}

// remaining gives nil for nothing, which ends a payload.
func remaining(rest []byte) []byte {
	if len(rest) == 0 {
		return nil
	}
	return rest
}

// decodeText reads a packet of text. It may be one of bytes in base64, marked by
// a b, and by its kind too in revision 3.
func decodeText(rev revision, text []byte) (enginePacket, error) {
	switch {
	case len(text) == 0:
		return enginePacket{}, fmt.Errorf("%w: empty packet", ErrBroken)
	case text[0] == 'b' && (rev == eio4 || len(text) > 1 && text[1] == eioMessage):
		return enginePacket{kind: eioMessage, binary: true}, nil
	case text[0] < eioOpen || text[0] > eioNoop:
		return enginePacket{}, fmt.Errorf("%w: no such kind of packet", ErrBroken)
	}
	return enginePacket{kind: text[0], data: text[1:]}, nil
}

// decodeBytes reads a packet of bytes: a message, which in revision 3 says so.
func decodeBytes(rev revision, b []byte) (enginePacket, error) {
	if rev == eio3 && (len(b) == 0 || b[0] != eioMessage-'0') {
		return enginePacket{}, fmt.Errorf("%w: bytes that are no message", ErrBroken)
	}
	return enginePacket{kind: eioMessage, binary: true}, nil
}

// encodePayload writes the body of a reply that brings packets.
func encodePayload(rev revision, packets [][]byte) []byte {
	if rev == eio4 {
		return bytes.Join(packets, []byte{separator})
	}
	var b []byte
	for _, p := range packets {
		b = strconv.AppendInt(b, int64(utf16Length(p)), 10)
		b = append(append(b, ':'), p...)
	}
	return b
}

// utf16Length gives the length of a text in units of UTF-16.
func utf16Length(text []byte) (units int) {
	for len(text) > 0 {
		size, wide := utf16Step(text)
		units += wide
		text = text[size:]
	}
	return units
}

// utf16Prefix gives how many bytes make so many units of UTF-16, if any number does.
func utf16Prefix(text []byte, units int) (size int, ok bool) {
	for units > 0 && size < len(text) {
		n, wide := utf16Step(text[size:])
		size += n
		units -= wide
	}
	return size, units == 0
}

// utf16Step gives the bytes of the first character, and its units of UTF-16.
func utf16Step(text []byte) (size, units int) {
	if text[0] < utf8.RuneSelf {
		return 1, 1
	}
	r, size := utf8.DecodeRune(text)
	if r > 0xffff {
		return size, 2
	}
	return size, 1
}
