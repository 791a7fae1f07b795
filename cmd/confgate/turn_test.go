package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the scheme has it so
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"confgate/media/relay"
)

// registered is what a client of eventOp is told when it registers.
type registered struct {
	Code       string
	ICEServers []struct {
		URLs                 []string
		Username, Credential string
	} `json:"iceServers"`
}

// register has a user say who they are, and gives the answer.
func (r *running) register(t *testing.T, user string) registered {
	t.Helper()
	c := r.dial(t, "/ws/eventop")
	say(t, c, `{"eventOp":"register","reqId":"1","cpCode":"cp","authKey":"k","userId":"`+user+`"}`)
	_, text, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var reply registered
	if err := json.Unmarshal(text, &reply); err != nil || reply.Code != "200" {
		t.Fatalf("got %s, %v", text, err)
	}
	return reply
}

// TestServeHandsOutTURN checks the credential as coturn would, from the outside.
func TestServeHandsOutTURN(t *testing.T) {
	const secret = "a secret of thirty-two bytes, no less"
	file := filepath.Join(t.TempDir(), "turn.secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"ours":           {"--turn-listen", "127.0.0.1:0", "--turn-listen-tcp", "127.0.0.1:0", "--turn-stun"},
		"ours, renamed":  {"--turn-listen", "127.0.0.1:0", "--turn-url", "turn:turn.example:443"},
		"somebody's own": {"--turn-url", "turn:127.0.0.1:1?transport=tcp,stun:stun.example"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, append(args, "--dev", "--drain", "0", "--turn-ttl", "1h", "--turn-secret-file", file)...)
			reply := g.register(t, "ann")
			open, locked := reply.ICEServers, reply.ICEServers[len(reply.ICEServers)-1]
			ends, whose, _ := strings.Cut(locked.Username, ":")
			unix, err := strconv.ParseInt(ends, 10, 64)
			if left := time.Until(time.Unix(unix, 0)); err != nil || left > time.Hour || left < 59*time.Minute || whose != "id/ann" {
				t.Errorf("username %s", locked.Username)
			}
			mac := hmac.New(sha1.New, []byte(secret))
			mac.Write([]byte(locked.Username))
			if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); locked.Credential != want {
				t.Errorf("password %s, want %s", locked.Credential, want)
			}
			switch name {
			case "ours":
				if len(open) != 2 || len(open[0].URLs) != 1 || open[0].Credential != "" || len(locked.URLs) != 2 {
					t.Errorf("got %v", open)
				}
				for _, u := range locked.URLs {
					if err := relay.Probe(t.Context(), u); err != nil {
						t.Error(err)
					}
				}
			case "ours, renamed":
				if len(open) != 1 || !slices.Equal(locked.URLs, []string{"turn:turn.example:443"}) {
					t.Errorf("got %v", open)
				}
			default:
				if len(open) != 2 || open[0].URLs[0] != "stun:stun.example" {
					t.Errorf("got %v", open)
				}
				for g.metric(t, "confgate_degraded") != 1 {
					runtime.Gosched() // until it has been asked, which may be before it serves or after
				}
				if code, text := g.get(t, g.admin.at, "/readyz"); code != 200 || !strings.Contains(text, "ready\nwithout turn:127.0.0.1:1") {
					t.Errorf("/readyz answers %d %q", code, text)
				}
			}
			g.stop()
			if err := <-g.end; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServeWithoutTURN(t *testing.T) {
	g := start(t, "--dev", "--drain", "0")
	if got := g.register(t, "ann").ICEServers; len(got) != 0 {
		t.Errorf("got %v", got)
	}
	g.stop()
	if err := <-g.end; err != nil {
		t.Error(err)
	}
}

func TestTURNSettings(t *testing.T) {
	const external = "--turn-url=turn:turn.example"
	for _, c := range []struct {
		args []string
		want string // a part of the error; empty: none
	}{
		{nil, ""},
		{[]string{"--turn-listen", "127.0.0.1:3478"}, ""},
		{[]string{external, "--turn-secret", "s"}, ""},
		{[]string{"--turn-url", "stun:stun.example"}, ""},
		{[]string{external}, "--turn-secret-file"},
		{[]string{"--turn-url", "https://turn.example"}, "must be a URL such as turn:"},
		{[]string{"--turn-secret", "s", "--turn-secret-file", "f"}, "only one can count"},
		{[]string{"--turn-listen-tls", "127.0.0.1:0"}, "all three or none"},
		{[]string{"--turn-tls-cert", "f", "--turn-tls-key", "f"}, "all three or none"},
		{[]string{"--turn-listen", "nowhere"}, "is no host:port"},
		{[]string{"--turn-listen", ":3478"}, "--dev-remote"}, // with --dev
		{[]string{"--turn-ttl", "59s"}, "--turn-ttl"},
		{[]string{"--turn-ports", "5-3"}, "must be two ports"},
		{[]string{"--turn-allow-peer", "192.168.7.1/24"}, "must be a network"},
		{[]string{"--turn-allow-peer", "192.168.7.0/24,10.0.0.5/32"}, ""},
		{[]string{"--turn-allocations", "0"}, "--turn-allocations"},
		{[]string{"--turn-user-allocations", "0"}, "--turn-user-allocations"},
		{[]string{"--turn-user-rate", "-1"}, "--turn-user-rate"},
	} {
		_, err := loadConfig(append([]string{"--dev"}, c.args...), nil)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.args, err, c.want)
		}
	}
}

