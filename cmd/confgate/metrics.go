package main

import (
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"confgate/core"
	"confgate/core/auth"
	"confgate/media"
	"confgate/media/relay"
	"confgate/transport"
)

// metrics counts what the core and the transport tell, and asks the hub and the
// media plane for the rest when somebody looks. No label takes a value that a
// client thinks of.
type metrics struct {
	registry *prometheus.Registry

	connections         *prometheus.GaugeVec
	opened, closed      *prometheus.CounterVec
	badFrames, commands *prometheus.CounterVec
	limits              *prometheus.CounterVec

	authFailures, authReloads, expelled *prometheus.CounterVec

	overflows, panics prometheus.Counter
	firstPacket       prometheus.Histogram

	// done finds the counter of a command that was carried out, without a look at
	// its name.
	done map[reflect.Type]prometheus.Counter
}

// The values that labels take, so that a series is there, at zero, before the
// first time.
var (
	framings = []string{"websocket", "sockjs-websocket", "sockjs-xhr-streaming", "sockjs-xhr", "socketio"}

	// endings are the causes of a connection's end; transport.Reason has the words.
	// The last stands for all others.
	endings = []error{
		transport.ErrLeft, transport.ErrLost, transport.ErrSilent, transport.ErrStalled, transport.ErrUnregistered, transport.ErrTooBig,
		transport.ErrNotUTF8, transport.ErrBroken, transport.ErrFlood, transport.ErrPanicked, transport.ErrShutdown,
		core.ErrSlow, core.ErrDisplaced, core.ErrRevoked, core.ErrRoomFailed, errors.ErrUnsupported,
	}

	commands = []core.Command{
		core.Hello{}, core.Open{}, core.Close{}, core.Join{}, core.Leave{}, core.Edit{}, core.Arrange{}, core.List{},
		core.Offer{}, core.Subscribe{}, core.Answer{}, core.Trickle{}, core.Share{}, core.Show{}, core.Unshare{},
		core.Say{}, core.Cast{}, core.Permit{}, core.Kick{}, core.Group{}, core.Ungroup{}, core.Ping{}, core.Bad{},
	}
)

// resultOK is the result of a command that was carried out; that of any other is
// its error's code.
const resultOK = "ok"

// resultFailed is what else there is of what has no codes.
const resultFailed = "failed"

// liveHeap is what the last garbage collection found in use, so that leaks can be told
// from garbage.
var liveHeap = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}

// newMetrics makes the metrics of a gateway that speaks the dialects of doors.
func newMetrics(doors []transport.Door) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		connections: gauges("connections", "Connections of clients now. One over XHR counts once, however many requests it takes.",
			"dialect", "framing"),
		opened: counters("connections_opened_total", "Connections that clients opened.", "dialect", "framing"),
		closed: counters("connections_closed_total", "Connections that ended, by reason: left and lost are the client's doing, "+
			"slow, stalled and silent its line's, unregistered was let in too late or not at all, too_big, not_utf8, broken and flood its program's.", "dialect", "reason"),
		badFrames: counters("bad_frames_total", "Frames that were no message of the dialect.", "dialect"),
		commands: counters("commands_total", "Commands that clients gave, by result: ok, or the code of the error. "+
			"An Offer is ok once the media plane has it; see confgate_legs_failed_total.", "command", "result"),
		limits: counters("limit_hits_total", "How often a limit had something refused, slowed down or cut off, by limit.", "limit"),
		authFailures: counters("auth_failures_total", "People who were not let in, by reason. Of those, bad_proof are the guesses that were looked at, "+
			"and throttled those that were not.", "reason"),
		authReloads: counters("auth_reloads_total", "Times that keys and tenants were read again, by result: ok or failed, when the old ones stay.", "result"),
		expelled: counters("expelled_total", "People put out of rooms, by reason: revoked by POST /expel or with their tenant, "+
			"wrong_room by the backend's word, expired with their token.", "reason"),
		overflows: counter("outbox_overflows_total", "Connections cut off because their client let its outbox fill up."),
		panics:    counter("room_panics_total", "Rooms ended by a bug; the log has the stack."),
		firstPacket: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: metricPrefix + "join_to_first_packet_seconds",
			Help: "Time from a member's join to the first media packet sent to them. It includes what the client takes, " +
				"and the wait of whoever came first.",
			Buckets: []float64{.05, .1, .15, .25, .5, .8, 1.5, 3, 6, 15, 60},
		}),
		done: make(map[reflect.Type]prometheus.Counter),
	}
	m.registry.MustRegister(
		m.connections, m.opened, m.closed, m.badFrames, m.commands, m.limits, m.authFailures, m.authReloads, m.expelled, m.overflows, m.panics, m.firstPacket,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(liveHeap)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(),
	)
	for _, d := range doors {
		m.expect(d.Dialect.Name)
	}
	for _, r := range auth.Reasons() {
		m.authFailures.WithLabelValues(string(r))
	}
	for _, result := range []string{resultOK, resultFailed} {
		m.authReloads.WithLabelValues(result)
	}
	for _, reason := range expulsionReasons {
		m.expelled.WithLabelValues(reason)
	}
	for _, l := range core.LimitNames() {
		m.limits.WithLabelValues(string(l))
	}
	for _, l := range transport.AllLimits() {
		m.limits.WithLabelValues(string(l))
	}
	for _, c := range commands {
		m.done[reflect.TypeOf(c)] = m.commands.WithLabelValues(core.CommandName(c), resultOK)
	}
	return m
}

