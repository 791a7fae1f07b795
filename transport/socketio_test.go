package transport

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"confgate/core"
)

// talk is the door of the tests, over which a parrot speaks. Its own ids differ from
// time to time: heard puts * for them.
var talk = SocketIO{
	Event: "say", Namespaces: []string{"/", "/more"}, NodeID: "n1", MaxPayload: 1 << 20,
	Client: fstest.MapFS{"socket.io.js": {Data: []byte("js")}},
}

var idsIn = regexp.MustCompile(`"sid":"[\w.-]+"`)

func heard(text string) string { return idsIn.ReplaceAllString(text, `"sid":"*"`) }

// Paths of Engine.IO requests, to which a session is added.
const (
	poll4   = "/socket.io/?EIO=4&transport=polling"
	poll3   = "/socket.io/?EIO=3&transport=polling"
	socket4 = "/socket.io/?EIO=4&transport=websocket"
	socket3 = "/socket.io/?EIO=3&transport=websocket"
)

// counted gives a payload of revision 3.
func counted(packets ...string) string {
	var b strings.Builder
	for _, p := range packets {
		fmt.Fprintf(&b, "%d:%s", len(p), p) // ASCII only
	}
	return b.String()
}

// session begins to poll, and gives what identifies the session.
func (w *world) session(path string) string {
	w.Helper()
	_, text := w.request(http.MethodGet, path, "", nil)
	var hello struct{ SID string }
	_, object, _ := strings.Cut(text, "0{")
	if err := json.NewDecoder(strings.NewReader("{" + object)).Decode(&hello); err != nil || hello.SID == "" {
		w.Fatalf("GET %s: %q, %v", path, text, err)
	}
	return path + "&sid=" + hello.SID
}

func (w *world) request(method, path, body string, header http.Header) (int, string) {
	w.Helper()
	resp := w.do(method, path, body, header)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// brings sends packets with a request that takes them.
func (w *world) brings(path, body string) {
	w.Helper()
	w.wantPost(path, body, http.StatusOK, "ok")
}

// gets wants packets from a poll.
func (w *world) gets(path, want string) {
	w.Helper()
	if status, text := w.request(http.MethodGet, path, "", nil); status != http.StatusOK || heard(text) != want {
		w.Fatalf("GET %s: %d %.100q, want %q", path, status, heard(text), want)
	}
}

// refuses wants an error of the engine.
func (w *world) refuses(method, path string, f refusal) {
	w.Helper()
	want := fmt.Sprintf(`{"code":%d,"message":%q}`, f.Code, f.Message)
	if status, text := w.request(method, path, "", nil); status != http.StatusBadRequest || text != want {
		w.Fatalf("%s %s: %d %.100q, want %s", method, path, status, text, want)
	}
}

// hears wants a packet, whatever its ids.
func (w *world) hears(c *websocket.Conn, want string) {
	w.Helper()
	_, got, err := c.Read(w.Context())
	if err != nil || heard(string(got)) != want {
		w.Fatalf("heard %.100q, %v, want %.100q", heard(string(got)), err, want)
	}
}

// connects opens a WebSocket and connects "/".
func (w *world) connects(path string) *websocket.Conn {
	w.Helper()
	c := w.dial(path)
	_, hello, err := c.Read(w.Context())
	if err != nil || hello[0] != eioOpen {
		w.Fatalf("heard %q, %v", hello, err)
	}
	if path == socket4 {
		w.tell(c, "40")
		w.hears(c, `40{"sid":"*"}`)
		return c
	}
	w.hears(c, "40")
	return c
}

func (w *world) wantEnds(want ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.ledger.ends(); !slices.Equal(got, want) {
		w.Errorf("ends: %q, want %q", got, want)
	}
}

const (
	hello4 = `0{"sid":"*","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1048576}`
	alone4 = `0{"sid":"*","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1048576}`
	alone3 = `0{"sid":"*","upgrades":[],"pingInterval":25000,"pingTimeout":5000,"maxPayload":1048576}`
)

// What one request shows of Engine.IO.
func TestEngineIORequests(t *testing.T) {
	errorOf := func(f refusal) string { return fmt.Sprintf(`{"code":%d,"message":%q}`, f.Code, f.Message) }
	tests := []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", poll4, 200, hello4},
		{"GET", "/socket.io?EIO=4&transport=polling", 200, hello4},
		{"GET", poll4 + "&t=abc&b64=1", 200, hello4},
		{"GET", "/socket.io/?transport=polling", 400, errorOf(unknownRevision)},
		{"GET", "/socket.io/?EIO=abc&transport=polling", 400, errorOf(unknownRevision)},
		{"GET", "/socket.io/?EIO=5&transport=polling", 400, errorOf(unknownRevision)},
		{"GET", "/socket.io/", 400, errorOf(unknownTransport)},
		{"GET", "/socket.io/?EIO=4", 400, errorOf(unknownTransport)},
		{"GET", "/socket.io/?EIO=4&transport=abc", 400, errorOf(unknownTransport)},
		{"GET", "/socket.io/?EIO=4&transport=constructor", 400, errorOf(unknownTransport)},
		{"GET", "/socket.io/?EIO=4&transport=webtransport", 400, errorOf(unknownTransport)},
		{"GET", poll3 + "&j=0", 400, errorOf(unknownTransport)},
		{"POST", poll4, 400, errorOf(badMethod)},
		{"PUT", poll4, 400, errorOf(badMethod)},
		{"GET", socket4, 400, errorOf(badRequest)},
		{"GET", poll4 + "&sid=abc", 400, errorOf(unknownSession)},
		{"POST", poll4 + "&sid=abc", 400, errorOf(unknownSession)},
		{"GET", poll4 + "&sid=n1." + strings.Repeat("A", 24), 400, errorOf(unknownSession)},
		{"GET", socket4 + "&sid=constructor", 400, errorOf(unknownSession)},
		{"GET", "/socket.io/x", 404, "404 page not found\n"},
		{"GET", "/socket.io/socket.io.js", 200, "js"},
		{"GET", "/socket.io/socket.io.min.js", 200, "js"},
		{"HEAD", "/socket.io/socket.io.min.js", 200, ""},
		{"GET", "/socket.io/socket.io.esm.js", 404, "404 page not found\n"},
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for _, tt := range tests {
			status, text := w.request(tt.method, tt.path, "", nil)
			if status != tt.status || heard(text) != tt.want {
				t.Errorf("%s %s: %d %.120q, want %d %q", tt.method, tt.path, status, heard(text), tt.status, tt.want)
			}
		}
		// The one who has a session asks in a wrong way.
		s := w.session(poll4)
		w.refuses("PUT", s, badRequest)
		w.refuses("GET", strings.Replace(s, "EIO=4", "EIO=3", 1), badRequest)
		w.refuses("GET", strings.Replace(s, "polling", "websocket", 1), badRequest)
		w.brings(s, "40")
	})
}

func TestSocketIOPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		s := w.session(poll4)
		w.brings(s, "40")
		w.gets(s, `40{"sid":"*"}`)
		w.brings(s, `42["say",{"a":1}]`)
		w.gets(s, `42["say",{"a":1}]`)
		w.brings(s, "42[\"say\",1]\x1e427[\"say\",2]\x1ebAQID\x1e42[\"say\",3]")
		synctest.Wait()
		w.refuses("GET", s, unknownSession) // bytes that belong to nothing

		s = w.session(poll3)
		w.brings(s, counted(`42["say",{"a":1}]`, `429["say",2]`))
		synctest.Wait()
		w.brings(s, counted("2"))
		w.gets(s, counted(`42["say",{"a":1}]`, `42["say",2]`, `439[2]`, "3"))
		resp := w.do("GET", poll4, "", nil)
		defer resp.Body.Close()
		h := resp.Header
		if h.Get("Content-Type") != "text/plain; charset=UTF-8" || !strings.Contains(h.Get("Cache-Control"), "no-store") || h.Get("Content-Length") == "" {
			t.Errorf("headers: %v", h)
		}
	})
}

// A client of Engine.IO 3 is in "/" without a word.
func TestOldClientsAreConnectedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		_, text := w.request("GET", poll3, "", nil)
		if want := regexp.MustCompile(`^\d+:0\{"sid":"n1\.[\w-]{24}","upgrades":\["websocket"\],"pingInterval":25000,"pingTimeout":5000,"maxPayload":1048576\}2:40$`); !want.MatchString(text) {
			t.Errorf("hello: %q", text)
		}
		c := w.dial(socket3)
		w.hears(c, alone3)
		w.hears(c, "40")
		w.tell(c, "40/more?token=x,")
		w.hears(c, "40/more,")
		w.tell(c, `42/more,1["say",{"a":1}]`)
		w.hears(c, `42/more,["say",{"a":1}]`)
		w.hears(c, `43/more,1[{"a":1}]`)
		w.tell(c, "2")
		w.hears(c, "3")
		synctest.Wait()
		if got := len(w.ledger.opened); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

func TestSocketIOWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		c := w.dial(socket4)
		w.hears(c, alone4)
		for _, exchange := range [][]string{
			{`40{"token":"123"}`, `40{"sid":"*"}`},
			{`40/nope`, `44/nope,{"message":"Invalid namespace"}`},
			{`40/more?x=1,`, `44/more?x=1,{"message":"Invalid namespace"}`},
			{`42["say",{"a":"안녕 😀"}]`, `42["say",{"a":"안녕 😀"}]`},
			{`42["say",{"a":1},"and more",[2]]`, `42["say",{"a":1}]`},
			{`42["say","{\"a\":1}"]`, `42["say",{"a":1}]`},
			{`42["say"]`, `42["say",null]`},
			{`42["other",1]`}, {`42[5,1]`}, {`42`}, {`43["ack of nothing"]`}, {`3`}, {`6`}, {`5`}, {`0`},
			{`42456["say",{"a":1}]`, `42["say",{"a":1}]`, `43456[{"a":1}]`},
			{`420["say","bad luck"]`, `42["say",sorry]`, `430[sorry]`},
			{`427["say","nothing"]`},
			{`42["say","join r ann"]`, `42["say",joined]`},
			{`40/more`, `40/more,{"sid":"*"}`},
			{`42/more,1["say","join r ben"]`, `42/more,["say",joined]`, `43/more,1[joined]`},
			{`42["say","say \"hi\""]`, `42/more,["say","hi"]`},
			{`41/more`},
			{`42["say","say \"nobody\""]`},
			{`42["say",{"b":2}]`, `42["say",{"b":2}]`},
			{`40/more`, `40/more,{"sid":"*"}`},
			{`42/more,["say",{"c":3}]`, `42/more,["say",{"c":3}]`},
		} {
			w.tell(c, exchange[0])
			for _, want := range exchange[1:] {
				w.hears(c, want)
			}
			synctest.Wait()
		}
		c.Close(websocket.StatusNormalClosure, "")
		w.wantEnds("socketio left", "socketio left", "socketio left")
		if s := w.hub.Stats(); s != (core.Stats{}) {
			t.Errorf("the house still has %+v", s)
		}
	})
}

