package core

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMedia notes what it is asked for, and does nothing.
type fakeMedia struct{ asked []string }

func (m *fakeMedia) note(what string, l Leg) {
	m.asked = append(m.asked, fmt.Sprintf("%s %s<%s/%s#%d", what, l.Owner, l.Stream.User, l.Stream.Source, l.N))
}
func (m *fakeMedia) Accept(l Leg, _ Ref, _ string)                     { m.note("accept", l) }
func (m *fakeMedia) Offer(l Leg, _ Ref, _, _ bool)                     { m.note("offer", l) }
func (m *fakeMedia) Answer(l Leg, _ Ref, _ string)                     { m.note("answer", l) }
func (m *fakeMedia) Trickle(UserID, Stream, Candidate)                 {}
func (m *fakeMedia) Drop(l Leg)                                        { m.note("drop", l) }
func (m *fakeMedia) Close()                                            {}
func (m *fakeMedia) Open(RoomID, MediaOptions, func(MediaEvent)) Media { return m }

// quiet is an Observer that looks away.
type quiet struct{}

func (quiet) Handled(RoomID, Caller, Command, *Error) {}
func (quiet) LegFailed(RoomID, Leg, error)            {}
func (quiet) FirstPacket(time.Duration)               {}
func (quiet) Expelled(RoomID, Caller, error)          {}
func (quiet) Slowed(RoomID)                           {}
func (quiet) Panicked(RoomID, any, []byte)            {}

// table is a room with no goroutine and the people around it.
type table struct {
	*testing.T
	*room
	media  *fakeMedia
	people map[UserID]*person
}

// newTable makes a room hosted by ann, and seats people in order.
func newTable(t *testing.T, c Open, people ...UserID) *table {
	m := &fakeMedia{}
	h := NewHub(HubConfig{Plane: m, Observer: quiet{}})
	if c.Mode == "" {
		c.Mode = SFU
	}
	c.Room = "r"
	r := newRoom(h, personKey{user: "ann"}, "ann", c, nil)
	r.media, r.keep = m, true
	h.rooms[roomKey{"", "r"}] = r
	tb := &table{t, r, m, map[UserID]*person{}}
	for _, u := range people {
		tb.person(u)
		tb.ok(u, Join{As: Profile{Video: true, Audio: true}})
	}
	tb.heard()
	return tb
}

func (tb *table) person(u UserID) *person {
	if tb.people[u] == nil {
		p, err := tb.hub.claim(tb.Context(), Grant{User: u}, newPerson(Grant{User: u}, Credentials{}, 0, NewOutbox(1000, func(error) {})), Refuse)
		if err != nil {
			tb.Fatal(err)
		}
		tb.people[u] = p
	}
	return tb.people[u]
}

// does gives a command to the room, and what became of it.
func (tb *table) does(u UserID, c Command) (Result, error) {
	p := tb.person(u)
	if _, ok := c.(Join); ok {
		tb.hub.mu.Lock()
		tb.room.holds++ // as acquire does
		tb.hub.mu.Unlock()
	}
	done := tb.room.handle(message{from: p, ref: Ref{Op: CommandName(c)}, cmd: c})
	return done.result, done.err
}

func (tb *table) ok(u UserID, c Command) Result {
	tb.Helper()
	res, err := tb.does(u, c)
	if err != nil {
		tb.Fatalf("%s's %s: %v", u, Describe(c), err)
	}
	return res
}

func (tb *table) refused(u UserID, c Command, code Code) {
	tb.Helper()
	if _, err := tb.does(u, c); err == nil || AsError(err).Code != code {
		tb.Errorf("%s's %s: %v, want code %s", u, Describe(c), err, code)
	}
}

func (tb *table) tells(e MediaEvent) { tb.room.handle(message{media: e}) }

// heard empties every outbox, and gives what was in them as "user: Event{…}".
func (tb *table) heard() (all []string) {
	names := make([]UserID, 0, len(tb.people))
	for u := range tb.people {
		names = append(names, u)
	}
	slices.Sort(names)
	for _, u := range names {
		o := tb.people[u].out
		if len(o.wake) == 0 {
			continue
		}
		events, err := o.Take(context.Background())
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range events {
			all = append(all, fmt.Sprintf("%s: %s", u, describe(e)))
		}
	}
	return all
}

