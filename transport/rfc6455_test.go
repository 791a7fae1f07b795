package transport

import (
	"bufio"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// fragment makes a frame as it is on the line, masked with zeros: b0 holds its flags
// and opcode.
func fragment(b0 byte, payload string) []byte {
	frame := []byte{b0}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// closing is the payload of a close frame.
func closing(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// Flags and opcodes of RFC 6455 section 5.2.
const (
	fin, rsv1, rsv2, rsv3       = 0x80, 0x40, 0x20, 0x10
	more, text, binaryData      = 0x0, 0x1, 0x2
	closeFrameOp, ping, pongReq = 0x8, 0x9, 0xa
)

// What RFC 6455 asks of an endpoint, by section: the library does most of it, and
// leaves to us that text is UTF-8. The numbers in brackets are those of the Autobahn
// test suite's cases.
func TestRFC6455(t *testing.T) {
	const hello = "hello"
	snowman := "\u2603"
	for _, tt := range []struct {
		name   string
		frames [][]byte
		heard  []string // opcodes as a letter, and payloads
		code   uint16   // of the close that comes then; 0: none, the connection stays
	}{
		{"5.2 text [1.1.2]", [][]byte{fragment(fin|text, hello)}, []string{"t" + hello}, 0},
		{"5.2 binary is read as text", [][]byte{fragment(fin|binaryData, hello)}, []string{"t" + hello}, 0},
		{"5.2 126 bytes [1.1.4]", [][]byte{fragment(fin|text, strings.Repeat("x", 126))}, []string{"t" + strings.Repeat("x", 126)}, 0},
		{"5.2 64 KiB [1.1.8]", [][]byte{fragment(fin|text, strings.Repeat("x", 64<<10))}, []string{"t" + strings.Repeat("x", 64<<10)}, 0},
		{"5.2 RSV1 without an extension [3.1]", [][]byte{fragment(fin|rsv1|text, hello)}, nil, 1002},
		{"5.2 RSV2 [3.2]", [][]byte{fragment(fin|rsv2|text, hello)}, nil, 1002},
		{"5.2 RSV3 [3.4]", [][]byte{fragment(fin|rsv3|text, hello)}, nil, 1002},
		{"5.2 RSV in a ping [3.5]", [][]byte{fragment(fin|rsv1|ping, hello)}, nil, 1002},
		{"5.2 reserved opcode 3 [4.1.1]", [][]byte{fragment(fin|3, "")}, nil, 1002},
		{"5.2 reserved opcode 7 [4.1.5]", [][]byte{fragment(fin|7, hello)}, nil, 1002},
		{"5.2 reserved opcode 11 [4.2.1]", [][]byte{fragment(fin|11, "")}, nil, 1002},
		{"5.2 reserved opcode 15 [4.2.5]", [][]byte{fragment(fin|15, hello)}, nil, 1002},
		{"5.2 a length with the highest bit", [][]byte{{fin | text, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}}, nil, 1002},
		{"5.1 not masked", [][]byte{{fin | text, 2, 'h', 'i'}}, nil, 1002},

		{"5.4 fragments [5.3]", [][]byte{fragment(text, "hel"), fragment(fin|more, "lo")}, []string{"t" + hello}, 0},
		{"5.4 many of one byte [5.6]", [][]byte{fragment(text, "h"), fragment(more, "e"), fragment(more, ""), fragment(fin|more, "y")}, []string{"they"}, 0},
		{"5.4 a ping among them [5.6]", [][]byte{fragment(text, "hel"), fragment(fin|ping, "p"), fragment(fin|more, "lo")}, []string{"Pp", "t" + hello}, 0},
		{"5.4 continuation of nothing [5.9]", [][]byte{fragment(fin|more, hello)}, nil, 1002},
		{"5.4 a message within one [5.18]", [][]byte{fragment(text, "hel"), fragment(fin|text, "lo")}, nil, 1002},

		{"5.5 ping [2.1]", [][]byte{fragment(fin|ping, "")}, []string{"P"}, 0},
		{"5.5 125 bytes [2.4]", [][]byte{fragment(fin|ping, strings.Repeat("\xfe", 125))}, []string{"P" + strings.Repeat("\xfe", 125)}, 0},
		{"5.5 126 bytes [2.5]", [][]byte{fragment(fin|ping, strings.Repeat("\xfe", 126))}, nil, 1002},
		{"5.5 a pong that nobody asked for [2.7]", [][]byte{fragment(fin|pongReq, "x"), fragment(fin|text, hello)}, []string{"t" + hello}, 0},
		{"5.5 ten pings [2.10]", [][]byte{fragment(fin|ping, "1"), fragment(fin|ping, "2"), fragment(fin|ping, "3")}, []string{"P1", "P2", "P3"}, 0},
		{"5.5 a ping in pieces [5.1]", [][]byte{fragment(ping, "hel"), fragment(fin|more, "lo")}, nil, 1002},

		{"8.1 several bytes a character [6.2.1]", [][]byte{fragment(fin|text, snowman+"\U0001F600\u00e9")}, []string{"t" + snowman + "\U0001F600\u00e9"}, 0},
		{"8.1 a character in two pieces [6.2.3]", [][]byte{fragment(text, snowman[:1]), fragment(fin|more, snowman[1:])}, []string{"t" + snowman}, 0},
		{"8.1 a wrong byte [6.3.1]", [][]byte{fragment(fin|text, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited")}, nil, 1007},
		{"8.1 in a later piece [6.4.1]", [][]byte{fragment(text, "\xce\xba"), fragment(fin|more, "\xf4\x90\x80\x80")}, nil, 1007},
		{"8.1 a character cut short [6.6.1]", [][]byte{fragment(fin|text, snowman[:2])}, nil, 1007},
		{"8.1 overlong [6.21.1]", [][]byte{fragment(fin|text, "\xc0\xaf")}, nil, 1007},
		{"8.1 overlong NUL", [][]byte{fragment(fin|text, "\xc0\x80")}, nil, 1007},
		{"8.1 a surrogate [6.19.1]", [][]byte{fragment(fin|text, "\xed\xa0\x80")}, nil, 1007},
		{"8.1 beyond the last [6.14.1]", [][]byte{fragment(fin|text, "\xf4\x90\x80\x80")}, nil, 1007},
		{"8.1 noncharacters are characters [6.23.1]", [][]byte{fragment(fin|text, "\uffff")}, []string{"t\uffff"}, 0},
		{"8.1 bytes that are no text", [][]byte{fragment(fin|binaryData, "\xff\xfe")}, nil, 1007},

		{"7.1 close without a code [7.3.1]", [][]byte{fragment(fin|closeFrameOp, "")}, nil, 1005},
		{"7.1 close [7.3.3]", [][]byte{fragment(fin|closeFrameOp, closing(1000, ""))}, nil, 1000},
		{"7.1 close with a reason [7.3.4]", [][]byte{fragment(fin|closeFrameOp, closing(1000, "bye"))}, nil, 1000},
		{"7.1 half a code [7.3.2]", [][]byte{fragment(fin|closeFrameOp, "\x03")}, nil, 1002},
		{"7.1 a reason too long [7.3.6]", [][]byte{fragment(fin|closeFrameOp, closing(1000, strings.Repeat("x", 124)))}, nil, 1002},
		{"7.4 code 3000 [7.7.12]", [][]byte{fragment(fin|closeFrameOp, closing(3000, ""))}, nil, 3000},
		{"7.4 code 4999 [7.7.13]", [][]byte{fragment(fin|closeFrameOp, closing(4999, ""))}, nil, 4999},
		{"7.4 code 0 [7.9.1]", [][]byte{fragment(fin|closeFrameOp, closing(0, ""))}, nil, 1002},
		{"7.4 code 999 [7.9.2]", [][]byte{fragment(fin|closeFrameOp, closing(999, ""))}, nil, 1002},
		{"7.4 code 1005 [7.9.4]", [][]byte{fragment(fin|closeFrameOp, closing(1005, ""))}, nil, 1002},
		{"7.4 code 1006 [7.9.5]", [][]byte{fragment(fin|closeFrameOp, closing(1006, ""))}, nil, 1002},
		{"7.4 code 2999 [7.9.9]", [][]byte{fragment(fin|closeFrameOp, closing(2999, ""))}, nil, 1002},
		{"7.4 code 65535 [7.13.2]", [][]byte{fragment(fin|closeFrameOp, closing(65535, ""))}, nil, 1002},
		{"1.4 nothing after a close [7.1.3]", [][]byte{fragment(fin|closeFrameOp, closing(1000, "")), fragment(fin|ping, "")}, nil, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{MaxFrame: 64 << 10})
				conn, r := w.upgrade(barePath)
				go func() {
					for _, f := range tt.frames {
						if _, err := conn.Write(f); err != nil {
							return
						}
					}
				}()
				for _, want := range tt.heard {
					if got := nextFrame(t, r); got != want {
						t.Fatalf("heard %.60q, want %.60q", got, want)
					}
				}
				if tt.code == 0 {
					synctest.Wait()
					if got := w.ledger.ends(); len(got) != 0 {
						t.Errorf("ended: %q", got)
					}
					return
				}
				got := nextFrame(t, r)
				code := uint16(1005)
				if len(got) >= 3 {
					code = binary.BigEndian.Uint16([]byte(got[1:]))
				}
				if got[0] != 'C' || code != tt.code {
					t.Errorf("heard %.60q, code %d, want %d", got, code, tt.code)
				}
				conn.Close()
			})
		})
	}
}

// nextFrame reads a server's frame: a letter for its opcode, and its payload.
func nextFrame(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	size := uint64(head[1])
	if extra := map[byte]int{126: 2, 127: 8}[head[1]]; extra > 0 {
		length := make([]byte, 8)
		io.ReadFull(r, length[8-extra:])
		size = binary.BigEndian.Uint64(length)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	letter := map[byte]string{fin | text: "t", fin | ping: "p", fin | pongReq: "P", fin | closeFrameOp: "C"}[head[0]]
	if letter == "" {
		t.Fatalf("a frame that begins with %x", head[0])
	}
	return letter + string(payload)
}
