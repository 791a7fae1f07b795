package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const (
	schoolKey = "kp-opaque-key-of-the-school"
	clubKey   = "kp-opaque-key-of-the-club"
)

// rewrite puts text into a file, all at once.
func rewrite(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
	return name
}

func tenantsFile(t *testing.T, text string) string {
	t.Helper()
	return rewrite(t, filepath.Join(t.TempDir(), "tenants.yaml"), text)
}

func TestReadTenants(t *testing.T) {
	dir := t.TempDir()
	keyFile := rewrite(t, filepath.Join(dir, "key"), schoolKey+"\n")
	secretFile := rewrite(t, filepath.Join(dir, "secret"), base64.StdEncoding.EncodeToString([]byte("a secret of thirty-two bytes, no less")))
	for _, c := range []struct {
		name, text string
		err        string // a part of it; empty: good
	}{
		{"everything", `
# a comment
media-port: 7882
tenants:
  - code: KP-20200101-01
    key: [` + schoolKey + `, ` + clubKey + `]
    from: 2026-01-01
    to: 2026-12-31
    users: 100
    origin: [https://school.example, https://www.school.example]
  - code: KP-2
    secret: plain secrets are long enough
    secret-encoding: plain
    to: 2026-12-31T18:00:00+09:00
  - code: 3
    key-file: ` + keyFile + `
    secret-file: ` + secretFile + `
`, ""},
		{"none at all", "tenants: []", ""},
		{"no list", "tenants: school", "line 1: tenants must be a list"},
		{"a list of words", "tenants: [school]", "line 1: a tenant must be name: value"},
		{"unknown field", "tenants:\n- code: a\n  kye: " + schoolKey, "line 3: kye: is no field of a tenant"},
		{"field twice", "tenants:\n- code: a\n  code: b", "line 3: code stands there twice"},
		{"list twice", "tenants: []\ntenants: []", "line 2: tenants stands there twice"},
		{"two codes", "tenants:\n- code: [a, b]", "must be one value"},
		{"nested", "tenants:\n- code: {a: b}", "must be a value"},
		{"alias", "tenants:\n- code: &a x\n  key: *a", "must be a value"},
		{"no day", "tenants:\n- code: a\n  to: tomorrow", "line 3: to: must be a day"},
		{"no such day", "tenants:\n- code: a\n  to: 2026-02-30", "must be a day"},
		{"no number", "tenants:\n- code: a\n  users: many", "users: must be a number"},
		{"no origin", "tenants:\n- code: a\n  origin: school.example", "is not an origin"},
		{"no such file", "tenants:\n- code: a\n  key-file: " + keyFile + "2", "no such file"},
		{"no encoding", "tenants:\n- code: a\n  secret-encoding: hex", "must be one of"},
		{"no base64", "tenants:\n- code: a\n  secret: hunter2 and more", "not base64"},
		{"short key", "tenants:\n- code: a\n  key: hunter2", "a key must have"},
		{"code of the others", "tenants:\n- code: id\n  key: " + schoolKey, "--id-tenant"},
		{"twice", "tenants:\n- {code: a, key: " + schoolKey + "}\n- {code: a, key: " + clubKey + "}", "stands there twice"},
		{"no YAML", "tenants: [", "yaml"},
		{"no tenants", "listen: x", "has no list tenants"},
		{"a list of settings", "- tenants", "has no list tenants"},
		{"empty", "", "has no list tenants"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config{tenantsFile: tenantsFile(t, c.text)}.tenants()
			switch {
			case c.err == "" && (err != nil || got.Len() != strings.Count(c.text, "code:")):
				t.Errorf("got %v", err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("got %v, want %q in it", err, c.err)
			case err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), schoolKey)):
				t.Errorf("the error tells a key: %v", err)
			}
		})
	}
}

