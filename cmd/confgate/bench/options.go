package bench

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// options is what a scenario was asked to do.
type options struct {
	scenario    string
	open        func(options) (scenario, error) // makes the scenario of these options
	gateway     *url.URL
	dialect     string
	members     int // in all rooms
	rooms       int
	senders     int // in each room: the first who join
	duration    time.Duration
	load        load
	joinRate    float64 // joins a second; 0: each when the one before is settled
	stay        time.Duration
	warmUp      time.Duration
	perRoom     int
	busy        int // requests a second
	callers     int
	pid         int
	admin       *url.URL
	json        bool
	allowRemote bool
}

// Bounds on what can be asked for, by the sockets and memory that a run takes.
const (
	maxMembers     = 100
	maxSubscribers = 2000
	maxDuration    = time.Hour
	maxKbps        = 10_000
	maxFPS         = 120
	maxJoinRate    = 1000
)

// flags are those that all scenarios share.
type flags struct {
	*flag.FlagSet
	options
	gatewayURL, adminURL string
}

// newFlags declares what all scenarios share. Usage and complaints go to w.
func newFlags(scenario string, w io.Writer) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("confgate bench "+scenario, flag.ContinueOnError)}
	f.scenario = scenario
	f.SetOutput(w)
	f.StringVar(&f.gatewayURL, "url", "http://127.0.0.1:8080", "the gateway's `address` for clients")
	f.StringVar(&f.dialect, "dialect", "id", "the `dialect` that the members speak: id, eventop, or mixed for both in turn")
	f.IntVar(&f.pid, "pid", 0, "the gateway's process `ID`, for its CPU and memory")
	f.StringVar(&f.adminURL, "admin", "", "the gateway's administration `address`, for goroutines and what is left afterwards")
	f.BoolVar(&f.json, "json", false, "print one line of JSON instead of a table")
	f.BoolVar(&f.allowRemote, "allow-remote", false, "let the gateway be on another machine; only load your own")
	return f
}

// parse reads the arguments and checks what is the same for all scenarios.
func (f *flags) parse(args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("what is %q?", f.Arg(0))
	}
	var err error
	if f.gateway, err = f.parseURL(f.gatewayURL); err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	if f.adminURL != "" {
		if f.admin, err = f.parseURL(f.adminURL); err != nil {
			return fmt.Errorf("--admin: %w", err)
		}
	}
	if _, err := findDialect(f.dialect); err != nil {
		return err
	}
	return errors.Join(within("pid", f.pid, 0, math.MaxInt32))
}

// within complains about a flag's value that is out of bounds.
func within(name string, v, least, most int) error {
	if v < least || v > most {
		return fmt.Errorf("--%s must be from %d to %d", name, least, most)
	}
	return nil
}

func durationWithin(name string, v, least time.Duration) error {
	if v < least || v > maxDuration {
		return fmt.Errorf("--%s must be from %v to %v", name, least, maxDuration)
	}
	return nil
}

func rateWithin(name string, v, least, most float64) error {
	if !(v >= least && v <= most) { // which NaN is not either
		return fmt.Errorf("--%s must be from %g to %g", name, least, most)
	}
	return nil
}

// parseURL reads the address of a machine that may be put under load.
func (o options) parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no http or https address", s)
	}
	if !o.allowRemote && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%s is not this machine; --allow-remote if it is yours", net.JoinHostPort(u.Hostname(), u.Port()))
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
