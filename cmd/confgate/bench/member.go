package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
)

var errConnectionFailed = errors.New("connection failed")

// member is one person in the room. It does what a real client's application does:
// on entering it publishes and asks for everybody who is there, later for everybody
// who comes, each as soon as its dialect lets it.
type member struct {
	*stage
	dial  dialect
	index uint16
	user  string
	room  string
	sends bool
	// What it says may be made up.
	babbles bool
	about   string        // for whoever reads the report
	phase   time.Duration // keeps its packets apart from the others'

	line    line
	joined  int64          // when it asked to join
	entered bool           // owned by listen
	before  []string       // who was in the room then; owned by listen
	offers  map[string]int // that wait for an answer, by whose media they are for; owned by listen
	leaving atomic.Bool
	heard   sync.Once // the first packet
	saw     sync.Once // the first key frame of those who were there before
	sees    sync.Once
	seeing  chan struct{} // closed with the first key frame of anybody
	echoes  echoes

	listening, sending sync.WaitGroup
	connected          chan *publication  // takes the member's own once it is up
	hush               context.CancelFunc // ends sending

	mu   sync.Mutex
	up   *publication             // guarded by mu; nil until the member is in the room
	down map[string]*subscription // guarded by mu; by sender
}

// join asks to be let in, over a line that must be up soon. What follows from it is
// seen on the board.
func (m *member) join(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	line, err := m.dial(dialing, m.web, m.gateway, m.user)
	if err != nil {
		return err
	}
	m.line = line
	m.joined = m.clock.now()
	if err := line.join(ctx, m.room); err != nil {
		line.hangUp()
		return err
	}
	sending, hush := context.WithCancel(ctx)
	m.hush = hush
	if m.sends {
		m.sending.Go(func() {
			select {
			case pub := <-m.connected:
				pub.run(sending, m.phase)
			case <-sending.Done():
			}
		})
	}
	m.listening.Go(func() {
		if err := m.listen(ctx); !m.leaving.Load() && ctx.Err() == nil {
			m.board.fault("member %d: %v", m.index, err)
			m.board.note(func(p *progress, _ *timings) { p.gone++ })
		}
	})
	return nil
}

// listen does what the gateway's notices call for, until the line ends, and says
// why it did.
func (m *member) listen(ctx context.Context) error {
	for {
		n, err := m.line.next(ctx)
		if err != nil {
			return err
		}
		switch n := n.(type) {
		case entered:
			m.before = n.others
			err = m.enter(ctx, n.ready)
		case refused:
			err = fmt.Errorf("was not let in: %s", n.why)
		case published:
			err = m.subscribeAll(ctx, n.users)
		case departed:
			m.lose(n.user)
		case answered:
			err = m.answered(n)
		case offered:
			err = m.accept(ctx, n.of, n.sdp)
		case echoed:
			if took, ok := m.echoes.came(m.clock.now()); ok {
				m.trips.add(took)
			}
		case found:
			err = m.with(n.of, func(l link) error { return l.candidate(n.candidate) })
		}
		if err != nil {
			return err
		}
	}
}

func (m *member) enter(ctx context.Context, ready []string) error {
	if m.entered {
		return errors.New("was let in twice")
	}
	m.entered = true
	m.board.note(func(p *progress, _ *timings) { p.joined++ })
	if m.sends {
		if err := m.publish(ctx); err != nil {
			return err
		}
	}
	return m.subscribeAll(ctx, ready)
}

// subscribeAll asks for the media of those of users who send.
func (m *member) subscribeAll(ctx context.Context, users []string) error {
	for _, user := range users {
		other := m.people.find(user)
		if other == nil && m.people.apart {
			continue
		}
		if other == nil || other.room != m.room {
			return fmt.Errorf("was told of %q, who is not of this run", user)
		}
		if !other.sends {
			continue
		}
		told := m.toldOfFlow()
		if slices.Contains(m.before, user) {
			told = m.toldOfFirst()
		}
		if err := m.subscribe(ctx, other, told); err != nil {
			return err
		}
	}
	return nil
}

// publish offers the member's own media, which is sent as soon as it is connected.
func (m *member) publish(ctx context.Context) error {
	var pub *publication
	up := m.upshot(ctx, m.user)
	noted := up.connected
	up.connected = func() {
		noted()
		m.connected <- pub // which has room for the only one
	}
	pub, err := m.engine.publish(m.index, m.load, m.clock, m.window, up)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.up = pub
	m.mu.Unlock()
	return m.offer(ctx, m.user, pub.peer)
}

// toldOfFlow takes note when somebody's media flow.
func (m *member) toldOfFlow() flow {
	return flow{
		first:   func(int64) {},
		picture: func(int64) { m.see() },
		flowing: func() { m.board.note(func(p *progress, _ *timings) { p.flowing++ }) },
	}
}

func (m *member) see() { m.sees.Do(func() { close(m.seeing) }) }

