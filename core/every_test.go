package core

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// everyCommand has each command at least once, and once for each way in which u, or
// a room, can be named in it.
func everyCommand(room RoomID, u UserID) []Command {
	yes, name := true, "n"
	st := Stream{u, Cam}
	return []Command{
		Hello{Cred: Credentials{User: "ann"}}, Open{}, Open{Room: room}, Close{room}, Join{Room: room},
		Join{Room: room, Cred: &Credentials{User: "ann"}, Make: &Open{Mode: SFU}, Alone: true, Online: Displace},
		Leave{}, Leave{room}, Edit{}, Edit{Room: room, To: u, Name: &name}, Edit{Audio: &yes, Quiet: true},
		Arrange{Room: room, Host: &u}, Arrange{Room: room, Title: &name, Capacity: new(-1)}, List{room}, List{},
		Offer{room, st, "o"}, Offer{"", Stream{"", Screen}, "o"}, Offer{room, Stream{u, "tea"}, ""},
		Subscribe{Room: room, Stream: st}, Answer{room, st, "a"}, Answer{room, Stream{}, ""},
		Trickle{Room: room, Stream: st}, Trickle{To: u, Body: JSON(`{}`)}, Trickle{Room: room, To: u}, Trickle{},
		Share{room, ScreenShare}, Share{room, "tea"}, Show{room, "i"}, Unshare{room},
		Say{room, u, JSON(`1`)}, Say{To: u}, Say{Room: room}, Say{},
		Cast{room, u, Signal, JSON(`{}`)}, Cast{To: u, Topic: CanvasAsked}, Cast{Room: room, Topic: Stroke}, Cast{Topic: "tea"},
		Permit{Room: room, User: u, Draw: new(bool)}, Kick{room, u}, Group{room, []UserID{u, u, ""}, "t"}, Ungroup{room, "g"},
		Ping{}, Bad{Code: Missing}, Bad{},
	}
}

// TestEveryCommandIsKnown looks the closed set up in its own source: a new command
// fails until it is in everyCommand.
func TestEveryCommandIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "command.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "room" {
			declared = append(declared, f.Recv.List[0].Type.(*ast.Ident).Name)
		}
	}
	tried := map[string]bool{}
	for _, c := range everyCommand("r", "u") {
		tried[CommandName(c)] = true
	}
	slices.Sort(declared)
	if got := slices.Sorted(maps.Keys(tried)); !slices.Equal(got, declared) {
		t.Errorf("tried are\n%v, and there are\n%v", got, declared)
	}
}

// bugs is an Observer that counts panics and internal errors.
type bugs struct {
	quiet
	found atomic.Int32
}

func (o *bugs) Handled(_ RoomID, _ Caller, _ Command, err *Error) {
	if err != nil && err.Code == Internal {
		o.found.Add(1)
	}
}

func (o *bugs) Panicked(RoomID, any, []byte) { o.found.Add(1) }

// states are what a client can be in when it asks, each with how to get there. Ann
// asks; ben is in room r, which he made.
var states = []struct {
	name string
	mode Mode
	get  func(ann, ben *client, h *Hub)
}{
	{"unknown", SFU, func(_, _ *client, _ *Hub) {}},
	{"registered", SFU, func(ann, _ *client, _ *Hub) { ann.asks(Hello{Cred: Credentials{User: "ann"}}) }},
	{"member", SFU, func(ann, _ *client, _ *Hub) { ann.enters("r") }},
	{"member of a mesh room", Mesh, func(ann, _ *client, _ *Hub) { ann.enters("r") }},
	{"host", SFU, func(ann, ben *client, _ *Hub) {
		ann.enters("r")
		ben.asks(Arrange{Room: "r", Host: new(UserID("ann"))})
	}},
	{"member of two rooms", SFU, func(ann, _ *client, _ *Hub) {
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		ann.asks(Open{Room: "r2"})
		ann.asks(Join{Room: "r2"})
		ann.asks(Join{Room: "r"})
	}},
	{"connected and sharing", SFU, func(ann, ben *client, _ *Hub) {
		ann.enters("r")
		ann.asks(Offer{"r", cam("ann"), "o"})
		ben.asks(Offer{"r", cam("ann"), "o"})
		ann.asks(Share{"r", Document})
	}},
	{"displaced", SFU, func(ann, _ *client, h *Hub) {
		ann.enters("r")
		again := h.client(ann.t)
		again.asks(Hello{Cred: Credentials{User: "ann"}, Online: Displace})
		ann.t.Cleanup(again.Close)
	}},
	{"of a room that ended", SFU, func(ann, ben *client, _ *Hub) {
		ann.enters("r")
		ben.asks(Close{"r"})
	}},
	{"draining", SFU, func(ann, _ *client, h *Hub) {
		ann.enters("r")
		h.Drain()
	}},
}

// enters registers as ann and joins.
func (c *client) enters(r RoomID) {
	c.asks(Hello{Cred: Credentials{User: "ann"}})
	c.asks(Join{Room: r})
}

// TestEveryCommandInEveryState: one reply, or a request to media; never a panic, and
// never an error without a code.
func TestEveryCommandInEveryState(t *testing.T) {
	for _, st := range states {
		for _, about := range []UserID{"ann", "ben", "nobody", "", "é\x00\n"} {
			for i, cmd := range everyCommand("r", about) {
				t.Run(fmt.Sprintf("%s/%q/%d-%s", st.name, about, i, CommandName(cmd)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						inState(t, st.mode, st.get, cmd)
					})
				})
			}
		}
	}
}

