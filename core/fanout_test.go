package core

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What large rooms do at their busiest slows down nobody.
func TestBusyRoomsAreNotSlowed(t *testing.T) {
	of := func(size int) Event { return Passed{Topic: Stroke, Body: JSON(strings.Repeat("x", size))} }
	for _, tt := range []struct {
		name      string
		members   int
		perSecond int // in all
		event     Event
	}{
		{"25 people's states, each of them twice a second", 25, 50, MemberEdited{}},
		{"50 people's chat, each of them once a second", 50, 50, Said{Message: JSON(strings.Repeat("x", 500))}},
		{"six who draw for 50", 50, 6 * 60, of(300)},
		{"one who draws for 300", 300, 120, of(300)},
		{"25 who draw for each other", 25, 25 * 60, of(300)},
		{"pages turned for 50, one a second", 50, 1, Shown{Image: strings.Repeat("x", 1<<20)}},
		{"the largest page for 25, once a second", 25, 1, Shown{Image: strings.Repeat("x", 10<<20)}},
	} {
		f := fanoutOf(DefaultLimits())
		told := slices.Repeat([]news{{event: tt.event}}, tt.members-1)
		now := time.Now()
		for i := range 3 * tt.perSecond {
			if wait, _ := f.charge(told, now); wait != 0 {
				t.Errorf("%s: after %d, somebody waits for %v", tt.name, i, wait)
				break
			}
			now = now.Add(time.Second / time.Duration(tt.perSecond))
		}
	}
}

// counter counts how often rooms were slowed down.
type counter struct {
	quiet
	mu     sync.Mutex
	slowed []RoomID // guarded by mu
}

func (c *counter) Slowed(room RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowed = append(c.slowed, room)
}

// A room that is talked in without a pause tells what its budget has, in order and
// without a loss; nobody is cut off, and people elsewhere do not wait.
func TestRoomIsSlowedDown(t *testing.T) {
	const talkers, each, rate, burst = 10, 50, 100, 90
	synctest.Test(t, func(t *testing.T) {
		watch := &counter{}
		h := NewHub(HubConfig{Plane: &fakeMedia{}, Auth: anyone{}, Observer: watch, Limits: Limits{RoomRate: rate, RoomBurst: burst}})
		var all []*client
		heard := make([][]string, talkers)
		for i := range talkers {
			c := h.client(t)
			c.out = NewOutbox(1000, func(err error) { t.Error(i, "was cut off:", err) })
			c.out.OnWork(func() {
				for events := c.out.Drain(); len(events) > 0; events = c.out.Drain() {
					for _, e := range events {
						if said, ok := e.(Said); ok {
							heard[i] = append(heard[i], string(said.Message))
						}
					}
				}
			})
			c.Session = h.Session(c.out, Peer{})
			c.Do(t.Context(), Ref{}, Hello{Cred: Credentials{User: UserID(fmt.Sprint("u", i))}})
			c.Do(t.Context(), Ref{}, Join{Room: "loud", Make: &Open{Mode: SFU}})
			all = append(all, c)
		}
		<-time.After(time.Minute)
		ann := h.client(t)
		ann.asks(Hello{Cred: Credentials{User: "ann"}})
		ann.asks(Join{Room: "calm", Make: &Open{Mode: SFU}})
		began := time.Now()
		var talking sync.WaitGroup
		for i, c := range all {
			talking.Go(func() {
				for n := range each {
					c.Do(t.Context(), Ref{}, Say{Room: "loud", Message: JSON(fmt.Sprintf("%d %03d", i, n))})
				}
			})
		}
		ann.Do(t.Context(), Ref{}, Say{Room: "calm", Message: JSON("1")})
		if d := time.Since(began); d != 0 {
			t.Errorf("in another room, a word took %v", d)
		}
		talking.Wait()
		// All that was told costs 1 and a little: what is carried.
		want := time.Duration(talkers*each*(talkers-1)-burst) * time.Second / rate
		if d := time.Since(began); d < want || d > want+2*time.Second {
			t.Errorf("it took %v, want %v", d, want)
		}
		for i := range talkers {
			for j := range talkers {
				from := slices.DeleteFunc(slices.Clone(heard[i]), func(s string) bool { return !strings.HasPrefix(s, fmt.Sprint(j, " ")) })
				if i != j && (len(from) != each || !slices.IsSorted(from)) {
					t.Errorf("%d heard %q of %d", i, from, j)
				}
			}
		}
		if !slices.Equal(watch.slowed, []RoomID{"loud"}) {
			t.Errorf("slowed down: %q", watch.slowed)
		}
		for _, c := range append(all, ann) {
			c.Close()
		}
		h.Close()
	})
}

// Who is slowed down can be cut off, and does not wait to leave.
func TestSlowedDownCanLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ann, ben := strict(t, Limits{RoomRate: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		ann.Do(ctx, Ref{}, Say{Room: "r", Message: JSON(`"` + strings.Repeat("x", 60<<10) + `"`)})
		ann.Close()
		if d := time.Since(began); d != time.Second {
			t.Errorf("left after %v", d)
		}
		ben.Close()
		h.Close()
	})
}
