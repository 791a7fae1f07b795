package media

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/stun/v4"

	"confgate/core"
)

// alert is a DTLS 1.2 record in plain text: a fatal alert, or the end of the connection.
func alert(level, what byte, number uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{21, 0xfe, 0xfd}, number) // of epoch 0
	return append(b, 0, 2, level, what)
}

// forgeries gives packets of somebody who has no leg's password.
func forgeries(t *testing.T, k *link, r *rand.Rand) [][]byte {
	t.Helper()
	build := func(setters ...stun.Setter) []byte {
		m, err := stun.Build(setters...)
		if err != nil {
			t.Fatal(err)
		}
		return m.Raw
	}
	random := make([]byte, 1+r.IntN(200))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	random[0] &= 3
	broken := checkOf(t, k)
	broken[20+r.IntN(len(broken)-20-8)] ^= 1 << r.IntN(8) // but for the fingerprint's name: then it has none
	cut := checkOf(t, k)
	ours, theirs := stun.NewUsername(k.ufrag+":them"), stun.NewUsername("nobody:them")
	wrong := stun.NewShortTermIntegrity("a password that is not it")
	return [][]byte{
		random, broken, cut[:r.IntN(len(cut))],
		build(stun.TransactionID, stun.BindingRequest),
		build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint),
		build(stun.TransactionID, stun.BindingRequest, ours, stun.Fingerprint),
		build(stun.TransactionID, stun.BindingRequest, ours, wrong, stun.Fingerprint),
		build(stun.TransactionID, stun.BindingRequest, theirs, k.integrity, stun.Fingerprint),
		build(stun.TransactionID, stun.BindingSuccess, ours, k.integrity, stun.Fingerprint),
		build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), ours, k.integrity, stun.Fingerprint),
		alert(2, 40, 0), {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, append([]byte{0x80, 96}, make([]byte, 50)...), append([]byte{0x80, 200}, make([]byte, 50)...), {70, 0, 0},
	}
}

// TestStrangers sends forged packets: none is answered, none begins anything, each is
// counted. An authentic check is answered, with no more bytes than it has.
func TestStrangers(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	l := s.idle("ann", "ann")
	w, r := newWorker(s.plane, newBatch(0)), rand.New(rand.NewPCG(1, 1))
	sink := s.sink()
	from := path{host: s.plane.port.hosts[0], to: netip.MustParseAddrPort(sink.LocalAddr().String())}
	n := uint64(0)
	for n < 10_000 {
		for _, b := range forgeries(t, l.link, r) {
			if len(b) == 0 {
				continue
			}
			w.now = s.plane.now()
			w.take(b, from)
			n++
		}
	}
	w.flush()
	if got := s.plane.Stats().Strangers; got != n {
		t.Errorf("%d of %d counted", got, n)
	}
	if l.link.route.Load() != nil || l.link.shake != nil || l.link.checked.Load() != 0 {
		t.Error("a forged packet has begun something")
	}
	check := checkOf(t, l.link, nominating{})
	w.take(check, from)
	if err := sink.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, maxPacket)
	size, err := sink.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: b[:size]}
	if err := m.Decode(); err != nil || m.Type != stun.BindingSuccess || string(m.TransactionID[:]) != string(check[8:20]) {
		t.Errorf("the first that the stranger is sent is %v (%v)", m, err)
	}
	if 2*size > 3*len(check) {
		t.Errorf("%d bytes answer %d", size, len(check))
	}
}

// TestAddedAttributes adds to an authentic check behind its integrity, as anybody on
// the way can: that counts for nothing.
func TestAddedAttributes(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	k := s.idle("ann", "ann").link
	w := newWorker(s.plane, newBatch(0))
	w.now = s.plane.now()
	sink := s.sink()
	first, second := s.over(9), path{host: s.plane.port.hosts[0], to: netip.MustParseAddrPort(sink.LocalAddr().String())}
	k.check(first, true, w.now)
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(k.ufrag+":them"), k.integrity, nominating{})
	if err != nil {
		t.Fatal(err)
	}
	w.take(m.Raw, second)
	if s.plane.links.at(second) != k {
		t.Fatal("the check is not taken for authentic")
	}
	if *k.route.Load() != first {
		t.Error("what was added nominates")
	}
}

