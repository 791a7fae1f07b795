package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"confgate/core"
)

// ephemeral has every port be one that is free.
var ephemeral = []string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--media-port", "0"}

// lines are what a gateway logs, one by one.
type lines struct {
	written chan map[string]any
	passed  []map[string]any // what take has read and nobody wanted yet
}

func newLines() *lines { return &lines{written: make(chan map[string]any, 10_000)} }

// Write takes one JSON line, as slog's handlers write them.
func (l *lines) Write(p []byte) (int, error) {
	line := map[string]any{}
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	l.written <- line
	return len(p), nil
}

// await takes out the first line that says msg.
func (l *lines) await(t *testing.T, msg string) map[string]any {
	t.Helper()
	return l.take(func(line map[string]any) bool { return line["msg"] == msg })
}

// take takes out the first line that is wanted. Those before it stay, as goroutines of
// a gateway may log in any order.
func (l *lines) take(wanted func(line map[string]any) bool) map[string]any {
	for i := 0; ; i++ {
		if i == len(l.passed) {
			l.passed = append(l.passed, <-l.written)
		}
		if line := l.passed[i]; wanted(line) {
			l.passed = slices.Delete(l.passed, i, i+1)
			return line
		}
	}
}

// running is a gateway that serves in this process.
type running struct {
	*gateway
	log  *lines
	stop context.CancelFunc
	end  chan error // what run returned
	web  *http.Client
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	c, err := loadConfig(append(ephemeral, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := newLines()
	g, err := openGateway(c, newLog(log, logJSON, slog.LevelDebug))
	if err != nil {
		t.Fatal(err)
	}
	return serveFor(t, g, log)
}

// serveFor has a gateway serve until the test ends or stops it.
func serveFor(t *testing.T, g *gateway, log *lines) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{g, log, stop, make(chan error, 1), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	go func() { r.end <- g.run(ctx) }()
	t.Cleanup(stop)
	log.await(t, "serving")
	return r
}

func (r *running) get(t *testing.T, at net.Listener, path string) (int, string) {
	t.Helper()
	response, err := r.web.Get("http://" + at.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// metric reads one series, name{label="value"}, as Prometheus would.
func (r *running) metric(t *testing.T, name string) float64 {
	t.Helper()
	_, text := r.get(t, r.admin.at, "/metrics")
	v, ok := series(t, text)[name]
	if !ok {
		t.Errorf("no series %s", name)
	}
	return v
}

// dial opens a bare WebSocket of the id dialect.
func (r *running) dial(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+r.clients.at.Addr().String()+path, &websocket.DialOptions{HTTPClient: r.web})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func say(t *testing.T, c *websocket.Conn, frame string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	_, got, err := c.Read(t.Context())
	if err != nil || string(got) != want {
		t.Fatalf("got %s, %v; want %s", got, err, want)
	}
}

const aloneInRoom = `{"id":"existingParticipants","members":[]}`

func joinRoom(user, token string) string {
	return fmt.Sprintf(`{"id":"joinRoom","userId":%q,"roomId":"c-10","communityId":1,"token":%q,"video":false,"audio":true}`, user, token)
}

func TestServe(t *testing.T) {
	g := start(t, "--dev", "--drain", "1h")
	for _, c := range []struct {
		at   net.Listener
		path string
		code int
		want string // a part of the answer
	}{
		{g.admin.at, "/readyz", 200, "ready\n"},
		{g.admin.at, "/healthz", 200, "alive\n"},
		{g.admin.at, "/metrics", 200, "confgate_ready 1\n"},
		{g.admin.at, "/metrics", 200, "go_goroutines "},
		{g.admin.at, "/metrics", 200, "process_resident_memory_bytes "},
		{g.admin.at, "/metrics", 200, "confgate_build_info{"},
		{g.admin.at, "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{g.admin.at, "/debug/pprof/cmdline", 404, ""},
		{g.admin.at, "/", 404, ""},
		{g.admin.at, "/rtc/info", 404, ""},
		{g.clients.at, "/", 200, "<html"},
		{g.clients.at, "/rtc/info", 200, `"websocket":true`},
		{g.clients.at, "/readyz", 404, ""},
		{g.clients.at, "/healthz", 404, ""},
		{g.clients.at, "/metrics", 404, ""},
		{g.clients.at, "/debug/pprof/", 404, ""},
		{g.clients.at, "/debug/pprof/heap", 404, ""},
	} {
		if code, body := g.get(t, c.at, c.path); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("GET %s: %d %.200s; want %d, %q", c.path, code, body, c.code, c.want)
		}
	}

	ann := g.dial(t, "/ws/id")
	say(t, ann, joinRoom("ann", ""))
	hear(t, ann, aloneInRoom)
	for name, want := range map[string]float64{
		`confgate_connections{dialect="id",framing="websocket"}`: 1,
		`confgate_commands_total{command="Join",result="ok"}`:    1,
		`confgate_rooms`: 1, `confgate_members`: 1, `confgate_people`: 1,
	} {
		if got := g.metric(t, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}

	g.stop()
	g.log.await(t, "draining")
	if code, body := g.get(t, g.admin.at, "/readyz"); code != 503 || !strings.Contains(body, "draining") {
		t.Errorf("draining, /readyz answers %d %s", code, body)
	}
	ben := g.dial(t, "/rtc/websocket") // a connection is taken, a call is not
	say(t, ben, joinRoom("ben", ""))
	if line := g.log.await(t, "command refused"); line["code"] != "draining" || line["user"] != "ben" {
		t.Errorf("the log says %v", line)
	}
	if got := g.metric(t, `confgate_commands_total{command="Join",result="draining"}`); got != 1 {
		t.Errorf("%v joins refused, want 1", got)
	}

	say(t, ann, `{"id":"leaveRoom"}`)
	g.log.await(t, "drained")
	if _, _, err := ben.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("who was not in a call is told %v", err)
	}
	if err := <-g.end; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", g.admin.at.Addr().String()); err == nil {
		t.Error("the admin port is still open")
	}
}

func TestServeEndsCallsWhenTheDrainTimeIsOver(t *testing.T) {
	g := start(t, "--dev", "--drain", "0")
	ann := g.dial(t, "/ws/id")
	say(t, ann, joinRoom("ann", ""))
	hear(t, ann, aloneInRoom)
	g.stop()
	if line := g.log.await(t, "drain time is over, ending calls"); line["members"] != 1.0 {
		t.Errorf("the log says %v", line)
	}
	if _, _, err := ann.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("who was in a call is told %v", err)
	}
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// hs256 signs claims as an issuer does (RFC 7515).
func hs256(secret, claims string) string {
	segment := base64.RawURLEncoding.EncodeToString
	text := segment([]byte(`{"alg":"HS256"}`)) + "." + segment([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + segment(mac.Sum(nil))
}

func TestServeWithTokens(t *testing.T) {
	const secret = "a secret of thirty-two bytes, no less"
	g := start(t, "--media-ip", "127.0.0.1", "--id-jwt-secret", secret, "--id-jwt-secret-encoding", "plain", "--drain", "0")
	token := hs256(secret, fmt.Sprintf(`{"id":8,"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	c := g.dial(t, "/ws/id")
	say(t, c, joinRoom("9", token))
	line := g.log.await(t, "command refused")
	if line["cause"] != "token is another user's" || line["claims_to_be"] != "9" || line["room"] != "c-10" || line["level"] != "WARN" {
		t.Errorf("the log says %v", line)
	}
	if strings.Contains(fmt.Sprint(line), token) {
		t.Error("the log has the token")
	}
	say(t, c, joinRoom("8", token))
	hear(t, c, aloneInRoom)
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

func TestServeRefusesForeignPages(t *testing.T) {
	g := start(t, "--media-ip", "127.0.0.1", "--id-jwt-secret", "c2VjcmV0", "--allow-origin", "https://app.example", "--drain", "0")
	for origin, want := range map[string]int{
		"https://app.example":           http.StatusOK,
		"https://app.example.evil.test": http.StatusForbidden,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.clients.at.Addr().String()+"/rtc/info", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", origin)
		response, err := g.web.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("page of %s: %d, want %d", origin, response.StatusCode, want)
		}
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

func TestServeWarns(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"dev", []string{"--dev"}, "DEVELOPMENT MODE: no authentication. Whoever reaches this gateway may join any call as anyone."},
		{"short secret", []string{"--id-jwt-secret", "c2VjcmV0", "--media-ip", "127.0.0.1"}, "the JWT secret is short enough to be guessed from one token"},
		{"tokens for anyone", []string{"--id-jwt-secret", "c2VjcmV0", "--media-ip", "127.0.0.1", "--id-jwt-match-user=false"},
			"tokens are not tied to users: whoever has one may join as anyone (--id-jwt-match-user)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := loadConfig(append(ephemeral, c.args...), nil)
			if err != nil {
				t.Fatal(err)
			}
			log := newLines()
			g, err := openGateway(config, newLog(log, logJSON, slog.LevelInfo))
			if err != nil {
				t.Fatal(err)
			}
			if line := log.await(t, c.want); line["level"] != "WARN" {
				t.Errorf("the log says %v", line)
			}
			if err := g.shut(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServeSaysWhichPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for setting, value := range map[string]string{"listen": addr, "admin-listen": addr, "media-port": port} {
		c, err := loadConfig(append(ephemeral, "--dev", "--"+setting, value), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = openGateway(c, slog.New(slog.DiscardHandler))
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(fmt.Sprint(err), "choose another with --"+setting) {
			t.Errorf("--%s: got %v", setting, err)
		}
	}
}

func TestAdvertised(t *testing.T) {
	public, private := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("10.0.0.7")
	for _, c := range []struct {
		name       string
		configured []netip.Addr
		own        netip.Addr // invalid: it cannot be told
		want       netip.Addr // invalid: an error
		warns      bool
	}{
		{"configured", []netip.Addr{public}, private, public, false},
		{"its own", nil, public, public, false},
		{"its own, which is private", nil, private, private, true},
		{"none", nil, netip.Addr{}, netip.Addr{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			got, err := advertised(c.configured, func() (netip.Addr, error) {
				if !c.own.IsValid() {
					return c.own, errors.New("network is unreachable")
				}
				return c.own, nil
			}, newLog(&log, logJSON, slog.LevelInfo))
			if !c.want.IsValid() {
				if err == nil || !strings.Contains(err.Error(), "--media-ip") {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || len(got) != 1 || got[0] != c.want || (log.Len() > 0) != c.warns {
				t.Errorf("got %v, %v; the log says %q", got, err, log.String())
			}
		})
	}
}

// hall is a house of calls in which time passes.
type hall struct {
	members  int
	leave    chan struct{} // closed when the last one leaves
	draining bool
}

func (h *hall) Drain()            { h.draining = true }
func (h *hall) Stats() core.Stats { return core.Stats{Members: h.members} }
func (h *hall) Empty(ctx context.Context) error {
	select {
	case <-h.leave:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name            string
		leave, patience time.Duration
		want            time.Duration
		said            string
	}{
		{"nobody there", 0, time.Minute, 0, "drained"},
		{"they leave in time", 20 * time.Second, time.Minute, 20 * time.Second, "drained"},
		{"they stay", time.Hour, time.Minute, time.Minute, "drain time is over"},
		{"no time at all", time.Hour, 0, 0, "drain time is over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hall{members: 2, leave: make(chan struct{})}
				if c.leave == 0 {
					close(h.leave)
				} else {
					defer time.AfterFunc(c.leave, func() { close(h.leave) }).Stop()
				}
				var log bytes.Buffer
				began := time.Now()
				drain(t.Context(), h, c.patience, newLog(&log, logJSON, slog.LevelInfo))
				if took := time.Since(began); took != c.want || !h.draining {
					t.Errorf("it took %v, want %v; draining: %t", took, c.want, h.draining)
				}
				if said := log.String(); !strings.Contains(said, `"msg":"draining","members":2`) || !strings.Contains(said, c.said) {
					t.Errorf("the log says %s", said)
				}
			})
		})
	}
}

func TestReadiness(t *testing.T) {
	var r readiness
	if r.isReady() {
		t.Error("ready before it was started")
	}
	for p, want := range map[phase]bool{starting: false, ready: true, draining: false} {
		if r.set(p); r.isReady() != want || phaseNames[p] == "" {
			t.Errorf("in phase %d: ready is %t, the answer %q", p, r.isReady(), phaseNames[p])
		}
	}
}

// program is confgate in a process of its own.
type program struct {
	*exec.Cmd
	log *bufio.Scanner // its standard error
	out bytes.Buffer   // read it after Wait
}

func launch(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.CommandContext(t.Context(), os.Args[0], append([]string{"serve"}, args...)...)}
	p.Env = []string{asConfgate + "=1"}
	p.Stdout = &p.out
	errs, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	p.log = bufio.NewScanner(errs)
	return p
}

// await skips log lines until one says msg.
func (p *program) await(t *testing.T, msg string) map[string]any {
	t.Helper()
	for p.log.Scan() {
		line := map[string]any{}
		if err := json.Unmarshal(p.log.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", p.log.Text(), err)
		}
		if line["msg"] == msg {
			return line
		}
	}
	t.Fatalf("the log never said %q", msg)
	return nil
}

func TestSignals(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := launch(t, append(ephemeral, "--dev")...)
		line := p.await(t, "serving")
		if err := p.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		p.await(t, "stopped")
		if err := p.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if want := fmt.Sprintf("open %s\n", line["clients"]); p.out.String() != want {
			t.Errorf("printed %q, want %q", p.out.String(), want)
		}
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := launch(t, append(ephemeral, "--dev", "--drain", "1h")...)
	url, _ := p.await(t, "serving")["clients"].(string)
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"ws/id", &websocket.DialOptions{HTTPClient: web})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	say(t, c, joinRoom("ann", ""))
	hear(t, c, aloneInRoom)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await(t, "draining")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil {
		t.Error("exit code 0, though a call was cut off")
	}
}
