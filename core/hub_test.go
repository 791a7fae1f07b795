package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// anyone lets everyone in as who they say they are, but for mallory.
type anyone struct{}

func (anyone) Authorize(_ context.Context, c Credentials) (Grant, error) {
	if c.User == "mallory" {
		return Grant{}, errors.New("no")
	}
	return Grant{Tenant: TenantID(c.Tenant), User: c.User}, nil
}

// client is a session, and what ended its connection.
type client struct {
	*Session
	t   *testing.T
	out *Outbox
	cut error
}

func newHouse(o Observer) *Hub {
	return NewHub(HubConfig{Plane: &fakeMedia{}, Auth: anyone{}, Observer: o})
}

func (h *Hub) client(t *testing.T) *client {
	c := &client{t: t}
	c.out = NewOutbox(100, func(err error) { c.cut = err })
	c.Session = h.Session(c.out, Peer{Remote: "192.0.2.1"})
	return c
}

// asks carries out a command and gives all that the client has heard since.
func (c *client) asks(cmd Command) string {
	c.t.Helper()
	c.Do(c.t.Context(), Ref{}, cmd)
	return c.heard()
}

func (c *client) heard() string {
	synctest.Wait()
	all := []string{}
	for len(c.out.wake) > 0 {
		events, _ := c.out.Take(context.Background())
		for _, e := range events {
			all = append(all, describe(e))
		}
	}
	return fmt.Sprint(all)
}

func (c *client) joins(room RoomID, as UserID) string {
	return c.asks(Join{
		Room: room, Cred: &Credentials{User: as}, Online: Displace, Make: &Open{Mode: SFU, Capacity: 2}, Alone: true,
	})
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRoomLivesWhileSomebodyIsInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben, cay := h.client(t), h.client(t), h.client(t)
		want(t, ann.asks(Join{Room: "r"}), "[refused not_registered]")
		want(t, ann.asks(Leave{}), "[refused not_registered]")
		want(t, ann.joins("r", "mallory"), "[refused unauthorized]")
		want(t, ann.joins("r", "ann"), "[Joined]")
		want(t, ben.joins("r", "ben"), "[Joined]")
		want(t, cay.joins("r", "cay"), "[refused room_full]")
		want(t, ann.heard(), "[MemberJoined]")
		if s := h.Stats(); s != (Stats{Rooms: 1, Members: 2, People: 3}) {
			t.Errorf("stats %+v", s)
		}
		want(t, ben.asks(Leave{}), "[Done]")
		want(t, ben.asks(Leave{}), "[refused not_member]")
		want(t, cay.joins("r", "cay"), "[Joined]") // its connection was kept
		ann.Close()
		ben.Close()
		cay.Close()
		synctest.Wait()
		if s := h.Stats(); s != (Stats{}) {
			t.Errorf("left behind %+v", s)
		}
	})
}

func TestOneRoomAtATimeForThoseWhoWantIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben := h.client(t), h.client(t)
		ben.joins("r1", "ben")
		ann.joins("r1", "ann")
		want(t, ann.joins("r2", "ann"), "[Joined]")
		want(t, ben.heard(), "[MemberJoined MemberLeft]")
		want(t, ann.joins("r2", "ann"), "[Joined]") // the same again starts afresh
		if s := h.Stats(); s != (Stats{Rooms: 2, Members: 2, People: 2}) {
			t.Errorf("stats %+v", s)
		}
		ann.Close()
		ben.Close()
		synctest.Wait()
	})
}

func TestSamePersonAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		old, ben, again := h.client(t), h.client(t), h.client(t)
		old.joins("r", "ann")
		ben.joins("r", "ben")
		old.heard()
		want(t, again.asks(Hello{Cred: Credentials{User: "ann"}, Online: Refuse}), "[refused user_online]")
		want(t, again.joins("r", "ann"), "[Joined]")
		want(t, old.heard(), "[]")
		want(t, ben.heard(), "[MemberLeft MemberJoined]")
		want(t, old.asks(Edit{Video: new(true)}), "[refused not_member]")
		old.Close() // changes nothing
		want(t, ben.heard(), "[]")
		want(t, again.asks(List{Room: "r"}), "[Listed]")

		third := h.client(t)
		want(t, third.asks(Hello{Cred: Credentials{User: "ann"}, Online: Cut}), "[Welcome]")
		want(t, ben.heard(), "[MemberLeft]")
		if !errors.Is(again.cut, ErrDisplaced) || old.cut != nil {
			t.Errorf("cut %v and %v", again.cut, old.cut)
		}
		again.Close()
		third.Close()
		ben.Close()
		synctest.Wait()
		if s := h.Stats(); s != (Stats{}) {
			t.Errorf("left behind %+v", s)
		}
	})
}

