package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"confgate/core"
	"confgate/examples"
	"confgate/media"
	"confgate/media/relay"
	"confgate/protocol/eventop"
	"confgate/protocol/idv1"
	"confgate/transport"
)

// doors are the ways in. A door's path is kept for ever: clients have it built in.
func doors(c config) []transport.Door {
	id := idv1.With(idv1.Knobs{RoomLimit: c.roomLimit, Grace: wholeSeconds(c.idGrace), Republish: c.idRepublish})
	op := eventop.New(c.eventop)
	socketIO := transport.SocketIO{
		Event: "knowledgetalk", Namespaces: []string{"/", "/SignalServer"},
		Client: examples.SocketIOClient(), NodeID: c.nodeID,
	}
	return []transport.Door{
		{Path: "/rtc", Framing: (*transport.Edge).SockJS, Dialect: id}, // and a bare WebSocket at /rtc/websocket
		{Path: "/ws/id", Framing: (*transport.Edge).WebSocket, Dialect: id},
		{Path: "/socket.io", Framing: socketIO.Framing, Dialect: op},
		{Path: "/ws/eventop", Framing: (*transport.Edge).WebSocket, Dialect: op},
	}
}

func writeServeHelp(w io.Writer) {
	fmt.Fprint(w, `usage: confgate serve [flags]

Serves calls until SIGTERM or SIGINT, lets those that run end within the drain
time, and exits with code 0. A second signal ends it at once. SIGHUP has it read
keys and tenants again.
`)
	writeSettings(w, newFlags(new(config)))
	fmt.Fprint(w, `
Each setting is a flag, or the environment variable at the end of its line, or a
key of the flag's name in the file. A flag wins over the environment, and that over
the file. Settings that are not known are errors. What is repeatable can also be a
list: with commas, or as YAML writes it.
`)
}

// serve runs a gateway until ctx ends and its calls have had their time.
func serve(ctx context.Context, c config, out io.Writer, log *slog.Logger) error {
	g, err := openGateway(c, log)
	if err != nil {
		return err
	}
	if c.dev {
		fmt.Fprintf(out, "open http://%s/\n", g.clients.at.Addr())
	}
	if !c.dev { // there is nothing to read again, and closing the terminal ends it
		signal.Notify(g.reloads, syscall.SIGHUP)
		defer signal.Stop(g.reloads)
	}
	return g.run(ctx)
}

// gateway is the whole house, with its ports open.
type gateway struct {
	config config
	log    *slog.Logger
	state  *readiness

	admission *admission
	metrics   *metrics
	reloads   chan os.Signal // each has the keys and tenants read again

	hub   *core.Hub
	plane *media.Plane
	edge  *transport.Edge

	relay  *relay.Server // nil: there is none of ours
	issuer relay.Issuer

	clients, admin port
}

// port is a listener and what answers there.
type port struct {
	at     net.Listener
	server *http.Server
}

// openGateway builds a gateway and opens its ports. It serves nobody before run.
func openGateway(c config, log *slog.Logger) (_ *gateway, err error) {
	g := &gateway{config: c, log: log, state: new(readiness), reloads: make(chan os.Signal, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.shut())
		}
	}()
	if g.admission, err = newAdmission(c, log); err != nil {
		return g, err
	}
	g.state.sources = g.admission.sources()
	if g.clients.at, err = listen("listen", c.listen); err != nil {
		return g, err
	}
	if g.admin.at, err = listen("admin-listen", c.adminListen); err != nil {
		return g, err
	}
	if g.config.mediaIPs, err = advertised(c.mediaIPs, ownIP, log); err != nil {
		return g, err
	}
	g.plane, err = media.New(media.Config{Port: c.mediaPort, IPs: g.config.mediaIPs, TCP: true, Log: log})
	if err != nil {
		return g, bindError("media-port", err)
	}
	if err := g.openRelay(); err != nil {
		return g, err
	}
	g.admission.warn()
	return g, g.build()
}

