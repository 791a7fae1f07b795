package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func TestGaps(t *testing.T) {
	var g gaps
	const ms = int64(time.Millisecond)
	for _, step := range []struct {
		seq  uint16
		now  int64
		want []uint16
	}{
		{65533, 0, nil},
		{65534, 1 * ms, nil},
		{1, 2 * ms, []uint16{65535, 0}}, // over the wrap
		{2, 10 * ms, nil},               // asked for just now
		{65535, 11 * ms, nil},           // comes late
		{3, 70 * ms, []uint16{0}},       // still missing
		{0, 71 * ms, nil},
		{4, 200 * ms, nil},
		{4, 201 * ms, nil}, // twice
	} {
		if got := g.arrived(step.seq, step.now); !slices.Equal(got, step.want) {
			t.Errorf("arrived(%d) at %d ms = %v, want %v", step.seq, step.now/ms, got, step.want)
		}
	}
	if g.found.Load() != 2 || g.recovered.Load() != 2 {
		t.Errorf("%d found, %d recovered", g.found.Load(), g.recovered.Load())
	}
}

func TestGapsGiveUp(t *testing.T) {
	var g gaps
	asked := 0
	g.arrived(10, 0)
	for i := range 2 * maxAsks {
		asked += len(g.arrived(uint16(12+i), int64(i)*int64(time.Second)))
	}
	if asked != maxAsks || len(g.missing) != 0 {
		t.Errorf("asked %d times, %d still missed", asked, len(g.missing))
	}
	for i := range 10 { // far apart: not more is remembered than there is room for
		g.arrived(uint16(1000+100*i), 0)
		if len(g.missing) > maxGap {
			t.Fatalf("%d missing", len(g.missing))
		}
	}
	g.arrived(40_000, 0)
	if len(g.missing) != 0 {
		t.Errorf("after a jump %d are missed", len(g.missing))
	}
}

func TestParseRTP(t *testing.T) {
	p := rtp.Packet{
		Header: rtp.Header{
			Version: 2, PayloadType: vp8Type, SequenceNumber: 7, SSRC: 9, CSRC: []uint32{1, 2},
			PaddingSize: 5, Padding: true,
		},
		Payload: []byte{1, 2, 3},
	}
	if err := p.SetExtension(1, []byte{1, 2, 3, 4, 5}); err != nil {
		t.Fatal(err)
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	head, payload, ok := parseRTP(b)
	if !ok || head != (rtpHead{video, 7, 9}) || !slices.Equal(payload, p.Payload) {
		t.Errorf("parseRTP = %+v, %v, %t", head, payload, ok)
	}
	for n := range 12 {
		if _, _, ok := parseRTP(b[:n]); ok {
			t.Errorf("%d bytes are a packet", n)
		}
	}
}

func FuzzParseRTP(f *testing.F) {
	f.Add([]byte{0xb2, vp8Type, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 1, 2, 2})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = parseRTP(b) // must not panic
	})
}

func TestReceptionReport(t *testing.T) {
	var c counter
	for _, seq := range []uint16{65534, 65535, 1, 2} { // 0 is lost
		c.add(rtpHead{video, seq, 5})
	}
	r := c.report()
	if r.SSRC != 5 || r.TotalLost != 1 || r.LastSequenceNumber != 65538 || r.FractionLost != 255/5 {
		t.Errorf("%+v", r)
	}
	c.add(rtpHead{video, 3, 5})
	if r = c.report(); r.FractionLost != 0 || r.TotalLost != 1 {
		t.Errorf("%+v", r)
	}
}
