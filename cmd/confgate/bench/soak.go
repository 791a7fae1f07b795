package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// parseSoak declares the flags of a soak.
func parseSoak(f *trialFlags) {
	f.DurationVar(&f.trial.duration, "duration", 30*time.Minute, "how `long` guests come")
	f.IntVar(&f.trial.rooms, "rooms", 4, "`rooms` that are used at once")
	f.IntVar(&f.trial.guests, "guests", 6, "most `guests` in a room at once")
	f.BoolVar(&f.trial.instrumented, "instrumented", false, "the gateway has the race detector in it, whose memory is told and not judged")
	f.Func("corpus", "`folder` with a Go fuzz corpus of frames (repeatable)", func(folder string) error {
		f.trial.corpora = append(f.trial.corpora, folder)
		return nil
	})
}

// soak is people who come and go for a long time, in rooms that come and go, while their
// lines break in every way; and an audit of what is left of them.
type soak struct {
	trial   trial
	subject *subject
	engine  *engine
	people  *people
	web     *http.Client // of those on sound lines
	mangler *mangler
	first   int // the first member's name
	come    atomic.Int64
	counts  *counts
	account account
	began   atomic.Int64 // Unix nanoseconds

	mu         sync.Mutex
	violations []string // guarded by mu: the first of them
	broken     uint64   // guarded by mu
}

func newSoak(t trial) (scenario, error) {
	if t.seed == 0 {
		t.seed = rand.Uint64()
	}
	if t.rooms == 0 || t.guests == 0 {
		return nil, errors.New("a soak needs rooms and guests")
	}
	m, err := newMangler(t.corpora)
	if err != nil {
		return nil, err
	}
	return &soak{
		trial: t, mangler: m, people: newPeople(), web: newWeb(), first: firstName(), counts: newCounts(),
	}, nil
}

// violated notes that a promise was broken.
func (s *soak) violated(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken++
	if len(s.violations) < maxFaults {
		s.violations = append(s.violations, fmt.Sprintf(format, args...))
	}
}

func (s *soak) run(ctx context.Context) (_ result, err error) {
	if s.subject, err = newSubject(s.trial.programs, s.trial.serve...); err != nil {
		return nil, err
	}
	defer s.subject.close()
	s.subject.instrumented = s.trial.instrumented
	if s.engine, err = newEngine(loopback); err != nil {
		return nil, err
	}
	defer s.engine.close()
	defer s.web.CloseIdleConnections()
	rep := &soakReport{Seed: s.trial.seed, Rooms: s.trial.rooms}
	err = s.soak(ctx, rep)
	s.take(rep)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errIncomplete, context.Cause(ctx))
	}
	return rep, err
}

// The times of a soak.
const (
	warmUp      = 6 * time.Second
	meetLeast   = 15 * time.Second
	meetMore    = 75 * time.Second
	reloadLeast = 2 * time.Second
	reloadMore  = 10 * time.Second
	strayEvery  = 300 * time.Millisecond
	auditLimit  = 60 * time.Second
)

// soak lets people come. What is made once and kept for good is there before it counts.
func (s *soak) soak(ctx context.Context, rep *soakReport) error {
	if err := s.subject.begin(ctx); err != nil {
		return err
	}
	s.began.Store(time.Now().UnixNano())
	if err := s.churn(ctx, s.trial.seed, min(warmUp, s.trial.duration)); err != nil {
		return err
	}
	s.web.CloseIdleConnections()
	before, err := s.subject.rest(ctx, nil)
	if err != nil {
		return err
	}
	rep.Before = before
	from := time.Now()
	if err := s.churn(ctx, s.trial.seed+1, s.trial.duration); err != nil {
		return err
	}
	rep.Seconds = round(time.Since(from).Seconds(), 1)
	s.web.CloseIdleConnections()
	if rep.After, err = s.subject.rest(ctx, before); err != nil {
		return err
	}
	rep.Exit, err = s.subject.stop(syscall.SIGTERM)
	return err
}

// churn has everything go on for d.
func (s *soak) churn(ctx context.Context, seed uint64, d time.Duration) error {
	rng := seeded(seed)
	going, stop := context.WithTimeout(ctx, d)
	defer stop()
	var all sync.WaitGroup
	failed := make(chan error, s.trial.rooms)
	for i := range s.trial.rooms {
		seed := rng.Uint64()
		all.Go(func() {
			if err := s.useRoom(going, i, seed); err != nil {
				failed <- err
				stop()
			}
		})
	}
	strays, reloads := rng.Uint64(), rng.Uint64()
	all.Go(func() { s.stray(going, strays) })
	all.Go(func() { s.reload(going, reloads) })
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

// seeded draws the same for the same seed. When what was drawn happens, and among what
// else, is up to the machine.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// useRoom holds one meeting after another in a room; all of them have its name.
func (s *soak) useRoom(ctx context.Context, i int, seed uint64) error {
	rng := seeded(seed)
	for ctx.Err() == nil {
		m := &meeting{
			soak: s, room: fmt.Sprintf("c-soak-%d", i), tag: fmt.Sprintf("%08x", rng.Uint32()), rng: rng,
			clock: clock{time.Now()}, window: newWindow(), board: newBoard(),
		}
		err := m.run(ctx, meetLeast+time.Duration(rng.Float64()*float64(meetMore)))
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // it did not come about any more
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reload has the gateway read its keys again now and then.
func (s *soak) reload(ctx context.Context, seed uint64) {
	rng := seeded(seed)
	for pause(ctx, reloadLeast+time.Duration(rng.Float64()*float64(reloadMore))) == nil {
		if err := s.subject.turnKeys(); err != nil {
			s.violated("reload: %v", err)
			return
		}
		s.counts.reloads.Add(1)
	}
}

// stray has people come who never say who they are, and say what makes no sense.
func (s *soak) stray(ctx context.Context, seed uint64) {
	rng := seeded(seed)
	tick := time.NewTicker(strayEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.comesBy(ctx, seeded(rng.Uint64()))
	}
}

// comesBy is one of them.
func (s *soak) comesBy(ctx context.Context, rng *rand.Rand) {
	r := newRoad(address(rng))
	defer r.close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialLimit)
	defer cancel()
	var c carrier
	var err error
	if rng.IntN(2) == 0 {
		c, err = dialSockJS(ctx, r.web, s.subject.gateway().JoinPath("rtc"))
	} else {
		c, err = dialSocketIO(ctx, r.web, s.subject.gateway().JoinPath("socket.io/"), "knowledgetalk")
	}
	if err != nil {
		s.violated("somebody could not connect: %v", err)
		return
	}
	defer c.hangUp()
	for range rng.IntN(20) {
		if shout(ctx, c, s.mangler.next(rng), rng.IntN(2) == 0) != nil {
			break
		}
		s.counts.malformed.Add(1)
	}
	if rng.IntN(2) == 0 {
		r.reset()
	}
}

func (s *soak) progressLine() string {
	s.mu.Lock()
	violated := s.broken
	s.mu.Unlock()
	gone := time.Duration(0)
	if at := s.began.Load(); at != 0 {
		gone = time.Since(time.Unix(0, at)).Truncate(time.Second)
	}
	return fmt.Sprintf("%v  meetings %d  joins %d  leaves %d  checked %d  violations %d",
		gone, s.counts.meetings.Load(), s.counts.joins.Load(), s.counts.departures.Load(), s.account.heard.Load(), violated)
}