const metricPrefix = "confgate_"

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help}, labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricPrefix + name, Help: help}, labels)
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: metricPrefix + name, Help: help})
}

// expect makes the series of a dialect.
func (m *metrics) expect(dialect string) {
	for _, f := range framings {
		m.connections.WithLabelValues(dialect, f)
		m.opened.WithLabelValues(dialect, f)
	}
	for _, cause := range endings {
		m.closed.WithLabelValues(dialect, transport.Reason(cause))
	}
	m.badFrames.WithLabelValues(dialect)
}

// handler serves the metrics to a Prometheus server.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
		Registry: m.registry,
	})
}

// Opened implements transport.Observer.
func (m *metrics) Opened(dialect, framing string) {
	m.opened.WithLabelValues(dialect, framing).Inc()
	m.connections.WithLabelValues(dialect, framing).Inc()
}

// Closed implements transport.Observer.
func (m *metrics) Closed(dialect, framing string, cause error) {
	m.connections.WithLabelValues(dialect, framing).Dec()
	m.closed.WithLabelValues(dialect, transport.Reason(cause)).Inc()
	if errors.Is(cause, core.ErrSlow) {
		m.overflows.Inc()
	}
}

// BadFrame implements transport.Observer.
func (m *metrics) BadFrame(dialect string) { m.badFrames.WithLabelValues(dialect).Inc() }

// Limited implements transport.Observer.
func (m *metrics) Limited(l transport.Limit) { m.limits.WithLabelValues(string(l)).Inc() }

// Handled implements core.Observer.
func (m *metrics) Handled(_ core.RoomID, _ core.Caller, cmd core.Command, err *core.Error) {
	if done := m.done[reflect.TypeOf(cmd)]; err == nil && done != nil {
		done.Inc()
		return
	}
	result := resultOK
	if err != nil {
		result = string(err.Code)
		if err.Limit != "" {
			m.limits.WithLabelValues(string(err.Limit)).Inc()
		}
	}
	if refusal, ok := errors.AsType[*auth.RefusalError](err); ok && err != nil {
		m.authFailures.WithLabelValues(string(refusal.Reason)).Inc()
	}
	m.commands.WithLabelValues(core.CommandName(cmd), result).Inc()
}

// LegFailed implements core.Observer. The media plane counts failed legs.
func (*metrics) LegFailed(core.RoomID, core.Leg, error) {}

// FirstPacket implements core.Observer.
func (m *metrics) FirstPacket(after time.Duration) { m.firstPacket.Observe(after.Seconds()) }

// Expelled implements core.Observer.
func (m *metrics) Expelled(_ core.RoomID, _ core.Caller, cause error) {
	m.expelled.WithLabelValues(expelledFor(cause)).Inc()
}

// Slowed implements core.Observer.
func (m *metrics) Slowed(core.RoomID) { m.limits.WithLabelValues(string(core.RoomRate)).Inc() }

// Panicked implements core.Observer.
func (m *metrics) Panicked(core.RoomID, any, []byte) { m.panics.Inc() }

// look has the metrics include what hub and plane know, and whether new calls are
// taken.
func (m *metrics) look(hub func() core.Stats, plane func() media.Stats, ready func() bool) {
	m.registry.MustRegister(&glance{hub, plane, readings(), spreads()}, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: metricPrefix + "ready", Help: "1 when new calls are taken, 0 when starting, draining or short of memory.",
	}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	}))
}

// watch has the metrics include what the gateway asks to know who may come in.
func (m *metrics) watch(sources []source) {
	for _, s := range sources {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metricPrefix + "auth_source_up", Help: "1 when what is asked who may come in answered the last time, else 0, while what it said before counts.",
			ConstLabels: prometheus.Labels{"source": s.name},
		}, func() float64 {
			if s.state() == auth.Up {
				return 1
			}
			return 0
		}))
	}
}

