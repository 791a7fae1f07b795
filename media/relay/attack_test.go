package relay

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"confgate/core"
)

// TestInsideIsOutOfReach has a user with a good credential try to reach what is
// inside, in every way there is: nothing comes through.
func TestInsideIsOutOfReach(t *testing.T) {
	internal := sink(t, "udp", ":0") // all of this machine's addresses
	port := internal.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	targets := map[byte][]string{
		family4: {
			"127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
			"169.254.169.254", "100.64.0.1", "100.127.255.254", "192.0.0.8", "198.18.0.1", "203.0.113.9",
			"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
			"::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:10.1.2.3", "::ffff:169.254.169.254",
		},
		family6: {
			"::", "::1", "::127.0.0.1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1",
			"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
			"2001:0:7f00:1::", "2001:db8::1", "5f00::1",
		},
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		prefix := netip.MustParsePrefix(a.String())
		family := byte(family4)
		if prefix.Addr().Is6() {
			family = family6
		}
		targets[family] = append(targets[family], prefix.Addr().WithZone("").String())
	}
	h := serve(t, func(c *Config) { c.IPs = []netip.Addr{loopback[0], netip.IPv6Loopback()} })
	for family, ips := range targets {
		a := h.ask(t, h.gives(ann))
		forbidden := stun.CodeForbidden
		if code := a.allocate(family); code != 0 { // this machine has no IPv6
			forbidden = stun.CodePeerAddrFamilyMismatch
			if code := a.allocate(family4); code != 0 {
				t.Fatalf("no allocation: %d", code)
			}
		}
		for i, text := range ips {
			ip := netip.MustParseAddr(text)
			// A permission for the server's own address is granted: its media is there.
			own := slices.Contains(h.policy.announced, ip.Unmap())
			if code := a.code(stun.MethodCreatePermission, toPeer(ip, port)); !own && code != forbidden {
				t.Errorf("permission for %s: %d, want %d", ip, code, forbidden)
			}
			if code := a.code(stun.MethodChannelBind, channel(0x4000+uint16(i)), toPeer(ip, port)); !own && code == 0 {
				t.Errorf("a channel to %s is bound", ip)
			}
			data := append(binary.BigEndian.AppendUint16(nil, 0x4000+uint16(i)), 0, 4, 'o', 'u', 'c', 'h')
			if _, err := a.conn.Write(data); err != nil {
				t.Fatal(err)
			}
			a.tell(stun.MethodSend, toPeer(ip, port), textOf("ouch"))
			a.send(stun.MethodConnect, toPeer(ip, port))
		}
		a.code(stun.MethodRefresh) // by its answer all before it has been done
	}
	nothing(t, internal)
	if sent := h.Stats().Sent; sent.Bytes != 0 {
		t.Errorf("%d bytes were sent", sent.Bytes)
	}
}

