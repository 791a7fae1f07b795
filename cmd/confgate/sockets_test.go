package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"confgate/transport"
)

func TestSocketSettings(t *testing.T) {
	c, err := loadConfig([]string{"--dev", "--max-sockets", "7", "--max-unregistered-per-ip=0", "--register-timeout", "5s", "--message-rate", "3", "--drawing-rate=0", "--drawing-burst=0",
		"--trusted-proxy", "10.1.2.3/8,192.0.2.1", "--trusted-proxy=2001:db8::/32", "--proxy-header", "Forwarded"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := transport.DefaultLimits()
	want.Sockets, want.UnregisteredPerAddress, want.RegisterTimeout = 7, 0, 5*time.Second
	want.Messages.PerSecond, want.Drawing = 3, transport.Rate{}
	if c.sockets != want {
		t.Errorf("limits: %+v", c.sockets)
	}
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32")}
	if !slices.Equal(c.proxies.Networks, networks) || c.proxies.Header != transport.Forwarded {
		t.Errorf("proxies: %+v", c.proxies)
	}
	for _, bad := range [][]string{
		{"--max-sockets", "-1"}, {"--register-timeout", "-1s"}, {"--max-sockets", "many"},
		{"--trusted-proxy", "proxy.example"}, {"--trusted-proxy", "10.0.0.0/33"}, {"--trusted-proxy", "::ffff:10.0.0.0/104"},
		{"--proxy-header", "X-Real-IP"}, {"--outbox-bytes", "0"}, {"--outbox-events", "0"}, {"--drawing-burst", "0"}, {"--memory-guard", "101"},
	} {
		if _, err := loadConfig(append([]string{"--dev"}, bad...), nil); err == nil || !strings.Contains(err.Error(), bad[0][1:]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