// reloaded counts that keys and tenants were read again.
func (m *metrics) reloaded(err error) {
	result := resultOK
	if err != nil {
		result = resultFailed
	}
	m.authReloads.WithLabelValues(result).Inc()
}

// lookBeyond has the metrics include what the TURN server knows, and how many things
// the gateway has to do without.
func (m *metrics) lookBeyond(server func() relay.Stats, lacking func() int) {
	m.registry.MustRegister(relayGlance{server, relayReadings()}, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: metricPrefix + "degraded", Help: "Things that the gateway has to do without now; /readyz names them.",
	}, func() float64 { return float64(lacking()) }))
}

// relayGlance is a prometheus.Collector that reads all it tells from one look at the
// TURN server.
type relayGlance struct {
	server   func() relay.Stats
	readings []relayReading
}

// relayReading is one series that a relayGlance gives.
type relayReading struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(relay.Stats) float64
}

// Describe implements prometheus.Collector.
func (g relayGlance) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, out) }

// Collect implements prometheus.Collector.
func (g relayGlance) Collect(out chan<- prometheus.Metric) {
	s := g.server()
	for _, r := range g.readings {
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.value(s))
	}
}

func relayReadings() []relayReading {
	var all []relayReading
	add := func(kind prometheus.ValueType, name, help string, labels prometheus.Labels, value func(relay.Stats) float64) {
		all = append(all, relayReading{prometheus.NewDesc(metricPrefix+name, help, nil, labels), kind, value})
	}
	add(prometheus.GaugeValue, "turn_allocations", "Allocations of our TURN server now.", nil,
		func(s relay.Stats) float64 { return float64(s.Allocations) })
	add(prometheus.CounterValue, "turn_allocations_total", "Allocations that our TURN server has made.", nil,
		func(s relay.Stats) float64 { return float64(s.Made) })
	for _, reason := range relay.Reasons {
		add(prometheus.CounterValue, "turn_refused_total", "Requests and packets that our TURN server refused, by reason.",
			prometheus.Labels{"reason": string(reason)}, func(s relay.Stats) float64 { return float64(s.Refused[reason]) })
	}
	for direction, of := range map[string]func(relay.Stats) relay.Traffic{
		"sent":     func(s relay.Stats) relay.Traffic { return s.Sent },
		"received": func(s relay.Stats) relay.Traffic { return s.Received },
	} {
		labels := prometheus.Labels{"direction": direction}
		add(prometheus.CounterValue, "turn_relayed_packets_total", "Packets that our TURN server relayed: sent by clients, and received by them.",
			labels, func(s relay.Stats) float64 { return float64(of(s).Packets) })
		add(prometheus.CounterValue, "turn_relayed_bytes_total", "Bytes that our TURN server relayed, without headers.",
			labels, func(s relay.Stats) float64 { return float64(of(s).Bytes) })
	}
	return all
}

// glance is a prometheus.Collector that reads all it tells from one look.
type glance struct {
	hub      func() core.Stats
	plane    func() media.Stats
	readings []reading
	spreads  []spread
}

// spread is one histogram that a glance gives.
type spread struct {
	desc  *prometheus.Desc
	value func(media.Stats) media.Histogram
}

// reading is one series that a glance gives.
type reading struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(core.Stats, media.Stats) float64
}

// Describe implements prometheus.Collector.
func (g *glance) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, out) }

// Collect implements prometheus.Collector.
func (g *glance) Collect(out chan<- prometheus.Metric) {
	h, p := g.hub(), g.plane()
	for _, r := range g.readings {
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.value(h, p))
	}
	for _, s := range g.spreads {
		of := s.value(p)
		count, buckets := uint64(0), make(map[float64]uint64)
		for i, n := range of.Counts {
			if count += n; i < len(of.Bounds) {
				buckets[of.Bounds[i]] = count
			}
		}
		out <- prometheus.MustNewConstHistogram(s.desc, count, of.Sum, buckets)
	}
}

