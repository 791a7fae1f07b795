package transport

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

const (
	barePath   = "/ws"
	rawPath    = "/rtc/websocket"
	sockjsPath = "/rtc/000/abc/websocket"
)

// quoted puts a message into the frame of a SockJS client.
func quoted(message string) string { return "[" + string(appendQuoted(nil, []byte(message))) + "]" }

func TestBareWebSocket(t *testing.T) {
	for _, path := range []string{barePath, barePath + "/", rawPath} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{})
			c := w.dial(path)
			w.tell(c, `{"id":"x"}`)
			w.hear(c, `{"id":"x"}`)
			if err := c.Write(t.Context(), websocket.MessageBinary, []byte("leave")); err != nil {
				t.Fatal(err)
			}
			w.hear(c, "leave")
			c.Close(websocket.StatusNormalClosure, "")
			synctest.Wait()
			if got := w.ledger.ends(); !slices.Equal(got, []string{"websocket left"}) {
				t.Errorf("ends: %q", got)
			}
		})
	}
}

func TestSockJSWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		c := w.dial(sockjsPath)
		w.hear(c, "o")
		w.tell(c, "")
		w.tell(c, "[]")
		w.tell(c, `["a"]`)
		w.hear(c, `a["a"]`)
		w.tell(c, `"b"`)
		w.hear(c, `a["b"]`)
		w.tell(c, `["c","d \"e\"","f"]`)
		w.hear(c, `a["c"]`)
		w.hear(c, `a["d \"e\""]`)
		w.hear(c, `a["f"]`)

		again := w.dial(sockjsPath) // session ids may be used again here
		w.hear(again, "o")
		w.tell(again, `["a"]`)
		w.hear(again, `a["a"]`)
		w.tell(c, `["a"]`)
		w.hear(c, `a["a"]`)
	})
}

func TestWebSocketClosesWithTheRightCode(t *testing.T) {
	const limit = 4096
	tests := []struct {
		name, path, frame string
		last              string // a frame heard before the close
		code              websocket.StatusCode
	}{
		{"not UTF-8", barePath, "a\xff", "", 1007},
		{"not UTF-8", sockjsPath, "[\"a\xff\"]", `c[1007,"text is not UTF-8"]`, 1007},
		{"too big", barePath, strings.Repeat("x", limit+1), "", 1009},
		{"too big", sockjsPath, quoted(strings.Repeat("x", limit+1)), `c[1009,"message too big"]`, 1009},
		{"much too big", sockjsPath, strings.Repeat("x", 9*limit), "", 1009},
		{"open string", sockjsPath, `["a`, `c[1002,"broken framing"]`, 1002},
		{"not strings", sockjsPath, `[1]`, `c[1002,"broken framing"]`, 1002},
		{"trailing data", sockjsPath, `["a"] ["b"]`, `c[1002,"broken framing"]`, 1002},
		{"null", sockjsPath, `null`, `c[1002,"broken framing"]`, 1002},
		{"an object", sockjsPath, `{}`, `c[1002,"broken framing"]`, 1002},
		{"a bug", barePath, "panic", "", 1011},
	}
	for _, tt := range tests {
		t.Run(tt.name+tt.path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{MaxFrame: limit})
				c := w.dial(tt.path)
				if tt.path == sockjsPath {
					w.hear(c, "o")
				}
				go c.Write(t.Context(), websocket.MessageText, []byte(tt.frame)) // it may never be taken whole
				if tt.last != "" {
					w.hear(c, tt.last)
				}
				w.hearClose(c, tt.code)
			})
		})
	}
}

func TestFramesUpToTheLimit(t *testing.T) {
	const limit = 4096
	for _, n := range []int{limit - 1, limit} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{MaxFrame: limit})
			long := strings.Repeat("x", n)
			c := w.dial(barePath)
			w.tell(c, long)
			w.hear(c, long)
			s := w.dial(sockjsPath)
			w.hear(s, "o")
			w.tell(s, quoted(long))
			w.hear(s, "a"+quoted(long))
		})
	}
}

// A frame in pieces counts as a whole, on either side of the limit.
func TestFragmentsAreOneFrame(t *testing.T) {
	const limit, pieces = 4096, 4
	for _, n := range []int{limit - 1, limit, limit + 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{MaxFrame: limit})
			c := w.dial(barePath)
			text := strings.Repeat("x", n)
			go func() { // it may never be taken whole
				m, err := c.Writer(t.Context(), websocket.MessageText)
				if err != nil {
					return
				}
				defer m.Close()
				for i := range pieces {
					if _, err := io.WriteString(m, text[n*i/pieces:n*(i+1)/pieces]); err != nil {
						return
					}
				}
			}()
			if n <= limit {
				w.hear(c, text)
				return
			}
			w.hearClose(c, websocket.StatusMessageTooBig)
			w.wantEnds("websocket too_big")
		})
	}
}

