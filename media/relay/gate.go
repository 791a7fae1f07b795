package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"confgate/core"
)

// Reason says why something was not done.
type Reason string

// The reasons there are.
const (
	BadCredential Reason = "credential" // forged, somebody else's, or no credential at all
	Expired       Reason = "expired"    // the credential was good once
	Offline       Reason = "offline"    // its user is not connected to the gateway
	Quota         Reason = "quota"      // the user has, or all users have, what they may
	Peer          Reason = "peer"       // it was meant for an address that is nobody's business
	Peers         Reason = "peers"      // more permissions than one may have
	Bandwidth     Reason = "bandwidth"  // packets beyond what the user may send and receive
	Kind          Reason = "kind"       // TCP to peers, and what else is not on offer
	Unanswered    Reason = "unanswered" // strangers who would have got more than they sent
)

// Reasons are all of them.
var Reasons = []Reason{BadCredential, Expired, Offline, Quota, Peer, Peers, Bandwidth, Kind, Unanswered}

// Refusal tells of something that was refused to somebody known, or to a credential.
type Refusal struct {
	Reason Reason
	Tenant core.TenantID
	User   core.UserID
	Remote string
	Peer   netip.Addr // of Peer
}

// gate is a socket that clients send to, as Pion's server sees it: with what is
// wrong kept out.
type gate struct {
	net.PacketConn
	server *Server
}

// ReadFrom gives the next message that deserves a look.
func (g *gate) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := g.PacketConn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return n, from, err
		}
		if err != nil {
			continue // of one packet: a server that takes that for the end serves nobody any more
		}
		src, ok := addrPort(from)
		if !ok {
			continue
		}
		if !isData(b[:n]) {
			g.server.ledger.earn(src.Addr(), n)
		}
		if n, _ = g.server.admit(b[:n], src); n > 0 {
			return n, from, nil
		}
	}
}

// WriteTo sends an answer, unless it is one to a stranger who has not paid for it.
func (g *gate) WriteTo(b []byte, to net.Addr) (int, error) {
	if dst, ok := addrPort(to); ok && isForAnybody(b) && !g.server.ledger.spend(dst.Addr(), len(b)) {
		g.server.count(Unanswered)
		return len(b), nil
	}
	return g.PacketConn.WriteTo(b, to)
}

// admit gives how much of a client's message goes on to Pion's server. A request
// whose credential is refused goes on as one without any: the server then asks for
// one, as RFC 8489 has it (section 9.2.4: 401, with a realm and a nonce). known says that
// the message has shown a credential that counts.
func (s *Server) admit(b []byte, from netip.AddrPort) (n int, known bool) {
	if isData(b) {
		return len(b), false
	}
	if !stun.IsMessage(b) {
		return 0, false
	}
	var typ stun.MessageType
	typ.ReadValue(binary.BigEndian.Uint16(b))
	if typ.Class == stun.ClassIndication && typ.Method == stun.MethodSend {
		return len(b), false
	}
	if typ.Class != stun.ClassRequest {
		return 0, false
	}
	switch typ.Method {
	case stun.MethodBinding:
		if s.config.Binding {
			return len(b), false
		}
		return 0, false
	case stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind:
		return s.admitRequest(b, typ.Method, from)
	default: // TCP to peers (RFC 6062), and what is no request of TURN's
		s.count(Kind)
		return 0, false
	}
}

func (s *Server) admitRequest(b []byte, method stun.Method, from netip.AddrPort) (n int, known bool) {
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil {
		return 0, false
	}
	if !m.Contains(stun.AttrMessageIntegrity) {
		return len(b), false
	}
	var name stun.Username
	_ = name.GetFrom(m) // the empty name is nobody's
	h, why := s.check(name.String(), method)
	if why == "" && stun.MessageIntegrity(s.key(name.String())).Check(m) != nil {
		why, h = BadCredential, holder{}
	}
	if why != "" {
		s.refuse(Refusal{Reason: why, Tenant: h.tenant, User: h.user, Remote: from.String()})
		return withoutAttributes(b), false
	}
	if method != stun.MethodAllocate && !s.books.note(h, peers(m)) {
		s.refuse(Refusal{Reason: Peers, Tenant: h.tenant, User: h.user, Remote: from.String()})
		return 0, true
	}
	return len(b), true
}

// check says whose a username is, and why it does not count: whoever shows it must
// still prove that they know the password.
//
// A credential opens allocations until it ends. One that is open may be kept for
// longer, so that calls do not break off, by at most the same time again, and only
// while its user is connected to the gateway.
func (s *Server) check(name string, method stun.Method) (holder, Reason) {
	c, err := parseUsername(name)
	if err != nil {
		return holder{}, BadCredential
	}
	h := holder{c.tenant, c.user}
	left := time.Until(time.Unix(c.ends, 0))
	switch {
	case left > s.config.TTL+time.Minute:
		return h, BadCredential // not one of ours: none is good for so long
	case method == stun.MethodAllocate && left <= 0, left <= -s.config.TTL:
		return h, Expired
	case method == stun.MethodAllocate && !s.online(c.tenant, c.user), !s.books.lingers(h, s.online):
		return h, Offline
	}
	return h, ""
}

// key is what a user of this name signs with.
func (s *Server) key(name string) []byte {
	return turn.GenerateAuthKey(name, realm, password(s.config.Secret, name))
}

// authenticate implements turn.AuthHandler for requests that the gate let through.
func (s *Server) authenticate(r *turn.RequestAttributes) (user string, key []byte, ok bool) {
	c, err := parseUsername(r.Username)
	return holder{c.tenant, c.user}.id(), s.key(r.Username), err == nil
}

// id names a user to Pion's server.
func (h holder) id() string { return credential{tenant: h.tenant, user: h.user}.username() }

// peers are the addresses that a request wants permissions for.
func peers(m *stun.Message) []netip.AddrPort {
	var all []netip.AddrPort
	_ = m.ForEach(stun.AttrXORPeerAddress, func(m *stun.Message) error { // Pion's server refuses those that make no sense
		var a stun.XORMappedAddress
		if err := a.GetFromAs(m, stun.AttrXORPeerAddress); err != nil {
			return err
		}
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)))
		}
		return nil
	})
	return all
}

const stunHeader = 20

// withoutAttributes leaves nothing of a request but what it is.
func withoutAttributes(b []byte) int {
	binary.BigEndian.PutUint16(b[2:], 0)
	return stunHeader
}

// isData reports whether b is no STUN message but data on a channel (RFC 8656,
// section 12.4).
func isData(b []byte) bool { return len(b) >= 4 && b[0]>>6 == 1 }

// isForAnybody reports whether b is an answer that no credential is needed for:
// errors, and that to a binding request.
func isForAnybody(b []byte) bool {
	if !stun.IsMessage(b) || isData(b) {
		return false
	}
	var typ stun.MessageType
	typ.ReadValue(binary.BigEndian.Uint16(b))
	return typ.Class == stun.ClassErrorResponse || typ.Method == stun.MethodBinding
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		at = a.AddrPort()
	case *net.TCPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), at.IsValid()
}
