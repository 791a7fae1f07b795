package media

import (
	"cmp"
	"slices"
	"time"

	"github.com/pion/rtcp"
)

// bandwidth is what is known of a subscriber's link, and what to do about it. What
// it is too thin for are the larger layers, then the picture; never the voice. A
// link that has been found too thin is tried again, later each time.
type bandwidth struct {
	limit    int       // what the client wants at most, bit/s; 0 when it did not say
	largest  int       // picture that it has use for, in pixels; 0 when it did not say
	estimate int       // what it believes to be able to take, bit/s; 0 when it has not said
	before   int       // the same, when it was last judged
	rose     time.Time // when that was less last, or what is sent became more

	// Of its reports: packets up to the latest and those lost of them, and the same
	// when it was last judged.
	expected, lost             uint32
	expectedBefore, lostBefore uint32
	loss                       float64 // the share that came out of that
	afresh                     bool    // the next report tells of what was lost before the last change, too

	below   int // how many layers below the best it gets
	bad     int // judgements in a row
	badFrom time.Time
	good    int
	trying  bool          // what it gets is more than it was found to bear
	patient time.Duration // before the next try
	retry   time.Time
}

// Of judging a link, which is done once a second.
const (
	lossTooMuch  = 0.15 // a share of packets
	lossSample   = 30   // packets, of which at least a share means something
	lossHopeless = 0.35
	goodToStep   = 3  // judgements in a row
	goodToForget = 15 // after a try that has gone well
	badToStep    = 2 * time.Second
	badToPause   = 3 * time.Second // of the worse kind
	badToGiveUp  = time.Second     // a try, which costs the voice, too
	restAtMost   = 3 * time.Second // of an estimate that rises
	firstRetry   = 5 * time.Second
	retryLater   = 3 // times the wait before; a try takes from the voice, and of the picture that there is
	lastRetry    = time.Minute
)

// verdict is what follows from a judgement.
type verdict int

const (
	stay verdict = iota
	stepDown
	stepUp
	pause
	resume
)

func (v verdict) String() string {
	return [...]string{stay: "stay", stepDown: "smaller", stepUp: "larger", pause: "pause", resume: "resume"}[v]
}

// judge says what to do with a picture of rate bit/s, when lower says whether there
// is a smaller one, and paused that there is none now.
func (b *bandwidth) judge(rate int, lower, paused bool, now time.Time) verdict {
	told := b.sample()
	if paused {
		if now.Before(b.retry) {
			return stay
		}
		b.estimate, b.before = 0, 0 // of a link without a picture
		b.try(now)
		return resume
	}
	// An estimate alone may be of a client that is busy: it counts for a smaller
	// picture, and against any only if packets are lost as well. One that rises is yet
	// to catch up with a larger picture, by 8 % a second at most
	// (draft-ietf-rmcat-gcc-02 section 5.5), and tells nothing.
	thin := b.estimate > 0 && b.estimate*10 < rate*8
	if rising := b.rising(now); thin && rising && b.loss <= lossTooMuch {
		b.bad = 0
		return stay
	}
	if !told && !thin {
		return stay
	}
	tooMuch := thin || b.loss > lossTooMuch
	hopeless := b.loss > lossHopeless || b.loss > lossTooMuch/2 && b.estimate > 0 && b.estimate*10 < rate*5
	if !tooMuch || !lower && !hopeless {
		b.bad = 0
		b.good++
		if b.good >= goodToForget {
			b.patient, b.trying = 0, false
		}
		if b.below > 0 && b.good > goodToStep && !now.Before(b.retry) {
			b.try(now)
			b.afresh = false // what was lost before has been told
			b.below--
			return stepUp
		}
		return stay
	}
	b.good = 0
	if b.bad++; b.bad == 1 {
		b.badFrom = now
	}
	failed := b.trying && thin && b.loss > lossTooMuch // the loss and the estimate agree about a try
	switch {
	case !failed && !b.lastingly(lower, now):
		return stay
	case lower:
		b.wait(now)
		b.below++
		return stepDown
	}
	b.wait(now)
	return pause
}

// lastingly reports whether it has been bad for long enough to do something. The
// judgements, of which few may be of a small picture, are told about once a second.
func (b *bandwidth) lastingly(lower bool, now time.Time) bool {
	enough := badToPause
	switch {
	case b.trying:
		enough = badToGiveUp
	case lower:
		enough = badToStep
	}
	return b.bad > 1 && now.Sub(b.badFrom).Round(time.Second) >= enough
}

// sample works out the share of packets that were lost since it last did. It reports
// false while there are too few to tell, as of a small picture in a second.
func (b *bandwidth) sample() bool {
	expected, lost := int32(b.expected-b.expectedBefore), int32(b.lost-b.lostBefore)
	if expected < 0 || b.afresh && expected > 0 {
		b.expectedBefore, b.lostBefore = b.expected, b.lost
		b.afresh = false
		return false
	}
	if expected < lossSample {
		return false
	}
	b.expectedBefore, b.lostBefore = b.expected, b.lost
	b.loss = float64(min(max(0, lost), expected)) / float64(expected)
	return true
}

// rising reports whether the estimate has risen lately, and not fallen since.
func (b *bandwidth) rising(now time.Time) bool {
	switch {
	case b.before > 0 && b.estimate > b.before:
		b.rose = now
	case b.estimate < b.before:
		b.rose = time.Time{}
	}
	b.before = b.estimate
	return now.Sub(b.rose) <= restAtMost
}

