package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// meeting is what happens in one room from the first who comes to the last who goes.
// Two observers, one of each dialect, are there all the time: on sound lines, sending and
// receiving, they see what becomes of the guests, whose lines are not.
type meeting struct {
	*soak
	room      string
	tag       string
	rng       *rand.Rand // owned by run
	observers []*observer
	clock     clock
	window    *window
	board     *board   // of those whose lines are sound
	told      []string // to the observers, of guests; set by end

	mu    sync.Mutex
	names []*member // guarded by mu: all who may be met
}

// observer is a member with a witness whose story counts.
type observer struct {
	*member
	eyes *eyes
	from int // the step of the story at which guests begin to come
}

// eyes are a member's witness, once there is a line.
type eyes struct {
	*roll
	witness *witness // set when the line is up
}

// The times of a meeting.
const (
	talkEvery  = time.Second
	guestEvery = 700 * time.Millisecond
	goneLimit  = 20 * time.Second // for the last guest's leave to be told
	replyLimit = 5 * time.Second  // for the last replies
	enterLimit = 15 * time.Second
)

var errNotIn = errors.New("was not let in")

// soakLoad is little, so that many can send: what is lost is told by numbers, not by rates.
func soakLoad() load {
	return load{audio: true, fps: 5, packets: 1, size: 300, keyEvery: 5 * time.Second}
}

// stage gives somebody a stage of their own: a way to the gateway, and a board.
func (m *meeting) stage(web *http.Client, b *board) *stage {
	return &stage{
		web: web, gateway: m.subject.gateway(), people: m.people, engine: m.engine, load: soakLoad(),
		clock: m.clock, window: m.window, board: b,
	}
}

// whoIs tells how somebody was to go.
func (m *meeting) whoIs(users []string) (all []string) {
	for _, user := range users {
		way := "unknown"
		if one := m.people.find(user); one != nil {
			way = one.about
		}
		all = append(all, user+" ("+way+")")
	}
	return all
}

// newcomer makes a member under a name that nobody has had.
func (m *meeting) newcomer(st *stage, lines wires) (*member, *eyes) {
	index := m.come.Add(1)
	return m.sameName(st, lines, strconv.Itoa(m.first+int(index)), uint16(index))
}

// sameName makes a member of a name; its line is that of wires.
func (m *meeting) sameName(st *stage, lines wires, user string, index uint16) (*member, *eyes) {
	e := &eyes{roll: newRoll(user, m.room, m.tag, m.people, &m.account, m.violated)}
	one := &member{
		stage: st, index: index, user: user, room: m.room, sends: lines.sends, babbles: lines.babbles, about: lines.about,
		connected: make(chan *publication, 1), down: make(map[string]*subscription), offers: make(map[string]int), seeing: make(chan struct{}),
	}
	one.dial = func(ctx context.Context, web *http.Client, gateway *url.URL, user string) (line, error) {
		return m.connect(ctx, web, gateway, lines, e)
	}
	m.people.add(one)
	return one, e
}

// wires say what somebody's line is made of.
type wires struct {
	dialect string // id or eventop
	entry   entry
	sends   bool
	babbles bool
	about   string // for whoever reads the report
	media   uint16 // the port that media go to; 0: the gateway's own
}

// connect opens a line with a witness in it.
func (m *meeting) connect(ctx context.Context, web *http.Client, gateway *url.URL, w wires, e *eyes) (line, error) {
	reach := func(c carrier) carrier { return c }
	if w.media != 0 {
		reach = func(c carrier) carrier { return detour{c, way(m.subject.media), way(w.media)} }
	}
	if w.dialect == "eventop" {
		c, err := dialSocketIO(ctx, web, gateway.JoinPath("socket.io/"), "knowledgetalk")
		if err != nil {
			return nil, err
		}
		e.witness = &witness{carrier: reach(c), tongue: &opTongue{roll: e.roll, waiting: make(map[string]string)}}
		return &eventopLine{carrier: e.witness, user: e.self, tenant: trialTenant, key: m.subject.key(), entry: w.entry}, nil
	}
	t, err := token(m.subject.key(), e.self)
	if err != nil {
		return nil, err
	}
	c, err := dialSockJS(ctx, web, gateway.JoinPath("rtc"))
	if err != nil {
		return nil, err
	}
	e.witness = &witness{carrier: reach(c), tongue: &idTongue{roll: e.roll, offers: make(map[string]int), late: make(map[string]int)}}
	return &idLine{e.witness, e.self, t}, nil
}

