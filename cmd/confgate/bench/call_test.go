package bench

import (
	"context"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func nothingLost(stamp, string) bool { return false }

// testOptions are of a room of three.
func testOptions(gateway *url.URL) options {
	return options{
		scenario: "room", gateway: gateway, dialect: "id", members: 3, rooms: 1, senders: 3,
		duration: 400 * time.Millisecond, load: videoLoad(300, 30, time.Hour),
	}
}

// hold runs a room of three against a test gateway for a short while.
func hold(t *testing.T, gateway *httptest.Server, change func(*options)) (*call, *report) {
	t.Helper()
	u, err := url.Parse(gateway.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(u)
	if change != nil {
		change(&o)
	}
	r, err := openCall(o)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := r.report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r, rep
}

func TestExtents(t *testing.T) {
	video := load{fps: 1}
	for _, c := range []struct {
		o    options
		want []extent
	}{
		{options{members: 3, rooms: 1, senders: 3, load: video}, []extent{{}, {1, 0}, {4, 2}, {9, 6}}},
		{options{members: 3, rooms: 1, senders: 1, load: video}, []extent{{}, {1, 0}, {2, 1}, {3, 2}}},
		{options{members: 5, rooms: 2, senders: 1, load: video}, []extent{{}, {1, 0}, {2, 0}, {3, 1}, {4, 2}, {5, 3}}},
		{options{members: 3, rooms: 1, senders: 1}, []extent{{}, {1, 0}, {2, 0}, {3, 0}}},
	} {
		if got := extents(c.o); !slices.Equal(got, c.want) {
			t.Errorf("extents(%+v) = %v, want %v", c.o, got, c.want)
		}
	}
}

func TestRoom(t *testing.T) {
	for name, rate := range map[string]float64{"one after another": 0, "at a rate": 100} {
		t.Run(name, func(t *testing.T) {
			_, gateway := newTestGateway(t, nothingLost)
			_, rep := hold(t, gateway, func(o *options) { o.joinRate = rate })
			if !rep.ok() || rep.Members != 3 || rep.Legs != 9 || rep.Received == 0 || rep.Loss != 0 || rep.Duplicates != 0 {
				t.Errorf("%+v", rep)
			}
			if rate == 0 && (rep.JoinToFirst.N != 2 || rep.JoinToPicture.N != 2 || rep.JoinToWhole.N != 3) {
				t.Errorf("times: %+v, %+v, %+v", rep.JoinToFirst, rep.JoinToPicture, rep.JoinToWhole)
			}
			if rep.OfferToConnected.N != 9 || rep.Delay.N == 0 || rep.Delay.N > int(rep.Received) {
				t.Errorf("times: %+v, %+v", rep.OfferToConnected, rep.Delay)
			}
		})
	}
}

// TestRoomCountsLoss: the report says exactly what the gateway lost.
func TestRoomCountsLoss(t *testing.T) {
	t.Parallel()     // it waits for packets that never come
	var lost []stamp // in the order of the losses
	gateway, server := newTestGateway(t, func(s stamp, _ string) bool {
		lose := s.kind == audio && s.sender == 1 && s.seq%5 == 0
		if lose {
			lost = append(lost, s)
		}
		return lose
	})
	r, rep := hold(t, server, nil)
	gateway.mu.Lock()
	defer gateway.mu.Unlock()
	var want uint64
	for _, s := range lost {
		if r.stage.window.holds(s.at) {
			want++
		}
	}
	if want == 0 || rep.Expected-rep.Received != want || rep.LostIn != want || rep.LostOut != 0 {
		t.Errorf("%d lost in the window; %+v", want, rep)
	}
	if rep.ok() || rep.Loss != float64(want)/float64(rep.Expected) {
		t.Errorf("loss %g, ok %t", rep.Loss, rep.ok())
	}
}

// TestRoomCountsOneReceiversLoss: what only one receiver misses was lost behind the gateway.
func TestRoomCountsOneReceiversLoss(t *testing.T) {
	t.Parallel()
	victim := ""
	_, server := newTestGateway(t, func(s stamp, receiver string) bool {
		if victim == "" && s.sender == 1 {
			victim = receiver
		}
		return s.kind == audio && s.sender == 1 && s.seq%3 == 0 && receiver == victim
	})
	_, rep := hold(t, server, nil)
	if rep.LostIn != 0 || rep.LostOut == 0 || rep.LostOut != rep.Expected-rep.Received {
		t.Errorf("%+v", rep)
	}
}

// TestRoomRepairs: video packets that come when they are asked for again are not lost.
func TestRoomRepairs(t *testing.T) {
	_, server := newTestGateway(t, func(s stamp, _ string) bool { return s.kind == video && s.seq%7 == 3 })
	_, rep := hold(t, server, nil)
	if !rep.ok() || rep.Missed == 0 || rep.Recovered == 0 {
		t.Errorf("%+v", rep)
	}
}

func TestRoomThatIsFull(t *testing.T) {
	t.Parallel()
	gateway, server := newTestGateway(t, nothingLost)
	gateway.capacity = 2
	_, rep := hold(t, server, nil)
	if rep.ok() || rep.Members != 2 || rep.Legs != 4 || rep.FaultCount != 1 || !strings.Contains(rep.Faults[0], "room is full") {
		t.Errorf("%+v", rep)
	}
}

// TestRoomBrokenOff: whatever a run is doing when it is told to end, it ends and
// leaves nothing running, which goleak sees.
func TestRoomBrokenOff(t *testing.T) {
	_, gateway := newTestGateway(t, nothingLost)
	u, err := url.Parse(gateway.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, members := range []int{1, 3} {
		o := testOptions(u)
		o.duration = time.Hour
		r, err := openCall(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() {
			rep, err := r.report(ctx)
			if rep.ok() {
				t.Error("a run that was broken off is fine")
			}
			stopped <- err
		}()
		if err := r.stage.board.await(ctx, func(p progress) bool { return p.joined >= members }); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-stopped; err == nil {
			t.Error("a run that was broken off gives no error")
		}
	}
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	_, rep := hold(t, server, nil)
	if rep.ok() || rep.Members != 0 || rep.FaultCount != 3 {
		t.Errorf("%+v", rep)
	}
}