// Bytes come after what they belong to, and are of no use; the message is, if there
// are none in it.
func TestBinaryEvents(t *testing.T) {
	for _, path := range []string{socket4, socket3} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{})
			c := w.connects(path)
			bytes := []byte{1, 2, 3, 4}
			if path == socket3 {
				bytes[0] = 4
			}
			send := func() {
				if err := c.Write(t.Context(), websocket.MessageBinary, bytes); err != nil {
					t.Fatal(err)
				}
			}
			w.tell(c, `452-["say",{"a":1},{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
			send()
			w.tell(c, "b4AQIDBA==") // in base64
			w.hears(c, `42["say",{"a":1}]`)
			w.tell(c, `451-9["say",{"image":{"_placeholder":true,"num":0}}]`)
			send()
			w.hears(c, `42["say",null]`)
			w.hears(c, `439[null]`)
			w.tell(c, `461-3[{"_placeholder":true,"num":0}]`)
			send()
			w.tell(c, `42["say",1]`)
			w.hears(c, `42["say",1]`)
			w.tell(c, `4511-["say"]`)
			w.hearClose(c, 1002)
		})
	}
}

// What makes no sense ends the session: on a WebSocket, and in a request that brings it.
func TestNonsenseEndsTheSession(t *testing.T) {
	for _, frame := range []string{"abc", "", "9", "4abc", "4", "47", "2", "44{}", "40", "42{}", `42["connect"]`, `42/more,["say",1]`, "41/more", "43/more,1[]",
		`451-["say",{"_placeholder":true}]` + "\x1e42[\"say\",1]", "bAQ==", "4\xff"} {
		t.Run(frame, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				c := w.connects(socket4)
				for packet := range strings.SplitSeq(frame, "\x1e") {
					c.Write(t.Context(), websocket.MessageText, []byte(packet))
				}
				code := websocket.StatusProtocolError
				if strings.Contains(frame, "\xff") {
					code = websocket.StatusInvalidFramePayloadData
				}
				w.hearClose(c, code)
				c.CloseNow()

				s := w.session(poll4)
				w.brings(s, "40")
				w.gets(s, `40{"sid":"*"}`)
				status, text := w.post(s, frame)
				if status != http.StatusBadRequest && text != "ok" {
					t.Errorf("%d %q", status, text)
				}
				synctest.Wait()
				w.refuses("GET", s, unknownSession)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		c := w.connects(socket3)
		w.tell(c, "3") // servers answer pings in this revision
		w.hearClose(c, websocket.StatusProtocolError)
	})
}

// The client ends the session.
func TestClosePacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		c := w.connects(socket4)
		w.tell(c, `42["say","join r ann"]`)
		w.hears(c, `42["say",joined]`)
		w.tell(c, "1")
		w.hearClose(c, websocket.StatusNormalClosure)
		w.wantEnds("socketio left")

		for path, payload := range map[string]func(...string) string{poll4: func(p ...string) string { return strings.Join(p, "\x1e") }, poll3: counted} {
			s := w.session(path)
			done := make(chan struct{})
			if path == poll4 {
				w.brings(s, "40")
				w.gets(s, `40{"sid":"*"}`)
			}
			go func() {
				defer close(done)
				w.gets(s, payload("6"))
			}()
			synctest.Wait()
			w.brings(s, payload("1"))
			<-done
			synctest.Wait()
			w.refuses("GET", s, unknownSession)
		}
	})
}

func TestUpgrade(t *testing.T) {
	for _, path := range []string{poll4, poll3} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{})
			payload := func(packets ...string) string { return strings.Join(packets, "\x1e") }
			if path == poll3 {
				payload = counted
			}
			s := w.session(path)
			if path == poll4 {
				w.brings(s, "40")
				w.gets(s, `40{"sid":"*"}`)
			}
			w.brings(s, payload(`42["say","join r ann"]`))
			w.gets(s, payload(`42["say",joined]`))
			polled := make(chan struct{})
			go func() {
				defer close(polled)
				w.gets(s, payload("6")) // so that the client can go over
			}()
			synctest.Wait()
			over := strings.Replace(s, "polling", "websocket", 1)
			c := w.dial(over)
			w.refuses("GET", over, badRequest)
			w.refusesSocket(over) // one at a time
			w.tell(c, "2probe")
			w.hears(c, "3probe")
			<-polled
			w.gets(s, payload("6"))
			// What nobody has fetched goes over, before anything else.
			w.brings(s, payload(`42["say",1]`, `42["say",2]`))
			synctest.Wait()
			w.tell(c, "5")
			w.hears(c, `42["say",1]`)
			w.hears(c, `42["say",2]`)
			w.tell(c, `421["say",3]`)
			w.hears(c, `42["say",3]`)
			w.hears(c, `431[3]`)
			w.refuses("GET", s, badRequest)
			w.refuses("POST", s, badRequest)
			w.refusesSocket(over)
			w.tell(c, `42["say",4]`) // none of this matters to it
			w.hears(c, `42["say",4]`)
		})
	}
}

// refusesSocket wants no WebSocket.
func (w *world) refusesSocket(path string) {
	w.Helper()
	_, resp, err := websocket.Dial(w.Context(), "ws://gate.test"+path, &websocket.DialOptions{HTTPClient: w.client})
	if err == nil || resp.StatusCode != http.StatusBadRequest {
		w.Fatalf("%s: %v", path, err)
	}
}

// A WebSocket that does not work out leaves the session polling.
func TestFailedUpgrade(t *testing.T) {
	for name, fail := range map[string]func(*world, *websocket.Conn){
		"nonsense":    func(w *world, c *websocket.Conn) { w.tell(c, "42"); w.hearClose(c, websocket.StatusProtocolError) },
		"other probe": func(w *world, c *websocket.Conn) { w.tell(c, "2prob"); w.hearClose(c, websocket.StatusProtocolError) },
		"closed":      func(_ *world, c *websocket.Conn) { c.Close(websocket.StatusNormalClosure, "") },
		"vanished":    func(_ *world, c *websocket.Conn) { c.CloseNow() },
		"probe only": func(w *world, c *websocket.Conn) {
			began := time.Now()
			w.tell(c, "2probe")
			w.hears(c, "3probe")
			w.hearClose(c, websocket.StatusProtocolError)
			if d := time.Since(began); d != upgradeTimeout {
				w.Errorf("took %v", d)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				s := w.session(poll4)
				w.brings(s, "40")
				w.gets(s, `40{"sid":"*"}`)
				fail(w, w.dial(strings.Replace(s, "polling", "websocket", 1)))
				synctest.Wait()
				w.brings(s, `42["say",1]`)
				w.gets(s, `42["say",1]`)
				c := w.dial(strings.Replace(s, "polling", "websocket", 1)) // and it may try again
				w.tell(c, "2probe")
				w.hears(c, "3probe")
				w.tell(c, "5")
				w.tell(c, `42["say",2]`)
				w.hears(c, `42["say",2]`)
			})
		})
	}
}

// The server asks whether the client is there, in revision 4.
func TestServerPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		began := time.Now()
		c := w.connects(socket4)
		for i := range 5 {
			w.hears(c, "2")
			if d, want := time.Since(began), time.Duration(i+1)*25*time.Second; d != want {
				t.Errorf("ping after %v, want %v", d, want)
			}
			<-time.After(19 * time.Second) // late, but not too late
			w.tell(c, "3")
			synctest.Wait()
		}
		w.hears(c, "2")
		w.hearClose(c, 4408)
		if d := time.Since(began); d != (6*25+20)*time.Second {
			t.Errorf("silent after %v", d)
		}

		began = time.Now()
		s := w.session(poll4)
		w.brings(s, "40")
		w.gets(s, `40{"sid":"*"}`)
		for range 3 {
			w.gets(s, "2")
			w.brings(s, "3")
		}
		w.gets(s, "2")
		w.gets(s, "1")
		if d := time.Since(began); d != (4*25+20)*time.Second {
			t.Errorf("silent after %v", d)
		}
	})
}

// The client says that it is there, in revision 3.
func TestClientPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		began := time.Now()
		c := w.connects(socket3)
		for range 5 {
			<-time.After(29 * time.Second)
			w.tell(c, "2")
			w.hears(c, "3")
		}
		w.hearClose(c, 4408)
		if d := time.Since(began); d != (5*29+30)*time.Second {
			t.Errorf("silent after %v", d)
		}
		began = time.Now()
		s := w.session(poll3)
		w.gets(s, counted("1"))
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("silent after %v", d)
		}
	})
}

// The same person may come in again once the connection has missed a sign of life,
// and not before.
func TestQuietClientsCanBeReplaced(t *testing.T) {
	const due = 25 * time.Second
	for _, path := range []string{socket4, socket3} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{})
			old := w.connects(path)
			last := make(chan string, 1)
			go func() { // takes everything, and answers no pings
				var frame string
				for {
					_, next, err := old.Read(t.Context())
					if err != nil {
						last <- frame
						return
					}
					frame = string(next)
				}
			}()
			w.tell(old, `42["say","claim r ann"]`)
			synctest.Wait()
			claim := func(want string) {
				t.Helper()
				c := w.connects(path)
				w.tell(c, `42["say","claim r ann"]`)
				w.hears(c, `42["say",`+want+`]`)
				c.Close(websocket.StatusNormalClosure, "")
				synctest.Wait()
			}
			claim("refused")
			<-time.After(due + lateAfter - time.Second)
			claim("refused")
			<-time.After(2 * time.Second)
			w.tell(old, `42["say",1]`) // here it is again
			synctest.Wait()
			claim("refused")
			<-time.After(due + lateAfter)
			synctest.Wait()
			claim("joined")
			old.CloseNow()
			if frame := <-last; frame != "41" {
				t.Errorf("heard %q last", frame)
			}
		})
	}
}

func TestClientsThatWantNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		began := time.Now()
		c, s := w.dial(socket4), w.session(poll4)
		w.hears(c, alone4)
		w.tell(c, "40/nope")
		w.hears(c, `44/nope,{"message":"Invalid namespace"}`)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.gets(s, "2")
			w.brings(s, "3")
			w.gets(s, "1")
		}()
		w.hears(c, "2")
		w.tell(c, "3")
		w.hearClose(c, 4408)
		<-done
		if d := time.Since(began); d != joinTimeout {
			t.Errorf("took %v", d)
		}
		w.wantEnds()
	})
}

// A session is for who opened it alone, and ids are the server's.
func TestSessionsAreBound(t *testing.T) {
	edge := New(Config{Hub: newHub(), AllowOrigin: func(origin string) bool { return strings.HasPrefix(origin, "https://good.com") }})
	handler := edge.Handler([]Door{{"/socket.io", talk.Framing, parrot}}, nil)
	request := func(method, path, remote, origin string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader("40"))
		r.RemoteAddr, r.Host = remote, "gate.test"
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if strings.Contains(path, "websocket") {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Sec-WebSocket-Version", "13")
			r.Header.Set("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	tests := []struct {
		opener, thief, origin, pretended string
		want                             int
	}{
		{"192.0.2.1:1", "192.0.2.1:9", "", "", 200},
		{"192.0.2.1:1", "192.0.2.2:1", "", "", 200}, // a phone that came home
		{"192.0.2.1:1", "192.0.2.2:1", "", "https://good.com", 400},
		{"192.0.2.1:1", "192.0.2.1:1", "https://good.com", "https://good.com", 200},
		{"192.0.2.1:1", "192.0.2.1:1", "https://good.com", "HTTPS://good.com:443", 200},
		{"192.0.2.1:1", "192.0.2.1:1", "https://good.com", "", 400},
		{"192.0.2.1:1", "192.0.2.1:1", "https://good.com", "https://good.com:8443", 400},
		{"192.0.2.1:1", "192.0.2.1:1", "", "https://good.com", 400},
		// A page from here names its origin only when it sends.
		{"192.0.2.1:1", "192.0.2.1:1", "", "https://gate.test", 200},
		{"192.0.2.1:1", "192.0.2.1:1", "http://gate.test", "", 200},
		{"192.0.2.1:1", "192.0.2.1:1", "", "https://evil.com", 403},
	}
	for _, tt := range tests {
		w := request("GET", poll4, tt.opener, tt.origin)
		var hello struct{ SID string }
		if err := json.Unmarshal(w.Body.Bytes()[1:], &hello); err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"POST " + poll4, "GET " + socket4} {
			method, path, _ := strings.Cut(what, " ")
			w = request(method, path+"&sid="+hello.SID, tt.thief, tt.pretended)
			want := tt.want
			if want == 200 && method == "GET" {
				want = http.StatusSwitchingProtocols // as far as a recorder lets it
			}
			if w.Code != want || want == 400 && !strings.Contains(w.Body.String(), unknownSession.Message) {
				t.Errorf("opened by %s %s, %s by %s %s: %d %s", tt.opener, tt.origin, method, tt.thief, tt.pretended, w.Code, w.Body)
			}
		}
		if tt.want != 200 {
			continue
		}
		// A revision is part of it.
		if w := request("POST", poll3+"&sid="+hello.SID, tt.opener, tt.origin); w.Code != 400 || !strings.Contains(w.Body.String(), badRequest.Message) {
			t.Errorf("another revision: %d %s", w.Code, w.Body)
		}
	}
	if err := edge.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Session ids are random, and say whose they are.
func TestSessionIDs(t *testing.T) {
	const many = 10_000
	seen := map[string]bool{}
	for range many {
		id := newID()
		if len(id) != 24 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
	// Each character is as frequent as the others.
	count := map[rune]int{}
	for id := range maps.Keys(seen) {
		for _, c := range id {
			count[c]++
		}
	}
	expected := float64(many*24) / 64
	chi := 0.0
	for _, n := range count {
		chi += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	if len(count) != 64 || chi > 140 { // 63 degrees of freedom: exceeded once in ten million times
		t.Errorf("%d characters, chi square %.1f", len(count), chi)
	}
	for _, node := range []string{"", "n7"} {
		synctest.Test(t, func(t *testing.T) {
			edge := New(Config{Hub: newHub()})
			h := SocketIO{Event: "say", NodeID: node}.Framing(edge, parrot)
			ids := map[string]bool{}
			for range 3 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?EIO=4&transport=polling&sid=", nil))
				_, after, _ := strings.Cut(w.Body.String(), `"sid":"`)
				id, _, _ := strings.Cut(after, ".")
				if node != "" && id != node || node == "" && len(id) != 8 {
					t.Fatalf("%s", w.Body)
				}
				ids[id] = true
			}
			if len(ids) != 1 {
				t.Errorf("nodes: %v", ids)
			}
			if err := edge.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOneRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		s := w.session(poll4)
		w.brings(s, "40")
		w.gets(s, `40{"sid":"*"}`)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.gets(s, "1")
		}()
		synctest.Wait()
		w.refuses("GET", s, badRequest)
		<-done
		synctest.Wait()
		w.refuses("GET", s, unknownSession)

		s = w.session(poll4)
		slow, body := io.Pipe()
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gate.test"+s, slow)
			if resp, err := w.client.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		body.Write([]byte("4"))
		synctest.Wait()
		w.refuses("POST", s, badRequest)
		body.Close()
		synctest.Wait()
		w.refuses("GET", s, unknownSession)
	})
}

func TestPollThatIsGivenUpEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		s := w.session(poll3)
		w.brings(s, counted(`42["say","join r ann"]`))
		w.gets(s, counted(`42["say",joined]`))
		conn, err := w.listen.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET "+s+" HTTP/1.1\r\nHost: gate.test\r\n\r\n")
		synctest.Wait()
		conn.Close()
		w.wantEnds("socketio lost")
		w.refuses("GET", s, unknownSession)
	})
}

func TestSocketIOLimits(t *testing.T) {
	packet := func(size int) string {
		const around = len(`42["say",""]`)
		return `42["say","` + strings.Repeat("x", size-around) + `"]`
	}
	limit := talk.MaxPayload
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for _, n := range []int{limit - 1, limit} {
			c := w.connects(socket4)
			c.SetReadLimit(int64(2 * limit))
			w.tell(c, packet(n))
			w.hears(c, `42["say",`+strings.Repeat("x", n-12)+`]`)
			s := w.session(poll4)
			w.brings(s, "40")
			w.gets(s, `40{"sid":"*"}`)
			w.brings(s, packet(n))
			w.gets(s, `42["say",`+strings.Repeat("x", n-12)+`]`)
		}
		c := w.connects(socket4)
		w.tell(c, `42["say","join r ann"]`)
		w.hears(c, `42["say",joined]`)
		go c.Write(t.Context(), websocket.MessageText, []byte(packet(limit+1)))
		w.hearClose(c, websocket.StatusMessageTooBig)
		w.wantEnds("socketio too_big")

		for _, length := range []int64{-1, int64(limit + 1)} { // announced, or not
			s := w.session(poll4)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gate.test"+s, strings.NewReader(packet(limit+1)))
			req.ContentLength = length
			resp, err := w.client.Do(req)
			if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%v, %v", resp, err)
			}
			if err == nil {
				resp.Body.Close()
			}
			synctest.Wait()
			w.refuses("GET", s, unknownSession)
		}
	})
}

