package media

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	"confgate/core"
)

// What the header extensions of these tests' publishers are numbered.
const (
	midID  = 4
	ridID  = 5
	rridID = 6
	twccID = 7
)

// layered is a section of a picture in layers, with retransmission.
func layered(mid string, layers ...string) part {
	return part{
		kind: video, mid: mid, way: sdp.DirectionRecvOnly, layers: layers,
		formats: []format{vp8}, codecs: codecs{vp8: {payload: 96, repair: 97, nack: true, congestion: true}},
		extensions: map[string]uint8{
			sdp.SDESMidURI: midID, sdp.SDESRTPStreamIDURI: ridID, sdesRepairedRID: rridID, sdp.TransportCCURI: twccID,
		},
	}
}

// sends has the publisher send one packet of its own making, and reports whether it
// was taken.
func (b *broadcast) sends(h rtp.Header, body []byte) bool {
	b.s.t.Helper()
	h.Version = 2
	plain, err := (&rtp.Packet{Header: h, Payload: body}).Marshal()
	if err != nil {
		b.s.t.Fatal(err)
	}
	sealed, err := b.client.EncryptRTP(nil, plain, nil)
	if err != nil {
		b.s.t.Fatal(err)
	}
	before := b.s.plane.Stats().Refused
	b.w.now = b.clock
	b.w.media(b.up.link, sealed)
	b.w.flush()
	return b.s.plane.Stats().Refused == before
}

// with gives a header with extensions, by their ids.
func with(h rtp.Header, extensions map[uint8]string) rtp.Header {
	for id, value := range extensions {
		_ = h.SetExtension(id, []byte(value))
	}
	return h
}

func TestWhatAPacketBelongsTo(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 0)
	b.up.reception.negotiated([]part{layered("1", "q", "h")}, []section{{}})
	body := payload('a', true, 0)
	primary := rtp.Header{PayloadType: 96, SSRC: 1}
	repair := rtp.Header{PayloadType: 97, SSRC: 2}
	for i, test := range []struct {
		what   string
		header rtp.Header
		body   []byte
		want   bool
	}{
		{"no layer named", primary, body, false},
		{"retransmission of what has not come", with(repair, map[uint8]string{rridID: "q"}), append([]byte{0, 1}, body...), false},
		{"another section's", with(primary, map[uint8]string{midID: "2", ridID: "q"}), body, false},
		{"a layer that was not offered", with(primary, map[uint8]string{midID: "1", ridID: "x"}), body, false},
		{"another payload type", with(rtp.Header{PayloadType: 98, SSRC: 1}, map[uint8]string{midID: "1", ridID: "q"}), body, false},
		{"a layer", with(primary, map[uint8]string{midID: "1", ridID: "q"}), body, true},
		{"the same, unnamed", primary, body, true},
		{"the same, lying of its layer", with(primary, map[uint8]string{midID: "1", ridID: "h"}), body, true},
		{"its retransmission", with(repair, map[uint8]string{rridID: "q"}), append([]byte{0, 1}, body...), true},
		{"a probe of padding alone", repair, nil, true},
		{"a repeated packet cut off", repair, []byte{7}, false},
		{"retransmission of a layer that has not come", with(rtp.Header{PayloadType: 97, SSRC: 3}, map[uint8]string{rridID: "h"}), body, false},
	} {
		test.header.SequenceNumber = uint16(10 + i)
		if got := b.sends(test.header, test.body); got != test.want {
			t.Errorf("%s: taken %v", test.what, got)
		}
	}
	if n := len(b.lane.tracks); n != 1 {
		t.Errorf("%d tracks", n)
	}
}

// TestProbesAreReported sends packets of no stream, as senders do to find out what
// a link bears: they are part of the congestion control's feedback.
func TestProbesAreReported(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 0)
	b.up.reception.negotiated([]part{layered("1")}, []section{{}})
	for i := range uint16(5) {
		b.sends(with(rtp.Header{PayloadType: 97, SSRC: 9, SequenceNumber: i}, map[uint8]string{twccID: string([]byte{0, byte(i)})}), nil)
	}
	packets := b.up.reception.arrival.BuildFeedbackPacket()
	if len(packets) != 1 || packets[0].(*rtcp.TransportLayerCC).PacketStatusCount != 5 {
		t.Errorf("%v", packets)
	}
}

// seconds lets the plane's ticks of n seconds go by, with something to do in each.
func (b *broadcast) seconds(n int, each func()) {
	for range n {
		each()
		for range ticksReport {
			b.clock = b.clock.Add(tick)
			b.up.reception.tick(b.clock)
		}
	}
}

