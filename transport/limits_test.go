package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// A connection whose client does not say who it is does not last, whatever carries
// it and whatever else the client says. One whose client did lasts.
func TestSilentNewcomersAreCutOff(t *testing.T) {
	const patience = 7 * time.Second
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Limits: Limits{RegisterTimeout: patience}})
		began := time.Now()
		ann, ben := w.dial(barePath), w.connects(socket4)
		w.tell(ann, "join r ann")
		w.hear(ann, "joined")
		w.tell(ben, `42["say","join r ben"]`)
		w.hears(ben, `42["say",joined]`)

		bare, framed, engine := w.dial(barePath), w.dial(sockjsPath), w.connects(socket3)
		w.tell(bare, "join r ") // is not let in
		w.tell(engine, `42["say",1]`)
		w.hears(engine, `42["say",1]`)
		stream, _ := w.stream("/rtc/0/s")
		w.hearLine(stream, "o")
		poll := w.session(poll4)
		polled := make(chan struct{})
		go func() {
			defer close(polled)
			w.gets(poll, "1")
		}()

		w.hearClose(bare, 4401)
		w.hear(framed, "o")
		w.hear(framed, `c[4401,"not registered in time"]`)
		w.hearClose(framed, 4401)
		w.hearClose(engine, 4401)
		w.hearLine(stream, `c[4401,"not registered in time"]`)
		<-polled
		if d := time.Since(began); d != patience {
			t.Errorf("took %v", d)
		}
		go func() {
			<-time.After(time.Hour)
			w.tell(ann, "still here")
		}()
		w.hear(ann, "still here")
		if n := w.ledger.bites(LimitRegisterTime); n != 5 {
			t.Errorf("counted %d", n)
		}
	})
}

// bites counts how often a limit was told to have bitten.
func (l *ledger) bites(limit Limit) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, bite := range l.limits {
		if bite == limit {
			n++
		}
	}
	return n
}

func TestConnectionsAreBounded(t *testing.T) {
	const one, other, here, near = "192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::ffff:1]:1"
	for _, tt := range []struct {
		name   string
		limits Limits
		from   []string
		want   int // for the last one
		bites  Limit
	}{
		{"none", Limits{}, []string{one, one, one}, 0, ""},
		{"in all", Limits{Sockets: 2}, []string{one, other, here}, 503, LimitSockets},
		{"in all, not reached", Limits{Sockets: 3}, []string{one, other, here}, 0, ""},
		{"of one address", Limits{SocketsPerAddress: 2}, []string{one, one, other, one}, 429, LimitSocketsAddress},
		{"of others", Limits{SocketsPerAddress: 2}, []string{one, one, other}, 0, ""},
		{"of one network", Limits{SocketsPerAddress: 1}, []string{here, near}, 429, LimitSocketsAddress},
		{"of newcomers", Limits{Unregistered: 2}, []string{one, other, here}, 503, LimitNewcomers},
		{"of newcomers at one address", Limits{UnregisteredPerAddress: 1}, []string{one, other, one}, 429, LimitNewcomersHere},
	} {
		for _, path := range []string{"/rtc/0/s%d/xhr", "/socket.io/?EIO=4&transport=polling&n=%d"} {
			synctest.Test(t, func(t *testing.T) {
				l := &ledger{}
				edge := New(Config{Hub: newHub(), Observer: l, Limits: tt.limits})
				door := edge.Handler([]Door{{"/rtc", (*Edge).SockJS, parrot}, {"/socket.io", talk.Framing, parrot}}, nil)
				var last int
				for i, remote := range tt.from {
					r := httptest.NewRequest(http.MethodPost, fmt.Sprintf(path, i), nil)
					if strings.HasPrefix(path, "/socket.io") {
						r.Method = http.MethodGet
					}
					r.RemoteAddr = remote
					w := httptest.NewRecorder()
					door.ServeHTTP(w, r)
					if last = w.Code; last != http.StatusOK && i < len(tt.from)-1 {
						t.Errorf("%s: %s got %d", tt.name, remote, last)
					}
				}
				if want := max(tt.want, 200); last != want && (tt.want != 0 || last != 200) {
					t.Errorf("%s: %s got %d, want %d", tt.name, path, last, want)
				}
				if tt.bites != "" && l.bites(tt.bites) != 1 {
					t.Errorf("%s: told of %q", tt.name, l.limits)
				}
				if err := edge.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if edge.census.all != (tally{}) || len(edge.census.addresses) != 0 {
					t.Errorf("%s: still counts %+v", tt.name, edge.census)
				}
			})
		}
	}
}

