package bench

import (
	"errors"
	"testing"

	rtpcodecs "github.com/pion/rtp/codecs"
)

func TestAudioPayload(t *testing.T) {
	want := stamp{kind: audio, sender: 24, seq: 1<<31 + 7, at: 1 << 60}
	b := make([]byte, 80)
	putAudio(b, want)
	got, err := parseAudio(b)
	if err != nil || got != want {
		t.Errorf("parseAudio = %+v, %v; want %+v", got, err, want)
	}
}

func TestVideoPayload(t *testing.T) {
	for _, p := range []picture{
		{id: 0, first: true, key: true},
		{id: 0x7fff, first: true},
		{id: 300},
	} {
		want := stamp{kind: video, sender: 65535, seq: 42, at: -1}
		b := make([]byte, 600)
		putVideo(b, p, want)
		pic, got, err := parseVideo(b)
		if err != nil || got != want || pic != p {
			t.Errorf("parseVideo = %+v, %+v, %v; want %+v, %+v", pic, got, err, p, want)
		}
	}
}

// TestVideoIsVP8 reads our payload with somebody else's reader.
func TestVideoIsVP8(t *testing.T) {
	b := make([]byte, 600)
	putVideo(b, picture{id: 513, first: true, key: true}, stamp{kind: video})
	var p rtpcodecs.VP8Packet
	frame, err := p.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if p.S != 1 || p.PID != 0 || p.PictureID != 513 {
		t.Errorf("descriptor: S %d, PID %d, picture %d", p.S, p.PID, p.PictureID)
	}
	if frame[0]&1 != 0 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		t.Errorf("no key frame head: % x", frame[:10])
	}
	tag := uint32(frame[0]) | uint32(frame[1])<<8 | uint32(frame[2])<<16
	if part := int(tag >> 5); part != len(frame)-keyTagSize {
		t.Errorf("first partition of %d bytes in a frame of %d", part, len(frame))
	}
}

// TestVideoRewritten reads a descriptor that a gateway made longer.
func TestVideoRewritten(t *testing.T) {
	b := make([]byte, 600)
	want := stamp{kind: video, seq: 9}
	putVideo(b, picture{id: 5, first: true}, want)
	long := append([]byte{0x90, 0xe0, 0x80, 0x05, 0x01, 0x20}, b[descriptorSize:]...)
	pic, got, err := parseVideo(long)
	if err != nil || got != want || pic.id != 5 || !pic.first {
		t.Errorf("parseVideo = %+v, %+v, %v", pic, got, err)
	}
}

func TestForeignPayloads(t *testing.T) {
	whole := make([]byte, 64)
	putVideo(whole, picture{first: true, key: true}, stamp{kind: video})
	for n := range minVideoPayload {
		if _, _, err := parseVideo(whole[:n]); !errors.Is(err, errNotOurs) {
			t.Errorf("video of %d bytes: %v", n, err)
		}
	}
	if _, err := parseAudio(whole); !errors.Is(err, errNotOurs) {
		t.Errorf("video taken for audio: %v", err)
	}
	sound := make([]byte, 64)
	putAudio(sound, stamp{kind: video})
	if _, err := parseAudio(sound); !errors.Is(err, errNotOurs) {
		t.Errorf("stamp of another kind: %v", err)
	}
}

func FuzzParseVideo(f *testing.F) {
	b := make([]byte, 64)
	putVideo(b, picture{id: 300, first: true, key: true}, stamp{kind: video, seq: 1})
	f.Add(b)
	f.Add([]byte{0x90, 0xff})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = parseVideo(b) // must not panic
	})
}
