package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

// until lets everyone in for a time; 0: for ever.
type until time.Duration

func (u until) Authorize(_ context.Context, c core.Credentials) (core.Grant, error) {
	g := core.Grant{User: c.User}
	if u > 0 {
		g.Until = time.Now().Add(time.Duration(u))
	}
	return g, nil
}

// TestRoomsAsksAgain: a clear no counts, whatever the answer was before; silence, an
// outage and a token that is too old for the backend say nothing.
func TestRoomsAsksAgain(t *testing.T) {
	const never = 0
	for _, c := range []struct {
		name  string
		good  until
		after time.Duration
		lose  func(*host)
		stays bool
	}{
		{"yes", never, 0, func(h *host) { h.now(http.StatusNoContent, "", nil) }, true},
		{"forbidden", never, 0, func(h *host) { h.now(http.StatusForbidden, "", nil) }, false},
		{"forbidden, when the token is over", until(time.Minute), time.Hour, func(h *host) { h.now(http.StatusForbidden, "", nil) }, false},
		{"not found", never, 0, func(h *host) { h.now(http.StatusNotFound, "", nil) }, false},
		{"token refused", never, time.Hour, func(h *host) { h.now(http.StatusUnauthorized, "", nil) }, false},
		{"token refused before its end", until(time.Hour), time.Minute, func(h *host) { h.now(http.StatusUnauthorized, "", nil) }, false},
		{"token refused after its end", until(time.Minute), time.Minute, func(h *host) { h.now(http.StatusUnauthorized, "", nil) }, true},
		{"failing", never, 0, func(h *host) { h.now(http.StatusBadGateway, "", nil) }, true},
		{"busy", never, 0, func(h *host) { h.now(http.StatusTooManyRequests, "", nil) }, true},
		{"elsewhere", never, 0, func(h *host) { h.now(http.StatusFound, "", nil) }, true},
		{"gone", never, 0, func(h *host) { h.now(0, "", errors.New("connection refused")) }, true},
		{"silent", never, 0, func(h *host) { h.as(0, "", nil, make(chan struct{}), nil) }, true},
	} {
		for _, outage := range []Outage{Closed, LetPeople} {
			t.Run(c.name+" "+string(outage), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &host{code: http.StatusOK}
					r, err := NewRooms(RoomsConfig{URL: backend, RoundTripper: h, Outage: outage})
					if err != nil {
						t.Fatal(err)
					}
					g, err := r.Behind(c.good).Authorize(t.Context(), wants("c-10"))
					if err != nil {
						t.Fatal(err)
					}
					<-time.After(c.after)
					c.lose(h)
					if err := g.Stays(t.Context()); (err == nil) != c.stays || err != nil && reasonIn(err) != WrongRoom {
						t.Errorf("got %v", err)
					}
					if h.times() != 2 || h.asked[1].Header.Get("Authorization") != "Bearer a.b.c" || h.asked[1].URL.Path != h.asked[0].URL.Path {
						t.Errorf("asked %d times, at last %s", h.times(), h.asked[h.times()-1].URL)
					}
				})
			})
		}
	}
}

// TestRoomsForgets: what was said of one user counts no more, nor what is just being
// said; what was said of others does.
func TestRoomsForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{code: http.StatusOK}
		r, a := asking(t, h, Closed)
		enter := func(user, room string) error {
			c := wants(room)
			c.User = core.UserID(user)
			_, err := a.Authorize(t.Context(), c)
			return err
		}
		for _, room := range []string{"c-1", "c-2"} {
			for _, user := range []string{"8", "88"} {
				if err := enter(user, room); err != nil {
					t.Fatal(err)
				}
			}
		}
		h.now(http.StatusForbidden, "", nil)
		r.Forget("8")
		for user, admitted := range map[string]bool{"8": false, "88": true} {
			for _, room := range []string{"c-1", "c-2"} {
				if err := enter(user, room); (err == nil) != admitted {
					t.Errorf("%s, %s: %v", user, room, err)
				}
			}
		}

		late := make(chan struct{})
		h.as(http.StatusOK, "", nil, late, nil)
		let := make(chan error)
		go func() { let <- enter("9", "c-1") }()
		synctest.Wait()
		r.Forget("9") // while the backend says yes
		close(late)
		if err := <-let; err != nil {
			t.Error(err)
		}
		h.now(http.StatusForbidden, "", nil)
		if err := enter("9", "c-1"); err == nil {
			t.Error("a yes from before was remembered")
		}
	})
}

// TestGrantsEnd: what was shown says when it ends, for who wants to know.
func TestGrantsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in the year 2000
		at := time.Now().Add(time.Hour).Truncate(time.Second)
		show := func(change jwt.MapClaims) core.Credentials {
			return core.Credentials{User: "8", Token: sign(t, jwt.SigningMethodHS256, []byte(secret), claims(change))}
		}
		club := func(change jwt.MapClaims) core.Credentials {
			return core.Credentials{Tenant: "club", Key: sign(t, jwt.SigningMethodHS256, []byte(licensor), licence(change))}
		}
		tenants := registry(t)
		last, err := tenants.day(licence(nil)["endDate"])
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			by   core.Authorizer
			cred core.Credentials
			want time.Time
		}{
			"token":                 {JWT{Keys: Secret(secret)}, show(jwt.MapClaims{"exp": at.Unix()}), at},
			"token, by a leeway":    {JWT{Keys: Secret(secret), Leeway: time.Hour}, show(jwt.MapClaims{"exp": at.Unix()}), at.Add(MaxLeeway)},
			"licence":               {tenants, club(nil), last.AddDate(0, 0, 1)},
			"short-lived licence":   {tenants, club(jwt.MapClaims{"exp": at.Unix()}), at},
			"licence with late exp": {tenants, club(jwt.MapClaims{"exp": last.AddDate(1, 0, 0).Unix()}), last.AddDate(0, 0, 1)},
			"key":                   {tenants, core.Credentials{Tenant: "school", Key: opaque}, time.Time{}},
			"nothing":               {Open{}, core.Credentials{User: "8"}, time.Time{}},
		} {
			g, err := c.by.Authorize(t.Context(), c.cred)
			if err != nil || !g.Until.Equal(c.want) || g.Stays != nil {
				t.Errorf("%s: until %v, %v; want %v", name, g.Until, err, c.want)
			}
		}
	})
}