// Who has said who they are makes room for newcomers, and so does who leaves.
func TestRegisteredClientsAreNoNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Limits: Limits{Sockets: 3, UnregisteredPerAddress: 1}})
		full := func(status int) {
			t.Helper()
			_, resp, err := websocket.Dial(t.Context(), "ws://gate.test"+barePath, &websocket.DialOptions{HTTPClient: w.client})
			if err == nil || resp.StatusCode != status || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%v, %v", resp, err)
			}
		}
		ann := w.dial(barePath)
		full(429)
		w.tell(ann, "join r ann")
		w.hear(ann, "joined")
		synctest.Wait()
		ben := w.dial(sockjsPath)
		w.hear(ben, "o")
		full(429)
		ben.Close(websocket.StatusNormalClosure, "")
		synctest.Wait()
		ben = w.dial(barePath)
		w.tell(ben, "join r ben")
		w.hear(ben, "joined")
		synctest.Wait()
		cat := w.dial(barePath)
		w.tell(cat, "join r cat")
		w.hear(cat, "joined")
		synctest.Wait()
		full(503)
	})
}

// The log has one line in a while about a limit, with how many it would have been.
func TestLimitsAreLoggedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		edge := New(Config{Hub: newHub(), Observer: l, Log: l.options().Log})
		for range 1000 {
			edge.limited(LimitSockets, "192.0.2.1:1")
		}
		edge.limited(LimitNewcomers, "192.0.2.1:1")
		<-time.After(noticeSpan)
		edge.limited(LimitSockets, "192.0.2.2:1")
		lines := l.lines(t)
		if len(lines) != 3 || lines[2]["limit"] != "sockets" || lines[2]["lines_skipped"] != 999. || lines[2]["remote"] != "192.0.2.2:1" {
			t.Errorf("log: %v", lines)
		}
		if n := l.bites(LimitSockets); n != 1001 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:aaaa::/48")}
	for _, tt := range []struct {
		peer   string
		header ProxyHeader
		values []string
		want   string
	}{
		{"192.0.2.1:9", "", nil, "192.0.2.1"},
		{"192.0.2.1:9", "", []string{"203.0.113.5"}, "192.0.2.1"}, // a client that makes it up
		{"10.0.0.1:9", "", nil, "10.0.0.1"},
		{"10.0.0.1:9", "", []string{"203.0.113.5"}, "203.0.113.5"},
		{"10.0.0.1:9", "", []string{"203.0.113.5:4711"}, "203.0.113.5"},
		{"10.0.0.1:9", "", []string{"1.1.1.1, 203.0.113.5"}, "203.0.113.5"}, // its first part is forged
		{"10.0.0.1:9", "", []string{"1.1.1.1", "203.0.113.5"}, "203.0.113.5"},
		{"10.0.0.1:9", "", []string{"10.9.9.9, 203.0.113.5"}, "203.0.113.5"},
		{"10.0.0.1:9", "", []string{"1.1.1.1, 203.0.113.5, 10.0.0.2"}, "203.0.113.5"},
		{"10.0.0.1:9", "", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:9", "", []string{"203.0.113.5, unknown"}, "10.0.0.1"},
		{"10.0.0.1:9", "", []string{"203.0.113.5, \x00"}, "10.0.0.1"},
		{"10.0.0.1:9", "", []string{""}, "10.0.0.1"},
		{"10.0.0.1:9", "", []string{"2001:db8::7"}, "2001:db8::7"},
		{"[2001:db8:aaaa::1]:9", "", []string{"[2001:db8::7]:1"}, "2001:db8::7"},
		{"[::ffff:10.0.0.1]:9", "", []string{"203.0.113.5"}, "203.0.113.5"},
		{"10.0.0.1:9", "", []string{strings.Repeat("10.0.0.2, ", 5000) + "10.0.0.2"}, "10.0.0.2"},
		{"10.0.0.1:9", Forwarded, []string{`for=203.0.113.5`}, "203.0.113.5"},
		{"10.0.0.1:9", Forwarded, []string{`for=1.1.1.1, proto=https; For="[2001:db8::7]:4711" ;by=10.0.0.1`}, "2001:db8::7"},
		{"10.0.0.1:9", Forwarded, []string{`for=1.1.1.1, proto=https`}, "10.0.0.1"},
		{"10.0.0.1:9", Forwarded, []string{`for=203.0.113.5, for=_hidden`}, "10.0.0.1"},
		{"10.0.0.1:9", Forwarded, nil, "10.0.0.1"},
		{"pipe", "", []string{"203.0.113.5"}, "invalid IP"},
	} {
		p := Proxies{Networks: trusted, Header: tt.header}
		name, other := string(XForwardedFor), string(Forwarded)
		if tt.header == Forwarded {
			name, other = other, name
		}
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{name: tt.values, other: {"for=198.51.100.9", "198.51.100.9"}}}
		if got := p.client(r).String(); got != tt.want {
			t.Errorf("%s behind %s %.60q: %s, want %s", name, tt.peer, tt.values, got, tt.want)
		}
		if got := (Proxies{Header: tt.header}).client(r).String(); tt.peer != "pipe" && !strings.Contains(tt.peer, got) {
			t.Errorf("nobody is trusted, but %s came out of %s", got, tt.peer)
		}
	}
}

