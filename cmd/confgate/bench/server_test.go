package bench

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const metrics = `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 23
# TYPE confgate_legs gauge
confgate_legs{direction="down",state="connected"} 6e+02
confgate_legs{direction="up",state="connected"} 25
# TYPE confgate_packets_total counter
confgate_packets_total 12345
# TYPE confgate_join_seconds histogram
confgate_join_seconds_bucket{le="+Inf"} 3
`

func TestParseMetrics(t *testing.T) {
	got, counts, err := parseMetrics(strings.NewReader(metrics))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[goroutines] != 23 || got[`confgate_legs{direction="down",state="connected"}`] != 600 || len(counts) != 1 || counts["confgate_packets_total"] != 12345 {
		t.Errorf("%v %v", got, counts)
	}
	if _, _, err := parseMetrics(strings.NewReader("# TYPE x gauge\nx many\n")); err == nil {
		t.Error("a gauge of many is taken")
	}
}

func TestLeftover(t *testing.T) {
	before := sight{gauges: map[string]float64{goroutines: 20, "confgate_rooms": 1, "go_threads": 5}}
	after := sight{gauges: map[string]float64{goroutines: 22, "confgate_rooms": 0, "go_threads": 9, "confgate_legs": 1}}
	if got, want := after.leftover(before), []string{"confgate_legs 1, was 0", "go_goroutines 22, was 20"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if left := before.leftover(before); left != nil {
		t.Errorf("%q", left)
	}
}

// TestSettles: a run that names the administration port waits until nothing is left.
func TestSettles(t *testing.T) {
	_, gateway := newTestGateway(t, nothingLost)
	var looks atomic.Int32
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := metrics
		if n := looks.Add(1); n == 3 || n == 4 { // the window's end, and the first look after it
			text = strings.ReplaceAll(metrics, "go_goroutines 23", "go_goroutines 41")
		}
		_, _ = w.Write([]byte(text))
	}))
	defer admin.Close()
	u, err := url.Parse(admin.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, rep := hold(t, gateway, func(o *options) { o.admin, o.pid = u, os.Getpid() })
	if !rep.ok() || looks.Load() != 5 || rep.Settled == nil || !*rep.Settled || *rep.Goroutines != 2 {
		t.Errorf("%d looks, %+v", looks.Load(), rep)
	}
	if rep.Server == nil || rep.Server.RSS == 0 {
		t.Errorf("server %+v", rep.Server)
	}
}

func TestUsage(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "7")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "7 (a) b (c)) S 1 7 7 0 -1 4194560 5084 0 0 0 1234 66 0 0 20 0 9 0 84 1 2 18446744073709551615\n")
	write("status", "Name:\tx\nVmHWM:\t 999 kB\nVmRSS:\t   2048 kB\nThreads:\t9\n")
	got, err := usageOf(root, 7)
	if want := (usage{13 * time.Second, 2 << 20}); err != nil || got != want {
		t.Errorf("usageOf = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "7 (a) S 1 2", "7 (a) S 1 7 7 0 -1 4194560 5084 0 0 0 x 66 0"} {
		write("stat", bad)
		if _, err := usageOf(root, 7); err == nil {
			t.Errorf("stat %q is taken", bad)
		}
	}
	if _, err := usageOf(root, 8); err == nil {
		t.Error("a process that is not there was read")
	}
	if _, err := parseStatus([]byte("Name: x\n")); err == nil {
		t.Error("a status without VmRSS is taken")
	}
}

func TestParseSNMP(t *testing.T) {
	const text = `Tcp: RtoAlgorithm RtoMin
Tcp: 1 200
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
Udp: 1000 2 7 900 5 2 0
UdpLite: InDatagrams RcvbufErrors
UdpLite: 9 9
`
	if got := parseSNMP(text); got != 7 {
		t.Errorf("parseSNMP = %d, want 7", got)
	}
	if got := parseSNMP("Udp: RcvbufErrors\n"); got != 0 {
		t.Errorf("without values: %d", got)
	}
}