func TestTURNSecret(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, "no such file"} {
		if _, err := (turnConfig{secretFile: file}).sharedSecret(); err == nil || !strings.Contains(err.Error(), "--turn-secret-file") {
			t.Errorf("%s: got %v", file, err)
		}
	}
	first, _ := turnConfig{}.sharedSecret()
	second, _ := turnConfig{}.sharedSecret()
	if len(first) < 16 || bytes.Equal(first, second) {
		t.Error("a secret that was made up is no secret")
	}
}

func TestServeFailsWithoutItsTURNPort(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c, err := loadConfig(append(ephemeral, "--dev", "--turn-listen", taken.LocalAddr().String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = openGateway(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "choose another with --turn-listen") {
		t.Errorf("got %v", err)
	}
}

// TestWatchTURN has a server come and go.
func TestWatchTURN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state readiness
		var log bytes.Buffer
		var down atomic.Bool
		ctx, stop := context.WithCancel(t.Context())
		probe := func(_ context.Context, url string) error {
			if url != "turn:a" {
				t.Errorf("asked %s", url)
			}
			if down.Load() {
				return errors.New("gone")
			}
			return nil
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			watchTURN(ctx, []string{"stun:a", "turn:a"}, probe, &state, newLog(&log, logJSON, slog.LevelInfo))
		}()
		for _, c := range []struct {
			down    bool
			lacking int
		}{{false, 0}, {true, 1}, {true, 1}, {false, 0}} {
			down.Store(c.down)
			<-time.After(probeEvery + time.Second)
			synctest.Wait()
			w := httptest.NewRecorder()
			state.set(ready)
			state.ServeHTTP(w, nil)
			if n := state.lacking(); n != c.lacking || strings.Contains(w.Body.String(), "without turn:a: ") != (n == 1) || w.Code != 200 {
				t.Errorf("down: %t: %d things are missing; /readyz answers %d %q", c.down, n, w.Code, w.Body)
			}
		}
		stop()
		<-ended
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want 2:\n%s", n, log.String())
		}
	})
}

func TestRelayJournal(t *testing.T) {
	var log bytes.Buffer
	j := &relayJournal{log: newLog(&log, logJSON, slog.LevelInfo)}
	for range budgetLines + 5 {
		j.refused(relay.Refusal{Reason: relay.Peer, Tenant: "cp", User: "a\nnn", Remote: "192.0.2.1:5", Peer: netip.MustParseAddr("10.0.0.1")})
	}
	if n := strings.Count(log.String(), "\n"); n != budgetLines {
		t.Errorf("%d lines, want %d", n, budgetLines)
	}
	first, _, _ := strings.Cut(log.String(), "\n")
	if _, fields, _ := strings.Cut(first, `"level"`); fields !=
		`:"INFO","msg":"TURN request refused","reason":"peer","remote":"192.0.2.1:5","tenant":"cp","user":"a…","peer":"10.0.0.1"}` {
		t.Error(first)
	}
}
