package transport

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ProxyHeader is the header in which proxies say whom they speak for.
type ProxyHeader string

// The headers there are. A proxy writes one of them and passes the other on as the
// client sent it, so only one can be believed.
const (
	XForwardedFor ProxyHeader = "X-Forwarded-For"
	Forwarded     ProxyHeader = "Forwarded" // RFC 7239
)

// Proxies are the reverse proxies whose word on a client's address counts. The zero
// value trusts nobody.
type Proxies struct {
	Networks []netip.Prefix
	Header   ProxyHeader // empty: XForwardedFor
}

// maxHops bounds how many proxies in a row are believed.
const maxHops = 16

// client gives the address of who sent r. Each proxy adds at the end whom it heard
// the request from, so the list is read from there, for as long as those who wrote
// it are trusted; what stands before that may be forged. An address that makes no
// sense is the zero one.
func (p Proxies) client(r *http.Request) netip.Addr {
	at := parseHost(r.RemoteAddr)
	if !p.trusts(at) {
		return at
	}
	hops := p.hops(r.Header)
	for range min(len(hops), maxHops) {
		last := len(hops) - 1
		next := parseHost(hops[last])
		if !next.IsValid() {
			return at // the proxy that wrote this is the last one known
		}
		at, hops = next, hops[:last]
		if !p.trusts(at) {
			return at
		}
	}
	return at
}

func (p Proxies) trusts(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// hops gives what proxies wrote, the last one's at the end.
func (p Proxies) hops(h http.Header) []string {
	if p.Header != Forwarded {
		return elements(h.Values(string(XForwardedFor)))
	}
	hops := elements(h.Values(string(Forwarded)))
	for i, element := range hops {
		hops[i] = ""
		for pair := range strings.SplitSeq(element, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, "for") {
				hops[i] = strings.Trim(value, `"`)
			}
		}
	}
	return hops
}

// elements gives those of a list that may stand in several header lines.
func elements(lines []string) (all []string) {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(element))
		}
	}
	return all
}

// parseHost reads an address with or without a port, in brackets or not.
func parseHost(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// networkOf gives what counts as one address: whoever has an IPv6 address has the 64
// bits below it as well.
func networkOf(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	n, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return n.Addr()
}

// noteProxy says, once, that a proxy seems to stand before the gateway that is not
// trusted: all its clients count as one address.
func (e *Edge) noteProxy(r *http.Request) {
	at := parseHost(r.RemoteAddr)
	if !at.IsLoopback() && !at.IsPrivate() || e.config.Proxies.trusts(at) || len(e.config.Proxies.hops(r.Header)) == 0 {
		return
	}
	e.proxyNoted.Do(func() { e.config.Log.Warn("a proxy is not trusted, its clients count as one", "proxy", at.String()) })
}

// remote is the client's address for the log and for authorizers: as the socket has
// it, with the port, or as a trusted proxy told, without.
func (e *Edge) remote(r *http.Request) string {
	a := e.config.Proxies.client(r)
	if !a.IsValid() || a == parseHost(r.RemoteAddr) {
		return r.RemoteAddr
	}
	return a.String()
}
