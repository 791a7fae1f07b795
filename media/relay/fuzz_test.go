package relay

import (
	"bytes"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"confgate/core"
)

// FuzzMessage gives the gate what anybody may send: nothing goes on to Pion's
// server that is longer than what came, and no stream keeps its reader busy.
func FuzzMessage(f *testing.F) {
	s, err := Listen(Config{Secret: []byte("secret"), TTL: time.Hour, Binding: true, Log: slog.New(slog.DiscardHandler), Allocations: 1, UserAllocations: 1})
	if err != nil {
		f.Fatal(err)
	}
	s.online = func(core.TenantID, core.UserID) bool { return true }
	from := netip.MustParseAddrPort("192.0.2.1:1")
	name := credential{ends: time.Now().Add(time.Hour).Unix(), tenant: "t", user: "u"}.username()
	for _, typ := range []stun.Method{stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind, stun.MethodBinding, stun.MethodConnect} {
		m, err := stun.Build(stun.TransactionID, stun.NewType(typ, stun.ClassRequest), overUDP(), toPeer(loopback[0], 1),
			stun.NewUsername(name), stun.NewRealm(realm), stun.NewNonce("n"), stun.MessageIntegrity(s.key(name)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Raw)
	}
	for _, seed := range []string{"", "40000000", "4000fffc00", "0003ffec2112a442000000000000000000000000", "47455420"} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, _ := s.admit(bytes.Clone(b), from); n < 0 || n > len(b) {
			t.Errorf("%d bytes of %d go on", n, len(b))
		}
		isForAnybody(b)
		st := &stream{Conn: &tape{Reader: bytes.NewReader(b)}, raw: &tape{}, server: s, from: from}
		for rest := len(b); ; {
			n, err := st.next()
			if err != nil {
				return
			}
			if rest -= n; n < 4 || rest < 0 {
				t.Fatalf("a message of %d bytes leaves %d", n, rest)
			}
		}
	})
}

// tape is a connection that has been read beforehand.
type tape struct {
	net.Conn
	io.Reader
}

func (t *tape) Read(b []byte) (int, error) { return t.Reader.Read(b) }
