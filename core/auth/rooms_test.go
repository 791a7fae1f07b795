package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"confgate/core"
)

const backend = "https://app.test/rooms/{room}/members/{user}?room={room}"

func asking(t *testing.T, h *host, o Outage) (*Rooms, core.Authorizer) {
	t.Helper()
	r, err := NewRooms(RoomsConfig{URL: backend, RoundTripper: h, Outage: o})
	if err != nil {
		t.Fatal(err)
	}
	return r, r.Behind(Open{Tenant: "home"})
}

func wants(room string) core.Credentials {
	return core.Credentials{User: "8", Room: core.RoomID(room), Token: "a.b.c"}
}

func TestRoomsAsksTheBackend(t *testing.T) {
	for code, admitted := range map[int]bool{
		http.StatusOK: true, http.StatusNoContent: true,
		http.StatusUnauthorized: false, http.StatusForbidden: false, http.StatusNotFound: false,
	} {
		h := &host{code: code, body: strings.Repeat("x", 1<<20)}
		_, a := asking(t, h, LetPeople)
		g, err := a.Authorize(t.Context(), wants("c-10"))
		if (err == nil) != admitted || (g.User == "8") != admitted {
			t.Errorf("%d: got %+v, %v", code, g, err)
		}
		r := h.asked[0]
		if r.URL.String() != "https://app.test/rooms/c-10/members/8?room=c-10" || r.Header.Get("Authorization") != "Bearer a.b.c" || r.Method != http.MethodGet {
			t.Errorf("asked %s %s with %q", r.Method, r.URL, r.Header)
		}
	}
}

func TestRoomsOutage(t *testing.T) {
	for name, lose := range map[string]func(*host){
		"refused":   func(h *host) { h.err = errors.New("connection refused") },
		"failing":   func(h *host) { h.code = http.StatusBadGateway },
		"elsewhere": func(h *host) { h.code, h.header = http.StatusFound, http.Header{"Location": {"https://evil.test/"}} },
		"busy":      func(h *host) { h.code = http.StatusTooManyRequests },
		"silent":    func(h *host) { h.slow = make(chan struct{}) },
	} {
		for outage, admitted := range map[Outage]bool{"": false, Closed: false, LetPeople: true} {
			t.Run(name+" "+string(outage), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &host{}
					lose(h)
					r, a := asking(t, h, outage)
					began := time.Now()
					g, err := a.Authorize(t.Context(), wants("c-10"))
					if (err == nil) != admitted || (g.User == "8") != admitted {
						t.Errorf("got %+v, %v", g, err)
					}
					if complaint := refused(g, err, "the backend gives no answer"); !admitted && complaint != "" {
						t.Error(complaint)
					}
					if took := time.Since(began); took > 3*time.Second || r.State() != Lost {
						t.Errorf("after %v: %s", took, r.State())
					}
					h.now(http.StatusOK, "", nil)
					if _, err := a.Authorize(t.Context(), wants("c-10")); err != nil || r.State() != Up {
						t.Errorf("with the backend back: %v, %s", err, r.State()) // an outage is not remembered
					}
				})
			})
		}
	}
}

func TestRoomsRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{code: http.StatusOK}
		_, a := asking(t, h, Closed)
		allowed := func(c core.Credentials, want bool, asked int) {
			t.Helper()
			if _, err := a.Authorize(t.Context(), c); (err == nil) != want || h.times() != asked {
				t.Errorf("got %v, asked %d times; want %t, %d", err, h.times(), want, asked)
			}
		}
		allowed(wants("c-10"), true, 1)
		allowed(wants("c-10"), true, 1)
		allowed(wants("c-11"), true, 2) // another room
		other := wants("c-10")
		other.Token = "x.y.z"
		h.now(http.StatusForbidden, "", nil)
		allowed(other, false, 3) // another token
		allowed(other, false, 3)
		h.now(0, "", errors.New("gone"))
		allowed(wants("c-10"), true, 3) // what it said before counts
		<-time.After(30 * time.Second)
		allowed(wants("c-10"), false, 4)
		h.now(http.StatusForbidden, "", nil)
		allowed(wants("c-10"), false, 5) // put out meanwhile
	})
}

