package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sitter is somebody in a room without media, of whom there can be thousands.
type sitter struct {
	user, room string
	dial       dialect
	clock      clock
	took       atomic.Pointer[trips]      // of its pokes; nil: nobody wants to know
	told       func(n notice, by *sitter) // of what it is told once it is in; may be nil
	line       line                       // set by sit
	listening  sync.WaitGroup             // to it
	echoes     echoes
	answered   atomic.Uint64
}

// errRefused: the gateway said no.
var errRefused = errors.New("was not let in")

// sit connects and joins within limit, and listens from then on.
func (s *sitter) sit(ctx context.Context, web *http.Client, gateway *url.URL, limit time.Duration) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l, err := s.dial(within, web, gateway, s.user)
	if err != nil {
		return err
	}
	if err := s.enter(within, l); err != nil {
		l.hangUp()
		return err
	}
	s.line = l
	s.listening.Go(func() { s.listen(context.WithoutCancel(ctx), l) })
	return nil
}

// enter joins, and passes over what is said until it is in.
func (s *sitter) enter(ctx context.Context, l line) error {
	if err := l.join(ctx, s.room); err != nil {
		return err
	}
	for {
		n, err := l.next(ctx)
		if err != nil {
			return err
		}
		switch n := n.(type) {
		case entered:
			return nil
		case refused:
			return fmt.Errorf("%w: %s", errRefused, n.why)
		default: // of others
		}
	}
}

// listen ends with the line.
func (s *sitter) listen(ctx context.Context, l line) {
	for {
		n, err := l.next(ctx)
		if errors.Is(err, errUnknownMessage) {
			continue // a chat, or its reply
		}
		if err != nil {
			l.hangUp()
			return
		}
		if _, ok := n.(echoed); ok {
			s.answered.Add(1)
			took, ok := s.echoes.came(s.clock.now())
			if to := s.took.Load(); ok && to != nil {
				to.add(took)
			}
		}
		if s.told != nil {
			s.told(n, s)
		}
	}
}

// poke asks for something that was to be asked for at a time.
func (s *sitter) poke(ctx context.Context, at int64) {
	s.echoes.due(at)
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	_ = s.line.poke(ctx) // the line has ended, and nobody answers
}

// rise says goodbye.
func (s *sitter) rise(ctx context.Context) {
	if s.line == nil {
		return
	}
	if err := s.line.leave(ctx); err != nil {
		s.line.hangUp()
	}
	s.listening.Wait()
}

// hall is a crowd of sitters in rooms of some, each dialect in turn.
type hall struct {
	subject *subject
	web     *http.Client
	clock   clock
	crowd   []*sitter
}

func newHall(s *subject, n, perRoom int) *hall {
	h := &hall{subject: s, web: newWeb(), clock: clock{time.Now()}}
	room, first := fmt.Sprintf("c-trial-%08x", rand.Uint32()), firstName()
	for i := range n {
		h.crowd = append(h.crowd, &sitter{
			user: strconv.Itoa(first + i), room: fmt.Sprintf("%s-%d", room, i/perRoom), clock: h.clock,
			dial: crowdDialect(dialectOf(i), s.key(), waiting),
		})
	}
	return h
}

// each lets everybody do something, some at once, and joins what went wrong.
func (h *hall) each(atOnce int, do func(i int, s *sitter) error) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	turns := make(chan struct{}, atOnce)
	for i, s := range h.crowd {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if err := do(i, s); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if len(errs) < maxFaults {
					errs = append(errs, fmt.Errorf("%s: %w", s.user, err))
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// seat lets everybody in.
func (h *hall) seat(ctx context.Context) error {
	return h.each(dialsAtOnce, func(_ int, s *sitter) error { return s.sit(ctx, h.web, h.subject.gateway(), dialLimit) })
}

// rise lets everybody go.
func (h *hall) rise(ctx context.Context) {
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
	defer cancel()
	_ = h.each(len(h.crowd)+1, func(_ int, s *sitter) error { s.rise(bye); return nil })
	h.web.CloseIdleConnections()
}
