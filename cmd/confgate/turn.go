package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"confgate/core"
	"confgate/core/auth"
	"confgate/media/relay"
)

// turnConfig says which TURN servers clients are told of, and what ours is.
type turnConfig struct {
	listen, listenTCP, listenTLS string // ours; empty: none
	cert, key                    string // files
	host                         string // empty: the addresses of media
	urls                         []string
	secret, secretFile           string
	ttl                          time.Duration

	ports                        relay.Ports
	admit                        []netip.Prefix
	allocations, userAllocations int
	userRate                     int // kbit/s
	binding                      bool
}

// turnFlags declares the settings of TURN.
func turnFlags(fs *flag.FlagSet, c *turnConfig) {
	fs.StringVar(&c.listen, "turn-listen", "", "`host:port` of our TURN server on UDP; empty: none")
	fs.StringVar(&c.listenTCP, "turn-listen-tcp", "", "`host:port` of our TURN server on TCP; empty: none")
	fs.StringVar(&c.listenTLS, "turn-listen-tls", "", "`host:port` of our TURN server on TLS; empty: none")
	fs.StringVar(&c.cert, "turn-tls-cert", "", "PEM `file` of its certificate; read again when it changes")
	fs.StringVar(&c.key, "turn-tls-key", "", "PEM `file` of the certificate's key")
	fs.StringVar(&c.host, "turn-host", "", "`name` by which clients find it; empty: --media-ip")
	fs.Func("turn-url", "`url` that clients are told instead, turn:turn.example (repeatable)",
		list(&c.urls, parseTURN))
	fs.StringVar(&c.secret, "turn-secret", "", "`secret` of the credentials; a file is safer; none: ours makes one up")
	fs.StringVar(&c.secretFile, "turn-secret-file", "", "`file` that holds the secret")
	fs.DurationVar(&c.ttl, "turn-ttl", 12*time.Hour, "`time` for which a credential opens allocations")
	c.ports = relay.Ports{First: 49152, Last: 65535}
	fs.Func("turn-ports", "`first-last`: UDP ports that it relays at (default 49152-65535)", func(text string) (err error) {
		c.ports, err = relay.ParsePorts(text)
		return err
	})
	fs.Func("turn-allow-peer", "private `prefix` that it may relay to, 192.168.7.0/24 (repeatable)",
		list(&c.admit, parsePrefix))
	fs.IntVar(&c.allocations, "turn-allocations", 1000, "`number` of allocations there may be")
	fs.IntVar(&c.userAllocations, "turn-user-allocations", 12, "`number` of allocations that one user may have")
	fs.IntVar(&c.userRate, "turn-user-rate", 0, "most `kbit/s` of one user, both ways; 0: no limit")
	fs.BoolVar(&c.binding, "turn-stun", false, "answer STUN binding requests of everybody")
}

func parseTURN(text string) (string, error) { return text, relay.CheckURL(text) }

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() {
		return p, errors.New("must be a network such as 192.168.7.0/24")
	}
	return p, nil
}

// serves reports whether there is a server of ours.
func (c turnConfig) serves() bool { return c.listen != "" || c.listenTCP != "" || c.listenTLS != "" }

// addresses are what our server listens on, each with its setting.
func (c turnConfig) addresses() (all []struct{ setting, addr string }) {
	for _, a := range []struct{ setting, addr string }{
		{"turn-listen", c.listen}, {"turn-listen-tcp", c.listenTCP}, {"turn-listen-tls", c.listenTLS},
	} {
		if a.addr != "" {
			all = append(all, a)
		}
	}
	return all
}

func (c turnConfig) check() error {
	locked := false
	for _, u := range c.urls {
		locked = locked || strings.HasPrefix(u, "turn")
	}
	switch {
	case c.secret != "" && c.secretFile != "":
		return errors.New("--turn-secret and --turn-secret-file: only one can count")
	case locked && !c.serves() && c.secret == "" && c.secretFile == "":
		return errors.New("--turn-url: another server's secret must be given, with --turn-secret-file")
	case (c.cert != "" && c.key != "") != (c.listenTLS != ""):
		return errors.New("--turn-listen-tls, --turn-tls-cert and --turn-tls-key: all three or none")
	case c.ttl < time.Minute:
		return fmt.Errorf("--turn-ttl: %v is less than 1m", c.ttl)
	case c.allocations < 1:
		return fmt.Errorf("--turn-allocations: %d is less than 1", c.allocations)
	case c.userAllocations < 1:
		return fmt.Errorf("--turn-user-allocations: %d is less than 1", c.userAllocations)
	case c.userRate < 0:
		return fmt.Errorf("--turn-user-rate: %d is less than 0", c.userRate)
	}
	return nil
}

