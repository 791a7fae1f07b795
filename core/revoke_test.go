package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// register is an Authorizer with a list of who may not be in which room, and an
// Observer of who was put out.
type register struct {
	quiet
	refused atomic.Int32  // commands
	until   time.Duration // for which what people show is good; 0: for ever

	// Guarded by mu.
	mu     sync.Mutex
	banned map[string]bool // "user room"
	think  chan struct{}   // what is asked again waits for this; nil: it does not
	asked  []time.Duration // when, since began
	now    int             // asked at this moment
	most   int             // the most there ever were
	out    []string
	began  time.Time
}

var errBanned = errors.New("banned")

func (g *register) Authorize(_ context.Context, c Credentials) (Grant, error) {
	gr := Grant{User: c.User, Tenant: TenantID(c.Tenant)}
	if g.until > 0 {
		gr.Until = time.Now().Add(g.until)
	}
	if c.Key == "staff" {
		return gr, nil
	}
	gr.Stays = func(ctx context.Context) error { return g.ask(ctx, string(c.User)+" "+string(c.Room)) }
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.banned[string(c.User)+" "+string(c.Room)] {
		return Grant{}, errBanned
	}
	return gr, nil
}

func (g *register) ask(ctx context.Context, who string) error {
	g.mu.Lock()
	g.asked = append(g.asked, time.Since(g.began))
	g.now++
	g.most = max(g.most, g.now)
	think := g.think
	g.mu.Unlock()
	if think != nil {
		select {
		case <-think:
		case <-ctx.Done():
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now--
	if g.banned[who] {
		return errBanned
	}
	return nil
}

func (g *register) ban(who ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range who {
		g.banned[w] = true
	}
}

func (g *register) Handled(_ RoomID, _ Caller, _ Command, err *Error) {
	if err != nil {
		g.refused.Add(1)
	}
}

func (g *register) Expelled(room RoomID, who Caller, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out = append(g.out, fmt.Sprintf("%s %s: %v", room, who.User, cause))
}

// putOut takes what the Observer was told since the last time.
func (g *register) putOut() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.out
	g.out = nil
	slices.Sort(out)
	return out
}

// times gives when somebody was asked about, and how many were at once.
func (g *register) times() (asked []time.Duration, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked), g.most
}

// judged makes a house that asks for rights again.
func judged(t *testing.T, c HubConfig, until time.Duration) (*Hub, *register) {
	g := &register{banned: map[string]bool{}, until: until, began: time.Now()}
	c.Plane, c.Auth, c.Observer = &fakeMedia{}, g, g
	h := NewHub(c)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		h.Recheck(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		stop()
		<-done
		h.Close()
		if s := h.Stats(); s != (Stats{}) || len(h.rights)+len(h.passing) > 0 {
			t.Errorf("left behind %+v, %d and %d rights", s, len(h.rights), len(h.passing))
		}
	})
	return h, g
}

// enter joins with credentials of its own, as in a dialect that has no Hello.
func (c *client) enter(room RoomID, as UserID) string {
	c.t.Cleanup(c.Close)
	return c.asks(Join{Room: room, Cred: &Credentials{User: as}, Online: Displace, Make: &Open{Mode: SFU}, Alone: true, Untold: true})
}

// TestExpelledConnectionLeavesAtOnce: who is cut off and goes faster than the house can
// look was put out all the same.
func TestExpelledConnectionLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := judged(t, HubConfig{}, 0)
		ann := h.client(t)
		ann.out.cut = func(error) { ann.Close() }
		want(t, ann.enter("r", "ann"), "[Joined]")
		if n := h.ExpelUser(t.Context(), "", "ann"); n != (Expelled{1, 1}) {
			t.Errorf("%+v", n)
		}
		if out := g.putOut(); !slices.Equal(out, []string{"r ann: access was revoked"}) {
			t.Errorf("put out %q", out)
		}
	})
}

