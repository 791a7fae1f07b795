package wiretest

import (
	"fmt"
	"slices"

	"confgate/core"
)

// witness sits beside one client, and knows of a house's rules only what that client
// may rely on, whatever the rooms are like.
type witness struct {
	me    core.UserID
	knows map[core.RoomID][]core.UserID // of whom it was told, room by room
	waits map[core.Ref]int              // requests that have no reply
}

func newWitness() *witness {
	return &witness{knows: make(map[core.RoomID][]core.UserID), waits: make(map[core.Ref]int)}
}

// asks notes a request.
func (x *witness) asks(ref core.Ref) { x.waits[plain(ref)]++ }

// plain gives what names a request.
func plain(ref core.Ref) core.Ref { return core.Ref{Op: ref.Op, ID: ref.ID} }

// hears takes an event, and says what is wrong with it.
func (x *witness) hears(e core.Event) error {
	if r, ok := e.(core.Reply); ok {
		return x.replied(r)
	}
	switch e := e.(type) {
	case core.MemberJoined:
		if x.told(e.Room, e.Member.User) {
			return fmt.Errorf("%s came to %s twice", e.Member.User, e.Room)
		}
		if _, in := x.knows[e.Room]; !in {
			return fmt.Errorf("%s came to %s, where the client is not", e.Member.User, e.Room)
		}
		x.knows[e.Room] = append(x.knows[e.Room], e.Member.User)
		return nil
	case core.MemberLeft:
		if !x.told(e.Room, e.User) {
			return fmt.Errorf("%s left %s, but was not there", e.User, e.Room)
		}
		x.knows[e.Room] = slices.DeleteFunc(x.knows[e.Room], func(u core.UserID) bool { return u == e.User })
		return nil
	case core.RoomClosed:
		if _, in := x.knows[e.Room]; !in {
			return fmt.Errorf("%s closed, where the client is not", e.Room)
		}
		delete(x.knows, e.Room)
		return nil
	default:
	}
	room, users := about(e)
	for _, u := range users {
		if room != "" && u != x.me && !x.told(room, u) {
			return fmt.Errorf("%T about %s in %s, of whom the client was not told", e, u, room)
		}
	}
	return nil
}

func (x *witness) replied(r core.Reply) error {
	ref := plain(r.Ref)
	if x.waits[ref] == 0 {
		return fmt.Errorf("a reply to %v, which was not asked or has one", ref)
	}
	if x.waits[ref]--; x.waits[ref] == 0 {
		delete(x.waits, ref)
	}
	if (r.Result == nil) == (r.Err == nil) {
		return fmt.Errorf("a reply to %v with not exactly one of result and error", ref)
	}
	switch res := r.Result.(type) {
	case core.Welcome:
		x.me = res.User
	case core.Joined:
		x.knows[res.State.Room] = nil
		for _, m := range res.State.Members {
			x.knows[res.State.Room] = append(x.knows[res.State.Room], m.User)
		}
		x.me = res.State.Members[len(res.State.Members)-1].User
	default:
	}
	return nil
}

func (x *witness) told(r core.RoomID, u core.UserID) bool { return slices.Contains(x.knows[r], u) }

// about gives the room that an event is about and the people it names. News from
// person to person, which names no room, may be from anybody.
func about(e core.Event) (core.RoomID, []core.UserID) {
	switch e := e.(type) {
	case core.MemberEdited:
		return e.Room, []core.UserID{e.Member.User}
	case core.FeedsAdded:
		var users []core.UserID
		for _, f := range e.Feeds {
			users = append(users, f.Member.User)
		}
		return e.Room, users
	case core.FeedRemoved:
		return e.Room, []core.UserID{e.Stream.User}
	case core.Found:
		return e.Room, []core.UserID{e.Stream.User}
	case core.Shared:
		return e.Room, []core.UserID{e.User}
	case core.Shown:
		return e.Room, []core.UserID{e.User}
	case core.Unshared:
		return e.Room, []core.UserID{e.User}
	case core.Said:
		return e.Room, []core.UserID{e.From}
	case core.Passed:
		if e.To != "" {
			return "", nil
		}
		return e.Room, []core.UserID{e.From}
	case core.CandidatePassed:
		if e.To != "" {
			return "", nil
		}
		return e.Room, []core.UserID{e.From}
	case core.Speaking:
		return e.Room, []core.UserID{e.User}
	case core.Invited:
		return e.Room, []core.UserID{e.From}
	case core.Kicked:
		return e.Room, []core.UserID{e.By}
	case core.Reply, core.MemberJoined, core.MemberLeft, core.RoomClosed:
	}
	return "", nil
}
