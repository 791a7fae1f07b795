package bench

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/coder/websocket"
)

// serveSocketIO sends the frames on a websocket, each once the client has said what
// stands before it (nothing: at once), and then hands what the client says to said.
func serveSocketIO(t *testing.T, frames [][2]string, said chan<- string) *url.URL {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /socket.io/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("EIO") != "4" || r.URL.Query().Get("transport") != "websocket" {
			t.Errorf("asked for %s", r.URL)
		}
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		for _, f := range frames {
			if f[0] != "" {
				_, b, err := ws.Read(r.Context())
				if err != nil {
					return // the client may have seen enough
				}
				if string(b) != f[0] {
					t.Errorf("the client said %q, want %q", b, f[0])
				}
			}
			if err := ws.Write(r.Context(), websocket.MessageText, []byte(f[1])); err != nil {
				return
			}
		}
		for {
			_, b, err := ws.Read(r.Context())
			if err != nil {
				if said != nil {
					close(said)
				}
				return
			}
			said <- string(b)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL + "/socket.io/")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const opened = `0{"sid":"n.1","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`

func TestSocketIO(t *testing.T) {
	said := make(chan string, 2)
	at := serveSocketIO(t, [][2]string{
		{"", opened}, {"40", "2"}, {"3", `40{"sid":"x"}`},
		{"", `42["talk",{"one":1}]`}, {"", "6"}, {"", "2probe"}, {"3probe", `42["talk","two"]`},
	}, said)
	web := newWeb()
	defer web.CloseIdleConnections()
	s, err := dialSocketIO(t.Context(), web, at, "talk")
	if err != nil {
		t.Fatal(err)
	}
	defer s.hangUp()
	for _, want := range []string{`{"one":1}`, `"two"`} {
		got, err := s.read(t.Context())
		if err != nil || string(got) != want {
			t.Errorf("read = %s, %v; want %s", got, err, want)
		}
	}
	if err := s.write(t.Context(), []byte(`{"a":"b"}`)); err != nil {
		t.Error(err)
	}
	if got := <-said; got != `42["talk",{"a":"b"}]` {
		t.Errorf("the server heard %s", got)
	}
	if err := s.close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-said; got != "41" {
		t.Errorf("the server heard %s", got)
	}
	if got, ok := <-said; ok {
		t.Errorf("after its goodbye the client said %s", got)
	}
}

func TestSocketIODoesNotOpen(t *testing.T) {
	web := newWeb()
	defer web.CloseIdleConnections()
	for name, frames := range map[string][][2]string{
		"no open packet": {{"", "2"}},
		"empty packet":   {{"", ""}},
		"no namespace":   {{"", opened}, {"40", `44{"message":"Invalid namespace"}`}},
		"event first":    {{"", opened}, {"40", `42["talk",{}]`}},
		"closed":         {{"", opened}, {"40", "1"}},
	} {
		if _, err := dialSocketIO(t.Context(), web, serveSocketIO(t, frames, nil), "talk"); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialSocketIO(gone, web, serveSocketIO(t, nil, nil), "talk"); !errors.Is(err, context.Canceled) {
		t.Errorf("dial without a context: %v", err)
	}
}

func TestSocketIOEnds(t *testing.T) {
	web := newWeb()
	defer web.CloseIdleConnections()
	for frame, hungUp := range map[string]bool{
		"41": true, "1": true,
		"4": false, "": false, "5": false, "43[]": false, "42": false, "42{}": false, `42["talk"]`: false,
		`42["other",{}]`: false, `42[7,{}]`: false, `42["talk",{},{}]`: false, `42/room,["talk",{}]`: false,
	} {
		s, err := dialSocketIO(t.Context(), web, serveSocketIO(t, [][2]string{{"", opened}, {"40", `40{"sid":"x"}`}, {"", frame}}, nil), "talk")
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.read(t.Context())
		if err == nil || errors.Is(err, errHungUp) != hungUp {
			t.Errorf("%q: %q, %v", frame, got, err)
		}
		s.hangUp()
	}
}
