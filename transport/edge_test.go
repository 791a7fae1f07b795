package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"confgate/core"
)

func TestOrigins(t *testing.T) {
	tests := []struct {
		host   string
		origin []string
		want   bool
	}{
		{"gate.test", nil, true}, // a native client
		{"gate.test", []string{"https://good.com"}, true},
		{"gate.test", []string{"https://GOOD.com"}, true},
		{"gate.test", []string{"HTTPS://good.com"}, true},
		{"gate.test", []string{"https://good.com:443"}, true},
		{"gate.test", []string{"https://good.com:8443"}, false},
		{"gate.test", []string{"https://good.com:80"}, false},
		{"gate.test", []string{"http://good.com"}, false},
		{"gate.test", []string{"http://good.com:443"}, false},
		{"gate.test", []string{"http://dev.good.com:3000"}, true},
		{"gate.test", []string{"http://dev.good.com"}, false},
		{"gate.test", []string{"http://[::1]:3000"}, true},
		{"gate.test", []string{"https://evil.com"}, false},
		{"gate.test", []string{"https://evil.com.good.com"}, false},
		{"gate.test", []string{"https://good.com.evil"}, false},
		{"gate.test", []string{"https://good.com."}, false},
		{"gate.test", []string{"https://xgood.com"}, false},
		{"gate.test", []string{"https://good.com@evil.com"}, false},
		{"gate.test", []string{"https://evil.com@good.com"}, false},
		{"gate.test", []string{"https://good.com/"}, false},
		{"gate.test", []string{"https://good.com?"}, false},
		{"gate.test", []string{"https://good.com#"}, false},
		{"gate.test", []string{"https://evil.com?https://good.com"}, false},
		{"gate.test", []string{"good.com"}, false},
		{"gate.test", []string{"//good.com"}, false},
		{"gate.test", []string{"https:good.com"}, false},
		{"gate.test", []string{"https://"}, false},
		{"gate.test", []string{"*"}, false},
		{"gate.test", []string{""}, false},
		{"gate.test", []string{"null"}, false},
		{"gate.test", []string{"file://"}, false},
		{"gate.test", []string{"https://good.com, https://evil.com"}, false},
		{"gate.test", []string{"https://good.com", "https://evil.com"}, false},
		// From here itself.
		{"gate.test", []string{"http://gate.test"}, true},
		{"gate.test", []string{"https://gate.test"}, true}, // TLS may end before us
		{"Gate.Test:80", []string{"http://gate.test"}, true},
		{"gate.test:8080", []string{"http://gate.test:8080"}, true},
		{"gate.test:8080", []string{"http://gate.test"}, false},
		{"gate.test", []string{"http://gate.test:8080"}, false},
		{"gate.test", []string{"ftp://gate.test"}, false},
		{"[::1]:8080", []string{"http://[::1]:8080"}, true},
		{"null", []string{"null"}, false},
		{"", []string{"http://"}, false},
	}
	allow, err := Origins("https://good.com", "http://dev.good.com:3000", "http://[::1]:3000")
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	edge := New(Config{Hub: newHub(), AllowOrigin: allow, Log: l.options().Log})
	handler := edge.Handler([]Door{{"/rtc", (*Edge).SockJS, parrot}}, nil)
	for _, tt := range tests {
		for _, path := range []string{"GET /rtc/info", "OPTIONS /rtc/info", "OPTIONS /rtc/0/0/xhr_send", "POST /rtc/0/0/xhr_send",
			"GET /rtc/0/0/websocket", "GET /rtc/websocket"} {
			method, path, _ := strings.Cut(path, " ")
			r := httptest.NewRequest(method, path, nil)
			r.Host = tt.host
			r.Header["Origin"] = tt.origin
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if got := w.Code != http.StatusForbidden; got != tt.want {
				t.Errorf("%s %s, Host %s, Origin %q: %d", method, path, tt.host, tt.origin, w.Code)
			}
			echo := w.Header().Get("Access-Control-Allow-Origin")
			if cors := tt.want && len(tt.origin) > 0 && !strings.HasSuffix(path, "websocket"); cors && echo != tt.origin[0] || !cors && echo != "" {
				t.Errorf("%s %s, Origin %q: allows %q", method, path, tt.origin, echo)
			}
		}
	}
	l.lines(t)
}