func TestTenantsStandInOnePlace(t *testing.T) {
	const list = "tenants:\n- {code: a, key: " + schoolKey + "}\n"
	settings, own := yamlFile(t, "media-ip: 127.0.0.1\n"+list)[1], tenantsFile(t, list)
	for _, c := range []struct {
		args []string
		want int // tenants; 0: an error
	}{
		{[]string{"--config", settings}, 1},
		{[]string{"--tenants-file", own}, 1},
		{[]string{"--config", settings, "--tenants-file", own}, 0},
	} {
		conf, err := loadConfig(c.args, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := conf.tenants()
		if (err == nil) != (c.want > 0) || err == nil && got.Len() != c.want {
			t.Errorf("%q: got %v", c.args, err)
		}
	}
}

// registerAs asks to be let in, with and without what a page of an origin sends.
func registerAs(t *testing.T, g *running, code, key, origin string) *websocket.Conn {
	t.Helper()
	options := &websocket.DialOptions{HTTPClient: g.web}
	if origin != "" {
		options.HTTPHeader = http.Header{"Origin": {origin}}
	}
	c, _, err := websocket.Dial(t.Context(), "ws://"+g.clients.at.Addr().String()+"/ws/eventop", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	say(t, c, fmt.Sprintf(`{"eventOp":"register","reqId":"1","cpCode":%q,"authKey":%q}`, code, key))
	return c
}

// answered reads the code of a reply.
func answered(t *testing.T, c *websocket.Conn, code string) {
	t.Helper()
	_, got, err := c.Read(t.Context())
	if err != nil || !strings.Contains(string(got), `"code":"`+code+`"`) {
		t.Fatalf("got %s, %v; want %s", got, err, code)
	}
}

func TestServeTenants(t *testing.T) {
	file := tenantsFile(t, `
tenants:
  - {code: school, key: `+schoolKey+`, users: 2}
  - {code: club, key: `+clubKey+`, origin: "https://club.example"}
  - {code: gone, key: `+clubKey+`, to: 2020-01-01}
`)
	g := start(t, "--media-ip", "127.0.0.1", "--tenants-file", file, "--allow-origin", "https://school.example", "--drain", "0")
	for _, c := range []struct{ code, key, origin, want string }{
		{"school", schoolKey, "", "200"},
		{"school", schoolKey, "https://school.example", "200"},
		{"school", clubKey, "", "401"},
		{"nobody", schoolKey, "", "401"},
		{"gone", clubKey, "", "401"},
		{"club", clubKey, "https://club.example", "200"}, // let through to here because the tenant says so
		{"club", clubKey, "https://school.example", "401"},
		{"club", clubKey, "", "200"},
	} {
		answered(t, registerAs(t, g, c.code, c.key, c.origin), c.want)
	}
	answered(t, registerAs(t, g, "school", schoolKey, ""), "445") // the third at once
	for reason, want := range map[string]float64{"bad_proof": 2, "expired": 1, "wrong_origin": 1, "throttled": 0} {
		if got := g.metric(t, `confgate_auth_failures_total{reason="`+reason+`"}`); got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
	id := g.dial(t, "/ws/id")
	say(t, id, joinRoom("8", "a.b.c")) // there is no way in for tokens
	g.log.take(func(line map[string]any) bool {
		if strings.Contains(fmt.Sprint(line), schoolKey) || strings.Contains(fmt.Sprint(line), clubKey) {
			t.Errorf("the log has a key: %v", line)
		}
		return line["command"] == "Join" && line["cause"] == "no way in for such credentials is configured"
	})
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestGuessingIsShutOut shows that the throttle stands before the tenants and the
// tokens of a whole gateway.
func TestGuessingIsShutOut(t *testing.T) {
	file := tenantsFile(t, "tenants:\n- {code: school, key: "+schoolKey+"}\n")
	g := start(t, "--media-ip", "127.0.0.1", "--tenants-file", file, "--id-jwt-secret", "c2VjcmV0", "--drain", "0")
	for range 30 {
		answered(t, registerAs(t, g, "school", clubKey, ""), "401")
	}
	answered(t, registerAs(t, g, "school", schoolKey, ""), "401") // even the right key is not looked at
	c := g.dial(t, "/ws/id")
	say(t, c, joinRoom("8", hs256("secret", fmt.Sprintf(`{"id":8,"exp":%d}`, time.Now().Add(time.Hour).Unix()))))
	if line := g.log.take(func(line map[string]any) bool { return line["command"] == "Join" }); line["cause"] != "too many failures before this" {
		t.Errorf("the log says %v", line)
	}
	for reason, want := range map[string]float64{"bad_proof": 10, "throttled": 22} {
		if got := g.metric(t, `confgate_auth_failures_total{reason="`+reason+`"}`); got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestSIGHUP changes the tenants of a gateway in a process of its own.
func TestSIGHUP(t *testing.T) {
	const school, club = "- {code: school, key: " + schoolKey + "}\n", "- {code: club, key: " + clubKey + "}\n"
	file := tenantsFile(t, "tenants:\n"+school)
	p := launch(t, append(ephemeral, "--media-ip", "127.0.0.1", "--tenants-file", file, "--log-format", "json", "--drain", "0")...)
	at, _ := p.await(t, "serving")["clients"].(string)
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	register := func(code, key, want string) *websocket.Conn {
		t.Helper()
		c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(at, "http")+"ws/eventop", &websocket.DialOptions{HTTPClient: web})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseNow() })
		say(t, c, fmt.Sprintf(`{"eventOp":"register","reqId":"1","cpCode":%q,"authKey":%q}`, code, key))
		answered(t, c, want)
		return c
	}
	hup := func(said string) map[string]any {
		t.Helper()
		if err := p.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		return p.await(t, said)
	}
	inside := register("school", schoolKey, "200")
	register("club", clubKey, "401")

	rewrite(t, file, "tenants:\n"+school+club)
	hup("keys and tenants read again")
	member := register("club", clubKey, "200")

	rewrite(t, file, "tenants:\n"+school+"- {code: club}\n")
	if line := hup("keys and tenants could not be read again; the old ones stay"); !strings.Contains(fmt.Sprint(line["error"]), "neither a key nor a secret") {
		t.Errorf("the log says %v", line)
	}
	register("club", clubKey, "200")

	rewrite(t, file, "tenants:\n"+school)
	if line := hup("tenant taken out"); line["tenant"] != "club" || line["people_cut_off"] != 2.0 {
		t.Errorf("the log says %v", line)
	}
	if _, _, err := member.Read(t.Context()); websocket.CloseStatus(err) != 4403 {
		t.Errorf("whose tenant was taken out is told %v", err)
	}
	register("club", clubKey, "401")
	say(t, inside, `{"eventOp":"KeepAlive","reqId":"2"}`) // nothing has happened to the others
	answered(t, inside, "200")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await(t, "stopped")
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// signer signs tokens with a key of its own.
type signer struct {
	kid string
	key ed25519.PrivateKey
}

func newSigner(t *testing.T, kid string) signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{kid, key}
}

func (s signer) token(user int, more string) string {
	segment := base64.RawURLEncoding.EncodeToString
	text := segment(fmt.Appendf(nil, `{"alg":"EdDSA","kid":%q}`, s.kid)) + "." +
		segment(fmt.Appendf(nil, `{"id":%d,"exp":%d%s}`, user, time.Now().Add(time.Hour).Unix(), more))
	return text + "." + segment(ed25519.Sign(s.key, []byte(text)))
}

func (s signer) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

func (s signer) pem(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// TestKeysRotate changes the issuer's keys, in files and at its host, while people
// are in a call.
func TestKeysRotate(t *testing.T) {
	filed, next, hosted := newSigner(t, "filed"), newSigner(t, "filed"), newSigner(t, "hosted")
	up := new(atomic.Bool)
	up.Store(true)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"hosted","x":%q}]}`, base64.RawURLEncoding.EncodeToString(hosted.public()))
	}))
	defer issuer.Close()
	file := rewrite(t, filepath.Join(t.TempDir(), "key.pem"), filed.pem(t))
	g := start(t, "--media-ip", "127.0.0.1", "--id-jwt-key-file", "filed="+file, "--id-jwks-url", issuer.URL, "--drain", "0")
	join := func(token string) *websocket.Conn {
		t.Helper()
		c := g.dial(t, "/ws/id")
		say(t, c, joinRoom("8", token))
		return c
	}
	refusal := func(want string) {
		t.Helper()
		if line := g.log.await(t, "command refused"); line["cause"] != want {
			t.Errorf("the log says %v", line)
		}
	}
	inside := join(filed.token(8, ""))
	hear(t, inside, aloneInRoom)
	hear(t, join(hosted.token(8, "")), aloneInRoom)
	if _, body := g.get(t, g.admin.at, "/readyz"); body != "ready\n" {
		t.Errorf("/readyz says %q", body)
	}
	join(next.token(8, ""))
	refusal("token signed otherwise")

	rewrite(t, file, filed.pem(t)+next.pem(t))
	g.reloads <- syscall.SIGHUP
	g.log.await(t, "keys and tenants read again")
	hear(t, join(next.token(8, "")), aloneInRoom)
	hear(t, join(filed.token(8, "")), aloneInRoom)

	up.Store(false)
	rewrite(t, file, next.pem(t))
	g.reloads <- syscall.SIGHUP // has the host asked again, too
	g.log.await(t, "keys and tenants read again")
	g.log.await(t, "authentication source lost")    // this time or still for the time before
	hear(t, join(hosted.token(8, "")), aloneInRoom) // by the keys that it gave before
	join(filed.token(8, ""))
	refusal("token signed otherwise")
	if code, body := g.get(t, g.admin.at, "/readyz"); code != 200 || body != "ready\njwks: does not answer; what it said before counts\n" {
		t.Errorf("/readyz says %d %q", code, body)
	}
	if got := g.metric(t, `confgate_auth_source_up{source="jwks"}`); got != 0 {
		t.Errorf("the metric says %v", got)
	}
	rewrite(t, file, "no key")
	g.reloads <- syscall.SIGHUP
	if line := g.log.await(t, "keys and tenants could not be read again; the old ones stay"); line["level"] != "ERROR" {
		t.Errorf("the log says %v", line)
	}
	hear(t, join(next.token(8, "")), aloneInRoom)
	if ok, failed := g.metric(t, `confgate_auth_reloads_total{result="ok"}`), g.metric(t, `confgate_auth_reloads_total{result="failed"}`); ok != 2 || failed != 1 {
		t.Errorf("%v and %v reloads", ok, failed)
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

func TestNotReadyWithoutAnyKeys(t *testing.T) {
	issuer := httptest.NewServer(http.NotFoundHandler())
	defer issuer.Close()
	g := start(t, "--media-ip", "127.0.0.1", "--id-jwks-url", issuer.URL, "--drain", "0")
	g.log.await(t, "authentication source lost")
	if code, body := g.get(t, g.admin.at, "/readyz"); code != 503 || body != "ready\njwks: has never answered, so nobody can come in by it\n" {
		t.Errorf("/readyz says %d %q", code, body)
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

func TestTokensOpenRooms(t *testing.T) {
	s := newSigner(t, "")
	file := rewrite(t, filepath.Join(t.TempDir(), "key.pem"), s.pem(t))
	g := start(t, "--media-ip", "127.0.0.1", "--id-jwt-key-file", file, "--id-jwt-rooms-claim", "rooms", "--drain", "0")
	for claim, opens := range map[string]bool{
		`,"rooms":"c-10"`: true, `,"rooms":["c-9","c-10"]`: true, `,"rooms":"c-*"`: true, `,"rooms":"*"`: true,
		``: false, `,"rooms":"c-1"`: false, `,"rooms":"C-10"`: false, `,"rooms":"r-*"`: false, `,"rooms":"c-10*0"`: false, `,"rooms":[]`: false,
		`,"rooms":[["c-10"]]`: false, `,"rooms":10`: false, `,"rooms":null`: false, `,"rooms":true`: false, `,"rooms":{"c-10":true}`: false,
		`,"Rooms":"c-10"`: false, `,"rooms":" c-10"`: false, `,"rooms":"c-10 "`: false, `,"rooms":".*"`: false, `,"rooms":"c-??"`: false,
	} {
		c := g.dial(t, "/ws/id")
		say(t, c, joinRoom("8", s.token(8, claim)))
		if opens {
			hear(t, c, aloneInRoom)
		} else if line := g.log.await(t, "command refused"); line["cause"] != "token does not open that room" {
			t.Errorf("%s: the log says %v", claim, line)
		}
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

// TestSlowBackendHoldsUpOneSession has the backend think about one user for ever.
func TestSlowBackendHoldsUpOneSession(t *testing.T) {
	s := newSigner(t, "")
	thinking, stop := context.WithCancel(t.Context())
	asked := make(chan string, 10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		switch r.URL.Path {
		case "/c-10/8":
			<-thinking.Done()
		case "/c-10/9":
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer backend.Close()
	defer stop()
	file := rewrite(t, filepath.Join(t.TempDir(), "key.pem"), s.pem(t))
	g := start(t, "--media-ip", "127.0.0.1", "--id-jwt-key-file", file, "--id-rooms-url", backend.URL+"/{room}/{user}", "--id-rooms-timeout", "5s", "--drain", "0")
	slow := g.dial(t, "/ws/id")
	say(t, slow, joinRoom("8", s.token(8, "")))
	if path := <-asked; path != "/c-10/8" {
		t.Fatalf("asked %s", path)
	}
	quick := g.dial(t, "/ws/id")
	say(t, quick, joinRoom("7", s.token(7, "")))
	hear(t, quick, aloneInRoom) // while 8 waits
	say(t, quick, `{"id":"videoStateFrom","video":true}`)
	hear(t, quick, `{"id":"videoStateAnswer","userId":"7","video":true}`)
	c := g.dial(t, "/ws/id")
	say(t, c, joinRoom("9", s.token(9, "")))
	if line := g.log.await(t, "command refused"); line["cause"] != "the backend does not admit this user to that room" {
		t.Errorf("the log says %v", line)
	}
	stop()
	hear(t, quick, `{"id":"newParticipantArrived","member":{"userId":"8","video":false,"audio":true}}`)
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

func TestWaysInAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"key set that is no web address": {[]string{"--id-jwks-url", "file:///keys.json"}, "--id-jwks-url"},
		"backend without a room":         {append([]string{"--id-rooms-url", "https://app.example/{user}"}, live...), "--id-rooms-url"},
		"no key file":                    {[]string{"--id-jwt-key-file", "none"}, "--id-jwt-key-file"},
		"key file that holds none":       {[]string{"--id-jwt-key-file", tenantsFile(t, "tenants: []")}, "not a public key"},
		"no tenants file":                {[]string{"--tenants-file", "none"}, "none"},
	} {
		conf, err := loadConfig(c.args, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newAdmission(conf, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
