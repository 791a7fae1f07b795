package transport

import (
	"context"
	"errors"
	"fmt"
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
	for _, c := range []core.Command{core.Hello{}, core.Join{}, core.Open{}, core.Group{}, core.Show{}} {
		if !needsMemory(c) {
			t.Errorf("%T is carried out while there is no memory", c)
		}
	}
	if needsMemory(core.Say{}) || needsMemory(core.Leave{}) || grows(core.Show{}) {
		t.Error("calls do not go on as they are")
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

// A burst goes through at once. What is over waits for its turn, and nothing of it is
// lost, even if the client leaves meanwhile.
func TestBurstsAndBeyond(t *testing.T) {
	limits := Limits{Messages: Rate{PerSecond: 10, Burst: 50}, FloodBursts: 3, FloodTime: time.Minute}
	for _, tt := range []struct {
		frames int
		want   time.Duration
		bites  int
	}{
		{1, 0, 0}, {49, 0, 0}, {60, time.Second, 1}, {199, 14900 * time.Millisecond, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{}
			d, err := sent(t, l, limits, slices.Repeat([]string{"bad luck"}, tt.frames)...)
			if !errors.Is(err, errQuit) || (d-tt.want).Abs() > 10*time.Millisecond {
				t.Errorf("%d frames: %v after %v, want %v", tt.frames, err, d, tt.want)
			}
			if n := l.bites(LimitMessages); n != tt.bites {
				t.Errorf("%d frames: counted %d", tt.frames, n)
			}
			if l.bad != tt.frames {
				t.Errorf("%d frames: %d were handled", tt.frames, l.bad)
			}
		})
	}
}

// What clients do at their busiest is slowed down at most, with the limits that there
// are by default.
func TestBusyClientsAreNotCutOff(t *testing.T) {
	for _, tt := range []struct {
		name   string
		frames []string
		most   time.Duration
	}{
		{"a browser's candidates for 25 connections, 60 each",
			slices.Repeat([]string{"trickle " + strings.Repeat("x", 300)}, 25*60), 3 * time.Second},
		{"a page that comes into a room of 25 three times in a row",
			slices.Repeat(append(slices.Repeat([]string{"trickle x"}, 25*12), slices.Repeat([]string{"offer " + strings.Repeat("x", 8<<10)}, 25)...), 3), 7 * time.Second},
		{"a quarter of a minute of drawing that was stuck on the line",
			slices.Repeat([]string{"stroke " + strings.Repeat("x", 500)}, 15*100), 6 * time.Second},
		{"two large pictures", slices.Repeat([]string{"say " + strings.Repeat("x", 10<<20)}, 2), 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &ledger{}
				d, err := sent(t, l, DefaultLimits(), tt.frames...)
				if !errors.Is(err, errQuit) || d > tt.most {
					t.Errorf("%v after %v", err, d)
				}
			})
		})
	}
}

// Who sends far too much is cut off at once, whatever it is.
func TestAbuseIsCutOff(t *testing.T) {
	const interval = time.Second / 20_000
	for _, frame := range []string{
		"", "nothing", "bad luck", "say hello", "join r ann", "hello ann", "offer x", "trickle " + strings.Repeat("x", 400), "stroke " + strings.Repeat("x", 300),
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{}
			o := l.options()
			o.Limits = DefaultLimits()
			began := time.Now()
			err := Serve(t.Context(), &ticker{script{frames: slices.Repeat([]string{frame}, 100_000)}, interval}, newHub(), parrot, o)
			if d := time.Since(began); !errors.Is(err, ErrFlood) || d > time.Second {
				t.Errorf("%.20q: %v after %v", frame, err, d)
			}
			if l.bites(LimitMessages)+l.bites(LimitDrawing) != 1 || l.bites(LimitFlood) != 1 {
				t.Errorf("%.20q: told of %q", frame, l.limits)
			}
		})
	}
}

// ticker is a script whose frames come one after another.
type ticker struct {
	script
	every time.Duration
}

func (c *ticker) Read(ctx context.Context) ([]byte, error) {
	if err := sleep(ctx, c.every); err != nil {
		return nil, err
	}
	return c.script.Read(ctx)
}

// Who presses on a little too fast, without a pause, is cut off in the end, and so is
// everybody where nothing else sets an end.
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

// What waits is bounded in bytes: the rest stays on the line.
func TestBacklogIsBounded(t *testing.T) {
	for _, size := range []int{10, 1000, 100_000, 3 << 20} {
		synctest.Test(t, func(t *testing.T) {
			c := &script{frames: slices.Repeat([]string{"say " + strings.Repeat("x", size)}, 10_000)}
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error)
			go func() {
				ended <- Serve(ctx, c, newHub(), parrot, Options{Limits: Limits{Messages: Rate{PerSecond: 1, Burst: 1}}})
			}()
			synctest.Wait()
			if n := 10_000 - len(c.frames); n > 3+backlogBytes/(size+lateFrame) {
				t.Errorf("%d frames of %d bytes wait", n, size)
			}
			cancel(ErrShutdown)
			if err := <-ended; !errors.Is(err, ErrShutdown) {
				t.Error(err)
			}
		})
	}
}

