package transport

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
)

// The URLs of SockJS protocol 0.3.3 and what they answer, as far as one request
// can show it. What is not offered is not found.
func TestSockJSURLs(t *testing.T) {
	type header = map[string]string
	const noCache = "no-store, no-cache, must-revalidate, max-age=0"
	good := http.Header{"Origin": {"https://good.com"}}
	asking := http.Header{"Origin": {"https://good.com"}, "Access-Control-Request-Headers": {"a, b, c"}}
	cors := header{"Access-Control-Allow-Origin": "https://good.com", "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}
	preflight := header{"Access-Control-Max-Age": "31536000", "Cache-Control": "public, max-age=31536000",
		"Access-Control-Allow-Methods": "OPTIONS, POST"}
	tests := []struct {
		method, path, body string
		send               http.Header
		status             int
		want               string // the body; "*" for any
		headers            header
	}{
		{"GET", "/rtc", "", nil, 200, "Welcome to SockJS!\n", header{"Content-Type": "text/plain; charset=UTF-8", "Set-Cookie": ""}},
		{"GET", "/rtc/", "", nil, 200, "Welcome to SockJS!\n", header{"Content-Type": "text/plain; charset=UTF-8"}},
		{"GET", "/rtc/a", "", nil, 404, "*", nil},
		{"GET", "/rtc/a.html", "", nil, 404, "*", nil},
		{"GET", "/rtc//", "", nil, 404, "*", nil},
		{"GET", "/rtc///", "", nil, 404, "*", nil},
		{"GET", "/rtc/a/a", "", nil, 404, "*", nil},
		{"GET", "/rtc/a/a/", "", nil, 404, "*", nil},

		{"GET", "/rtc/info", "", nil, 200, "*", header{"Content-Type": "application/json; charset=UTF-8", "Cache-Control": noCache,
			"Access-Control-Allow-Origin": "", "Vary": "Origin", "Set-Cookie": ""}},
		{"GET", "/rtc/info", "", good, 200, "*", cors},
		{"OPTIONS", "/rtc/info", "", good, 204, "", cors},
		{"OPTIONS", "/rtc/info", "", good, 204, "", header{"Access-Control-Allow-Methods": "OPTIONS, GET"}},
		{"POST", "/rtc/info", "", nil, 405, "*", nil},

		{"GET", "/rtc/iframe.html", "", nil, 404, "*", nil},
		{"GET", "/rtc/iframe-0.1.2.html", "", nil, 404, "*", nil},
		{"GET", "/rtc/0/0/eventsource", "", nil, 404, "*", nil},
		{"GET", "/rtc/0/0/htmlfile?c=x", "", nil, 404, "*", nil},
		{"GET", "/rtc/0/0/jsonp?c=x", "", nil, 404, "*", nil},
		{"POST", "/rtc/0/0/jsonp_send", "d=x", nil, 404, "*", nil},

		{"GET", "/rtc/0/0/websocket", "", nil, 426, "*", header{"Upgrade": "websocket"}},
		{"POST", "/rtc/0/0/websocket", "", nil, 405, "", header{"Allow": "GET", "Content-Type": ""}},

		{"POST", "/rtc/_/_/xhr", "", nil, 200, "o\n", header{"Content-Type": "application/javascript; charset=UTF-8", "Cache-Control": noCache}},
		{"POST", "/rtc/a/a/xhr", "", good, 200, "o\n", cors},
		{"POST", "/rtc/abcdefgh_i-j%20/abcdefg_i-j%20/xhr", "", nil, 200, "o\n", nil},
		{"POST", "/rtc/1/1/xhr", "", asking, 200, "o\n", header{"Access-Control-Allow-Headers": "a, b, c"}},
		{"POST", "/rtc/1/2/xhr?t=123", "", nil, 200, "o\n", header{"Access-Control-Allow-Headers": ""}},
		{"POST", "/rtc//a/xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/a//xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/a./a/xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/a/a./xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/./././xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/a/xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/a/a/a/xhr", "", nil, 404, "*", nil},
		{"POST", "/rtc/a/" + strings.Repeat("x", maxName+1) + "/xhr", "", nil, 404, "*", nil},
		{"GET", "/rtc/a/a/xhr", "", nil, 405, "*", nil},
		{"POST", "/rtc/a/b/xhr", strings.Repeat("x", 5000), nil, 400, "*", nil},
		{"OPTIONS", "/rtc/abc/abc/xhr", "", good, 204, "", cors},
		{"OPTIONS", "/rtc/abc/abc/xhr", "", good, 204, "", preflight},
		{"OPTIONS", "/rtc/abc/abc/xhr", "", asking, 204, "", header{"Access-Control-Allow-Headers": "a, b, c"}},
		{"OPTIONS", "/rtc/abc/abc/xhr_send", "", good, 204, "", preflight},
		{"OPTIONS", "/rtc/abc/abc/xhr_streaming", "", good, 204, "", preflight},

		{"POST", "/rtc/0/none/xhr_send", `["x"]`, nil, 404, "*", nil},
		{"POST", "/rtc/_/_/xhr_send", `["x"]`, nil, 204, "", header{"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": noCache}},
		{"POST", "/rtc/_/_/xhr_send", ``, nil, 500, "Payload expected.\n", nil},
		{"POST", "/rtc/_/_/xhr_send", `["x`, nil, 500, "Broken JSON encoding.\n", nil},
		{"POST", "/rtc/_/_/xhr_send", "[\"\xff\"]", nil, 500, "Broken JSON encoding.\n", nil},
		{"POST", "/rtc/_/_/xhr_send", `[]`, nil, 204, "", nil},
		{"POST", "/rtc/_/_/xhr_send", `"y"`, http.Header{"Content-Type": {"application/xml"}}, 204, "", nil},
		{"POST", "/rtc/other/_/xhr", "", nil, 200, "a[\"x\"]\na[\"y\"]\n", nil}, // the server's part is ignored
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for _, tt := range tests {
			resp := w.do(tt.method, tt.path, tt.body, tt.send)
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != tt.status || tt.want != "*" && string(body) != tt.want {
				t.Errorf("%s %.60s %.20q: %d %.60q, want %d %q", tt.method, tt.path, tt.body, resp.StatusCode, body, tt.status, tt.want)
			}
			for name, want := range tt.headers {
				if got := strings.Join(resp.Header.Values(name), ", "); got != want {
					t.Errorf("%s %.60s: %s: %q, want %q", tt.method, tt.path, name, got, want)
				}
			}
			synctest.Wait() // what was sent has come back
		}
	})
}

