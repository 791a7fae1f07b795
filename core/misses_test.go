package core

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestRoomsCannotBeGuessed: who probes is soon told nothing, on whatever connection,
// and until then a room of another tenant looks like none.
func TestRoomsCannotBeGuessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{Plane: &fakeMedia{}, Auth: anyone{}, Observer: quiet{}, Limits: DefaultLimits()})
		other, eve := h.client(t), h.client(t)
		other.asks(Hello{Cred: Credentials{User: "o", Tenant: "t"}})
		other.asks(Open{Room: "r5"})
		eve.asks(Hello{Cred: Credentials{User: "eve"}})
		probe := func(cmd Command) Reply {
			eve.heard()
			eve.Do(t.Context(), Ref{}, cmd)
			synctest.Wait()
			return eve.events()[0].(Reply)
		}
		absent, forbidden := probe(Join{Room: "r6"}), probe(Join{Room: "r5"})
		absent.Err.Msg, forbidden.Err.Msg = absent.Err.Msg[:len(absent.Err.Msg)-1], forbidden.Err.Msg[:len(forbidden.Err.Msg)-1]
		if *absent.Err != *forbidden.Err || absent.Result != nil || forbidden.Result != nil || absent.Err.Code != NoSuchRoom {
			t.Errorf("told apart: %+v, %+v", absent.Err, forbidden.Err)
		}
		answered := 2
		for i := range 10_000 {
			cmd := Command(Join{Room: RoomID(fmt.Sprint("x", i))})
			if i%2 == 0 {
				cmd = List{Room: RoomID(fmt.Sprint("x", i))}
			}
			if r := probe(cmd); r.Err.Code == NoSuchRoom {
				answered++
			} else if r.Err.Limit != Misses {
				t.Fatalf("%+v", r.Err)
			}
		}
		if answered > DefaultLimits().Misses {
			t.Errorf("%d probes were answered", answered)
		}
		eve.asks(Open{Room: "mine"})
		if r := probe(Join{Room: "mine"}); r.Err == nil || r.Err.Limit != Misses { // nor whether they are there
			t.Errorf("a room that is there: %+v", r)
		}
		again := h.client(t)
		again.asks(Hello{Cred: Credentials{User: "eve"}, Online: Cut})
		want(t, again.asks(Join{Room: "x"}), "[refused too_many]")
		<-time.After(missSpan)
		want(t, again.asks(Join{Room: "x"}), "[refused no_such_room]")
		want(t, again.asks(Open{Room: "new"}), "[Opened]")
		want(t, again.asks(Join{Room: "new"}), "[Joined]")
		for _, c := range []*client{eve, again, other} {
			c.Close()
		}
		h.Close()
	})
}

func TestRefusedCredentialsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{Plane: &fakeMedia{}, Auth: anyone{}, Observer: quiet{}, Limits: Limits{Misses: 3}})
		c := h.client(t)
		for range 3 {
			want(t, c.joins("r", "mallory"), "[refused unauthorized]")
		}
		want(t, c.joins("r", "mallory"), "[refused too_many]")
		<-time.After(missSpan)
		want(t, c.joins("r", "mallory"), "[refused unauthorized]")
		c.Close()
	})
}

// TestAskingForARoomThatEndedIsNoMiss: a client goes on for a while.
func TestAskingForARoomThatEndedIsNoMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ann, ben := strict(t, Limits{Misses: 2})
		ann.asks(Close{"r"})
		ben.heard()
		for range 10 {
			want(t, ben.asks(Cast{Room: "r", Topic: Stroke}), "[refused no_such_room]")
		}
		want(t, ben.asks(Leave{"r"}), "[Done]")
		ann.Close()
		ben.Close()
		h.Close()
	})
}

func TestMissesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubConfig{Plane: &fakeMedia{}, Auth: anyone{}, Observer: quiet{}, Limits: Limits{Misses: 2}})
		miss := func(n int) {
			for i := range n {
				p := &person{key: personKey{user: UserID(fmt.Sprint("u", i, time.Now()))}}
				if _, err := h.find(p, "r"); err == nil {
					t.Fatal("found")
				}
			}
		}
		miss(maxMissers + 100)
		if len(h.missed) != maxMissers {
			t.Errorf("%d remembered", len(h.missed))
		}
		for range 2 { // also of a few
			<-time.After(missSpan)
			miss(1)
			if len(h.missed) != 1 {
				t.Errorf("%d remembered", len(h.missed))
			}
			miss(100)
		}
	})
}

// guests lets anyone in, who says no name under the next one of its own: the first
// twice.
type guests struct{ n *int }

func (g guests) Authorize(_ context.Context, c Credentials) (Grant, error) {
	if c.User == "" {
		c.User = UserID(fmt.Sprint("u", *g.n/2))
		*g.n++
	}
	return Grant{User: c.User}, nil
}

// TestIDsThatTheHouseGivesAreFree: neither a room nor a person is given an id that is
// taken, whatever the client says of displacing others.
func TestIDsThatTheHouseGivesAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h := NewHub(HubConfig{
			Plane: &fakeMedia{}, Auth: guests{&n}, Observer: quiet{}, NewRoomID: func() RoomID { return "same" },
		})
		one, two := h.client(t), h.client(t)
		want(t, one.asks(Hello{Online: Cut}), "[Welcome]")
		want(t, two.asks(Hello{Online: Cut}), "[Welcome]")
		if one.User() == two.User() || one.cut != nil {
			t.Errorf("both are %s; cut %v", one.User(), one.cut)
		}
		for range 10 {
			want(t, one.asks(Open{}), "[Opened]")
		}
		if s := h.Stats(); s.Rooms != 10 {
			t.Errorf("%d rooms", s.Rooms)
		}
		if a, b := LongID("r"), LongID("r"); a == b || len(a) < 1+128/5 || !validID(a) {
			t.Errorf("ids %s, %s", a, b)
		}
		one.Close()
		two.Close()
		h.Close()
	})
}