// A client that announces more than it ever sends is not waited for.
func TestAnnouncedSizeIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{MaxFrame: 4096})
		conn, r := w.upgrade(barePath)
		go io.Copy(io.Discard, r)
		header := []byte{0x81, 0xff}
		header = binary.BigEndian.AppendUint64(header, 1<<63-1)
		header = append(header, 0, 0, 0, 0) // the mask
		began := time.Now()
		conn.Write(header)
		conn.Write(make([]byte, 4097))
		conn.Read(make([]byte, 1))
		synctest.Wait()
		if got := w.ledger.ends(); !slices.Equal(got, []string{"websocket too_big"}) {
			t.Errorf("ends: %q", got)
		}
		if err := w.edge.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > closeGrace {
			t.Errorf("took %v", d)
		}
	})
}

// What breaks off is no message.
func TestHalfAMessageIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		conn, r := w.upgrade(barePath)
		go io.Copy(io.Discard, r)
		whole := masked("join r ann and more")
		conn.Write(whole[:6+len("join r ann")])
		conn.Close()
		w.wantEnds("websocket lost")
		if line := w.ledger.lines(t)[0]; line["frames_in"] != 0. || line["user"] != "" {
			t.Errorf("log: %v", line)
		}
	})
	for _, n := range []int{readBuffer, scratchBytes, 2 * scratchBytes} { // where a read may end
		l := &ledger{}
		edge := New(Config{Hub: newHub(), Observer: l, Log: l.options().Log})
		server := httptest.NewServer(edge.WebSocket(parrot))
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, strings.Replace(upgradeRequest, "PATH", "/", 1))
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		conn.Write(append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, strings.Repeat("x", n)...))
		_ = conn.(*net.TCPConn).CloseWrite() // the server may have gone first
		io.Copy(io.Discard, conn)
		conn.Close()
		if err := edge.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		server.Close()
		if line := l.lines(t)[0]; line["frames_in"] != 0. {
			t.Errorf("%d bytes: %v", n, line)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		began := time.Now()
		c := w.dial(sockjsPath)
		w.hear(c, "o")
		for i := range 3 {
			w.hear(c, "h")
			if d, want := time.Since(began), time.Duration(i+2)*25*time.Second; d != want {
				t.Errorf("h after %v, want %v", d, want)
			}
		}
	})
}

// A bare client hears nothing, but must answer pings.
func TestIdleClientStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		c := w.dial(barePath)
		go func() {
			<-time.After(time.Hour)
			w.tell(c, "still here")
		}()
		w.hear(c, "still here")
	})
}

func TestSilentClientIsCutOff(t *testing.T) {
	for _, path := range []string{barePath, sockjsPath} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{})
			began := time.Now()
			_, r := w.upgrade(path)
			// The client takes everything, and never says a word.
			frames, _ := io.ReadAll(r)
			if d := time.Since(began); d < 35*time.Second || d > 35*time.Second+closeGrace {
				t.Errorf("cut off after %v", d)
			}
			if !strings.Contains(string(frames), "no sign of life") {
				t.Errorf("heard %q", frames)
			}
			synctest.Wait()
			if got := w.ledger.ends(); len(got) != 1 || !strings.HasSuffix(got[0], " silent") {
				t.Errorf("ends: %q", got)
			}
		})
	}
}

// The same person may come in again once a connection has missed a sign of life,
// and not before, nor once it is there again.
func TestQuietSocketsCanBeReplaced(t *testing.T) {
	for path, framed := range map[string]func(string) string{
		barePath:   func(text string) string { return text },
		sockjsPath: quoted,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{})
			old, r := w.upgrade(path)
			go io.Copy(io.Discard, r) // takes everything, and answers no pings
			old.Write(masked(framed("claim r ann")))
			synctest.Wait()
			claim := func(want string) {
				t.Helper()
				c := w.dial(path)
				if path == sockjsPath {
					w.hear(c, "o")
					want = "a" + quoted(want)
				}
				w.tell(c, framed("claim r ann"))
				w.hear(c, want)
				c.Close(websocket.StatusNormalClosure, "")
				synctest.Wait()
			}
			claim("refused")
			<-time.After(25*time.Second + lateAfter - time.Second)
			claim("refused")
			<-time.After(2 * time.Second)
			old.Write(masked(framed("nothing"))) // here it is again
			synctest.Wait()
			claim("refused")
			<-time.After(25*time.Second + lateAfter)
			synctest.Wait()
			claim("joined")
			old.Close()
			synctest.Wait()
			if s := w.hub.Stats(); s.Members != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A client on a slow line that sends an image has no time for pongs, nor has one
// whose messages are held back.
func TestBusyClientsAreNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{MaxFrame: 1 << 20, Limits: Limits{Messages: Rate{PerSecond: 1, Burst: 1}}})
		conn, r := w.upgrade(barePath)
		said := make(chan string, 1)
		go func() {
			for range 2 {
				said <- string(skipFrames(t, r, 1))
			}
		}()
		began := time.Now()
		frame := append([]byte{0x81, 0xfe, 0, 100, 0, 0, 0, 0}, strings.Repeat("x", 100)...)
		for _, b := range frame {
			conn.Write([]byte{b})
			<-time.After(time.Second)
		}
		if text := <-said; len(text) != 100 {
			t.Errorf("heard %q", text)
		}
		conn.Write(masked("one"))
		conn.Write(append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0xf, 0, 0, 0, 0, 0, 0}, make([]byte, 0xf0000)...))
		<-said
		<-time.After(5 * time.Second)
		if got := w.ledger.ends(); len(got) != 0 {
			t.Errorf("ends %q after %v", got, time.Since(began))
		}
	})
}

