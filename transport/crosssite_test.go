package transport

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever a page of a foreign origin sends to a door, it comes to no connection,
// whichever the framing, and the page may read nothing of the answer.
func TestForeignPagesComeToNothing(t *testing.T) {
	allow, err := Origins("https://good.com", "http://dev.good.com:3000")
	if err != nil {
		t.Fatal(err)
	}
	edge := New(Config{Hub: newHub(), AllowOrigin: allow})
	handler := edge.Handler([]Door{
		{"/rtc", (*Edge).SockJS, parrot},
		{"/ws", (*Edge).WebSocket, parrot},
		{"/socket.io", SocketIO{Event: "m"}.Framing, parrot},
	}, nil)
	requests := []string{
		"WS /ws", "WS /rtc/websocket", "WS /rtc/0/s/websocket", "WS /socket.io/?EIO=4&transport=websocket", "WS /socket.io/?EIO=3&transport=websocket",
		"GET /rtc/info", "OPTIONS /rtc/info", "POST /rtc/0/s/xhr", "POST /rtc/0/s/xhr_streaming", "POST /rtc/0/s/xhr_send", "OPTIONS /rtc/0/s/xhr",
		"GET /socket.io/?EIO=4&transport=polling", "GET /socket.io/?EIO=3&transport=polling", "POST /socket.io/?EIO=4&transport=polling&sid=s",
		"OPTIONS /socket.io/?EIO=4&transport=polling",
	}
	for _, origin := range []http.Header{
		{"Origin": {"https://evil.com"}},
		{"Origin": {"null"}}, // a sandboxed frame, a file, data:
		{"Origin": {""}},
		{"Origin": {"https://evil.com.good.com"}},
		{"Origin": {"https://good.com.evil.com"}},
		{"Origin": {"https://evilgood.com"}},
		{"Origin": {"https://good.com:8443"}},
		{"Origin": {"http://dev.good.com:3001"}},
		{"Origin": {"http://DEV.good.com"}},
		{"Origin": {"http://good.com"}},
		{"Origin": {"https://good.com "}},
		{"Origin": {"https://good.com\x00"}},
		{"Origin": {"https://good.com", "https://evil.com"}},
		{"Origin": {"https://evil.com"}, "Sec-Fetch-Site": {"same-origin"}},
		{"Origin": {"http://gate.test:81"}, "X-Forwarded-Host": {"gate.test:81"}},
	} {
		for _, request := range requests {
			w := ask(handler, request, origin)
			h := w.Header()
			if w.Code != http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %q: %d, %v", request, origin, w.Code, h)
			}
		}
	}
	if n := len(edge.visits); n != 0 {
		t.Errorf("%d connections were begun", n)
	}
}

// A picture or a script of a page elsewhere is fetched without an origin. It begins
// no session that polls, while clients without a browser, and our own pages, do.
func TestEmbeddingBeginsNoSession(t *testing.T) {
	for site, want := range map[string]int{
		"cross-site": http.StatusForbidden, "same-site": http.StatusForbidden,
		"same-origin": http.StatusOK, "none": http.StatusOK, "": http.StatusOK,
	} {
		edge := New(Config{Hub: newHub()})
		handler := edge.Handler([]Door{{"/socket.io", SocketIO{Event: "m"}.Framing, parrot}}, nil)
		header := http.Header{}
		if site != "" {
			header.Set("Sec-Fetch-Site", site)
		}
		w := ask(handler, "GET /socket.io/?EIO=4&transport=polling", header)
		if w.Code != want || len(edge.visits) != 0 != (want == http.StatusOK) {
			t.Errorf("Sec-Fetch-Site %q: %d, %d sessions", site, w.Code, len(edge.visits))
		}
		if err := edge.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// ask sends "METHOD path" with the header to the host gate.test; WS is a GET that
// would upgrade to a WebSocket.
func ask(h http.Handler, request string, header http.Header) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(request, " ")
	socket := method == "WS"
	if socket {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, path, nil)
	r.Host = "gate.test"
	r.Header = header.Clone()
	if socket {
		for key, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		} {
			r.Header.Set(key, value)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
