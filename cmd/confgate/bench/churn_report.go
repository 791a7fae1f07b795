package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// churnReport is what came of a churn.
type churnReport struct {
	Scenario string  `json:"scenario"`
	Dialect  string  `json:"dialect"`
	URL      string  `json:"url"`
	Rate     float64 `json:"joins_per_s"`
	Party    int     `json:"members_per_room"`
	Seconds  float64 `json:"seconds"`

	Joins         int `json:"joins"`
	JoinsWanted   int `json:"joins_wanted"`
	Interruptions int `json:"interruptions"`

	JoinToFirst      summary `json:"join_to_first_packet"`
	JoinToPicture    summary `json:"join_to_first_key_frame"`
	OfferToConnected summary `json:"offer_to_connected"`

	// The server's CPU for a join and what follows from it, until it is left again.
	MillisPerJoin *float64 `json:"cpu_ms_per_join,omitempty"`
	// The server while nobody is there.
	Before  *rest `json:"before,omitempty"`
	After   *rest `json:"after,omitempty"`
	Settled *bool `json:"settled,omitempty"`

	Faults     []string `json:"faults,omitempty"`
	FaultCount int      `json:"fault_count"`
}

// rest is what a server has while it does nothing, after a garbage collection.
type rest struct {
	Goroutines float64 `json:"goroutines,omitempty"`
	Heap       float64 `json:"heap_bytes,omitempty"`
	RSS        uint64  `json:"rss_bytes,omitempty"`
}

// rest prefers what the last garbage collection found in use: to have it collect, a
// profile is asked for, and writing that makes garbage, the more, the more there is to
// tell.
func (s sight) rest() *rest {
	heap, ok := s.gauges[heapLive]
	if !ok {
		heap = s.gauges[heapAlloc]
	}
	return &rest{s.gauges[goroutines], heap, s.rss}
}

func (r *churnReport) take(before, busy, after sight) {
	r.Before, r.After = before.rest(), after.rest()
	if used := busy.cpu - before.cpu; used > 0 {
		r.MillisPerJoin = new(round(used.Seconds()*1e3/float64(max(r.Joins, 1)), 3))
	}
}

// A heap that ends so much larger than it began has kept something: the share is for
// tables that grow in steps, the bytes for small heaps.
const (
	heapSlack      = 1.1
	heapSlackBytes = 2 << 20
)

func (r *churnReport) ok() bool {
	settled := r.Settled == nil || *r.Settled
	kept := r.Before != nil && r.After != nil && r.After.Heap > r.Before.Heap*heapSlack+heapSlackBytes
	return r.JoinsWanted > 0 && r.Joins == r.JoinsWanted && r.FaultCount == 0 && settled && !kept
}

func (r *churnReport) complaints() []string { return r.Faults }

func (r *churnReport) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\t%g joins a second, rooms of %d, dialect %s, %gs at %s\n", r.Scenario, r.Rate, r.Party, r.Dialect, r.Seconds, r.URL)
	fmt.Fprintf(t, "joined\t%d of %d, %d connections interrupted\n", r.Joins, r.JoinsWanted, r.Interruptions)
	if r.MillisPerJoin != nil {
		fmt.Fprintf(t, "server\t%.2f ms a join and what follows from it\n", *r.MillisPerJoin)
	}
	if r.Before != nil && r.After != nil {
		for _, row := range []struct {
			name   string
			b, a   float64
			format string
		}{
			{"goroutines", r.Before.Goroutines, r.After.Goroutines, "%.0f"},
			{"heap", r.Before.Heap / (1 << 20), r.After.Heap / (1 << 20), "%.1f MiB"},
			{"RSS", float64(r.Before.RSS) / (1 << 20), float64(r.After.RSS) / (1 << 20), "%.1f MiB"},
		} {
			if row.a > 0 {
				fmt.Fprintf(t, "%s\t%s before, %s after\n", row.name, fmt.Sprintf(row.format, row.b), fmt.Sprintf(row.format, row.a))
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeTimes(w, []times{
		{"join to first packet", r.JoinToFirst},
		{"join to first key frame", r.JoinToPicture},
		{"offer to connected", r.OfferToConnected},
	})
}
