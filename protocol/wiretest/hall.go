package wiretest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"confgate/core"
	"confgate/protocol"
)

// Hall is a house without sockets, media or time: what somebody says is carried out
// when Say returns, and what came of it can be read by everybody. It is for trying
// many things; what scripts tell, they tell better.
type Hall struct {
	Hub   *core.Hub
	t     *testing.T
	owner *owners
}

// NewHall opens one that ends with the test.
func NewHall(t *testing.T, by core.Authorizer, limits core.Limits) *Hall {
	h := &Hall{t: t, owner: new(owners)}
	h.Hub = core.NewHub(core.HubConfig{Plane: h.owner, Auth: by, Observer: new(recorder), Limits: limits})
	t.Cleanup(h.Hub.Close)
	return h
}

// Media gives who asked for connections, or for anything of them, since the last time.
func (h *Hall) Media() []core.UserID { return h.owner.take() }

// Room gives the members of a room as they are shown; nil: it is not there.
func (h *Hall) Room(t core.TenantID, id core.RoomID) []core.Member {
	state, err := h.Hub.Look(h.t.Context(), t, id)
	if err != nil {
		return nil
	}
	return state.Members
}

// Voice is a client in a Hall.
type Voice struct {
	hall    *Hall
	codec   protocol.Codec
	session *core.Session
	out     *core.Outbox
	cut     error
}

// Voice connects a client, until the test ends or it is closed.
func (h *Hall) Voice(d protocol.Dialect) *Voice {
	v := &Voice{hall: h, codec: d.Codec}
	v.out = core.NewOutbox(1<<20, func(err error) { v.cut = err })
	v.session = h.Hub.Session(v.out, core.Peer{Remote: "192.0.2.1"})
	h.t.Cleanup(v.Close)
	return v
}

// Say has the client say a frame, and gives all that it has heard since the last time.
func (v *Voice) Say(format string, args ...any) []string {
	cmd, ref, err := v.codec.Decode(fmt.Appendf(nil, format, args...))
	switch {
	case err != nil:
		v.session.Fail(ref, err)
	case cmd != nil:
		v.session.Do(v.hall.t.Context(), ref, cmd)
	}
	return v.Heard()
}

// Heard gives all that the client has heard since the last time.
func (v *Voice) Heard() (frames []string) {
	for _, event := range v.out.Drain() {
		for _, frame := range v.codec.Encode(event) {
			frames = append(frames, string(frame))
		}
	}
	return frames
}

// Close disconnects the client.
func (v *Voice) Close() { v.session.Close() }

// AuthorizerFunc is a core.Authorizer made of a function.
type AuthorizerFunc func(core.Credentials) (core.Grant, error)

// Authorize implements core.Authorizer.
func (f AuthorizerFunc) Authorize(_ context.Context, c core.Credentials) (core.Grant, error) {
	return f(c)
}

// owners is a media plane that does nothing but note whose connections were asked for.
type owners struct {
	// Guarded by mu.
	mu  sync.Mutex
	all []core.UserID
}

func (o *owners) note(u core.UserID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, u)
}

func (o *owners) take() []core.UserID {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := slices.Clone(o.all)
	o.all = nil
	return all
}

// Open implements core.Plane.
func (o *owners) Open(core.RoomID, core.MediaOptions, func(core.MediaEvent)) core.Media { return o }

// Accept implements core.Media.
func (o *owners) Accept(l core.Leg, _ core.Ref, _ string) { o.note(l.Owner) }

// Offer implements core.Media.
func (o *owners) Offer(l core.Leg, _ core.Ref, _, _ bool) { o.note(l.Owner) }

// Answer implements core.Media.
func (o *owners) Answer(l core.Leg, _ core.Ref, _ string) { o.note(l.Owner) }

// Trickle implements core.Media.
func (o *owners) Trickle(u core.UserID, _ core.Stream, _ core.Candidate) { o.note(u) }

// Drop implements core.Media.
func (o *owners) Drop(l core.Leg) { o.note(l.Owner) }

// Close implements core.Media.
func (o *owners) Close() {}
