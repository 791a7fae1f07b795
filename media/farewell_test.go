package media

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"confgate/core"
)

// TestFarewell checks a connection that failed: the client is told that it is over,
// who does not know its password gets nothing, and in the end nobody does.
func TestFarewell(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	l := s.idle("ben", "ann")
	l.fail(errICE)
	s.await("Failed", func(e core.MediaEvent) bool { _, ok := e.(core.Failed); return ok })

	client := s.sink()
	at := path{host: s.plane.port.hosts[0], to: netip.MustParseAddrPort(client.LocalAddr().String())}
	forged := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(l.link.ufrag+":them"),
		stun.NewShortTermIntegrity("guessed"), stun.Fingerprint)
	before := s.plane.stats.strangers.Load()
	s.plane.answerCheck(forged.Raw, at, stun.New(), s.plane.now())
	if n := s.plane.stats.strangers.Load(); n != before+1 {
		t.Errorf("%d strangers", n-before)
	}

	check := checkOf(t, l.link)
	s.plane.answerCheck(check, at, stun.New(), s.plane.now())
	answer := &stun.Message{Raw: make([]byte, maxPacket)}
	n, err := client.Read(answer.Raw)
	if err != nil {
		t.Fatal(err)
	}
	answer.Raw = answer.Raw[:n]
	var code stun.ErrorCodeAttribute
	if err := answer.Decode(); err != nil || code.GetFrom(answer) != nil || code.Code != stun.CodeForbidden || l.link.integrity.Check(answer) != nil {
		t.Errorf("answered with %v, %v", answer, err)
	}
	if n > len(check) {
		t.Errorf("an answer of %d bytes to a check of %d", n, len(check))
	}

	s.plane.farewells.forget(s.plane.now().Add(farewellTime + time.Second))
	if n := len(s.plane.farewells.all); n != 0 {
		t.Errorf("%d are kept", n)
	}
}
