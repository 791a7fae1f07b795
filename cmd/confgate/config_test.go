package main

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"confgate/core/auth"
)

// live is the least that serve wants without --dev.
var live = []string{"--id-jwt-secret", "c2VjcmV0"}

// yamlFile writes a file of settings and gives the flag that names it.
func yamlFile(t *testing.T, text string) []string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "confgate.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", name}
}

func TestPrecedence(t *testing.T) {
	port := func(c config) any { return c.mediaPort }
	drain := func(c config) any { return c.drain }
	origins := func(c config) any { return c.allowOrigins }
	ips := func(c config) any { return c.mediaIPs }
	codecs := func(c config) any { return c.media.Video }
	match := func(c config) any { return c.jwt.matchUser }
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	for _, c := range []struct {
		name      string
		args, env []string
		file      string
		get       func(config) any
		want      any
	}{
		{"default", live, nil, "", port, 7882},
		{"file", live, nil, "media-port: 1", port, 1},
		{"environment over file", live, []string{"CONFGATE_MEDIA_PORT=2"}, "media-port: 1", port, 2},
		{"flag over environment", append([]string{"--media-port=3"}, live...), []string{"CONFGATE_MEDIA_PORT=2"}, "media-port: 1", port, 3},
		{"flag that says the default", append([]string{"--media-port=7882"}, live...), []string{"CONFGATE_MEDIA_PORT=2"}, "", port, 7882},
		{"empty variable is none", live, []string{"CONFGATE_MEDIA_PORT="}, "media-port: 1", port, 1},

		{"drain", live, nil, "", drain, 30 * time.Second},
		{"drain with dev", []string{"--dev"}, nil, "", drain, 10 * time.Second},
		{"drain given with dev", []string{"--dev"}, []string{"CONFGATE_DRAIN=1m"}, "", drain, time.Minute},
		{"no drain with dev", []string{"--dev", "--drain", "0"}, nil, "", drain, time.Duration(0)},
		{"drain from a file with dev", []string{"--dev"}, nil, "drain: 30s", drain, 30 * time.Second},

		{"no origin", live, nil, "", origins, []string(nil)},
		{"any origin with dev", []string{"--dev"}, nil, "", origins, []string{"*"}},
		{"origins repeated", append([]string{"--allow-origin", "https://a.example", "--allow-origin", "https://b.example:8443"}, live...), nil, "", origins,
			[]string{"https://a.example", "https://b.example:8443"}},
		{"origins with a comma", live, []string{"CONFGATE_ALLOW_ORIGIN=https://a.example, https://b.example"}, "", origins,
			[]string{"https://a.example", "https://b.example"}},
		{"origins as a YAML list", live, nil, "allow-origin:\n  - https://a.example\n  - https://b.example\n", origins,
			[]string{"https://a.example", "https://b.example"}},
		{"lists are not mixed", append([]string{"--allow-origin", "https://a.example"}, live...), []string{"CONFGATE_ALLOW_ORIGIN=https://b.example"},
			"allow-origin: https://c.example", origins, []string{"https://a.example"}},

		{"codecs", live, nil, "video-codecs: [vp9, h264]", codecs, []string{"vp9", "h264"}},

		{"no address", live, nil, "", ips, []netip.Addr(nil)},
		{"loopback with dev", []string{"--dev"}, nil, "", ips, addrs("127.0.0.1")},
		{"addresses", live, nil, "media-ip: [192.0.2.1, '2001:db8::1', '::ffff:192.0.2.2']", ips,
			addrs("192.0.2.1", "2001:db8::1", "192.0.2.2")},

		{"a truth", live, nil, "", match, true},
		{"a truth denied", live, nil, "id-jwt-match-user: false", match, false},
		{"what Kubernetes sets for a service of our name", live, []string{
			"CONFGATE_SERVICE_HOST=10.0.0.1", "CONFGATE_SERVICE_PORT=8080", "CONFGATE_SERVICE_PORT_HTTP=8080",
			"CONFGATE_PORT=tcp://10.0.0.1:8080", "CONFGATE_PORT_8080_TCP_ADDR=10.0.0.1",
		}, "", port, 7882},
		{"other programs' variables", live, []string{"CONFGATEX=1", "PATH=/bin", "confgate_media_port=2"}, "", port, 7882},
		{"file of comments", live, nil, "# nothing\n", port, 7882},
		{"file that says nothing", live, nil, "", port, 7882},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append(yamlFile(t, c.file), c.args...)
			got, err := loadConfig(args, c.env)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c.get(got), c.want) {
				t.Errorf("got %v, want %v", c.get(got), c.want)
			}
		})
	}
}

