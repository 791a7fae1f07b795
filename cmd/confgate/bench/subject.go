package bench

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs beside this one.
type Process interface {
	PID() int
	Signal(s os.Signal) error
	// Freeze has it do nothing until Thaw.
	Freeze() error
	Thaw() error
	// Wait waits for its end and gives its exit code, negative if a signal ended it. It is
	// called once.
	Wait() int
}

// Programs starts programs, which end with this one at the latest.
type Programs interface {
	// Gateway starts the gateway that is tried, with more in its environment; its log goes
	// to log.
	Gateway(args, env []string, log io.Writer) (Process, error)
	// Again starts this program once more. It ends when its input does: see [Process.Wait].
	Again(args []string, input io.Reader) (Process, error)
}

const (
	readyLimit = 20 * time.Second
	readyStep  = 10 * time.Millisecond
	stopLimit  = 60 * time.Second
	askLimit   = 5 * time.Second // for an answer of the administration port
)

// subject is the gateway under trial: one that was started here, with tokens and a
// tenant as in real use, on ports of its own on this machine.
type subject struct {
	programs Programs
	dir      string // holds its secrets
	flags    []string
	clients  netip.AddrPort
	admin    netip.AddrPort
	media    uint16
	log      *logbook
	web      *http.Client
	tokens   sync.Mutex // over secret
	secret   string     // guarded by tokens: what signs tokens, and the tenant's key
	turn     int        // guarded by tokens: how often it was changed

	// Owned by who starts and stops it.
	instrumented bool      // it is built with the race detector, whose own memory only grows
	env          []string  // more of it, from the next start on
	logTo        io.Writer // likewise; nil: to log
	process      Process
	ended        chan struct{} // closed at its end
	code         int           // to be read then
}

const trialTenant = "trial"

// newSubject prepares a gateway, which is to be closed.
func newSubject(programs Programs, flags ...string) (*subject, error) {
	dir, err := os.MkdirTemp("", "confgate-trial-")
	if err != nil {
		return nil, err
	}
	s := &subject{programs: programs, dir: dir, flags: flags, log: newLogbook(), web: newWeb()}
	if err := errors.Join(s.findPorts(), s.turnKeys()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// findPorts finds some that nobody has at the moment.
func (s *subject) findPorts() (err error) {
	var held []io.Closer
	defer func() {
		for _, h := range held {
			err = errors.Join(err, h.Close())
		}
	}()
	at := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	for _, to := range []*netip.AddrPort{&s.clients, &s.admin} {
		l, err := net.ListenTCP("tcp", &at)
		if err != nil {
			return err
		}
		held = append(held, l)
		*to = l.Addr().(*net.TCPAddr).AddrPort()
	}
	for range portTries { // one that is free for UDP may not be for TCP
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: at.IP})
		if err != nil {
			return err
		}
		held = append(held, u)
		s.media = u.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		if l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: at.IP, Port: int(s.media)}); err == nil {
			held = append(held, l)
			return nil
		}
	}
	return errNoPort
}

const portTries = 20

var errNoPort = errors.New("no port is free for both UDP and TCP")

// turnKeys writes new secrets and keeps the ones before beside them, as one does who
// changes them while people are there.
func (s *subject) turnKeys() error {
	s.tokens.Lock()
	defer s.tokens.Unlock()
	s.turn++
	var keys []string
	for n := range keysAtOnce {
		keys = append(keys, fmt.Sprintf("no secret of anybody's, number %d", s.turn-n))
		if err := os.WriteFile(s.secretFile(n), []byte(keys[n]), 0o600); err != nil {
			return err
		}
	}
	tenants := fmt.Sprintf("tenants:\n  - code: %s\n    key: [%q, %q, %q]\n", trialTenant, keys[0], keys[1], keys[2])
	if err := os.WriteFile(s.tenantsFile(), []byte(tenants), 0o600); err != nil {
		return err
	}
	s.secret = keys[1] // which counts before the change and after, and after the next
	if s.process == nil {
		return nil
	}
	return s.process.Signal(syscall.SIGHUP)
}

