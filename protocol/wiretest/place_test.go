package wiretest

import (
	"cmp"
	"slices"

	"confgate/core"
)

func (r *place) named(u core.UserID) *chair {
	for _, s := range r.seats {
		if s.User == u {
			return s
		}
	}
	return nil
}

func (r *place) of(c *conn) *chair {
	for _, s := range r.seats {
		if s.conn == c && !s.away {
			return s
		}
	}
	return nil
}

func (r *place) member(s *chair) core.Member {
	m := s.Member
	m.Host = m.User == r.host
	m.Publishing = slices.ContainsFunc(r.feeds, func(f core.Stream) bool { return f.User == m.User })
	return m
}

func (r *place) members() []core.Member {
	all := []core.Member{}
	for _, s := range r.seats {
		all = append(all, r.member(s))
	}
	return all
}

func (r *place) state() core.RoomState {
	st := core.RoomState{
		Room: r.Room, Title: r.Title, Mode: r.Mode, Speaking: r.Speaking,
		Host: core.Member{User: r.host, Host: true}, Members: r.members(), Groups: slices.Clone(r.groups),
	}
	if s := r.named(r.host); s != nil {
		st.Host = r.member(s)
	}
	if r.share != nil {
		st.Sharing = new(*r.share)
	}
	return st
}

func (w *world) others(r *place, me *chair, e core.Event) {
	for _, s := range r.seats {
		if s != me {
			w.tell(s.conn, e)
		}
	}
}

// room does what a member asks of a room.
func (w *world) room(c *conn, r *place, ref core.Ref, cmd core.Command, named bool) (core.Result, core.Code) {
	if _, ok := cmd.(core.Close); ok {
		if c.user != r.host {
			return nil, core.NotPermitted
		}
		w.others(r, r.named(c.user), core.RoomClosed{Room: r.Room})
		w.end(r)
		return core.Done{}, ""
	}
	me := r.of(c)
	if me == nil {
		return nil, core.NotMember
	}
	switch cmd := cmd.(type) {
	case core.Leave:
		w.leave(r, me)
		return core.Done{}, ""
	case core.List:
		return core.Listed{Room: r.Room, Members: r.members()}, ""
	case core.Edit:
		return w.edit(r, me, cmd)
	case core.Offer, core.Subscribe, core.Answer, core.Trickle:
		return w.link(r, me, ref, cmd)
	case core.Share, core.Show, core.Unshare:
		return w.shares(r, me, cmd)
	case core.Say:
		return w.say(r, me, cmd, named)
	case core.Cast:
		return w.cast(r, me, cmd)
	default:
		if me.User != r.host {
			return nil, core.NotPermitted
		}
		return w.hosts(r, me, cmd)
	}
}

// hosts does what is the host's to do.
func (w *world) hosts(r *place, me *chair, cmd core.Command) (core.Result, core.Code) {
	switch cmd := cmd.(type) {
	case core.Arrange:
		if cmd.Host != nil && r.named(*cmd.Host) == nil {
			return nil, core.NoSuchMember
		}
		assign(&r.host, cmd.Host)
		assign(&r.Title, cmd.Title)
		assign(&r.Capacity, cmd.Capacity)
	case core.Permit:
		s := r.named(cmd.User)
		if s == nil {
			return nil, core.NoSuchMember
		}
		assign(&s.May.Screen, cmd.Screen)
		assign(&s.May.Chat, cmd.Chat)
		assign(&s.May.Whiteboard, cmd.Whiteboard)
		assign(&s.May.Draw, cmd.Draw)
		assign(&s.May.Document, cmd.Document)
		r.may[s.User] = s.May
	case core.Kick:
		s := r.named(cmd.User)
		if s == nil {
			return nil, core.NoSuchMember
		}
		w.tell(s.conn, core.Kicked{Room: r.Room, By: me.User})
	case core.Group:
		if w.drain {
			return nil, core.Draining
		}
		g := w.open(r.host, core.Open{Room: w.newRoom(), Mode: r.Mode, Title: cmd.Title, Keep: true, Speaking: r.Speaking}, r)
		r.groups = append(r.groups, g.Room)
		for _, u := range cmd.Users {
			if s := r.named(u); s != nil {
				w.tell(s.conn, core.Invited{Room: r.Room, From: me.User, Group: g.Room})
			}
		}
		return core.Grouped{Room: r.Room, Group: g.Room}, ""
	case core.Ungroup:
		i := slices.Index(r.groups, cmd.Group)
		if i < 0 {
			return nil, core.NoSuchRoom
		}
		r.groups = slices.Delete(r.groups, i, i+1)
		if g := w.rooms[cmd.Group]; g != nil && g.main == r {
			w.end(g)
		}
	default:
		return nil, core.Unknown
	}
	return core.Done{}, ""
}

