package bench

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// serveSockJS answers /info with info, and on the websocket sends the frames and then
// hands what the client says to said.
func serveSockJS(t *testing.T, info string, frames []string, said chan<- string) *url.URL {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rtc/info", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(info)) })
	mux.HandleFunc("GET /rtc/{server}/{session}/websocket", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		for _, frame := range frames {
			if err := ws.Write(r.Context(), websocket.MessageText, []byte(frame)); err != nil {
				return // the client may have seen enough
			}
		}
		for {
			_, b, err := ws.Read(r.Context())
			if err != nil {
				return
			}
			said <- string(b)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL + "/rtc")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSockJS(t *testing.T) {
	said := make(chan string, 1)
	at := serveSockJS(t, `{"websocket":true}`, []string{"o", "h", `a["one"]`, `a["two","{\"three\":3}"]`, "h", `c[3000,"Go away!"]`}, said)
	web := newWeb()
	defer web.CloseIdleConnections()
	s, err := dialSockJS(t.Context(), web, at)
	if err != nil {
		t.Fatal(err)
	}
	defer s.hangUp()
	for _, want := range []string{"one", "two", `{"three":3}`} {
		got, err := s.read(t.Context())
		if err != nil || string(got) != want {
			t.Errorf("read = %q, %v; want %q", got, err, want)
		}
	}
	if err := s.write(t.Context(), []byte(`{"a":"b"}`)); err != nil {
		t.Error(err)
	}
	if got := <-said; got != `["{\"a\":\"b\"}"]` {
		t.Errorf("the server heard %s", got)
	}
	if _, err := s.read(t.Context()); !errors.Is(err, errHungUp) || !strings.Contains(err.Error(), "Go away!") {
		t.Errorf("after the close frame: %v", err)
	}
}

func TestSockJSDoesNotOpen(t *testing.T) {
	web := newWeb()
	defer web.CloseIdleConnections()
	for name, at := range map[string]*url.URL{
		"no websocket":  serveSockJS(t, `{"websocket":false}`, []string{"o"}, nil),
		"no info":       serveSockJS(t, `Welcome to SockJS!`, []string{"o"}, nil),
		"no open frame": serveSockJS(t, `{"websocket":true}`, []string{"h"}, nil),
	} {
		if _, err := dialSockJS(t.Context(), web, at); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialSockJS(gone, web, serveSockJS(t, `{"websocket":true}`, nil, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("dial without a context: %v", err)
	}
}

func TestParseSockJS(t *testing.T) {
	for frame, want := range map[string][]string{"h": nil, `a["x"]`: {"x"}, "a[]": {}} {
		if got, err := parseSockJS([]byte(frame)); err != nil || !slices.Equal(got, want) {
			t.Errorf("parseSockJS(%q) = %q, %v", frame, got, err)
		}
	}
	for _, bad := range []string{"", "o", "a", "a{}", "a[1]", "c[3000]", "x[]"} {
		if got, err := parseSockJS([]byte(bad)); err == nil {
			t.Errorf("parseSockJS(%q) = %q", bad, got)
		}
	}
}
