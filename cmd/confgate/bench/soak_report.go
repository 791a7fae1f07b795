package bench

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// calm is what a gateway has while nobody is there.
type calm struct {
	rest

	Descriptors  int                `json:"file_descriptors"`
	Gauges       map[string]float64 `json:"gauges"` // the gateway's own
	instrumented bool
	panics       float64 // so far
	reloads      float64 // that failed, so far
}

// look has the gateway collect its garbage, and looks at what is left.
func (s *subject) look(ctx context.Context) (*calm, error) {
	seen, err := s.server().rest(ctx)
	if err != nil {
		return nil, err
	}
	open, err := os.ReadDir(filepath.Join(procRoot, strconv.Itoa(s.process.PID()), "fd"))
	if err != nil {
		return nil, err
	}
	c := &calm{rest: *seen.rest(), Descriptors: len(open), Gauges: make(map[string]float64), instrumented: s.instrumented}
	for key, value := range seen.gauges {
		if strings.HasPrefix(key, "confgate_") && !strings.HasPrefix(key, "confgate_build_info") {
			c.Gauges[key] = value
		}
	}
	for key, value := range seen.counts {
		switch {
		case key == "confgate_room_panics_total",
			strings.HasPrefix(key, "confgate_connections_closed_total") && strings.Contains(key, `reason="panicked"`):
			c.panics += value
		case key == `confgate_auth_reloads_total{result="failed"}`:
			c.reloads += value
		}
	}
	return c, nil
}

