// Command baseline is what confgate is measured against: the same signalling, and
// under it the least media plane that Pion allows, one PeerConnection a leg and one
// TrackLocalStaticRTP for each published track. It keeps out all that would make it
// better: interceptors, batches, repair.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"confgate/core"
	"confgate/core/auth"
	"confgate/protocol/eventop"
	"confgate/protocol/idv1"
	"confgate/transport"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "baseline:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It listens on addresses of this machine alone.
func run(ctx context.Context, args []string, w io.Writer) error {
	f := flag.NewFlagSet("baseline", flag.ContinueOnError)
	f.SetOutput(w)
	clients := f.Int("port", 8080, "TCP `port` for clients")
	admin := f.Int("admin-port", 9090, "TCP `port` for metrics")
	media := f.Int("media-port", 0, "UDP `port` for media; 0: any")
	if err := f.Parse(args); err != nil {
		return err
	}
	s, err := open(*clients, *admin, *media)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// server is the baseline with its ports open.
type server struct {
	plane          *plane
	hub            *core.Hub
	edge           *transport.Edge
	clients, admin net.Listener
}

func open(clients, admin, media int) (_ *server, err error) {
	s := new(server)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.plane, err = newPlane(media); err != nil {
		return s, err
	}
	if s.clients, err = listen(clients); err != nil {
		return s, err
	}
	if s.admin, err = listen(admin); err != nil {
		return s, err
	}
	s.hub = core.NewHub(core.HubConfig{Plane: s.plane, Auth: auth.Open{}, Observer: nobody{}})
	s.edge = transport.New(transport.Config{Hub: s.hub})
	return s, nil
}

func listen(port int) (net.Listener, error) {
	return net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
}

// doors are confgate's.
func doors() []transport.Door {
	socketIO := transport.SocketIO{Event: "knowledgetalk"}
	return []transport.Door{
		{Path: "/rtc", Framing: (*transport.Edge).SockJS, Dialect: idv1.New(0)},
		{Path: "/socket.io", Framing: socketIO.Framing, Dialect: eventop.New(eventop.Knobs{SDPDelivery: eventop.InBoth})},
	}
}

// run serves until ctx ends or a port fails.
func (s *server) run(ctx context.Context) error {
	silent := slog.New(slog.DiscardHandler)
	servers := map[net.Listener]*http.Server{
		s.clients: transport.NewServer(s.edge.Handler(doors(), nil), silent),
		s.admin:   transport.NewServer(adminEndpoints(), silent),
	}
	failed := make(chan error, len(servers))
	for at, server := range servers {
		go func() { failed <- server.Serve(at) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, s.close())
	for _, server := range servers {
		_ = server.Close() // says no more than that its listener is closed already
	}
	return err
}

const closeTimeout = 10 * time.Second

// close ends what is open, clients first.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var err error
	if s.edge != nil {
		err = s.edge.Shutdown(ctx)
	}
	if s.hub != nil {
		s.hub.Close()
	}
	if s.plane != nil {
		err = errors.Join(err, s.plane.close())
	}
	for _, l := range []net.Listener{s.clients, s.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	return err
}

// adminEndpoints are what the bench looks at, in the form of confgate's.
func adminEndpoints() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		for name, value := range map[string]uint64{
			"go_goroutines":                uint64(runtime.NumGoroutine()),
			"go_memstats_heap_alloc_bytes": m.HeapAlloc,
		} {
			fmt.Fprintf(w, "# TYPE %s gauge\n%[1]s %d\n", name, value)
		}
	})
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	return mux
}

// nobody implements core.Observer.
type nobody struct{}

func (nobody) Handled(core.RoomID, core.Caller, core.Command, *core.Error) {}
func (nobody) LegFailed(core.RoomID, core.Leg, error)                      {}
func (nobody) FirstPacket(time.Duration)                                   {}
func (nobody) Expelled(core.RoomID, core.Caller, error)                    {}
func (nobody) Slowed(core.RoomID)                                          {}
func (nobody) Panicked(core.RoomID, any, []byte)                           {}