func TestOriginLists(t *testing.T) {
	for _, bad := range []string{"good.com", "https://good.com/", "https://*.good.com/x", ""} {
		if _, err := Origins(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	allow, err := Origins("null", "capacitor://localhost", "HTTPS://Good.com:443")
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{"null": true, "capacitor://localhost": true, "https://good.com": true, "https://evil.com": false} {
		if allow(origin) != want {
			t.Errorf("%s: %v", origin, !want)
		}
	}
	if allow, err := Origins("*"); err != nil || !allow("null") || !allow("https://evil.com") {
		t.Error("* is not any")
	}
}

// A page cannot open a WebSocket from an origin that is not allowed.
func TestForeignUpgradeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for _, path := range []string{barePath, rawPath, sockjsPath} {
			for origin, want := range map[string]bool{"https://good.com": true, "https://evil.com": false, "null": false} {
				c, resp, err := websocket.Dial(t.Context(), "ws://gate.test"+path, &websocket.DialOptions{
					HTTPClient: w.client, HTTPHeader: http.Header{"Origin": {origin}},
				})
				if (err == nil) != want || !want && resp.StatusCode != http.StatusForbidden {
					t.Errorf("%s from %s: %v", path, origin, err)
				}
				if err == nil {
					c.CloseNow()
				}
			}
		}
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		c, s := w.dial(barePath), w.dial(sockjsPath)
		w.tell(c, "join r ann")
		w.hear(c, "joined")
		w.hear(s, "o")
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		w.wantPost("/rtc/0/p/xhr", "", 200, "o\n")
		w.upgrade(barePath) // one that answers nothing

		began := time.Now()
		done := make(chan error)
		go func() { done <- w.edge.Shutdown(t.Context()) }()
		w.hearClose(c, websocket.StatusGoingAway)
		w.hear(s, `c[1001,"server is going away"]`)
		w.hearClose(s, websocket.StatusGoingAway)
		w.hearLine(r, `c[1001,"server is going away"]`)
		w.hearEnd(r)
		w.wantPost("/rtc/0/p/xhr", "", 200, `c[1001,"server is going away"]`+"\n")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != closeGrace {
			t.Errorf("took %v", d)
		}
		if s := w.hub.Stats(); s != (core.Stats{}) {
			t.Errorf("the house still has %+v", s)
		}
		ends := w.ledger.ends()
		slices.Sort(ends)
		want := []string{"sockjs-websocket shutdown", "sockjs-xhr shutdown", "sockjs-xhr-streaming shutdown",
			"websocket shutdown", "websocket shutdown"}
		if !slices.Equal(ends, want) {
			t.Errorf("ends: %q", ends)
		}

		for _, path := range []string{barePath, sockjsPath} {
			if _, resp, err := websocket.Dial(t.Context(), "ws://gate.test"+path, &websocket.DialOptions{HTTPClient: w.client}); err == nil ||
				resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s: %v", path, err)
			}
		}
		w.wantPost("/rtc/0/new/xhr", "", 503, "Service Unavailable\n")
	})
}

func TestShutdownGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.upgrade(barePath)
		ctx, cancel := context.WithTimeout(t.Context(), closeGrace/2)
		defer cancel()
		if err := w.edge.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestPagesAndTheRest(t *testing.T) {
	edge := New(Config{Hub: newHub()})
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })
	handler := edge.Handler([]Door{{"/rtc", (*Edge).SockJS, parrot}, {"/ws/id", (*Edge).WebSocket, parrot}}, pages)
	for path, want := range map[string]int{"/": 200, "/metrics": 404, "/debug/pprof/": 404, "/healthz": 404, "/rtcx": 404,
		"/ws": 404, "/ws/id": 426, "/ws/id/": 426, "/ws/id/x": 404} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
		if path == "/" {
			h := w.Header()
			if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:") ||
				h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" {
				t.Errorf("headers: %v", h)
			}
		}
	}
	w := httptest.NewRecorder()
	edge.Handler(nil, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("no pages: %d", w.Code)
	}
}

// Slow headers are not waited for, nor are idle connections kept for ever.
func TestServerTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for sent, want := range map[string]time.Duration{"": headerTimeout, "GET / HT": headerTimeout,
			"GET /rtc HTTP/1.1\r\nHost: x\r\n\r\n": idleTimeout} {
			conn, err := w.listen.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			go io.WriteString(conn, sent)
			io.Copy(io.Discard, conn)
			conn.Close()
			if d := time.Since(began); d > want {
				t.Errorf("%q: open for %v", sent, d)
			}
		}
	})
}

// Real sockets: many connections leave nothing behind. goleak sees to the rest.
func TestManyConnectionsLeaveNothing(t *testing.T) {
	const many = 500
	l := &ledger{}
	hub := newHub()
	edge := New(Config{Hub: hub, Observer: l})
	server := httptest.NewServer(edge.Handler([]Door{{"/rtc", (*Edge).SockJS, parrot}, {"/ws", (*Edge).WebSocket, parrot}}, nil))
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: many}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	before := runtime.NumGoroutine()

	paths := []string{"/ws", "/rtc/websocket", "/rtc/0/s/websocket"}
	var wg sync.WaitGroup
	gate := make(chan struct{}, 50)
	for i := range many {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			c, _, err := websocket.Dial(t.Context(), server.URL+paths[i%len(paths)], &websocket.DialOptions{HTTPClient: client})
			if err != nil {
				t.Error(err)
				return
			}
			frame := "hello"
			if i%len(paths) == 2 {
				c.Read(t.Context())
				frame = `["hello"]`
			}
			if err := c.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
				t.Error(err)
			}
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				c.CloseNow()
			} else {
				c.Close(websocket.StatusNormalClosure, "")
			}
		})
	}
	wg.Wait()
	if err := edge.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ends := l.ends(); len(ends) != many || len(l.opened) != many {
		t.Errorf("%d opened, %d closed", len(l.opened), len(ends))
	}
	if s := hub.Stats(); s != (core.Stats{}) {
		t.Errorf("%+v", s)
	}
	t.Logf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}
