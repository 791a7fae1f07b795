package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"confgate/core"
	"confgate/core/auth"
	"confgate/media"
	"confgate/media/relay"
	"confgate/protocol"
	"confgate/transport"
)

// testMetrics gives the metrics of a gateway of one dialect, with made-up counts.
func testMetrics(t *testing.T) *metrics {
	t.Helper()
	m := newMetrics([]transport.Door{{Path: "/a", Dialect: protocol.Dialect{Name: "id"}}, {Path: "/b", Dialect: protocol.Dialect{Name: "id"}}})
	m.look(func() core.Stats { return core.Stats{Rooms: 1, Members: 3, People: 2} },
		func() media.Stats {
			return media.Stats{
				Uplinks: media.LegStats{Connecting: 1, Connected: 2, Failed: 3}, Downlinks: media.LegStats{Connecting: 4, Connected: 5, Failed: 6},
				Received: media.Traffic{Packets: 7, Bytes: 8}, Forwarded: media.Traffic{Packets: 9, Bytes: 10},
				Lost: 11, Retransmitted: 12, KeyframeRequests: 13, Dropped: 14, Paused: 15, Refused: 16, Strangers: 17,
				UpLoss: media.Histogram{Bounds: []float64{0, 0.5}, Counts: []uint64{3, 2, 1}, Sum: 1.5},
			}
		}, func() bool { return true })
	m.watch([]source{{"jwks", func() auth.State { return auth.Up }}, {"rooms", func() auth.State { return auth.Lost }}})
	refused := make(map[relay.Reason]uint64)
	refused[relay.Quota] = 16
	m.lookBeyond(func() relay.Stats {
		return relay.Stats{
			Allocations: 14, Made: 15, Refused: refused,
			Sent: relay.Traffic{Packets: 17, Bytes: 18}, Received: relay.Traffic{Packets: 19, Bytes: 20},
		}
	}, func() int { return 21 })
	return m
}

// series reads our own series off the text that Prometheus gets, each by its name
// as written there: name{label="value"}.
func series(t *testing.T, text string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, metricPrefix) {
			continue
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[name] = v
	}
	return all
}

// scrape gives the text that Prometheus gets.
func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetricsFollowConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(testMetrics(t).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetricsCount(t *testing.T) {
	m := testMetrics(t)
	m.Opened("id", "websocket")
	m.Opened("id", "websocket")
	m.Opened("id", "sockjs-xhr")
	m.Closed("id", "websocket", fmt.Errorf("so: %w", core.ErrSlow))
	m.Closed("id", "sockjs-xhr", errors.New("never heard of"))
	m.BadFrame("id")
	m.Handled("c-1", core.Caller{User: "8"}, core.Join{}, nil)
	m.Handled("c-1", core.Caller{User: "8"}, core.Join{}, &core.Error{Code: core.RoomFull})
	m.Handled("c-1", core.Caller{}, core.Join{}, &core.Error{Code: core.Unauthorized, Cause: &auth.RefusalError{Reason: auth.Expired}})
	m.reloaded(nil)
	m.reloaded(errors.New("no such file"))
	m.FirstPacket(200 * time.Millisecond)
	m.Panicked("c-1", "why", nil)
	m.LegFailed("c-1", core.Leg{}, nil)
	got := series(t, scrape(t, m))
	for name, want := range map[string]float64{
		`confgate_connections{dialect="id",framing="websocket"}`:              1,
		`confgate_connections{dialect="id",framing="sockjs-xhr"}`:             0,
		`confgate_connections{dialect="id",framing="sockjs-websocket"}`:       0,
		`confgate_connections_opened_total{dialect="id",framing="websocket"}`: 2,
		`confgate_connections_closed_total{dialect="id",reason="slow"}`:       1,
		`confgate_connections_closed_total{dialect="id",reason="other"}`:      1,
		`confgate_connections_closed_total{dialect="id",reason="left"}`:       0,
		`confgate_outbox_overflows_total`:                                     1,
		`confgate_bad_frames_total{dialect="id"}`:                             1,
		`confgate_commands_total{command="Join",result="ok"}`:                 1,
		`confgate_commands_total{command="Join",result="room_full"}`:          1,
		`confgate_commands_total{command="Ping",result="ok"}`:                 0,
		`confgate_join_to_first_packet_seconds_count`:                         1,
		`confgate_auth_failures_total{reason="expired"}`:                      1,
		`confgate_auth_failures_total{reason="throttled"}`:                    0,
		`confgate_auth_reloads_total{result="ok"}`:                            1,
		`confgate_auth_reloads_total{result="failed"}`:                        1,
		`confgate_auth_source_up{source="jwks"}`:                              1,
		`confgate_auth_source_up{source="rooms"}`:                             0,
		`confgate_room_panics_total`:                                          1,
		`confgate_ready`:                                                      1,
		`confgate_rooms`:                                                      1,
		`confgate_members`:                                                    3,
		`confgate_people`:                                                     2,
		`confgate_legs{direction="up",state="connecting"}`:                    1,
		`confgate_legs{direction="up",state="connected"}`:                     2,
		`confgate_legs_failed_total{direction="up"}`:                          3,
		`confgate_legs{direction="down",state="connecting"}`:                  4,
		`confgate_legs{direction="down",state="connected"}`:                   5,
		`confgate_legs_failed_total{direction="down"}`:                        6,
		`confgate_rtp_received_packets_total`:                                 7,
		`confgate_rtp_received_bytes_total`:                                   8,
		`confgate_rtp_forwarded_packets_total`:                                9,
		`confgate_rtp_forwarded_bytes_total`:                                  10,
		`confgate_rtp_lost_packets_total`:                                     11,
		`confgate_rtp_retransmitted_packets_total`:                            12,
		`confgate_keyframe_requests_total`:                                    13,
		`confgate_rtp_dropped_packets_total`:                                  14,
		`confgate_pictures_paused_total`:                                      15,
		`confgate_media_refused_packets_total`:                                16,
		`confgate_media_stranger_packets_total`:                               17,
		`confgate_rtp_loss_ratio_bucket{direction="up",le="0"}`:               3,
		`confgate_rtp_loss_ratio_bucket{direction="up",le="0.5"}`:             5,
		`confgate_rtp_loss_ratio_bucket{direction="up",le="+Inf"}`:            6,
		`confgate_rtp_loss_ratio_count{direction="up"}`:                       6,
		`confgate_rtp_loss_ratio_sum{direction="up"}`:                         1.5,
		`confgate_rtp_loss_ratio_count{direction="down"}`:                     0,
		`confgate_rtp_jitter_seconds_count{direction="down"}`:                 0,
		`confgate_turn_allocations`:                                           14,
		`confgate_turn_allocations_total`:                                     15,
		`confgate_turn_refused_total{reason="quota"}`:                         16,
		`confgate_turn_refused_total{reason="peer"}`:                          0,
		`confgate_turn_relayed_packets_total{direction="sent"}`:               17,
		`confgate_turn_relayed_bytes_total{direction="sent"}`:                 18,
		`confgate_turn_relayed_packets_total{direction="received"}`:           19,
		`confgate_turn_relayed_bytes_total{direction="received"}`:             20,
		`confgate_degraded`:                                                   21,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: got %v (there: %t), want %v", name, v, ok, want)
		}
	}
}

