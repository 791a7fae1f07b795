package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// report is what came of a run; as JSON it is one line. Members and legs are those
// that came about; the wanted ones stand beside them.
type report struct {
	Scenario string  `json:"scenario"`
	Dialect  string  `json:"dialect"`
	URL      string  `json:"url"`
	Seconds  float64 `json:"seconds"`
	Silent   bool    `json:"silent,omitempty"` // nobody was to send anything

	Members       int `json:"members"`
	MembersWanted int `json:"members_wanted"`
	Legs          int `json:"legs"` // connections that came up: one to publish and one for each other member
	LegsWanted    int `json:"legs_wanted"`

	Expected uint64  `json:"expected"` // packets of the window, over all pairs
	Received uint64  `json:"received"`
	Loss     float64 `json:"loss"`     // the share of expected packets that never came
	LostIn   uint64  `json:"lost_in"`  // came to nobody: lost before or in the gateway
	LostOut  uint64  `json:"lost_out"` // came to others: lost behind it

	// Of the window too: video packets that left a gap, and those of them that came
	// later, because they were asked for or by themselves.
	Missed     uint64 `json:"nack_missed"`
	Recovered  uint64 `json:"nack_recovered"`
	Duplicates uint64 `json:"duplicates"`
	// Over the whole run.
	Strays        uint64 `json:"strays"`        // packets that a connection was not to carry
	Interruptions int    `json:"interruptions"` // of connections, for a while
	// Datagrams that the kernel dropped in the window for want of buffer space, on the
	// whole machine: neither side's fault but the load's.
	KernelDrops uint64 `json:"kernel_drops"`

	SetupSeconds     float64 `json:"setup_s"`
	JoinToFirst      summary `json:"join_to_first_packet"`
	JoinToPicture    summary `json:"join_to_first_key_frame"`
	JoinToWhole      summary `json:"join_to_whole_room"`
	OfferToConnected summary `json:"offer_to_connected"`
	Delay            summary `json:"packet_delay"`
	SentLate         summary `json:"sent_late"` // the instrument's own lateness
	// Packets and frames that the instrument was too late to send at all.
	Skipped uint64 `json:"skipped"`

	Server    *cost `json:"server,omitempty"`
	Generator *cost `json:"generator,omitempty"`
	// What the gateway's metrics say: goroutines that it has for each leg, and whether
	// it came back to where it began.
	Goroutines *float64 `json:"server_goroutines_per_leg,omitempty"`
	Settled    *bool    `json:"settled,omitempty"`

	Faults     []string `json:"faults,omitempty"`
	FaultCount int      `json:"fault_count"`
}

// cost is what one side used in the window.
type cost struct {
	Cores           float64 `json:"cores"`
	MicrosPerPacket float64 `json:"cpu_us_per_packet"`          // of those received
	MillisPerJoin   float64 `json:"cpu_ms_per_join,omitempty"`  // without what the legs cost that were up
	MicrosPerLeg    float64 `json:"cpu_us_per_leg_s,omitempty"` // a second, whatever goes over it
	RSSPerLeg       float64 `json:"rss_bytes_per_leg,omitempty"`
	RSS             uint64  `json:"rss_bytes"`
}

func (r *call) newReport() *report {
	o := r.options
	return &report{
		Scenario: o.scenario, Dialect: o.dialect, URL: o.gateway.String(),
		Seconds: o.duration.Seconds(), MembersWanted: o.members, LegsWanted: r.whole[o.members].legs,
		Silent: o.load.isSilent(),
	}
}

// count takes down what came of the window's packets. repaired is from before it.
func (r *call) count(rep *report, repaired repairs) {
	sum := r.tally()
	rep.Expected, rep.Received, rep.Loss = sum.expected, sum.received, sum.loss()
	rep.LostIn, rep.LostOut = sum.lostIn, sum.lost()-sum.lostIn
	now := r.repairs()
	rep.Missed, rep.Recovered = now.missed-repaired.missed, now.recovered-repaired.recovered
}

// finish takes down what members saw, once they have left.
func (r *call) finish(rep *report) {
	now, took, faults := r.stage.board.read()
	rep.Members, rep.Legs, rep.Interruptions = now.joined, now.connected, now.interruptions
	rep.Faults, rep.FaultCount = faults, now.faults
	rep.JoinToFirst, rep.JoinToPicture = summarize(took.joinToFirst), summarize(took.joinToPicture)
	rep.JoinToWhole, rep.OfferToConnected = summarize(took.joinToWhole), summarize(took.offerToConnected)
	var delay, late spread
	for _, m := range r.crowd {
		up, down := m.media()
		if up != nil {
			late.merge(&up.late)
			rep.Skipped += up.skipped
		}
		for _, sub := range down {
			sub.mu.Lock()
			delay.merge(&sub.delay)
			sub.mu.Unlock()
			rep.Duplicates += sub.duplicates.Load()
			rep.Strays += sub.strays.Load()
		}
	}
	rep.Delay, rep.SentLate = delay.summary(), late.summary()
}