// advertised gives the addresses that clients are told to send media to: those that
// were configured, else this machine's own.
func advertised(configured []netip.Addr, own func() (netip.Addr, error), log *slog.Logger) ([]netip.Addr, error) {
	if len(configured) > 0 {
		return configured, nil
	}
	ip, err := own()
	if err != nil {
		return nil, fmt.Errorf("cannot tell this machine's address, so it must be configured with --media-ip: %w", err)
	}
	if ip.IsPrivate() || ip.IsLoopback() {
		log.Warn("clients in other networks cannot send media to this machine's address; configure one that they can (--media-ip)", "address", ip)
	}
	return []netip.Addr{ip}, nil
}

// ownIP gives the address from which this machine sends to the rest of the world.
// It sends nothing.
func ownIP() (netip.Addr, error) {
	c, err := net.Dial("udp4", "192.0.2.1:9") // an address that is nobody's (RFC 5737)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	addr, err := netip.ParseAddrPort(c.LocalAddr().String())
	return addr.Addr(), err
}

// build connects the parts. Commands go from the doors through the hub to rooms and
// the media plane; everybody tells the observers.
func (g *gateway) build() error {
	page, err := examples.Page()
	if err != nil {
		return err
	}
	allow, err := transport.Origins(g.config.allowOrigins...)
	if err != nil {
		return err
	}
	doors := doors(g.config)
	m := newMetrics(doors)
	g.metrics = m
	memory := &memory{
		limit: uint64(limitMemory(os.DirFS("/"), g.log)), guard: uint64(g.config.memoryGuard), used: usedMemory,
	}
	g.state.full = memory.isFull
	g.hub = core.NewHub(core.HubConfig{
		Plane: g.plane, Auth: lender{g.admission, g.issuer}, Observer: observers{m, &journal{log: g.log}}, Media: g.config.media,
		Limits: g.config.limits, NewRoomID: g.config.roomIDs.next(), Recheck: g.config.recheck, Lapse: g.config.tokenEndsCall,
	})
	g.edge = transport.New(transport.Config{
		Hub: g.hub, Observer: m, Log: g.log, Full: memory.isFull, Proxies: g.config.proxies, Limits: g.config.sockets,
		OutboxLimit: g.config.outbox.events, OutboxBytes: g.config.outbox.bytes,
		AllowOrigin: func(origin string) bool { return allow(origin) || g.admission.allowOrigin(origin) },
	})
	m.look(g.hub.Stats, g.plane.Stats, g.state.isReady)
	m.watch(g.state.sources)
	m.lookBeyond(g.relayStats, g.state.lacking)
	if g.relay != nil {
		if err := g.relay.Start(g.hub.IsOnline); err != nil {
			return err
		}
	}

	g.clients.server = transport.NewServer(g.edge.Handler(doors, page), g.log)
	g.clients.server.ConnState = g.edge.ConnState
	expel := &expulsion{house: g.hub, tenant: g.config.tenant(), forget: g.admission.forget, log: g.log}
	g.admin.server = transport.NewServer(adminEndpoints(m.handler(g.log), g.state, expel), g.log)
	return nil
}

// run serves until ctx ends, or a port fails, and then lets calls end.
func (g *gateway) run(ctx context.Context) error {
	served := make(chan error, 2)
	for _, p := range []port{g.admin, g.clients} {
		go func() { served <- p.server.Serve(p.at) }()
	}
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx)) // while calls end, too
	var kept sync.WaitGroup
	kept.Go(func() { g.admission.run(keeping) })
	kept.Go(func() { g.hub.Recheck(keeping) })
	if g.relay == nil && len(g.issuer.URLs) > 0 {
		kept.Go(func() { watchTURN(keeping, g.issuer.URLs, relay.Probe, g.state, g.log) })
	}
	g.state.set(ready)
	g.greet()
	failed := g.attend(ctx, served)
	g.state.set(draining)
	drain(context.WithoutCancel(ctx), g.hub, g.config.drain, g.log)
	err := g.shut()
	stopKeeping()
	kept.Wait()
	g.log.Info("stopped")
	return errors.Join(failed, err)
}