// rest waits until the gateway has nothing more to do, and is as it was before, if that
// is known; and looks at it.
func (s *subject) rest(ctx context.Context, was *calm) (*calm, error) {
	for deadline := time.Now().Add(auditLimit); ; {
		now, err := s.look(ctx)
		if err != nil {
			return nil, err
		}
		if now.isEmpty() && (was == nil || len(now.leftover(was)) == 0) || time.Now().After(deadline) {
			return now, nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// inhabited are the gauges that are 0 where nobody is.
var inhabited = []string{"confgate_connections", "confgate_legs", "confgate_members", "confgate_people", "confgate_rooms"}

func (c *calm) isEmpty() bool {
	for key, value := range c.Gauges {
		name, _, _ := strings.Cut(key, "{")
		if slices.Contains(inhabited, name) && value != 0 {
			return false
		}
	}
	return true
}

// RSS that ends so much larger than it began is not Go's keeping of memory for later.
const (
	rssSlack      = 1.5
	rssSlackBytes = 48 << 20
)

// leftover names what is more than it was.
func (c *calm) leftover(was *calm) []string {
	var left []string
	more := func(name string, now, before, most float64) {
		if now > most {
			left = append(left, fmt.Sprintf("%s %.0f, was %.0f", name, now, before))
		}
	}
	more("goroutines", c.Goroutines, was.Goroutines, was.Goroutines)
	more("file descriptors", float64(c.Descriptors), float64(was.Descriptors), float64(was.Descriptors))
	more("heap", c.Heap, was.Heap, was.Heap*heapSlack+heapSlackBytes)
	if !c.instrumented {
		more("RSS", float64(c.RSS), float64(was.RSS), float64(was.RSS)*rssSlack+rssSlackBytes)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Gauges)) {
		if c.Gauges[key] != was.Gauges[key] {
			left = append(left, fmt.Sprintf("%s %g, was %g", key, c.Gauges[key], was.Gauges[key]))
		}
	}
	return left
}

// soakReport is what came of a soak.
type soakReport struct {
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"seconds"`
	Rooms   int     `json:"rooms_at_once"`

	Meetings   uint64            `json:"meetings"`
	Guests     map[string]uint64 `json:"guests"` // by how they went
	Joins      uint64            `json:"guests_joined"`
	Departures uint64            `json:"departures_told"` // as one observer of each meeting saw them
	Takeovers  uint64            `json:"takeovers"`
	Freezes    uint64            `json:"programs_frozen"`
	Malformed  uint64            `json:"malformed_frames"`
	Reloads    uint64            `json:"reloads"`
	Silent     summary           `json:"silent_until_cut_off"`
	Deaf       summary           `json:"stalled_until_cut_off"`
	Datagrams  struct {
		Passed    uint64 `json:"passed"`
		Lost      uint64 `json:"lost"`
		Twice     uint64 `json:"twice"`
		Corrupted uint64 `json:"corrupted"`
		Overtaken uint64 `json:"overtaken"`
	} `json:"datagrams_on_bad_lines"`

	Heard    uint64 `json:"messages_checked"`
	Requests uint64 `json:"requests"`
	Replies  uint64 `json:"replies"`
	Chats    uint64 `json:"chats"`
	Expected uint64 `json:"packets_on_sound_lines"`
	Lost     uint64 `json:"lost_on_sound_lines"`

	Before *calm    `json:"before"`
	After  *calm    `json:"after"`
	Left   []string `json:"left,omitempty"`
	Exit   int      `json:"exit_code"`

	Panics     float64  `json:"panics"`
	LogErrors  uint64   `json:"error_log_lines"`
	Violations []string `json:"violations,omitempty"`
	Broken     uint64   `json:"violation_count"`
	Pass       bool     `json:"pass"`

	errors []string // of the log
}

// take takes down what was counted.
func (s *soak) take(r *soakReport) {
	c := s.counts
	r.Meetings, r.Joins, r.Departures = c.meetings.Load(), c.joins.Load(), c.departures.Load()
	r.Takeovers, r.Freezes, r.Malformed, r.Reloads = c.takeovers.Load(), c.freezes.Load(), c.malformed.Load(), c.reloads.Load()
	r.Guests = make(map[string]uint64)
	for name, n := range c.guests {
		r.Guests[name] = n.Load()
	}
	r.Silent, r.Deaf = c.silent.summary(), c.deaf.summary()
	d := &c.datagrams
	r.Datagrams.Passed, r.Datagrams.Lost, r.Datagrams.Twice = d.passed.Load(), d.lost.Load(), d.twice.Load()
	r.Datagrams.Corrupted, r.Datagrams.Overtaken = d.corrupted.Load(), d.overtaken.Load()
	a := &s.account
	r.Heard, r.Requests, r.Replies, r.Chats = a.heard.Load(), a.requests.Load(), a.replies.Load(), a.chats.Load()
	r.Expected, r.Lost = c.expected.Load(), c.lost.Load()
	if r.Before != nil && r.After != nil {
		r.Left, r.Panics = r.After.leftover(r.Before), r.After.panics
		if r.After.reloads > 0 {
			s.violated("%g reloads failed", r.After.reloads)
		}
	}
	r.LogErrors, r.errors = s.subject.log.complaints()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Violations, r.Broken = s.violations, s.broken
	r.Pass = r.After != nil && r.Meetings > 0 && r.Joins > 0 && len(r.Left) == 0 && r.Exit == 0 &&
		r.Panics == 0 && r.LogErrors == 0 && r.Broken == 0 && r.Lost == 0
}

func (r *soakReport) ok() bool { return r.Pass }

func (r *soakReport) complaints() []string {
	return slices.Concat(r.Violations, r.Left, r.errors)
}

func (r *soakReport) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("soak", "%gs, %d rooms at once, both dialects in each, seed %d", r.Seconds, r.Rooms, r.Seed)
	row("meetings", "%d, %d guests joined, %d departures told", r.Meetings, r.Joins, r.Departures)
	var ways []string
	for _, way := range guestWays {
		ways = append(ways, fmt.Sprintf("%s %d", way.name, r.Guests[way.name]))
	}
	row("guests", "%s", strings.Join(ways, ", "))
	row("faults", "%d takeovers, %d programs frozen, %d malformed frames, %d reloads", r.Takeovers, r.Freezes, r.Malformed, r.Reloads)
	d := r.Datagrams
	row("bad lines", "%d datagrams passed, %d lost, %d twice, %d corrupted, %d overtaken", d.Passed, d.Lost, d.Twice, d.Corrupted, d.Overtaken)
	row("checked", "%d messages, %d replies to %d requests, %d chats in order", r.Heard, r.Replies, r.Requests, r.Chats)
	row("media on sound lines", "%d lost of %d packets", r.Lost, r.Expected)
	if b, a := r.Before, r.After; b != nil && a != nil {
		const mib = 1 << 20
		row("goroutines", "%.0f before, %.0f after", b.Goroutines, a.Goroutines)
		row("heap", "%.1f MiB before, %.1f MiB after", b.Heap/mib, a.Heap/mib)
		row("RSS", "%.1f MiB before, %.1f MiB after", float64(b.RSS)/mib, float64(a.RSS)/mib)
		row("file descriptors", "%d before, %d after", b.Descriptors, a.Descriptors)
		row("own gauges", "%d compared", len(a.Gauges))
		row("left behind", "%d", len(r.Left))
	}
	row("panics, errors logged", "%.0f, %d; exit code %d", r.Panics, r.LogErrors, r.Exit)
	row("violations", "%d", r.Broken)
	if err := t.Flush(); err != nil {
		return err
	}
	if err := writeTimes(w, []times{{"silent client until cut off", r.Silent}, {"stalled client until cut off", r.Deaf}}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s (seed %d)\n", verdict(r.Pass), r.Seed)
	return err
}

// verdict is the last word on a trial.
func verdict(pass bool) string {
	if pass {
		return "PASS"
	}
	return "FAIL"
}