// try begins anew with what may be more than the link bears.
func (b *bandwidth) try(now time.Time) {
	b.forget()
	b.trying, b.rose = true, now
}

// forget lets what was found of one layer not count against another.
func (b *bandwidth) forget() {
	b.bad, b.good, b.loss, b.afresh = 0, 0, 0, true
}

// wait puts the next try off, each time for longer.
func (b *bandwidth) wait(now time.Time) {
	b.forget()
	b.trying = false
	b.patient = min(max(firstRetry, retryLater*b.patient), lastRetry)
	b.retry = now.Add(b.patient)
}

// lossReported notes what a subscriber lost of what was sent. It gives the share to be
// made up for: what was found lost last, unless the link is said to bear no more.
func (l *lane) lossReported(o *outlet, r *rtcp.ReceptionReport) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The count has 24 bits and a sign: what comes twice counts twice.
	o.link.expected, o.link.lost = r.LastSequenceNumber, uint32(int32(r.TotalLost<<8)>>8)
	if o.target != nil && o.link.estimate > 0 && o.link.estimate < o.target.rate {
		return 0
	}
	return o.link.loss
}

// estimateReported notes what a subscriber's link bears.
func (l *lane) estimateReported(o *outlet, rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !o.paused {
		o.link.estimate = rate
	}
}

// assignAll gives each outlet the track that fits it. It gives the tracks that
// somebody waits for a key frame of. It needs l.mu.
func (l *lane) assignAll() (wanted []*track) {
	slices.SortStableFunc(l.tracks, func(a, b *track) int {
		return cmp.Or(cmp.Compare(a.area, b.area), cmp.Compare(a.rate, b.rate))
	})
	for _, o := range l.outlets {
		before := o.target
		l.assign(o)
		if t := o.target; t != nil && t != before && l.kind == video && !slices.Contains(wanted, t) {
			wanted = append(wanted, t)
		}
	}
	return wanted
}

// assign gives an outlet the largest layer that its link and its client's wish
// allow, of those in a format that it takes and that are sent at present. It needs l.mu.
func (l *lane) assign(o *outlet) {
	o.target = nil
	if o.paused || len(l.tracks) == 0 {
		return
	}
	live := l.live()
	best := len(live) - 1
	for best > 0 && o.link.unwanted(live[best], live[best] == o.numbers.source) {
		best--
	}
	if t := live[max(0, best-o.link.below)]; o.takes(t.format) {
		o.target = t
	}
}

// unwanted reports whether a layer is more than the client said it wants. The rate of
// one that it has already may go further over the limit, or one near the limit would
// have the picture change every second. A size does not change so, and says what rates
// do not: a publisher whose own link is thin sends a large picture at a small rate.
func (b *bandwidth) unwanted(t *track, has bool) bool {
	most := b.limit + b.limit/5
	if has {
		most = b.limit + b.limit/2
	}
	return b.limit > 0 && t.rate > most || b.largest > 0 && t.area > b.largest
}

// live gives the tracks that packets come of; all, if none do. It needs l.mu.
func (l *lane) live() []*track {
	live := make([]*track, 0, maxLayers)
	for _, t := range l.tracks {
		if t.rate != 0 {
			live = append(live, t)
		}
	}
	if len(live) == 0 {
		return l.tracks
	}
	return live
}

// measured notes the rate of a track and, if it is a picture, judges the links of
// those who get it.
func (l *lane) measured(t *track, rate int, now time.Time) {
	l.mu.Lock()
	stopped := (t.rate == 0) != (rate == 0)
	if t.rate > 0 && rate > 0 {
		rate = (3*t.rate + rate) / 4 // a key frame alone is no change
	}
	t.rate = rate
	changed := stopped || len(l.tracks) > 1
	if l.kind == video {
		for _, o := range l.outlets {
			// A link without a picture is judged with whatever is published.
			if o.target == t || o.paused && len(l.tracks) > 0 && l.tracks[0] == t {
				changed = l.judge(o, t, now) || changed
			}
		}
	}
	var wanted []*track
	if changed {
		wanted = l.assignAll()
	}
	l.mu.Unlock()
	askAll(wanted)
}

// judge reports whether o is to get something else than before. It needs l.mu.
func (l *lane) judge(o *outlet, t *track, now time.Time) bool {
	live := l.live()
	verdict := o.link.judge(t.rate, len(live) > 1 && live[0] != t, o.paused, now)
	if verdict != stay {
		o.leg.log.Debug("a subscriber's picture changes with its link", "verdict", verdict.String(),
			"rate", t.rate, "estimate", o.link.estimate, "layer", t.layer)
	}
	if verdict == pause {
		o.paused, o.stale = true, true
		o.leg.room.plane.stats.paused.Add(1)
	}
	o.paused = o.paused && verdict != resume
	return verdict != stay
}

// limit notes what a client wants to have at most, as its section says.
func (l *lane) limit(o *outlet, s *section) {
	l.mu.Lock()
	o.link.limit, o.link.largest = int(min(s.limit, 1<<31-1)), s.largest
	var wanted []*track
	if slices.Contains(l.outlets, o) {
		wanted = l.assignAll()
	}
	l.mu.Unlock()
	askAll(wanted)
}