// TestCheckSentAgain has somebody who reads the line send a client's check from
// elsewhere, and later again: the route stays, and who has gone is not kept alive.
func TestCheckSentAgain(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	k := s.idle("ann", "ann").link
	w := newWorker(s.plane, newBatch(0))
	first, second := s.over(9), s.over(10)
	w.now = s.plane.now()
	for range 3 {
		check := checkOf(t, k, nominating{})
		w.take(check, first)
		for range 2 {
			w.now = w.now.Add(time.Second)
			w.take(check, second)
			w.take(check, first)
		}
	}
	last := checkOf(t, k, nominating{})
	w.take(last, first)
	if r := k.route.Load(); *r != first || s.plane.links.at(second) == k {
		t.Errorf("routed by %v", r.to)
	}
	w.now = w.now.Add(absence + time.Second)
	w.take(last, first)
	if !k.isGone(w.now) {
		t.Error("a check that was sent again shows that the client is there")
	}
	w.take(checkOf(t, k, nominating{}), second)
	if r := k.route.Load(); *r != second || k.isGone(w.now) {
		t.Errorf("a new check does not count: routed by %v", r.to)
	}
}

// injector puts packets into the plane as if they came from where a client is.
type injector struct {
	w    *worker
	from path
}

func (s *stage) at(leg core.Leg) *injector {
	s.t.Helper()
	w := newWorker(s.plane, newBatch(0))
	w.now = s.plane.now()
	return &injector{w, *s.room.find(leg).link.route.Load()}
}

func (i *injector) take(b []byte) {
	i.w.take(b, i.from)
	i.w.flush()
}

// TestJunk forges a publisher's and a subscriber's address, and sends what is not
// authentic: 5,000 packets of media and of reports, and alerts that would end DTLS.
// The call loses nothing.
func TestJunk(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam, view := s.camera('a'), s.viewer()
	up, down := s.leg("ann", "ann"), s.leg("ben", "ann")
	cam.call(up)
	for number := range uint64(20) { // while the handshake is kept for a lost last flight
		s.at(up).take(alert(1, 0, number))
		s.at(up).take(alert(2, 80, number))
	}
	cam.roll(1, 1)
	view.call(down)
	view.follow(video, count('a', 10))
	before := s.plane.Stats().Refused
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 5000 {
		b := make([]byte, 60+r.IntN(1200))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		b[0], b[1] = 0x80, 96
		if i%2 == 1 {
			b[1] = 200 + byte(r.IntN(8))
		}
		binary.BigEndian.PutUint32(b[8:], 2222) // the camera's
		if i%5 == 0 {
			s.at(down).take(b)
		} else {
			s.at(up).take(b)
		}
	}
	for number := range uint64(20) {
		s.at(up).take(alert(1, 0, number))
		s.at(down).take(alert(2, 80, number))
		s.at(down).take([]byte{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, byte(number), 0, 3, 1, 2, 3})
	}
	view.follow(video, count('a', 50))
	view.follow(audio, count('a', 50))
	const media = 500 // a subscriber's packets of media are not even looked at
	if got := s.plane.Stats().Refused - before; got < 5000-media || got > 5000 {
		t.Errorf("%d packets are counted", got)
	}
}

// TestForgedAlerts ends each flight of a client's handshake with alerts that anybody
// could have sent from its address: the handshake goes on.
func TestForgedAlerts(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	forging := &alertingConn{PacketConn: conn}
	s.camera('a', s.through(forging)).call(s.leg("ann", "ann"))
	if forging.sent.Load() == 0 {
		t.Error("nothing was forged")
	}
}

// alertingConn sends forged alerts before each packet of DTLS, and in it.
type alertingConn struct {
	net.PacketConn
	sent atomic.Uint64
}

func (c *alertingConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if b[0] >= 20 && b[0] < 64 { // RFC 7983 section 7
		junk := []byte{20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}
		for _, forged := range [][]byte{alert(2, 40, c.sent.Add(1)), alert(1, 0, c.sent.Add(1)), append(junk, alert(2, 80, c.sent.Add(1))...)} {
			if _, err := c.PacketConn.WriteTo(forged, to); err != nil {
				return 0, err
			}
		}
	}
	return c.PacketConn.WriteTo(b, to)
}

// TestReplay has the network send each packet of the publisher's three times: each
// goes out once.
func TestReplay(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	cam := s.camera('a', s.through(&echoingConn{conn}))
	cam.call(s.leg("ann", "ann"))
	cam.roll(1, 1)
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	view.follow(video, count('a', 100))
	view.follow(audio, count('a', 100))
	if n := s.plane.Stats().Refused; n < 400 {
		t.Errorf("%d packets refused", n)
	}
}