// attend does what it is asked to while clients are served, until ctx ends or a port
// has failed.
func (g *gateway) attend(ctx context.Context, served <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			g.log.Info("asked to stop", "by", context.Cause(ctx).Error())
			return nil
		case err := <-served:
			g.log.Error("a port failed", "error", err.Error())
			return err
		case <-g.reloads:
			g.reload()
		}
	}
}

// reload reads keys and tenants again, and cuts off the people of tenants that were
// taken out.
func (g *gateway) reload() {
	gone, err := g.admission.reload()
	g.metrics.reloaded(err)
	if err != nil {
		g.log.Error("keys and tenants could not be read again; the old ones stay", "error", err.Error())
		return
	}
	for _, tenant := range gone {
		done := g.hub.Expel(context.Background(), tenant)
		g.log.Info("tenant taken out", "tenant", brief(string(tenant)), "people_cut_off", done.Connections, "seats", done.Seats)
	}
}

// greet says where the gateway is.
func (g *gateway) greet() {
	b := readBuild()
	g.log.Info("serving",
		"clients", "http://"+g.clients.at.Addr().String()+"/", "admin", "http://"+g.admin.at.Addr().String()+"/",
		"media_port", g.plane.Port(), "media_ips", g.config.mediaIPs, "turn", g.issuer.URLs,
		"version", b.version, "revision", b.revision, "go", runtime.Version())
}

// calls is what of a hub a drain needs.
type calls interface {
	Drain()
	Empty(context.Context) error
	Stats() core.Stats
}

// drain refuses new members from now on, and waits until everybody has left or
// patience is at its end.
func drain(ctx context.Context, c calls, patience time.Duration, log *slog.Logger) {
	c.Drain()
	log.Info("draining", "members", c.Stats().Members, "at_most", patience)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.Empty(ctx); err != nil {
		log.Warn("drain time is over, ending calls", "members", c.Stats().Members)
		return
	}
	log.Info("drained")
}

// closeTimeout bounds the end of connections whose time is up.
const closeTimeout = 5 * time.Second

// shut closes whatever is open: clients first, so that they leave their rooms while
// there is media to end; the admin port last, so that it can be watched.
func (g *gateway) shut() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	if g.edge != nil {
		errs = append(errs, g.edge.Shutdown(ctx))
	}
	errs = append(errs, g.clients.close(ctx))
	if g.hub != nil {
		g.hub.Close()
	}
	if g.relay != nil {
		errs = append(errs, g.relay.Close())
	}
	if g.plane != nil {
		errs = append(errs, g.plane.Close())
	}
	return errors.Join(append(errs, g.admin.close(ctx))...)
}

// close lets requests end that are under way.
func (p port) close(ctx context.Context) error {
	if p.server == nil {
		if p.at != nil {
			return p.at.Close()
		}
		return nil
	}
	if err := p.server.Shutdown(ctx); err != nil {
		return errors.Join(err, p.server.Close())
	}
	return ignoreClosed(p.at.Close()) // in case it was never served
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func listen(setting, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, bindError(setting, err)
	}
	return l, nil
}

// bindError names the setting with which to get around err.
func bindError(setting string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; choose another with --%s", err, setting)
	}
	return fmt.Errorf("--%s: %w", setting, err)
}

// observers tell each of them what they are told.
type observers []core.Observer

func (all observers) Handled(room core.RoomID, by core.Caller, cmd core.Command, err *core.Error) {
	for _, o := range all {
		o.Handled(room, by, cmd, err)
	}
}

func (all observers) LegFailed(room core.RoomID, leg core.Leg, cause error) {
	for _, o := range all {
		o.LegFailed(room, leg, cause)
	}
}

func (all observers) FirstPacket(after time.Duration) {
	for _, o := range all {
		o.FirstPacket(after)
	}
}

func (all observers) Expelled(room core.RoomID, who core.Caller, cause error) {
	for _, o := range all {
		o.Expelled(room, who, cause)
	}
}

func (all observers) Slowed(room core.RoomID) {
	for _, o := range all {
		o.Slowed(room)
	}
}

func (all observers) Panicked(room core.RoomID, reason any, stack []byte) {
	for _, o := range all {
		o.Panicked(room, reason, stack)
	}
}
