package auth

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// newClient makes an HTTP client for one host of the operator's choice. It follows
// no redirects, which would choose another, and no proxy. Time-outs are the
// request's. A nil transport is the network.
func newClient(transport http.RoundTripper, connections int) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout:    3 * time.Second,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxConnsPerHost:        connections,
			MaxIdleConnsPerHost:    connections,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 16 << 10,
			ForceAttemptHTTP2:      true,
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// plain takes the URL out of an error, since it may name a user.
func plain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// State tells how it is with something that the gateway asks over the network.
type State string

// The states there are.
const (
	Up   State = "up"   // it answered the last time, or was not asked yet
	Lost State = "lost" // it did not; the gateway goes on with what it has
	None State = "none" // it never did, and without it nobody is let in
)

// line follows whether a host answers, and logs when that changes.
type line struct {
	name string
	log  *slog.Logger

	// Guarded by mu.
	mu   sync.Mutex
	down bool
}

func newLine(name string, log *slog.Logger) *line {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &line{name: name, log: log}
}

// note takes down how asking went. Spared: the gateway can go on without.
func (l *line) note(err error, spared bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && !l.down:
		l.log.Warn("authentication source lost", "source", l.name, "error", err.Error(), "goes_on", spared)
	case err == nil && l.down:
		l.log.Info("authentication source back", "source", l.name)
	}
	l.down = err != nil
}

// state tells how it is. Spared as for note.
func (l *line) state(spared bool) State {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !spared:
		return None
	case l.down:
		return Lost
	default:
		return Up
	}
}
