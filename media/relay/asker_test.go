package relay

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/pion/stun/v4"

	"confgate/core"
)

// asker is a TURN client that says what no library would let it say.
type asker struct {
	t    *testing.T
	conn net.Conn
	cred core.ICEServer

	realm stun.Realm
	nonce stun.Nonce
}

func (h *host) ask(t *testing.T, c core.ICEServer) *asker {
	t.Helper()
	conn, err := net.Dial("udp4", h.udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &asker{t: t, conn: conn, cred: c}
}

// code sends a request, with the credential once a nonce is known, and gives the
// error code of the answer; 0: success.
func (a *asker) code(method stun.Method, attributes ...stun.Setter) stun.ErrorCode {
	a.t.Helper()
	if a.nonce == nil { // an answer to a stranger
		if code := a.exchange(method, attributes...); code != stun.CodeUnauthorized {
			a.t.Fatalf("a stranger is answered %d", code)
		}
	}
	return a.exchange(method, a.signed(attributes)...)
}

// send sends a request with the credential, and does not wait for an answer.
func (a *asker) send(method stun.Method, attributes ...stun.Setter) {
	a.t.Helper()
	m := a.build(stun.NewType(method, stun.ClassRequest), a.signed(attributes)...)
	if _, err := a.conn.Write(m.Raw); err != nil {
		a.t.Fatal(err)
	}
}

func (a *asker) signed(attributes []stun.Setter) []stun.Setter {
	return slices.Concat(attributes, []stun.Setter{
		stun.NewUsername(a.cred.Username), a.realm, a.nonce,
		stun.NewLongTermIntegrity(a.cred.Username, a.realm.String(), a.cred.Credential),
	})
}

func (a *asker) exchange(method stun.Method, attributes ...stun.Setter) stun.ErrorCode {
	a.t.Helper()
	m := a.build(stun.NewType(method, stun.ClassRequest), attributes...)
	if _, err := a.conn.Write(m.Raw); err != nil {
		a.t.Fatal(err)
	}
	for {
		b := make([]byte, 2000)
		n, err := a.conn.Read(b)
		if err != nil {
			a.t.Fatal(err)
		}
		answer := &stun.Message{Raw: b[:n]}
		if err := answer.Decode(); err != nil {
			a.t.Fatal(err)
		}
		if answer.TransactionID != m.TransactionID {
			continue
		}
		if answer.Contains(stun.AttrSoftware) {
			a.t.Error("an answer says what software it is from")
		}
		if answer.Type.Class == stun.ClassSuccessResponse {
			return 0
		}
		var code stun.ErrorCodeAttribute
		if err := code.GetFrom(answer); err != nil {
			a.t.Fatal(err)
		}
		if code.Code == stun.CodeUnauthorized && answer.Contains(stun.AttrNonce) {
			_ = a.realm.GetFrom(answer) // what is missing fails the next request
			_ = a.nonce.GetFrom(answer)
		}
		return code.Code
	}
}

// tell sends an indication, which is not answered.
func (a *asker) tell(method stun.Method, attributes ...stun.Setter) {
	a.t.Helper()
	if _, err := a.conn.Write(a.build(stun.NewType(method, stun.ClassIndication), attributes...).Raw); err != nil {
		a.t.Fatal(err)
	}
}

func (a *asker) build(typ stun.MessageType, attributes ...stun.Setter) *stun.Message {
	a.t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, typ}, attributes...)...)
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}

// allocate gets an allocation, of IPv4 or IPv6.
func (a *asker) allocate(family byte) stun.ErrorCode {
	a.t.Helper()
	return a.code(stun.MethodAllocate, overUDP(), stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{family, 0, 0, 0}})
}

// The families, as REQUESTED-ADDRESS-FAMILY and addresses have them.
const (
	family4 = 1
	family6 = 2
)

func overUDP() stun.Setter {
	return stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
}

// peer writes an address just as it is: an IPv4 address in IPv6 stays one.
func peer(m *stun.Message, ip netip.Addr, port uint16) error {
	family, value := byte(family4), ip.AsSlice()
	if ip.BitLen() > 32 {
		family = family6
	}
	mask := slices.Concat([]byte{0x21, 0x12, 0xa4, 0x42}, m.TransactionID[:])
	for i := range value {
		value[i] ^= mask[i]
	}
	b := []byte{0, family}
	b = binary.BigEndian.AppendUint16(b, port^0x2112)
	m.Add(stun.AttrXORPeerAddress, append(b, value...))
	return nil
}

type setter func(*stun.Message) error

// AddTo implements stun.Setter.
func (s setter) AddTo(m *stun.Message) error { return s(m) }

func toPeer(ip netip.Addr, port uint16) stun.Setter {
	return setter(func(m *stun.Message) error { return peer(m, ip, port) })
}

func textOf(s string) stun.Setter { return stun.RawAttribute{Type: stun.AttrData, Value: []byte(s)} }

func channel(n uint16) stun.Setter {
	return stun.RawAttribute{Type: stun.AttrChannelNumber, Value: append(binary.BigEndian.AppendUint16(nil, n), 0, 0)}
}
