package wiretest

import (
	"cmp"
	"fmt"
	"slices"

	"confgate/core"
)

// world is the reference: what the documents of both dialects say a house does,
// with nothing of how ours does it. It is told what a client asked, and says what
// everybody must hear.
type world struct {
	limit int // of rooms that are made by joining
	waits bool
	drain bool
	nRoom int
	nUser int
	conns map[string]*conn
	users map[core.UserID]*conn // who speaks for each
	rooms map[core.RoomID]*place
	last  map[core.RoomID]*place // the last of each name, there or not

	news  []heard
	heard map[string][]core.Event
	loose bool // several rooms ended at once, in no order
}

// conn is a connection.
type conn struct {
	name  string
	user  core.UserID
	proof string
	shows core.Profile
	quiet bool
	in    []*place
	ended bool
}

// place is a room.
type place struct {
	core.Open
	host       core.UserID
	main       *place
	used, over bool
	seats      []*chair
	share      *core.Sharing
	feeds      []core.Stream
	links      []*link
	asked      map[uint64]*link
	nLink      uint64
	groups     []core.RoomID
	may        map[core.UserID]core.Permits // of whom the host has said something
	kids       []*place
}

// chair is a member's.
type chair struct {
	core.Member
	conn *conn
	says bool // speaks now
	away bool // conn was lost; whoever is the same person may take the chair
}

// link is a media connection.
type link struct {
	n      uint64
	owner  *chair
	stream core.Stream
	state  string // asked, offered, settled, or over
	due    []due
	ref    *core.Ref // of the request that waits
}

type due struct {
	kind string
	ref  core.Ref
	sdp  string
}

type heard struct {
	by    *conn
	event core.Event
}

func newWorld(limit int) *world {
	return &world{
		limit: limit, conns: make(map[string]*conn), users: make(map[core.UserID]*conn),
		rooms: make(map[core.RoomID]*place), last: make(map[core.RoomID]*place), heard: make(map[string][]core.Event),
	}
}

func (w *world) conn(name string) *conn {
	if c := w.conns[name]; c != nil && !c.ended {
		return c
	}
	w.conns[name] = &conn{name: name}
	return w.conns[name]
}

func (w *world) out(c *conn, e core.Event) {
	if !c.ended {
		w.heard[c.name] = append(w.heard[c.name], e)
	}
}

func (w *world) tell(c *conn, e core.Event) { w.news = append(w.news, heard{c, e}) }

func (w *world) flush() {
	for _, n := range w.news {
		w.out(n.by, n.event)
	}
	w.news = nil
}

func (w *world) reply(c *conn, ref core.Ref, res core.Result, code core.Code) {
	w.out(c, reply(ref, res, code))
}

func reply(ref core.Ref, res core.Result, code core.Code) core.Event {
	if code != "" {
		return core.Reply{Ref: ref, Err: &core.Error{Code: code}}
	}
	return core.Reply{Ref: ref, Result: res}
}

// does has a client ask for something.
func (w *world) does(c *conn, ref core.Ref, cmd core.Command) {
	switch cmd := cmd.(type) {
	case core.Hello:
		user, code := w.identify(c, cmd.Cred, cmd.Online)
		if code == "" {
			c.shows = core.Profile{Name: cmd.Cred.Name, Device: cmd.Cred.Device}
		}
		w.reply(c, ref, core.Welcome{User: user}, code)
	case core.Join:
		if code := w.join(c, ref, cmd); code != "" {
			w.reply(c, ref, nil, code)
		}
	default:
		res, code, replied := w.session(c, ref, cmd)
		if !replied {
			w.reply(c, ref, res, code)
		}
	}
}

func (w *world) identify(c *conn, cred core.Credentials, o core.Online) (core.UserID, core.Code) {
	if cred.Token == "forged" || cred.Key == "forged" {
		return "", core.Unauthorized
	}
	user, proof := cred.User, cred.Tenant+"/"+cred.Key+"/"+cred.Token
	if user == "" {
		w.nUser++
		user = core.UserID(fmt.Sprint("u", 1000000+w.nUser))
	}
	if c.user != "" && c.user != user {
		w.leaveAll(c)
		w.forget(c)
	}
	old := w.users[user]
	switch {
	case old == c:
		return user, ""
	case old == nil:
	case o == core.Refuse, o == core.Reclaim && (!old.quiet || old.proof != proof):
		return "", core.UserOnline
	}
	w.users[user] = c
	c.user, c.proof = user, proof
	switch {
	case old == nil:
	case o == core.Reclaim:
		old.ended = true
		w.hold(old)
	default:
		w.evict(old)
		old.ended = o != core.Displace
	}
	return user, ""
}

