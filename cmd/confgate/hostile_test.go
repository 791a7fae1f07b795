package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/coder/websocket"

	"confgate/core"
	"confgate/core/auth"
	"confgate/media/relay"
)

// hostileNames are what somebody calls themself who wants to write into the log, or
// to whoever reads it on a terminal.
func hostileNames() []string {
	pieces := []string{
		"\n", "\r\n", "\r", "\x00", "\x1b[2J", "\x1b]0;owned\a", "\u009b31m", "\u0085", "\x7f", "\u2028", "\u2029", "\u202e", "\ufeff",
		`","level":"ERROR`, "\n{\"level\":\"ERROR\",\"msg\":\"a port failed\"}\n", `\n`, `\`, `"`, `\"}`, "\xff\xfe", "\xed\xa0\x80",
		"<script>alert(1)</script>", "%n%s", "${jndi:ldap://a}", "' OR 1=1 --", strings.Repeat("가", 100),
	}
	var all []string
	for _, a := range pieces {
		for _, b := range pieces {
			all = append(all, "ann"+a+b+"ben")
		}
	}
	return all
}

// record keeps what is logged, byte for byte.
type record struct {
	// Guarded by mu.
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// String gives all there is.
func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// whole expects that a log is made of JSON lines, with nothing in them that cannot
// be seen, and gives how many.
func whole(t *testing.T, log string) (n int) {
	t.Helper()
	for line := range strings.Lines(log) {
		n++
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil || strings.Count(line, `,"level":"`) != 1 || strings.Count(line, `,"msg":"`) != 1 {
			t.Fatalf("no line of a log: %q: %v", line, err)
		}
		unseen := func(r rune) bool { return !unicode.IsPrint(r) }
		if i := strings.IndexFunc(strings.TrimSuffix(line, "\n"), unseen); i >= 0 {
			t.Fatalf("%q has something that cannot be seen at %d", line, i)
		}
		for key, value := range fields {
			if text, ok := value.(string); ok && key != "stack" && strings.ContainsFunc(text, unseen) {
				t.Fatalf("%s is %q: whoever prints it is not safe", key, text)
			}
		}
	}
	return n
}

func TestLogCannotBeForged(t *testing.T) {
	names := hostileNames()
	if len(names) < 500 {
		t.Fatalf("%d names, want 500", len(names))
	}
	var log record
	lines := 0
	for _, name := range names {
		l := newLog(&log, logJSON, slog.LevelDebug)
		j := &journal{log: l}
		by := core.Caller{User: core.UserID(name), Remote: "192.0.2.1:1"}
		j.Handled(core.RoomID(name), by, core.Ping{}, nil)
		j.Handled(core.RoomID(name), by, core.Ping{}, &core.Error{Code: core.Invalid, Msg: name, Cause: errors.New(name)})
		j.Handled("r", core.Caller{}, core.Join{Cred: &core.Credentials{User: core.UserID(name)}}, &core.Error{Code: core.Unauthorized})
		j.LegFailed(core.RoomID(name), core.Leg{Owner: core.UserID(name), Stream: core.Stream{User: core.UserID(name)}}, errors.New(name))
		j.Expelled(core.RoomID(name), by, errors.New(name))
		j.Panicked(core.RoomID(name), name, []byte("goroutine 1\n\tmain.go:1"))
		(&relayJournal{log: l}).refused(relay.Refusal{Reason: relay.Peer, Tenant: core.TenantID(name), User: core.UserID(name), Remote: "192.0.2.1:1", Peer: netip.Addr{}})
		l.Info("as everybody else logs", "string", name, "error", errors.New(name), slog.Group("group", "string", name))
		lines += 8
	}
	if n := whole(t, log.String()); n != lines {
		t.Errorf("%d lines, want %d", n, lines)
	}
}

// TestGatewayLogsWholeLines sends hostile names through the real doors, wherever a
// client can name something.
func TestGatewayLogsWholeLines(t *testing.T) {
	g, log := startRecorded(t, "--dev", "--drain", "0", "--log-level", "debug")
	quote := func(name string) string {
		b, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i, name := range hostileNames() {
		if i%20 > 0 {
			continue // what is logged is bounded
		}
		q := quote(name)
		for path, frames := range map[string][]string{
			"/ws/eventop": {
				`{"eventOp":` + q + `,"reqId":` + q + `}`,
				`{"eventOp":"register","reqId":"1","cpCode":` + q + `,"authKey":"k","userId":` + q + `,"name":` + q + `}`,
				`{"eventOp":"register","reqId":"1","cpCode":"cp","authKey":"k","userId":"ann` + fmt.Sprint(i) + `","name":` + q + `}`,
				`{"eventOp":"joinRoom","reqId":"1","roomId":` + q + `}`,
				`{"eventOp":"createRoom","reqId":"1","roomId":` + q + `,"roomTitle":` + q + `}`,
				`{` + q + `:1,` + q + `:2}`,
				name,
			},
			"/ws/id": {
				`{"id":` + q + `}`,
				`{"id":"joinRoom","token":"t","userId":` + q + `,"roomId":` + q + `,"communityId":` + q + `,"video":true,"audio":true}`,
				`{"id":"receiveVideoFrom","userId":` + q + `,"sdpOffer":` + q + `}`,
				name,
			},
		} {
			c := g.dial(t, path)
			for _, frame := range frames {
				if err := c.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
					break // it was not UTF-8 before
				}
			}
			c.Close(websocket.StatusNormalClosure, "")
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.clients.at.Addr().String()+"/rtc/info", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header["Origin"] = []string{strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(name)}
		if response, err := g.web.Do(request); err == nil {
			response.Body.Close()
		}
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
	if n := whole(t, log.String()); n < 100 {
		t.Errorf("%d lines: the names did not get there", n)
	}
}

// startRecorded starts a gateway, and keeps what it logs byte for byte.
func startRecorded(t *testing.T, args ...string) (*running, *record) {
	t.Helper()
	c, err := loadConfig(append(ephemeral, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := new(record)
	noted := newLines()
	g, err := openGateway(c, newLog(io.MultiWriter(log, noted), logJSON, c.logLevel))
	if err != nil {
		t.Fatal(err)
	}
	return serveFor(t, g, noted), log
}

// TestLogHasNoSecrets has a call in each dialect, with all that clients show and are
// told, and things that go wrong with it, and looks for it in the log.
func TestLogHasNoSecrets(t *testing.T) {
	const (
		token, key    = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl", "the-auth-key"
		jwt, turn     = "the secret of the tokens, of thirty-two bytes", "the secret of TURN, of thirty-two bytes"
		chat, picture = "what was said in confidence", "data:image/png;base64,cGljdHVyZQ=="
	)
	offer, err := os.ReadFile(filepath.Join(root, "media", "testdata", "chromium-publish.sdp"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{token, "c2lnbmF0dXJl", key, jwt, turn, chat, "cGljdHVyZQ", password(string(offer))}
	quote := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	sdp := quote(string(offer))
	signed := hs256(jwt, fmt.Sprintf(`{"id":8,"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	secrets = append(secrets, signed, signed[strings.LastIndex(signed, ".")+1:])
	candidate := `{"candidate":"candidate:1 1 udp 1 192.0.2.8 1 typ host","sdpMid":"0","sdpMLineIndex":0}`
	id := func(user, token string) []string {
		return []string{
			joinRoom(user, token),
			`{"id":"receiveVideoFrom","userId":"nobody","sdpOffer":` + sdp + `}`,
			`{"id":"receiveVideoFrom","userId":"` + user + `","sdpOffer":` + quote("v=9 "+string(offer)) + `}`,
			`{"id":"joinRoom","token":{"a":"` + token + `"},"userId":"1","roomId":"c-1","communityId":1}`,
			`{"id":"joinRoom","token":"` + token + `"`,
			`{"id":"joinRoom","token":"` + token + `\ud800"}`,
			`{"id":"joinRoom","video":"` + token + `"}`,
			`{"id":"joinRoom","communityId":{"` + token + `":1}}`,
			`{"id":"videoStateFrom","video":["` + token + `"]}`,
			`{"id":"onIceCandidate","candidate":{"sdpMLineIndex":"` + token + `"}}`,
			`{"id":"joinRoom","token":"` + token + `","` + token + `":1,"` + token + `":2}`,
			`{"id":"receiveVideoFrom","userId":"` + user + `","sdpOffer":` + sdp + `}`,
			`{"id":"onIceCandidate","userId":"` + user + `","candidate":` + candidate + `}`,
		}
	}
	eventOp := []string{
		`{"eventOp":"register","reqId":"1","cpCode":"cp","authKey":["` + key + `"],"userId":"ann"}`,
		`{"eventOp":"register","reqId":{"` + key + `":1},"cpCode":{"` + key + `":[]},"forced":"` + key + `"}`,
		`{"eventOp":"register","reqId":"1","device":{"` + key + `":{"` + key + `":1,"` + key + `":1}}}`,
		`{"eventOp":"register","reqId":"1","cpCode":"cp","authKey":"` + key + `","userId":"ann"}`,
		`{"eventOp":"createVideoRoom","reqId":"2","roomId":"r1"}`,
		`{"eventOp":"joinRoom","reqId":"3","roomId":"r1"}`,
		`{"eventOp":"sdpRoom","reqId":"5","roomId":"r1","type":"cam","sdp":{"type":"offer","sdp":` + quote("v=9 "+string(offer)) + `}}`,
		`{"eventOp":"chat","reqId":"6","roomId":"r1","message":"` + chat + `"}`,
		`{"eventOp":"chat","reqId":"7","target":"nobody","message":"` + chat + `"}`,
		`{"eventOp":"sdpRoom","reqId":"4","roomId":"r1","type":"cam","sdp":{"type":"offer","sdp":` + sdp + `}}`,
		`{"eventOp":"documentShare","reqId":"8","roomId":"r1","img":"` + picture + `"}`,
	}
	for name, args := range map[string][]string{
		"dev":  {"--dev"},
		"live": {"--media-ip", "127.0.0.1", "--id-jwt-secret", jwt, "--id-jwt-secret-encoding", "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := startRecorded(t, append(args, "--drain", "0", "--log-level", "debug", "--turn-listen", "127.0.0.1:0", "--turn-secret", turn)...)
			answered, published, other := "receiveVideoAnswer", `"type":"answer"`, "receiveVideoAnswer"
			if name == "live" { // nobody but 8 is let in
				published, other = "", ""
			}
			told := slices.Concat(
				g.converse(t, "/ws/id", id("8", signed), answered), g.converse(t, "/ws/id", id("9", token), other),
				g.converse(t, "/ws/eventop", eventOp, published))
			g.stop()
			if err := <-g.end; err != nil {
				t.Error(err)
			}
			all := slices.Concat(secrets, told)
			if want := map[string]int{"dev": 4, "live": 1}[name]; len(told) < want { // passwords of media, and of TURN
				t.Errorf("clients were told %q, want %d secrets", told, want)
			}
			text := log.String()
			for _, s := range all {
				if strings.Contains(text, s) {
					i := strings.Index(text, s)
					t.Errorf("the log has %q: …%s…", s, text[max(0, i-200):min(len(text), i+100)])
				}
			}
			if n := whole(t, text); n < 10 {
				t.Errorf("%d lines: there was no call", n)
			}
		})
	}
}

// password gives the ICE password in an SDP, as it is or in a frame.
func password(text string) string {
	_, rest, ok := strings.Cut(text, "a=ice-pwd:")
	if !ok {
		return ""
	}
	return rest[:strings.IndexAny(rest, "\r\n\\")]
}

// converse says frames, waits for an answer that has until in it, and for all to have
// been heard, and gives the secrets in the answers.
func (r *running) converse(t *testing.T, path string, frames []string, until string) (secrets []string) {
	t.Helper()
	c := r.dial(t, path)
	c.SetReadLimit(1 << 20)
	for _, f := range frames {
		say(t, c, f)
	}
	for heard := until == ""; !heard; {
		_, text, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		heard = strings.Contains(string(text), until)
		if p := password(string(text)); p != "" {
			secrets = append(secrets, p)
		}
		var reply registered
		if json.Unmarshal(text, &reply) == nil {
			for _, s := range reply.ICEServers {
				secrets = append(secrets, s.Credential)
			}
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil { // answered after all that came before
		t.Error(err)
	}
	return secrets
}

func TestClientPortKnowsNoAdmin(t *testing.T) {
	g := start(t, "--dev", "--drain", "0")
	for _, path := range []string{
		"/metrics", "/readyz", "/healthz", "/debug/", "/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/profile?seconds=1", "/debug/pprof/trace", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/vars", "/debug/requests",
		"//metrics", "/./metrics", "/rtc/../metrics", "/rtc/..%2fmetrics", "/%6detrics", "/metrics/", "/METRICS", "/metrics;x", "/rtc/metrics",
		"/socket.io/../debug/pprof/", "/debug%2fpprof%2f", "/admin", "/expel", "/expel/", "/rtc/expel", "/.git/config", "/server-status",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, "TRACE"} {
			request, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.clients.at.Addr().String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := g.web.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode < 400 || bytes.Contains(body, []byte("confgate_")) || bytes.Contains(body, []byte("goroutine")) {
				t.Errorf("%s %s: %d %.100s, %v", method, path, response.StatusCode, body, err)
			}
		}
	}
	if host := g.admin.at.Addr().String(); !strings.HasPrefix(host, "127.0.0.1:") {
		t.Errorf("the admin port is at %s", host)
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestMetricsDoNotGrow opens ten thousand rooms in a real hub, and has people called
// all sorts of things come and go.
func TestMetricsDoNotGrow(t *testing.T) {
	m := testMetrics(t)
	count := func() (n int) {
		families, err := m.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, s := range f.GetMetric() {
				n++
				if h := s.GetHistogram(); h != nil { // a bucket for all, a count and a sum
					n += len(h.GetBucket()) + 2
				}
			}
		}
		return n
	}
	hub := core.NewHub(core.HubConfig{Plane: noMedia{}, Auth: auth.Open{Tenant: "t"}, Observer: m})
	defer hub.Close()
	names := hostileNames()
	before := 0
	for i := range 10_000 {
		s := hub.Session(core.NewOutbox(100, func(error) {}), core.Peer{Remote: "192.0.2.1:1"})
		name := names[i%len(names)] + fmt.Sprint(i)
		s.Do(t.Context(), core.Ref{Op: name}, core.Hello{Cred: core.Credentials{User: core.UserID(fmt.Sprint("u", i)), Tenant: name}, Online: core.Refuse})
		s.Do(t.Context(), core.Ref{Op: name}, core.Open{Room: core.RoomID(fmt.Sprint("r", i)), Mode: core.Mesh, Title: name})
		s.Do(t.Context(), core.Ref{Op: name}, core.Join{Room: core.RoomID(name)})
		if i == 100 {
			before = count()
		}
		s.Close()
	}
	if n := count(); n != before || n > 500 {
		t.Errorf("%d series, want the %d there were, and at most 500", n, before)
	}
	if rooms := hub.Stats().Rooms; rooms != 10_000 {
		t.Errorf("%d rooms, want 10000", rooms)
	}
}

// noMedia is a core.Plane for rooms in which nobody sends anything.
type noMedia struct{ core.Media }

func (n noMedia) Open(core.RoomID, core.MediaOptions, func(core.MediaEvent)) core.Media { return n }
func (noMedia) Close()                                                                  {}