func describe(e Event) string {
	if r, ok := e.(Reply); ok {
		if r.Err != nil {
			return "refused " + string(r.Err.Code)
		}
		return strings.TrimPrefix(reflect.TypeOf(r.Result).String(), "core.")
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", e), "core.")
}

func (tb *table) hears(want ...string) {
	tb.Helper()
	if got := tb.heard(); !slices.Equal(got, want) {
		tb.Errorf("heard\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func cam(u UserID) Stream { return Stream{u, Cam} }

func legOf(owner UserID, st Stream, n uint64) Leg { return Leg{Owner: owner, Stream: st, N: n} }

func TestJoinTellsOthersAndListsNewcomerLast(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	res := tb.ok("cay", Join{As: Profile{Name: "Cay", Video: true}}).(Joined)
	tb.hears("ann: MemberJoined", "ben: MemberJoined", "cay: Joined")
	var names []string
	for _, m := range res.State.Members {
		names = append(names, string(m.User))
	}
	if strings.Join(names, " ") != "ann ben cay" {
		t.Errorf("members %v", names)
	}
	if m := res.State.Members[2]; m.Name != "Cay" || !m.Video || m.Audio || m.May != AllPermits || m.Host {
		t.Errorf("newcomer is %+v", m)
	}
	if !res.State.Host.Host || res.State.Host.User != "ann" {
		t.Errorf("host is %+v", res.State.Host)
	}
}

func TestJoinRefused(t *testing.T) {
	tb := newTable(t, Open{Capacity: 2}, "ann", "ben")
	tb.refused("ann", Join{}, AlreadyJoined)
	tb.refused("cay", Join{}, RoomFull)
	tb.ok("ben", Leave{})
	tb.ok("cay", Join{})
}

func TestStrangersMayDoNothing(t *testing.T) {
	yes := true
	for _, c := range []Command{
		Leave{}, List{}, Edit{Video: &yes}, Arrange{}, Permit{User: "ben"}, Kick{User: "ben"}, Offer{Stream: cam("ann")},
		Subscribe{Stream: cam("ann")}, Answer{Stream: cam("ann")}, Trickle{Stream: cam("ann")}, Share{Content: Whiteboard},
		Show{}, Unshare{}, Say{}, Cast{Topic: Stroke}, Group{}, Ungroup{},
	} {
		tb := newTable(t, Open{}, "ann", "ben")
		tb.refused("eve", c, NotMember)
		tb.hears("eve: refused not_member")
	}
	tb := newTable(t, Open{}, "ann", "ben")
	tb.refused("eve", Close{}, NotPermitted)
}

func TestHostOnly(t *testing.T) {
	title, no := "x", false
	tb := newTable(t, Open{}, "ann", "ben", "cay")
	for _, c := range []Command{
		Close{}, Arrange{Title: &title}, Permit{User: "cay", Draw: &no}, Kick{User: "cay"}, Group{}, Ungroup{Group: "g"},
	} {
		tb.refused("ben", c, NotPermitted)
	}
	tb.heard()
	tb.ok("ann", Arrange{Host: new(UserID("ben"))})
	tb.ok("ben", Kick{User: "cay"})
	tb.refused("ann", Kick{User: "cay"}, NotPermitted)
	tb.refused("ben", Arrange{Host: new(UserID("nobody"))}, NoSuchMember)
	tb.hears("ann: Done", "ann: refused not_permitted", "ben: Done", "ben: refused no_such_member", "cay: Kicked")
}

func TestEditIsOneEvent(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben", "cay")
	res := tb.ok("ann", Edit{Video: new(false), Audio: new(true)}).(Edited)
	if res.Member.Video || !res.Member.Audio || res.Changed != (Changed{Video: true, Audio: true}) {
		t.Errorf("edited %+v", res)
	}
	tb.hears("ann: Edited", "ben: MemberEdited", "cay: MemberEdited")
	tb.ok("ann", Edit{Name: new("Ann"), To: "cay"})
	tb.hears("ann: Edited", "cay: MemberEdited")
	tb.ok("ann", Edit{Name: new("Anna"), Quiet: true})
	tb.ok("ann", Edit{})
	tb.hears("ann: Edited", "ann: Edited")
	tb.refused("ann", Edit{Name: new("x"), To: "nobody"}, NoSuchMember)
	if m := tb.ok("ben", List{}).(Listed).Members[0]; m.Name != "Anna" || m.Video {
		t.Errorf("listed %+v", m)
	}
}

func TestLeaveEndsEverythingOfTheirs(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben", "cay")
	tb.ok("ann", Offer{Stream: cam("ann"), SDP: "o"})
	tb.ok("ben", Offer{Stream: cam("ann"), SDP: "o"})
	tb.ok("ann", Offer{Stream: cam("ben"), SDP: "o"})
	tb.ok("cay", Offer{Stream: cam("ben"), SDP: "o"})
	for _, l := range []Leg{legOf("ann", cam("ann"), 1), legOf("ben", cam("ann"), 2), legOf("ann", cam("ben"), 3)} {
		tb.tells(Accepted{Leg: l})
	}
	tb.tells(Connected{Leg: legOf("ann", cam("ann"), 1)})
	tb.ok("cay", Offer{Stream: cam("ann"), SDP: "o"}) // this one is never answered by media
	tb.ok("ann", Share{Content: Whiteboard})
	tb.heard()
	tb.ok("ann", Leave{})
	tb.hears("ann: Done", "ben: Unshared", "ben: MemberLeft", "cay: Unshared", "cay: refused media_failed", "cay: MemberLeft")
	var dropped []string
	for _, a := range tb.media.asked {
		if strings.HasPrefix(a, "drop") {
			dropped = append(dropped, a)
		}
	}
	slices.Sort(dropped)
	if want := []string{"drop ann<ann/cam#1", "drop ann<ben/cam#3", "drop ben<ann/cam#2", "drop cay<ann/cam#5"}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %v", dropped)
	}
	// News of ann's connections that was under way reaches nobody.
	tb.tells(Accepted{Leg: legOf("ben", cam("ann"), 2), Answer: "a"})
	tb.tells(Connected{Leg: legOf("ann", cam("ann"), 1)})
	tb.tells(Failed{Leg: legOf("ann", cam("ann"), 1)})
	tb.tells(Talked{User: "ann", On: true})
	tb.hears()
	tb.ok("dan", Join{})
	tb.hears("ben: MemberJoined", "cay: MemberJoined", "dan: Joined")
}

func TestOfferIsAnsweredBeforeThePublisherIs(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	tb.ok("ben", Offer{Stream: cam("ann"), SDP: "o"})
	tb.hears()
	tb.tells(Accepted{Leg: legOf("ben", cam("ann"), 1), Answer: "a", Candidates: []Candidate{{Line: "c1"}, {Line: "c2"}}})
	tb.hears("ben: Answered", "ben: Found", "ben: Found")
	tb.refused("ben", Offer{Stream: cam("nobody")}, NoSuchMember)
}

func TestReplacedLegIsHeardNoMore(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	tb.ok("ben", Offer{Stream: cam("ann"), SDP: "1"})
	tb.ok("ben", Offer{Stream: cam("ann"), SDP: "2"})
	tb.hears("ben: refused media_failed") // every request is answered, once
	tb.tells(Accepted{Leg: legOf("ben", cam("ann"), 1), Answer: "1"})
	tb.tells(Failed{Leg: legOf("ben", cam("ann"), 1)})
	tb.hears()
	tb.tells(Accepted{Leg: legOf("ben", cam("ann"), 2), Answer: "2"})
	tb.hears("ben: Answered")
}

func TestFeedsAreNewsOnce(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	tb.ok("ann", Offer{Stream: cam("ann")})
	tb.refused("ben", Subscribe{Stream: cam("ann")}, NoSuchStream)
	tb.tells(Accepted{Leg: legOf("ann", cam("ann"), 1)})
	tb.heard()
	tb.tells(Connected{Leg: legOf("ann", cam("ann"), 1)})
	tb.hears("ben: FeedsAdded")
	tb.ok("ben", Subscribe{Stream: cam("ann")})
	tb.tells(Ready{Leg: legOf("ben", cam("ann"), 2), Offer: "o"})
	tb.ok("ben", Answer{Stream: cam("ann")})
	tb.tells(Settled{Leg: legOf("ben", cam("ann"), 2)})
	tb.ok("ben", Answer{Stream: cam("ann")}) // again: ignored
	tb.hears("ben: Offered", "ben: Done", "ben: Done")

	tb.ok("ann", Offer{Stream: cam("ann")}) // a new connection takes the place of the old
	tb.tells(Accepted{Leg: legOf("ann", cam("ann"), 3)})
	tb.tells(Connected{Leg: legOf("ann", cam("ann"), 3)})
	tb.hears("ann: Answered")
	if res := tb.ok("cay", Join{}).(Joined); !res.State.Members[0].Publishing {
		t.Error("ann is not shown as publishing")
	}
	tb.hears("ann: MemberJoined", "ben: MemberJoined", "cay: Joined", "cay: FeedsAdded")
	tb.tells(Failed{Leg: legOf("ann", cam("ann"), 3)})
	tb.hears("ben: FeedRemoved", "cay: FeedRemoved")
	tb.refused("ben", Answer{Stream: cam("cay")}, NoSuchStream)
	tb.refused("ann", Subscribe{Stream: cam("ann")}, NoSuchStream)
}

func TestMediaFailureLeavesTheRoomUsable(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	tb.ok("ann", Offer{Stream: cam("ann")})
	tb.tells(Accepted{Leg: legOf("ann", cam("ann"), 1), Err: context.DeadlineExceeded})
	tb.hears("ann: refused media_failed")
	tb.ok("ann", Offer{Stream: cam("ann")})
	tb.tells(Accepted{Leg: legOf("ann", cam("ann"), 2), Answer: "a"})
	tb.hears("ann: Answered")
}

func TestOneShareLock(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	tb.ok("ann", Unshare{}) // nobody shares
	tb.ok("ann", Share{Content: ScreenShare})
	tb.refused("ben", Share{Content: Whiteboard}, ShareTaken)
	tb.refused("ben", Unshare{}, ShareTaken)
	tb.refused("ben", Offer{Stream: Stream{"ben", Screen}}, ShareTaken)
	tb.refused("ben", Show{Image: "i"}, ShareTaken)
	tb.refused("ann", Show{Image: "i"}, NotSharing)
	tb.ok("ann", Share{Content: Document}) // the sharer may change what
	tb.ok("ann", Show{Image: "page 1"})
	tb.heard()
	res := tb.ok("cay", Join{}).(Joined)
	if s := res.State.Sharing; s == nil || *s != (Sharing{Document, "ann", "page 1"}) {
		t.Errorf("newcomer sees %+v", s)
	}
	tb.heard()
	tb.ok("ann", Unshare{})
	tb.hears("ann: Done", "ben: Unshared", "cay: Unshared")
	tb.refused("ann", Show{}, NotSharing)
	tb.ok("ben", Offer{Stream: Stream{"ben", Screen}}) // takes the free lock silently
	tb.refused("ann", Share{Content: Whiteboard}, ShareTaken)
	tb.tells(Accepted{Leg: legOf("ben", Stream{"ben", Screen}, 1)})
	tb.tells(Connected{Leg: legOf("ben", Stream{"ben", Screen}, 1)})
	tb.heard()
	tb.ok("ben", Unshare{})
	tb.hears("ann: Unshared", "ann: FeedRemoved", "ben: Done", "cay: Unshared", "cay: FeedRemoved")
}

func TestPermitsAreEnforced(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	no := new(false)
	tb.ok("ann", Permit{User: "ben", Draw: no, Chat: no, Screen: no, Whiteboard: no, Document: no})
	tb.hears("ann: Done")
	for _, c := range []Command{
		Cast{Topic: Stroke}, Say{}, Share{Content: ScreenShare}, Share{Content: Whiteboard}, Share{Content: Document}, Show{},
		Offer{Stream: Stream{"ben", Screen}},
	} {
		tb.refused("ben", c, NotPermitted)
	}
	tb.heard()
	tb.ok("ben", Cast{Topic: Notice}) // needs no permit
	tb.hears("ann: Passed", "ben: Relayed")
	tb.ok("ann", Permit{User: "ben", Draw: new(true)})
	tb.ok("ben", Cast{Topic: Stroke})
	tb.refused("ann", Permit{User: "nobody"}, NoSuchMember)
	if m := tb.ok("ann", List{}).(Listed).Members[1]; m.May != (Permits{Draw: true}) {
		t.Errorf("permits %+v", m.May)
	}
}

// Who leaves and comes again, or is displaced, may do what they might before.
func TestPermitsOutlastASeat(t *testing.T) {
	tb := newTable(t, Open{Deny: Permits{Screen: true}}, "ann", "ben", "cay")
	may := func(who int) Permits { return tb.ok("ann", List{}).(Listed).Members[who].May }
	tb.ok("ann", Permit{User: "ben", Draw: new(false), Chat: new(false), Screen: new(true)})
	tb.ok("ann", Permit{User: "cay", Draw: new(false)})
	want := may(1)
	for range 2 {
		tb.ok("ben", Leave{})
		tb.ok("ben", Join{})
		if got := may(2); got != want { // ben comes last now
			t.Errorf("permits %+v, were %+v", got, want)
		}
		tb.refused("ben", Cast{Topic: Stroke}, NotPermitted)
	}
	tb.ok("ann", Permit{User: "ben", Draw: new(true), Chat: new(true), Screen: new(false)})
	if n := len(tb.room.permits); n != 1 {
		t.Errorf("%d are remembered, though cay alone may do other than all", n)
	}
}

func TestPermitsRememberedAreFew(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	for n := range maxPermits {
		tb.room.permits[UserID(fmt.Sprint("gone", n))] = Permits{}
	}
	tb.ok("ann", Permit{User: "ben", Draw: new(false)})
	if _, ok := tb.room.permits["ben"]; !ok || len(tb.room.permits) != maxPermits {
		t.Errorf("%d are remembered, ben: %v", len(tb.room.permits), ok)
	}
}

// What is to be told once is told once, whatever is asked for.
func TestInvitationsComeOnce(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben")
	g := tb.ok("ann", Group{Users: []UserID{"ben", "ben", "nobody", "ann", "ben", "ann"}}).(Grouped)
	tb.hears("ann: Grouped", "ann: Invited", "ben: Invited")
	tb.ok("ann", Ungroup{Group: g.Group})
}

func TestSayReachesEachOnce(t *testing.T) {
	tb := newTable(t, Open{}, "ann", "ben", "cay")
	tb.person("dan") // online, elsewhere
	tb.ok("ann", Say{Room: "r"})
	tb.hears("ann: Done", "ben: Said", "cay: Said")
	tb.ok("ann", Say{Room: "r", To: "ben"})
	tb.hears("ann: Done", "ben: Said", "cay: Said")
	tb.ok("ann", Say{Room: "r", To: "dan"})
	tb.hears("ann: Done", "ben: Said", "cay: Said", "dan: Said")
	tb.refused("ann", Say{Room: "r", To: "nobody"}, NoSuchMember)
	tb.hears("ann: refused no_such_member")
}

func TestMeshRelaysAndNeverTouchesMedia(t *testing.T) {
	tb := newTable(t, Open{Mode: Mesh}, "ann", "ben", "cay")
	tb.refused("ann", Offer{Stream: cam("ann")}, WrongMode)
	tb.refused("ann", Subscribe{Stream: cam("ben")}, WrongMode)
	tb.refused("ann", Answer{Stream: cam("ben")}, WrongMode)
	tb.heard()
	tb.ok("ann", Cast{Topic: Signal, To: "ben", Body: JSON(`{}`)})
	tb.ok("ann", Trickle{To: "ben", Body: JSON(`{}`)})
	tb.ok("ann", Trickle{Body: JSON(`{}`)})
	tb.hears("ann: Relayed", "ann: Done", "ann: Done", "ben: Passed", "ben: CandidatePassed", "ben: CandidatePassed", "cay: CandidatePassed")
	if len(tb.media.asked) != 0 {
		t.Errorf("media was asked to %v", tb.media.asked)
	}
}

func TestSpeakingIsToldToAll(t *testing.T) {
	tb := newTable(t, Open{Speaking: true}, "ann", "ben")
	tb.tells(Talked{User: "ann", On: true})
	tb.hears("ann: Speaking", "ben: Speaking")
	tb.ok("cay", Join{})
	tb.hears("ann: MemberJoined", "ben: MemberJoined", "cay: Joined", "cay: Speaking")
	tb.tells(Talked{User: "ann"})
	tb.heard()
	tb.ok("dan", Join{})
	tb.hears("ann: MemberJoined", "ben: MemberJoined", "cay: MemberJoined", "dan: Joined")
}