// TestMetricsAreFew bounds the series, whatever rooms and people do.
func TestMetricsAreFew(t *testing.T) {
	m := testMetrics(t)
	for i := range 10_000 {
		room, user := core.RoomID(fmt.Sprint("r", i)), core.UserID(fmt.Sprint("u", i))
		for _, c := range commands {
			m.Handled(room, core.Caller{User: user}, c, nil)
		}
		m.Handled(room, core.Caller{User: user}, core.Join{}, &core.Error{Code: core.RoomFull})
	}
	if n := len(series(t, scrape(t, m))); n > 170 {
		t.Errorf("%d series of one dialect, want at most 170", n)
	}
}

func TestMetricsKnowEveryCommand(t *testing.T) {
	var listed []string
	for _, c := range commands {
		listed = append(listed, core.CommandName(c))
	}
	slices.Sort(listed)
	if declared := commandsOfCore(t); !slices.Equal(listed, declared) {
		t.Errorf("commands lists\n%s; core has\n%s", listed, declared)
	}
}

// commandsOfCore reads the types that have the method room() off core's source.
func commandsOfCore(t *testing.T) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "core", "command.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv == nil || fn.Name.Name != "room" {
			continue
		}
		if id, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
			names = append(names, id.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestMetricsKnowEveryEnding(t *testing.T) {
	reasons := map[string]bool{}
	for _, cause := range endings {
		reasons[transport.Reason(cause)] = true
	}
	if len(reasons) != len(endings) || !reasons["other"] {
		t.Errorf("%d causes give the reasons %v", len(endings), reasons)
	}
}

func TestLimitsAreCountedAndLogged(t *testing.T) {
	m := testMetrics(t)
	j, lines := journalTo(t, slog.LevelInfo)
	all := observers{m, j}
	for _, l := range core.LimitNames() {
		all.Handled("r", core.Caller{User: "8"}, core.Offer{}, &core.Error{Code: core.TooMany, Limit: l, Msg: "too many"})
		if got := testutil.ToFloat64(m.limits.WithLabelValues(string(l))); got != 1 {
			t.Errorf("%s: counted %v", l, got)
		}
	}
	got := lines()
	if n := testutil.CollectAndCount(m.limits); n != len(core.LimitNames())+len(transport.AllLimits()) || len(got) != len(core.LimitNames()) {
		t.Errorf("%d series, %d lines, for %d limits", n, len(got), len(core.LimitNames()))
	}
	for i, l := range core.LimitNames() {
		if got[i]["limit"] != string(l) {
			t.Errorf("line %v", got[i])
		}
	}
}