// TestManySSRCs has a publisher change its SSRC again and again in a long call: what
// has been replaced is let go of, and the latest goes through.
func TestManySSRCs(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 1)
	b.w.plane.unwatch(b.up) // the test ticks
	const changes = 10 * maxSources
	ssrc := uint32(100)
	var seqs []uint16
	b.seconds(changes, func() {
		ssrc++
		for i := range uint16(3) {
			if !b.sends(rtp.Header{PayloadType: 96, SSRC: ssrc, SequenceNumber: i}, payload('a', i == 0, 0)) {
				t.Fatalf("SSRC %d is not taken", ssrc)
			}
		}
		seqs = append(seqs, numbersAt(t, b.sinks[0], 3)...)
	})
	for i, seq := range seqs {
		if seq != seqs[0]+uint16(i) {
			t.Fatalf("number %d after %d", seq, seqs[i-1])
		}
	}
	if n := len(b.up.reception.sources); n > silence+2 {
		t.Errorf("%d sources are kept", n)
	}
	// A picture that stands still is not over.
	b.seconds(10, func() {})
	if n := len(b.up.reception.sources); n != 1 {
		t.Errorf("%d sources are left", n)
	}
}

// TestUnknownSSRCs sends packets of more SSRCs than anybody has, which are authentic,
// and which no section is for: what is kept of them is bounded.
func TestUnknownSSRCs(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 1)
	h := rtp.Header{PayloadType: 99}
	for i := range uint32(4 * maxIdentities) {
		h.SSRC = i + 100
		if b.sends(h, []byte{1}) {
			t.Fatal("taken")
		}
	}
	h.PayloadType = 96
	for i := range uint32(4 * maxSources) {
		h.SSRC = i + 1e6
		b.sends(h, payload('a', true, 0))
	}
	keys := b.up.link.keys.Load()
	if n := len(keys.in.media); n != maxIdentities {
		t.Errorf("SRTP keeps the state of %d SSRCs", n)
	}
	if n := len(b.up.reception.sources); n > maxSources {
		t.Errorf("%d sources", n)
	}
	report := make([]byte, 0, maxPacket)
	for i := range uint32(2 * maxIdentities) {
		plain, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: i}})
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := b.client.EncryptRTCP(nil, plain, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.openReport(report, sealed); (err == nil) != (i < maxIdentities) {
			t.Fatalf("report %d: %v", i, err)
		}
	}
}

// TestSequenceRestarts has a publisher begin anew with other numbers on one SSRC: it
// goes on, and what lies between is not counted as lost.
func TestSequenceRestarts(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 1)
	b.w.plane.unwatch(b.up)
	h := rtp.Header{PayloadType: 96, SSRC: 7}
	for _, first := range []uint16{100, 20000, 45000, 5000} {
		for i := range uint16(20) {
			h.SequenceNumber = first + i
			h.Timestamp += 3000
			if !b.sends(h, payload('a', i == 0, 0)) {
				t.Fatalf("%d is not taken", h.SequenceNumber)
			}
		}
	}
	numbersAt(t, b.sinks[0], 80)
	s := b.up.reception.sources[0]
	if r := s.reception(7, time.Now()); r.TotalLost != 0 || r.FractionLost != 0 {
		t.Errorf("%+v", r)
	}
	if s.track.ring.lost != 0 || len(s.track.missing.all) != 0 {
		t.Errorf("%d lost, %d missing", s.track.ring.lost, len(s.track.missing.all))
	}
}

// TestRateIsOfTheTime measures a track after other times than a second.
func TestRateIsOfTheTime(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 1)
	b.w.plane.unwatch(b.up)
	b.sends(rtp.Header{PayloadType: 96, SSRC: 7}, payload('a', true, 0))
	track := b.lane.tracks[0]
	measure := func(bytes int, after time.Duration) int {
		track.bytes = bytes
		track.measure(track.since.Add(after))
		return track.rate
	}
	if rate := measure(1000, 100*time.Millisecond); rate != -1 {
		t.Errorf("after a tenth of a second: %d", rate)
	}
	for _, after := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second} {
		bytes := int(125 * after / time.Millisecond)
		if rate := measure(bytes, after); rate != 1e6 {
			t.Errorf("after %v: %d bit/s", after, rate)
		}
	}
	if rate := measure(0, time.Second); rate != 1e6 {
		t.Errorf("one second without a packet: %d", rate)
	}
	if rate := measure(0, time.Second); rate != 0 {
		t.Errorf("two seconds without a packet: %d", rate)
	}
}

// TestReportsArePassedOnSparingly has a publisher report more often than any does, and in
// one packet: each report is encrypted for every subscriber.
func TestReportsArePassedOnSparingly(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	v := st.spectator(0)
	st.second("q")
	st.second("q")
	report := func(n int) (passed int) {
		var all []rtcp.Packet
		for range n {
			all = append(all, &rtcp.SenderReport{SSRC: st.numbers["q"].SSRC, RTPTime: st.numbers["q"].Timestamp})
		}
		plain, err := rtcp.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := st.client.EncryptRTCP(nil, plain, nil)
		if err != nil {
			t.Fatal(err)
		}
		st.w.now = st.clock
		st.w.media(st.up.link, sealed)
		st.w.flush()
		st.one("", []byte{1, 2, 3}) // comes after them
		return v.reports
	}
	if n := report(45); n != 1 {
		t.Errorf("%d of a packet full are passed on", n)
	}
	st.clock = st.clock.Add(reportGap / 2)
	if n := report(1); n != 1 {
		t.Errorf("%d are passed on, one right after the other", n)
	}
	st.clock = st.clock.Add(reportGap)
	if n := report(2); n != 2 {
		t.Errorf("%d are passed on, want one more", n)
	}
}