func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		entropy := map[any]bool{}
		for range 8 {
			resp := w.do(http.MethodGet, "/rtc/info", "", nil)
			var info map[string]any
			if err := json.NewDecoder(resp.Body).Decode(&info); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			entropy[info["entropy"]] = true
			if info["websocket"] != true || info["cookie_needed"] != false || len(info) != 4 ||
				!slices.Equal(info["origins"].([]any), []any{"*:*"}) {
				t.Errorf("info: %v", info)
			}
		}
		if len(entropy) < 7 {
			t.Errorf("entropy: %v", entropy)
		}
	})
}

// stream opens an xhr_streaming reply and gives what comes after the prelude.
func (w *world) stream(path string) (*bufio.Reader, io.Closer) {
	w.Helper()
	resp := w.do(http.MethodPost, path+"/xhr_streaming", "", nil)
	w.Cleanup(func() { resp.Body.Close() })
	r := bufio.NewReader(resp.Body)
	prelude, err := r.ReadString('\n')
	if err != nil || prelude != strings.Repeat("h", 2048)+"\n" {
		w.Fatalf("prelude of %d bytes, %v", len(prelude), err)
	}
	return r, resp.Body
}

func (w *world) hearLine(r *bufio.Reader, want string) {
	w.Helper()
	if line, err := r.ReadString('\n'); err != nil || line != want+"\n" {
		w.Fatalf("heard %.60q, %v; want %.60q", line, err, want)
	}
}

