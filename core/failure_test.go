package core

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// comes registers and joins with a grace.
func (c *client) comes(u UserID, o Online, grace int) string {
	return c.asks(Hello{Cred: Credentials{User: u}, Online: o, Grace: grace}) + c.asks(Join{Room: "r", As: Profile{Video: true}})
}

func TestWhoComesBackInTimeWasNeverAway(t *testing.T) {
	for name, back := range map[string]func(old, again *client) string{
		"after the connection was lost": func(old, again *client) string {
			old.Lose()
			return again.comes("ann", Refuse, 5)
		},
		"before that was noticed, displacing": func(_, again *client) string { return again.comes("ann", Displace, 5) },
		"before that was noticed, reclaiming": func(old, again *client) string {
			old.out.Quiet(true)
			return again.comes("ann", Reclaim, 0) // a take-over needs no grace
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				media := &fakeMedia{}
				h := NewHub(HubConfig{Plane: media, Auth: anyone{}, Observer: quiet{}})
				old, ben, again := h.client(t), h.client(t), h.client(t)
				old.asks(Hello{Cred: Credentials{User: "ann"}, Grace: 5})
				old.asks(Open{Room: "r", Mode: SFU})
				old.asks(Join{Room: "r", As: Profile{Video: true}})
				ben.comes("ben", Refuse, 0)
				old.asks(Share{"r", Whiteboard})
				old.asks(Offer{"r", cam("ben"), "o"}) // pending, and hers: it ends
				ben.heard()

				want(t, back(old, again), "[Welcome][Joined]")
				want(t, ben.heard(), "[]")
				want(t, again.asks(Kick{"r", "ben"}), "[Done]") // she is the host still
				want(t, ben.asks(Unshare{"r"}), "[Kicked refused share_taken]")
				want(t, old.asks(Edit{Room: "r", Audio: new(true)})[:9], "[refused ")
				want(t, again.asks(Edit{Room: "r", Audio: new(true)}), "[Edited]")
				want(t, ben.heard(), "[MemberEdited]")
				if got := fmt.Sprint(media.asked); got != "[accept ann<ben/cam#1 drop ann<ben/cam#1]" {
					t.Errorf("media was asked to %s", got)
				}
				if s := h.Stats(); s != (Stats{Rooms: 1, Members: 2, People: 2}) {
					t.Errorf("%+v", s)
				}
				<-time.After(time.Minute)
				old.Close()
				want(t, ben.heard(), "[]")
				again.Close()
				want(t, ben.heard(), "[Unshared MemberLeft]")
				ben.Close()
				synctest.Wait()
				if s := h.Stats(); s != (Stats{}) {
					t.Errorf("left behind %+v", s)
				}
			})
		})
	}
}

func TestWhoDoesNotComeBackHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, ben, cay := h.client(t), h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}, Grace: 5})
		ann.asks(Open{Room: "r", Mode: SFU, Capacity: 3})
		ann.asks(Join{Room: "r"})
		cay.comes("cay", Refuse, 8)
		ben.comes("ben", Refuse, 0)
		ann.heard()
		ann.Lose()
		cay.Lose()
		ben.heard()
		<-time.After(5*time.Second - 1)
		want(t, ben.asks(Say{Room: "r"}), "[Done]") // they hear it no more, and fill no outbox
		want(t, ben.heard(), "[]")
		<-time.After(2)
		want(t, ben.heard(), "[MemberLeft]")
		<-time.After(3 * time.Second)
		want(t, ben.heard(), "[MemberLeft]")
		if len(ann.events()) != 0 {
			t.Error("who is away was told something")
		}
		ben.asks(Hello{Cred: Credentials{User: "ben"}, Grace: 0})
		ben.Lose() // without a grace that is leaving
		synctest.Wait()
		if s := h.Stats(); s != (Stats{}) {
			t.Errorf("left behind %+v", s)
		}
	})
}

// TestNobodyTakesTheSeatOfAnother: only the same person comes back.
func TestNobodyTakesTheSeatOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann, eve := h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}, Grace: 5})
		ann.asks(Open{Room: "r", Mode: SFU})
		ann.asks(Join{Room: "r"})
		ann.Lose()
		eve.asks(Hello{Cred: Credentials{User: "eve"}})
		eve.asks(Join{Room: "r"})
		want(t, eve.asks(Kick{"r", "ann"}), "[refused not_permitted]")
		other := h.client(t)
		want(t, other.asks(Hello{Cred: Credentials{User: "ann", Tenant: "t"}}), "[Welcome]")
		want(t, other.asks(Join{Room: "r"}), "[refused no_such_room]")
		eve.Close()
		other.Close()
		h.Close()
	})
}