// TestTakeoverRace has many connections become the same person at once: one wins,
// in one seat, whatever the order.
func TestTakeoverRace(t *testing.T) {
	h := newHouse(quiet{})
	var wg sync.WaitGroup
	clients := make([]*client, 50)
	for i := range clients {
		clients[i] = h.client(t)
		wg.Go(func() {
			for range 20 {
				clients[i].Do(t.Context(), Ref{}, Join{
					Room: RoomID(fmt.Sprint("r", i%3)), Cred: &Credentials{User: "ann"},
					Online: Displace, Make: &Open{Mode: SFU}, Alone: true,
				})
			}
		})
	}
	wg.Wait()
	if s := h.Stats(); s.People != 1 || s.Members != 1 || s.Rooms != 1 {
		t.Errorf("after the race: %+v", s)
	}
	for _, c := range clients {
		c.Close()
	}
	if err := h.Empty(t.Context()); err != nil {
		t.Error(err)
	}
	if s := h.Stats(); s.People != 0 || s.Members != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

func TestRoomsThatWereOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben := h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		ben.asks(Hello{Cred: Credentials{User: "ben"}})
		want(t, ann.asks(Open{Room: "once"}), "[Opened]")
		want(t, ann.asks(Open{Room: "once"}), "[refused room_exists]")
		want(t, ann.asks(Open{Room: "kept", Keep: true}), "[Opened]")
		want(t, ann.asks(Open{}), "[Opened]")
		want(t, ann.asks(Open{Room: "a\nb"}), "[refused invalid]")
		for _, r := range []RoomID{"once", "kept"} {
			want(t, ben.asks(Join{Room: r}), "[Joined]")
			want(t, ben.asks(Leave{Room: r}), "[Done]")
		}
		want(t, ben.asks(Join{Room: "once"}), "[refused no_such_room]")
		want(t, ben.asks(Join{Room: "kept"}), "[Joined]")
		want(t, ben.asks(Close{Room: "kept"}), "[refused not_permitted]")
		want(t, ann.asks(Close{Room: "kept"}), "[Done]") // the host need not be inside
		want(t, ben.heard(), "[RoomClosed]")
		want(t, ben.asks(List{Room: "kept"}), "[refused no_such_room]")
		ann.Close()
		ben.Close()
		synctest.Wait()
		if s := h.Stats(); s.Rooms != 1 || s.Members != 0 {
			t.Errorf("left %+v", s)
		}
		<-time.After(5 * time.Minute) // virtual; the one that nobody entered goes
		synctest.Wait()
		if s := h.Stats(); s != (Stats{}) {
			t.Errorf("left %+v", s)
		}
	})
}

func TestLeavingARoomThatEndedUnderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben := h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		ben.asks(Hello{Cred: Credentials{User: "ben"}})
		ann.asks(Open{Room: "r"})
		ben.asks(Join{Room: "r"})
		ann.asks(Close{Room: "r"})
		ben.heard()
		want(t, ben.asks(Leave{Room: "r"}), "[Done]")
		want(t, ben.asks(Leave{Room: "r"}), "[refused no_such_room]")
		ann.Close()
		ben.Close()
	})
}

func TestBreakoutHoldsItsMainRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben := h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		ben.asks(Hello{Cred: Credentials{User: "ben"}})
		ann.asks(Open{Room: "main"})
		ann.asks(Join{Room: "main"})
		ben.asks(Join{Room: "main"})
		ann.heard()
		ann.Do(t.Context(), Ref{}, Group{Room: "main", Users: []UserID{"ben", "ann", "stranger"}})
		synctest.Wait()
		events, _ := ann.out.Take(t.Context())
		group := events[0].(Reply).Result.(Grouped).Group
		want(t, describe(events[1]), "Invited")
		want(t, ben.heard(), "[Invited]")
		want(t, ben.asks(Join{Room: group}), "[Joined]")
		ben.asks(Leave{Room: "main"})
		ann.asks(Leave{Room: "main"})
		want(t, ann.asks(Join{Room: "main"}), "[Joined]") // ben in the group keeps it
		ann.heard()
		want(t, ann.asks(Ungroup{Room: "main", Group: group}), "[Done]")
		want(t, ann.asks(Ungroup{Room: "main", Group: group}), "[refused no_such_room]")
		want(t, ben.heard(), "[]") // nobody tells those inside
		want(t, ben.asks(Leave{Room: group}), "[Done]")
		ann.asks(Group{Room: "main"})
		ann.Close() // the last one out: the main room ends, and its group with it
		ben.Close()
		synctest.Wait()
		if s := h.Stats(); s != (Stats{}) {
			t.Errorf("left behind %+v", s)
		}
	})
}

// TestBreakoutEndsAtOnce: whoever comes when the last one has left does not get into a
// breakout room of a room that has ended.
func TestBreakoutEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann := h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		for range 100 {
			ann.asks(Open{Room: "main", Mode: Mesh})
			ann.asks(Join{Room: "main"})
			ann.Do(t.Context(), Ref{}, Group{Room: "main"})
			synctest.Wait()
			events, _ := ann.out.Take(t.Context())
			group := events[0].(Reply).Result.(Grouped).Group
			want(t, ann.asks(Join{Room: group}), "[Joined]")
			ann.Do(t.Context(), Ref{}, Leave{Room: "main"})
			ann.Do(t.Context(), Ref{}, Leave{Room: group})
			if r := h.there("", group); r != nil {
				t.Fatal("the breakout room is there without its main room")
			}
			ann.heard()
		}
		ann.Close()
		synctest.Wait()
	})
}

func TestMessagesThatNameNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben, cay := h.client(t), h.client(t), h.client(t)
		for u, c := range map[UserID]*client{"ann": ann, "ben": ben, "cay": cay} {
			c.asks(Hello{Cred: Credentials{User: u}})
		}
		want(t, ann.asks(Cast{To: "ben", Topic: Notice}), "[Relayed]") // across the house
		want(t, ann.asks(Cast{To: "nobody", Topic: Notice}), "[refused no_such_member]")
		want(t, ann.asks(Cast{Topic: Notice}), "[refused no_such_member]")
		want(t, ben.heard(), "[Passed]")
		for _, r := range []RoomID{"r1", "r2"} {
			ann.asks(Open{Room: r, Mode: Mesh})
			ann.asks(Join{Room: r})
		}
		ben.asks(Join{Room: "r1"})
		cay.asks(Join{Room: "r2"})
		ann.heard()
		want(t, ann.asks(Cast{Topic: Signal}), "[Relayed]") // everyone in any room of hers
		want(t, ann.asks(Say{To: "cay"}), "[Done]")
		want(t, ann.asks(Edit{Name: new("Anna")}), "[Edited]")
		want(t, ann.asks(Trickle{To: "ben", Body: JSON("{}")}), "[Done]")
		want(t, ben.heard(), "[Passed MemberEdited CandidatePassed]")
		want(t, cay.heard(), "[Passed Said MemberEdited]")
		for _, c := range []*client{ann, ben, cay} {
			c.Close()
		}
		synctest.Wait()
	})
}

func TestNobodySpeaksForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann := h.client(t)
		claims := func(as UserID, c Command) string {
			ann.Do(t.Context(), Ref{As: as}, c)
			return ann.heard()
		}
		want(t, claims("ben", Bad{Code: Missing}), "[refused not_registered]") // in this order
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		want(t, claims("ben", Bad{Code: Missing}), "[refused mismatch]")
		want(t, claims("ann", Bad{Code: Missing}), "[refused missing]")
		want(t, claims("", Bad{Code: Invalid}), "[refused invalid]")
		ann.asks(Open{Room: "r"})
		want(t, claims("ben", Join{Room: "r"}), "[refused mismatch]")
		want(t, claims("ann", Join{Room: "r"}), "[Joined]")
		want(t, claims("ben", Edit{Room: "r"}), "[refused mismatch]")
		ann.Close()
	})
}