// A client on a slow line is heard while it sends, and has the time that it needs.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		message := `42["say","` + strings.Repeat("x", 1000_000) + `"]`
		conn, r := w.upgrade(socket4)
		go io.Copy(io.Discard, r)
		conn.Write(masked("40"))
		header := []byte{0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40 + 12, 0, 0, 0, 0}
		conn.Write(header)
		for piece := range slices.Chunk([]byte(message), 100_000) {
			<-time.After(20 * time.Second)
			if _, err := conn.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := len(w.ledger.opened); got != 1 {
			t.Errorf("%d connections", got)
		}

		s := w.session(poll4)
		body, sender := io.Pipe()
		go func() {
			defer sender.Close()
			for piece := range slices.Chunk([]byte("40\x1e"+message), 200_000) {
				<-time.After(7 * time.Second)
				if _, err := sender.Write(piece); err != nil {
					t.Error(err)
				}
			}
		}()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gate.test"+s, body)
		resp, err := w.client.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		resp.Body.Close()
	})
}

// One that sends next to nothing is not waited for.
func TestTrickledBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		s := w.session(poll4)
		conn, err := w.listen.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		go func() {
			io.WriteString(conn, "POST "+s+" HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 100000\r\n\r\n")
			for {
				<-time.After(time.Second)
				if _, err := io.WriteString(conn, "4"); err != nil {
					return
				}
			}
		}()
		io.Copy(io.Discard, conn)
		if d := time.Since(began); d > bodyTimeout+time.Second {
			t.Errorf("took %v", d)
		}
		synctest.Wait()
		w.refuses("GET", s, unknownSession)
	})
}

func TestSlowPollerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		ann := w.connects(socket4)
		w.tell(ann, `42["say","join r ann"]`)
		w.hears(ann, `42["say",joined]`)
		s := w.session(poll3)
		w.brings(s, counted(`42["say","join r ben"]`))
		w.gets(s, counted(`42["say",joined]`))
		began := time.Now()
		for range queuedPackets + 1 {
			w.tell(ann, `42["say","say 1"]`)
		}
		synctest.Wait()
		if d := time.Since(began); d != 0 {
			t.Errorf("the others waited %v", d)
		}
		<-time.After(defaultWriteTimeout)
		w.wantEnds("socketio stalled")

		s = w.session(poll3)
		w.brings(s, counted(`42["say","join r ben"]`))
		w.gets(s, counted(`42["say",joined]`))
		large := strings.Repeat("x", queuedBytes/4)
		for range 4 {
			w.tell(ann, `42["say","say `+large+`"]`)
		}
		<-time.After(transferTime(defaultWriteTimeout, len(large)))
		w.wantEnds("socketio stalled", "socketio stalled")
	})
}

func TestSlowSocketIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{OutboxLimit: 8})
		conn, r := w.upgrade(socket3)
		skipFrames(t, r, 1)
		skipFrames(t, r, 1)
		for range 24 { // eight are being written, eight wait, and then some
			conn.Write(masked(`42["say",1]`))
		}
		<-time.After(closeGrace)
		w.wantEnds("socketio slow")
	})
}

// One who is displaced is put out of the namespace, and told so: clients do not come
// back after that. What else goes on over the session does go on.
func TestDisplacedNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		old, c := w.connects(socket4), w.connects(socket4)
		w.tell(old, "40/more")
		w.hears(old, `40/more,{"sid":"*"}`)
		w.tell(old, `42/more,["say","join r ann"]`)
		w.hears(old, `42/more,["say",joined]`)
		w.tell(c, `42["say","join r ann"]`)
		w.hears(c, `42["say",joined]`)
		w.hears(old, "41/more,")
		w.tell(old, `42/more,["say",1]`) // said too late, and not heard
		w.tell(old, `42["say",2]`)
		w.hears(old, `42["say",2]`)
		w.tell(old, "40/more")
		w.hears(old, `40/more,{"sid":"*"}`)
		w.tell(old, `42/more,["say",3]`)
		w.hears(old, `42/more,["say",3]`)
		w.wantEnds("socketio displaced")
	})
}

func TestEverySocketIOEndIsClean(t *testing.T) {
	for name, tt := range map[string]struct {
		message string
		code    websocket.StatusCode
		end     string
	}{
		"not UTF-8":     {"[\"say\",\"\xff\"]", 1007, ""},
		"decode panics": {`["say","panic"]`, 1011, "socketio panicked"},
		"encode panics": {`["say","mute"]`, 1011, "socketio panicked"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				c := w.connects(socket4)
				c.Write(t.Context(), websocket.MessageText, []byte("42"+tt.message))
				w.hearClose(c, tt.code)
				synctest.Wait()
				if got := strings.Join(w.ledger.ends(), ","); got != tt.end {
					t.Errorf("ends: %q", got)
				}
			})
		})
	}
}

func TestSocketIOShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		c, s, probing := w.connects(socket4), w.session(poll4), w.session(poll4)
		w.tell(c, `42["say","join r ann"]`)
		w.hears(c, `42["say",joined]`)
		p := w.dial(strings.Replace(probing, "polling", "websocket", 1))
		w.tell(p, "2probe")
		w.hears(p, "3probe")
		polled := make(chan struct{})
		go func() {
			defer close(polled)
			w.gets(s, "1")
		}()
		synctest.Wait()
		done := make(chan error)
		go func() { done <- w.edge.Shutdown(t.Context()) }()
		w.hearClose(c, websocket.StatusGoingAway)
		w.hearClose(p, websocket.StatusGoingAway)
		<-polled
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.wantEnds("socketio shutdown")
		if status, _ := w.request("GET", poll4, "", nil); status != http.StatusServiceUnavailable {
			t.Errorf("a new session: %d", status)
		}
		if _, resp, err := websocket.Dial(t.Context(), "ws://gate.test"+socket4, &websocket.DialOptions{HTTPClient: w.client}); err == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a new socket: %v", err)
		}
	})
}

func TestTooManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{MaxXHRSessions: 2})
		first, second := w.session(poll4), w.session(poll4)
		full := func() bool {
			status, _ := w.request("GET", poll4, "", nil)
			return status == http.StatusServiceUnavailable
		}
		if !full() {
			t.Error("a third one")
		}
		c := w.dial(strings.Replace(first, "polling", "websocket", 1))
		w.tell(c, "2probe")
		w.hears(c, "3probe")
		w.tell(c, "5")
		w.tell(c, "40")
		w.hears(c, `40{"sid":"*"}`)
		if full() {
			t.Error("the first one polls no more")
		}
		w.brings(second, "1")
		synctest.Wait()
		if full() {
			t.Error("the second one has ended")
		}
		c.CloseNow()
		synctest.Wait()
		if !full() {
			t.Error("the first one counts twice")
		}
	})
}

func TestSocketIOAcrossOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		good, evil := http.Header{"Origin": {"https://good.com"}}, http.Header{"Origin": {"https://evil.com"}}
		for _, method := range []string{"GET", "OPTIONS"} {
			for path, status := range map[string]int{poll4: 200, "/socket.io/?EIO=4&transport=x": 400} {
				resp := w.do(method, path, "", good)
				resp.Body.Close()
				h := resp.Header
				if method == "OPTIONS" {
					status = http.StatusNoContent
				}
				if resp.StatusCode != status || h.Get("Access-Control-Allow-Origin") != "https://good.com" ||
					h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
					t.Errorf("%s %s: %s %v", method, path, resp.Status, h)
				}
			}
			if status, _ := w.request(method, poll4, "", evil); status != http.StatusForbidden {
				t.Errorf("%s from elsewhere: %d", method, status)
			}
		}
		for header, want := range map[string]int{"https://good.com": 101, "https://evil.com": 403, "null": 403} {
			c, resp, err := websocket.Dial(t.Context(), "ws://gate.test"+socket4, &websocket.DialOptions{
				HTTPClient: w.client, HTTPHeader: http.Header{"Origin": {header}},
			})
			if resp.StatusCode != want {
				t.Errorf("WebSocket from %s: %s, %v", header, resp.Status, err)
			}
			if err == nil {
				c.CloseNow()
			}
		}
	})
}

func TestClientScript(t *testing.T) {
	both := fstest.MapFS{"socket.io.js": {Data: []byte("long")}, "socket.io.min.js": {Data: []byte("short")}}
	for name, want := range map[string]string{"/socket.io.js": "long", "/socket.io.min.js": "short"} {
		h := SocketIO{Event: "say", Client: both}.Framing(New(Config{Hub: newHub()}), parrot)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, name, nil))
		if w.Code != 200 || w.Body.String() != want || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/javascript") {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
		}
		r := httptest.NewRequest(http.MethodGet, name, nil)
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", name, w.Code)
		}
		for _, files := range []SocketIO{{Event: "say"}, {Event: "say", Client: fstest.MapFS{}}} {
			w := httptest.NewRecorder()
			files.Framing(New(Config{Hub: newHub()}), parrot).ServeHTTP(w, httptest.NewRequest(http.MethodGet, name, nil))
			if w.Code != http.StatusNotFound {
				t.Errorf("%s: %d", name, w.Code)
			}
		}
	}
}

// Real sockets: many clients, by all ways, leave nothing behind. goleak sees to the rest.
func TestManySocketIOClientsLeaveNothing(t *testing.T) {
	const many = 300
	l := &ledger{}
	hub := newHub()
	edge := New(Config{Hub: hub, Observer: l})
	server := httptest.NewServer(edge.Handler([]Door{{"/socket.io", talk.Framing, parrot}}, nil))
	defer server.Close()
	pool := &http.Transport{MaxIdleConnsPerHost: many}
	defer pool.CloseIdleConnections()
	client := &http.Client{Transport: pool}
	fetch := func(method, path, body string) string {
		req, _ := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	var wg sync.WaitGroup
	gate := make(chan struct{}, 50)
	for i := range many {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			path := socket3
			if i%3 != 0 {
				hello := fetch("GET", poll3, "")
				_, after, _ := strings.Cut(hello, `"sid":"`)
				sid, _, _ := strings.Cut(after, `"`)
				fetch("POST", poll3+"&sid="+sid, counted(`42["say","join r `+strconv.Itoa(i)+`"]`))
				fetch("GET", poll3+"&sid="+sid, "")
				path += "&sid=" + sid
				if i%3 == 1 {
					if i%2 == 0 {
						fetch("POST", poll3+"&sid="+sid, "1:1")
					}
					return
				}
			}
			c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+path, &websocket.DialOptions{HTTPClient: client})
			if err != nil {
				t.Error(err)
				return
			}
			for _, frame := range []string{"2probe", "5", `42["say",1]`} {
				if i%3 == 2 || frame[0] == '4' {
					c.Write(t.Context(), websocket.MessageText, []byte(frame))
				}
			}
			for {
				_, frame, err := c.Read(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if string(frame) == `42["say",1]` {
					break
				}
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
}