// TestTakeoverRaces has a thousand connections become the same person at once, by
// each policy: one of them is it in the end, and all others know.
func TestTakeoverRaces(t *testing.T) {
	for _, policy := range []struct {
		online Online
		grace  int
	}{{Refuse, 0}, {Reclaim, 0}, {Reclaim, 5}, {Displace, 0}, {Displace, 5}, {Cut, 0}} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			h := NewHub(HubConfig{Plane: dull{}, Auth: anyone{}, Observer: quiet{}})
			ben := h.client(t)
			ben.Do(t.Context(), Ref{}, Hello{Cred: Credentials{User: "ben"}})
			ben.Do(t.Context(), Ref{}, Open{Room: "r", Mode: SFU, Keep: true})
			const rivals = 1000
			var wg sync.WaitGroup
			var cut atomic.Int32
			sessions, outs := make([]*Session, rivals), make([]*Outbox, rivals)
			for i := range rivals {
				outs[i] = NewOutbox(100, func(err error) {
					if errors.Is(err, ErrDisplaced) {
						cut.Add(1)
					}
				})
				outs[i].Quiet(true)
				sessions[i] = h.Session(outs[i], Peer{Remote: "192.0.2.1"})
				wg.Go(func() {
					sessions[i].Do(t.Context(), Ref{}, Hello{Cred: Credentials{User: "ann"}, Online: policy.online, Grace: policy.grace})
					sessions[i].Do(t.Context(), Ref{}, Join{Room: "r"})
				})
			}
			wg.Wait()
			speak, refused := 0, 0
			for i, s := range sessions {
				s.Do(t.Context(), Ref{Op: "last"}, Edit{Room: "r", Audio: new(true)})
				events, err := outs[i].Take(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					r, ok := e.(Reply)
					switch {
					case !ok:
					case r.Ref.Op == "last" && r.Err == nil:
						speak++
					case r.Err != nil && r.Err.Code == UserOnline:
						refused++
					}
				}
			}
			if s := h.Stats(); speak != 1 || s.Members != 1 || s.People != 2 {
				t.Errorf("%d of them speak; %+v", speak, s)
			}
			if policy.online == Refuse && refused < rivals-1 || (policy.online == Cut || policy.online == Reclaim) && cut.Load() != rivals-1 {
				t.Errorf("%d were refused, %d were cut off", refused, cut.Load())
			}
			for _, s := range sessions {
				s.Close()
			}
			ben.Close()
			h.Close()
			if s := h.Stats(); s != (Stats{}) {
				t.Errorf("left behind %+v", s)
			}
		})
	}
}

// TestWhoDisplacesMayBeFirst has somebody enter a room before the room has heard that
// the connection which they displace must go: it makes way then.
func TestWhoDisplacesMayBeFirst(t *testing.T) {
	for _, inherits := range []bool{false, true} {
		tb := newTable(t, Open{}, "ann", "ben")
		old := tb.people["ann"]
		p := newPerson(Grant{User: "ann"}, Credentials{}, 0, NewOutbox(100, func(error) {}))
		p.inherits = inherits
		tb.people["ann"] = p
		tb.refused("ann", Join{}, AlreadyJoined) // it speaks for nobody yet
		tb.hub.people[p.key] = p
		tb.ok("ann", Join{As: Profile{Video: true, Audio: true}})
		tb.refused("ann", Join{}, AlreadyJoined)
		tb.room.handle(message{evict: old})
		tb.room.handle(message{hold: old, grace: time.Second})
		tb.ok("ann", List{})
		all := []string{"ann: refused already_joined", "ann: Joined", "ann: refused already_joined", "ann: Listed"}
		if !inherits {
			all = append(all, "ben: MemberLeft", "ben: MemberJoined")
		}
		tb.hears(all...)
		if s := tb.hub.Stats(); s.Members != 2 {
			t.Errorf("%+v", s)
		}
	}
}

// broken is a plane that fails, and counts how often it was asked to.
type broken struct {
	dull
	open func() Media
}

func (p broken) Open(RoomID, MediaOptions, func(MediaEvent)) Media { return p.open() }

// fragile is media that panics at its end.
type fragile struct{ dull }

func (fragile) Close() { panic("a bug at the end") }