// rights is the model: who may enter which room.
type rights [][]bool

func drawRights(users, rooms int, seed uint64) rights {
	draw := rand.New(rand.NewPCG(seed, 1))
	all := make(rights, users)
	for u := range all {
		all[u] = make([]bool, rooms)
		for r := range all[u] {
			all[u][r] = draw.IntN(40) == 0
		}
	}
	return all
}

// noMedia is a plane that does nothing, and an Observer that looks away.
type noMedia struct{}

func (noMedia) Open(core.RoomID, core.MediaOptions, func(core.MediaEvent)) core.Media {
	return noMedia{}
}
func (noMedia) Accept(core.Leg, core.Ref, string)                           {}
func (noMedia) Offer(core.Leg, core.Ref, bool, bool)                        {}
func (noMedia) Answer(core.Leg, core.Ref, string)                           {}
func (noMedia) Trickle(core.UserID, core.Stream, core.Candidate)            {}
func (noMedia) Drop(core.Leg)                                               {}
func (noMedia) Close()                                                      {}
func (noMedia) Handled(core.RoomID, core.Caller, core.Command, *core.Error) {}
func (noMedia) LegFailed(core.RoomID, core.Leg, error)                      {}
func (noMedia) FirstPacket(time.Duration)                                   {}
func (noMedia) Slowed(core.RoomID)                                          {}
func (noMedia) Expelled(core.RoomID, core.Caller, error)                    {}
func (noMedia) Panicked(core.RoomID, any, []byte)                           {}

// community is a backend with a list of who may enter which room.
type community map[string]bool

func (c community) RoundTrip(r *http.Request) (*http.Response, error) {
	code := http.StatusForbidden
	if c[r.URL.Path] {
		code = http.StatusNoContent
	}
	return &http.Response{StatusCode: code, Body: http.NoBody, Request: r}, nil
}

// roomName is such that names begin like others, and the rooms of two people are told
// apart by their order only.
func roomName(r int) core.RoomID {
	if r%2 == 0 {
		return core.RoomID(fmt.Sprint("c-", r/2))
	}
	return core.RoomID(fmt.Sprint("r-", r/2))
}

func userName(u int) core.UserID { return core.UserID(fmt.Sprint(u)) }

// TestWhoEntersWhichRoom has each of 200 people try each of 200 rooms, by what their
// token says and by what the backend says: who gets in is who the model has in.
func TestWhoEntersWhichRoom(t *testing.T) {
	const users, rooms = 200, 200
	model := drawRights(users, rooms, 12)
	byClaim, plain := make([]string, users), make([]string, users)
	members := community{} // the backend's list
	for u := range users {
		opens := []core.RoomID{}
		for r := range rooms {
			if model[u][r] {
				opens = append(opens, roomName(r))
				members[fmt.Sprintf("/%s/%d", roomName(r), u)] = true
			}
		}
		byClaim[u] = sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"id": u, "exp": time.Now().Add(time.Hour).Unix(), "rooms": opens})
		plain[u] = fmt.Sprint("token of ", u)
	}
	asked, err := NewRooms(RoomsConfig{URL: "https://app.test/{room}/{user}", RoundTripper: members})
	if err != nil {
		t.Fatal(err)
	}
	for name, way := range map[string]struct {
		by     core.Authorizer
		tokens []string
	}{
		"by claim":   {JWT{Keys: Secret(secret), MatchUser: true, RoomsClaim: "rooms"}, byClaim},
		"by backend": {asked.Behind(until(0)), plain},
	} {
		t.Run(name, func(t *testing.T) {
			hub := core.NewHub(core.HubConfig{Plane: noMedia{}, Observer: noMedia{}, Auth: way.by})
			defer hub.Close()
			in := 0
			for u := range users {
				out := core.NewOutbox(1000, func(error) {})
				s := hub.Session(out, core.Peer{Remote: "192.0.2.1"})
				for r := range rooms {
					enter := core.Join{
						Room: roomName(r), Cred: &core.Credentials{User: userName(u), Token: way.tokens[u]},
						Online: core.Displace, Make: &core.Open{Mode: core.SFU}, Alone: true,
					}
					s.Do(t.Context(), core.Ref{}, enter)
					reply, ok := out.Drain()[0].(core.Reply)
					_, joined := reply.Result.(core.Joined)
					if joined {
						in++
					}
					if !ok || joined != model[u][r] || !joined && reply.Err.Code != core.Unauthorized {
						t.Fatalf("%s in %s: %+v, and the model says %t", userName(u), roomName(r), reply, model[u][r])
					}
				}
				s.Close()
			}
			if in == 0 || in == users*rooms {
				t.Errorf("%d of %d got in", in, users*rooms)
			}
		})
	}
}
