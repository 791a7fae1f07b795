package transport

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// Real sockets: one presses as much into each framing as goes in, is cut off, and told
// why. No time passes for the budget, so what got through is known to the frame. One
// who is there meanwhile is answered.
func TestAbuserIsCutOffAndNobodyElse(t *testing.T) {
	const burst, bursts = 200, 3
	for _, tt := range []struct{ name, path, open, frame string }{
		{"websocket", barePath, "", "bad luck"},
		{"sockjs", sockjsPath, "", quoted("bad luck")},
		{"sockjs, many in a frame", sockjsPath, "", "[" + strings.Repeat(`"bad luck",`, 999) + `"bad luck"]`},
		{"socket.io 4", socket4, "40", `42["say","bad luck"]`},
		{"socket.io 3", socket3, "", `42["say","bad luck"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &ledger{}
			edge := New(Config{
				Hub: newHub(), Observer: l, Log: slog.New(slog.NewJSONHandler(l, nil)),
				Limits: Limits{Messages: Rate{PerSecond: 1, Burst: burst}, FloodBursts: bursts},
			})
			doors := []Door{{"/rtc", (*Edge).SockJS, parrot}, {"/ws", (*Edge).WebSocket, parrot}, {"/socket.io", talk.Framing, parrot}}
			server := httptest.NewServer(edge.Handler(doors, nil))
			defer server.Close()
			dial := func(path string) *websocket.Conn {
				c, _, err := websocket.Dial(t.Context(), server.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.CloseNow() })
				return c
			}
			began := time.Now()
			abuser, other := dial(tt.path), dial(barePath)
			go func() {
				frame := tt.open
				for ; frame == "" || abuser.Write(t.Context(), websocket.MessageText, []byte(frame)) == nil; frame = tt.frame {
					if t.Context().Err() != nil {
						return
					}
				}
			}()
			for {
				if _, _, err := abuser.Read(t.Context()); err != nil {
					if code := websocket.CloseStatus(err); code != 4429 {
						t.Errorf("ended with %v", err)
					}
					break
				}
			}
			if err := other.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, text, err := other.Read(t.Context()); err != nil || string(text) != "hello" {
				t.Errorf("the other heard %q, %v", text, err)
			}
			other.CloseNow()
			if err := edge.Shutdown(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			most := burst + int(time.Since(began).Seconds()) + 1
			if l.badFrames() > most || l.bites(LimitFlood) != 1 {
				t.Errorf("%d frames were handled, want %d at most; told of %q", l.badFrames(), most, l.limits)
			}
		})
	}
}

// Requests that bring far too much are the end of their session, be it many of them or
// many messages in one.
func TestAbuseByRequestsIsCutOff(t *testing.T) {
	for _, many := range []int{1, 100, 2000} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{Limits: DefaultLimits()})
			xhr, _ := w.stream("/rtc/0/s")
			w.hearLine(xhr, "o")
			body := "[" + strings.Repeat(`"bad",`, many-1) + `"bad"]`
			for status := http.StatusNoContent; status == http.StatusNoContent; {
				status, _ = w.post("/rtc/0/s/xhr_send", body)
			}
			line := ""
			for err := error(nil); err == nil && !strings.HasPrefix(line, "c"); {
				line, err = xhr.ReadString('\n')
			}
			if line != `c[4429,"messages come too fast"]`+"\n" {
				t.Errorf("the session ended with %q", line)
			}
			s := w.session(poll4)
			w.brings(s, "40")
			for status := http.StatusOK; status == http.StatusOK; {
				status, _ = w.post(s, strings.Repeat("42[\"say\",\"bad\"]\x1e", min(many, 200)-1)+`42["say","bad"]`)
			}
			w.wantEnds("sockjs-xhr-streaming flood", "socketio flood")
			if n := w.ledger.badFrames(); n > 2*(200+1) {
				t.Errorf("%d frames were handled", n)
			}
		})
	}
}

// What belongs to no dialect is paid for, too: events of other names, acknowledgements,
// bytes, and a namespace that is left and entered again for the budget that it gives.
func TestNoiseIsCutOff(t *testing.T) {
	for name, noise := range map[string][]string{
		"other events":       {`42["other",1]`},
		"large ones":         {`42["other","` + strings.Repeat("x", 1<<19) + `"]`},
		"acknowledgements":   {`437[1]`},
		"bytes":              {`451-["other",{"_placeholder":true,"num":0}]`, "bAQIDBA=="},
		"unknown namespaces": {`40/nowhere,`},
		"in and out":         {`41`, `40`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{Limits: DefaultLimits()})
				c := w.connects(socket4)
				ended := make(chan error, 1)
				go func() {
					for {
						if _, _, err := c.Read(t.Context()); err != nil {
							ended <- err
							return
						}
					}
				}()
				n := 0
				for err := error(nil); err == nil && n < 10_000; n++ {
					for _, packet := range noise {
						err = cmp.Or(err, c.Write(t.Context(), websocket.MessageText, []byte(packet)))
					}
				}
				if err := <-ended; websocket.CloseStatus(err) != 4429 {
					t.Errorf("ends with %v", err)
				}
				if n == 10_000 || n < 2 {
					t.Errorf("cut off after %d", n)
				}
			})
		})
	}
}

// Who is slowed down and then leaves has said it all the same: what came before their
// last word is done, and they have left, and are not lost.
func TestLastWordsAreHeard(t *testing.T) {
	const frames = 30
	limits := Limits{Messages: Rate{PerSecond: 10, Burst: 10}, FloodBursts: 3}
	for _, tt := range []struct {
		name, path string
		bye        func(*world, *websocket.Conn)
	}{
		{"websocket", barePath, hangsUp},
		{"sockjs", sockjsPath, hangsUp},
		{"socket.io", socket4, hangsUp},
		{"socket.io, by a packet of the namespace", socket4, func(w *world, c *websocket.Conn) { w.tell(c, "41") }},
		{"socket.io, by a packet of the session", socket4, func(w *world, c *websocket.Conn) { w.tell(c, "1") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{Limits: limits})
				var c *websocket.Conn
				frame := "bad"
				switch tt.path {
				case sockjsPath:
					c, frame = w.dial(tt.path), quoted("bad")
					w.hear(c, "o")
				case socket4:
					c, frame = w.connects(tt.path), `42["say","bad"]`
				default:
					c = w.dial(tt.path)
				}
				go func() {
					for !errors.Is(t.Context().Err(), context.Canceled) {
						if _, _, err := c.Read(t.Context()); err != nil {
							return
						}
					}
				}()
				for range frames {
					w.tell(c, frame)
				}
				tt.bye(w, c)
				<-time.After(time.Minute)
				if w.ledger.badFrames() != frames {
					t.Errorf("%d frames were handled", w.ledger.badFrames())
				}
				if ends := w.ledger.ends(); len(ends) != 1 || !strings.HasSuffix(ends[0], " left") {
					t.Errorf("ends: %q", ends)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // polling
		w := newWorld(t, Config{Limits: limits})
		s := w.session(poll4)
		w.brings(s, "40\x1e"+strings.Join(slices.Repeat([]string{`42["say","bad"]`}, frames), "\x1e")+"\x1e1")
		w.wantEnds("socketio left")
		if w.ledger.badFrames() != frames {
			t.Errorf("%d frames were handled", w.ledger.badFrames())
		}
	})
}

func hangsUp(_ *world, c *websocket.Conn) { go c.Close(websocket.StatusGoingAway, "") }
