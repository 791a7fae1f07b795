package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// signalReport is what came of people who sat there.
type signalReport struct {
	Scenario string  `json:"scenario"`
	Dialect  string  `json:"dialect"`
	URL      string  `json:"url"`
	Seconds  float64 `json:"seconds"`

	Sockets       int `json:"sockets"`
	SocketsWanted int `json:"sockets_wanted"`
	Gone          int `json:"gone"` // were not let in, or cut off

	Busy       int     `json:"requests_per_s"`
	RoundTrip  summary `json:"round_trip"` // from when a request was to be made to its answer
	Unanswered int     `json:"unanswered"`
	Late       float64 `json:"sent_late_max_ms"` // the instrument's own lateness, which is in the round trips

	// A call, held when nobody else was there and when all were.
	CallAlone *callTimes `json:"call_alone,omitempty"`
	CallAmong *callTimes `json:"call_among,omitempty"`

	RSSPerSocket    *float64 `json:"rss_bytes_per_socket,omitempty"`
	MicrosPerSocket *float64 `json:"cpu_us_per_socket_s,omitempty"` // a second, the call and the requests included
	Goroutines      *float64 `json:"server_goroutines_per_socket,omitempty"`
	Settled         *bool    `json:"settled,omitempty"`

	Faults     []string `json:"faults,omitempty"`
	FaultCount int      `json:"fault_count"`
}

// callTimes are what callers saw.
type callTimes struct {
	JoinToFirst   summary `json:"join_to_first_packet"`
	JoinToPicture summary `json:"join_to_first_key_frame"`
	Lost          uint64  `json:"lost"`
}

// take takes down what sockets cost to have.
func (r *signalReport) take(began, seated sight) {
	if seated.rss > 0 {
		r.RSSPerSocket = new(perLeg(float64(seated.rss)-float64(began.rss), r.SocketsWanted))
	}
	if seated.gauges != nil {
		r.Goroutines = new(perLeg(seated.gauges[goroutines]-began.gauges[goroutines], r.SocketsWanted))
	}
}

// takeCost takes down what they cost to keep.
func (r *signalReport) takeCost(before, after sight) {
	if after.rss > 0 {
		r.MicrosPerSocket = new(perLeg((after.cpu-before.cpu).Seconds()*1e6/r.Seconds, r.SocketsWanted))
	}
}

func (r *signalReport) ok() bool {
	settled := r.Settled == nil || *r.Settled
	return r.Sockets == r.SocketsWanted && r.Gone == 0 && r.FaultCount == 0 && r.Unanswered == 0 && settled
}

func (r *signalReport) complaints() []string { return r.Faults }

func (r *signalReport) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row(r.Scenario, "%d sockets, %d requests a second, dialect %s, %gs at %s", r.SocketsWanted, r.Busy, r.Dialect, r.Seconds, r.URL)
	row("connected", "%d of %d, %d gone", r.Sockets, r.SocketsWanted, r.Gone)
	row("requests", "%d answered, %d not, sent up to %.1f ms late", r.RoundTrip.N, r.Unanswered, r.Late)
	if r.RSSPerSocket != nil {
		row("server", "%.1f KiB a socket", *r.RSSPerSocket/1024)
	}
	if r.MicrosPerSocket != nil {
		row("", "%.1f µs a socket and second", *r.MicrosPerSocket)
	}
	if r.Goroutines != nil {
		row("goroutines", "%.1f a socket in the server", *r.Goroutines)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	all := []times{{"round trip", r.RoundTrip}}
	for _, call := range []struct {
		when string
		*callTimes
	}{{"alone", r.CallAlone}, {"among them", r.CallAmong}} {
		if call.callTimes != nil {
			all = append(all, times{"join to first packet, " + call.when, call.JoinToFirst},
				times{"join to first key frame, " + call.when, call.JoinToPicture})
		}
	}
	return writeTimes(w, all)
}
