package bench

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/pion/webrtc/v4"
)

// script is a carrier that gives the gateway's side of a transcript and keeps what the
// member says.
type script struct {
	heard []string
	said  []string
	ended string
}

func (s *script) read(context.Context) ([]byte, error) {
	if len(s.heard) == 0 {
		return nil, io.EOF
	}
	message := s.heard[0]
	s.heard = s.heard[1:]
	return []byte(message), nil
}

func (s *script) write(_ context.Context, message []byte) error {
	s.said = append(s.said, string(message))
	return nil
}

func (s *script) close(context.Context) error { s.ended = "closed"; return nil }
func (s *script) hangUp()                     { s.ended = "hung up" }

// TestEventopTellsOf: what the member hears, as the golden transcript has it.
func TestEventopTellsOf(t *testing.T) {
	for message, want := range map[string]notice{
		`{"eventOp":"joinRoom","reqId":"3","code":"200","roomId":"r","members":{"9":{"id":"9"},"8":{"id":"8"},"7":{"id":"7"}}}`:                     entered{others: []string{"7", "9"}},
		`{"eventOp":"joinRoom","reqId":"3","code":"200","roomId":"r","members":{"8":{"id":"8"}}}`:                                                   entered{},
		`{"eventOp":"joinRoom","reqId":"3","code":"444","message":"room is full"}`:                                                                  refused{"joinRoom: 444 room is full"},
		`{"eventOp":"register","reqId":"1","code":"401","message":"not authorized"}`:                                                                refused{"register: 401 not authorized"},
		`{"eventOp":"presence","type":"publish","roomId":"r","feeds":[{"id":"7","type":"cam"},{"id":"7","type":"screen"},{"id":"9","type":"cam"}]}`: published{[]string{"7", "9"}},
		`{"eventOp":"presence","type":"leave","roomId":"r","user":"7"}`:                                                                             departed{"7"},
		`{"eventOp":"sdpRoom","reqId":"4","code":"200","roomId":"r","type":"cam","sdp":{"type":"answer","sdp":"v=0"}}`:                              answered{"8", "v=0"},
		`{"eventOp":"subscribe","reqId":"5","code":"200","message":"OK","roomId":"r","type":"cam","target":"7","sdp":{"type":"offer","sdp":"v=0"}}`: offered{"7", "v=0"},
	} {
		l := &eventopLine{carrier: &script{heard: []string{message}}, user: "8", room: "r"}
		got, err := l.next(t.Context())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", message, got, err, want)
		}
	}
}

func TestEventopPassesOver(t *testing.T) {
	l := &eventopLine{user: "8", room: "r", carrier: &script{heard: []string{
		`{"eventOp":"presence","type":"join","roomId":"r","user":{"id":"9","userId":"9"}}`,
		`{"eventOp":"sdpRoom","roomId":"r","type":"cam","sdp":{"type":"offer","sdp":"v=0"},"target":"7","user":"7"}`,
		`{"eventOp":"sdpRoom","reqId":"6","code":"200","message":"OK"}`,
		`{"eventOp":"candidate","reqId":"7","code":"200","message":"OK"}`,
		`{"eventOp":"leaveRoom","reqId":"8","code":"200","message":"OK"}`,
	}}}
	if got, err := l.next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEventopComplains(t *testing.T) {
	for _, bad := range []string{
		`{`, `{}`, `{"eventOp":"dance"}`, `{"eventOp":"dance","code":"200"}`, `{"eventOp":"presence","type":"dance"}`,
		`{"eventOp":"presence","type":"leave","user":{"id":"7"}}`,
		`{"eventOp":"error","code":"422","message":"not an object"}`,
		`{"eventOp":"candidate","code":"413","message":"not a member"}`,
		`{"eventOp":"subscribe","code":"451","message":"no such feed"}`,
		`{"eventOp":"subscribe","code":"200","target":"7"}`,
		`{"eventOp":"subscribe","code":"200","target":"7","sdp":{"type":"answer","sdp":"v=0"}}`,
		`{"eventOp":"sdpRoom","code":"200","sdp":{"type":"offer","sdp":"v=0"}}`,
	} {
		l := &eventopLine{carrier: &script{heard: []string{bad}}, user: "8", room: "r"}
		if got, err := l.next(t.Context()); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %+v, %v", bad, got, err)
		}
	}
}

// TestEventopSays: the member's side of the golden transcript, from the door to the door.
func TestEventopSays(t *testing.T) {
	s := &script{heard: []string{
		`{"eventOp":"register","reqId":"1","code":"200","message":"OK","userId":"8","iceServers":[]}`,
		`{"eventOp":"createVideoRoom","reqId":"2","code":"443","message":"room c-10 exists"}`,
		`{"eventOp":"joinRoom","reqId":"3","code":"200","message":"OK","roomId":"c-10","members":{"8":{},"7":{}}}`,
	}}
	l := &eventopLine{carrier: s, user: "8", tenant: anybody, key: anybody}
	if err := l.join(t.Context(), "c-10"); err != nil {
		t.Fatal(err)
	}
	if n, err := l.next(t.Context()); err != nil || !reflect.DeepEqual(n, entered{others: []string{"7"}}) {
		t.Fatalf("%+v, %v", n, err)
	}
	c := webrtc.ICECandidateInit{Candidate: "candidate:1", SDPMid: new("0"), SDPMLineIndex: new(uint16(0))}
	for _, err := range []error{
		l.offer(t.Context(), "8", "v=0\r\n"),
		l.trickle(t.Context(), "8", c),
		l.ask(t.Context(), "7"),
		l.answer(t.Context(), "7", "v=0\r\n"),
		l.trickle(t.Context(), "7", c),
		l.leave(t.Context()),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	const candidate = `"candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":null}`
	want := []string{
		`{"eventOp":"register","reqId":"1","userId":"8","cpCode":"bench","authKey":"bench"}`,
		`{"eventOp":"createVideoRoom","reqId":"2","userId":"8","roomId":"c-10","destroy":true}`,
		`{"eventOp":"joinRoom","reqId":"3","userId":"8","roomId":"c-10"}`,
		`{"eventOp":"sdpRoom","reqId":"4","userId":"8","roomId":"c-10","type":"cam","sdp":{"type":"offer","sdp":"v=0\r\n"}}`,
		`{"eventOp":"candidate","reqId":"5","userId":"8","roomId":"c-10","cam":true,` + candidate + `}`,
		`{"eventOp":"subscribe","reqId":"6","userId":"8","roomId":"c-10","type":"cam","target":"7","video":true,"audio":true}`,
		`{"eventOp":"sdpRoom","reqId":"7","userId":"8","roomId":"c-10","type":"cam","target":"7","sdp":{"type":"answer","sdp":"v=0\r\n"}}`,
		`{"eventOp":"candidate","reqId":"8","userId":"8","roomId":"c-10","cam":true,"target":"7",` + candidate + `}`,
		`{"eventOp":"leaveRoom","reqId":"9","userId":"8","roomId":"c-10"}`,
	}
	for i := range max(len(want), len(s.said)) {
		if i >= len(want) || i >= len(s.said) || s.said[i] != want[i] {
			t.Fatalf("said %q\nwant %q", s.said, want)
		}
	}
	if s.ended != "closed" {
		t.Errorf("the line was %s", s.ended)
	}
	if err := l.offer(t.Context(), "7", "v=0\r\n"); err == nil {
		t.Error("offers for another's media")
	}
}