// costs takes down what the server used from before to after; began is from before
// the first join.
func (r *call) costs(rep *report, began, before, after sight) {
	now, _, _ := r.stage.board.read()
	rep.KernelDrops = after.drops - before.drops
	if r.options.pid != 0 {
		rep.Server = newCost(before.usage, after.usage, r.stage.window.open(), rep.Received)
		rep.Server.RSSPerLeg = perLeg(float64(after.rss)-float64(began.rss), now.connected)
		rep.Server.MicrosPerLeg = perLeg(rep.Server.Cores*1e6, now.connected)
	}
	if r.options.admin != nil {
		rep.Goroutines = new(perLeg(after.gauges[goroutines]-began.gauges[goroutines], now.connected))
	}
}

// joinCost takes down what a join costs the server. The legs that were up already cost
// something too in that time: what they do in the window is taken off.
func (r *call) joinCost(rep *report, joining rush, before, after sight) {
	if rep.Server == nil || joining.joins == 0 {
		return
	}
	_, took, _ := r.stage.board.read()
	var up time.Duration // of all legs together
	for _, at := range took.connectedAt {
		if at < joining.to {
			up += time.Duration(joining.to - max(at, joining.from))
		}
	}
	steady := (after.cpu - before.cpu).Seconds() / r.stage.window.open().Seconds() / float64(max(len(took.connectedAt), 1))
	used := (joining.after.cpu - joining.before.cpu).Seconds() - steady*up.Seconds()
	rep.Server.MillisPerJoin = round(max(used, 0)*1e3/float64(joining.joins), 3)
}

func newCost(before, after usage, over time.Duration, packets uint64) *cost {
	used := (after.cpu - before.cpu).Seconds()
	c := &cost{Cores: round(used/over.Seconds(), 3), RSS: after.rss}
	if packets > 0 {
		c.MicrosPerPacket = round(used*1e6/float64(packets), 2)
	}
	return c
}

func perLeg(v float64, legs int) float64 { return round(v/float64(max(legs, 1)), 1) }

func (r *report) ok() bool {
	return r.Members == r.MembersWanted && r.Legs == r.LegsWanted && r.FaultCount == 0 &&
		(r.Expected > 0 || r.Silent) && r.Received == r.Expected && r.Strays == 0
}

func (r *report) complaints() []string { return r.Faults }

func (r *report) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row(r.Scenario, "%d members, dialect %s, %gs at %s", r.MembersWanted, r.Dialect, r.Seconds, r.URL)
	row("joined", "%d of %d in %.1fs", r.Members, r.MembersWanted, r.SetupSeconds)
	row("connected", "%d of %d legs", r.Legs, r.LegsWanted)
	row("packets", "%d expected, %d received", r.Expected, r.Received)
	row("loss", "%.4f%%: %d on the way in, %d on the way out", r.Loss*100, r.LostIn, r.LostOut)
	row("repair", "%d of video missed, %d of them recovered", r.Missed, r.Recovered)
	row("oddities", "%d duplicates, %d strays, %d connections interrupted", r.Duplicates, r.Strays, r.Interruptions)
	if r.Skipped > 0 {
		row("too slow", "%d packets and frames were not sent for want of CPU", r.Skipped)
	}
	row("kernel", "%d datagrams dropped for want of buffer space", r.KernelDrops)
	if c := r.Server; c != nil {
		row("server", "%.2f cores, %.2f µs a forwarded packet, %.0f µs a leg and second", c.Cores, c.MicrosPerPacket, c.MicrosPerLeg)
		row("", "%.2f ms a join, %.0f KiB a leg", c.MillisPerJoin, c.RSSPerLeg/1024)
	}
	if r.Goroutines != nil {
		row("goroutines", "%.1f a leg in the server", *r.Goroutines)
	}
	if c := r.Generator; c != nil {
		row("generator", "%.2f cores, %.2f µs a received packet, %.0f MiB", c.Cores, c.MicrosPerPacket, float64(c.RSS)/(1<<20))
	}
	if r.Settled != nil {
		row("afterwards", "%s", map[bool]string{true: "as before", false: "not as before"}[*r.Settled])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeTimes(w, []times{
		{"join to first packet", r.JoinToFirst},
		{"join to first key frame", r.JoinToPicture},
		{"join to whole room", r.JoinToWhole},
		{"offer to connected", r.OfferToConnected},
		{"packet delay", r.Delay},
		{"sent late", r.SentLate},
	})
}

// times is a row of how long something took.
type times struct {
	name string
	summary
}

func writeTimes(w io.Writer, all []times) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nmilliseconds\tn\tp50\tp99\tmax\t")
	for _, row := range all {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t\n", row.name, row.N, row.P50, row.P99, row.Max)
	}
	return t.Flush()
}

func round(v float64, digits int) float64 {
	scale := 1.0
	for range digits {
		scale *= 10
	}
	return float64(int64(v*scale+0.5)) / scale
}