func TestRoomWithoutMediaIsGoodForAllElse(t *testing.T) {
	for name, open := range map[string]func() Media{
		"no media":      func() Media { return nil },
		"a bug in it":   func() Media { panic("a bug") },
		"a bug at last": func() Media { return fragile{} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &panicky{}
				h := NewHub(HubConfig{Plane: broken{open: open}, Auth: anyone{}, Observer: o})
				ann, ben := h.client(t), h.client(t)
				ann.joins("r", "ann")
				ben.joins("r", "ben")
				ann.heard()
				if name != "a bug at last" {
					want(t, ann.asks(Offer{"r", cam("ann"), "o"}), "[refused media_failed]")
					want(t, ann.asks(Offer{"r", cam("ben"), "o"}), "[refused media_failed]")
					want(t, ann.asks(Answer{"r", cam("ben"), "a"}), "[refused no_such_stream]")
				}
				want(t, ann.asks(Trickle{Room: "r", Stream: cam("ann")}), "[Done]")
				want(t, ann.asks(Share{"r", ScreenShare}), "[Done]")
				want(t, ann.asks(Cast{Room: "r", Topic: Notice}), "[Relayed]")
				want(t, ben.heard(), "[Shared Passed]")
				ann.Close()
				want(t, ben.heard(), "[Unshared MemberLeft]")
				ben.Close()
				synctest.Wait()
				if s := h.Stats(); s != (Stats{}) || ann.cut != nil || ben.cut != nil {
					t.Errorf("left behind %+v, cut %v, %v", s, ann.cut, ben.cut)
				}
				if n := o.panics.Load(); (n == 1) != (name != "no media") {
					t.Errorf("%d panics were told", n)
				}
				h.Close()
			})
		})
	}
}

// TestPanicEndsItsBreakoutsAndNoOther: those in a breakout of the room that failed
// are out too, and may come again.
func TestPanicEndsItsBreakoutsAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &panicky{}
		h := newHouse(o)
		ann, ben, cay := h.client(t), h.client(t), h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		ann.asks(Open{Room: "r"})
		ann.asks(Join{Room: "r"})
		ann.Do(t.Context(), Ref{}, Group{Room: "r"})
		synctest.Wait()
		group := ann.events()[0].(Reply).Result.(Grouped).Group
		ben.asks(Hello{Cred: Credentials{User: "ben"}})
		want(t, ben.asks(Join{Room: group}), "[Joined]")
		cay.joins("other", "cay")
		ann.asks(Say{Room: "r"})
		synctest.Wait()
		if s := h.Stats(); s != (Stats{Rooms: 1, Members: 1, People: 3}) || !errors.Is(ann.cut, ErrRoomFailed) || cay.cut != nil {
			t.Errorf("%+v; cut %v, %v", s, ann.cut, cay.cut)
		}
		want(t, ben.asks(Leave{group}), "[Done]")
		want(t, ben.asks(Open{Room: "r"}), "[Opened]") // its name is free
		want(t, ben.asks(Join{Room: "r"}), "[Joined]")
		for _, c := range []*client{ann, ben, cay} {
			c.Close()
		}
		h.Close()
	})
}

// TestTwoComeBackAtOnce has two connections of somebody whose own was lost ask for the
// seat at once, a thousand times: one has it, and the others saw nobody go or come.
func TestTwoComeBackAtOnce(t *testing.T) {
	for _, online := range []Online{Refuse, Reclaim, Displace} {
		t.Run(string(online), func(t *testing.T) {
			for range 1000 {
				comeBack(t, online)
			}
		})
	}
}

func comeBack(t *testing.T, online Online) {
	h := NewHub(HubConfig{Plane: dull{}, Auth: anyone{}, Observer: quiet{}})
	outs := make([]*Outbox, 4)
	sessions := make([]*Session, len(outs))
	for i := range outs {
		outs[i] = NewOutbox(100, func(error) {})
		sessions[i] = h.Session(outs[i], Peer{Remote: "192.0.2.1"})
	}
	hello := func(u UserID) Hello { return Hello{Cred: Credentials{User: u}, Online: online, Grace: 60} }
	lost, ben, rivals := sessions[0], sessions[1], sessions[2:]
	lost.Do(t.Context(), Ref{}, hello("ann"))
	lost.Do(t.Context(), Ref{}, Open{Room: "r", Mode: SFU})
	lost.Do(t.Context(), Ref{}, Join{Room: "r"})
	ben.Do(t.Context(), Ref{}, hello("ben"))
	ben.Do(t.Context(), Ref{}, Join{Room: "r"})
	lost.Lose()
	outs[1].Drain()

	var back sync.WaitGroup
	for _, s := range rivals {
		back.Go(func() {
			s.Do(t.Context(), Ref{}, hello("ann"))
			s.Do(t.Context(), Ref{}, Join{Room: "r"})
		})
	}
	back.Wait()
	if heard := outs[1].Drain(); len(heard) > 0 {
		t.Fatalf("ben hears %+v", heard)
	}
	in := 0
	for i, s := range rivals {
		s.Do(t.Context(), Ref{Op: "last"}, Edit{Room: "r", Quiet: true})
		for _, e := range outs[2+i].Drain() {
			if r, ok := e.(Reply); ok && r.Ref.Op == "last" && r.Err == nil {
				in++
			}
		}
	}
	if s := h.Stats(); in != 1 || s != (Stats{Rooms: 1, Members: 2, People: 2}) {
		t.Fatalf("%d of them are in; %+v", in, s)
	}
	for _, s := range sessions {
		s.Close()
	}
	h.Close()
}