// keysAtOnce is how many keys count.
const keysAtOnce = 3

func (s *subject) secretFile(n int) string { return filepath.Join(s.dir, fmt.Sprintf("secret-%d", n)) }
func (s *subject) tenantsFile() string     { return filepath.Join(s.dir, "tenants.yaml") }

func (s *subject) args() []string {
	return append([]string{
		"serve", "--listen", s.clients.String(), "--admin-listen", s.admin.String(),
		"--media-port", strconv.Itoa(int(s.media)), "--media-ip", "127.0.0.1",
		"--id-jwt-secret-file", s.secretFile(0), "--id-jwt-secret-file", s.secretFile(1), "--id-jwt-secret-file", s.secretFile(2),
		"--id-jwt-secret-encoding", "plain", "--id-tenant", trialTenant, "--tenants-file", s.tenantsFile(),
		// Everybody comes from this machine: what one guesses must not shut out all, and
		// so many failures must not be remembered for long.
		"--auth-failures", "1000000", "--auth-tenant-failures", "-1", "--auth-window", "30s", "--log-format", "json",
	}, s.flags...)
}

// begin starts the gateway and waits until it takes calls.
func (s *subject) begin(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, errNotReady)
	defer cancel()
	for {
		if code, err := s.probe(ctx); err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%w: it ended with code %d; %s", errNotReady, s.code, s.log.tail())
		default:
		}
		if err := pause(ctx, readyStep); err != nil {
			return fmt.Errorf("%w; %s", err, s.log.tail())
		}
	}
}

var errNotReady = errors.New("the gateway does not get ready")

// launch starts the gateway, and does not wait.
func (s *subject) launch() error {
	to := s.logTo
	if to == nil {
		to = s.log
	}
	p, err := s.programs.Gateway(s.args(), s.env, to)
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	ended := make(chan struct{})
	s.process, s.ended = p, ended
	go func() {
		s.code = p.Wait()
		close(ended)
	}()
	return nil
}

// probe asks whether the gateway takes calls.
func (s *subject) probe(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin.String()+"/readyz", nil)
	if err != nil {
		return 0, err
	}
	response, err := s.web.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxInfo))
	return response.StatusCode, err
}

var errUnending = errors.New("the gateway does not end")

// stop has the gateway end by a signal, and gives its exit code.
func (s *subject) stop(sig os.Signal) (int, error) {
	if err := s.process.Signal(sig); err != nil {
		return 0, err
	}
	return s.awaitEnd()
}

func (s *subject) awaitEnd() (int, error) {
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-s.ended:
		s.process = nil
		s.web.CloseIdleConnections()
		return s.code, nil
	case <-limit.C:
		return 0, fmt.Errorf("%w within %v", errUnending, stopLimit)
	}
}

// close ends the gateway, if it still runs, and removes its files.
func (s *subject) close() {
	if s.process != nil {
		_ = s.process.Signal(os.Kill)
		<-s.ended
		s.process = nil
	}
	s.web.CloseIdleConnections()
	_ = os.RemoveAll(s.dir)
}

func (s *subject) gateway() *url.URL { return &url.URL{Scheme: "http", Host: s.clients.String()} }

// server is the gateway as it is seen from outside.
func (s *subject) server() *server {
	return &server{pid: s.process.PID(), admin: &url.URL{Scheme: "http", Host: s.admin.String()}, web: s.web}
}

// key gives what signs tokens at the moment, and lets a tenant's people in.
func (s *subject) key() string {
	s.tokens.Lock()
	defer s.tokens.Unlock()
	return s.secret
}

const tokenLife = 24 * time.Hour

// token is somebody's JWT (RFC 7519), signed with HS256.
func token(secret, user string) (string, error) {
	claims, err := json.Marshal(map[string]any{"sub": user, "id": user, "exp": time.Now().Add(tokenLife).Unix()})
	if err != nil {
		return "", err
	}
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + part(mac.Sum(nil)), nil
}