// Headers that clients make up do not get them around a limit.
func TestForgedHeadersEvadeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		edge := New(Config{Hub: newHub(), Observer: l, Log: l.options().Log, Limits: Limits{SocketsPerAddress: 5},
			Proxies: Proxies{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}})
		door := edge.Handler([]Door{{"/rtc", (*Edge).SockJS, parrot}}, nil)
		knock := func(n int, remote string, forged ...string) int {
			r := httptest.NewRequest(http.MethodPost, fmt.Sprintf("/rtc/0/s%d/xhr", n), nil)
			r.RemoteAddr = remote
			r.Header["X-Forwarded-For"] = forged
			r.Header.Set("Forwarded", fmt.Sprintf("for=198.51.100.%d", n%250))
			w := httptest.NewRecorder()
			door.ServeHTTP(w, r)
			return w.Code
		}
		var in int
		for i := range 1000 {
			if knock(i, "192.0.2.1:1", fmt.Sprintf("198.51.100.%d", i%250)) == 200 {
				in++
			}
			if knock(1000+i, "10.0.0.1:1", fmt.Sprintf("198.51.100.%d, 203.0.113.5", i%250)) == 200 {
				in++
			}
		}
		if in != 10 {
			t.Errorf("%d came in", in)
		}
		if got := knock(5000, "10.0.0.1:1", "203.0.113.6"); got != 200 {
			t.Errorf("another client of the proxy got %d", got)
		}
		var remotes []string // as the log has them
		for v := range edge.visits {
			remotes = append(remotes, v.remote)
		}
		slices.Sort(remotes)
		if got := slices.Compact(remotes); !slices.Equal(got, []string{"192.0.2.1:1", "203.0.113.5", "203.0.113.6"}) {
			t.Errorf("the book has %q", got)
		}
		if err := edge.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for range 2 { // from where a proxy may be
			if got := knock(5001, "10.0.0.2:1", "203.0.113.6"); got == 200 {
				t.Error("it came in, and the edge is closed")
			}
		}
		if n := l.bites(LimitSocketsAddress); n != 1990 {
			t.Errorf("counted %d", n)
		}
		if n := strings.Count(l.log.String(), "a proxy is not trusted"); n != 1 || !strings.Contains(l.log.String(), `"proxy":"10.0.0.2"`) {
			t.Errorf("the log has %d lines about the proxy", n)
		}
	})
}

