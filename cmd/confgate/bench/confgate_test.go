package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"confgate/core"
	"confgate/core/auth"
	"confgate/media"
	"confgate/protocol/eventop"
	"confgate/protocol/idv1"
	"confgate/transport"
)

// TestOnConfgate holds calls on the real thing, over real sockets, in each dialect
// and with both in one room.
func TestOnConfgate(t *testing.T) {
	for dialect := range dialects() {
		t.Run(dialect, func(t *testing.T) {
			gateway := openConfgate(t)
			_, rep := hold(t, gateway, func(o *options) { o.dialect = dialect })
			if !rep.ok() || rep.Members != 3 || rep.Legs != 9 {
				t.Errorf("room: %+v", rep)
			}
			_, rep = hold(t, gateway, func(o *options) {
				o.scenario, o.dialect, o.members, o.rooms, o.senders = "broadcast", dialect, 6, 2, 1
				o.load, o.joinRate = load{fps: 30, packets: 4, size: 1000, keyEvery: time.Hour}, 50
			})
			if !rep.ok() || rep.Legs != 6 || rep.JoinToPicture.N != 4 {
				t.Errorf("broadcast: %+v", rep)
			}
		})
	}
}

// openConfgate opens the real thing until the test ends.
func openConfgate(t *testing.T) *httptest.Server {
	silent := slog.New(slog.DiscardHandler)
	plane, err := media.New(media.Config{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	hub := core.NewHub(core.HubConfig{Plane: plane, Auth: auth.Open{}, Observer: alarm{t}})
	edge := transport.New(transport.Config{Hub: hub, Log: silent})
	socketIO := transport.SocketIO{Event: "knowledgetalk"}
	doors := []transport.Door{
		{Path: "/rtc", Framing: (*transport.Edge).SockJS, Dialect: idv1.New(25)},
		{Path: "/socket.io", Framing: socketIO.Framing, Dialect: eventop.New(eventop.Knobs{})},
	}
	gateway := httptest.NewServer(edge.Handler(doors, nil))

	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := edge.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		gateway.Close()
		if err := hub.Empty(ctx); err != nil {
			t.Error(err)
		}
		if err := plane.Close(); err != nil {
			t.Error(err)
		}
		if left := plane.Stats(); left.Uplinks.Connected+left.Downlinks.Connected+left.Uplinks.Connecting+left.Downlinks.Connecting > 0 {
			t.Errorf("legs are left: %+v", left)
		}
	})
	return gateway
}

// alarm fails the test when something breaks inside.
type alarm struct{ t *testing.T }

func (alarm) Handled(core.RoomID, core.Caller, core.Command, *core.Error) {}
func (alarm) FirstPacket(time.Duration)                                   {}
func (alarm) Expelled(core.RoomID, core.Caller, error)                    {}
func (alarm) Slowed(core.RoomID)                                          {}
func (a alarm) LegFailed(_ core.RoomID, leg core.Leg, cause error) {
	a.t.Errorf("leg %v: %v", leg, cause)
}
func (a alarm) Panicked(_ core.RoomID, reason any, stack []byte) {
	a.t.Errorf("panic: %v\n%s", reason, stack)
}

// TestChurnOnConfgate: after people came and went, the real thing is as it was.
func TestChurnOnConfgate(t *testing.T) {
	gateway := openConfgate(t)
	var stdout, stderr bytes.Buffer
	args := []string{
		"churn", "--url", gateway.URL, "--dialect", "mixed", "--rate", "20", "--stay", "0s", "--warm-up", "100ms", "--duration", "300ms", "--json",
	}
	if code := Main(t.Context(), args, &stdout, &stderr); code != exitOK {
		t.Errorf("exit code %d\n%s", code, stderr.Bytes())
	}
	var rep churnReport
	if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	if rep.Joins != 6 || rep.JoinsWanted != 6 || rep.JoinToPicture.N == 0 {
		t.Errorf("%s", stdout.Bytes())
	}
}

// TestSignalOnConfgate: people who sit there are answered, and others hold a call.
func TestSignalOnConfgate(t *testing.T) {
	for dialect := range dialects() {
		t.Run(dialect, func(t *testing.T) {
			gateway := openConfgate(t)
			var stdout, stderr bytes.Buffer
			args := []string{
				"signal", "--url", gateway.URL, "--dialect", dialect, "--sockets", "12", "--per-room", "5",
				"--callers", "2", "--busy", "100", "--duration", "200ms", "--json",
			}
			if code := Main(t.Context(), args, &stdout, &stderr); code != exitOK {
				t.Errorf("exit code %d\n%s%s", code, stdout.Bytes(), stderr.Bytes())
			}
			var rep signalReport
			if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil {
				t.Fatal(err)
			}
			if rep.Sockets != 12 || rep.RoundTrip.N == 0 || rep.Unanswered != 0 || rep.CallAlone.JoinToFirst.N != 2 || rep.CallAmong.Lost != 0 {
				t.Errorf("%s", stdout.Bytes())
			}
		})
	}
}
