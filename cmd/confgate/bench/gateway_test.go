package bench

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// testGateway is the least gateway that the `id` dialect's clients can hold a call on.
// It loses packets on purpose, so that the instrument can be held to them.
type testGateway struct {
	t        *testing.T
	api      *webrtc.API
	capacity int
	// lose says whether to lose a packet on its way to a receiver. It is called with
	// mu held.
	lose func(s stamp, receiver string) bool

	serving sync.WaitGroup
	mu      sync.Mutex
	seats   map[string]*testSeat // guarded by mu
	order   []string             // guarded by mu: users as they came
}

// testSeat is one member at the gateway. All but ws is guarded by testGateway.mu.
type testSeat struct {
	user string
	ws   *websocket.Conn
	legs []*webrtc.PeerConnection
	up   *webrtc.PeerConnection
	ssrc uint32 // of the video that comes in
	// out holds the tracks to each subscriber.
	out  map[string][kinds]*webrtc.TrackLocalStaticRTP
	kept map[uint16]*rtp.Packet // of the video
}

// newTestGateway serves a gateway until the test ends.
func newTestGateway(t *testing.T, lose func(stamp, string) bool) (*testGateway, *httptest.Server) {
	e, err := newEngine(loopback)
	if err != nil {
		t.Fatal(err)
	}
	g := &testGateway{
		t: t, capacity: maxMembers, lose: lose, seats: make(map[string]*testSeat),
		api: webrtc.NewAPI(webrtc.WithMediaEngine(e.codecs), webrtc.WithSettingEngine(e.setting),
			webrtc.WithInterceptorRegistry(new(interceptor.Registry))),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rtc/info", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":1}`))
	})
	mux.HandleFunc("GET /rtc/{server}/{session}/websocket", g.serve)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		g.serving.Wait()
		e.close()
	})
	return g, server
}

func (g *testGateway) serve(w http.ResponseWriter, r *http.Request) {
	g.serving.Add(1)
	defer g.serving.Done()
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		g.t.Error(err)
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(maxFrame)
	s := &testSeat{ws: ws, out: make(map[string][kinds]*webrtc.TrackLocalStaticRTP), kept: make(map[uint16]*rtp.Packet)}
	ctx := context.WithoutCancel(r.Context())
	if err := ws.Write(ctx, websocket.MessageText, []byte("o")); err != nil {
		return
	}
	defer g.forget(s)
	for {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			return
		}
		var messages []string
		if err := json.Unmarshal(frame, &messages); err != nil {
			g.t.Errorf("frame %q: %v", frame, err)
			return
		}
		for _, m := range messages {
			if err := g.handle(s, []byte(m)); err != nil {
				g.t.Errorf("message %.80q: %v", m, err)
			}
		}
	}
}

func (g *testGateway) handle(s *testSeat, message []byte) error {
	var m struct{ ID, UserID, SDPOffer string }
	if err := json.Unmarshal(message, &m); err != nil {
		return err
	}
	switch m.ID {
	case "joinRoom":
		g.join(s, m.UserID)
		return nil
	case "receiveVideoFrom":
		return g.connect(s, m.UserID, m.SDPOffer)
	case "onIceCandidate", "leaveRoom": // its own candidates suffice; it sees the socket close
		return nil
	default:
		return errors.New("unknown message")
	}
}

func (g *testGateway) say(s *testSeat, message map[string]any) {
	inner, _ := json.Marshal(message)
	frame, _ := json.Marshal([]string{string(inner)})
	_ = s.ws.Write(context.WithoutCancel(g.t.Context()), websocket.MessageText, append([]byte("a"), frame...))
}

func (g *testGateway) join(s *testSeat, user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.seats) >= g.capacity {
		g.say(s, map[string]any{"id": "limitJoinAnswer", "roomId": "any"})
		return
	}
	s.user = user
	members := []map[string]any{}
	for _, other := range g.order {
		g.say(g.seats[other], map[string]any{"id": "newParticipantArrived", "member": map[string]any{"userId": user}})
		members = append(members, map[string]any{"userId": other, "video": true, "audio": true})
	}
	g.seats[user] = s
	g.order = append(g.order, user)
	g.say(s, map[string]any{"id": "existingParticipants", "members": members})
}

// forget closes everything of a seat whose socket is closed.
func (g *testGateway) forget(s *testSeat) {
	g.mu.Lock()
	legs := s.legs
	g.mu.Unlock()
	for _, pc := range legs {
		_ = pc.GracefulClose()
	}
}

func (g *testGateway) connect(s *testSeat, of, offer string) error {
	pc, err := g.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	g.mu.Lock()
	s.legs = append(s.legs, pc)
	if of == s.user {
		s.up = pc
		pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { g.forward(s, track) })
	} else if err := g.addTracks(g.seats[of], s, pc); err != nil {
		g.mu.Unlock()
		return err
	}
	g.mu.Unlock()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return err
	}
	<-gathered
	g.say(s, map[string]any{"id": "receiveVideoAnswer", "userId": of, "sdpAnswer": pc.LocalDescription().SDP})
	return nil
}

// addTracks lets from's media go to s over pc. mu is held.
func (g *testGateway) addTracks(from, s *testSeat, pc *webrtc.PeerConnection) error {
	var out [kinds]*webrtc.TrackLocalStaticRTP
	for k := range kinds {
		track, err := webrtc.NewTrackLocalStaticRTP(codecs[k].RTPCodecCapability, k.String(), "any")
		if err != nil {
			return err
		}
		sender, err := pc.AddTrack(track)
		if err != nil {
			return err
		}
		out[k] = track
		g.serving.Go(func() { g.heed(from, sender, track) })
	}
	from.out[s.user] = out
	return nil
}

// heed passes a subscriber's requests for key frames on, and answers its NACKs.
func (g *testGateway) heed(from *testSeat, sender *webrtc.RTPSender, track *webrtc.TrackLocalStaticRTP) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			g.mu.Lock()
			switch p := p.(type) {
			case *rtcp.PictureLossIndication:
				if from.up != nil && from.ssrc != 0 {
					_ = from.up.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: from.ssrc}})
				}
			case *rtcp.TransportLayerNack:
				for _, pair := range p.Nacks {
					for _, seq := range pair.PacketList() {
						if kept := from.kept[seq]; kept != nil {
							_ = track.WriteRTP(kept)
						}
					}
				}
			}
			g.mu.Unlock()
		}
	}
}

func (g *testGateway) forward(from *testSeat, in *webrtc.TrackRemote) {
	k := audio
	if in.Kind() == webrtc.RTPCodecTypeVideo {
		k = video
		g.mu.Lock()
		from.ssrc = uint32(in.SSRC())
		g.mu.Unlock()
	}
	for {
		p, _, err := in.ReadRTP()
		if err != nil {
			return
		}
		st, err := parseAudio(p.Payload)
		if k == video {
			_, st, err = parseVideo(p.Payload)
		}
		if err != nil {
			g.t.Error(err)
			return
		}
		g.mu.Lock()
		if k == video {
			from.kept[p.SequenceNumber] = p
		}
		for receiver, out := range from.out {
			if !g.lose(st, receiver) {
				_ = out[k].WriteRTP(p)
			}
		}
		g.mu.Unlock()
	}
}
