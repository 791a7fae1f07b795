package media

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"confgate/core"
)

func TestEstimate(t *testing.T) {
	for name, test := range map[string]struct {
		seconds int
		loss    float64
		came    func(rate float64) int
		least   float64
		most    float64
	}{
		"a good link":            {60, 0.01, func(r float64) int { return int(r) }, 5e6, 5e6},
		"a publisher of little":  {60, 0, func(float64) int { return 200e3 }, 1e6, 1e6},
		"some loss":              {60, 0.05, func(r float64) int { return int(r) }, 1e6, 1e6},
		"a fifth lost":           {5, 0.2, func(r float64) int { return int(r) }, 590e3, 591e3},
		"all lost":               {60, 1, func(float64) int { return 1 }, 64e3, 64e3},
		"nothing comes":          {60, 0, func(float64) int { return 0 }, 1e6, 1e6},
		"nothing comes, of late": {60, 1, func(float64) int { return 0 }, 1e6, 1e6},
	} {
		t.Run(name, func(t *testing.T) {
			e := &estimate{rate: firstEstimate}
			for range test.seconds {
				e.judge(test.loss, test.came(e.rate))
			}
			if e.rate < test.least || e.rate > test.most {
				t.Errorf("%v bit/s, want %v to %v", e.rate, test.least, test.most)
			}
		})
	}
}

// TestFeedbackOfPublishers offers what publishers can go by: they get the better.
func TestFeedbackOfPublishers(t *testing.T) {
	picture := vp8Section + sendonly
	for name, test := range map[string]struct{ with, want []string }{
		"REMB":           {[]string{"a=rtcp-fb:101 goog-remb"}, []string{"101 goog-remb"}},
		"both":           {[]string{"a=rtcp-fb:101 goog-remb", "a=rtcp-fb:101 transport-cc", "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"}, []string{"101 transport-cc"}},
		"no packet says": {[]string{"a=rtcp-fb:101 goog-remb", "a=rtcp-fb:101 transport-cc"}, []string{"101 goog-remb"}},
		"neither":        {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, core.MediaOptions{})
			leg := s.leg("ann", "ann")
			s.room.Accept(leg, core.Ref{}, sdpOf(picture+strings.Join(test.with, "\r\n")+"\r\n"))
			a := s.accepted(leg)
			if got := lines(a.Answer, "a=rtcp-fb:"); !slices.Equal(got, test.want) {
				t.Errorf("%q (%v), want %q", got, a.Err, test.want)
			}
		})
	}
}

// TestREMB has a publisher that goes by REMB lose a third of what it sends.
func TestREMB(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	p := layered("1", "q", "h", "f")
	p.codecs[vp8].congestion, p.codecs[vp8].remb = false, true
	st.up.reception.negotiated([]part{p, {}}, []section{{}, {}})
	st.up.reception.takes = append(st.up.reception.takes, part{kind: audio, mid: "0", formats: []format{opus}, codecs: codecs{opus: {payload: 111}}})
	sink := st.s.sink()
	st.up.link.route.Store(&path{host: st.s.plane.port.hosts[0], to: netip.MustParseAddrPort(sink.LocalAddr().String())})
	if err := sink.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	told := func() *rtcp.ReceiverEstimatedMaximumBitrate {
		t.Helper()
		for b := make([]byte, maxPacket); ; {
			n, err := sink.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := st.client.DecryptRTCP(nil, b[:n], nil)
			if err != nil {
				t.Fatal(err)
			}
			packets, err := rtcp.Unmarshal(plain)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range packets {
				if p, ok := p.(*rtcp.ReceiverEstimatedMaximumBitrate); ok {
					return p
				}
			}
		}
	}
	st.second("q")
	if r := told(); r.Bitrate != firstEstimate || !slices.Contains(r.SSRCs, st.numbers["q"].SSRC) {
		t.Errorf("at first: %+v", r)
	}
	before := float32(firstEstimate)
	for range 5 {
		st.numbers["q"].SequenceNumber += 5 // of 15
		st.second("q")
		if r := told(); r.Bitrate >= before*0.9 {
			t.Errorf("%v bit/s after %v", r.Bitrate, before)
		} else {
			before = r.Bitrate
		}
	}
}