// detour has the gateway's media come from another port, as what the member is told has it.
type detour struct {
	carrier
	from, to []byte
}

// way is a port of this machine as candidates have it (RFC 8839 section 5.1).
func way(port uint16) []byte { return fmt.Appendf(nil, " 127.0.0.1 %d ", port) }

func (d detour) read(ctx context.Context) ([]byte, error) {
	b, err := d.carrier.read(ctx)
	return bytes.ReplaceAll(b, d.from, d.to), err
}

// run holds the meeting until ctx ends or guests have come for a while.
func (m *meeting) run(ctx context.Context, guests time.Duration) error {
	return m.hold(ctx, func(ctx context.Context) {
		here, leave := context.WithTimeout(ctx, guests)
		defer leave()
		m.receive(here)
	})
}

// hold seats the observers, has guests come and go, and judges what the observers saw.
func (m *meeting) hold(ctx context.Context, receive func(context.Context)) error {
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
		defer cancel()
		m.stageOf().leave(bye, m.seated())
		m.people.forget(m.names)
	}()
	for _, d := range []string{"id", "eventop"} {
		if err := m.observe(ctx, d); err != nil {
			return err
		}
	}
	for _, o := range m.observers {
		o.from = len(o.eyes.told(0))
	}
	m.window.from.Store(m.clock.now())
	talking, hush := context.WithCancel(ctx)
	defer hush()
	var busy sync.WaitGroup
	for _, o := range m.observers {
		busy.Go(func() { o.talk(talking, m.tag) })
	}
	receive(ctx)
	hush()
	busy.Wait()
	m.window.to.Store(m.clock.now())
	m.end(context.WithoutCancel(ctx))
	return nil
}

func (m *meeting) stageOf() *stage { return m.observers[0].stage }

func (m *meeting) seated() (all []*member) {
	for _, o := range m.observers {
		all = append(all, o.member)
	}
	return all
}

// observe seats an observer and waits until all of them receive each other.
func (m *meeting) observe(ctx context.Context, d string) error {
	one, e := m.newcomer(m.stage(m.web, m.board), wires{dialect: d, sends: true})
	m.remember(one)
	m.observers = append(m.observers, &observer{member: one, eyes: e})
	if err := one.join(context.WithoutCancel(ctx)); err != nil { // it stays when no more guests come
		return fmt.Errorf("observer: %w", err)
	}
	n := len(m.observers)
	within, cancel := context.WithTimeoutCause(ctx, wholeLimit, errNotWhole)
	defer cancel()
	err := m.board.await(within, func(p progress) bool {
		return p.joined >= n && p.connected >= n*n && p.flowing >= n*(n-1)
	})
	if err != nil {
		_, _, faults := m.board.read()
		return fmt.Errorf("observers of room %s: %w; %v", m.room, err, faults)
	}
	return nil
}

// talk says something every now and then until ctx ends.
func (m *member) talk(ctx context.Context, tag string) {
	tick := time.NewTicker(talkEvery)
	defer tick.Stop()
	visit := strconv.FormatInt(m.clock.now(), 36) // what is said from now on
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := m.speak(context.WithoutCancel(ctx), tag, visit, n); err != nil {
			return // the line has ended, which listen sees
		}
	}
}

