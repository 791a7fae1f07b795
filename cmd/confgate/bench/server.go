package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// server is the gateway seen from outside: as a process, and by its metrics. Either
// may be unknown.
type server struct {
	pid   int      // 0: unknown
	admin *url.URL // of its administration port; nil: unknown
	web   *http.Client
}

// sight is one look at the server.
type sight struct {
	usage
	gauges map[string]float64 // by name and labels, as in the exposition format
	counts map[string]float64 // counters, likewise
	drops  uint64             // see droppedUDP
}

// Gauges that the Go collector of Prometheus' client has.
const (
	goroutines = "go_goroutines"
	heapAlloc  = "go_memstats_heap_alloc_bytes"
	heapLive   = "go_gc_heap_live_bytes" // not of every server
)

// look reads what there is to know.
func (s *server) look(ctx context.Context) (sight, error) {
	seen := sight{drops: droppedUDP()}
	var err error
	if s.pid != 0 {
		if seen.usage, err = usageOf(procRoot, s.pid); err != nil {
			return sight{}, fmt.Errorf("look at the server's process: %w", err)
		}
	}
	if s.admin != nil {
		if seen.gauges, seen.counts, err = s.scrape(ctx); err != nil {
			return sight{}, fmt.Errorf("look at the server's metrics: %w", err)
		}
	}
	return seen, nil
}

// rest looks at a server that does nothing, once it has collected its garbage; a
// server without Go's profiles is seen as it is.
func (s *server) rest(ctx context.Context) (sight, error) {
	if s.admin != nil {
		at := s.admin.JoinPath("debug", "pprof", "heap")
		at.RawQuery = "gc=1"
		for range 2 { // what is pooled goes with the second
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
			if err != nil {
				return sight{}, err
			}
			response, err := s.web.Do(request)
			if err != nil {
				return sight{}, fmt.Errorf("have the server collect its garbage: %w", err)
			}
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if err != nil {
				return sight{}, fmt.Errorf("have the server collect its garbage: %w", err)
			}
		}
	}
	return s.look(ctx)
}

func (s *server) scrape(ctx context.Context) (gauges, counts map[string]float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admin.JoinPath("metrics").String(), nil)
	if err != nil {
		return nil, nil, err
	}
	response, err := s.web.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("GET %s: %s", request.URL, response.Status)
	}
	const most = 4 << 20
	return parseMetrics(io.LimitReader(response.Body, most))
}

// parseMetrics reads the gauges and counters of the Prometheus text format, version 0.0.4.
func parseMetrics(r io.Reader) (gauges, counts map[string]float64, err error) {
	gauges, counts = make(map[string]float64), make(map[string]float64)
	types := make(map[string]string)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, typ, _ := strings.Cut(rest, " ")
			types[name] = typ
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || cut < 0 {
			continue
		}
		key := line[:cut]
		name, _, _ := strings.Cut(key, "{")
		to := map[string]map[string]float64{"gauge": gauges, "counter": counts}[types[name]]
		if to == nil {
			continue
		}
		if to[key], err = strconv.ParseFloat(line[cut+1:], 64); err != nil {
			return nil, nil, fmt.Errorf("metric %q: %w", key, err)
		}
	}
	return gauges, counts, lines.Err()
}

// settleFor is how long the gateway may take to be as it was before a run.
const settleFor = 15 * time.Second

var errUnsettled = errors.New("the gateway is not as it was before the run")

// settle waits until the gateway is as it was, and says whether it is; nil where there
// is no way to know. What is left then is a fault.
func (s *server) settle(ctx context.Context, began sight, b *board) (*bool, error) {
	if s.admin == nil {
		return nil, nil
	}
	for deadline := time.Now().Add(settleFor); ; {
		now, err := s.look(ctx)
		if err != nil {
			return nil, err
		}
		left := now.leftover(began)
		if len(left) == 0 {
			return new(true), nil
		}
		if time.Now().After(deadline) {
			b.fault("%v: %v", errUnsettled, left)
			return new(false), nil
		}
		if err := pause(ctx, time.Second/4); err != nil {
			return nil, err
		}
	}
}

// leftover names what is more than it was: goroutines, and anything else that the
// gateway itself measures.
func (s sight) leftover(before sight) []string {
	var left []string
	for key, now := range s.gauges {
		was := before.gauges[key]
		if (key == goroutines || strings.HasPrefix(key, "confgate_")) && now > was {
			left = append(left, fmt.Sprintf("%s %g, was %g", key, now, was))
		}
	}
	slices.Sort(left)
	return left
}
