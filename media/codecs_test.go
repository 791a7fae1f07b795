package media

import (
	"os"
	"slices"
	"testing"

	"confgate/core"
)

// chromium gives an offer that Chromium made.
func chromium(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/chromium-" + name + ".sdp")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer gives the room's answer to ann's offer for somebody's stream.
func (s *stage) answer(user core.UserID, offer string) string {
	s.t.Helper()
	leg := s.leg("ann", user)
	s.room.Accept(leg, core.Ref{}, offer)
	a := s.accepted(leg)
	if a.Err != nil {
		s.t.Fatal(a.Err)
	}
	return a.Answer
}

func TestDTX(t *testing.T) {
	for name, test := range map[string]struct {
		options core.MediaOptions
		offer   string
		user    core.UserID
		wanted  string
	}{
		"off":       {core.MediaOptions{}, "publish", "ann", "111 minptime=10;useinbandfec=1"},
		"publish":   {core.MediaOptions{OpusDTX: true}, "publish", "ann", "111 minptime=10;useinbandfec=1;usedtx=1"},
		"subscribe": {core.MediaOptions{OpusDTX: true}, "subscribe", "ben", "111 minptime=10;useinbandfec=1"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := newStage(t, test.options).answer(test.user, chromium(t, test.offer))
			if got := lines(answer, "a=fmtp:"); !slices.Contains(got, test.wanted) {
				t.Errorf("got %q, want %q", got, test.wanted)
			}
		})
	}
}