// sharedSecret gives the secret of the credentials. One that is made up ends with the
// process, and with it all that was signed with it.
func (c turnConfig) sharedSecret() ([]byte, error) {
	switch {
	case c.secretFile != "":
		b, err := os.ReadFile(c.secretFile)
		if err != nil {
			return nil, fmt.Errorf("--turn-secret-file: %w", err)
		}
		if b = bytes.TrimSpace(b); len(b) == 0 {
			return nil, errors.New("--turn-secret-file: the file is empty")
		}
		return b, nil
	case c.secret != "":
		return []byte(c.secret), nil
	}
	return []byte(rand.Text()), nil
}

// openRelay opens the ports of our TURN server, if there is to be one, and settles
// what clients are told.
func (g *gateway) openRelay() (err error) {
	c := g.config.turn
	g.issuer = relay.Issuer{TTL: c.ttl, URLs: c.urls}
	if g.issuer.Secret, err = c.sharedSecret(); err != nil {
		return err
	}
	if n := len(g.issuer.Secret); (c.secret != "" || c.secretFile != "") && n < auth.StrongSecret/2 {
		g.log.Warn("the TURN secret is short enough to be guessed from one credential", "bytes", n, "at_least", auth.StrongSecret/2)
	}
	if !c.serves() {
		return nil
	}
	rc := relay.Config{
		UDP: c.listen, TCP: c.listenTCP, TLS: c.listenTLS,
		IPs: g.config.mediaIPs, Ports: c.ports, Media: uint16(g.plane.Port()), Admit: c.admit,
		Secret: g.issuer.Secret, TTL: c.ttl,
		Allocations: c.allocations, UserAllocations: c.userAllocations, UserRate: c.userRate * 1000 / 8,
		Binding: c.binding, Refused: (&relayJournal{log: g.log}).refused, Log: g.log,
	}
	if c.listenTLS != "" {
		certificate, err := relay.LoadCertificate(c.cert, c.key)
		if err != nil {
			return fmt.Errorf("--turn-tls-cert: %w", err)
		}
		rc.Certificate = certificate.Get
	}
	if g.relay, err = relay.Listen(rc); err != nil {
		if e, ok := errors.AsType[*relay.ListenError](err); ok {
			return bindError(listenSettings[e.On], err)
		}
		return err
	}
	if len(c.urls) == 0 {
		g.issuer.URLs = c.find(g.relay, g.config.mediaIPs)
	}
	return nil
}

// listenSettings say where our server listens.
var listenSettings = map[relay.Transport]string{
	relay.UDP: "turn-listen", relay.TCP: "turn-listen-tcp", relay.TLS: "turn-listen-tls",
}

// find gives the URLs at which clients find our server.
func (c turnConfig) find(s *relay.Server, ips []netip.Addr) []string {
	if c.host != "" {
		return s.URLs(c.host)
	}
	var all []string
	for _, ip := range ips {
		all = append(all, s.URLs(ip.String())...)
	}
	return all
}

// relayStats are our server's figures, if there is one.
func (g *gateway) relayStats() relay.Stats {
	if g.relay == nil {
		return relay.Stats{}
	}
	return g.relay.Stats()
}

// lender is an authorizer that gives everyone who is let in a credential for TURN.
type lender struct {
	core.Authorizer
	issuer relay.Issuer
}

// Authorize implements core.Authorizer.
func (l lender) Authorize(ctx context.Context, c core.Credentials) (core.Grant, error) {
	g, err := l.Authorizer.Authorize(ctx, c)
	if err == nil {
		g.ICEServers = append(g.ICEServers, l.issuer.ICEServers(g.Tenant, g.User)...)
	}
	return g, err
}

// relayJournal writes what the TURN server refuses.
type relayJournal struct {
	log *slog.Logger

	// Clients can cause as many of these lines as they like.
	refusals budget
}

func (j *relayJournal) refused(r relay.Refusal) {
	attrs := []slog.Attr{slog.String("reason", string(r.Reason)), slog.String("remote", r.Remote)}
	if r.User != "" {
		attrs = append(attrs, slog.String("tenant", brief(string(r.Tenant))), slog.String("user", brief(string(r.User))))
	}
	if r.Peer.IsValid() {
		attrs = append(attrs, slog.String("peer", r.Peer.String()))
	}
	if attrs, ok := j.refusals.admit(attrs...); ok {
		j.log.LogAttrs(context.Background(), slog.LevelInfo, "TURN request refused", attrs...)
	}
}

// probeEvery is how often somebody else's TURN servers are looked at.
const probeEvery = 30 * time.Second

// watchTURN notes which of the servers that clients are told of do not answer, until
// ctx ends. Calls go on without them, for all who can do without.
func watchTURN(ctx context.Context, urls []string, probe func(context.Context, string) error, state *readiness, log *slog.Logger) {
	down := make(map[string]bool)
	for {
		for _, u := range urls {
			if !strings.HasPrefix(u, "turn") {
				continue
			}
			err := probe(ctx, u)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil && !down[u]:
				log.Warn("a TURN server does not answer: who needs it cannot connect", "url", u, "error", err.Error())
				state.lacks(u, "it does not answer")
			case err == nil && down[u]:
				log.Info("a TURN server answers again", "url", u)
				state.has(u)
			}
			down[u] = err != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeEvery):
		}
	}
}
