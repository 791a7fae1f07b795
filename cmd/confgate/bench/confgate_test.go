package bench

import (
	"context"
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

// TestRoomOnConfgate holds calls on the real thing, over real sockets, in each dialect
// and with both in one room.
func TestRoomOnConfgate(t *testing.T) {
	for name := range dialects() {
		t.Run(name, func(t *testing.T) { holdCall(t, name) })
	}
}

func holdCall(t *testing.T, dialect string) {
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

	_, rep := play(t, gateway, func(o *options) { o.dialect = dialect })
	if !rep.ok() || rep.Members != 3 || rep.Legs != 9 {
		t.Errorf("%+v", rep)
	}

	if err := edge.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	gateway.Close()
	if err := hub.Empty(t.Context()); err != nil {
		t.Error(err)
	}
	if err := plane.Close(); err != nil {
		t.Error(err)
	}
	if left := plane.Stats(); left.Uplinks.Connected+left.Downlinks.Connected+left.Uplinks.Connecting+left.Downlinks.Connecting > 0 {
		t.Errorf("legs are left: %+v", left)
	}
}

// alarm fails the test when something breaks inside.
type alarm struct{ t *testing.T }

func (alarm) Handled(core.RoomID, core.Caller, core.Command, *core.Error) {}
func (alarm) FirstPacket(time.Duration)                                   {}
func (a alarm) LegFailed(_ core.RoomID, leg core.Leg, cause error) {
	a.t.Errorf("leg %v: %v", leg, cause)
}
func (a alarm) Panicked(_ core.RoomID, reason any, stack []byte) {
	a.t.Errorf("panic: %v\n%s", reason, stack)
}
