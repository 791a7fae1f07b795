package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// limitOf gives the limit that a client hit with its last command, or "".
func (c *client) limitOf(cmd Command) Limit {
	c.t.Helper()
	c.heard()
	c.Do(c.t.Context(), Ref{}, cmd)
	synctest.Wait()
	for _, e := range c.events() {
		if r, ok := e.(Reply); ok && r.Err != nil {
			if r.Err.Limit != "" && r.Err.Code != TooMany {
				c.t.Errorf("limit %s with code %s", r.Err.Limit, r.Err.Code)
			}
			return r.Err.Limit
		}
	}
	return ""
}

// strict is a house with small limits, and two of its people in room r, which ann
// made.
func strict(t *testing.T, l Limits) (h *Hub, ann, ben *client) {
	h = NewHub(HubConfig{Plane: &fakeMedia{}, Auth: anyone{}, Observer: quiet{}, Limits: l})
	ann, ben = h.client(t), h.client(t)
	ann.asks(Hello{Cred: Credentials{User: "ann"}})
	ben.asks(Hello{Cred: Credentials{User: "ben"}})
	ann.asks(Open{Room: "r", Mode: SFU})
	ann.asks(Join{Room: "r"})
	ben.asks(Join{Room: "r"})
	return h, ann, ben
}

func TestWhatIsCarriedIsLimited(t *testing.T) {
	const most = 100
	text := func(n int) string { return strings.Repeat("x", n) }
	raw := func(n int) JSON { return JSON(`"` + text(n-2) + `"`) }
	for _, tt := range []struct {
		limit Limit
		carry []func(n int) Command
	}{
		{MessageSize, []func(n int) Command{
			func(n int) Command { return Say{Room: "r", Message: raw(n)} },
			func(n int) Command { return Say{To: "ben", Message: raw(n)} },
			func(n int) Command { return Cast{Room: "r", Topic: Stroke, Body: raw(n)} },
			func(n int) Command { return Cast{To: "ben", Topic: Notice, Body: raw(n)} },
			func(n int) Command { return Cast{Room: "r", To: "ben", Topic: CanvasAsked, Body: raw(n)} },
			func(n int) Command { return Trickle{Room: "r", Body: raw(n)} },
			func(n int) Command { return Trickle{Room: "r", Candidate: Candidate{Line: text(n)}} },
		}},
		{SDPSize, []func(n int) Command{
			func(n int) Command { return Offer{Room: "r", Stream: cam("ann"), SDP: text(n)} },
			func(n int) Command { return Answer{Room: "r", Stream: cam("ben"), SDP: text(n)} },
			func(n int) Command { return Cast{Room: "r", Topic: Signal, Body: raw(n)} },
		}},
		{ImageSize, []func(n int) Command{
			func(n int) Command { return Show{Room: "r", Image: text(n)} },
			func(n int) Command { return Cast{To: "ben", Topic: CanvasShown, Body: raw(n)} },
		}},
	} {
		for _, of := range tt.carry {
			synctest.Test(t, func(t *testing.T) {
				h, ann, ben := strict(t, Limits{Message: most, SDP: most, Image: most})
				for n, want := range map[int]Limit{most - 1: "", most: "", most + 1: tt.limit} {
					if got := ann.limitOf(of(n)); got != want {
						t.Errorf("%s with %d bytes: limit %q, want %q", CommandName(of(n)), n, got, want)
					}
				}
				ben.heard()
				ann.asks(of(most + 1))
				want(t, ben.heard(), "[]")
				ann.Close()
				ben.Close()
				h.Close()
			})
		}
	}
}

func TestRoomsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ann, ben := strict(t, Limits{UserRooms: 3, TenantRooms: 4})
		limits := func(c *client, cmd Command, want Limit) {
			t.Helper()
			if got := c.limitOf(cmd); got != want {
				t.Errorf("%s: limit %q, want %q", Describe(cmd), got, want)
			}
		}
		limits(ann, Open{Room: "a2", Keep: true}, "")
		limits(ann, Group{Room: "r"}, "")
		limits(ann, Open{Room: "a4"}, UserRooms)
		limits(ann, Group{Room: "r"}, UserRooms)
		limits(ann, Join{Room: "a4", Make: &Open{}}, UserRooms)
		limits(ben, Open{Room: "b1"}, "")
		limits(ben, Open{Room: "b2"}, TenantRooms)
		limits(ben, Join{Room: "b2", Make: &Open{}}, TenantRooms)
		other := h.client(t)
		other.asks(Hello{Cred: Credentials{User: "ann", Tenant: "t"}}) // another's limits are its own
		limits(other, Open{Room: "o1"}, "")
		limits(ann, Close{"a2"}, "")
		limits(ann, Open{Room: "a5"}, "")
		for _, c := range []*client{ann, ben, other} {
			c.Close()
		}
		h.Close()
		if len(h.made)+len(h.ofTenant) != 0 {
			t.Errorf("rooms that are gone still count: %v %v", h.made, h.ofTenant)
		}
	})
}

func TestConnectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ann, ben := strict(t, Limits{SpareLegs: 1, Candidates: 2})
		for i, cmd := range []Command{
			Offer{"r", cam("ann"), "o"}, Offer{"r", cam("ben"), "o"}, Offer{"r", Stream{"ben", Screen}, "o"},
		} {
			if got := ann.limitOf(cmd); got != "" {
				t.Errorf("connection %d: limit %s", i, got)
			}
		}
		if got := ann.limitOf(Offer{"r", Stream{"ann", Screen}, "o"}); got != Legs {
			t.Errorf("one too many: limit %q", got)
		}
		if got := ben.limitOf(Share{"r", ScreenShare}); got != "" { // the one refused took no lock
			t.Errorf("ben shares: %s", got)
		}
		if got := ann.limitOf(Offer{"r", cam("ben"), "o"}); got != "" { // in place of another
			t.Errorf("a connection replaced: limit %s", got)
		}
		for range 2 * (3 + 1) { // also before the offer, and whichever they are for
			if got := ann.limitOf(Trickle{Room: "r", Stream: cam("ben")}); got != "" {
				t.Errorf("a candidate: limit %s", got)
			}
		}
		for range 5000 {
			if got := ann.limitOf(Trickle{Room: "r", Stream: cam("ben")}); got != Candidates {
				t.Fatalf("one candidate too many: limit %q", got)
			}
		}
		ann.Close()
		ben.Close()
		h.Close()
	})
}

func TestNamesAreFitToBeShown(t *testing.T) {
	l := Limits{Name: 12}
	for in, want := range map[string]string{
		"Ann": "Ann", "": "", "한글 이름": "한글 이", "שלום": "שלום", "👩‍👩‍👧": "👩‍👩",
		"a\r\nb\tc\x00": "abc", "a\u202eb\u2066c\u2069": "abc", "a\u2028b": "ab", "\x1b[31mred": "[31mred", "a\u0085b": "ab",
		"0123456789abcdef": "0123456789ab", "0123456789a한": "0123456789a",
	} {
		got := l.name(in)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h, ann, ben := strict(t, Limits{Name: 3})
		ann.asks(Edit{Room: "r", Name: new("\u202eabcd")})
		ann.asks(Arrange{Room: "r", Title: new("t\nitle")})
		cay := h.client(t)
		cay.asks(Hello{Cred: Credentials{User: "cay", Name: "long name", Device: "long\nname"}})
		cay.asks(Join{Room: "r", As: Profile{Community: "12345"}})
		st, err := h.Look(t.Context(), "", "r")
		if err != nil || st.Title != "tit" || st.Members[0].Name != "abc" {
			t.Errorf("%+v, %v", st, err)
		}
		if m := st.Members[2]; m.Name != "lon" || m.Device != "lon" || m.Community != "123" {
			t.Errorf("%+v", m)
		}
		for _, c := range []*client{ann, ben, cay} {
			c.Close()
		}
		h.Close()
	})
}

// A name is not what is left of megabytes that it came in.
func TestNamesKeepNoFrames(t *testing.T) {
	const size, many = 1 << 20, 64
	frames := func() []string {
		var names []string
		for range many {
			names = append(names, DefaultLimits().name(strings.Repeat("x", size)))
		}
		return names
	}
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	names := frames()
	if more := int64(used() - before); more > many*size/2 {
		t.Errorf("%d names keep %d bytes", len(names), more)
	}
	runtime.KeepAlive(names)
}