// skipFrames reads the frames of a server until one has the opcode, and gives it.
func skipFrames(t *testing.T, r *bufio.Reader, opcode byte) []byte {
	t.Helper()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		size := int(head[1])
		if size == 126 {
			var n [2]byte
			io.ReadFull(r, n[:])
			size = int(binary.BigEndian.Uint16(n[:]))
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(r, payload); err != nil {
			t.Fatal(err)
		}
		if head[0]&0xf == opcode {
			return payload
		}
	}
}

func masked(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}

// A client that is only behind hears why it is cut off, if it reads on in time.
func TestSlowClientHearsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{OutboxLimit: 8})
		conn, r := w.upgrade(barePath)
		conn.Write(masked("hello"))
		synctest.Wait() // it is being written
		for range 9 {   // eight wait, one is too many
			conn.Write(masked("hello"))
		}
		synctest.Wait()
		<-time.After(closeGrace / 2)
		payload := skipFrames(t, r, 8)
		if got := binary.BigEndian.Uint16(payload); got != 1013 {
			t.Errorf("closed with %d", got)
		}
		synctest.Wait()
		if got := w.ledger.ends(); len(got) != 0 {
			t.Errorf("ended without the client's close: %q", got)
		}
		conn.Write([]byte{0x88, 0x82, 0, 0, 0, 0, payload[0], payload[1]})
		synctest.Wait()
		if got := w.ledger.ends(); !slices.Equal(got, []string{"websocket slow"}) {
			t.Errorf("ends: %q", got)
		}
	})
}

// One who does not read is cut off; the others in the room get everything, at once.
func TestSlowClientHindersNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{OutboxLimit: 100})
		victim, _ := w.upgrade(barePath)
		victim.Write(masked("join r vic"))
		ann, ben := w.dial(barePath), w.dial(sockjsPath)
		w.tell(ann, "join r ann")
		w.hear(ann, "joined")
		w.hear(ben, "o")
		w.tell(ben, quoted("join r ben"))
		w.hear(ben, `a["joined"]`)
		began := time.Now()
		for range 500 {
			w.tell(ann, "say hello")
			w.hear(ben, `a["hello"]`)
			w.tell(ann, "and on") // her own outbox is empty then
			w.hear(ann, "and on")
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the others waited %v", d)
		}
		<-time.After(closeGrace)
		synctest.Wait()
		if got := w.ledger.ends(); !slices.Equal(got, []string{"websocket slow"}) {
			t.Errorf("ends: %q", got)
		}
		if s := w.hub.Stats(); s.Members != 2 {
			t.Errorf("%d members", s.Members)
		}
	})
}

func TestClientThatReadsNothingIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		conn, _ := w.upgrade(barePath)
		conn.Write(masked("hello"))
		<-time.After(defaultWriteTimeout + closeGrace)
		synctest.Wait()
		if got := w.ledger.ends(); !slices.Equal(got, []string{"websocket stalled"}) {
			t.Errorf("ends: %q", got)
		}
	})
}

func TestClientThatVanishesHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		conn, r := w.upgrade(barePath)
		conn.Write(masked("join r ann"))
		skipFrames(t, r, 1)
		if s := w.hub.Stats(); s.Members != 1 {
			t.Fatalf("%+v", s)
		}
		conn.Close()
		synctest.Wait()
		if s := w.hub.Stats(); s.Members != 0 || s.People != 0 {
			t.Errorf("%+v", s)
		}
		if got := w.ledger.ends(); !slices.Equal(got, []string{"websocket lost"}) {
			t.Errorf("ends: %q", got)
		}
	})
}
