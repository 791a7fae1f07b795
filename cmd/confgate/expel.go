package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"

	"confgate/core"
	"confgate/core/auth"
	"confgate/protocol"
)

// maxExpel bounds what is read of a request to put somebody out, in bytes.
const maxExpel = 4 << 10

// house is what of a hub an expulsion needs.
type house interface {
	ExpelUser(context.Context, core.TenantID, core.UserID) core.Expelled
	ExpelFrom(context.Context, core.TenantID, core.UserID, core.RoomID) core.Expelled
}

// expulsion is the endpoint of the admin port at which one person is put out of the
// house, or of a room.
type expulsion struct {
	house  house
	tenant core.TenantID     // where none is named
	forget func(core.UserID) // what the backend said of them
	log    *slog.Logger
}

// whom says who is put out, and where of.
type whom struct {
	tenant core.TenantID // empty: the usual one
	user   core.UserID
	room   core.RoomID // empty: the house
}

// ServeHTTP answers 200 and what was ended, or 404 if nobody was there.
func (e *expulsion) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code, why := mayAsk(r); code != http.StatusOK {
		answer(w, code, why)
		return
	}
	who, err := readWhom(http.MaxBytesReader(w, r.Body, maxExpel))
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	who.tenant = cmp.Or(who.tenant, e.tenant)
	done := e.expel(context.WithoutCancel(r.Context()), who)
	e.log.Info("asked to put somebody out", "tenant", brief(string(who.tenant)), "user", brief(string(who.user)), "room", brief(string(who.room)),
		"connections", done.Connections, "seats", done.Seats, "by", r.RemoteAddr)
	if done == (core.Expelled{}) {
		answer(w, http.StatusNotFound, "nobody of that name is there")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(struct { // if this fails, nobody waits for it
		Connections int `json:"connections"`
		Seats       int `json:"seats"`
	}{done.Connections, done.Seats})
}

func (e *expulsion) expel(ctx context.Context, who whom) core.Expelled {
	e.forget(who.user) // first, or they might be back before it
	if who.room == "" {
		return e.house.ExpelUser(ctx, who.tenant, who.user)
	}
	return e.house.ExpelFrom(ctx, who.tenant, who.user, who.room)
}

// mayAsk keeps web pages out, whatever host they come from or pretend to be on: a page
// cannot send a request without saying that it is one, and could send no JSON to another
// host without asking first.
func mayAsk(r *http.Request) (code int, why string) {
	for _, header := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if len(r.Header.Values(header)) > 0 {
			return http.StatusForbidden, "this is not for web pages"
		}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, "Content-Type must be application/json"
	}
	return http.StatusOK, ""
}

// readWhom reads a request. What has a field too many is refused: without a room that
// was meant, more would end than should.
func readWhom(body io.Reader) (whom, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return whom{}, errors.New("the request is too long")
	}
	if err := protocol.Check(text); err != nil {
		return whom{}, errors.New(core.AsError(err).Msg)
	}
	names, err := protocol.Read[map[string]protocol.Text](text)
	if err != nil {
		return whom{}, errors.New("user, tenant and room are strings")
	}
	for name, value := range names {
		if name != "user" && name != "tenant" && name != "room" {
			return whom{}, errors.New("the fields are user, tenant and room")
		}
		if value == "" {
			return whom{}, errors.New("a field that is there must say something")
		}
	}
	if names["user"] == "" {
		return whom{}, errors.New("user is missing")
	}
	return whom{core.TenantID(names["tenant"]), core.UserID(names["user"]), core.RoomID(names["room"])}, nil
}

// expulsionReasons are what expelledFor gives.
var expulsionReasons = []string{"revoked", string(auth.Expired), string(auth.WrongRoom), string(auth.OtherReason)}

// expelledFor says in one word why somebody was put out of a room.
func expelledFor(cause error) string {
	refusal, ok := errors.AsType[*auth.RefusalError](cause)
	switch {
	case errors.Is(cause, core.ErrRevoked):
		return "revoked"
	case errors.Is(cause, core.ErrLapsed):
		return string(auth.Expired)
	case ok && refusal.Reason == auth.WrongRoom:
		return string(auth.WrongRoom)
	}
	return string(auth.OtherReason)
}
