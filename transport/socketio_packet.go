package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// The kinds of Socket.IO packets, the same in the protocols 4 and 5.
const (
	sioConnect byte = '0' + iota
	sioDisconnect
	sioEvent
	sioAck
	sioConnectError
	sioBinaryEvent
	sioBinaryAck
)

const (
	// maxAttachments bounds the binary packets that belong to one event.
	maxAttachments = 10
	// maxAckDigits keeps the ids of acknowledgements exact in JavaScript.
	maxAckDigits = 15
)

// reservedEvents are names that mean something else at one end or the other.
var reservedEvents = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// sioPacket is a Socket.IO packet from a client.
type sioPacket struct {
	kind        byte
	attachments int // binary packets that follow
	namespace   string
	ack         string // the id of the acknowledgement that is wanted; empty: none
	data        []byte // JSON that fits the kind, a part of what was decoded; empty: none
}

// decodeSocketIO reads a packet such as 2/chat,7["hello",{}]: kind, number of
// attachments and a dash, namespace and a comma, id, JSON. All but the kind may be
// missing.
func decodeSocketIO(text []byte) (sioPacket, error) {
	if len(text) == 0 || text[0] < sioConnect || text[0] > sioBinaryAck {
		return sioPacket{}, fmt.Errorf("%w: no such kind of packet", ErrBroken)
	}
	p := sioPacket{kind: text[0], namespace: "/"}
	rest := text[1:]
	if p.kind == sioBinaryEvent || p.kind == sioBinaryAck {
		digits, _, ok := bytes.Cut(rest[:min(len(rest), 3)], []byte{'-'})
		n, err := strconv.ParseUint(string(digits), 10, 8)
		if !ok || err != nil || n < 1 || n > maxAttachments {
			return sioPacket{}, fmt.Errorf("%w: number of attachments", ErrBroken)
		}
		p.attachments, rest = int(n), rest[len(digits)+1:]
	}
	if bytes.HasPrefix(rest, []byte{'/'}) {
		name, after, _ := bytes.Cut(rest, []byte{','})
		if len(name) > maxName {
			return sioPacket{}, fmt.Errorf("%w: name of a namespace", ErrBroken)
		}
		p.namespace, rest = string(name), after
	}
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	if digits > maxAckDigits {
		return sioPacket{}, fmt.Errorf("%w: id of an acknowledgement", ErrBroken)
	}
	p.ack, p.data = string(rest[:digits]), rest[digits:]
	if !p.fits() {
		return sioPacket{}, fmt.Errorf("%w: data that do not fit the packet", ErrBroken)
	}
	return p, nil
}

// fits reports whether the data are such as this kind of packet may have.
func (p sioPacket) fits() bool {
	if len(p.data) == 0 {
		return true
	}
	if !json.Valid(p.data) {
		return false
	}
	first := bytes.TrimLeft(p.data, jsonSpace)[0]
	switch p.kind {
	case sioConnect:
		return first == '{'
	case sioConnectError:
		return first == '{' || first == '"'
	case sioAck, sioBinaryAck:
		return first == '['
	case sioEvent, sioBinaryEvent:
		if first != '[' {
			return false
		}
		name := p.argument(0)
		if text, ok := unquote(name); ok {
			return !slices.Contains(reservedEvents, text)
		}
		return len(name) > 0 && (name[0] == '-' || '0' <= name[0] && name[0] <= '9')
	default:
		return false
	}
}

const jsonSpace = " \t\r\n"

// argument gives the element of the data at index i, which are a valid array; nil
// if it has none.
func (p sioPacket) argument(i int) []byte {
	rest := bytes.TrimLeft(p.data, jsonSpace)[1:]
	for {
		size := elementSize(rest)
		if i == 0 {
			return bytes.Trim(rest[:size], jsonSpace)
		}
		if rest[size] == ']' {
			return nil
		}
		rest = rest[size+1:]
		i--
	}
}

// elementSize gives where the first of the elements ends that are left of a valid
// array.
func elementSize(array []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(array); i++ {
		switch c := array[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case depth == 0 && (c == ',' || c == ']'):
			return i
		case c == ']' || c == '}':
			depth--
		}
	}
	return len(array)
}

// unquote gives the text of a JSON string.
func unquote(value []byte) (string, bool) {
	if !bytes.HasPrefix(value, []byte{'"'}) {
		return "", false
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err == nil
}

// named reports whether the event has this name.
func (p sioPacket) named(event string) bool {
	if len(p.data) == 0 {
		return false
	}
	name, ok := unquote(p.argument(0))
	return ok && name == event
}

// frame gives the message in an event: its first argument. A string holds the
// message as text. An event without a message, or with bytes in it, for which no
// dialect has words, gives null: what a dialect says to that is better than
// silence.
func (p sioPacket) frame() []byte {
	message := p.argument(1)
	if len(message) == 0 || p.attachments > 0 && bytes.Contains(message, []byte(`"_placeholder"`)) {
		return []byte("null")
	}
	if text, ok := unquote(message); ok {
		return []byte(text)
	}
	return message
}

// sioHead begins a packet, up to its data, in a message of Engine.IO.
func sioHead(kind byte, namespace, ack string) []byte {
	b := []byte{eioMessage, kind}
	if namespace != "/" {
		b = append(append(b, namespace...), ',')
	}
	return append(b, ack...)
}
