package relay

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// forbidden are the addresses to which nothing is relayed unless the operator says
// so: networks of somebody's own, and those in which another address is wrapped.
var forbidden = []struct{ prefix, what string }{
	{"0.0.0.0/8", "this network, and with it this machine (RFC 1122)"},
	{"10.0.0.0/8", "private (RFC 1918)"},
	{"100.64.0.0/10", "between a carrier and its customers (RFC 6598)"},
	{"127.0.0.0/8", "loopback"},
	{"169.254.0.0/16", "link-local, where clouds keep their metadata (RFC 3927)"},
	{"172.16.0.0/12", "private"},
	{"192.0.0.0/24", "for protocols (RFC 6890)"},
	{"192.0.2.0/24", "for documents (RFC 5737)"},
	{"192.88.99.0/24", "relays of 6to4 (RFC 7526)"},
	{"192.168.0.0/16", "private"},
	{"198.18.0.0/15", "for benchmarks (RFC 2544)"},
	{"198.51.100.0/24", "for documents"},
	{"203.0.113.0/24", "for documents"},
	{"224.0.0.0/3", "multicast, reserved, broadcast"},

	{"::/3", "unspecified, loopback, NAT64 and others that wrap an IPv4 address, discard-only"},
	{"2001::/23", "for protocols, Teredo among them, which wraps an IPv4 address"},
	{"2001:db8::/32", "for documents (RFC 3849)"},
	{"2002::/16", "6to4, which wraps an IPv4 address"},
	{"3fff::/20", "for documents (RFC 9637)"},
	{"4000::/2", "nobody's yet (RFC 4291)"},
	{"8000::/1", "nobody's, unique local, link-local, site-local, multicast"},
}

// policy says to whom packets may be relayed. Addresses are given to it unmapped:
// ::ffff:127.0.0.1 is 127.0.0.1.
type policy struct {
	forbidden []netip.Prefix
	admitted  []netip.Prefix // by the operator
	announced []netip.Addr   // ours, as clients know them
	media     uint16         // the port of the gateway's own media there
	machine   *machine

	// Guarded by mu.
	mu     sync.RWMutex
	relays map[uint16]int // how many allocations have a port, at any of our addresses
}

func newPolicy(announced []netip.Addr, media uint16, admitted []netip.Prefix) *policy {
	p := &policy{announced: announced, media: media, relays: make(map[uint16]int), machine: new(machine)}
	for _, f := range forbidden {
		p.forbidden = append(p.forbidden, netip.MustParsePrefix(f.prefix))
	}
	for _, a := range admitted {
		p.admitted = append(p.admitted, a.Masked())
	}
	return p
}

// mayPermit reports whether a client may be granted a permission, which is for an
// address whatever the port. Allowing a packet is another question: see allows.
func (p *policy) mayPermit(ip netip.Addr) bool { return p.isAnnounced(ip) || p.isPublic(ip) }

// allows reports whether a packet may be sent to a place. Of this machine that is
// only the gateway's media, and the other allocations: two people who both need a
// relay meet there.
func (p *policy) allows(to netip.AddrPort) bool {
	if p.isAnnounced(to.Addr()) && (to.Port() == p.media || p.isRelay(to.Port())) {
		return true
	}
	return p.isPublic(to.Addr())
}

// isPublic reports whether what is at ip is for everybody, or the operator said that
// it is for our users. This machine's own addresses must be named one by one.
func (p *policy) isPublic(ip netip.Addr) bool {
	if !ip.IsValid() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
		return false
	}
	own := ip.IsLoopback() || p.isAnnounced(ip) || p.machine.owns(ip)
	for _, a := range p.admitted {
		if a.Contains(ip) && (a.IsSingleIP() || !own) {
			return true
		}
	}
	if own {
		return false
	}
	for _, f := range p.forbidden {
		if f.Contains(ip) {
			return false
		}
	}
	return true
}

func (p *policy) isAnnounced(ip netip.Addr) bool {
	return slices.Contains(p.announced, ip)
}

func (p *policy) isRelay(port uint16) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.relays[port] > 0
}

func (p *policy) open(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.relays[port]++
}

func (p *policy) close(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.relays[port]--; p.relays[port] == 0 {
		delete(p.relays, port)
	}
}

// machine knows this machine's addresses, and those with which a packet would reach
// all of a network that it is in. They change, so they are looked up again.
type machine struct {
	seen atomic.Pointer[sighting]
}

type sighting struct {
	at   time.Time
	ours map[netip.Addr]struct{}
}

// sightingLasts is how long a look at the interfaces is good for.
const sightingLasts = 30 * time.Second

func (m *machine) owns(ip netip.Addr) bool {
	s := m.seen.Load()
	if s == nil || time.Since(s.at) > sightingLasts {
		s = look(s)
		m.seen.Store(s)
	}
	_, ok := s.ours[ip]
	return ok
}

// look lists the interfaces' addresses. If that fails, what was seen before counts.
func look(before *sighting) *sighting {
	s := &sighting{at: time.Now(), ours: make(map[netip.Addr]struct{})}
	addrs, err := net.InterfaceAddrs()
	if err != nil && before != nil {
		s.ours = before.ours
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok {
			s.ours[ip.Unmap()] = struct{}{}
		}
		if ip, ok := broadcast(n); ok {
			s.ours[ip] = struct{}{}
		}
	}
	return s
}

// broadcast gives the address that stands for everyone in an IPv4 network.
func broadcast(n *net.IPNet) (netip.Addr, bool) {
	ip := n.IP.To4()
	if ip == nil || len(n.Mask) != net.IPv4len {
		return netip.Addr{}, false
	}
	var last [net.IPv4len]byte
	for i := range last {
		last[i] = ip[i] | ^n.Mask[i]
	}
	return netip.AddrFrom4(last), true
}
