package transport

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// shown writes packets on one line.
func shown(packets []enginePacket) string {
	var words []string
	for _, p := range packets {
		word := string(p.kind) + string(p.data)
		if p.binary {
			word = "bytes"
		}
		words = append(words, word)
	}
	return strings.Join(words, "|")
}

const octetStream = "application/octet-stream"

func TestDecodePayload(t *testing.T) {
	many := func(packet, between string, n int) string {
		return strings.TrimSuffix(strings.Repeat(packet+between, n), between)
	}
	tests := []struct {
		rev    revision
		kind   string // the content type
		body   string
		want   string
		broken error
	}{
		{rev: eio4, body: "4hello", want: "4hello"},
		{rev: eio4, body: "4", want: "4"},
		{rev: eio4, body: "4test1\x1e4test2\x1e4test3", want: "4test1|4test2|4test3"},
		{rev: eio4, body: "4hello\x1ebAQIDBA==", want: "4hello|bytes"},
		{rev: eio4, body: "b", want: "bytes"},
		{rev: eio4, body: "3\x1e1", want: "3|1"},
		{rev: eio4, body: "4안녕 😀:5", want: "4안녕 😀:5"},
		{rev: eio4, body: "2probe\x1e5\x1e6\x1e0{}", want: "2probe|5|6|0{}"},
		{rev: eio4, body: many("4x", "\x1e", 256), want: many("4x", "|", 256)},
		{rev: eio4, body: many("4x", "\x1e", 257), broken: ErrBroken},
		{rev: eio4, body: "", broken: ErrBroken},
		{rev: eio4, body: "abc", broken: ErrBroken},
		{rev: eio4, body: "7", broken: ErrBroken},
		{rev: eio4, body: "4a\x1e", broken: ErrBroken},
		{rev: eio4, body: "\x1e4a", broken: ErrBroken},
		{rev: eio4, body: "4a\x1e\x1e4b", broken: ErrBroken},
		{rev: eio4, body: "4\xff", broken: ErrNotUTF8},
		{rev: eio4, kind: octetStream, body: "4hello", broken: ErrBroken},

		{rev: eio3, body: "6:4hello", want: "4hello"},
		{rev: eio3, body: "6:4test16:4test26:4test3", want: "4test1|4test2|4test3"},
		{rev: eio3, body: "6:4hello10:b4AQIDBA==", want: "4hello|bytes"},
		{rev: eio3, body: "1:2", want: "2"},
		{rev: eio3, body: "6:4안녕 😀", want: "4안녕 😀"}, // the face counts twice
		{rev: eio3, body: "5:4안녕 😀", broken: ErrBroken},
		{rev: eio3, body: "7:4안녕 😀", broken: ErrBroken},
		{rev: eio3, body: "2:4😀", broken: ErrBroken}, // half of it
		{rev: eio3, body: "006:4hello", want: "4hello"},
		{rev: eio3, body: many("1:4", "", 256), want: many("4", "|", 256)},
		{rev: eio3, body: many("1:4", "", 257), broken: ErrBroken},
		{rev: eio3, body: "", broken: ErrBroken},
		{rev: eio3, body: "abc", broken: ErrBroken},
		{rev: eio3, body: ":4hello", broken: ErrBroken},
		{rev: eio3, body: "6", broken: ErrBroken},
		{rev: eio3, body: "0:", broken: ErrBroken},
		{rev: eio3, body: "-1:4", broken: ErrBroken},
		{rev: eio3, body: "+1:4", broken: ErrBroken},
		{rev: eio3, body: "1e0:4", broken: ErrBroken},
		{rev: eio3, body: "6:4hell", broken: ErrBroken},
		{rev: eio3, body: "6:4helloX", broken: ErrBroken},
		{rev: eio3, body: "99999999999999999999:4", broken: ErrBroken},
		{rev: eio3, body: "2147483647:4", broken: ErrBroken},
		{rev: eio3, body: "3:b2A", broken: ErrBroken},
		{rev: eio3, body: "2:4\xff", broken: ErrNotUTF8},

		{rev: eio3, kind: octetStream, body: "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", want: "4hello|bytes"},
		{rev: eio3, kind: octetStream, body: "\x00\x01\x00\xff4123456789", want: "4123456789"},
		{rev: eio3, kind: octetStream, body: "\x01\x01\xff\x04", want: "bytes"},
		{rev: eio3, kind: octetStream, body: "\x00\x04\xffb4AQ", want: "bytes"},
		{rev: eio3, kind: octetStream + "; charset=x", body: "\x00\x01\xff2", want: "2"},
		{rev: eio3, kind: octetStream, body: "", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x00\xff4", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x00\x06", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x02\x01\xff4", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x00\x02\xff4", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x00\x0a\xff4", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x01\x01\xff\x02", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", broken: ErrBroken},
		{rev: eio3, kind: octetStream, body: "6:4hello", broken: ErrBroken},
	}
	for _, tt := range tests {
		got, err := decodePayload(tt.rev, tt.kind, []byte(tt.body))
		if !errors.Is(err, tt.broken) || shown(got) != tt.want {
			t.Errorf("%d %s %.60q: %.60q, %v, want %.60q, %v", tt.rev, tt.kind, tt.body, shown(got), err, tt.want, tt.broken)
		}
	}
}

func TestEncodePayload(t *testing.T) {
	packets := [][]byte{[]byte("4a"), []byte("4안녕 😀"), []byte("6")}
	if got, want := string(encodePayload(eio4, packets)), "4a\x1e4안녕 😀\x1e6"; got != want {
		t.Errorf("revision 4: %q", got)
	}
	if got, want := string(encodePayload(eio3, packets)), "2:4a6:4안녕 😀1:6"; got != want {
		t.Errorf("revision 3: %q", got)
	}
}

var revisionsAndKinds = []struct {
	rev  revision
	kind string
}{{eio4, ""}, {eio3, ""}, {eio3, octetStream}}

// What comes in is what was in it, or is refused; nothing is made up.
func FuzzEnginePayload(f *testing.F) {
	for _, seed := range []string{"4hello", "4a\x1e4b", "6:4hello10:b4AQIDBA==", "5:4안녕 😀", "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04",
		"", "0:", "1:2", "bAQ==", "\x1e", "\x00\x09\x09\xff", "999999999:4", "4\xff"} {
		for i := range revisionsAndKinds {
			f.Add(uint8(i), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		as := revisionsAndKinds[int(which)%len(revisionsAndKinds)]
		packets, err := decodePayload(as.rev, as.kind, body)
		if err != nil {
			if packets != nil || !errors.Is(err, ErrBroken) && !errors.Is(err, ErrNotUTF8) {
				t.Fatalf("%d packets and %v", len(packets), err)
			}
			return
		}
		if len(packets) == 0 || len(packets) > maxPackets {
			t.Fatalf("%d packets", len(packets))
		}
		var texts [][]byte
		size := 0
		for _, p := range packets {
			if p.kind < eioOpen || p.kind > eioNoop || p.binary && p.kind != eioMessage {
				t.Fatalf("packet %+v", p)
			}
			if !bytes.Contains(body, p.data) {
				t.Fatalf("made up %q", p.data)
			}
			size += 1 + len(p.data)
			if !p.binary {
				texts = append(texts, append([]byte{p.kind}, p.data...))
			}
		}
		if size > len(body) {
			t.Fatalf("%d bytes in %d", size, len(body))
		}
		// What goes out comes in again.
		if as.kind != "" && !utf8.Valid(bytes.Join(texts, nil)) || len(texts) == 0 {
			return
		}
		again, err := decodePayload(as.rev, "", encodePayload(as.rev, texts))
		if as.rev == eio4 && bytes.IndexByte(bytes.Join(texts, nil), separator) >= 0 {
			return
		}
		if err != nil || len(again) != len(texts) {
			t.Fatalf("%q came back as %q, %v", texts, shown(again), err)
		}
		for i, p := range again {
			if !bytes.Equal(append([]byte{p.kind}, p.data...), texts[i]) {
				t.Fatalf("%q came back as %q", texts[i], p.data)
			}
		}
	})
}