func spreads() []spread {
	var all []spread
	add := func(name, help, direction string, value func(media.Stats) media.Histogram) {
		all = append(all, spread{prometheus.NewDesc(metricPrefix+name, help, nil, prometheus.Labels{"direction": direction}), value})
	}
	const (
		loss   = "Share of a stream's packets that did not come, by receivers' reports, about one a second: up by the gateway's, down by clients'."
		jitter = "How unevenly a stream's packets come (RFC 3550), by receivers' reports, about one a second: up by the gateway's, down by clients'."
	)
	add("rtp_loss_ratio", loss, "up", func(p media.Stats) media.Histogram { return p.UpLoss })
	add("rtp_loss_ratio", loss, "down", func(p media.Stats) media.Histogram { return p.DownLoss })
	add("rtp_jitter_seconds", jitter, "up", func(p media.Stats) media.Histogram { return p.UpJitter })
	add("rtp_jitter_seconds", jitter, "down", func(p media.Stats) media.Histogram { return p.DownJitter })
	return all
}

func readings() []reading {
	var all []reading
	add := func(kind prometheus.ValueType, name, help string, labels prometheus.Labels, value func(core.Stats, media.Stats) float64) {
		all = append(all, reading{prometheus.NewDesc(metricPrefix+name, help, nil, labels), kind, value})
	}
	house := func(name, help string, value func(core.Stats) int) {
		add(prometheus.GaugeValue, name, help, nil, func(h core.Stats, _ media.Stats) float64 { return float64(value(h)) })
	}
	house("rooms", "Rooms there are.", func(h core.Stats) int { return h.Rooms })
	house("members", "Seats taken in rooms; somebody in two rooms takes two.", func(h core.Stats) int { return h.Members })
	house("people", "People online: they have said who they are, in a room or not.", func(h core.Stats) int { return h.People })

	for direction, of := range map[string]func(media.Stats) media.LegStats{
		"up":   func(p media.Stats) media.LegStats { return p.Uplinks },
		"down": func(p media.Stats) media.LegStats { return p.Downlinks },
	} {
		legs := func(state string, value func(media.LegStats) int) {
			add(prometheus.GaugeValue, "legs", "WebRTC connections now: up carries a member's media to the gateway, down another's to them.",
				prometheus.Labels{"direction": direction, "state": state},
				func(_ core.Stats, p media.Stats) float64 { return float64(value(of(p))) })
		}
		legs("connecting", func(l media.LegStats) int { return l.Connecting })
		legs("connected", func(l media.LegStats) int { return l.Connected })
		add(prometheus.CounterValue, "legs_failed_total", "WebRTC connections that could not be made, or broke.",
			prometheus.Labels{"direction": direction},
			func(_ core.Stats, p media.Stats) float64 { return float64(of(p).Failed) })
	}

	traffic := func(name, help string, value func(media.Stats) uint64) {
		add(prometheus.CounterValue, name, help, nil, func(_ core.Stats, p media.Stats) float64 { return float64(value(p)) })
	}
	traffic("rtp_received_packets_total", "RTP packets from publishers.", func(p media.Stats) uint64 { return p.Received.Packets })
	traffic("rtp_received_bytes_total", "Bytes of RTP from publishers, headers included.", func(p media.Stats) uint64 { return p.Received.Bytes })
	traffic("rtp_forwarded_packets_total", "RTP packets sent to subscribers.", func(p media.Stats) uint64 { return p.Forwarded.Packets })
	traffic("rtp_forwarded_bytes_total", "Bytes of RTP sent to subscribers, headers included.", func(p media.Stats) uint64 { return p.Forwarded.Bytes })
	traffic("rtp_lost_packets_total", "Publishers' packets that never came, though they were asked for again.", func(p media.Stats) uint64 { return p.Lost })
	traffic("rtp_retransmitted_packets_total", "Packets sent again to subscribers who reported them lost.", func(p media.Stats) uint64 { return p.Retransmitted })
	traffic("keyframe_requests_total", "Key frames asked of publishers (PLI).", func(p media.Stats) uint64 { return p.KeyframeRequests })
	traffic("rtp_dropped_packets_total", "Packets to clients that were lost for want of room in the socket's buffer.", func(p media.Stats) uint64 { return p.Dropped })
	traffic("pictures_paused_total", "Times that a picture was withheld from a subscriber whose link is too thin for it.", func(p media.Stats) uint64 { return p.Paused })
	traffic("media_refused_packets_total", "Packets from clients' addresses that were not authentic, sent again by others, or of no stream agreed on.",
		func(p media.Stats) uint64 { return p.Refused })
	traffic("media_stranger_packets_total", "Packets to the media port from whom no client of the gateway's is known to be.", func(p media.Stats) uint64 { return p.Strangers })
	return all
}

func buildInfo() prometheus.Collector {
	b := readBuild()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: metricPrefix + "build_info", Help: "1; the labels tell what is running.",
		ConstLabels: prometheus.Labels{"version": b.version, "revision": b.revision, "goversion": b.goVersion},
	})
	g.Set(1)
	return g
}
