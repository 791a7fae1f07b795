package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// post sends a request to the admin port, as curl does if header says nothing else.
func (r *running) post(t *testing.T, path, body string, header http.Header) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.admin.at.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	maps.Copy(request.Header, header)
	response, err := r.web.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// community is a backend that knows who may enter which room.
type community struct {
	*httptest.Server

	// Guarded by mu.
	mu     sync.Mutex
	says   map[string]int // status, by "/room/user"; 200: what does not stand there
	always int            // whatever it would say else; 0: that
}

func newCommunity(t *testing.T) *community {
	c := &community{says: make(map[string]int)}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *community) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch code := c.says[r.URL.Path]; {
	case c.always != 0:
		w.WriteHeader(c.always)
	case code != 0:
		w.WriteHeader(code)
	}
}

func (c *community) set(path string, code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.says[path] = code
}

func (c *community) all(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.always = code
}

const communitySecret = "a secret of thirty-two bytes, no less"

// startWith starts a gateway that asks a backend about rooms.
func startWith(t *testing.T, c *community, args ...string) *running {
	return start(t, append([]string{"--media-ip", "127.0.0.1", "--drain", "0", "--id-jwt-secret", communitySecret, "--id-jwt-secret-encoding", "plain",
		"--id-rooms-url", c.URL + "/{room}/{user}"}, args...)...)
}

// enter joins room c-10 with a token that is good for a time.
func (r *running) enter(t *testing.T, user string, good time.Duration) *websocket.Conn {
	t.Helper()
	c := r.dial(t, "/ws/id")
	say(t, c, joinRoom(user, hs256(communitySecret, fmt.Sprintf(`{"id":%q,"exp":%d}`, user, time.Now().Add(good).Unix()))))
	return c
}

const (
	sevenIn   = `{"id":"newParticipantArrived","member":{"userId":"7","video":false,"audio":true}}`
	sevenLeft = `{"id":"participantLeft","userId":"7"}`
	withEight = `{"id":"existingParticipants","members":[{"userId":"8","video":false,"audio":true}]}`
)

// quietSince expects that somebody was told nothing before their own next word.
func quietSince(t *testing.T, c *websocket.Conn, user string) {
	t.Helper()
	say(t, c, `{"id":"audioStateFrom","audio":true}`)
	hear(t, c, `{"id":"audioStateAnswer","userId":"`+user+`","audio":true}`)
}