type echoingConn struct{ net.PacketConn }

func (c *echoingConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if isRTP(b) {
		for range 2 {
			if n, err := c.PacketConn.WriteTo(b, to); err != nil {
				return n, err
			}
		}
	}
	return c.PacketConn.WriteTo(b, to)
}

// TestDataChannels offers one: it is turned down, and the call is as good.
func TestDataChannels(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	channel, err := cam.CreateDataChannel("flood", nil)
	if err != nil {
		t.Fatal(err)
	}
	channel.OnOpen(func() { t.Error("the data channel opens") })
	a := cam.call(s.leg("ann", "ann"))
	if got := lines(a.Answer, "m=application"); len(got) != 1 || !strings.HasPrefix(got[0], "0 ") {
		t.Errorf("answered %q", got)
	}
	cam.roll(1, 1)
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	view.follow(video, count('a', 20))
}

// TestOfferFlood has one client offer a thousand connections, one after the other,
// none of which it means: one is there at a time, and none is left.
func TestOfferFlood(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	b, err := os.ReadFile("testdata/chromium-subscribe.sdp")
	if err != nil {
		t.Fatal(err)
	}
	ufrag := lines(string(b), "a=ice-ufrag:")[0]
	const n = 1000
	var last core.Leg
	for i := range n {
		last = s.leg("ben", "ann")
		other := strings.ReplaceAll(string(b), "a=ice-ufrag:"+ufrag, "a=ice-ufrag:"+string(rune('a'+i%26))+"xyz")
		s.room.Accept(last, core.Ref{}, other)
	}
	if a := s.accepted(last); a.Err != nil {
		t.Fatal(a.Err)
	}
	s.room.mu.Lock()
	legs, feeds := len(s.room.legs), len(s.room.feeds)
	s.room.mu.Unlock()
	if legs != 1 || feeds != 1 {
		t.Errorf("%d legs, %d feeds", legs, feeds)
	}
	s.gone()
	if left := len(s.plane.links.byName); left != 0 {
		t.Errorf("%d links are left", left)
	}
}

// TestRenegotiationFlood has a client renegotiate faster than it is answered: its leg
// fails, when it owes too much.
func TestRenegotiationFlood(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	view := s.viewer()
	down := s.leg("ben", "ann")
	view.call(down)
	offer := view.makeOffer()
	gate := make(chan struct{})
	s.room.find(down).queue.post(func() { <-gate }) // so that the leg has to wait
	var last core.Leg
	for range backlog + 1 {
		last = s.leg("ben", "ann")
		s.room.Accept(last, core.Ref{}, offer)
	}
	close(gate)
	s.await("Failed", func(e core.MediaEvent) bool {
		f, ok := e.(core.Failed)
		return ok && errors.Is(f.Cause, errBehind) && f.Leg.Owner == "ben"
	})
	s.gone()
}