// hold keeps the chairs of a connection whose place another has taken. What it
// receives ends.
func (w *world) hold(c *conn) {
	for _, r := range c.in {
		s := r.of(c)
		if s == nil {
			continue
		}
		s.away = true
		for _, l := range slices.Clone(r.links) {
			if up := l.stream.User == s.User; l.owner == s && (!up || l.ref != nil) {
				w.cutLinks(r, func(o *link) bool { return o == l })
				if up {
					w.dropFeed(r, l.stream)
				}
			}
		}
		w.flush()
	}
}

// passTime lets time pass, until nobody waits for those who are away.
func (w *world) passTime() {
	for _, r := range w.rooms {
		for _, s := range slices.Clone(r.seats) {
			if s.away {
				w.loose = true
				w.leave(r, s)
				w.flush()
			}
		}
	}
}

// resume gives somebody their chair back.
func (w *world) resume(r *place, s *chair, c *conn, as core.Profile) {
	was := s.Member
	s.conn, s.away = c, false
	s.Name, s.Device, s.Video, s.Audio = cmp.Or(as.Name, s.Name), cmp.Or(as.Device, s.Device), as.Video, as.Audio
	r.seats = append(slices.DeleteFunc(r.seats, func(o *chair) bool { return o == s }), s)
	changed := core.Changed{Name: s.Name != was.Name, Video: s.Video != was.Video, Audio: s.Audio != was.Audio}
	if changed != (core.Changed{}) {
		w.others(r, s, core.MemberEdited{Room: r.Room, Member: r.member(s), Changed: changed})
	}
}

// evict takes a connection out of all its rooms. It does not know yet.
func (w *world) evict(c *conn) {
	seats := slices.Clone(c.in)
	slices.SortFunc(seats, func(a, b *place) int { return cmp.Compare(a.Room, b.Room) })
	for _, r := range seats {
		if s := r.of(c); s != nil {
			w.leave(r, s)
			w.flush()
		}
	}
}

func (w *world) forget(c *conn) {
	if w.users[c.user] == c {
		delete(w.users, c.user)
	}
	c.user = ""
}

// gone ends a connection from the client's side.
func (w *world) gone(c *conn) {
	c.ended = true
	w.leaveAll(c)
	w.forget(c)
}

func (w *world) leaveAll(c *conn) {
	for _, r := range c.in {
		if s := r.of(c); s != nil {
			w.leave(r, s)
			w.flush()
		}
	}
	c.in = nil
}

func (w *world) join(c *conn, ref core.Ref, cmd core.Join) core.Code {
	if cmd.Cred != nil {
		if _, code := w.identify(c, *cmd.Cred, cmd.Online); code != "" {
			return code
		}
	}
	switch {
	case c.user == "":
		return core.NotRegistered
	case ref.As != "" && ref.As != c.user:
		return core.Mismatch
	}
	if cmd.Alone {
		w.leaveAll(c)
	}
	r := w.rooms[cmd.Room]
	switch {
	case w.drain:
		return core.Draining
	case r == nil && cmd.Make == nil:
		return core.NoSuchRoom
	case r == nil:
		made := *cmd.Make
		made.Room = cmd.Room
		r = w.open(c.user, made, nil)
		r.used = true
	}
	away := r.named(c.user)
	switch {
	case away != nil && !away.away:
		return core.AlreadyJoined
	case away != nil && w.users[c.user] == c:
		cmd.As.Name, cmd.As.Device = cmp.Or(cmd.As.Name, c.shows.Name), cmp.Or(cmd.As.Device, c.shows.Device)
		w.resume(r, away, c, cmd.As)
		w.greet(c, r, ref)
		return ""
	case away != nil:
		return core.UserOnline
	case r.Capacity > 0 && len(r.seats) >= r.Capacity:
		return core.RoomFull
	case w.users[c.user] != c:
		w.check(r)
		return core.UserOnline
	}
	s := &chair{conn: c, Member: core.Member{
		User: c.user, Name: cmp.Or(cmd.As.Name, c.shows.Name), Device: cmp.Or(cmd.As.Device, c.shows.Device),
		Community: cmd.As.Community, Video: cmd.As.Video, Audio: cmd.As.Audio, May: core.AllPermits,
	}}
	if may, ok := r.may[c.user]; ok {
		s.May = may
	}
	r.seats, r.used = append(r.seats, s), true
	w.others(r, s, core.MemberJoined{Room: r.Room, Member: r.member(s)})
	w.greet(c, r, ref)
	return ""
}