// Real sockets: a flood of silent clients fills what newcomers of one address have.
// A client elsewhere comes in meanwhile, and all of the flood is gone at the end.
func TestFloodOfSilentClients(t *testing.T) {
	const flood, limit = 300, 50
	edge := New(Config{Hub: newHub(), Limits: Limits{UnregisteredPerAddress: limit, RegisterTimeout: time.Second}})
	server := httptest.NewServer(edge.Handler([]Door{{"/ws", (*Edge).WebSocket, parrot}}, nil))
	defer server.Close()
	elsewhere := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	dial := func(d *net.Dialer) (*websocket.Conn, error) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: d.DialContext}}
		c, _, err := websocket.Dial(t.Context(), server.URL+"/ws", &websocket.DialOptions{HTTPClient: client})
		return c, err
	}
	var silent []*websocket.Conn
	for range flood {
		if c, err := dial(&net.Dialer{}); err == nil {
			silent = append(silent, c)
		}
	}
	c, err := dial(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range []string{"join r ann", "hello"} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range silent {
		if _, _, err := s.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
			t.Errorf("a silent one: %v", err)
		}
	}
	c.CloseNow()
	if err := edge.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	if len(edge.census.addresses) != 0 || len(silent) < limit {
		t.Errorf("%d came in, %v is left", len(silent), edge.census.addresses)
	}
}

// What waits for a client is bounded in bytes: a few long messages are too many for
// one who does not read, where many short ones are not.
func TestOutboxBytes(t *testing.T) {
	const messages = 30
	for _, tt := range []struct {
		size int
		want []string
	}{
		{10, nil},
		{4000, []string{"websocket slow"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{OutboxBytes: 40_000})
			victim, _ := w.upgrade(barePath)
			victim.Write(masked("join r vic"))
			synctest.Wait()
			ann := w.dial(barePath)
			w.tell(ann, "join r ann")
			w.hear(ann, "joined")
			for range messages {
				w.tell(ann, "say "+strings.Repeat("x", tt.size))
			}
			synctest.Wait()
			<-time.After(closeGrace)
			w.wantEnds(tt.want...)
			if n := w.ledger.bites(LimitOutbox); n != len(tt.want) {
				t.Errorf("counted %d", n)
			}
		})
	}
}

// Without memory nobody comes in and no call begins; those that run go on.
func TestNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		w := newWorld(t, Config{Full: full.Load})
		ann, ben := w.dial(barePath), w.dial(barePath)
		w.tell(ann, "join r ann")
		w.hear(ann, "joined")
		full.Store(true)
		w.tell(ben, "claim r ben")
		w.hear(ben, "refused")
		w.tell(ben, "hello")
		w.hear(ben, "hello")
		_, resp, err := websocket.Dial(t.Context(), "ws://gate.test"+barePath, &websocket.DialOptions{HTTPClient: w.client})
		if err == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Error(err)
		}
		w.wantPost("/rtc/0/s/xhr", "", 503, "Service Unavailable\n")
		w.tell(ann, "say still here")
		w.tell(ann, "on")
		w.hear(ann, "on")
		if s := w.hub.Stats(); s.Members != 1 || s.People != 1 {
			t.Errorf("%+v", s)
		}
		if n := w.ledger.bites(LimitMemory); n != 3 {
			t.Errorf("counted %d", n)
		}
		full.Store(false)
		w.tell(ben, "claim r ben")
		w.hear(ben, "joined")
		w.hear(w.dial(sockjsPath), "o")
	})
}

// Connections that carry requests are bounded, those that bring half of one, too;
// WebSockets are not among them.
func TestHTTPConnectionsAreBounded(t *testing.T) {
	const limit = 10
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Limits: Limits{SocketsPerAddress: limit}})
		for range limit {
			w.dial(barePath)
		}
		synctest.Wait()
		var slow []net.Conn
		for range 3 * limit {
			conn, err := w.listen.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			slow = append(slow, conn)
			go func() { // a byte now and then
				for _, b := range []byte("GET / HTTP/1.1\r\nHost: gate.test\r\n") {
					if _, err := conn.Write([]byte{b}); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			}()
		}
		synctest.Wait()
		if n := w.ledger.bites(LimitHTTPAddress); n != 2*limit {
			t.Errorf("counted %d", n)
		}
		began := time.Now()
		for _, conn := range slow {
			io.Copy(io.Discard, conn)
			conn.Close()
		}
		if d := time.Since(began); d > headerTimeout {
			t.Errorf("open for %v", d)
		}
		<-time.After(2 * time.Second)
		if status, _ := w.request(http.MethodGet, "/rtc/info", "", nil); status != 200 {
			t.Errorf("then: %d", status)
		}
		if n := len(w.edge.http); n != 1 || w.edge.asking.all.sockets != 1 {
			t.Errorf("%d are counted, %+v", n, w.edge.asking)
		}
	})
}