// A pause makes up for it.
func TestPausesAreHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(Limits{Messages: Rate{PerSecond: 10, Burst: 50}, FloodTime: 5 * time.Second})
		times := 0
		for range 100 {
			for range 80 { // three seconds too much
				if _, err := th.due(core.Ping{}, 0, 0, func(Limit) { times++ }); err != nil {
					t.Fatal(err)
				}
			}
			<-time.After(8 * time.Second)
		}
		if times != 100 {
			t.Errorf("slowed down %d times", times)
		}
	})
}

// Drawing has a rate of its own: who draws can still talk.
func TestDrawingHasItsOwnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(Limits{Messages: Rate{PerSecond: 1, Burst: 1}, Drawing: Rate{PerSecond: 100, Burst: 100}, FloodTime: time.Hour})
		var bites []Limit
		due := func(c core.Command) time.Duration {
			t.Helper()
			wait, err := th.due(c, 0, 0, func(l Limit) { bites = append(bites, l) })
			if err != nil {
				t.Fatal(err)
			}
			return wait
		}
		for n := range 200 {
			if d := due(core.Cast{Topic: core.Stroke}); (d - time.Duration(max(0, n-99))*time.Second/100).Abs() > time.Millisecond {
				t.Errorf("stroke %d waits %v", n, d)
			}
		}
		if d := due(core.Say{}); d != 0 {
			t.Errorf("a word waits %v", d)
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
			if wait, err := th.due(c, size, 0, func(Limit) {}); err != nil || wait != 0 {
				t.Fatal(wait, err)
			}
		}
	})
}

// Frames keep their order: one that may come at once comes behind those that wait.
func TestLateFramesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		hub := newHub()
		var heard []string
		ears := &script{frames: []string{"join r ben"}, write: func(_ context.Context, frame []byte) error {
			heard = append(heard, string(frame))
			return nil
		}}
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, ears, hub, parrot, Options{}) }()
		synctest.Wait()
		frames, want := []string{"join r ann"}, []string{"joined"}
		for i := range 100 {
			op := "say"
			if i%10 == 0 {
				op = "bad luck, which is told to nobody" // messages have a rate, too
				frames = append(frames, op)
				op = "stroke"
			}
			frames = append(frames, fmt.Sprint(op, " ", i))
			want = append(want, fmt.Sprint(i))
		}
		o := Options{Limits: Limits{Messages: Rate{PerSecond: 20, Burst: 10}, Drawing: Rate{PerSecond: 1, Burst: 2}}}
		if err := Serve(ctx, &script{frames: frames, then: ErrLeft}, hub, parrot, o); !errors.Is(err, ErrLeft) {
			t.Error(err)
		}
		synctest.Wait()
		cancel(errQuit)
		<-ended
		if !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
	})
}

// A bug that shows in a frame that waited ends the connection, as any other.
func TestLatePanicEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		o := l.options()
		o.Limits = Limits{Messages: Rate{PerSecond: 10, Burst: 1}}
		armed := false
		o.Full = func() bool {
			if armed {
				panic("full of bugs")
			}
			armed = true
			return false
		}
		err := Serve(t.Context(), &script{frames: []string{"join r ann", "join r ann"}}, newHub(), parrot, o)
		if !errors.Is(err, ErrPanicked) {
			t.Error(err)
		}
	})
}

// Real connections: one who sends too much hears all of it back, later; it does not
// count as silent meanwhile, and the others do not wait.
func TestSlowedClientLosesNothing(t *testing.T) {
	const frames = 200
	limits := Limits{Messages: Rate{PerSecond: 5, Burst: 50}, FloodBursts: 3, FloodTime: time.Minute}
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
			if d := time.Since(began); d < 29*time.Second || d > 31*time.Second {
				t.Errorf("%s: took %v", path, d)
			}
			if n := w.ledger.bites(LimitMessages); n != 1 {
				t.Errorf("counted %d", n)
			}
			c.CloseNow()
		})
	}
}

// Requests that bring too much wait for their answer, once much waits already.
func TestSlowedRequestsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Limits: Limits{Messages: Rate{PerSecond: 10, Burst: 10}}})
		r, _ := w.stream("/rtc/0/s")
		w.hearLine(r, "o")
		began := time.Now()
		message := `"bad ` + strings.Repeat("x", 64<<10-4) + `"`
		body := "[" + strings.Repeat(message+",", 14) + message + "]"
		for range 2 { // 2 MiB, of which 320 KiB are paid for
			w.wantPost("/rtc/0/s/xhr_send", body, 204, "")
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the first two took %v", d)
		}
		w.wantPost("/rtc/0/s/xhr_send", `["y"]`, 204, "")
		if d := time.Since(began); d < time.Second || d > 3*time.Second {
			t.Errorf("the third waited %v", d)
		}
	})
}
