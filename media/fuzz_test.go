package media

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/stun/v4"

	"confgate/core"
)

// FuzzReport gives RTCP to a publisher's and to a subscriber's connection.
func FuzzReport(f *testing.F) {
	st := newStudio(newStage(f, core.MediaOptions{}))
	st.second("q", "h")
	v := st.spectator(0)
	st.spectators = nil // nobody reads
	v.image.ssrc, v.voice.ssrc = 1, 2
	st.up.link.checked.Store(0) // as nobody keeps checking, who was there would be gone soon
	for _, packets := range [][]rtcp.Packet{
		{&rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 1, FractionLost: 128}}}, rtcp.NewCNAMESourceDescription(1, "x")},
		{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 2, TotalLost: 7, Jitter: 9}}}},
		{&rtcp.PictureLossIndication{MediaSSRC: 1}, &rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 1}}}},
		{&rtcp.TransportLayerNack{MediaSSRC: 1, Nacks: []rtcp.NackPair{{PacketID: uint16(v.image.numbers.high), LostPackets: 0xffff}}}},
		{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{1}}},
		{&rtcp.TransportLayerCC{MediaSSRC: 1, PacketStatusCount: 2, PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{RunLength: 2}}}},
		{&rtcp.ExtendedReport{SenderSSRC: 1, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{}}}, &rtcp.Goodbye{Sources: []uint32{1}}},
	} {
		b, err := rtcp.Marshal(packets)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, up bool) {
		st.clock = st.clock.Add(time.Millisecond)
		st.w.now = st.clock
		if up {
			st.up.report(st.w, b)
		} else {
			v.leg.report(st.w, b)
		}
		st.w.flush()
		if e := v.image.link.estimate; e < 0 || e > 1e9 {
			t.Errorf("an estimate of %d bit/s", e)
		}
		if v.leg.hasEnded() || st.up.hasEnded() {
			t.Fatal("a leg has failed")
		}
	})
}

// FuzzCheck gives the attributes of a check, which is made authentic or not.
func FuzzCheck(f *testing.F) {
	s := newStage(f, core.MediaOptions{})
	k := s.idle("ann", "ann").link
	s.plane.links.remove(k, k.at)
	k.ufrag, k.at = "ours", "ours"
	s.plane.links.add(k)
	w, from := newWorker(s.plane, newBatch(0)), s.over(9)
	attributes := func(setters ...stun.Setter) []byte {
		m, err := stun.Build(append([]stun.Setter{stun.BindingRequest}, setters...)...)
		if err != nil {
			f.Fatal(err)
		}
		return m.Raw[20:]
	}
	f.Add(attributes(stun.NewUsername("ours:theirs"), nominating{}), true)
	f.Add(attributes(stun.NewUsername("ours")), true)
	f.Add(attributes(stun.NewUsername("another:theirs"), nominating{}), true)
	f.Add(attributes(stun.NewUsername("ours:theirs"), stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}), true)
	f.Add(attributes(stun.NewUsername("ours:theirs"), stun.Fingerprint), false)
	f.Add([]byte{0, 6, 255, 255, 1}, false)
	f.Fuzz(func(t *testing.T, attributes []byte, authentic bool) {
		if len(attributes) > maxPacket {
			return
		}
		m := stun.New()
		m.Type = stun.BindingRequest
		m.WriteHeader()
		m.Raw = append(m.Raw, attributes...)
		m.Length = uint32(len(attributes))
		m.WriteLength()
		if authentic {
			if m.Decode() != nil || k.integrity.AddTo(m) != nil {
				return
			}
		}
		k.checked.Store(0)
		before := s.plane.Stats().Strangers
		w.now = s.plane.now()
		w.take(m.Raw, from)
		if known := s.plane.Stats().Strangers == before; known && !authentic {
			t.Fatal("a check that is not authentic is taken for one")
		}
		if k.checked.Load() != 0 && !authentic {
			t.Fatal("a check that is not authentic changes something")
		}
	})
}

// FuzzFrame reads packets off TCP, whole or bit by bit: they are the same.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 1, 7})
	f.Add([]byte{0, 0, 0, 2, 1, 2, 0, 3, 1})
	f.Add(append(framed(make([]byte, maxPacket)), framed([]byte{1})...))
	f.Add(framed(make([]byte, maxPacket+1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, bits := bufio.NewReaderSize(bytes.NewReader(b), 2*maxPacket), bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(b)), 2*maxPacket)
		one, other := make([]byte, maxPacket), make([]byte, maxPacket)
		total := 0
		for {
			ready := holdsFrame(whole)
			n, err := readFrame(whole, one)
			m, err2 := readFrame(bits, other)
			if n != m || !bytes.Equal(one[:n], other[:m]) || (err == nil) != (err2 == nil) {
				t.Fatalf("%d bytes (%v), and %d (%v)", n, err, m, err2)
			}
			if ready && err != nil && err != io.ErrShortBuffer { //nolint:errorlint // as it is
				t.Fatalf("a frame that is there cannot be read: %v", err)
			}
			if err != nil {
				return
			}
			if total += 2 + n; total > len(b) {
				t.Fatal("more is read than there is")
			}
		}
	})
}
