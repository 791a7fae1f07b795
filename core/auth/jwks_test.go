package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"confgate/core"
)

// host is a made-up server that answers as it is told.
type host struct {
	mu     sync.Mutex
	code   int
	body   string
	err    error
	slow   chan struct{} // answers wait for it; nil: they do not
	header http.Header
	asked  []*http.Request
}

func (h *host) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.asked = append(h.asked, r)
	code, body, err, slow, header := h.code, h.body, h.err, h.slow, h.header
	h.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// now answers so, at once.
func (h *host) now(code int, body string, err error) { h.as(code, body, err, nil, nil) }

func (h *host) as(code int, body string, err error, slow chan struct{}, header http.Header) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.code, h.body, h.err, h.slow, h.header = code, body, err, slow, header
}

func (h *host) times() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked)
}

// keeping runs a JWKS until the test ends.
func keeping(t *testing.T, h *host, log *slog.Logger) *JWKS {
	t.Helper()
	j, err := NewJWKS(JWKSConfig{URL: "https://issuer.test/jwks.json", RoundTripper: h, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); j.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return j
}

func knows(t *testing.T, j *JWKS, kid string) error {
	t.Helper()
	_, err := j.Find(t.Context(), kid, "EdDSA")
	return err
}

func TestJWKSRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		h := &host{code: http.StatusOK, body: setOf(jwkOf("old", i.ed.Public()))}
		j := keeping(t, h, nil)
		if err := knows(t, j, "old"); err != nil { // waits for the first fetch
			t.Fatal(err)
		}
		h.now(http.StatusOK, setOf(jwkOf("old", i.ed.Public()), jwkOf("new", i.ed.Public())), nil)
		if err := knows(t, j, "new"); !errors.Is(err, errUnknownKey) || h.times() != 1 {
			t.Errorf("asked %d times within the pause, %v", h.times(), err)
		}
		<-time.After(30 * time.Second)
		if err := knows(t, j, "new"); err != nil || h.times() != 2 { // is looked for at once
			t.Errorf("the new key: %v; asked %d times", err, h.times())
		}
		h.now(http.StatusOK, setOf(jwkOf("new", i.ed.Public())), nil)
		<-time.After(15*time.Minute + time.Second)
		if err := knows(t, j, "old"); !errors.Is(err, errUnknownKey) {
			t.Errorf("the old key is still good: %v", err)
		}
	})
}

// TestJWKSIsAskedSeldom has clients name keys that nobody has.
func TestJWKSIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		h := &host{code: http.StatusOK, body: setOf(jwkOf("k", i.ed.Public()))}
		j := keeping(t, h, nil)
		for range 10 * 60 { // ten minutes
			for n := range 20 {
				if err := knows(t, j, strings.Repeat("x", n)); !errors.Is(err, errUnknownKey) {
					t.Fatal(err)
				}
			}
			<-time.After(time.Second)
		}
		if n := h.times(); n > 1+10*2 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		if err := knows(t, j, strings.Repeat("x", maxKeyID+1)); !errors.Is(err, errUnknownKey) {
			t.Error(err)
		}
	})
}

func TestJWKSHostIsLost(t *testing.T) {
	i := newIssuer(t)
	good := setOf(jwkOf("k", i.ed.Public()))
	for name, lose := range map[string]func(*host){
		"refused":   func(h *host) { h.now(0, "", errors.New("connection refused")) },
		"failing":   func(h *host) { h.now(http.StatusInternalServerError, good, nil) },
		"elsewhere": func(h *host) { h.as(http.StatusFound, good, nil, nil, http.Header{"Location": {"https://evil.test/"}}) },
		"a page":    func(h *host) { h.now(http.StatusOK, "<html>", nil) },
		"no keys":   func(h *host) { h.now(http.StatusOK, `{"keys":[]}`, nil) },
		"oversized": func(h *host) { h.now(http.StatusOK, good+strings.Repeat(" ", maxKeySet), nil) },
		"endless":   func(h *host) { h.as(http.StatusOK, good, nil, make(chan struct{}), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				h := &host{code: http.StatusOK, body: good}
				j := keeping(t, h, slog.New(slog.NewTextHandler(&log, nil)))
				if err := knows(t, j, "k"); err != nil || j.State() != Up {
					t.Fatalf("%v, %s", err, j.State())
				}
				lose(h)
				<-time.After(16 * time.Minute)
				if err := knows(t, j, "k"); err != nil || j.State() != Lost {
					t.Errorf("with the host lost: %v, %s", err, j.State())
				}
				began := h.times()
				<-time.After(time.Hour)
				if n := h.times() - began; n > 2*60+1 {
					t.Errorf("asked %d times in an hour", n)
				}
				h.now(http.StatusOK, good, nil)
				<-time.After(time.Minute)
				if j.State() != Up {
					t.Errorf("with the host back: %s", j.State())
				}
				if lines := log.String(); strings.Count(lines, "\n") != 2 || !strings.Contains(lines, "source lost") || !strings.Contains(lines, "source back") {
					t.Errorf("the log says %q", lines)
				}
				for _, r := range h.asked {
					if r.URL.Host != "issuer.test" {
						t.Errorf("asked %s", r.URL)
					}
				}
			})
		})
	}
}

func TestJWKSHostWasNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		h := &host{slow: make(chan struct{})}
		j := keeping(t, h, nil)
		began := time.Now()
		v := JWT{Keys: j}
		g, err := v.Authorize(t.Context(), core.Credentials{User: "8", Token: i.signed(t, "EdDSA", map[string]any{"kid": "k"})})
		if complaint := refused(g, err, "no keys to check tokens with"); complaint != "" {
			t.Error(complaint)
		}
		if took := time.Since(began); took != 3*time.Second || j.State() != None || isGuess(err) {
			t.Errorf("after %v: %s, a guess: %t", took, j.State(), isGuess(err))
		}
		ctx, cancel := context.WithCancel(t.Context())
		<-time.After(time.Minute)
		cancel()
		if _, err := j.Find(ctx, "k", "EdDSA"); !errors.Is(err, errNoKeys) {
			t.Errorf("for one who has gone: %v", err)
		}
		h.now(http.StatusOK, setOf(jwkOf("k", i.ed.Public())), nil)
		j.Refresh()
		synctest.Wait()
		if err := knows(t, j, "k"); err != nil || j.State() != Up {
			t.Errorf("with the host there: %v, %s", err, j.State())
		}
	})
}

// TestJWKSManyWaitForOneFetch shows that those who come together cause one fetch.
func TestJWKSManyWaitForOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		h := &host{code: http.StatusOK, body: setOf(jwkOf("k", i.ed.Public())), slow: make(chan struct{})}
		j := keeping(t, h, nil)
		found := make(chan error)
		for range 50 {
			go func() {
				_, err := j.Find(t.Context(), "k", "EdDSA")
				found <- err
			}()
		}
		synctest.Wait()
		close(h.slow)
		for range 50 {
			if err := <-found; err != nil {
				t.Error(err)
			}
		}
		if h.times() != 1 {
			t.Errorf("asked %d times", h.times())
		}
	})
}

// TestJWKSIsRefreshedAfterAFetchUnderWay has the keys change while an older fetch, which
// may have seen the old ones, is under way.
func TestJWKSIsRefreshedAfterAFetchUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		slow := make(chan struct{})
		h := &host{code: http.StatusOK, body: setOf(jwkOf("old", i.ed.Public())), slow: slow}
		j := keeping(t, h, nil)
		synctest.Wait()
		h.now(http.StatusOK, setOf(jwkOf("new", i.ed.Public())), nil)
		j.Refresh()
		close(slow)
		synctest.Wait()
		if err := knows(t, j, "new"); err != nil || h.times() != 2 {
			t.Errorf("the new key: %v; asked %d times", err, h.times())
		}
	})
}

func TestURLs(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://issuer.test/keys": true, "http://127.0.0.1:8080/keys?a=b": true,
		"": false, "issuer.test/keys": false, "file:///etc/passwd": false, "ftp://issuer.test": false, "https:issuer.test": false,
		"https://": false, "https://u:p@issuer.test/": false, "https://issuer.test/#x": false, "https://issuer.test/\x7f": false,
	} {
		if _, err := NewJWKS(JWKSConfig{URL: text}); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