// TestMalformed puts a hundred thousand malformed packets through an SRTP session in
// both directions: the call is as good after them, and nothing is left of them.
func TestMalformed(t *testing.T) {
	s := newStage(t, core.MediaOptions{Speaking: true})
	st := newStudio(s)
	st.second("q")
	v := st.spectator(0)
	before := runtime.NumGoroutine()
	r := rand.New(rand.NewPCG(3, 3))
	spoil := func(b []byte, from int) []byte {
		for range 1 + r.IntN(4) {
			b[from+r.IntN(len(b)-from)] = byte(r.Uint32())
		}
		return b[:len(b)-r.IntN(min(8, len(b)-from))]
	}
	seq := uint16(0)
	media := func() {
		seq++
		h := rtp.Header{Version: 2, PayloadType: []uint8{96, 97, 111, 50}[r.IntN(4)], SSRC: uint32(10 + r.IntN(6)), SequenceNumber: seq, CSRC: make([]uint32, r.IntN(3))}
		h = with(h, map[uint8]string{midID: "1", ridID: []string{"q", "h", "f", "", "x"}[r.IntN(5)], rridID: "q", twccID: string([]byte{byte(r.Uint32()), byte(seq)})})
		b, err := (&rtp.Packet{Header: h, Payload: make([]byte, r.IntN(40))}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b = spoil(b, 0)
		b[0] = b[0]&0x3f | 0x80
		if len(b) < 12 || ssrcOf(b) < 10 { // those of the studio itself are left alone
			return
		}
		if sealed, err := st.client.EncryptRTP(nil, b, nil); err == nil { // what has a header, at least
			st.w.media(st.up.link, sealed)
		}
	}
	kinds := []rtcp.Packet{
		&rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: v.image.ssrc}}},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: v.image.ssrc, FractionLost: 200, TotalLost: 0xffffff, Jitter: 1<<32 - 1}}},
		&rtcp.PictureLossIndication{MediaSSRC: v.image.ssrc},
		&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: v.image.ssrc}}},
		&rtcp.TransportLayerNack{MediaSSRC: v.image.ssrc, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0xffff}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e30, SSRCs: []uint32{v.image.ssrc}},
		&rtcp.TransportLayerCC{MediaSSRC: v.image.ssrc, PacketStatusCount: 1, PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{RunLength: 1}}},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: 1, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}}}}},
		&rtcp.Goodbye{Sources: []uint32{1}},
		&rtcp.ExtendedReport{Reports: []rtcp.ReportBlock{&rtcp.DLRRReportBlock{}}},
	}
	report := func() {
		plain, err := rtcp.Marshal([]rtcp.Packet{kinds[r.IntN(len(kinds))]})
		if err != nil {
			t.Fatal(err)
		}
		plain = spoil(append(plain, make([]byte, 4)...), 8)
		plain[2], plain[3] = byte(r.IntN(2)), byte(r.Uint32())
		client, k := v.client, v.leg.link
		if r.IntN(2) == 0 {
			client, k = st.client, st.up.link
		}
		if sealed, err := client.EncryptRTCP(nil, plain, nil); err == nil {
			st.w.media(k, sealed)
		}
	}
	for i := range 100_000 {
		st.w.now = st.clock
		if i%2 == 0 {
			media()
		} else {
			report()
		}
		if i%64 == 0 {
			st.w.flush()
		}
		if i%5000 == 0 {
			st.seconds(1, func() {})
		}
	}
	st.w.flush()
	keys := st.up.link.keys.Load()
	if n := len(st.up.reception.sources); n > maxSources || len(keys.in.media) > maxIdentities || len(st.up.reception.sources) == 0 {
		t.Errorf("%d sources, %d identities", n, len(keys.in.media))
	}
	if n := runtime.NumGoroutine(); n > before+2 { // a queue at work, a timer's
		t.Errorf("%d goroutines, %d before", n, before)
	}
	if v.leg.hasEnded() || st.up.hasEnded() {
		t.Fatal("a leg has failed")
	}
	st.seconds(5, func() {}) // what has replaced others, and is silent now, is let go of
	late := st.spectator(0)
	st.spectators = []*spectator{late}
	st.second("q")
	if late.read[video] == 0 {
		t.Error("no picture comes any more")
	}
}

func ssrcOf(b []byte) uint32 { return binary.BigEndian.Uint32(b[8:]) }

// TestNACKStorm has a subscriber report all packets lost, a hundred times a second: it
// is sent little more than before.
func TestNACKStorm(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	st.second("q", "h", "f")
	v := st.spectator(0)
	storm := func() {
		for range 100 {
			from := uint16(v.image.numbers.high) - 600
			var pairs []rtcp.NackPair
			for i := range uint16(40) {
				pairs = append(pairs, rtcp.NackPair{PacketID: from + 17*i, LostPackets: 0xffff})
			}
			v.says(&rtcp.TransportLayerNack{MediaSSRC: v.image.ssrc, Nacks: pairs})
			v.sees()
		}
	}
	storm() // takes what may be had at once
	began, sent := v.repaired, v.image.octets.Load()
	for range 60 {
		st.second("q", "h", "f")
		storm()
	}
	st.second("q") // reads the rest
	if again, sent := v.repaired-began, v.image.octets.Load()-sent; again == 0 || 10*again > 3*sent {
		t.Errorf("%d bytes were sent again, of %d", again, sent)
	}
}

// TestLossyLink has a subscriber lose three packets of ten, and the copies and the
// requests as often: it is sent enough copies to get all but a few in the end.
func TestLossyLink(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	st.second("f")
	v := st.spectator(0)
	chance := rand.New(rand.NewPCG(1, 2))
	lost := func() bool { return chance.IntN(10) < 3 }
	missing, never := 0, 0
	for range 60 {
		first := uint16(v.image.numbers.high) + 1
		st.second("f")
		v.loses(0.3, uint64(layerPackets["f"]))
		for seq := first; int16(uint16(v.image.numbers.high)-seq) >= 0; seq++ {
			if !lost() {
				continue
			}
			missing++
			if !v.getsAgain(seq, lost) {
				never++
			}
		}
	}
	if missing < 1000 || 100*never > missing {
		t.Errorf("%d of %d lost packets never came", never, missing)
	}
}