func (w *world) hearEnd(r *bufio.Reader) {
	w.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		w.Fatalf("heard %.60q, %v; want the end", rest, err)
	}
}

func TestXHRStreaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		w.wantPost("/rtc/0/s/xhr_send", `["x"]`, 204, "")
		w.hearLine(r, `a["x"]`)
		w.wantPost("/rtc/0/s/xhr_send", `["y","z"]`, 204, "")
		w.hearLine(r, `a["y"]`)
		w.hearLine(r, `a["z"]`)
	})
}

func TestXHRStreamEndsWhenItIsLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		message := strings.Repeat("x", 8<<10)
		heard := 2
		for heard < 128<<10 {
			w.wantPost("/rtc/0/s/xhr_send", quoted(message), 204, "")
			w.hearLine(r, "a"+quoted(message))
			heard += len("a"+quoted(message)) + 1
		}
		w.hearEnd(r)
		r, _ = w.stream("/rtc/0/s")
		w.wantPost("/rtc/0/s/xhr_send", quoted("on"), 204, "")
		w.hearLine(r, "a"+quoted("on"))
	})
}

// A reply ends with a heartbeat, so that a client that has vanished is missed.
func TestXHRHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.wantPost("/rtc/0/p/xhr", "", 200, "o\n")
		began := time.Now()
		w.wantPost("/rtc/0/p/xhr", "", 200, "h\n")
		w.wantPost("/rtc/0/p/xhr", "", 200, "h\n")
		if d := time.Since(began); d != 50*time.Second {
			t.Errorf("two heartbeats took %v", d)
		}
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		began = time.Now()
		w.hearLine(r, "h")
		w.hearEnd(r)
		if d := time.Since(began); d != 25*time.Second {
			t.Errorf("a heartbeat took %v", d)
		}
	})
}

func TestXHRSecondReceiverIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		second, _ := w.stream("/rtc/0/s")
		w.hearLine(second, `c[2010,"Another connection still open"]`)
		w.hearEnd(second)
		w.wantPost("/rtc/0/s/xhr", "", 200, `c[2010,"Another connection still open"]`+"\n")
		w.wantPost("/rtc/0/s/xhr_send", `["x"]`, 204, "")
		w.hearLine(r, `a["x"]`)
	})
}

// Five seconds after its receiver has ended a session is gone, and its member too.
func TestXHRClientThatDoesNotComeBackHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.wantPost("/rtc/0/p/xhr", "", 200, "o\n")
		w.wantPost("/rtc/0/p/xhr_send", quoted("join r ann"), 204, "")
		<-time.After(absence - time.Millisecond)
		if s := w.hub.Stats(); s.Members != 1 {
			t.Fatalf("%+v", s)
		}
		w.wantPost("/rtc/0/p/xhr", "", 200, `a["joined"]`+"\n") // just in time
		<-time.After(absence - time.Millisecond)
		if s := w.hub.Stats(); s.Members != 1 {
			t.Fatalf("%+v", s)
		}
		<-time.After(time.Millisecond)
		synctest.Wait()
		if s := w.hub.Stats(); s.Members != 0 {
			t.Fatalf("%+v", s)
		}
		if got := w.ledger.ends(); !slices.Equal(got, []string{"sockjs-xhr lost"}) {
			t.Errorf("ends: %q", got)
		}
		for range 2 { // it says so for a while
			w.wantPost("/rtc/0/p/xhr", "", 200, `c[1002,"Connection interrupted"]`+"\n")
		}
		w.wantPost("/rtc/0/p/xhr_send", `["x"]`, 404, "404 page not found\n")
		<-time.After(absence)
		synctest.Wait()
		w.wantPost("/rtc/0/p/xhr", "", 200, "o\n") // and then it is a new one
	})
}

