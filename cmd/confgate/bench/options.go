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

// options is what the room scenario was asked to do.
type options struct {
	gateway     *url.URL
	dialect     string
	members     int
	duration    time.Duration
	load        load
	joinRate    float64 // joins a second; 0: each when the one before is settled
	pid         int
	admin       *url.URL
	json        bool
	allowRemote bool
}

// Bounds on what can be asked for, by the sockets and memory that a run takes.
const (
	maxMembers  = 100
	maxDuration = time.Hour
	maxKbps     = 10_000
	maxFPS      = 120
	maxJoinRate = 1000
)

// parseRoom reads the arguments of `bench room`. Usage and complaints go to w.
func parseRoom(args []string, w io.Writer) (options, error) {
	var o options
	var gateway, admin string
	f := flag.NewFlagSet("confgate bench room", flag.ContinueOnError)
	f.SetOutput(w)
	f.StringVar(&gateway, "url", "http://127.0.0.1:8080", "the gateway's `address` for clients")
	f.StringVar(&o.dialect, "dialect", "id", "the `dialect` that the members speak: id, eventop, or mixed for both in turn")
	f.IntVar(&o.members, "members", 25, "how many people `join` the room")
	f.DurationVar(&o.duration, "duration", 20*time.Second, "how `long` to count packets once everybody receives everybody")
	f.IntVar(&o.load.kbps, "video-kbps", 150, "`kbit` a second of each member's video")
	f.IntVar(&o.load.fps, "video-fps", 15, "video `frames` a second")
	f.Float64Var(&o.joinRate, "join-rate", 0, "`joins` a second; 0: each when the room is whole after the one before")
	f.IntVar(&o.pid, "pid", 0, "the gateway's process `ID`, for its CPU and memory")
	f.StringVar(&admin, "admin", "", "the gateway's administration `address`, for goroutines and what is left afterwards")
	f.BoolVar(&o.json, "json", false, "print one line of JSON instead of a table")
	f.BoolVar(&o.allowRemote, "allow-remote", false, "let the gateway be on another machine; only load your own")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	if f.NArg() > 0 {
		return options{}, fmt.Errorf("what is %q?", f.Arg(0))
	}
	var err error
	if o.gateway, err = o.parseURL(gateway); err != nil {
		return options{}, fmt.Errorf("--url: %w", err)
	}
	if admin != "" {
		if o.admin, err = o.parseURL(admin); err != nil {
			return options{}, fmt.Errorf("--admin: %w", err)
		}
	}
	return o, o.check()
}

func (o options) check() error {
	if _, err := findDialect(o.dialect); err != nil {
		return err
	}
	switch {
	case o.members < 2 || o.members > maxMembers:
		return fmt.Errorf("--members must be from 2 to %d", maxMembers)
	case o.duration < 100*time.Millisecond || o.duration > maxDuration:
		return fmt.Errorf("--duration must be from 100ms to %v", maxDuration)
	case o.load.kbps < 1 || o.load.kbps > maxKbps:
		return fmt.Errorf("--video-kbps must be from 1 to %d", maxKbps)
	case o.load.fps < 1 || o.load.fps > maxFPS:
		return fmt.Errorf("--video-fps must be from 1 to %d", maxFPS)
	case o.joinRate < 0 || o.joinRate > maxJoinRate || math.IsNaN(o.joinRate):
		return fmt.Errorf("--join-rate must be from 0 to %d", maxJoinRate)
	case o.pid < 0:
		return errors.New("--pid must be a process ID")
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
