package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"confgate/core"
)

var thisOne = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

func TestRelays(t *testing.T) {
	cert, roots := certificate(t)
	h := serve(t, func(c *Config) {
		c.TCP, c.TLS, c.Certificate, c.Admit = "127.0.0.1:0", "127.0.0.1:0", cert.Get, thisOne
	})
	for name, dial := range map[string]func(*testing.T) *turn.Client{
		"UDP": func(t *testing.T) *turn.Client { return h.dial(t, h.gives(ann)) },
		"TCP": func(t *testing.T) *turn.Client { return h.dialStream(t, h.gives(ann), nil) },
		"TLS": func(t *testing.T) *turn.Client {
			return h.dialStream(t, h.gives(ann), &tls.Config{RootCAs: roots, ServerName: "turn.example"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			relay := allocates(t, dial(t))
			peer := sink(t, "udp4", "127.0.0.1:0")
			for _, text := range []string{"the first", "the second, by now perhaps on a channel", strings.Repeat("x", 1200)} {
				echoes(t, relay, peer, text)
			}
			if err := relay.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	st := h.Stats()
	if st.Sent.Packets != 9 || st.Received.Packets != 9 || st.Sent.Bytes != st.Received.Bytes || st.Made != 3 {
		t.Errorf("counted %+v", st)
	}
}

// TestRelaysMeet has two people who both need a relay talk to each other, though
// nothing else on this machine may be reached.
func TestRelaysMeet(t *testing.T) {
	for name, known := range map[string]string{"on this machine": "127.0.0.1", "behind a NAT that has no way back in": "203.0.113.7"} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, func(c *Config) { c.IPs = []netip.Addr{netip.MustParseAddr(known)} })
			annsClient, bensClient := h.dial(t, h.gives(ann)), h.dial(t, h.gives(ben))
			anns, bens := allocates(t, annsClient), allocates(t, bensClient)
			if host, _, _ := net.SplitHostPort(anns.LocalAddr().String()); host != known {
				t.Errorf("an allocation is at %v, want %s", anns.LocalAddr(), known)
			}
			b := make([]byte, 100)
			// A relay lets in only those whom its client has named.
			if err := errors.Join(annsClient.CreatePermission(bens.LocalAddr()), bensClient.CreatePermission(anns.LocalAddr())); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct{ from, to net.PacketConn }{{anns, bens}, {bens, anns}} {
				if _, err := c.from.WriteTo([]byte("hello"), c.to.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				n, from, err := c.to.ReadFrom(b)
				if err != nil || string(b[:n]) != "hello" || from.String() != c.from.LocalAddr().String() {
					t.Errorf("got %q from %v, %v", b[:n], from, err)
				}
			}
		})
	}
}

// TestReachesMedia has a client that can reach nothing but TURN reach the gateway's
// own media, and nothing else at that address.
func TestReachesMedia(t *testing.T) {
	media, other := sink(t, "udp4", "127.0.0.1:0"), sink(t, "udp4", "127.0.0.1:0")
	h := serve(t, func(c *Config) { c.Media = media.LocalAddr().(*net.UDPAddr).AddrPort().Port() })
	relay := allocates(t, h.dial(t, h.gives(ann)))
	if _, err := relay.WriteTo([]byte("inside"), other.LocalAddr()); err != nil {
		t.Fatal(err) // the permission is for the address
	}
	echoes(t, relay, media, "hello") // in order, so that the other would have come
	nothing(t, other)
	if n := h.Stats().Refused[Peer]; n != 1 {
		t.Errorf("%d packets refused, want 1", n)
	}
}

// nothing expects that nothing has reached a socket.
func nothing(t *testing.T, s *net.UDPConn) {
	t.Helper()
	if err := s.SetReadDeadline(time.Unix(0, 1)); err != nil {
		t.Fatal(err)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	var n int
	var readErr error
	if err := raw.Control(func(fd uintptr) { n, _, readErr = syscall.Recvfrom(int(fd), b, syscall.MSG_DONTWAIT) }); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(readErr, syscall.EAGAIN) {
		t.Errorf("%d bytes came through: %q, %v", n, b[:max(n, 0)], readErr)
	}
}

func TestQuota(t *testing.T) {
	h := serve(t, func(c *Config) { c.Allocations = 20 })
	var first net.PacketConn
	for range 12 {
		relay := allocates(t, h.dial(t, h.gives(ann)))
		if first == nil {
			first = relay
		}
	}
	_, err := h.dial(t, h.gives(ann)).Allocate()
	fails(t, err, "486")
	for range 8 {
		allocates(t, h.dial(t, h.gives(ben)))
	}
	_, err = h.dial(t, h.gives("cid")).Allocate()
	fails(t, err, "486") // nobody has more than 12, but all together 20
	if st := h.Stats(); st.Allocations != 20 || st.Refused[Quota] != 2 {
		t.Errorf("counted %+v", st)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// The release is a request of its own, over a socket of its own; the server has
	// answered it.
	allocates(t, h.dial(t, h.gives(ann)))
}

func TestTransportsToPeers(t *testing.T) {
	h := serve(t, func(c *Config) { c.Admit = thisOne })
	_, err := h.dial(t, h.gives(ann)).AllocateTCP()
	fails(t, err, "508")
	relay := allocates(t, h.dial(t, h.gives(ann)))
	peer := sink(t, "udp4", "127.0.0.1:0")
	echoes(t, relay, peer, "hello")
	if n := h.Stats().Allocations; n != 1 {
		t.Errorf("%d allocations, want 1", n)
	}
}

func TestCloseEndsAll(t *testing.T) {
	h := serve(t, func(c *Config) { c.TCP = "127.0.0.1:0" })
	allocates(t, h.dial(t, h.gives(ann)))
	allocates(t, h.dialStream(t, h.gives(ben), nil))
	silent, err := net.Dial("tcp", h.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives its server")
	}
	if n := h.Stats().Allocations; n != 0 {
		t.Errorf("%d allocations are left", n)
	}
}

func TestListenFails(t *testing.T) {
	taken := sink(t, "udp4", "127.0.0.1:0")
	if _, err := Listen(Config{UDP: taken.LocalAddr().String()}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
}

func TestProbe(t *testing.T) {
	h := serve(t, func(c *Config) { c.TCP = "127.0.0.1:0" })
	for _, url := range h.issuer.URLs {
		if err := Probe(t.Context(), url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	urls := slices.Clone(h.issuer.URLs)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, url := range append(urls, "turn:", "turns:127.0.0.1:1") {
		if err := Probe(t.Context(), url); err == nil {
			t.Errorf("%s answers, though nobody is there", url)
		}
	}
}

func TestParsePorts(t *testing.T) {
	if p, err := ParsePorts("49152-65535"); err != nil || p.String() != "49152-65535" {
		t.Errorf("got %v, %v", p, err)
	}
	for _, text := range []string{"", "5000", "1023-2000", "3000-2000", "3000-65536", "a-b", "3000-"} {
		if p, err := ParsePorts(text); err == nil {
			t.Errorf("%q is taken for %v", text, p)
		}
	}
}

// certificate makes one that signs itself, in files.
func certificate(t *testing.T) (*Certificate, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der := writeCertificate(t, cert, key, 1)
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	c, err := LoadCertificate(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return c, roots
}

func writeCertificate(t *testing.T, cert, key string, serial int64) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "turn.example"}, DNSNames: []string{"turn.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return der
}

func TestCertificateIsReadAgain(t *testing.T) {
	c, _ := certificate(t)
	first, _ := c.Get(nil)
	writeCertificate(t, c.cert, c.key, 2)
	if err := os.Chtimes(c.cert, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if same, _ := c.Get(nil); same != first {
		t.Error("the file is read again at once")
	}
	c.looked = time.Time{}
	second, err := c.Get(nil)
	if err != nil || second == first {
		t.Errorf("the new certificate is not there: %v", err)
	}
	c.looked = time.Time{}
	if err := os.Remove(c.cert); err != nil {
		t.Fatal(err)
	}
	if kept, err := c.Get(nil); err != nil || kept != second {
		t.Errorf("got %v, %v; want what was loaded", kept, err)
	}
}

func TestICEServers(t *testing.T) {
	i := Issuer{Secret: []byte("s"), TTL: time.Hour, URLs: []string{"turn:a:1", "stun:a:1", "turns:a:2?transport=tcp"}}
	all := i.ICEServers("t", "u")
	if len(all) != 2 || !slices.Equal(all[0].URLs, []string{"stun:a:1"}) || all[0].Username != "" ||
		!slices.Equal(all[1].URLs, []string{"turn:a:1", "turns:a:2?transport=tcp"}) {
		t.Errorf("got %v", all)
	}
	if got := (Issuer{}).ICEServers("t", "u"); got != nil {
		t.Errorf("got %v of no server", got)
	}
	if got := i.ICEServers(core.TenantID(strings.Repeat("가", 42)), core.UserID(strings.Repeat("나", 42))); len(got) != 1 {
		t.Errorf("got %v for names that no username can hold", got)
	}
}