// TestThinLinkIsNotFilledWithCopies has subscribers ask for much again whose link is
// too thin: those who say that it bears less get no more copies for what they lose, and
// those whose picture is withheld none, as the voice needs the room.
func TestThinLinkIsNotFilledWithCopies(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	st.second("f")
	v := st.spectator(0)
	storm := func() {
		high := uint16(v.image.numbers.high)
		for seq := high - 63; seq != high; seq++ {
			v.says(&rtcp.TransportLayerNack{MediaSSRC: v.image.ssrc, Nacks: []rtcp.NackPair{{PacketID: seq}}})
			v.sees()
		}
	}
	storm()
	storm()
	began, sent := v.repaired, v.image.octets.Load()
	for range 30 {
		v.says(&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 200e3, SSRCs: []uint32{v.image.ssrc}})
		st.second("f")
		v.loses(0.3, uint64(layerPackets["f"]))
		storm()
	}
	if again, sent := v.repaired-began, v.image.octets.Load()-sent; again == 0 || 10*again > 4*sent {
		t.Errorf("%d bytes were sent again, of %d, to a link that is too thin", again, sent)
	}
	for i := 0; !v.image.paused; i++ {
		if i > 20 {
			t.Fatal("never paused")
		}
		st.second("f")
		v.loses(0.9, uint64(layerPackets["f"]))
	}
	before := st.s.plane.Stats().Retransmitted
	storm()
	if after := st.s.plane.Stats().Retransmitted; after != before {
		t.Errorf("%d packets of a picture that is withheld were sent again", after-before)
	}
}

// getsAgain asks for a packet as often as Chromium does, and tells whether a copy came.
func (v *spectator) getsAgain(seq uint16, lost func() bool) bool {
	for range 10 {
		if lost() {
			continue
		}
		before := v.st.s.plane.Stats().Retransmitted
		v.says(&rtcp.TransportLayerNack{MediaSSRC: v.image.ssrc, Nacks: []rtcp.NackPair{{PacketID: seq}}})
		if v.st.s.plane.Stats().Retransmitted > before && !lost() {
			return true
		}
	}
	return false
}

func TestLooks(t *testing.T) {
	var r resends
	now := time.Unix(0, 0)
	n := 0
	for range 10 * resendLooks {
		now = now.Add(time.Microsecond)
		if r.look(now) {
			n++
		}
	}
	if n != resendLooks {
		t.Errorf("%d looks in a moment", n)
	}
	if !r.look(now.Add(time.Second)) {
		t.Error("no look a second later")
	}
}

// TestSlowTCP has a subscriber over TCP who does not read, and another: that one is
// sent all.
func TestSlowTCP(t *testing.T) {
	s := newStageOn(t, core.MediaOptions{}, Config{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, TCP: true, Log: quiet})
	st := newStudio(s)
	slow := st.spectator(0)
	st.spectators = nil // nobody reads what it is sent
	r := s.rawTCP(slow.leg)
	r.write(framed(checkOf(t, slow.leg.link, nominating{})))
	r.read()
	for slow.leg.link.route.Load().stream == nil { // the answer goes out before the route is changed
		if s.ctx.Err() != nil {
			t.Fatal("not over TCP")
		}
		runtime.Gosched()
	}
	st.second("f")
	other := st.spectator(0)
	for s.plane.Stats().Dropped == 0 { // its socket's buffers are full, and its queue
		st.second("q", "h", "f")
	}
	for range 5 {
		st.second("q", "h", "f")
	}
	if got := other.gets(); got != "f" || other.read[video] < 500 {
		t.Errorf("the other is sent %d packets, of layer %q", other.read[video], got)
	}
}

