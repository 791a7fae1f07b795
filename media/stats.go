package media

import (
	"sync/atomic"

	"github.com/pion/rtcp"

	"confgate/core"
)

// Stats are a plane's counters since it was made, and its gauges as they are now.
type Stats struct {
	Uplinks, Downlinks LegStats

	Received, Forwarded Traffic

	// Lost counts publishers' packets that were missed and did not come when they
	// were asked for again.
	Lost uint64
	// Retransmitted counts packets sent again to subscribers who reported them lost.
	Retransmitted uint64
	// KeyframeRequests counts the PLIs sent to publishers.
	KeyframeRequests uint64
	// Dropped counts packets to subscribers that the kernel had no room for, or the
	// queue of a client over TCP that reads too slowly.
	Dropped uint64
	// Paused counts pictures that were withheld from a link too thin for them.
	Paused uint64
	// Refused counts packets that were not authentic, or of no stream agreed on.
	Refused uint64
	// Strangers counts packets of nobody we know: checks that are not authentic, and
	// what comes from where no check has come before.
	Strangers uint64

	// Loss and Jitter are what receivers report of a stream (RFC 3550 section 6.4.1),
	// about once a second: we of uplinks, clients of downlinks. Loss is a share of
	// the packets, jitter is in seconds.
	UpLoss, UpJitter, DownLoss, DownJitter Histogram
}

// Histogram counts values by size. Counts[i] are those of at most Bounds[i] and more
// than the bound before; the last count is of all larger ones.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// LegStats counts the legs of one direction.
type LegStats struct {
	Connecting, Connected int
	// Failed counts the legs that died by themselves since the plane was made.
	Failed uint64
}

// Traffic counts RTP packets and their bytes, headers included.
type Traffic struct{ Packets, Bytes uint64 }

// counters are what Stats is made of. They are indexed by direction.
type counters struct {
	connecting, connected [2]atomic.Int64
	failed                [2]atomic.Uint64

	received, receivedBytes   atomic.Uint64
	forwarded, forwardedBytes atomic.Uint64

	lost, retransmitted, keyframes      atomic.Uint64
	dropped, paused, refused, strangers atomic.Uint64

	loss, jitter [2]histogram
}

// What loss and jitter are counted by.
var (
	lossBounds   = [...]float64{0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5}
	jitterBounds = [...]float64{0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2}
)

type histogram struct {
	counts [len(lossBounds) + 1]atomic.Uint64
	sum    atomic.Uint64 // in millionths
}

func (h *histogram) observe(v float64, bounds *[len(lossBounds)]float64) {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(uint64(v * 1e6))
}

func (h *histogram) read(bounds *[len(lossBounds)]float64) Histogram {
	out := Histogram{Bounds: bounds[:], Sum: float64(h.sum.Load()) / 1e6}
	for i := range h.counts {
		out.Counts = append(out.Counts, h.counts[i].Load())
	}
	return out
}

// observe takes a report of a stream whose timestamps count at rate, in Hz.
func (c *counters) observe(dir int, r *rtcp.ReceptionReport, rate uint32) {
	c.loss[dir].observe(float64(r.FractionLost)/256, &lossBounds)
	c.jitter[dir].observe(float64(r.Jitter)/float64(rate), &jitterBounds)
}

const (
	uplink   = 0
	downlink = 1
)

func direction(l core.Leg) int {
	if l.Up() {
		return uplink
	}
	return downlink
}

// Stats is a snapshot. Its fields are read one by one, so they may be a packet
// apart from each other.
func (p *Plane) Stats() Stats {
	c := &p.stats
	legs := func(dir int) LegStats {
		return LegStats{
			Connecting: int(c.connecting[dir].Load()),
			Connected:  int(c.connected[dir].Load()),
			Failed:     c.failed[dir].Load(),
		}
	}
	return Stats{
		Uplinks:          legs(uplink),
		Downlinks:        legs(downlink),
		Received:         Traffic{c.received.Load(), c.receivedBytes.Load()},
		Forwarded:        Traffic{c.forwarded.Load(), c.forwardedBytes.Load()},
		Lost:             c.lost.Load(),
		Retransmitted:    c.retransmitted.Load(),
		KeyframeRequests: c.keyframes.Load(),
		Dropped:          c.dropped.Load(),
		Paused:           c.paused.Load(),
		Refused:          c.refused.Load(),
		Strangers:        c.strangers.Load(),
		UpLoss:           c.loss[uplink].read(&lossBounds),
		UpJitter:         c.jitter[uplink].read(&jitterBounds),
		DownLoss:         c.loss[downlink].read(&lossBounds),
		DownJitter:       c.jitter[downlink].read(&jitterBounds),
	}
}
