package relay

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"confgate/core"
)

var loopback = []netip.Addr{netip.MustParseAddr("127.0.0.1")}

const (
	school = core.TenantID("school")
	ann    = core.UserID("ann")
	ben    = core.UserID("ben")
)

// host is a server on loopback, with what it refused.
type host struct {
	*Server
	issuer Issuer

	// Guarded by mu.
	mu      sync.Mutex
	refused []Refusal
	gone    map[core.UserID]bool
}

func (h *host) online(_ core.TenantID, u core.UserID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.gone[u]
}

func (h *host) leaves(u core.UserID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone[u] = true
}

func (h *host) note(r Refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = append(h.refused, r)
}

// serve runs a server whose configuration is what change makes of a small one.
func serve(t *testing.T, change func(*Config)) *host {
	t.Helper()
	h := &host{gone: make(map[core.UserID]bool)}
	c := Config{
		UDP: "127.0.0.1:0", IPs: loopback, Ports: Ports{1024, 65535}, Media: 9,
		Secret: []byte("a secret of thirty-two bytes, no less"), TTL: time.Hour,
		Allocations: 100, UserAllocations: 12, Refused: h.note, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	s, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(h.online); err != nil {
		t.Fatal(err)
	}
	h.issuer = Issuer{Secret: c.Secret, TTL: c.TTL, URLs: s.URLs("127.0.0.1")}
	return h
}

// gives hands out a user's credential.
func (h *host) gives(u core.UserID) core.ICEServer {
	all := h.issuer.ICEServers(school, u)
	return all[len(all)-1]
}

// dial makes a client with a credential, over UDP.
func (h *host) dial(t *testing.T, c core.ICEServer) *turn.Client {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return h.client(t, conn, c)
}

// dialStream makes a client over TCP, or TLS if there is a configuration for it.
func (h *host) dialStream(t *testing.T, c core.ICEServer, config *tls.Config) *turn.Client {
	t.Helper()
	at := h.tcp
	if config != nil {
		at = h.tls
	}
	conn, err := net.Dial("tcp", at.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	return h.client(t, turn.NewSTUNConn(conn), c)
}

func (h *host) client(t *testing.T, conn net.PacketConn, c core.ICEServer) *turn.Client {
	t.Helper()
	at := "127.0.0.1:9"
	if h.udp != nil {
		at = h.udp.LocalAddr().String()
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: at, TURNServerAddr: at, Conn: conn,
		Username: c.Username, Password: c.Credential, LoggerFactory: logs{slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		conn.Close()
	})
	return client
}

// allocates gives a client's relayed socket.
func allocates(t *testing.T, c *turn.Client) net.PacketConn {
	t.Helper()
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { relay.Close() })
	return relay
}

// sink is a socket that notes what reaches it.
func sink(t *testing.T, network, at string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

// echoes sends text to a peer through a relay, and has the peer send it back.
func echoes(t *testing.T, relay net.PacketConn, peer *net.UDPConn, text string) {
	t.Helper()
	if _, err := relay.WriteTo([]byte(text), peer.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, from, err := peer.ReadFrom(b)
	if err != nil || string(b[:n]) != text || from.String() != relay.LocalAddr().String() {
		t.Fatalf("the peer received %d bytes from %v, %v; want %d from %v", n, from, err, len(text), relay.LocalAddr())
	}
	if _, err := peer.WriteTo(b[:n], from); err != nil {
		t.Fatal(err)
	}
	n, from, err = relay.ReadFrom(b)
	if err != nil || string(b[:n]) != text || from.String() != peer.LocalAddr().String() {
		t.Fatalf("the client received %d bytes from %v, %v; want %d from %v", n, from, err, len(text), peer.LocalAddr())
	}
}

// fails expects an error that has a STUN error code.
func fails(t *testing.T, err error, code string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), code) {
		t.Errorf("got %v, want error %s", err, code)
	}
}