func inState(t *testing.T, mode Mode, get func(ann, ben *client, h *Hub), cmd Command) {
	watch, media := &bugs{}, &fakeMedia{}
	h := NewHub(HubConfig{Plane: media, Auth: anyone{}, Observer: watch})
	ann, ben := h.client(t), h.client(t)
	defer h.Close()
	defer ann.Close()
	defer ben.Close()
	ben.asks(Hello{Cred: Credentials{User: "ben"}})
	ben.asks(Open{Room: "r", Mode: mode})
	ben.asks(Join{Room: "r"})
	get(ann, ben, h)
	ann.heard()
	before := len(media.asked)

	ann.Do(t.Context(), Ref{Op: "this"}, cmd)
	synctest.Wait()
	replies := 0
	for _, e := range ann.events() {
		if r, ok := e.(Reply); ok && r.Ref.Op == "this" {
			replies++
			if (r.Result == nil) == (r.Err == nil) || r.Err != nil && !slices.Contains(append(Codes(), ""), r.Err.Code) {
				t.Errorf("replied %+v", r)
			}
		}
	}
	asked := slices.DeleteFunc(media.asked[before:], func(a string) bool { return strings.HasPrefix(a, "drop") })
	if replies+len(asked) != 1 {
		t.Errorf("%d replies, and media was asked for %v", replies, asked)
	}
	if watch.found.Load() != 0 || ann.cut != nil || ben.cut != nil {
		t.Errorf("%d bugs; cut %v, %v", watch.found.Load(), ann.cut, ben.cut)
	}
}

// events takes all that waits in the client's outbox.
func (c *client) events() (all []Event) {
	for len(c.out.wake) > 0 {
		events, err := c.out.Take(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, events...)
	}
	return all
}

// TestNobodyActsForAnother has mal, a guest, name somebody else in every way
// that there is: somebody of her room, of another room, and of another tenant. What
// is theirs stays as it is, and whatever they hear is from mal.
func TestNobodyActsForAnother(t *testing.T) {
	for _, where := range []struct {
		name, tenant string
		room         RoomID
	}{{"her room", "", "r"}, {"another room", "", "r2"}, {"another tenant", "other", "r"}} {
		for _, claims := range []UserID{"", "victim"} {
			for i, cmd := range everyCommand(where.room, "victim") {
				if _, ok := cmd.(Hello); ok {
					continue // how one becomes somebody is the authorizer's to judge
				}
				if j, ok := cmd.(Join); ok && j.Cred != nil {
					continue
				}
				t.Run(fmt.Sprintf("%s/as %q/%d-%s", where.name, claims, i, CommandName(cmd)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { byMal(t, where.tenant, where.room, claims, cmd) })
				})
			}
		}
	}
}

func byMal(t *testing.T, tenant string, room RoomID, claims UserID, cmd Command) {
	h := newHouse(quiet{})
	mal, victim := h.client(t), h.client(t)
	defer h.Close()
	defer mal.Close()
	defer victim.Close()
	victim.asks(Hello{Cred: Credentials{User: "victim", Tenant: tenant}})
	victim.asks(Open{Room: room, Mode: SFU})
	victim.asks(Join{Room: room, As: Profile{Name: "v", Video: true}})
	victim.asks(Offer{room, cam("victim"), "o"})
	mal.asks(Hello{Cred: Credentials{User: "mal"}})
	mal.asks(Open{Room: "r"}) // there already, in her own tenant, or hers
	mal.asks(Join{Room: "r"})
	victim.heard()
	look := func() Member {
		st, err := h.Look(t.Context(), TenantID(tenant), room)
		if err != nil || len(st.Members) == 0 {
			t.Fatalf("the victim's room: %+v, %v", st, err)
		}
		return st.Members[0]
	}
	before := look()

	mal.Do(t.Context(), Ref{As: claims}, cmd)
	synctest.Wait()
	if after := look(); after != before {
		t.Errorf("the victim was %+v and is %+v", before, after)
	}
	if claims != "" {
		want(t, mal.heard(), "[refused mismatch]")
	}
	for _, e := range victim.events() {
		if tenant != "" || claims != "" {
			t.Errorf("the victim hears %+v", e)
		}
		for _, u := range usersIn(reflect.ValueOf(e)) {
			if u != "mal" && u != "victim" {
				t.Errorf("the victim hears of %s: %+v", u, e)
			}
		}
		switch e := e.(type) {
		case Reply, MemberLeft, Kicked, RoomClosed, Unshared, FeedRemoved:
			if l, ok := e.(MemberLeft); !ok || l.User != "mal" {
				t.Errorf("the victim hears %+v", e)
			}
		case Said:
			if e.From != "mal" {
				t.Errorf("the victim hears %+v", e)
			}
		case Passed:
			if e.From != "mal" {
				t.Errorf("the victim hears %+v", e)
			}
		default: // news of mal
		}
	}
}

// usersIn gives every user id within a value.
func usersIn(v reflect.Value) (all []UserID) {
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			all = append(all, usersIn(field)...)
		}
	case reflect.String:
		if u, ok := reflect.TypeAssert[UserID](v); ok && u != "" {
			all = append(all, u)
		}
	default:
	}
	return all
}