func TestPolicy(t *testing.T) {
	ours, lan := netip.MustParseAddr("8.8.4.7"), netip.MustParsePrefix("192.168.7.0/24")
	p := newPolicy([]netip.Addr{ours}, 7882, []netip.Prefix{lan, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.5/32")})
	p.machine.seen.Store(&sighting{at: time.Now().Add(time.Hour), ours: map[netip.Addr]struct{}{
		netip.MustParseAddr("192.168.7.5"): {}, netip.MustParseAddr("192.168.7.255"): {}, netip.MustParseAddr("10.0.0.5"): {},
	}})
	p.open(50_000)
	for at, want := range map[string]bool{
		"8.8.8.8:53":                true,
		"[2606:4700::1]:443":        true,
		"192.168.7.9:5000":          true,  // admitted
		"192.168.7.5:5000":          false, // admitted, but this machine's own
		"192.168.7.255:5000":        false, // all of them at once
		"192.168.8.9:5000":          false,
		"127.0.0.1:5000":            false, // must be named itself
		"10.0.0.5:5000":             true,  // is
		"8.8.4.7:7882":              true,  // media
		"8.8.4.7:50000":             true,  // an allocation
		"8.8.4.7:50001":             false,
		"8.8.4.7:9090":              false,
		"[fe80::1%eth0]:1":          false,
		"[64:ff9b::808:808]:1":      false,
		"[2001:4860:4860::8888]:53": true,
	} {
		if got := p.allows(netip.MustParseAddrPort(at)); got != want {
			t.Errorf("%s: got %t, want %t", at, got, want)
		}
	}
	p.close(50_000)
	if p.allows(netip.AddrPortFrom(ours, 50_000)) {
		t.Error("an allocation that is gone can be reached")
	}
	if p.allows(netip.AddrPort{}) {
		t.Error("no address at all can be reached")
	}
}

// TestBroadcast: a prefix that is admitted does not admit all of it at once.
func TestBroadcast(t *testing.T) {
	_, n, err := net.ParseCIDR("192.168.4.0/22")
	if err != nil {
		t.Fatal(err)
	}
	if ip, ok := broadcast(n); !ok || ip.String() != "192.168.7.255" {
		t.Errorf("got %v, %t", ip, ok)
	}
	_, n, err = net.ParseCIDR("fe80::/64")
	if err != nil {
		t.Fatal(err)
	}
	if ip, ok := broadcast(n); ok {
		t.Errorf("got %v for IPv6, which has none", ip)
	}
}

func TestCredentials(t *testing.T) {
	h := serve(t, nil)
	good := h.gives(ann)
	expired := func(by time.Duration) core.ICEServer {
		i := h.issuer
		i.TTL = -by
		return i.ICEServers(school, ann)[0]
	}
	forged := Issuer{Secret: []byte("a guess"), TTL: time.Hour, URLs: []string{"turn:a"}}.ICEServers(school, ann)[0]
	lasting := Issuer{Secret: h.issuer.Secret, TTL: 48 * time.Hour, URLs: []string{"turn:a"}}.ICEServers(school, ann)[0]
	stolen := core.ICEServer{Username: good.Username, Credential: h.gives(ben).Credential}
	h.leaves("gone")
	for name, c := range map[string]struct {
		cred   core.ICEServer
		reason Reason
	}{
		"expired":                       {expired(time.Second), Expired},
		"expired long ago":              {expired(48 * time.Hour), Expired},
		"signed with another secret":    {forged, BadCredential},
		"another user's password":       {stolen, BadCredential},
		"made to last":                  {lasting, BadCredential},
		"later than the signature says": {core.ICEServer{Username: "9" + good.Username, Credential: good.Credential}, BadCredential},
		"no user":                       {core.ICEServer{Username: strconv.FormatInt(time.Now().Unix()+60, 10), Credential: "x"}, BadCredential},
		"static":                        {core.ICEServer{Username: "user", Credential: "password"}, BadCredential},
		"of no escape":                  {core.ICEServer{Username: "1:%zz/a", Credential: "password"}, BadCredential},
		"of nobody":                     {core.ICEServer{}, BadCredential},
		"of one who is gone":            {h.gives("gone"), Offline},
	} {
		t.Run(name, func(t *testing.T) {
			before := h.Stats().Refused[c.reason]
			a := h.ask(t, c.cred)
			if code := a.allocate(family4); code != stun.CodeUnauthorized {
				t.Errorf("got %d, want %d", code, stun.CodeUnauthorized)
			}
			if after := h.Stats().Refused[c.reason]; after != before+1 {
				t.Errorf("%d refused as %s, want 1", after-before, c.reason)
			}
		})
	}
	if n := h.Stats().Made; n != 0 {
		t.Errorf("%d allocations", n)
	}
	if code := h.ask(t, good).allocate(family4); code != 0 {
		t.Errorf("a good credential: %d", code)
	}
}

// TestAllocationOfAnother has somebody with a good credential of their own use the
// allocation of another, from the same socket.
func TestAllocationOfAnother(t *testing.T) {
	h := serve(t, func(c *Config) { c.Admit = thisOne })
	a := h.ask(t, h.gives(ann))
	if code := a.allocate(family4); code != 0 {
		t.Fatal(code)
	}
	a.cred = h.gives(ben)
	a.send(stun.MethodCreatePermission, toPeer(loopback[0], 9))
	internal := sink(t, "udp4", "127.0.0.1:0")
	a.tell(stun.MethodSend, toPeer(loopback[0], internal.LocalAddr().(*net.UDPAddr).AddrPort().Port()), textOf("ouch"))
	a.cred = h.gives(ann)
	if code := a.code(stun.MethodRefresh); code != 0 {
		t.Fatal(code)
	}
	nothing(t, internal)
}

// TestCallsOutliveCredentials: an allocation can be kept for a while after its
// credential has ended, though no other can be had.
func TestCallsOutliveCredentials(t *testing.T) {
	h := serve(t, nil)
	soon := credential{ends: time.Now().Add(-time.Minute).Unix(), tenant: school, user: ann}.username()
	if _, why := h.check(soon, stun.MethodAllocate); why != Expired {
		t.Errorf("allocate: got %q", why)
	}
	if _, why := h.check(soon, stun.MethodRefresh); why != "" {
		t.Errorf("refresh: got %q", why)
	}
	late := credential{ends: time.Now().Add(-time.Hour - time.Second).Unix(), tenant: school, user: ann}.username()
	if _, why := h.check(late, stun.MethodRefresh); why != Expired {
		t.Errorf("refresh, too late: got %q", why)
	}
}

// TestCallsEndWithTheirUser: who has lost their connection has time to come back.
func TestCallsEndWithTheirUser(t *testing.T) {
	h := serve(t, nil)
	a := h.ask(t, h.gives(ann))
	if code := a.allocate(family4); code != 0 {
		t.Fatal(code)
	}
	h.leaves(ann)
	if code := a.code(stun.MethodRefresh); code != 0 {
		t.Errorf("just gone: %d", code)
	}
	h.books.mu.Lock()
	account := h.books.accounts[holder{school, ann}]
	account.offline = account.offline.Add(-goneLasts - time.Second)
	h.books.mu.Unlock()
	if code := a.code(stun.MethodRefresh); code != stun.CodeUnauthorized {
		t.Errorf("gone for long: %d", code)
	}
	if n := h.Stats().Refused[Offline]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
}

// TestPermissionsAreBounded: each takes memory and a timer.
func TestPermissionsAreBounded(t *testing.T) {
	h := serve(t, nil)
	a := h.ask(t, h.gives(ann))
	if code := a.allocate(family4); code != 0 {
		t.Fatal(code)
	}
	const each = 64
	for i := range maxPeers / each {
		var peers []stun.Setter
		for j := range each {
			peers = append(peers, toPeer(netip.AddrFrom4([4]byte{8, 8, byte(i), byte(j)}), 9))
		}
		if code := a.code(stun.MethodCreatePermission, peers...); code != 0 {
			t.Fatalf("permissions from %d on: %d", i*each, code)
		}
	}
	a.send(stun.MethodCreatePermission, toPeer(netip.MustParseAddr("9.9.9.9"), 9))
	if code := a.code(stun.MethodCreatePermission, toPeer(netip.MustParseAddr("8.8.0.1"), 9)); code != 0 {
		t.Errorf("a permission cannot be refreshed: %d", code)
	}
	if n := h.Stats().Refused[Peers]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	h.books.mu.Lock()
	account := h.books.accounts[holder{school, ann}]
	for p := range account.peers {
		account.peers[p] = time.Now().Add(-peerLasts - time.Second)
	}
	h.books.mu.Unlock()
	if code := a.code(stun.MethodCreatePermission, toPeer(netip.MustParseAddr("9.9.9.9"), 9)); code != 0 {
		t.Errorf("permissions that have ended still count: %d", code)
	}
}

func TestBandwidth(t *testing.T) {
	h := serve(t, func(c *Config) { c.Admit, c.UserRate = thisOne, 1000 })
	a, peer := h.ask(t, h.gives(ann)), sink(t, "udp4", "127.0.0.1:0").LocalAddr().(*net.UDPAddr).AddrPort()
	if code := a.allocate(family4); code != 0 {
		t.Fatal(code)
	}
	if code := a.code(stun.MethodCreatePermission, toPeer(peer.Addr(), peer.Port())); code != 0 {
		t.Fatal(code)
	}
	packet := textOf(strings.Repeat("x", 1000))
	for i := range 200 { // more than the burst, less than a second's work
		a.tell(stun.MethodSend, toPeer(peer.Addr(), peer.Port()), packet)
		if i%10 == 9 { // no more than a socket's buffer holds
			a.code(stun.MethodRefresh)
		}
	}
	if st := h.Stats(); st.Sent.Bytes > smallestBurst+10_000 || st.Sent.Packets+st.Refused[Bandwidth] != 200 {
		t.Errorf("%d packets of %d bytes sent, %d refused", st.Sent.Packets, st.Sent.Bytes, st.Refused[Bandwidth])
	}
}

// TestStrangersGetLittle sends what no credential is needed for, in the name of
// many: the answers are no more than one and a half times of it.
func TestStrangersGetLittle(t *testing.T) {
	h := serve(t, func(c *Config) { c.Binding = true })
	conn, err := net.Dial("udp4", h.udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	a := &asker{t: t, conn: conn}
	sent, answered := 0, 0
	b := make([]byte, 2000)
	for i := range 10_000 {
		typ := stun.NewType(stun.MethodAllocate, stun.ClassRequest)
		var m *stun.Message
		switch i % 4 {
		case 0:
			m = a.build(typ, overUDP())
		case 1:
			m = a.build(typ)
		case 2:
			m = a.build(stun.NewType(stun.MethodBinding, stun.ClassRequest))
		default:
			m = a.build(typ, stun.RawAttribute{Type: 0x7f00, Value: []byte("what is that?")})
		}
		sent += len(m.Raw)
		if _, err := conn.Write(m.Raw); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 { // a message that is sure to be answered: it brings what it takes
			answered += h.drain(t, a, b, &sent)
		}
	}
	if ratio := float64(answered) / float64(sent); ratio > answerRatio {
		t.Errorf("%d bytes in answer to %d: %.2f times as many", answered, sent, ratio)
	}
	if h.Stats().Refused[Unanswered] == 0 {
		t.Error("nothing was held back")
	}
}

// drain waits for the answer to a long request, and counts what comes before it.
func (h *host) drain(t *testing.T, a *asker, b []byte, sent *int) (answered int) {
	t.Helper()
	m := a.build(stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.RawAttribute{Type: 0xff00, Value: make([]byte, 200)})
	*sent += len(m.Raw)
	if _, err := a.conn.Write(m.Raw); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := a.conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		answered += n
		if slices.Equal(b[8:20], m.TransactionID[:]) {
			return answered
		}
	}
}

// TestNoiseIsNotAnswered: what is no TURN gets nothing at all, nor does a binding
// request where that is not on offer.
func TestNoiseIsNotAnswered(t *testing.T) {
	h := serve(t, nil)
	conn := sink(t, "udp4", "127.0.0.1:0")
	a := h.ask(t, h.gives(ann))
	random := rand.New(rand.NewPCG(1, 2))
	to := h.udp.LocalAddr()
	for i := range 10_000 {
		noise := make([]byte, random.IntN(100))
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		if i%10 == 0 {
			noise = a.build(stun.NewType(stun.MethodBinding, stun.ClassRequest)).Raw
		}
		if _, err := conn.WriteTo(noise, to); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			if code := a.allocate(family4); code != 0 && code != stun.CodeAllocMismatch { // by now all that came before has been seen
				t.Fatal(code)
			}
		}
	}
	if code := a.code(stun.MethodRefresh); code != 0 {
		t.Fatal(code)
	}
	nothing(t, conn)
}

// TestStreamsThatAreNoTURN: each is closed, and none keeps the server busy.
func TestStreamsThatAreNoTURN(t *testing.T) {
	h := serve(t, func(c *Config) { c.TCP = "127.0.0.1:0" })
	cookie := "\x21\x12\xa4\x42"
	for name, text := range map[string]string{
		"HTTP":                             "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a length that overflows to 0":     "\x00\x03\xff\xec" + cookie + "0123456789ab",
		"a length that overflows to 4":     "\x00\x03\xff\xf0" + cookie + "0123456789ab",
		"a channel's that overflows":       "\x40\x00\xff\xfc" + "0123456789ab",
		"a channel's that is the longest":  "\x40\x00\xff\xff" + "0123456789ab",
		"longer than any message":          "\x00\x03\x06\x00" + cookie + "0123456789ab",
		"STUN as it was before the cookie": "\x00\x03\x00\x00" + "0123456789abcdef",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", h.tcp.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(make([]byte, 100)); err == nil {
				t.Errorf("answered %d bytes", n)
			}
		})
	}
}

