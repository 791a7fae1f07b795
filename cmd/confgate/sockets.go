package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"

	"confgate/transport"
)

// socketFlags declares how much clients may have. Everything that is 0 is no limit.
func socketFlags(fs *flag.FlagSet, c *config) {
	fs.Func("trusted-proxy", "`network` of proxies that tell clients' addresses (repeatable)",
		list(&c.proxies.Networks, parseNetwork))
	c.proxies.Header = transport.XForwardedFor
	fs.Func("proxy-header", "`name`: X-Forwarded-For or Forwarded (default X-Forwarded-For)",
		one(&c.proxies.Header, transport.XForwardedFor, transport.Forwarded))

	fs.IntVar(&c.outbox.events, "outbox-events", 1024, "most `events` a client may be behind")
	fs.IntVar(&c.outbox.bytes, "outbox-bytes", 4<<20, "most `bytes` in them, besides the largest one")
	fs.UintVar(&c.memoryGuard, "memory-guard", 85, "`percent` of the memory limit that may be in use")

	l := transport.DefaultLimits()
	fs.IntVar(&c.sockets.Sockets, "max-sockets", l.Sockets, "most `sockets` that clients may have open")
	fs.IntVar(&c.sockets.SocketsPerAddress, "max-sockets-per-ip", l.SocketsPerAddress, "most `sockets` of one address, or one /64 of IPv6")
	fs.IntVar(&c.sockets.Unregistered, "max-unregistered", l.Unregistered, "most `sockets` of clients not let in yet")
	fs.IntVar(&c.sockets.UnregisteredPerAddress, "max-unregistered-per-ip", l.UnregisteredPerAddress, "most `sockets` of those of one address")
	fs.DurationVar(&c.sockets.RegisterTimeout, "register-timeout", l.RegisterTimeout, "`time` in which a client must be let in")
	rateFlags(fs, &c.sockets.Messages, l.Messages, "message", "messages a second; an SDP counts as 4")
	rateFlags(fs, &c.sockets.Drawing, l.Drawing, "drawing", "strokes a second")
	fs.IntVar(&c.sockets.FloodBursts, "flood-bursts", l.FloodBursts, "most `bursts` that wait, besides one; more is cut off")
	fs.DurationVar(&c.sockets.FloodTime, "flood-time", l.FloodTime, "`time` for which more is slowed down, not cut off")
}

// rateFlags declares a rate and its burst.
func rateFlags(fs *flag.FlagSet, r *transport.Rate, preset transport.Rate, name, what string) {
	fs.IntVar(&r.PerSecond, name+"-rate", preset.PerSecond, "`number` of "+what)
	fs.IntVar(&r.Burst, name+"-burst", preset.Burst, "`number` of them that may come at once")
}

// socketSettings are the settings that socketFlags declares.
var socketSettings = []string{
	"trusted-proxy", "proxy-header", "outbox-events", "outbox-bytes", "max-sockets", "max-sockets-per-ip", "max-unregistered", "max-unregistered-per-ip",
	"register-timeout", "message-rate", "message-burst", "drawing-rate", "drawing-burst", "flood-bursts", "flood-time", "memory-guard",
}

// checkSockets finds limits that make no sense.
func checkSockets(c config, fs *flag.FlagSet) error {
	var errs []error
	for name, r := range map[string]transport.Rate{"message": c.sockets.Messages, "drawing": c.sockets.Drawing} {
		if r.PerSecond > 0 && r.Burst < 1 {
			errs = append(errs, fmt.Errorf("--%s-burst: nothing could be sent", name))
		}
	}
	if c.memoryGuard > 100 {
		errs = append(errs, fmt.Errorf("--memory-guard: %d is more than 100 percent", c.memoryGuard))
	}
	if c.outbox.events < 1 || c.outbox.bytes < 1 {
		errs = append(errs, errors.New("--outbox-events and --outbox-bytes: clients must be able to be behind"))
	}
	for _, name := range socketSettings {
		if value := fs.Lookup(name).Value.String(); strings.HasPrefix(value, "-") {
			errs = append(errs, fmt.Errorf("--%s: %s is less than 0", name, value))
		}
	}
	return errors.Join(errs...)
}

// parseNetwork takes a network such as 10.0.0.0/8, or one address.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("must be a network such as 10.0.0.0/8, or an IP address")
	}
	return p.Masked(), nil
}
