package core

// mayShare says what a permit table says of a content.
func mayShare(p Permits, c Content) bool {
	switch c {
	case ScreenShare:
		return p.Screen
	case Whiteboard:
		return p.Whiteboard
	case Document:
		return p.Document
	}
	return false
}

func (r *room) share(me *seat, c Share) (Result, error) {
	if err := r.takeLock(me, c.Content); err != nil {
		return nil, err
	}
	r.tellOthers(me, Shared{r.id, me.User, c.Content})
	return Done{}, nil
}

// takeLock gives me the share lock for a content, if they may and it is free or
// theirs already.
func (r *room) takeLock(me *seat, c Content) error {
	switch {
	case !mayShare(me.May, c):
		return Errorf(NotPermitted, "not permitted to share a %s", c)
	case r.sharing != nil && r.sharing.User != me.User:
		return Errorf(ShareTaken, "another member is sharing")
	case r.sharing == nil || r.sharing.Content != c:
		r.shareNow(&Sharing{Content: c, User: me.User})
	}
	return nil
}

// shareNow changes what is shared, or ends it; what was shown before is not kept.
func (r *room) shareNow(s *Sharing) {
	if old := r.sharing; old != nil {
		_ = r.hub.keepPage(personKey{r.tenant, old.User}, -len(old.Image)) // less is never too much
	}
	r.sharing = s
}

func (r *room) show(me *seat, c Show) (Result, error) {
	switch {
	case !me.May.Document:
		return nil, Errorf(NotPermitted, "not permitted to share a document")
	case r.sharing != nil && r.sharing.User != me.User:
		return nil, Errorf(ShareTaken, "another member is sharing")
	case r.sharing == nil || r.sharing.Content != Document:
		return nil, Errorf(NotSharing, "no document is shared")
	}
	if err := r.hub.keepPage(me.person.key, len(c.Image)-len(r.sharing.Image)); err != nil {
		return nil, err
	}
	r.sharing.Image = c.Image
	r.tellOthers(me, Shown{r.id, me.User, c.Image})
	return Done{}, nil
}

// unshare gives the lock back. Clients do it before every share, so there need be
// nothing to give back.
func (r *room) unshare(me *seat) (Result, error) {
	if r.sharing == nil {
		return Done{}, nil
	}
	if r.sharing.User != me.User {
		return nil, Errorf(ShareTaken, "another member is sharing")
	}
	r.stopSharing(me)
	return Done{}, nil
}

func (r *room) stopSharing(s *seat) {
	content := r.sharing.Content
	r.shareNow(nil)
	r.tellOthers(s, Unshared{r.id, s.User, content})
	screen := Stream{s.User, Screen}
	r.dropLegs(func(l Leg) bool { return l.Stream == screen })
	r.dropFeed(screen)
}

// say sends a message to the room, to one person, or both; once to each. One that
// named no room is for To alone.
func (r *room) say(me *seat, c Say, toOnly bool) (Result, error) {
	if !me.May.Chat {
		return nil, Errorf(NotPermitted, "not permitted to chat")
	}
	to := r.byUser[c.To]
	if toOnly && to != nil {
		r.tell(to, Said{From: me.User, Message: c.Message})
		return Done{}, nil
	}
	if c.To != "" && to == nil {
		e := Said{From: me.User, Message: c.Message}
		if err := r.hub.deliver(me.person, c.To, e); err != nil {
			return nil, err
		}
	}
	r.tellOthers(me, Said{r.id, me.User, c.Message})
	return Done{}, nil
}

func (r *room) cast(me *seat, c Cast) (Result, error) {
	if c.Topic == Stroke && !me.May.Draw {
		return nil, Errorf(NotPermitted, "not permitted to draw")
	}
	e := Passed{r.id, me.User, c.To, c.Topic, c.Body}
	if err := r.pass(me, c.To, e); err != nil {
		return nil, err
	}
	return Relayed{c.To, c.Topic, c.Body}, nil
}

// pass gives e to one person, in the room or not, or to everyone else here.
func (r *room) pass(me *seat, to UserID, e Event) error {
	if to == "" {
		r.tellOthers(me, e)
		return nil
	}
	if s := r.byUser[to]; s != nil {
		r.tell(s, e)
		return nil
	}
	return r.hub.deliver(me.person, to, e)
}