func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		old, again := h.client(t), h.client(t)
		hello := func(key string) Hello {
			return Hello{Cred: Credentials{User: "ann", Key: key}, Online: Reclaim}
		}
		want(t, old.asks(hello("k")), "[Welcome]")
		want(t, again.asks(hello("k")), "[refused user_online]")
		old.out.Quiet(true)
		want(t, again.asks(hello("other")), "[refused user_online]")
		want(t, again.asks(hello("k")), "[Welcome]")
		if !errors.Is(old.cut, ErrDisplaced) {
			t.Errorf("cut %v", old.cut)
		}
		old.Close()
		again.Close()
	})
}

// licence lets in two at a time.
type licence struct{}

func (licence) Authorize(_ context.Context, c Credentials) (Grant, error) {
	return Grant{User: c.User, MaxUsers: 2}, nil
}

func TestLicenceLimitsWhoIsOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{Plane: &fakeMedia{}, Auth: licence{}, Observer: quiet{}})
		ann, ben, cay := h.client(t), h.client(t), h.client(t)
		hello := func(u UserID) Hello { return Hello{Cred: Credentials{User: u}, Online: Cut} }
		want(t, ann.asks(hello("ann")), "[Welcome]")
		want(t, ben.asks(hello("ben")), "[Welcome]")
		want(t, cay.asks(hello("cay")), "[refused too_many]")
		want(t, cay.asks(hello("ben")), "[Welcome]") // takes a place that counts already
		ann.Close()
		want(t, ben.asks(hello("dan")), "[Welcome]")
		for _, c := range []*client{ann, ben, cay} {
			c.Close()
		}
	})
}

func TestTenantsNeverMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, other := h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann", Tenant: "a"}})
		want(t, other.asks(Hello{Cred: Credentials{User: "ann", Tenant: "b"}, Online: Refuse}), "[Welcome]")
		ann.asks(Open{Room: "r"})
		want(t, other.asks(Join{Room: "r"}), "[refused no_such_room]")
		want(t, other.asks(List{Room: "r"}), "[refused no_such_room]")
		want(t, other.asks(Cast{To: "ann", Topic: Notice}), "[Passed Relayed]") // to itself
		want(t, ann.heard(), "[]")
		ann.Close()
		other.Close()
		h.Close()
	})
}

func TestExpelCutsOffOneTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben, other := h.client(t), h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann", Tenant: "a"}})
		ben.asks(Hello{Cred: Credentials{User: "ben", Tenant: "a"}})
		other.asks(Hello{Cred: Credentials{User: "ann", Tenant: "b"}})
		if n := h.Expel(t.Context(), "a"); n != (Expelled{Connections: 2}) {
			t.Errorf("%+v, want 2 cut off", n)
		}
		if !errors.Is(ann.cut, ErrRevoked) || !errors.Is(ben.cut, ErrRevoked) || other.cut != nil {
			t.Errorf("cut: %v, %v, %v", ann.cut, ben.cut, other.cut)
		}
		for _, c := range []*client{ann, ben, other} {
			c.Close()
		}
		h.Close()
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben := h.client(t), h.client(t)
		ann.joins("r", "ann")
		h.Drain()
		want(t, ben.joins("r", "ben"), "[refused draining]")
		want(t, ben.asks(Open{Room: "r2"}), "[refused draining]")
		want(t, ann.asks(Edit{Video: new(true)}), "[Edited]") // calls that run go on
		emptied := make(chan error)
		go func() { emptied <- h.Empty(t.Context()) }()
		synctest.Wait()
		select {
		case <-emptied:
			t.Error("empty with ann inside")
		default:
		}
		ann.Close()
		if err := <-emptied; err != nil {
			t.Error(err)
		}
		ben.Close()
		h.Close()
	})
}

// panicky is an Observer with a bug.
type panicky struct {
	quiet
	panics atomic.Int32
}

func (*panicky) Handled(_ RoomID, _ Caller, c Command, _ *Error) {
	if _, ok := c.(Say); ok {
		panic("a bug")
	}
}

func (p *panicky) Panicked(RoomID, any, []byte) { p.panics.Add(1) }

func TestPanicEndsOneRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &panicky{}
		h := newHouse(o)
		ann, ben, cay := h.client(t), h.client(t), h.client(t)
		ann.joins("r", "ann")
		ben.joins("r", "ben")
		cay.joins("other", "cay")
		ann.asks(Say{Room: "r"})
		if !errors.Is(ann.cut, ErrRoomFailed) || !errors.Is(ben.cut, ErrRoomFailed) || cay.cut != nil {
			t.Errorf("cut %v, %v, %v", ann.cut, ben.cut, cay.cut)
		}
		if s := h.Stats(); s.Rooms != 1 || s.Members != 1 || o.panics.Load() != 1 {
			t.Errorf("left %+v after %d panics", s, o.panics.Load())
		}
		ann.Close()
		ben.Close()
		want(t, cay.asks(Edit{Video: new(true)}), "[Edited]")
		cay.Close()
	})
}

func TestSlowReaderIsCutOffAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, slow := h.client(t), h.client(t)
		ann.joins("r", "ann")
		slow.joins("r", "slow")
		for range 101 {
			ann.asks(Edit{Video: new(true)})
		}
		if !errors.Is(slow.cut, ErrSlow) || ann.cut != nil {
			t.Errorf("cut %v and %v", slow.cut, ann.cut)
		}
		ann.Close()
		slow.Close()
	})
}

// tattler is an Observer that fails the test when a client is refused.
type tattler struct {
	quiet
	t *testing.T
}

func (o tattler) Handled(_ RoomID, _ Caller, c Command, err *Error) {
	if err != nil {
		o.t.Errorf("%s was refused: %v", CommandName(c), err)
	}
}

// TestNoSeatOutlivesItsConnection breaks connections in the midst of commands: many
// times, since which of a room and the end of a connection comes first is chance.
func TestNoSeatOutlivesItsConnection(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, last := range []Command{
		Edit{Video: new(true)}, Leave{}, Offer{Stream: cam("ann")},
		Join{Room: "other", Make: &Open{Mode: SFU}, Alone: true},
	} {
		for range 50 {
			h := newHouse(tattler{t: t})
			ann := h.client(t)
			ann.Do(t.Context(), Ref{}, Join{Room: "r", Cred: &Credentials{User: "ann"}, Make: &Open{Mode: SFU}})
			ann.Do(gone, Ref{}, last)
			ann.Close()
			if s := h.Stats(); s.Members != 0 || s.People != 0 {
				t.Fatalf("%s left behind %+v", CommandName(last), s)
			}
			h.Close()
		}
	}
}

// Who shares several rooms with the sender is told once what names no room.
func TestSharedRoomsAreNoEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{Plane: &fakeMedia{}, Auth: anyone{}, Observer: quiet{}})
		ann, ben := h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		ben.asks(Hello{Cred: Credentials{User: "ben"}})
		for _, r := range []Open{{Room: "main", Mode: SFU}, {Room: "mesh", Mode: Mesh}, {Room: "third", Mode: Mesh}} {
			ann.asks(r)
			ann.asks(Join{Room: r.Room})
			ben.asks(Join{Room: r.Room})
		}
		for _, c := range []Command{
			Say{To: "ben", Message: JSON(`"hello"`)}, Cast{To: "ben", Topic: Signal, Body: JSON(`{}`)},
			Trickle{To: "ben", Stream: cam("ben"), Body: JSON(`{}`)},
		} {
			ben.heard()
			ann.asks(c)
			synctest.Wait()
			if got := ben.heard(); strings.Contains(got, " ") || got == "" {
				t.Errorf("%s: ben hears %q", Describe(c), got)
			}
		}
		ann.Close()
		ben.Close()
		h.Close()
	})
}

// A breakout room that its host destroys is in no list any more.
func TestDestroyedGroupsAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ann, ben := strict(t, Limits{})
		var groups []RoomID
		for range 3 {
			ann.heard()
			ann.Do(t.Context(), Ref{}, Group{Room: "r"})
			synctest.Wait()
			for _, e := range ann.events() {
				if r, ok := e.(Reply); ok {
					groups = append(groups, r.Result.(Grouped).Group)
				}
			}
		}
		ann.asks(Close{Room: groups[1]})
		st, err := h.Look(t.Context(), "", "r")
		if err != nil || !slices.Equal(st.Groups, []RoomID{groups[0], groups[2]}) {
			t.Errorf("groups %v of %v, %v", st.Groups, groups, err)
		}
		if got := ann.asks(Ungroup{Room: "r", Group: groups[1]}); !strings.Contains(got, string(NoSuchRoom)) {
			t.Errorf("ended twice: %q", got)
		}
		ann.Close()
		ben.Close()
		h.Close()
	})
}