func TestConfigFromTheEnvironmentAlone(t *testing.T) {
	env := slices.Concat([]string{"CONFGATE_ID_JWT_SECRET=c2VjcmV0"}, []string{"CONFGATE_CONFIG=" + yamlFile(t, "media-ip: 192.0.2.1")[1]})
	c, err := loadConfig(nil, env)
	if err != nil || c.jwt.secret != "c2VjcmV0" || len(c.mediaIPs) != 1 {
		t.Errorf("got %+v, %v", c.mediaIPs, err)
	}
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		args, env []string
		file      string
		want      string // a part of the error
	}{
		{"no authentication", nil, nil, "", "--id-jwt-secret-file"},
		{"two secrets", append([]string{"--id-jwt-secret-file", "x"}, live...), nil, "", "only one"},
		{"a secret in dev", []string{"--dev", "--id-jwt-secret-file", "x"}, nil, "", "--dev asks for no authentication"},
		{"dev-remote alone", append([]string{"--dev-remote"}, live...), nil, "", "without --dev"},

		{"dev for everybody", []string{"--dev", "--listen", ":8080"}, nil, "", "--listen: :8080 is not a loopback address"},
		{"dev for the network", []string{"--dev", "--listen", "192.0.2.1:8080"}, nil, "", "--dev-remote"},
		{"dev, admin for everybody", []string{"--dev", "--admin-listen", "0.0.0.0:9090"}, nil, "", "--admin-listen: 0.0.0.0:9090 is not"},
		{"dev, media for the network", []string{"--dev", "--media-ip", "192.0.2.1"}, nil, "", "--media-ip: 192.0.2.1 is not"},

		{"unknown flag", []string{"--dev", "--lisen", "x"}, nil, "", "-lisen"},
		{"unknown codec", []string{"--dev", "--video-codecs", "vp9,av1"}, nil, "", `"av1" is none of vp8, h264, vp9`},
		{"unknown variable", []string{"--dev"}, []string{"CONFGATE_LISEN=x"}, "", "CONFGATE_LISEN is no setting"},
		{"unknown empty variable", []string{"--dev"}, []string{"CONFGATE_LISEN="}, "", "CONFGATE_LISEN is no setting"},
		{"unknown key", []string{"--dev"}, nil, "listen: 127.0.0.1:1\nlisen: x\n", `line 2: "lisen" is no setting`},
		{"key in another case", []string{"--dev"}, nil, "Listen: x", `line 1: "Listen" is no setting`},
		{"variable as a key", []string{"--dev"}, nil, "CONFGATE_LISTEN: x", "is no setting"},
		{"unknown key, though the flag is given", []string{"--dev", "--listen", "127.0.0.1:1"}, nil, "lisen: x", "is no setting"},
		{"argument", []string{"--dev", "8080"}, nil, "", `"8080" is no flag`},

		{"key twice", []string{"--dev"}, nil, "drain: 1s\nlisten: 127.0.0.1:1\ndrain: 2s\n", "line 3"},
		{"key nested", []string{"--dev"}, nil, "media-port:\n  udp: 1\n", "line 2: media-port: must be a value"},
		{"key without a value", []string{"--dev"}, nil, "media-port:\n", "must be a value"},
		{"list in a list", []string{"--dev"}, nil, "allow-origin: [[a]]", "must be a value"},
		{"alias", []string{"--dev"}, nil, "drain: &d 1s\nlisten: *d\n", "must be a value"},
		{"file in a file", []string{"--dev"}, nil, "config: other.yaml", "cannot name another"},
		{"no mapping", []string{"--dev"}, nil, "- listen", "must be name: value"},
		{"no YAML", []string{"--dev"}, nil, "listen: [", "confgate.yaml"},

		{"bad number", []string{"--dev", "--media-port", "many"}, nil, "", "media-port"},
		{"bad number in a variable", []string{"--dev"}, []string{"CONFGATE_MEDIA_PORT=many"}, "", "CONFGATE_MEDIA_PORT"},
		{"bad number in a file", []string{"--dev"}, nil, "\nmedia-port: many", "line 2: media-port"},
		{"bad port", []string{"--dev", "--media-port", "65536"}, nil, "", "65536 is no port"},
		{"bad address", []string{"--dev", "--listen", "8080"}, nil, "", "is no host:port"},
		{"bad truth", []string{"--dev=maybe"}, nil, "", "maybe"},
		{"bad IP", []string{"--dev", "--media-ip", "example.com"}, nil, "", "must be an IP address"},
		{"any IP", []string{"--dev", "--media-ip", "0.0.0.0"}, nil, "", "that clients can send to"},
		{"origin with a path", append([]string{"--allow-origin", "https://a.example/x"}, live...), nil, "", "allow-origin"},
		{"origin without a scheme", append([]string{"--allow-origin", "a.example"}, live...), nil, "", "allow-origin"},
		{"limit below 0", []string{"--dev", "--id-room-limit", "-1"}, nil, "", "--id-room-limit"},
		{"clocks too far apart", append([]string{"--id-jwt-leeway", "61s"}, live...), nil, "", "--id-jwt-leeway"},
		{"no failure allowed", append([]string{"--auth-failures", "0"}, live...), nil, "", "--auth-failures"},
		{"no failure of a tenant allowed", append([]string{"--auth-tenant-failures", "0"}, live...), nil, "", "--auth-tenant-failures"},
		{"window of no time", append([]string{"--auth-window", "0"}, live...), nil, "", "--auth-window"},
		{"backend slower than clients", append([]string{"--id-rooms-timeout", "1m"}, live...), nil, "", "--id-rooms-timeout"},
		{"outage that is none", append([]string{"--id-rooms-outage", "ajar"}, live...), nil, "", "closed"},
		{"rooms without tokens", []string{"--tenants-file", "x", "--id-jwt-rooms-claim", "rooms"}, nil, "", "say nothing without tokens"},
		{"key file without a path", []string{"--id-jwt-key-file", "kid="}, nil, "", "must be a path"},
		{"tenants in dev", []string{"--dev"}, nil, "tenants: []", "--dev asks for no authentication"},
		{"key set in dev", []string{"--dev", "--id-jwks-url", "https://issuer.example/"}, nil, "", "--dev asks for no authentication"},
		{"drain below 0", []string{"--dev", "--drain", "-1s"}, nil, "", "--drain"},
		{"encoding", []string{"--dev", "--id-jwt-secret-encoding", "hex"}, nil, "", "base64"},
		{"log format", []string{"--dev", "--log-format", "xml"}, nil, "", "text"},
		{"log level", []string{"--dev", "--log-level", "loud"}, nil, "", "log-level"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadConfig(append(yamlFile(t, c.file), c.args...), c.env)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestConfigHasNoFile(t *testing.T) {
	_, err := loadConfig([]string{"--dev", "--config", filepath.Join(t.TempDir(), "none.yaml")}, nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v", err)
	}
}

func TestDevRemoteAllowsAnyAddress(t *testing.T) {
	_, err := loadConfig([]string{"--dev", "--dev-remote", "--listen", ":8080", "--media-ip", "192.0.2.1"}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("c2VjcmV0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want auth.Secrets
		err  string
	}{
		{"secret", []string{"--id-jwt-secret", "c2VjcmV0"}, auth.Secrets{auth.Secret("secret")}, ""},
		{"plain secret", []string{"--id-jwt-secret", "c2VjcmV0", "--id-jwt-secret-encoding", "plain"}, auth.Secrets{auth.Secret("c2VjcmV0")}, ""},
		{"secret file", []string{"--id-jwt-secret-file", file}, auth.Secrets{auth.Secret("secret")}, ""},
		{"two secret files", []string{"--id-jwt-secret-file", file + "," + file}, auth.Secrets{auth.Secret("secret"), auth.Secret("secret")}, ""},
		{"no secret file", []string{"--id-jwt-secret-file", file + "2"}, nil, "--id-jwt-secret-file"},
		{"a directory", []string{"--id-jwt-secret-file", filepath.Dir(file)}, nil, "not a file"},
		{"wrong encoding", []string{"--id-jwt-secret", "hunter 2"}, nil, "--id-jwt-secret: the secret is not base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := loadConfig(c.args, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := config.jwt.secrets()
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hunter") {
					t.Errorf("got %v, want %q in it", err, c.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %d secrets, %v", len(got), err)
			}
		})
	}
}

func TestEverySettingIsInTheHelp(t *testing.T) {
	times := map[string]int{}
	for _, g := range settingGroups {
		for _, name := range g.names {
			times[name]++
		}
	}
	newFlags(new(config)).VisitAll(func(f *flag.Flag) {
		if times[f.Name] != 1 {
			t.Errorf("--%s stands %d times in the help", f.Name, times[f.Name])
		}
		delete(times, f.Name)
	})
	for name := range times {
		t.Errorf("--%s is in the help, and no setting", name)
	}
}
