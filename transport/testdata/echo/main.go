// Command echo serves a dialect that repeats what it is told, over Socket.IO, for
// tests with real clients. It prints its address, and ends when its input does.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing/fstest"
	"time"

	"confgate/core"
	"confgate/protocol"
	"confgate/transport"
)

func main() {
	var (
		heartbeat = flag.Duration("heartbeat", 25*time.Second, "between signs of life")
		limit     = flag.Int("max-payload", 0, "bytes of a packet")
		listen    = flag.String("listen", "127.0.0.1:0", "address")
		verbose   = flag.Bool("v", false, "log")
	)
	flag.Parse()
	log := slog.New(slog.DiscardHandler)
	if *verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	edge := transport.New(transport.Config{
		Hub: core.NewHub(core.HubConfig{Plane: world{}, Auth: world{}, Observer: world{}}), Log: log,
		AllowOrigin: func(string) bool { return true }, Heartbeat: *heartbeat,
	})
	door := transport.SocketIO{
		Event: "knowledgetalk", Namespaces: []string{"/", "/SignalServer"}, NodeID: "n1", MaxPayload: *limit,
		Client: fstest.MapFS{"socket.io.js": {Data: []byte("// the client\n")}},
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		panic(err)
	}
	server := transport.NewServer(edge.Handler([]transport.Door{{Path: "/socket.io", Framing: door.Framing, Dialect: dialect}}, nil), log)
	go server.Serve(listener)
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
	edge.Shutdown(context.Background())
}

// dialect repeats every message; but one that begins with {"join": is who the client is,
// and the last one who says the same puts the others out. A message with "burst" in it
// comes two hundred times.
var dialect = protocol.Dialect{Name: "echo", Codec: codec{}}

type codec struct{}

func (codec) Decode(frame []byte) (core.Command, core.Ref, error) {
	ref := core.Ref{ID: string(frame)}
	var m struct{ Join string }
	if json.Unmarshal(frame, &m) == nil && m.Join != "" {
		return core.Join{
			Room: "r", Cred: &core.Credentials{User: core.UserID(m.Join)},
			Online: core.Cut, Make: &core.Open{Mode: core.SFU}, Alone: true,
		}, ref, nil
	}
	return core.Ping{}, ref, nil
}

func (codec) Encode(e core.Event) (frames [][]byte) {
	reply, ok := e.(core.Reply)
	switch {
	case !ok:
		return nil
	case strings.Contains(reply.Ref.ID, `"burst"`):
		for i := range 200 {
			frames = append(frames, fmt.Appendf(nil, `{"i":%d,"text":"한글😀"}`, i))
		}
		return frames
	}
	return [][]byte{[]byte(reply.Ref.ID)}
}

// world is all that is around the hub.
type world struct{}

func (world) Open(core.RoomID, core.MediaOptions, func(core.MediaEvent)) core.Media { return world{} }
func (world) Accept(core.Leg, core.Ref, string)                                     {}
func (world) Offer(core.Leg, core.Ref, bool, bool)                                  {}
func (world) Answer(core.Leg, core.Ref, string)                                     {}
func (world) Trickle(core.UserID, core.Stream, core.Candidate)                      {}
func (world) Drop(core.Leg)                                                         {}
func (world) Close()                                                                {}
func (world) Handled(core.RoomID, core.Caller, core.Command, *core.Error)           {}
func (world) LegFailed(core.RoomID, core.Leg, error)                                {}
func (world) FirstPacket(time.Duration)                                             {}
func (world) Expelled(core.RoomID, core.Caller, error)                              {}
func (world) Slowed(core.RoomID)                                                    {}
func (world) Panicked(core.RoomID, any, []byte)                                     {}
func (world) Authorize(_ context.Context, c core.Credentials) (core.Grant, error) {
	return core.Grant{User: c.User}, nil
}
