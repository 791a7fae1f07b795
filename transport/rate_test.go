package transport

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"confgate/core"
)

// Every command has a price, and what makes the gateway work costs more than what
// is only told on.
func TestCosts(t *testing.T) {
	price := func(c core.Command) float64 {
		cost, _ := costOf(c, 0)
		return cost
	}
	order := []core.Command{core.Trickle{}, core.Say{}, core.Offer{}, core.Join{}}
	if !slices.IsSortedFunc(order, func(a, b core.Command) int {
		if price(a) < price(b) {
			return -1
		}
		return 1
	}) {
		t.Error("the order is another")
	}
	if _, drawing := costOf(core.Cast{Topic: core.Stroke}, 0); !drawing {
		t.Error("a stroke is not drawing")
	}
	for _, c := range []core.Command{core.Cast{Topic: core.Notice}, core.Trickle{}, nil} {
		if cost, drawing := costOf(c, 0); drawing || cost <= 0 {
			t.Errorf("%v costs %v, drawing %t", c, cost, drawing)
		}
	}
	small, _ := costOf(core.Cast{}, 100)
	if large, _ := costOf(core.Cast{}, 10<<20); large < 100*small {
		t.Errorf("an image costs %v, a word %v", large, small)
	}
}

// sent runs a client that sends frames as fast as they are read, and gives how long
// that took.
func sent(t *testing.T, l *ledger, limits Limits, frames ...string) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	o := l.options()
	o.Limits = limits
	err := Serve(t.Context(), &script{frames: frames, then: errQuit}, newHub(), parrot, o)
	return time.Since(began), err
}

// A burst goes through at once. What is over is slowed down to the rate, and nothing
// of it is lost.
func TestBurstsAndBeyond(t *testing.T) {
	limits := Limits{Messages: Rate{PerSecond: 10, Burst: 50}, FloodTime: time.Minute}
	for _, tt := range []struct {
		frames int
		want   time.Duration
		bites  int
	}{
		{1, 0, 0}, {50, 0, 0}, {60, time.Second, 1}, {150, 10 * time.Second, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{}
			d, err := sent(t, l, limits, slices.Repeat([]string{""}, tt.frames)...)
			if !errors.Is(err, errQuit) || (d-tt.want).Abs() > time.Millisecond {
				t.Errorf("%d frames: %v after %v, want %v", tt.frames, err, d, tt.want)
			}
			if n := l.bites(LimitMessages); n != tt.bites {
				t.Errorf("%d frames: counted %d", tt.frames, n)
			}
			lines := l.lines(t)
			if got := lines[len(lines)-1]["frames_in"]; got != float64(tt.frames) {
				t.Errorf("%v frames came through", got)
			}
		})
	}
}

// Who presses on without a pause is cut off, bad frames or good.
func TestFloodIsCutOff(t *testing.T) {
	limits := Limits{Messages: Rate{PerSecond: 10, Burst: 50}, FloodTime: 20 * time.Second}
	for _, frame := range []string{"", "nothing", "bad luck", "say hello", "join r ann"} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{}
			d, err := sent(t, l, limits, slices.Repeat([]string{frame}, 10_000)...)
			if !errors.Is(err, ErrFlood) || d < limits.FloodTime || d > limits.FloodTime+time.Second {
				t.Errorf("%q: %v after %v", frame, err, d)
			}
			if l.bites(LimitMessages) != 1 || l.bites(LimitFlood) != 1 {
				t.Errorf("told of %q", l.limits)
			}
		})
	}
}

// A pause makes up for it.
func TestPausesAreHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Limits{Messages: Rate{PerSecond: 10, Burst: 50}, FloodTime: 5 * time.Second}
		th := newThrottle(l)
		times := 0
		for range 100 {
			for range 80 { // three seconds too much
				if err := th.hold(t.Context(), core.Ping{}, 0, func(Limit) { times++ }); err != nil {
					t.Fatal(err)
				}
			}
			<-time.After(3 * time.Second)
		}
		if times < 50 {
			t.Errorf("slowed down %d times", times)
		}
	})
}

