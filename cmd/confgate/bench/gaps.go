package bench

import (
	"slices"
	"sync/atomic"
	"time"
)

const (
	askAgainAfter = 60 * time.Millisecond
	maxAsks       = 8
	maxGap        = 128 // packets missing at once; more are given up
)

// gaps finds the holes in a video track's sequence numbers, as a browser does, so
// that they can be asked for. One goroutine calls arrived; anybody may read the counters.
type gaps struct {
	begun   bool
	highest uint16
	missing []gap // in order of their numbers

	// found counts the packets that were missed, recovered those of them that came
	// in the end.
	found, recovered atomic.Uint64
}

type gap struct {
	seq   uint16
	asked int64 // when last
	times int
}

// arrived notes a packet and gives the numbers to ask for now.
func (g *gaps) arrived(seq uint16, now int64) []uint16 {
	ahead := int16(seq - g.highest)
	switch {
	case !g.begun || ahead > maxGap || ahead < -maxGap: // a new count
		g.begun, g.highest, g.missing = true, seq, g.missing[:0]
	case ahead > 0:
		for s := g.highest + 1; s != seq; s++ {
			g.missing = append(g.missing, gap{seq: s})
			g.found.Add(1)
		}
		g.highest = seq
	default:
		before := len(g.missing)
		g.missing = slices.DeleteFunc(g.missing, func(m gap) bool { return m.seq == seq })
		g.recovered.Add(uint64(before - len(g.missing)))
	}
	if len(g.missing) == 0 {
		return nil
	}
	return g.ask(now)
}

// ask gives the numbers that were not asked for of late, and forgets those that were
// asked for in vain.
func (g *gaps) ask(now int64) []uint16 {
	var due []uint16
	for i := range g.missing {
		m := &g.missing[i]
		if m.times > 0 && now-m.asked < int64(askAgainAfter) {
			continue
		}
		m.asked = now
		if m.times++; m.times <= maxAsks {
			due = append(due, m.seq)
		}
	}
	g.missing = slices.DeleteFunc(g.missing, func(m gap) bool { return m.times > maxAsks })
	if over := len(g.missing) - maxGap; over > 0 {
		g.missing = g.missing[over:]
	}
	return due
}