// TestExpelUser: out at once, with one word to the others; another connection is
// judged by what counts then.
func TestExpelUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := judged(t, HubConfig{}, 0)
		ann, ben := h.client(t), h.client(t)
		want(t, ann.enter("r", "ann"), "[Joined]")
		want(t, ben.enter("r", "ben"), "[Joined]")
		ann.asks(Share{"r", Whiteboard})
		ben.heard()
		began := time.Now()
		if n := h.ExpelUser(t.Context(), "", "ann"); n != (Expelled{1, 1}) {
			t.Errorf("%+v", n)
		}
		want(t, ben.heard(), "[Unshared MemberLeft]")
		if !errors.Is(ann.cut, ErrRevoked) || time.Since(began) != 0 || h.IsOnline("", "ann") {
			t.Errorf("cut %v after %v", ann.cut, time.Since(began))
		}
		want(t, ann.asks(Edit{Room: "r", Video: new(true)}), "[refused not_member]") // before it noticed
		ann.Close()
		want(t, ben.heard(), "[]")
		if g.refused.Load() != 1 { // her edit
			t.Errorf("%d commands refused: that she left was her own doing", g.refused.Load())
		}
		if n := h.ExpelUser(t.Context(), "", "ann"); n != (Expelled{}) {
			t.Errorf("again: %+v", n)
		}
		if n := h.ExpelUser(t.Context(), "other", "ben"); n != (Expelled{}) {
			t.Errorf("of another tenant: %+v", n)
		}
		if out := g.putOut(); !slices.Equal(out, []string{"r ann: access was revoked"}) {
			t.Errorf("put out %q", out)
		}
		again := h.client(t)
		want(t, again.enter("r", "ann"), "[Joined]") // nobody said no
		h.ExpelUser(t.Context(), "", "ann")
		g.ban("ann r")
		want(t, h.client(t).enter("r", "ann"), "[refused unauthorized]")
		want(t, ben.heard(), "[MemberJoined MemberLeft]")
	})
}

// TestExpelledSeatIsNotKept: whose connection was lost has no seat to come back to.
func TestExpelledSeatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, expel := range map[string]func(h *Hub) Expelled{
			"user":   func(h *Hub) Expelled { return h.ExpelUser(t.Context(), "", "ann") },
			"room":   func(h *Hub) Expelled { return h.ExpelFrom(t.Context(), "", "ann", "r") },
			"tenant": func(h *Hub) Expelled { return h.Expel(t.Context(), "") },
		} {
			h := newHouse(quiet{})
			ann, ben := h.client(t), h.client(t)
			ann.asks(Hello{Cred: Credentials{User: "ann"}, Grace: 60})
			ann.asks(Open{Room: "r", Mode: SFU})
			ann.asks(Join{Room: "r"})
			ben.asks(Hello{Cred: Credentials{User: "ben", Tenant: ""}})
			ben.asks(Join{Room: "r"})
			ann.Lose()
			ben.heard()
			if n := expel(h); n.Seats < 1 || name != "tenant" && n != (Expelled{0, 1}) {
				t.Errorf("%s: %+v", name, n)
			}
			if name != "tenant" {
				want(t, ben.heard(), "[MemberLeft]")
			}
			<-time.After(time.Minute)
			want(t, ben.heard()[:1], "[")
			ben.Close()
			h.Close()
			if s := h.Stats(); s != (Stats{}) {
				t.Errorf("%s left behind %+v", name, s)
			}
		}
	})
}

func TestExpelFromARoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := judged(t, HubConfig{}, 0)
		ann, ben, cay := h.client(t), h.client(t), h.client(t)
		for u, c := range map[UserID]*client{"ann": ann, "ben": ben} {
			c.asks(Hello{Cred: Credentials{User: u}})
			t.Cleanup(c.Close)
		}
		for _, r := range []RoomID{"r1", "r2"} {
			ben.asks(Open{Room: r, Mode: SFU})
			ben.asks(Join{Room: r})
			ann.asks(Join{Room: r})
		}
		want(t, cay.enter("r1", "cay"), "[Joined]")
		ann.heard()
		ben.heard()
		expel := func(u UserID, r RoomID, seats int) {
			t.Helper()
			if n := h.ExpelFrom(t.Context(), "", u, r); n != (Expelled{Seats: seats}) {
				t.Errorf("%s from %s: %+v", u, r, n)
			}
		}
		expel("ann", "r1", 1)
		expel("ann", "r1", 0)
		expel("nobody", "r1", 0)
		expel("ann", "r3", 0)
		want(t, ann.heard(), "[Kicked]")
		want(t, ben.heard(), "[MemberLeft]")
		want(t, cay.heard(), "[MemberLeft]")
		want(t, ann.asks(Cast{Room: "r1", Topic: Stroke}), "[refused not_member]")
		want(t, ann.asks(Edit{Room: "r2", Video: new(true)}), "[Edited]") // only from that room
		want(t, ann.asks(Join{Room: "r1"}), "[Joined]")
		expel("ann", "r1", 1)
		want(t, ann.asks(Leave{"r1"}), "[Kicked Done]") // as clients do that are kicked
		want(t, ann.asks(Leave{"r1"}), "[refused not_member]")
		ben.heard()
		cay.heard()
		expel("cay", "r1", 1) // it has no word for it
		want(t, cay.heard(), "[]")
		want(t, ben.heard(), "[MemberLeft]")
		if ann.cut != nil || !errors.Is(cay.cut, ErrRevoked) {
			t.Errorf("cut %v, %v", ann.cut, cay.cut)
		}
		if out := g.putOut(); len(out) != 3 {
			t.Errorf("put out %q", out)
		}
	})
}

