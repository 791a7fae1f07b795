package bench

import (
	"context"
	"reflect"
	"testing"

	"github.com/pion/webrtc/v4"
)

func TestParseID(t *testing.T) {
	l := &idLine{user: "1"}
	for message, want := range map[string]notice{
		`{"id":"existingParticipants","members":[{"userId":"7","video":false,"audio":true},{"userId":"9"}]}`: entered{[]string{"7", "9"}, []string{"7", "9"}},
		`{"id":"existingParticipants","members":[]}`:                                                         entered{},
		`{"id":"newParticipantArrived","member":{"userId":"8","video":false,"audio":true}}`:                  published{[]string{"8"}},
		`{"id":"participantLeft","userId":"8"}`:                                                              departed{"8"},
		`{"id":"receiveVideoAnswer","userId":"8","sdpAnswer":"v=0"}`:                                         answered{"8", "v=0"},
		`{"id":"limitJoinAnswer","roomId":"c-1"}`:                                                            refused{"room is full"},
		`{"id":"iceCandidate","userId":"8","candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0}}`: found{
			"8", webrtc.ICECandidateInit{Candidate: "candidate:1", SDPMid: new("0"), SDPMLineIndex: new(uint16(0))},
		},
		`{"id":"videoStateAnswer","userId":"8","video":true}`: nil,
		`{"id":"videoStateAnswer","userId":"1","video":true}`: echoed{},
	} {
		got, err := l.parse([]byte(message))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", message, got, err, want)
		}
	}
	for _, bad := range []string{`{`, `{"id":"error"}`, `{}`, `{"id":"iceCandidate","userId":"8"}`, `{"id":"participantLeft","userId":8}`} {
		if got, err := l.parse([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

// TestIDSays: the member's side of the golden transcript.
func TestIDSays(t *testing.T) {
	said := make(chan string, 1)
	at := serveSockJS(t, `{"websocket":true}`, []string{"o"}, said)
	web := newWeb()
	defer web.CloseIdleConnections()
	l, err := dialID(t.Context(), web, at.JoinPath(".."), "8")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		say  func(context.Context) error
		want string
	}{
		{
			func(ctx context.Context) error { return l.join(ctx, "c-10") },
			`["{\"id\":\"joinRoom\",\"token\":\"bench\",\"userId\":\"8\",\"communityId\":\"1\",\"roomId\":\"c-10\",\"video\":true,\"audio\":true}"]`,
		},
		{
			func(ctx context.Context) error { return l.offer(ctx, "7", "v=0\r\n") },
			`["{\"id\":\"receiveVideoFrom\",\"userId\":\"7\",\"sdpOffer\":\"v=0\\r\\n\"}"]`,
		},
		{
			func(ctx context.Context) error {
				return l.trickle(ctx, "7", webrtc.ICECandidateInit{Candidate: "candidate:1", SDPMid: new("0"), SDPMLineIndex: new(uint16(0)), UsernameFragment: new("u")})
			},
			`["{\"id\":\"onIceCandidate\",\"userId\":\"7\",\"candidate\":{\"candidate\":\"candidate:1\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0,\"usernameFragment\":\"u\"}}"]`,
		},
		{l.poke, `["{\"id\":\"videoStateFrom\",\"userId\":\"8\",\"video\":true}"]`},
		{l.leave, `["{\"id\":\"leaveRoom\"}"]`},
	} {
		if err := c.say(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-said; got != c.want {
			t.Errorf("said %s\nwant %s", got, c.want)
		}
	}
}