// TestExpel has one of two people in a call put out, who is refused when they come
// again.
func TestExpel(t *testing.T) {
	backend := newCommunity(t)
	g := startWith(t, backend)
	eight := g.enter(t, "8", time.Hour)
	hear(t, eight, aloneInRoom)
	for _, body := range []string{`{"user":"7"}`, `{"user":7,"room":"c-10"}`, `{"user":"7","tenant":"id","room":"c-10"}`} {
		seven := g.enter(t, "7", time.Hour)
		hear(t, seven, withEight)
		hear(t, eight, sevenIn)
		backend.set("/c-10/7", http.StatusForbidden)
		connections := 1
		if strings.Contains(body, "room") {
			connections = 0
		}
		code, text := g.post(t, "/expel", body, nil)
		if want := fmt.Sprintf("{\"connections\":%d,\"seats\":1}\n", connections); code != http.StatusOK || text != want {
			t.Errorf("%s: %d %s, want %s", body, code, text, want)
		}
		hear(t, eight, sevenLeft)
		if _, _, err := seven.Read(t.Context()); websocket.CloseStatus(err) != 4403 {
			t.Errorf("who was put out is told %v", err)
		}
		again := g.enter(t, "7", time.Hour) // the yes of a moment ago is forgotten
		if line := g.log.await(t, "command refused"); line["cause"] != "the backend does not admit this user to that room" {
			t.Errorf("the log says %v", line)
		}
		if code, text := g.post(t, "/expel", body, nil); code != http.StatusNotFound {
			t.Errorf("again: %d %s", code, text)
		}
		backend.set("/c-10/7", http.StatusOK)
		again.CloseNow()
		g.post(t, "/expel", `{"user":"7"}`, nil) // forgets the no
		quietSince(t, eight, "8")
	}
	if got := g.metric(t, `confgate_expelled_total{reason="revoked"}`); got != 3 {
		t.Errorf("the metric says %v", got)
	}
	if s := g.hub.Stats(); s.Members != 1 {
		t.Errorf("%+v", s)
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestExpelInEventOp: who has words for it is told, and stays connected.
func TestExpelInEventOp(t *testing.T) {
	file := tenantsFile(t, "tenants:\n- {code: school, key: "+schoolKey+"}\n- {code: club, key: "+clubKey+"}\n")
	g := start(t, "--media-ip", "127.0.0.1", "--tenants-file", file, "--drain", "0")
	enter := func(user, code, key string) *websocket.Conn {
		c := g.dial(t, "/ws/eventop")
		say(t, c, fmt.Sprintf(`{"eventOp":"register","reqId":"1","cpCode":%q,"authKey":%q,"userId":%q}`, code, key, user))
		answered(t, c, "200")
		if user == "ben" {
			say(t, c, `{"eventOp":"createRoom","reqId":"2","roomId":"r1"}`)
			answered(t, c, "200")
		}
		say(t, c, `{"eventOp":"joinRoom","reqId":"3","roomId":"r1"}`)
		answered(t, c, "200")
		return c
	}
	ben, _ := enter("ben", "school", schoolKey), enter("ben", "club", clubKey)
	ann, namesake := enter("ann", "school", schoolKey), enter("ann", "club", clubKey)
	if _, text, err := ben.Read(t.Context()); err != nil || !strings.Contains(string(text), `"type":"join"`) {
		t.Fatalf("%s, %v", text, err)
	}
	if code, text := g.post(t, "/expel", `{"user":"ann","room":"r1"}`, nil); code != http.StatusNotFound {
		t.Errorf("of no tenant: %d %s", code, text)
	}
	if code, text := g.post(t, "/expel", `{"tenant":"school","user":"ann","room":"r1"}`, nil); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	hear(t, ann, `{"eventOp":"presence","type":"kickOut","roomId":"r1","user":"ben"}`)
	hear(t, ben, `{"eventOp":"presence","type":"leave","roomId":"r1","user":"ann"}`)
	say(t, ann, `{"eventOp":"leaveRoom","reqId":"4","roomId":"r1"}`) // as clients do that are kicked
	answered(t, ann, "200")
	say(t, ben, `{"eventOp":"KeepAlive","reqId":"5"}`)
	answered(t, ben, "200") // and heard nothing more
	say(t, namesake, `{"eventOp":"memberList","reqId":"6","roomId":"r1"}`)
	answered(t, namesake, "200")
	if code, text := g.post(t, "/expel", `{"tenant":"club","user":"ann"}`, nil); code != http.StatusOK || text != "{\"connections\":1,\"seats\":1}\n" {
		t.Errorf("%d %s", code, text)
	}
	if _, _, err := namesake.Read(t.Context()); websocket.CloseStatus(err) != 4403 {
		t.Errorf("who was put out is told %v", err)
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestExpelIsNotForPages: what a page of any site can send puts nobody out, and nor does
// nonsense.
func TestExpelIsNotForPages(t *testing.T) {
	g := start(t, "--dev", "--drain", "0")
	ann := g.dial(t, "/ws/id")
	say(t, ann, joinRoom("ann", ""))
	hear(t, ann, aloneInRoom)
	at := g.admin.at.Addr().String()
	const good = `{"user":"ann"}`
	for _, c := range []struct {
		body   string
		header http.Header
		want   int
	}{
		{good, http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden},
		{good, http.Header{"Origin": {"null"}}, http.StatusForbidden},
		{good, http.Header{"Origin": {"http://" + at}}, http.StatusForbidden}, // the name of a site that resolves to here
		{good, http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusForbidden},
		{good, http.Header{"Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}}, http.StatusForbidden},
		{good, http.Header{"Content-Type": {"text/plain"}}, http.StatusUnsupportedMediaType},
		{good, http.Header{"Content-Type": {"text/plain; application/json"}}, http.StatusUnsupportedMediaType},
		{good, http.Header{"Content-Type": nil}, http.StatusUnsupportedMediaType},
		{"user=ann", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, http.StatusUnsupportedMediaType},
		{"user=ann", nil, http.StatusBadRequest},
		{"", nil, http.StatusBadRequest},
		{"{}", nil, http.StatusBadRequest},
		{"[]", nil, http.StatusBadRequest},
		{`{"user":""}`, nil, http.StatusBadRequest},
		{`{"user":["ann"]}`, nil, http.StatusBadRequest},
		{`{"user":"ann","room":""}`, nil, http.StatusBadRequest},
		{`{"user":"ann","room":null}`, nil, http.StatusBadRequest},
		{`{"user":"ann","roomId":"c-1"}`, nil, http.StatusBadRequest}, // meant a room, and would end all
		{`{"user":"ben","user":"ann"}`, nil, http.StatusBadRequest},
		{`{"user":"ann"}{}`, nil, http.StatusBadRequest},
		{`{"user":"ann","tenant":"` + strings.Repeat("x", maxExpel) + `"}`, nil, http.StatusBadRequest},
		{`{"user":"ben"}`, nil, http.StatusNotFound},
		{`{"user":"ann","room":"c-1"}`, nil, http.StatusNotFound},
		{`{"user":"ann","tenant":"other"}`, nil, http.StatusNotFound},
	} {
		if code, text := g.post(t, "/expel", c.body, c.header); code != c.want {
			t.Errorf("%.60s with %v: %d %s, want %d", c.body, c.header, code, text, c.want)
		}
	}
	if code, text := g.get(t, g.admin.at, "/expel?user=ann"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d %s", code, text)
	}
	quietSince(t, ann, "ann")
	if code, text := g.post(t, "/expel", good, http.Header{"Content-Type": {"application/json; charset=utf-8"}}); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestBackendIsAskedAgain: its no takes out who is in, and no answer nobody.
func TestBackendIsAskedAgain(t *testing.T) {
	backend := newCommunity(t)
	g := startWith(t, backend, "--auth-recheck", "1s")
	eight := g.enter(t, "8", time.Hour)
	hear(t, eight, aloneInRoom)
	seven := g.enter(t, "7", time.Hour)
	hear(t, seven, withEight)
	hear(t, eight, sevenIn)
	backend.all(http.StatusBadGateway)
	g.log.await(t, "authentication source lost")
	backend.all(0)
	g.log.await(t, "authentication source back")
	quietSince(t, seven, "7")
	hear(t, eight, `{"id":"audioStateAnswer","userId":"7","audio":true}`)
	backend.set("/c-10/7", http.StatusForbidden)
	hear(t, eight, sevenLeft)
	if _, _, err := seven.Read(t.Context()); websocket.CloseStatus(err) != 4403 {
		t.Errorf("who was put out is told %v", err)
	}
	if line := g.log.await(t, "put out of a room"); line["user"] != "7" || line["room"] != "c-10" || line["reason"] != "wrong_room" {
		t.Errorf("the log says %v", line)
	}
	if got := g.metric(t, `confgate_expelled_total{reason="wrong_room"}`); got != 1 {
		t.Errorf("the metric says %v", got)
	}
	quietSince(t, eight, "8")
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestTokenEndsCall: only where that was asked for.
func TestTokenEndsCall(t *testing.T) {
	backend := newCommunity(t)
	g := startWith(t, backend, "--token-ends-call", "--id-jwt-leeway", "0")
	eight := g.enter(t, "8", time.Hour)
	hear(t, eight, aloneInRoom)
	seven := g.enter(t, "7", 2*time.Second)
	hear(t, seven, withEight)
	hear(t, eight, sevenIn)
	hear(t, eight, sevenLeft)
	if line := g.log.await(t, "put out of a room"); line["reason"] != "expired" {
		t.Errorf("the log says %v", line)
	}
	quietSince(t, eight, "8")
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}
