package bench

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// stage is what the members of a run share.
type stage struct {
	web     *http.Client
	gateway *url.URL
	people  *people

	engine *engine
	load   load
	clock  clock
	window *window
	board  *board
	trips  trips
}

// newStage makes a stage, which is to be closed once all members have left.
func newStage(o options) (*stage, error) {
	within := loopback
	if o.allowRemote {
		within = anywhere
	}
	engine, err := newEngine(within)
	if err != nil {
		return nil, err
	}
	return &stage{
		web: newWeb(), gateway: o.gateway, people: newPeople(),
		engine: engine, load: o.load,
		clock: clock{time.Now()}, window: newWindow(), board: newBoard(),
	}, nil
}

// newWeb makes an HTTP client that goes straight to where it is sent.
func newWeb() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 4}}
}

func (s *stage) close() {
	s.web.CloseIdleConnections()
	s.engine.close()
}

// firstName gives the first of the names of a run's members. They are numbers, because
// some dialects' are, and nobody else's, because joining under somebody's name would
// push them out.
func firstName() int { return 1_000_000_000 + rand.IntN(10_000)*100_000 }

// member makes a member who neither has a room nor sends.
func (s *stage) member(index uint16, name int, dial dialect) *member {
	m := &member{
		stage: s, dial: dial, index: index, user: strconv.Itoa(name),
		connected: make(chan *publication, 1), down: make(map[string]*subscription), offers: make(map[string]int),
		seeing: make(chan struct{}),
	}
	s.people.add(m)
	return m
}

// leave lets everybody of crowd go at once.
func (s *stage) leave(ctx context.Context, crowd []*member) {
	var goodbyes sync.WaitGroup
	for _, m := range crowd {
		m.leaving.Store(true)
	}
	for _, m := range crowd {
		goodbyes.Go(func() { m.leave(ctx) })
	}
	goodbyes.Wait()
	s.web.CloseIdleConnections() // they would count among the gateway's goroutines
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// untilStep is the time between looks, of until.
const untilStep = 5 * time.Millisecond

// until waits until done, or until ctx ends.
func until(ctx context.Context, done func() bool) {
	for !done() {
		if pause(ctx, untilStep) != nil {
			return
		}
	}
}