// greet replies to who has joined.
func (w *world) greet(c *conn, r *place, ref core.Ref) {
	if !slices.Contains(c.in, r) {
		c.in = append(c.in, r)
	}
	w.reply(c, ref, core.Joined{State: r.state()}, "")
	var feeds []core.Feed
	for _, f := range r.feeds {
		if f.User != c.user {
			feeds = append(feeds, core.Feed{Member: r.member(r.named(f.User)), Source: f.Source})
		}
	}
	if feeds != nil {
		w.tell(c, core.FeedsAdded{Room: r.Room, Feeds: feeds})
	}
	for _, s := range r.seats {
		if s.says && s.conn != c {
			w.tell(c, core.Speaking{Room: r.Room, User: s.User, On: true})
		}
	}
	w.flush()
}

func (w *world) open(host core.UserID, o core.Open, main *place) *place {
	r := &place{Open: o, host: host, main: main, asked: make(map[uint64]*link), may: make(map[core.UserID]core.Permits)}
	w.rooms[o.Room], w.last[o.Room] = r, r
	if main != nil {
		main.kids = append(main.kids, r)
	}
	return r
}

// newRoom gives the next id that the house thinks of.
func (w *world) newRoom() core.RoomID {
	for {
		w.nRoom++
		if id := core.RoomID(fmt.Sprint("r", 1000000+w.nRoom)); w.rooms[id] == nil {
			return id
		}
	}
}

func (w *world) session(c *conn, ref core.Ref, cmd core.Command) (res core.Result, code core.Code, replied bool) {
	switch {
	case c.user == "":
		return nil, core.NotRegistered, false
	case ref.As != "" && ref.As != c.user:
		return nil, core.Mismatch, false
	}
	switch cmd := cmd.(type) {
	case core.Ping:
		return core.Done{}, "", false
	case core.Bad:
		return nil, cmd.Code, false
	case core.Open:
		switch {
		case w.users[c.user] != c:
			return nil, core.UserOnline, false
		case w.drain:
			return nil, core.Draining, false
		case cmd.Room == "":
			cmd.Room = w.newRoom()
		}
		if w.rooms[cmd.Room] != nil {
			return nil, core.RoomExists, false
		}
		w.open(c.user, cmd, nil)
		return core.Opened{Room: cmd.Room}, "", false
	case core.Leave:
		if cmd.Room == "" && len(c.in) > 1 {
			w.leaveAll(c)
			return core.Done{}, "", false
		}
		res, code, replied := w.inRoom(c, ref, cmd.Room, cmd)
		if code == core.NoSuchRoom {
			n := len(c.in)
			c.in = slices.DeleteFunc(c.in, func(r *place) bool { return r.Room == cmd.Room })
			if len(c.in) < n {
				return core.Done{}, "", false
			}
		}
		return res, code, replied
	default:
	}
	if room := roomOf(cmd); room != "" || !goesEverywhere(cmd) {
		return w.inRoom(c, ref, room, cmd)
	}
	return w.everywhere(c, ref, cmd)
}

func goesEverywhere(cmd core.Command) bool {
	switch cmd.(type) {
	case core.Edit, core.Say, core.Cast, core.Trickle:
		return true
	default:
		return false
	}
}

// inRoom does it in the room that is named; in the last one if none is.
func (w *world) inRoom(c *conn, ref core.Ref, id core.RoomID, cmd core.Command) (core.Result, core.Code, bool) {
	r := w.rooms[id]
	switch {
	case id == "" && len(c.in) == 0:
		return nil, core.NotMember, false
	case id == "":
		r = c.in[len(c.in)-1]
	case r == nil:
		return nil, core.NoSuchRoom, false
	}
	return w.visit(c, r, ref, cmd, true, false)
}