func TestRoomsMemoryIsBounded(t *testing.T) {
	h := &host{code: http.StatusOK}
	r, a := asking(t, h, Closed)
	for n := range maxAnswers {
		r.keep(question{user: digest{byte(n), byte(n >> 8), byte(n >> 16)}}, answer{}, 0)
	}
	for n := range 100 {
		if _, err := a.Authorize(t.Context(), wants(fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
	}
	if r.answers.len() != maxAnswers {
		t.Errorf("%d answers are kept", r.answers.len())
	}
}

// TestRoomsHoldsUpOnlyWhoAsks has more people ask than there are turns.
func TestRoomsHoldsUpOnlyWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{code: http.StatusOK}
		_, a := asking(t, h, Closed)
		if _, err := a.Authorize(t.Context(), wants("known")); err != nil {
			t.Fatal(err)
		}
		h.as(http.StatusOK, "", nil, make(chan struct{}), nil)
		answers := make(chan error)
		for n := range maxAsking + 8 {
			go func() {
				_, err := a.Authorize(t.Context(), wants(fmt.Sprint(n)))
				answers <- err
			}()
		}
		synctest.Wait()
		if n := h.times() - 1; n != maxAsking {
			t.Errorf("%d questions at once", n)
		}
		began := time.Now()
		if _, err := a.Authorize(t.Context(), wants("known")); err != nil || time.Since(began) > 0 {
			t.Errorf("one who is known waits %v, %v", time.Since(began), err)
		}
		for range maxAsking + 8 {
			if err := <-answers; err == nil {
				t.Error("let in without an answer")
			}
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("they waited %v", took)
		}
	})
}

func TestRoomsFillsInNames(t *testing.T) {
	for _, c := range []struct{ user, room, want string }{
		{"8", "c-10", "/rooms/c-10/members/8?room=c-10"},
		{"a/b", "../../admin", "/rooms/..%2F..%2Fadmin/members/a%2Fb?room=..%2F..%2Fadmin"},
		{"8", "x?admin=1#y", "/rooms/x%3Fadmin=1%23y/members/8?room=x%3Fadmin%3D1%23y"},
		{"8", "a&room=b c", "/rooms/a&room=b%20c/members/8?room=a%26room%3Db+c"},
		{"{room}", "방", "/rooms/%EB%B0%A9/members/%7Broom%7D?room=%EB%B0%A9"},
		{"8", "r\r\nHost: evil", "/rooms/r%0D%0AHost:%20evil/members/8?room=r%0D%0AHost%3A+evil"},
		{"..", "c-10", ""}, {"8", "..", ""}, {"8", ".", ""}, {"8", "", ""}, {"8", strings.Repeat("r", 129), ""},
	} {
		h := &host{code: http.StatusOK}
		r, _ := asking(t, h, Closed)
		err := r.admit(t.Context(), c.user, c.room, "")
		if c.want == "" {
			if err == nil || h.times() > 0 {
				t.Errorf("%q, %.20q: got %v, asked %d times", c.user, c.room, err, h.times())
			}
			continue
		}
		if err != nil || h.asked[0].URL.RequestURI() != c.want || h.asked[0].URL.Host != "app.test" {
			t.Errorf("%q, %q: got %v; asked %s, want %s", c.user, c.room, err, h.asked[0].URL, c.want)
		}
	}
}

func TestRoomsConfigIsChecked(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://app.test/{room}/{user}": true, "http://127.0.0.1:8080/may?user={user}&room={room}": true,
		"https://app.test/{room}": false, "https://app.test/{user}": false, "https://{room}.app.test/{user}": false,
		"file:///{room}/{user}": false, "https://u:p@app.test/{room}/{user}": false, "": false,
	} {
		if _, err := NewRooms(RoomsConfig{URL: text}); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRoomsAsksOnlyForWhomTokensLetIn(t *testing.T) {
	h := &host{code: http.StatusOK}
	r, _ := asking(t, h, LetPeople)
	a := r.Behind(JWT{Keys: Secret(secret)})
	if _, err := a.Authorize(t.Context(), wants("c-10")); err == nil || h.times() > 0 {
		t.Errorf("got %v, asked %d times", err, h.times())
	}
}