func assign[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

func (w *world) edit(r *place, me *chair, cmd core.Edit) (core.Result, core.Code) {
	to := r.named(cmd.To)
	if cmd.To != "" && to == nil {
		return nil, core.NoSuchMember
	}
	assign(&me.Name, cmd.Name)
	assign(&me.Video, cmd.Video)
	assign(&me.Audio, cmd.Audio)
	changed := core.Changed{Name: cmd.Name != nil, Video: cmd.Video != nil, Audio: cmd.Audio != nil}
	e := core.MemberEdited{Room: r.Room, Member: r.member(me), Changed: changed}
	switch {
	case cmd.Quiet, changed == core.Changed{}:
	case to != nil:
		w.tell(to.conn, e)
	default:
		w.others(r, me, e)
	}
	return core.Edited{Room: r.Room, Member: r.member(me), Changed: changed}, ""
}

// shares is about the one share lock.
func (w *world) shares(r *place, me *chair, cmd core.Command) (core.Result, core.Code) {
	switch cmd := cmd.(type) {
	case core.Share:
		if code := r.lock(me, cmd.Content); code != "" {
			return nil, code
		}
		w.others(r, me, core.Shared{Room: r.Room, User: me.User, Content: cmd.Content})
	case core.Show:
		switch {
		case !me.May.Document:
			return nil, core.NotPermitted
		case r.share != nil && r.share.User != me.User:
			return nil, core.ShareTaken
		case r.share == nil || r.share.Content != core.Document:
			return nil, core.NotSharing
		}
		r.share.Image = cmd.Image
		w.others(r, me, core.Shown{Room: r.Room, User: me.User, Image: cmd.Image})
	case core.Unshare:
		if r.share == nil {
			break
		}
		if r.share.User != me.User {
			return nil, core.ShareTaken
		}
		w.unshare(r, me)
	default:
	}
	return core.Done{}, ""
}

func (r *place) lock(me *chair, c core.Content) core.Code {
	may := map[core.Content]bool{
		core.ScreenShare: me.May.Screen, core.Whiteboard: me.May.Whiteboard, core.Document: me.May.Document,
	}
	switch {
	case !may[c]:
		return core.NotPermitted
	case r.share != nil && r.share.User != me.User:
		return core.ShareTaken
	case r.share == nil || r.share.Content != c:
		r.share = &core.Sharing{Content: c, User: me.User}
	}
	return ""
}

func (w *world) unshare(r *place, me *chair) {
	content := r.share.Content
	r.share = nil
	w.others(r, me, core.Unshared{Room: r.Room, User: me.User, Content: content})
	screen := core.Stream{User: me.User, Source: core.Screen}
	w.cutLinks(r, func(l *link) bool { return l.stream == screen })
	w.dropFeed(r, screen)
}

func (w *world) dropFeed(r *place, st core.Stream) {
	if i := slices.Index(r.feeds, st); i >= 0 {
		r.feeds = slices.Delete(r.feeds, i, i+1)
		w.others(r, r.named(st.User), core.FeedRemoved{Room: r.Room, Stream: st})
	}
}

func (w *world) say(r *place, me *chair, cmd core.Say, named bool) (core.Result, core.Code) {
	if !me.May.Chat {
		return nil, core.NotPermitted
	}
	person := core.Said{From: me.User, Message: cmd.Message}
	to := r.named(cmd.To)
	switch {
	case to != nil && !named:
		w.tell(to.conn, person)
		return core.Done{}, ""
	case to == nil && cmd.To != "":
		if code := w.deliver(me.conn, cmd.To, person); code != "" {
			return nil, code
		}
	}
	w.others(r, me, core.Said{Room: r.Room, From: me.User, Message: cmd.Message})
	return core.Done{}, ""
}

func (w *world) cast(r *place, me *chair, cmd core.Cast) (core.Result, core.Code) {
	if cmd.Topic == core.Stroke && !me.May.Draw {
		return nil, core.NotPermitted
	}
	e := core.Passed{Room: r.Room, From: me.User, To: cmd.To, Topic: cmd.Topic, Body: cmd.Body}
	return core.Relayed{To: cmd.To, Topic: cmd.Topic, Body: cmd.Body}, w.pass(r, me, cmd.To, e)
}

func (w *world) pass(r *place, me *chair, to core.UserID, e core.Event) core.Code {
	s := r.named(to)
	switch {
	case to == "":
		w.others(r, me, e)
	case s != nil:
		w.tell(s.conn, e)
	default:
		return w.deliver(me.conn, to, e)
	}
	return ""
}

func (w *world) leave(r *place, s *chair) {
	if r.share != nil && r.share.User == s.User {
		w.unshare(r, s)
	}
	r.seats = slices.DeleteFunc(r.seats, func(o *chair) bool { return o == s })
	w.cutLinks(r, func(l *link) bool { return l.owner == s || l.stream.User == s.User })
	r.feeds = slices.DeleteFunc(r.feeds, func(f core.Stream) bool { return f.User == s.User })
	w.others(r, s, core.MemberLeft{Room: r.Room, User: s.User})
	w.check(r)
}

// check ends rooms that nobody is in, or in a breakout room of.
func (w *world) check(r *place) {
	for ; r != nil; r = r.main {
		if r.used && !r.Keep && r.people() == 0 {
			w.end(r)
		}
	}
}

func (r *place) people() int {
	n := len(r.seats)
	for _, k := range r.kids {
		n += k.people()
	}
	return n
}

func (w *world) end(r *place) {
	if r.over {
		return
	}
	r.over = true
	if w.rooms[r.Room] == r {
		delete(w.rooms, r.Room)
	}
	if r.main != nil {
		r.main.groups = slices.DeleteFunc(r.main.groups, func(id core.RoomID) bool { return id == r.Room })
	}
	for _, id := range slices.Clone(r.groups) {
		if g := w.rooms[id]; g != nil && g.main == r {
			w.loose = true
			w.end(g)
		}
	}
	w.cutLinks(r, func(*link) bool { return true })
	r.seats = nil
	w.check(r)
}

// link is about media connections.
func (w *world) link(r *place, me *chair, ref core.Ref, cmd core.Command) (core.Result, core.Code) {
	if t, ok := cmd.(core.Trickle); ok {
		switch {
		case r.Mode == core.Mesh && t.Body == nil:
			return nil, core.WrongMode
		case r.Mode == core.Mesh:
			return core.Done{}, w.pass(r, me, t.To, core.CandidatePassed{Room: r.Room, From: me.User, To: t.To, Body: t.Body})
		}
		if r.named(cmp.Or(t.Stream.User, me.User)) == nil {
			return nil, core.NoSuchMember
		}
		return core.Done{}, ""
	}
	if r.Mode == core.Mesh {
		return nil, core.WrongMode
	}
	switch cmd := cmd.(type) {
	case core.Offer:
		st := core.Stream{User: cmp.Or(cmd.Stream.User, me.User), Source: cmd.Stream.Source}
		if r.named(st.User) == nil {
			return nil, core.NoSuchMember
		}
		if st.User == me.User && st.Source == core.Screen {
			if code := r.lock(me, core.ScreenShare); code != "" {
				return nil, code
			}
		}
		w.begin(r, me, st, due{"answer to an offer", ref, cmd.SDP})
	case core.Subscribe:
		switch {
		case r.named(cmd.Stream.User) == nil:
			return nil, core.NoSuchMember
		case cmd.Stream.User == me.User || !slices.Contains(r.feeds, cmd.Stream):
			return nil, core.NoSuchStream
		}
		w.begin(r, me, cmd.Stream, due{"offer", ref, ""})
	case core.Answer:
		l := r.now(me.User, cmd.Stream)
		switch {
		case l == nil || l.state == "asked":
			return nil, core.NoSuchStream
		case l.state == "settled":
			return core.Done{}, ""
		}
		l.state, l.ref = "settled", &ref
		l.due = append(l.due, due{"answer", ref, cmd.SDP})
	default:
	}
	return nil, ""
}

// now gives the connection that has a name.
func (r *place) now(owner core.UserID, st core.Stream) *link {
	for _, l := range r.links {
		if l.owner.User == owner && l.stream == st {
			return l
		}
	}
	return nil
}

func (w *world) begin(r *place, me *chair, st core.Stream, d due) {
	if old := r.now(me.User, st); old != nil {
		w.cutLinks(r, func(l *link) bool { return l == old })
	}
	r.nLink++
	l := &link{n: r.nLink, owner: me, stream: st, state: "asked", due: []due{d}, ref: &d.ref}
	r.links = append(r.links, l)
	r.asked[l.n] = l
}

// cutLinks ends connections. Whoever waits for one is told so.
func (w *world) cutLinks(r *place, which func(*link) bool) {
	r.links = slices.DeleteFunc(r.links, func(l *link) bool {
		if which(l) {
			l.state = "over"
			if l.ref != nil {
				w.tell(l.owner.conn, reply(*l.ref, nil, core.MediaFailed))
			}
			return true
		}
		return false
	})
}

// agree has media settle all that it was asked, at once.
func (w *world) agree(r *place) {
	if w.waits || r.over {
		return
	}
	for _, l := range slices.Clone(r.links) {
		for len(l.due) > 0 {
			d := l.due[0]
			if d.sdp == "bad" {
				w.media(r, l.n, "refuses")
				continue
			}
			w.media(r, l.n, "agrees")
			if d.kind != "offer" {
				w.media(r, l.n, "connects")
			}
		}
	}
}

// media has a connection do something.
func (w *world) media(r *place, n uint64, verb string) {
	l := r.asked[n]
	live := l.state != "over" && !r.over
	up := l.owner.User == l.stream.User
	switch verb {
	case "agrees", "refuses":
		if len(l.due) == 0 {
			return
		}
		d := l.due[0]
		l.due = l.due[1:]
		switch {
		case !live:
		case verb == "refuses":
			w.cutLinks(r, func(o *link) bool { return o == l })
			if up {
				w.dropFeed(r, l.stream)
			}
		default:
			w.settles(r, l, d)
		}
	case "connects":
		if live && up && !slices.Contains(r.feeds, l.stream) {
			r.feeds = append(r.feeds, l.stream)
			feed := core.Feed{Member: r.member(l.owner), Source: l.stream.Source}
			w.others(r, l.owner, core.FeedsAdded{Room: r.Room, Feeds: []core.Feed{feed}})
		}
	case "fails":
		if live {
			w.cutLinks(r, func(o *link) bool { return o == l })
			if up {
				w.dropFeed(r, l.stream)
			}
		}
	}
	w.flush()
}

// settles tells a client what came of its request.
func (w *world) settles(r *place, l *link, d due) {
	l.ref = nil
	c := l.owner.conn
	switch d.kind {
	case "answer to an offer":
		l.state = "settled"
		w.tell(c, reply(d.ref, core.Answered{Room: r.Room, Stream: l.stream, SDP: "answer to " + d.sdp}, ""))
	case "offer":
		l.state = "offered"
		offer := "offer of " + string(l.stream.User) + "'s " + string(l.stream.Source)
		w.tell(c, reply(d.ref, core.Offered{Room: r.Room, Stream: l.stream, SDP: offer}, ""))
	default:
		w.tell(c, reply(d.ref, core.Done{}, ""))
		return
	}
	for _, f := range found {
		w.tell(c, core.Found{Room: r.Room, Stream: l.stream, Candidate: f})
	}
}

// talks has media tell who speaks.
func (w *world) talks(r *place, u core.UserID, on bool) {
	if s := r.named(u); s != nil {
		s.says = on
		w.others(r, nil, core.Speaking{Room: r.Room, User: u, On: on})
	}
	w.flush()
}