// TestExpelledWhileJudged has somebody expelled whose right was asked for before that,
// and is given after.
func TestExpelledWhileJudged(t *testing.T) {
	for name, expel := range map[string]func(h *Hub) Expelled{
		"from the house": func(h *Hub) Expelled { return h.ExpelUser(t.Context(), "", "ann") },
		"from the room":  func(h *Hub) Expelled { return h.ExpelFrom(t.Context(), "", "ann", "r") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, g := judged(t, HubConfig{}, 0)
				slow := &slowly{Authorizer: g, begun: make(chan struct{}), goOn: make(chan struct{})}
				h.auth = slow
				ann := h.client(t)
				done := make(chan string)
				go func() { done <- ann.enter("r", "ann") }()
				<-slow.begun // g has said yes
				g.ban("ann r")
				if n := expel(h); n != (Expelled{}) {
					t.Errorf("%+v", n)
				}
				close(slow.goOn)
				want(t, <-done, "[Joined]")
				if s := h.Stats(); s.Members != 0 || !errors.Is(ann.cut, ErrRevoked) {
					t.Errorf("%+v, cut %v", s, ann.cut)
				}
			})
		})
	}
}

// slowly gives its answers late.
type slowly struct {
	Authorizer
	begun, goOn chan struct{}
}

func (s *slowly) Authorize(ctx context.Context, c Credentials) (Grant, error) {
	g, err := s.Authorizer.Authorize(ctx, c)
	s.begun <- struct{}{}
	<-s.goOn
	return g, err
}

// TestRightsAreAskedForAgain: within the time, once in each, not all at once, and who
// has lost the right is out while all others stay.
func TestRightsAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := judged(t, HubConfig{Recheck: time.Minute}, time.Second)
		const people = 200
		all := make([]*client, people)
		for i := range all {
			all[i] = h.client(t)
			all[i].enter(RoomID(fmt.Sprint("r", i%10)), UserID(fmt.Sprint("u", i)))
		}
		staff := h.client(t)
		staff.asks(Hello{Cred: Credentials{User: "staff", Key: "staff"}}) // nobody is asked about them
		want(t, staff.asks(Join{Room: "r0"}), "[Joined]")
		defer staff.Close()
		g.ban("u3 r3", "u14 r4", "u15 r6") // the last one is in r5
		<-time.After(29 * time.Second)
		synctest.Wait()
		if asked, _ := g.times(); len(asked) > 0 {
			t.Errorf("asked %d times", len(asked))
		}
		<-time.After(30 * time.Second)
		synctest.Wait()
		if out := g.putOut(); !slices.Equal(out, []string{"r3 u3: banned", "r4 u14: banned"}) {
			t.Errorf("put out %q", out)
		}
		asked, _ := g.times()
		if len(asked) != people {
			t.Errorf("asked %d times about %d", len(asked), people)
		}
		quarter := make([]int, 4)
		for _, at := range asked {
			quarter[min(3, max(0, int((at-30*time.Second)/(7500*time.Millisecond))))]++
		}
		if slices.Max(quarter) > people/2 {
			t.Errorf("asked for together: %v", quarter)
		}
		if s := h.Stats(); s.Members != people-2+1 || staff.cut != nil || all[15].cut != nil || !errors.Is(all[3].cut, ErrRevoked) {
			t.Errorf("%+v: what people had shown was good for a second, and their calls go on", s)
		}
	})
}