// toldOfFirst is for those who were there before: the first of them to be heard and to
// be seen make the member's own times from the join.
func (m *member) toldOfFirst() flow {
	told := m.toldOfFlow()
	told.first = func(at int64) {
		m.heard.Do(func() { m.timed(at, func(t *timings) *[]time.Duration { return &t.joinToFirst }) })
	}
	told.picture = func(at int64) {
		m.see()
		m.saw.Do(func() { m.timed(at, func(t *timings) *[]time.Duration { return &t.joinToPicture }) })
	}
	return told
}

// subscribe asks for somebody's media.
func (m *member) subscribe(ctx context.Context, other *member, told flow) error {
	of := other.user
	sub := m.engine.subscribe(other.index, m.load, m.clock, m.window, told, m.upshot(ctx, of))
	m.mu.Lock()
	before := m.down[of]
	m.down[of] = sub
	m.mu.Unlock()
	if before != nil { // of somebody who is back
		before.close()
	}
	if line, ok := m.line.(asker); ok {
		return line.ask(ctx, of)
	}
	return m.offer(ctx, of, sub.link)
}

// accept answers the gateway's offer for media that the member asked for.
func (m *member) accept(ctx context.Context, of, sdp string) error {
	line, ok := m.line.(asker)
	if !ok {
		return fmt.Errorf("was offered the media of %q, which it was to offer for itself", of)
	}
	return m.with(of, func(l link) error {
		return l.accept(ctx, sdp, func(ctx context.Context, sdp string) error { return line.answer(ctx, of, sdp) })
	})
}

// timed notes how long after the member asked to join something happened.
func (m *member) timed(at int64, which func(*timings) *[]time.Duration) {
	m.board.note(func(_ *progress, t *timings) {
		list := which(t)
		*list = append(*list, time.Duration(at-m.joined))
	})
}

// answered takes an answer. Where it was asked for somebody twice, since they came back
// before the first answer was there, the first is taken for that to the second offer, and
// the second is one too many: clients log that, and go on.
func (m *member) answered(n answered) error {
	m.offers[n.of]--
	err := m.with(n.of, func(l link) error { return l.answer(n.sdp) })
	if errors.Is(err, errAnswered) && m.offers[n.of] >= 0 {
		return nil
	}
	return err
}

func (m *member) offer(ctx context.Context, of string, l link) error {
	m.offers[of]++
	return l.offer(ctx, func(ctx context.Context, sdp string) error { return m.line.offer(ctx, of, sdp) })
}

// upshot is what becomes of the connection that carries of's media.
func (m *member) upshot(ctx context.Context, of string) upshot {
	offered := m.clock.now()
	return upshot{
		connected: func() {
			now := m.clock.now()
			m.board.note(func(p *progress, t *timings) {
				p.connected++
				t.offerToConnected = append(t.offerToConnected, time.Duration(now-offered))
				t.connectedAt = append(t.connectedAt, now)
			})
		},
		interrupted: func() { m.board.note(func(p *progress, _ *timings) { p.interruptions++ }) },
		failed: func(err error) {
			if !m.leaving.Load() {
				m.board.fault("member %d: media of %s: %v", m.index, of, err)
			}
		},
		found: func(c webrtc.ICECandidateInit) {
			_ = m.line.trickle(ctx, of, c) // if the line is broken, listen says so
		},
	}
}

// with calls do with the connection that carries of's media. A gateway that speaks of
// one that was never asked for breaks its dialect.
func (m *member) with(of string, do func(link) error) error {
	m.mu.Lock()
	var l link
	if of == m.user && m.up != nil {
		l = m.up.peer
	} else if sub := m.down[of]; sub != nil {
		l = sub.link
	}
	m.mu.Unlock()
	if l == nil {
		return fmt.Errorf("was told about the media of %q, which it did not ask for", of)
	}
	return do(l)
}

// lose closes the connection to somebody who left, if they sent anything. What came on
// it still counts.
func (m *member) lose(user string) {
	m.mu.Lock()
	sub := m.down[user]
	m.mu.Unlock()
	if sub != nil {
		sub.close()
	}
}

// media gives the member's connections as they are now; up may be nil.
func (m *member) media() (up *publication, down []*subscription) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, sub := range m.down {
		down = append(down, sub)
	}
	return m.up, down
}

// leave ends everything that join began, the call first. It may be called of a member
// that never joined. What has not ended when ctx is done is left behind.
func (m *member) leave(ctx context.Context) {
	m.leaving.Store(true)
	if m.hush == nil {
		return
	}
	if err := m.line.leave(ctx); err != nil {
		m.line.hangUp()
	}
	m.hush()
	m.sending.Wait()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.listening.Wait()
		up, down := m.media()
		if up != nil {
			up.close()
		}
		for _, sub := range down {
			sub.close()
		}
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		m.board.fault("member %d: connections do not close", m.index)
	}
}
