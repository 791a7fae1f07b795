package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// JWKSConfig says where a set of keys is, and how it is kept.
type JWKSConfig struct {
	URL     string        // http or https
	Refresh time.Duration // how often it is fetched; 0: 15 minutes
	Pause   time.Duration // the least time between two fetches; 0: 30 s
	Timeout time.Duration // for one fetch; 0: 3 s
	Log     *slog.Logger  // nil: silent

	RoundTripper http.RoundTripper // nil: over the network
}

// maxKeySet is how long a set of keys may be, in bytes.
const maxKeySet = 64 << 10

// JWKS are the public keys of an issuer that publishes them (RFC 7517 section 5).
// They are fetched by Run, at intervals and when a token names a key that is not
// there yet. If the host is lost, the last keys that it gave count.
type JWKS struct {
	config  JWKSConfig
	client  *http.Client
	wanted  chan struct{} // asks Run to fetch now; a fetch that is under way will do
	refresh chan struct{} // asks Run to fetch now, or again after the one under way
	line    *line

	// Guarded by mu.
	mu    sync.Mutex
	keys  PublicKeys    // nil: none yet
	tried time.Time     // when the last fetch ended
	done  chan struct{} // closed when the next fetch has ended
}

// NewJWKS makes one that has no keys before Run.
func NewJWKS(c JWKSConfig) (*JWKS, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	c.Refresh, c.Pause = cmp.Or(c.Refresh, 15*time.Minute), cmp.Or(c.Pause, 30*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 3*time.Second)
	return &JWKS{
		config: c, client: newClient(c.RoundTripper, 1), line: newLine("jwks", c.Log),
		wanted: make(chan struct{}, 1), refresh: make(chan struct{}, 1), done: make(chan struct{}),
	}, nil
}

// Run keeps the keys until ctx ends. Find waits for it.
func (j *JWKS) Run(ctx context.Context) {
	defer j.client.CloseIdleConnections()
	for {
		next := j.config.Refresh
		if err := j.fetch(ctx); err != nil {
			next = j.config.Pause
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-j.wanted:
		case <-j.refresh:
		}
		timer.Stop()
	}
}

// Refresh has the keys fetched now, as they may have changed. It does not wait for them.
func (j *JWKS) Refresh() { wish(j.refresh) }

// wish puts a wish where there may be one already.
func wish(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// State tells whether the host answers.
func (j *JWKS) State() State {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.line.state(j.keys != nil)
}

// Algorithms are all that public keys serve: which of them each key is for is known
// when it is there.
func (*JWKS) Algorithms() []string { return algorithmsOfAll }

// Find gives the key that a token names. One that is not known is looked for at the
// issuer, unless it was asked a moment ago.
func (j *JWKS) Find(ctx context.Context, kid, alg string) (any, error) {
	if len(kid) > maxKeyID {
		return nil, errUnknownKey
	}
	key, fetched, err := j.look(ctx, kid, alg)
	if err == nil || fetched == nil {
		return key, err
	}
	select {
	case <-fetched:
	case <-ctx.Done():
		return nil, errNoKeys
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.found(ctx, kid, alg)
}

// look finds a key among those that are there. If another fetch may bring it, it is
// asked for, and the channel tells when it has ended.
func (j *JWKS) look(ctx context.Context, kid, alg string) (key any, fetched <-chan struct{}, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key, err = j.found(ctx, kid, alg)
	switch {
	case err == nil:
	case j.tried.IsZero(): // the first fetch is under way
		fetched = j.done
	case time.Since(j.tried) >= j.config.Pause:
		fetched = j.done
		wish(j.wanted)
	}
	return key, fetched, err
}

// found looks a key up. Called with mu held.
func (j *JWKS) found(ctx context.Context, kid, alg string) (any, error) {
	if j.keys == nil {
		return nil, errNoKeys
	}
	return j.keys.Find(ctx, kid, alg)
}

// fetch asks the host once.
func (j *JWKS) fetch(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, j.config.Timeout)
	defer cancel()
	keys, err := j.ask(limited)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		j.keys = keys
	}
	j.tried = time.Now()
	if ctx.Err() == nil { // else it is the gateway that goes
		j.line.note(err, j.keys != nil)
	}
	select {
	case <-j.wanted: // while this one was under way
	default:
	}
	close(j.done)
	j.done = make(chan struct{})
	return err
}

func (j *JWKS) ask(ctx context.Context) (PublicKeys, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.config.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := j.client.Do(request)
	if err != nil {
		return nil, plain(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the host answers %d", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, plain(err)
	case len(text) > maxKeySet:
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxKeySet)
	}
	return parseKeySet(text)
}

// checkURL refuses what is not the address of a web server.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.Opaque != "":
		return errors.New("must be a URL of the form https://host/path")
	case u.User != nil, u.Fragment != "":
		return errors.New("must be a URL without a user, a password or a fragment")
	}
	return nil
}