// A client that breaks off its request has left at once.
func TestXHRAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		r, body := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		w.wantPost("/rtc/0/s/xhr_send", quoted("join r ann"), 204, "")
		w.hearLine(r, `a["joined"]`)
		body.Close()
		synctest.Wait()
		if s := w.hub.Stats(); s.Members != 0 {
			t.Errorf("%+v", s)
		}
		r, _ = w.stream("/rtc/0/s")
		w.hearLine(r, `c[1002,"Connection interrupted"]`)
		w.hearEnd(r)
	})
}

func TestXHRSessionIsForWhoOpenedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{AllowOrigin: func(string) bool { return true }})
		door := w.edge.SockJS(parrot)
		ask := func(remote, origin, op, body string) int {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/0/s/"+op, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.RemoteAddr = remote
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			rec := &recorder{header: http.Header{}}
			door.ServeHTTP(rec, r)
			return rec.status
		}
		if got := ask("192.0.2.1:1000", "https://a.com", "xhr", ""); got != 200 {
			t.Fatalf("open: %d", got)
		}
		for _, tt := range []struct {
			remote, origin string
			want           int
		}{
			{"192.0.2.1:1000", "https://a.com", 204},
			{"192.0.2.1:2000", "https://a.com", 204},
			{"192.0.2.2:1000", "https://a.com", 404},
			{"192.0.2.1:1000", "https://b.com", 404},
			{"192.0.2.1:1000", "http://a.com", 404},
			{"192.0.2.1:1000", "", 404},
			{"[2001:db8::1]:1000", "https://a.com", 404},
			{"[::ffff:192.0.2.1]:1000", "https://a.com", 204},
		} {
			if got := ask(tt.remote, tt.origin, "xhr_send", `["x"]`); got != tt.want {
				t.Errorf("xhr_send from %s, %s: %d, want %d", tt.remote, tt.origin, got, tt.want)
			}
			if tt.want == 404 {
				if got := ask(tt.remote, tt.origin, "xhr", ""); got != 404 {
					t.Errorf("xhr from %s, %s: %d", tt.remote, tt.origin, got)
				}
			}
		}
	})
}

// recorder is a response that can be flushed and forgotten.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) Flush()              {}
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return len(b), nil
}

func TestXHRMessagesAreBounded(t *testing.T) {
	const limit = 1000
	tests := []struct {
		name, body string
		status     int
		end        string // what the session ends with; "" when it goes on
	}{
		{"message at the limit", quoted(strings.Repeat("x", limit)), 204, ""},
		{"message over it", quoted(strings.Repeat("x", limit+1)), 413, "too_big"},
		{"many messages", "[" + strings.Repeat(`"`+strings.Repeat("x", 500)+`",`, 29) + `"x"]`, 204, ""},
		{"body over its limit", "[" + strings.Repeat(`"x",`, 4*limit) + `"x"]`, 413, "too_big"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{MaxFrame: limit})
				w.wantPost("/rtc/0/p/xhr", "", 200, "o\n")
				if status, body := w.post("/rtc/0/p/xhr_send", tt.body); status != tt.status {
					t.Errorf("%d %s", status, body)
				}
				synctest.Wait()
				if ends := w.ledger.ends(); tt.end != "" && !slices.Equal(ends, []string{"sockjs-xhr " + tt.end}) ||
					tt.end == "" && len(ends) != 0 {
					t.Errorf("ends: %q", ends)
				}
				if tt.end != "" {
					w.wantPost("/rtc/0/p/xhr", "", 200, `c[1009,"message too big"]`+"\n")
				}
			})
		})
	}
}

// A client that sends and never fetches is held up, and then cut off; nothing
// grows without end meanwhile.
func TestXHRClientThatOnlySends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{OutboxLimit: 100})
		r, body := w.stream("/rtc/0/s") // a receiver that reads no more than this
		w.hearLine(r, "o")
		_ = body
		status := 0
		for range 400 {
			if status, _ = w.post("/rtc/0/s/xhr_send", quoted(strings.Repeat("x", 1000))); status != 204 {
				break
			}
		}
		if status != 404 {
			t.Errorf("status %d", status)
		}
		if got := w.ledger.ends(); len(got) != 1 || !strings.HasSuffix(got[0], " slow") {
			t.Errorf("ends: %q", got)
		}
	})
}

func TestXHRReceiverThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		for range 20 {
			w.post("/rtc/0/s/xhr_send", quoted(strings.Repeat("x", 8<<10)))
		}
		<-time.After(defaultWriteTimeout)
		synctest.Wait()
		if got := w.ledger.ends(); !slices.Equal(got, []string{"sockjs-xhr-streaming stalled"}) {
			t.Errorf("ends: %q", got)
		}
	})
}

func TestXHRSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{MaxXHRSessions: 2})
		w.wantPost("/rtc/0/a/xhr", "", 200, "o\n")
		w.wantPost("/rtc/0/b/xhr", "", 200, "o\n")
		w.wantPost("/rtc/0/c/xhr", "", 503, "Service Unavailable\n")
		<-time.After(2*absence + time.Second)
		w.wantPost("/rtc/0/c/xhr", "", 200, "o\n")
	})
}

// The body that a client announces and does not send costs it the connection.
func TestXHRBodyHasATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for _, path := range []string{"/rtc/0/p/xhr", "/rtc/0/p/xhr_send", "/rtc/nowhere", "/rtc/info", "/nowhere"} {
			began := time.Now()
			conn, err := w.listen.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			go io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 100\r\n\r\n[")
			io.Copy(io.Discard, conn)
			if d := time.Since(began); d > 2*bodyTimeout {
				t.Errorf("%s: open for %v", path, d)
			}
			conn.Close()
		}
	})
}

func TestEscapes(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r <= 0x1ffff; r++ {
		if utf8.ValidRune(r) {
			all.WriteRune(r)
		}
	}
	frame := messageFrame([]byte(all.String()))
	var back []string
	if err := json.Unmarshal(frame[1:], &back); err != nil || back[0] != all.String() {
		t.Errorf("does not read back: %v", err)
	}
	for _, r := range string(frame) {
		if r < 0x20 || r >= 0x200c && r <= 0x200f || r >= 0x2028 && r <= 0x202f || r >= 0x2060 && r <= 0x206f ||
			r >= 0xfff0 && r <= 0xffff {
			t.Errorf("%U is not escaped", r)
		}
	}
	if got := string(messageFrame([]byte("\"\\\n\u2028é한😀"))); got != `a["\"\\\u000a\u2028é한😀"]` {
		t.Errorf("frame %s", got)
	}
	if got := string(closeFrame(3000, "Go away!")); got != `c[3000,"Go away!"]` {
		t.Errorf("frame %s", got)
	}
}

// While a session does not take messages, senders wait in line, with empty hands;
// but not for ever.
func TestXHRSendersWaitInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		edge := New(Config{Hub: newHub()})
		x := &xhr{edge: edge, dialect: parrot, sessions: map[string]*xhrSession{}}
		door := chi.NewRouter()
		door.Post("/{session}", x.send)
		request := func(body io.Reader) *http.Request {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/s", body)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		s := newXHRSession(&visit{edge: edge, cut: func(error) {}}, "", edge.config.MaxFrame) // nobody reads from it
		x.sessions["s"] = s
		defer s.end(nil)

		began := time.Now()
		first, second := strings.NewReader(`["first"]`), strings.NewReader(`["second"]`)
		var wg sync.WaitGroup
		for _, body := range []*strings.Reader{first, second} {
			wg.Go(func() {
				w := &recorder{header: http.Header{}}
				door.ServeHTTP(w, request(body))
				if w.status != http.StatusTooManyRequests {
					t.Errorf("status %d", w.status)
				}
			})
			synctest.Wait()
		}
		if first.Len() != 0 || second.Len() == 0 {
			t.Errorf("%d and %d bytes left to read", first.Len(), second.Len())
		}
		wg.Wait()
		if d := time.Since(began); d != bodyTimeout {
			t.Errorf("they waited %v", d)
		}
	})
}