// TestTCPStrangers connects over TCP and shows no password: so many may, for so long.
func TestTCPStrangers(t *testing.T) {
	dial := func(s *stage) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", portString(s.plane)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	ended := func(conn net.Conn) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(deadline)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v", n, err)
		}
	}
	t.Run("for so long", func(t *testing.T) {
		s := newStageOn(t, core.MediaOptions{}, Config{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, TCP: true, Log: quiet, Patience: time.Millisecond})
		quiet, chatty := dial(s), dial(s)
		_, _ = chatty.Write(framed([]byte{0, 1, 0, 0}))
		ended(quiet)
		ended(chatty)
	})
	t.Run("so many", func(t *testing.T) {
		s := newStageOn(t, core.MediaOptions{}, Config{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, TCP: true, Log: quiet})
		strangers := func() int {
			s.plane.streams.mu.Lock()
			defer s.plane.streams.mu.Unlock()
			return s.plane.streams.strangers
		}
		until := func(n int) {
			t.Helper()
			for strangers() != n {
				if s.ctx.Err() != nil {
					t.Fatalf("%d strangers, want %d", strangers(), n)
				}
				runtime.Gosched()
			}
		}
		// The places are taken here, as so many connections may take longer to make than
		// the first of them lasts.
		take := func(n int, site byte) (last *stream) {
			for range n {
				one := &stream{place: netip.AddrFrom4([4]byte{10, 0, 0, site})}
				if !s.plane.streams.admit(one) {
					t.Fatalf("a stranger of site %d is refused", site)
				}
				t.Cleanup(func() { s.plane.streams.remove(one) })
				last = one
			}
			return last
		}
		var last *stream
		for site := range byte(maxStrangers / maxStrangersAt) {
			last = take(maxStrangersAt, site)
			if s.plane.streams.admit(&stream{place: last.place}) {
				t.Errorf("site %d has more strangers than it may", site)
			}
		}
		ended(dial(s))
		s.plane.streams.met(last)
		until(maxStrangers - 1)
		// Who is known is no stranger, and makes room for another.
		b := newBroadcast(s, 0)
		r := s.rawTCP(b.up)
		r.write(framed(checkOf(t, b.up.link, nominating{})))
		r.read()
		until(maxStrangers - 1)
	})
}

// bombs are session descriptions that mean no good: large, within the limits or not.
func bombs() map[string]string {
	pad := func(s string, n int) string { return strings.Repeat(s, n/len(s)) }
	var ssrcs, rids, maps strings.Builder
	for i := range 250 {
		ssrcs.WriteString("a=ssrc:" + pad("1", 400) + "\r\n")
		rids.WriteString("a=rid:" + pad("r", 400) + " send\r\n")
		maps.WriteString("a=rtpmap:" + pad("7", 300) + " opus/48000/2\r\n")
		_ = i
	}
	return map[string]string{
		"m-lines":      sdpOf(strings.Repeat("m=audio 9 RTP/AVP 0\r\n", 4000)),
		"lines":        sdpOf(opusSection, strings.Repeat("a=x\r\n", 20000)),
		"bytes":        sdpOf(opusSection) + pad("x", 4<<20),
		"formats":      sdpOf("m=audio 9 UDP/TLS/RTP/SAVPF"+pad(" 111", 100<<10)+"\r\na=mid:0\r\n"+strings.Repeat("a=rtpmap:111 opus/48000/2\r\n", 250), ""),
		"groups":       sdpOf(opusSection+"a=ssrc-group:FID"+pad(" 1234567", 100<<10)+"\r\n"+strings.Repeat("a=ssrc:7654321 x\r\n", 240), ""),
		"bundle":       strings.Replace(sdpOf(opusSection, vp8Section), "a=group:BUNDLE 0 1", "a=group:BUNDLE"+pad(" 0", 100<<10), 1),
		"SSRCs":        sdpOf(opusSection + ssrcs.String()),
		"rids":         sdpOf(vp8Section + rids.String()),
		"maps":         sdpOf(opusSection + maps.String()),
		"extensions":   sdpOf(opusSection + strings.Repeat("a=extmap:1 "+pad("u", 400)+"\r\n", 240)),
		"fingerprints": sdpOf(strings.Repeat("a=fingerprint:sha-256 "+pad("AB:", 400)+"\r\n", 240) + opusSection),
		"spaces":       sdpOf(opusSection + "a=ssrc:" + pad(" ", 100<<10) + "\r\n"),
		"session":      "v=0\r\n" + strings.Repeat("a=sendonly\r\n", 10000),
	}
}

func TestBombs(t *testing.T) {
	for name, offer := range bombs() {
		d, err := readUpOffer(offer, plainRoom)
		if err == nil && (len(d.sections) > maxSections || len(d.fingerprints) > maxLines) {
			t.Errorf("%s: %d sections, %d fingerprints", name, len(d.sections), len(d.fingerprints))
		}
	}
}

// BenchmarkBombs shows what a description costs that means no good.
func BenchmarkBombs(b *testing.B) {
	all := bombs()
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = readUpOffer(all[name], plainRoom)
			}
		})
	}
}
