package idv1

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"confgate/core"
)

// FuzzDecode looks for frames that make the codec panic, or that give other than
// exactly one of command and error.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"id":"joinRoom","token":"t","userId":8,"roomId":"c-10","communityId":"1","video":"true","audio":1}`,
		`{"id":"receiveVideoFrom","userId":"8","sdpOffer":"v=0"}`,
		`{"id":"onIceCandidate","userId":"8","candidate":{"candidate":"c","sdpMid":"0","sdpMLineIndex":0}}`,
		`{"id":"onIceCandidate","userId":"8","candidate":null}`,
		`{"id":"leaveRoom"}`,
		`{"id":"videoStateFrom","userId":"","video":"true"}`,
		`{"id":"audioStateFrom","audio":{}}`,
	} {
		f.Add([]byte(s))
	}
	codec := New(25).Codec
	f.Fuzz(func(t *testing.T, b []byte) {
		cmd, ref, err := codec.Decode(b)
		switch {
		case cmd != nil && err != nil:
			t.Fatalf("both command %v and error %v", cmd, err)
		case cmd == nil && err == nil && ref.Op != "onIceCandidate": // the end of candidates asks for nothing
			t.Fatalf("neither command nor error for %q", b)
		}
		codec.Encode(core.Reply{Ref: ref, Result: core.Done{}, Err: core.AsError(err)})
	})
}

// TestDocumented holds the codec against its document: every id that can be said
// stands there, and the reverse.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/idv1.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllSubmatch(doc, -1) {
		documented = append(documented, string(m[1]))
	}
	said := []string{
		"existingParticipants", "newParticipantArrived", "participantLeft", "receiveVideoAnswer", "iceCandidate",
		"videoStateAnswer", "audioStateAnswer", "limitJoinAnswer",
	}
	for id := range requests(Knobs{}) {
		said = append(said, id)
	}
	slices.Sort(said)
	slices.Sort(documented)
	if !slices.Equal(said, documented) {
		t.Errorf("the codec says %v\nthe document %v", said, documented)
	}
}

// TestNoWords gives the codec every event that the dialect has no words for.
func TestNoWords(t *testing.T) {
	screen := core.Stream{User: "ann", Source: core.Screen}
	for _, e := range []core.Event{
		core.FeedsAdded{}, core.FeedRemoved{}, core.Shared{}, core.Shown{}, core.Unshared{}, core.Said{}, core.Passed{},
		core.CandidatePassed{}, core.Speaking{}, core.Invited{}, core.Kicked{}, core.RoomClosed{}, core.Found{Stream: screen},
		core.MemberEdited{Changed: core.Changed{Name: true}},
		core.Reply{Result: core.Done{}}, core.Reply{Result: core.Welcome{}}, core.Reply{Result: core.Opened{}},
		core.Reply{Result: core.Listed{}}, core.Reply{Result: core.Offered{}}, core.Reply{Result: core.Relayed{}},
		core.Reply{Result: core.Grouped{}}, core.Reply{Err: core.AsError(core.Errorf(core.Internal, "x"))},
	} {
		if frames := New(25).Codec.Encode(e); len(frames) > 0 {
			t.Errorf("%T is said as %s", e, frames)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	codec := New(25).Codec
	frame := []byte(`{"id":"onIceCandidate","userId":"8","candidate":{"candidate":"candidate:2776107695 1 udp 2122194687 192.0.2.137 64922 typ host generation 0 ufrag aKkH network-id 2 network-cost 10","sdpMid":"0","sdpMLineIndex":0}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := codec.Decode(frame); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSenderIsNobodysChoice: whoever a frame names, what is one's own to say is said
// of oneself: core fills in the session's user.
func TestSenderIsNobodysChoice(t *testing.T) {
	codec := New(25).Codec
	for id := range requests(Knobs{}) {
		frame := `{"id":"` + id + `","userId":"victim","roomId":"r","sdpOffer":"o","candidate":{"candidate":"c"},"video":true,"audio":true}`
		cmd, _, err := codec.Decode([]byte(frame))
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
		switch c := cmd.(type) {
		case core.Join: // who has to prove it
			if c.Cred == nil || c.Cred.User != "victim" {
				t.Errorf("%s is %+v", id, c)
			}
		case core.Offer: // a connection of the sender's, that carries the victim's stream
			if c.Stream.User != "victim" {
				t.Errorf("%s is %+v", id, c)
			}
		case core.Trickle:
			if c.Stream.User != "victim" || c.To != "" || c.Body != nil {
				t.Errorf("%s is %+v", id, c)
			}
		default:
			if strings.Contains(core.Describe(cmd), "victim") {
				t.Errorf("%s is %s", id, core.Describe(cmd))
			}
		}
	}
}
