package idv1_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"confgate/core"
	"confgate/protocol/idv1"
	"confgate/protocol/wiretest"
)

// shown lets in whose token says who they are and where they may be: "ann c-1".
func shown(asked *int) wiretest.AuthorizerFunc {
	return func(c core.Credentials) (core.Grant, error) {
		*asked++
		if user, room, _ := strings.Cut(c.Token, " "); user != string(c.User) || room != string(c.Room) {
			return core.Grant{}, errors.New("no")
		}
		return core.Grant{User: c.User}, nil
	}
}

func join(v *wiretest.Voice, user, room, token string) []string {
	return v.Say(`{"id":"joinRoom","userId":%q,"roomId":%q,"communityId":1,"video":true,"audio":true,"token":%q}`, user, room, token)
}

// TestForeignRoomsAreSilent: of rooms that one has no right to nothing is said, whether
// they are there, full, or not; and who tries many is not even judged.
func TestForeignRoomsAreSilent(t *testing.T) {
	asked := 0
	h := wiretest.NewHall(t, shown(&asked), core.DefaultLimits())
	for i := range 10 {
		room := fmt.Sprint("c-", i)
		if said := join(h.Voice(idv1.New(1)), "ben", room, "ben "+room); len(said) != 1 {
			t.Fatalf("ben hears %q", said)
		}
	}
	eve := h.Voice(idv1.New(1))
	asked = 0
	for i := range 10_000 {
		room := fmt.Sprint("c-", i/2*(1+i%2*1000)) // each other is one that is there, at first
		if said := join(eve, "eve", room, "eve c-99"); len(said) > 0 {
			t.Fatalf("of %s: %q", room, said)
		}
	}
	if asked > core.DefaultLimits().Misses {
		t.Errorf("%d of them were judged", asked)
	}
	eve = h.Voice(idv1.New(1))
	if said := join(eve, "eve", "c-99", "eve c-99"); len(said) != 1 {
		t.Errorf("eve hears %q", said)
	}
	for _, op := range idv1.Operations() {
		if op == "videoStateFrom" || op == "audioStateFrom" {
			continue // of herself, whoever they name
		}
		for _, user := range []string{"ben", "nobody"} {
			if said := eve.Say(`{"id":%q,"userId":%q,"roomId":"c-1","sdpOffer":"o","candidate":{"candidate":"c"}}`, op, user); len(said) > 0 {
				t.Errorf("%s about %s: %q", op, user, said)
			}
		}
	}
	if s := h.Hub.Stats(); s.Rooms > 11 {
		t.Errorf("%+v", s)
	}
}

// TestNobodySpeaksAsAnother has ann say each operation in the name of somebody of her
// room, of another, and of nobody: nobody becomes them, nothing of theirs changes, and
// what is heard is of ann.
func TestNobodySpeaksAsAnother(t *testing.T) {
	asked := 0
	for _, op := range idv1.Operations() {
		for _, user := range []string{`"ben"`, `"cay"`, `"nobody"`, `7`, `"ANN"`, `""`, `" ann"`} {
			t.Run(op+" "+user, func(t *testing.T) {
				h := wiretest.NewHall(t, shown(&asked), core.DefaultLimits())
				voices := map[string]*wiretest.Voice{}
				for user, room := range map[string]string{"ben": "c-1", "cay": "c-2"} {
					voices[user] = h.Voice(idv1.New(25))
					join(voices[user], user, room, user+" "+room)
				}
				ann := h.Voice(idv1.New(25))
				join(ann, "ann", "c-1", "ann c-1")
				look := func() string {
					return fmt.Sprint(h.Room("", "c-1")[0], h.Room("", "c-2"))
				}
				for _, v := range voices {
					v.Heard()
				}
				before := look()
				for _, room := range []string{"c-1", "c-2", "c-3"} {
					ann.Say(`{"id":%q,"userId":%s,"roomId":%q,"token":"ann c-1","sdpOffer":"o","candidate":{"candidate":"c"},"video":false,"audio":false}`, op, user, room)
				}
				if after := look(); after != before {
					t.Errorf("before\n%s\nafter\n%s", before, after)
				}
				for _, owner := range h.Media() {
					if owner != "ann" {
						t.Errorf("a connection of %s", owner)
					}
				}
				if heard := voices["cay"].Heard(); len(heard) > 0 {
					t.Errorf("cay hears %q", heard)
				}
				for _, frame := range voices["ben"].Heard() {
					if !strings.Contains(frame, `"userId":"ann"`) {
						t.Errorf("ben hears %s", frame)
					}
				}
			})
		}
	}
}
