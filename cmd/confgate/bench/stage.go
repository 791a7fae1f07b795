package bench

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// stage is what the members of a run share.
type stage struct {
	web     *http.Client
	gateway *url.URL
	crowd   map[string]*member // everybody who may be met, by name

	engine *engine
	load   load
	clock  clock
	window *window
	board  *board
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
		web: newWeb(), gateway: o.gateway, crowd: make(map[string]*member),
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
		connected: make(chan *publication, 1), down: make(map[string]*subscription),
	}
	s.crowd[m.user] = m
	return m
}
