package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// The frames of SockJS that carry no message. A message goes in a frame of its own.
var (
	openFrame      = []byte("o")
	heartbeatFrame = []byte("h")
)

// messageFrame makes the frame for one message, such as a["{\"id\":\"x\"}"].
func messageFrame(message []byte) []byte {
	frame := make([]byte, 0, len(message)+len(message)/4+8)
	frame = append(frame, 'a', '[')
	frame = appendQuoted(frame, message)
	return append(frame, ']')
}

// closeFrame makes a frame such as c[3000,"Go away!"].
func closeFrame(code int, reason string) []byte {
	frame := fmt.Appendf(nil, "c[%d,", code)
	frame = appendQuoted(frame, []byte(reason))
	return append(frame, ']')
}

func endingFrame(e ending) []byte { return closeFrame(e.code, e.text) }

// appendQuoted appends text as a JSON string. SockJS wants more characters escaped
// than JSON does: some browsers mangle them on the way.
func appendQuoted(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0 // text[:done] is in b
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[i:])
		}
		if !escaped(r) {
			i += size
			continue
		}
		b = append(b, text[done:i]...)
		switch r {
		case '"', '\\':
			b = append(b, '\\', byte(r))
		default:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += size
		done = i
	}
	b = append(b, text[done:]...)
	return append(b, '"')
}

// escaped reports whether the server must escape a character (SockJS protocol
// 0.3.3, "escapable by server"). Bytes that are no UTF-8 come here as U+FFFD.
func escaped(r rune) bool {
	switch {
	case r == '"', r == '\\', r < 0x20:
		return true
	case r < 0x200c, r > 0xffff:
		return false
	}
	return r <= 0x200f || r >= 0x2028 && r <= 0x202f || r >= 0x2060 && r <= 0x206f || r >= 0xfff0
}

// splitFrame reads what a client sends: an array of strings, or one string. Each is
// a message; none is longer than limit. An empty frame has none.
func splitFrame(frame []byte, limit int) (batch, error) {
	if len(frame) == 0 {
		return nil, nil
	}
	if !utf8.Valid(frame) {
		return nil, ErrNotUTF8
	}
	var texts []string
	switch frame = bytes.TrimLeft(frame, " \t\r\n"); {
	case bytes.HasPrefix(frame, []byte{'['}):
		if err := json.Unmarshal(frame, &texts); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
	case bytes.HasPrefix(frame, []byte{'"'}):
		texts = make([]string, 1)
		if err := json.Unmarshal(frame, &texts[0]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
	default:
		return nil, fmt.Errorf("%w: neither an array nor a string", ErrBroken)
	}
	messages := make(batch, len(texts))
	for i, text := range texts {
		if len(text) > limit {
			return nil, ErrTooBig
		}
		messages[i] = []byte(text)
	}
	return messages, nil
}

// batch is messages that came together and are read one by one.
type batch [][]byte

// next takes the first of a batch that is not empty. What was taken is let go of:
// idle connections hold no messages.
func (b *batch) next() []byte {
	message := (*b)[0]
	(*b)[0] = nil
	*b = (*b)[1:]
	return message
}