// visit does it in r, which replies unless the client's session will. Which names no
// room is for the one person that it names only.
func (w *world) visit(c *conn, r *place, ref core.Ref, cmd core.Command, named, quiet bool) (core.Result, core.Code, bool) {
	seated := r.of(c) != nil
	defer func() {
		if _, closed := cmd.(core.Close); closed && seated { // it finds out when it next asks
			return
		}
		if r.of(c) == nil {
			c.in = slices.DeleteFunc(c.in, func(o *place) bool { return o == r })
		}
	}()
	if r.over {
		return nil, core.NoSuchRoom, false
	}
	res, code := w.room(c, r, ref, cmd, named)
	if !quiet && (res != nil || code != "") {
		w.reply(c, ref, res, code)
	}
	w.flush()
	w.agree(r)
	return res, code, true
}

// everywhere does what names no room: in all rooms that it concerns, else for the
// one person it names.
func (w *world) everywhere(c *conn, ref core.Ref, cmd core.Command) (res core.Result, code core.Code, replied bool) {
	rooms, some := slices.Clone(c.in), false
	for _, r := range rooms {
		to := core.UserID("")
		switch cmd := cmd.(type) {
		case core.Say:
			to = cmd.To
		case core.Cast:
			to = cmd.To
		case core.Trickle:
			if to = cmd.Stream.User; r.Mode == core.Mesh {
				to = cmd.To
			}
		default:
		}
		if !r.over && to != "" && r.named(to) == nil {
			if r.of(c) == nil {
				c.in = slices.DeleteFunc(c.in, func(o *place) bool { return o == r })
			}
			continue
		}
		got, bad, reached := w.visit(c, r, ref, cmd, false, len(rooms) > 1)
		switch {
		case !reached:
		case len(rooms) == 1:
			return nil, "", true
		case bad == "" && passedOn(r, cmd):
			return got, "", false // heard once, by whoever is in several of the rooms
		default:
			some = true
			if res == nil {
				res = got
			}
			code = cmp.Or(code, bad)
		}
	}
	switch {
	case some && res != nil:
		return res, "", false
	case some:
		return nil, code, false
	}
	res, code = w.direct(c, cmd)
	return res, code, false
}

// passedOn reports whether what was asked for in a room went to one person.
func passedOn(r *place, cmd core.Command) bool {
	switch cmd := cmd.(type) {
	case core.Say:
		return cmd.To != ""
	case core.Cast:
		return cmd.To != ""
	case core.Trickle:
		return cmd.To != "" && r.Mode == core.Mesh
	default:
		return false
	}
}

// direct gives something to one person, wherever they are.
func (w *world) direct(c *conn, cmd core.Command) (core.Result, core.Code) {
	switch cmd := cmd.(type) {
	case core.Say:
		return core.Done{}, w.deliver(c, cmd.To, core.Said{From: c.user, Message: cmd.Message})
	case core.Cast:
		return core.Relayed{To: cmd.To, Topic: cmd.Topic, Body: cmd.Body},
			w.deliver(c, cmd.To, core.Passed{From: c.user, To: cmd.To, Topic: cmd.Topic, Body: cmd.Body})
	case core.Trickle:
		if cmd.Body == nil {
			return nil, core.NoSuchMember
		}
		return core.Done{}, w.deliver(c, cmd.To, core.CandidatePassed{From: c.user, To: cmd.To, Body: cmd.Body})
	default:
		return nil, core.NotMember
	}
}

func (w *world) deliver(from *conn, to core.UserID, e core.Event) core.Code {
	switch {
	case to == "":
		return core.NoSuchMember
	case w.users[from.user] != from:
		return core.UserOnline
	case w.users[to] == nil:
		return core.NoSuchMember
	}
	w.out(w.users[to], e)
	return ""
}

// roomOf gives the room that a command names.
func roomOf(cmd core.Command) core.RoomID {
	switch cmd := cmd.(type) {
	case core.Close:
		return cmd.Room
	case core.Leave:
		return cmd.Room
	case core.Edit:
		return cmd.Room
	case core.Arrange:
		return cmd.Room
	case core.List:
		return cmd.Room
	case core.Offer:
		return cmd.Room
	case core.Subscribe:
		return cmd.Room
	case core.Answer:
		return cmd.Room
	case core.Trickle:
		return cmd.Room
	case core.Share:
		return cmd.Room
	case core.Show:
		return cmd.Room
	case core.Unshare:
		return cmd.Room
	case core.Say:
		return cmd.Room
	case core.Cast:
		return cmd.Room
	case core.Permit:
		return cmd.Room
	case core.Kick:
		return cmd.Room
	case core.Group:
		return cmd.Room
	case core.Ungroup:
		return cmd.Room
	case core.Hello, core.Open, core.Join, core.Ping, core.Bad:
	}
	return ""
}