// Drawing has a rate of its own: who draws can still talk.
func TestDrawingHasItsOwnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(Limits{Messages: Rate{PerSecond: 1, Burst: 1}, Drawing: Rate{PerSecond: 100, Burst: 100}, FloodTime: time.Hour})
		began := time.Now()
		var bites []Limit
		hold := func(c core.Command) {
			t.Helper()
			if err := th.hold(t.Context(), c, 0, func(l Limit) { bites = append(bites, l) }); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			hold(core.Cast{Topic: core.Stroke})
		}
		if d := time.Since(began); (d - time.Second).Abs() > time.Millisecond {
			t.Errorf("the strokes took %v", d)
		}
		hold(core.Say{})
		if d := time.Since(began); (d - time.Second).Abs() > time.Millisecond {
			t.Errorf("a word waited until %v", d)
		}
		if !slices.Equal(bites, []Limit{LimitDrawing}) {
			t.Errorf("told of %q", bites)
		}
	})
}

// Joining the largest call there is by default costs nobody any time: an offer for
// each member, and their candidates.
func TestJoiningIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(DefaultLimits())
		began := time.Now()
		var commands []core.Command
		commands = append(commands, core.Join{})
		for range 25 {
			commands = append(commands, core.Offer{})
			for range 12 {
				commands = append(commands, core.Trickle{})
			}
		}
		for _, c := range commands {
			size := 300
			if _, ok := c.(core.Offer); ok {
				size = 8 << 10
			}
			if err := th.hold(t.Context(), c, size, func(Limit) {}); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("took %v", d)
		}
	})
}

func TestHeldClientsCanBeCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(ErrShutdown) })
		th := newThrottle(Limits{Messages: Rate{PerSecond: 1, Burst: 1}})
		err := th.hold(ctx, core.Ping{}, 100<<20, func(Limit) {})
		if !errors.Is(err, ErrShutdown) {
			t.Error(err)
		}
	})
}

// Real connections: one who sends too much hears all of it back, later; it does not
// count as silent meanwhile, and the others do not wait.
func TestSlowedClientLosesNothing(t *testing.T) {
	const frames = 400
	limits := Limits{Messages: Rate{PerSecond: 10, Burst: 50}, FloodTime: time.Minute}
	for _, path := range []string{barePath, sockjsPath, socket4} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{Limits: limits})
			wrap := func(text string) (there, back string) { return text, text }
			c := w.dial(path)
			switch path {
			case sockjsPath:
				wrap = func(text string) (string, string) { return quoted(text), "a" + quoted(text) }
				w.hear(c, "o")
			case socket4:
				wrap = func(text string) (string, string) { return `42["say",` + quoted(text)[1:], `42["say",` + text + `]` }
				w.hears(c, alone4)
				w.tell(c, "40")
				w.hears(c, `40{"sid":"*"}`)
			}
			began := time.Now()
			go func() {
				there, _ := wrap("7")
				for range frames {
					if c.Write(t.Context(), websocket.MessageText, []byte(there)) != nil {
						return
					}
				}
			}()
			other := w.dial(barePath)
			w.tell(other, "hello")
			w.hear(other, "hello")
			if d := time.Since(began); d != 0 {
				t.Errorf("another client waited %v", d)
			}
			for range frames {
				_, back := wrap("7")
				for {
					_, got, err := c.Read(t.Context())
					if err != nil {
						t.Fatalf("%s: %v", path, err)
					}
					if string(got) == back {
						break
					}
					if !slices.Contains([]string{"h", "2"}, string(got)) {
						t.Fatalf("%s: heard %q, want %q", path, got, back)
					}
					if string(got) == "2" {
						go c.Write(t.Context(), websocket.MessageText, []byte("3"))
					}
				}
			}
			if d := time.Since(began); d < 34*time.Second || d > 36*time.Second {
				t.Errorf("%s: took %v", path, d)
			}
			if n := w.ledger.bites(LimitMessages); n != 1 {
				t.Errorf("counted %d", n)
			}
			c.CloseNow()
		})
	}
}

// Requests that bring too much wait for their answer.
func TestSlowedRequestsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Limits: Limits{Messages: Rate{PerSecond: 10, Burst: 10}}})
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		began := time.Now()
		body := "[" + strings.Repeat(`"x",`, 59) + `"x"]`
		w.wantPost("/rtc/0/s/xhr_send", body, 204, "")
		if d := time.Since(began); d != 0 {
			t.Errorf("the first took %v", d)
		}
		w.wantPost("/rtc/0/s/xhr_send", `["y"]`, 204, "")
		if d := time.Since(began); d < 4*time.Second || d > 5100*time.Millisecond {
			t.Errorf("the second waited %v", d)
		}
	})
}