func TestStreamsAreBounded(t *testing.T) {
	h := serve(t, func(c *Config) { c.TCP = "127.0.0.1:0" })
	var open []net.Conn
	for range perAddress + 1 {
		conn, err := net.Dial("tcp", h.tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		open = append(open, conn)
	}
	if _, err := open[perAddress].Read(make([]byte, 1)); err == nil {
		t.Error("one connection too many stays open")
	}
	h.streams.mu.Lock()
	n := len(h.streams.open)
	h.streams.mu.Unlock()
	if n != perAddress {
		t.Errorf("%d connections, want %d", n, perAddress)
	}
}

// TestStrangersTimeIsNotLengthened has somebody say much on a stream and show no credential
// that counts: their time is what it was, and gets longer only once they show one. An IPv6
// network of one customer is one stranger.
func TestStrangersTimeIsNotLengthened(t *testing.T) {
	s := serve(t, nil).Server
	name := credential{ends: time.Now().Add(time.Hour).Unix(), tenant: school, user: "u"}.username()
	allocate := func(integrity ...stun.Setter) []byte {
		m, err := stun.Build(append([]stun.Setter{
			stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), overUDP(),
			stun.NewUsername(name), stun.NewRealm(realm), stun.NewNonce("n"),
		}, integrity...)...)
		if err != nil {
			t.Fatal(err)
		}
		return m.Raw
	}
	stranger := [][]byte{{0x40, 0, 0, 0}, allocate(), allocate(stun.NewShortTermIntegrity("a guess")), {0x40, 0, 0, 0}}
	for n, said := range [][][]byte{stranger, append(slices.Clone(stranger), allocate(stun.MessageIntegrity(s.key(name))))} {
		line := &patientTape{tape: tape{Reader: bytes.NewReader(slices.Concat(said...))}}
		st := &stream{Conn: line, raw: line, server: s, from: netip.MustParseAddrPort("192.0.2.1:1")}
		if _, err := io.Copy(io.Discard, st); err != nil {
			t.Fatal(err)
		}
		if line.lengthened != n {
			t.Errorf("%d messages lengthen the time %d times, want %d", len(said), line.lengthened, n)
		}
	}
	if a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1:2"); site(a) != site(b) || site(a) == site(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Errorf("sites %v and %v", site(a), site(b))
	}
}

// patientTape counts how often more time is given to read from it.
type patientTape struct {
	tape
	lengthened int
}

func (p *patientTape) SetReadDeadline(time.Time) error { p.lengthened++; return nil }