// Headers have a size.
func TestHeadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		for size, want := range map[int]int{8 << 10: 200, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
			status, _ := w.request(http.MethodGet, "/rtc/info", "", http.Header{"X-Long": {strings.Repeat("x", size)}})
			if status != want {
				t.Errorf("%d bytes: %d", size, status)
			}
		}
	})
}

// Real sockets: some in a room do not read. They are cut off once too much waits for
// them, and none of the others loses a message.
func TestSlowReadersLoseNothingForOthers(t *testing.T) {
	const readers, slow, most = 12, 6, 3000
	l := &ledger{}
	edge := New(Config{Hub: newHub(), Observer: l, OutboxBytes: 256 << 10, MaxFrame: 64 << 10})
	server := httptest.NewServer(edge.Handler([]Door{{"/ws", (*Edge).WebSocket, parrot}}, nil))
	defer server.Close()
	narrow := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return c, c.(*net.TCPConn).SetReadBuffer(4 << 10)
	}}}
	join := func(name string, client *http.Client) *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), server.URL+"/ws", &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseNow() })
		c.SetReadLimit(1 << 20)
		if err := c.Write(t.Context(), websocket.MessageText, []byte("join r "+name)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for i := range slow {
		join(fmt.Sprint("slow", i), narrow)
	}
	heard := make(chan string)
	for i := range readers {
		c := join(fmt.Sprint("reader", i), nil)
		go func() {
			for {
				_, text, err := c.Read(t.Context())
				if err != nil {
					return
				}
				select {
				case heard <- strings.TrimRight(string(text), "x"):
				case <-t.Context().Done():
					return
				}
			}
		}()
	}
	sender := join("sender", nil)
	sent := 0
	for ; sent < most && l.bites(LimitOutbox)+l.bites(LimitWriteTime) < slow; sent++ {
		text := fmt.Sprintf("say %d %s", sent, strings.Repeat("x", 60<<10))
		if err := sender.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		for range readers {
			if got := <-heard; got != fmt.Sprint(sent, " ") {
				t.Fatalf("heard %q, want %d", got, sent)
			}
		}
	}
	if n := l.bites(LimitOutbox); n != slow {
		t.Errorf("%d were cut off after %d messages", n, sent)
	}
	if err := edge.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// Thousands of strangers who come, say what means nothing, and go or are cut off leave
// some lines, that say how many there would have been. People who are in a room have a
// line each.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	const strangers, people, most = 1000, 20, 12
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		e := New(Config{Hub: newHub(), Observer: l, Log: slog.New(slog.NewJSONHandler(l, nil))})
		serve := func(limits Limits, frames []string, then error) {
			o := e.options(&visit{edge: e, remote: "192.0.2.1:1"}, "script")
			o.Registered, o.Limits = nil, limits
			Serve(t.Context(), &script{frames: frames, then: then}, e.config.Hub, parrot, o)
		}
		flood := Limits{Messages: Rate{PerSecond: 1, Burst: 1}, FloodBursts: 1}
		for i := range strangers {
			serve(Limits{}, []string{"bad luck", "worse"}, ErrLeft)
			serve(Limits{}, nil, ErrUnregistered)
			serve(flood, slices.Repeat([]string{"bad luck"}, 10), nil)
			serve(Limits{}, []string{fmt.Sprint("hello u", i)}, ErrTooBig) // not in a room
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Origin", "https://evil.com")
			e.admit(httptest.NewRecorder(), r)
		}
		for i := range people {
			serve(Limits{}, []string{fmt.Sprint("join r ann", i)}, ErrTooBig)
			serve(Limits{}, []string{fmt.Sprint("hello ann", i)}, ErrLeft)
		}
		known := 0
		lines := l.lines(t)
		for _, line := range lines {
			if user, _ := line["user"].(string); strings.HasPrefix(user, "ann") {
				known++
			}
		}
		if known != 2*people || len(lines) > known+most {
			t.Errorf("%d lines, %d of people, want %d and %d more at most", len(lines), known, 2*people, most)
		}
		<-time.After(noticeSpan)
		serve(Limits{}, nil, ErrLeft)
		lines = l.lines(t)
		if last := lines[len(lines)-1]; last["reason"] != "left" || last["lines_skipped"] != strangers-1. {
			t.Errorf("the last line is %v", last)
		}
	})
}
