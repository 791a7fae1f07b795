package media

// picture is what an uplink sends, as far as it concerns who takes it.
type picture struct {
	offered formatSet
	format  format // that was chosen; noFormat before
}

// common is which formats of pictures the members of a room have in common, as far
// as their descriptions have been seen. It only grows smaller until the last of them
// is gone: that way, a publisher is asked to change at most once for each format.
type common struct {
	taken   formatSet // by everybody who takes pictures
	offered formatSet // by everybody who sends any: a hint of what they will take
}

var everything = common{taken: ^formatSet(0), offered: ^formatSet(0)}

// learn takes a description of a member. It needs r.mu. It gives the uplinks whose
// picture somebody cannot take, for askFit.
func (r *room) learn(dir int, d *description) (unfit []*leg) {
	if dir == uplink {
		if s := d.find(video, upWays); s != nil {
			r.common.offered &= s.codecs.set()
		}
		return nil
	}
	s := d.find(video, downWays)
	if s == nil {
		return nil
	}
	r.common.taken &= s.codecs.set()
	for _, l := range r.legs {
		if !r.fits(l) {
			unfit = append(unfit, l)
		}
	}
	return unfit
}

// fits reports whether the picture of an uplink is as good for everybody as it can
// be. It needs r.mu.
func (r *room) fits(l *leg) bool {
	now := l.picture.format
	return now == noFormat || !l.renews || r.common.taken.has(now) || r.pick(l.picture.offered, l.renews) == now
}

// choose decides what the picture of an uplink is to be, of what it offers, which is
// at least one of the room's formats.
func (r *room) choose(l *leg, offered formatSet) format {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.picture = picture{offered, r.pick(offered, l.renews)}
	return l.picture.format
}

// pick gives the most wanted format of those offered that all members have, or
// subscribers at least. The last resort is VP8: it also is what a client must send
// that could not be asked later to send something else. It needs r.mu.
func (r *room) pick(offered formatSet, renews bool) format {
	wishes := []formatSet{r.common.taken & r.common.offered, r.common.taken, setOf(vp8), r.menu.all}
	if !renews {
		wishes = wishes[2:]
	}
	for _, wish := range wishes {
		for _, f := range r.menu.video {
			if (offered & wish).has(f) {
				return f
			}
		}
	}
	return noFormat
}

// leave takes a leg out. It needs r.mu.
func (r *room) leave(key name) {
	delete(r.legs, key)
	if len(r.legs) == 0 {
		r.common = everything
	}
}

// askFit has uplinks of which learn has told make way for what fits.
func askFit(legs []*leg) {
	for _, l := range legs {
		l.queue.post(l.fit)
	}
}

// fit ends an uplink whose picture somebody cannot take, once it is connected: a
// client may take one that never was for a reason to give up. It belongs to the
// queue.
func (l *leg) fit() {
	l.room.mu.Lock()
	fits := l.room.fits(l)
	l.room.mu.Unlock()
	if l.connected && !fits {
		l.fail(errCodec)
	}
}