// speak says something in the member's dialect.
func (m *member) speak(ctx context.Context, tag, visit string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	switch l := m.line.(type) {
	case *idLine:
		return l.state(ctx, n%3 == 0)
	case *eventopLine:
		var err error
		for _, r := range []eventopRequest{
			{Op: "chat", Message: chat(tag, visit, n)}, {Op: "memberList"},
			{Op: []string{"whiteboard", "drawing", "shareStop"}[n%3]},
		} {
			r.Room = l.room
			err = errors.Join(err, l.say(ctx, r))
		}
		return err
	}
	return nil
}

// end waits until all is told that there is to tell, and holds the observers' stories
// against each other.
func (m *meeting) end(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	for _, o := range m.observers {
		if left := m.awaitAlone(within, o); len(left) > 0 {
			m.violated("%s still sees %v in room %s, %v after the last guest went", o.user, m.whoIs(left), m.room, goneLimit)
		}
	}
	m.awaitReplies(ctx)
	first := m.observers[0]
	for _, o := range m.observers[1:] {
		a, b := m.awaitAlike(within, first, o)
		if !slices.Equal(a, b) {
			m.violated("observers of room %s saw different things: %v and %v", m.room, a, b)
		}
	}
	m.told = first.eyes.told(first.from)
	for _, step := range m.told {
		if strings.HasPrefix(step, "-") {
			m.counts.departures.Add(1)
		}
	}
	m.judgeMedia(ctx)
	_, _, faults := m.board.read()
	for _, f := range faults {
		m.violated("room %s: %s", m.room, f)
	}
	m.counts.meetings.Add(1)
}

// awaitAlone gives the guests that an observer still sees when ctx ends.
func (m *meeting) awaitAlone(ctx context.Context, o *observer) []string {
	for {
		left := slices.DeleteFunc(o.eyes.others(), func(user string) bool {
			return slices.ContainsFunc(m.observers, func(other *observer) bool { return other.user == user })
		})
		if len(left) == 0 || pause(ctx, drainStep) != nil {
			return left
		}
	}
}

// awaitAlike gives what two observers were told, once it is the same or ctx ends: whom a
// take-over made come and go at the very end, one of them may hear of later.
func (m *meeting) awaitAlike(ctx context.Context, one, other *observer) (a, b []string) {
	for {
		a, b = one.eyes.told(one.from), other.eyes.told(other.from)
		if slices.Equal(a, b) || pause(ctx, drainStep) != nil {
			return a, b
		}
	}
}

// awaitReplies sees to it that the observers have all the replies that they waited for.
func (m *meeting) awaitReplies(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, replyLimit)
	defer cancel()
	for _, o := range m.observers {
		for o.eyes.witness.unanswered() > 0 {
			if pause(within, drainStep) != nil {
				m.violated("%s has no reply to %d requests", o.user, o.eyes.witness.unanswered())
				break
			}
		}
	}
}

// judgeMedia counts what the observers should have had of each other, and what came that
// was not for them.
func (m *meeting) judgeMedia(ctx context.Context) {
	drained, cancel := context.WithTimeout(ctx, drainIdle)
	defer cancel()
	sum := m.tally()
	for sum.lost() > 0 && pause(drained, drainStep) == nil {
		sum = m.tally()
	}
	m.counts.expected.Add(sum.expected)
	m.counts.lost.Add(sum.lost())
	for _, o := range m.observers {
		_, down := o.media()
		for _, sub := range down {
			if n := sub.strays.Load(); n > 0 {
				m.violated("%s was sent %d packets of somebody else", o.user, n)
			}
		}
	}
}

func (m *meeting) tally() (sum outcome) {
	for _, from := range m.observers {
		up, _ := from.media()
		for _, to := range m.observers {
			if from == to {
				continue
			}
			to.mu.Lock()
			sub := to.down[from.user]
			to.mu.Unlock()
			for k := range kinds {
				sum = sum.plus(judge(up.log[k].within(m.window), 1, []*ledger{&sub.came[k]}))
			}
		}
	}
	return sum
}

// address gives one of some of this machine's own. They are few, because the gateway
// remembers for a while where people come from.
func address(rng *rand.Rand) netip.Addr {
	const most = 250
	return netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + rng.IntN(most))})
}