// Pages that rooms keep for newcomers count against who shows them.
func TestPagesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ann, ben := strict(t, Limits{Image: 100, Pages: 250})
		shows := func(c *client, r RoomID, size int, want Limit) {
			t.Helper()
			if got := c.limitOf(Show{Room: r, Image: strings.Repeat("x", size)}); got != want {
				t.Errorf("%d bytes in %s: limit %q, want %q", size, r, got, want)
			}
		}
		rooms := []RoomID{"r", "r2", "r3"}
		for _, r := range rooms {
			ann.asks(Open{Room: r, Keep: true})
			ann.asks(Join{Room: r})
			ann.asks(Share{Room: r, Content: Document})
		}
		shows(ann, "r", 100, "")
		shows(ann, "r2", 100, "")
		shows(ann, "r3", 100, PagesSize)
		shows(ann, "r3", 101, ImageSize)
		shows(ann, "r3", 50, "")
		shows(ann, "r", 90, "") // a page in place of another
		shows(ann, "r3", 60, "")
		ben.asks(Open{Room: "b"})
		ben.asks(Join{Room: "b"})
		ben.asks(Share{Room: "b", Content: Document})
		shows(ben, "b", 100, "") // his own
		ann.asks(Unshare{Room: "r"})
		shows(ann, "r3", 100, "")
		ann.asks(Share{Room: "r2", Content: Whiteboard})
		ann.asks(Leave{Room: "r3"})
		ben.asks(Close{Room: "b"})
		synctest.Wait()
		if len(h.pages) != 0 {
			t.Errorf("pages that are gone still count: %v", h.pages)
		}
		for _, c := range []*client{ann, ben} {
			c.Close()
		}
		h.Close()
	})
}

// TestMessagesQuoteLittle: what a client sent comes back at a bounded length.
func TestMessagesQuoteLittle(t *testing.T) {
	err := AsError(Errorf(NoSuchRoom, "no room %s", strings.Repeat("한", 10000)))
	if len(err.Msg) > maxMsg+3 || !utf8.ValidString(err.Msg) {
		t.Errorf("%d bytes: %q", len(err.Msg), err.Msg)
	}
}

// TestLimitNames holds the table, and that none is left out of the defaults.
func TestLimitNames(t *testing.T) {
	names := LimitNames()
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); !slices.Equal(unique, names) || names[0] == "" {
		t.Errorf("limits are %q", names)
	}
	var b map[string]int
	raw, err := json.Marshal(DefaultLimits())
	if err = errors.Join(err, json.Unmarshal(raw, &b)); err != nil {
		t.Fatal(err)
	}
	for name, value := range b {
		if value <= 0 {
			t.Errorf("by default, %s has no limit", name)
		}
	}
}

// TestRoomsLeaveNothingBehind makes rooms and leaves them, by the ten thousand.
func TestRoomsLeaveNothingBehind(t *testing.T) {
	const rooms = 100_000
	base := runtime.NumGoroutine()
	h := NewHub(HubConfig{Plane: dull{}, Auth: anyone{}, Observer: quiet{}, Limits: DefaultLimits()})
	ann := h.client(t)
	ann.Do(t.Context(), Ref{}, Hello{Cred: Credentials{User: "ann"}})
	ann.events()
	cycle := func(n int) {
		for i := range n {
			id := RoomID(fmt.Sprint("r", i))
			ann.Do(t.Context(), Ref{}, Open{Room: id, Mode: SFU})
			ann.Do(t.Context(), Ref{}, Join{Room: id})
			ann.Do(t.Context(), Ref{}, Leave{Room: id})
			if events := ann.events(); len(events) != 3 || events[2].(Reply).Err != nil {
				t.Fatalf("room %d: %+v", i, events)
			}
		}
	}
	measure := func() (goroutines int, heap uint64) {
		for h.Stats().Rooms > 0 || runtime.NumGoroutine() > base { // the last rooms are on their way out
			runtime.Gosched()
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	cycle(1000)
	goroutines, heap := measure()
	cycle(rooms)
	after, grown := measure()
	if after > goroutines || grown > heap+5<<20 {
		t.Errorf("%d goroutines and %d bytes became %d and %d", goroutines, heap, after, grown)
	}
	if s := h.Stats(); s != (Stats{People: 1}) || len(h.made)+len(h.ofTenant) != 0 {
		t.Errorf("left %+v", s)
	}
	ann.Close()
	h.Close()
}

// dull is a plane that remembers nothing.
type dull struct{}

func (dull) Open(RoomID, MediaOptions, func(MediaEvent)) Media { return dull{} }
func (dull) Accept(Leg, Ref, string)                           {}
func (dull) Offer(Leg, Ref, bool, bool)                        {}
func (dull) Answer(Leg, Ref, string)                           {}
func (dull) Trickle(UserID, Stream, Candidate)                 {}
func (dull) Drop(Leg)                                          {}
func (dull) Close()                                            {}

// TestRoomsThatNobodyEntersGo: each has a timer, and nothing else.
func TestRoomsThatNobodyEntersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(quiet{})
		ann := h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		for range 1000 {
			ann.Do(t.Context(), Ref{}, Open{Keep: true})
			ann.events()
		}
		<-time.After(5*time.Minute + time.Second)
		synctest.Wait()
		if s := h.Stats(); s.Rooms != 0 {
			t.Errorf("left %+v", s)
		}
		ann.Close()
	})
}