// TestRightsAreAskedForByFew: who answers late is not overrun, and those who wait for
// an answer are in.
func TestRightsAreAskedForByFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := judged(t, HubConfig{Recheck: time.Second}, 0)
		g.think = make(chan struct{})
		for i := range 100 {
			h.client(t).enter("r", UserID(fmt.Sprint("u", i)))
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if asked, _ := g.times(); len(asked) != maxJudged || h.Stats().Members != 100 {
			t.Errorf("%d asked at once, %+v", len(asked), h.Stats())
		}
		g.ban("u7 r")
		close(g.think)
		<-time.After(2 * time.Second)
		synctest.Wait()
		if _, most := g.times(); most != maxJudged || h.Stats().Members != 99 {
			t.Errorf("%d asked at once, %+v", most, h.Stats())
		}
	})
}

// TestNewerRightCounts: a verdict on what was shown before does not touch who has
// shown something else meanwhile, by the same connection or another.
func TestNewerRightCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := judged(t, HubConfig{Recheck: time.Second}, 0)
		ann, ben := h.client(t), h.client(t)
		defer ben.Close()
		want(t, ann.enter("r", "ann"), "[Joined]")
		ben.asks(Hello{Cred: Credentials{User: "ben"}})
		want(t, ben.asks(Join{Room: "r"}), "[Joined]")
		g.mu.Lock()
		g.think = make(chan struct{})
		g.mu.Unlock()
		<-time.After(time.Second)
		synctest.Wait()
		if asked, _ := g.times(); len(asked) != 2 {
			t.Fatalf("%d are asked about", len(asked))
		}
		want(t, ann.enter("r", "ann"), "[MemberJoined Joined]")
		ben.heard()
		want(t, ben.asks(Hello{Cred: Credentials{User: "ben", Key: "staff"}}), "[Welcome]")
		g.ban("ann r", "ben ")
		close(g.think)
		synctest.Wait()
		if out := g.putOut(); len(out) > 0 {
			t.Errorf("put out %q", out)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if out := g.putOut(); !slices.Equal(out, []string{"r ann: banned"}) {
			t.Errorf("put out %q", out)
		}
	})
}

// TestLapse: a call outlives what let people in, unless the house says otherwise.
func TestLapse(t *testing.T) {
	for _, recheck := range []time.Duration{0, time.Hour} {
		for _, lapse := range []bool{false, true} {
			t.Run(fmt.Sprint(recheck, lapse), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, g := judged(t, HubConfig{Recheck: recheck, Lapse: lapse}, 10*time.Minute)
					ann, ben := h.client(t), h.client(t)
					defer ben.Close()
					want(t, ann.enter("r", "ann"), "[Joined]")
					ben.asks(Hello{Cred: Credentials{User: "ben"}})
					want(t, ben.asks(Join{Room: "r"}), "[Joined]")
					<-time.After(9 * time.Minute)
					want(t, ben.asks(Hello{Cred: Credentials{User: "ben"}}), "[Welcome]") // shown anew
					<-time.After(time.Minute + time.Second)
					synctest.Wait()
					wanted := []string(nil)
					if lapse {
						wanted = []string{"r ann: " + ErrLapsed.Error()}
					}
					if out := g.putOut(); !slices.Equal(out, wanted) {
						t.Errorf("put out %q", out)
					}
					<-time.After(9 * time.Minute)
					synctest.Wait()
					if lapse {
						wanted = []string{"r ben: " + ErrLapsed.Error()}
						want(t, ben.heard(), "[MemberLeft Kicked]")
					}
					if out := g.putOut(); !slices.Equal(out, wanted) {
						t.Errorf("put out %q", out)
					}
				})
			})
		}
	}
}

// TestBugInWhoIsAsked: it is told, and nobody is put out by it.
func TestBugInWhoIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := judged(t, HubConfig{Recheck: time.Second}, 0)
		watch := &bugs{}
		h.watch, h.auth = watch, granter(func(Credentials) (Grant, error) {
			return Grant{User: "ann", Stays: func(context.Context) error { panic("a bug") }}, nil
		})
		ann := h.client(t)
		want(t, ann.enter("r", "ann"), "[Joined]")
		<-time.After(time.Second)
		synctest.Wait()
		if s := h.Stats(); watch.found.Load() != 1 || s.Members != 1 || ann.cut != nil {
			t.Errorf("%d bugs told, %+v, cut %v", watch.found.Load(), s, ann.cut)
		}
	})
}

// granter is an Authorizer that is one function.
type granter func(Credentials) (Grant, error)

func (f granter) Authorize(_ context.Context, c Credentials) (Grant, error) { return f(c) }
