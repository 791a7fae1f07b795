package media

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/srtp/v3"

	"confgate/core"
)

// judged runs the judge once a second and writes down what it says, and when.
type judged struct {
	bandwidth
	now    time.Time
	lower  bool // there is a smaller layer than what is sent at first
	every  int  // seconds between those in which reports come; 0 is 1
	paused bool
	said   []string
}

func (j *judged) seconds(n int, share float64, estimate int) {
	for i := range n {
		j.now = j.now.Add(time.Second)
		if !j.paused && (i+1)%max(1, j.every) == 0 {
			j.expected += 100
			j.lost += uint32(100 * share)
			j.estimate = estimate
		}
		rate := 1_000_000
		if j.below > 0 {
			rate = 200_000
		}
		v := j.judge(rate, j.lower && j.below == 0, j.paused, j.now)
		j.paused = v == pause || j.paused && v != resume
		if v != stay {
			j.said = append(j.said, fmt.Sprintf("%v %v", j.now.Sub(time.Unix(0, 0)), v))
		}
	}
}

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		lower bool
		goes  func(*judged)
		want  []string
	}{
		"a good link":       {true, func(j *judged) { j.seconds(300, 0.05, 0) }, nil},
		"a bad second":      {true, func(j *judged) { j.seconds(1, 0.9, 0); j.seconds(300, 0, 0) }, nil},
		"loss for a while":  {true, func(j *judged) { j.seconds(3, 0.2, 0); j.seconds(60, 0, 0) }, []string{"3s smaller", "8s larger"}},
		"a thin link":       {true, func(j *judged) { j.seconds(3, 0, 500e3); j.seconds(60, 0, 2e6) }, []string{"3s smaller", "8s larger"}},
		"loss, no other":    {false, func(j *judged) { j.seconds(100, 0.2, 0) }, nil},
		"an estimate alone": {false, func(j *judged) { j.seconds(100, 0, 100e3) }, nil},
		"an estimate, loss": {false, func(j *judged) { j.seconds(4, 0.1, 100e3); j.seconds(60, 0, 2e6) }, []string{"4s pause", "9s resume"}},
		"lost before a try": {false, func(j *judged) {
			j.seconds(4, 0.5, 0)
			j.seconds(5, 0, 0)
			j.lost += 80 // which the first report after the pause tells, and no other soon
			j.expected += 100
			j.seconds(1, 0, 100e3)
			j.every = 3
			j.seconds(30, 0, 90e3)
		}, []string{"4s pause", "9s resume"}},
		"lost of the larger": {true, func(j *judged) {
			j.seconds(3, 0.5, 100e3)
			j.lost += 80 // which the first report after the change tells, and no other soon
			j.expected += 100
			j.seconds(1, 0, 90e3)
			j.every = 4
			j.seconds(3, 0, 90e3)
			j.every = 0
			j.seconds(1, 0, 2e6)
		}, []string{"3s smaller", "8s larger"}},
		"a try that plainly fails": {true, func(j *judged) {
			j.seconds(3, 0.4, 500e3)
			j.seconds(5, 0, 500e3)
			j.seconds(3, 0.4, 500e3)
		}, []string{"3s smaller", "8s larger", "9s smaller"}},
		"an estimate rises and rests": {true, func(j *judged) {
			j.seconds(3, 0, 500e3)
			j.seconds(5, 0, 500e3)
			for e := range 20 { // it is judged twice as often as it comes
				j.seconds(1, 0, 300e3+20e3*e)
				j.judge(1e6, true, false, j.now)
			}
		}, []string{"3s smaller", "8s larger"}},
		"seldom told":        {false, func(j *judged) { j.every = 3; j.seconds(30, 0.5, 0) }, []string{"6s pause", "11s resume", "18s pause"}},
		"a hopeless link":    {false, func(j *judged) { j.seconds(4, 0.5, 0); j.seconds(60, 0, 0) }, []string{"4s pause", "9s resume"}},
		"as thin as before":  {false, func(j *judged) { j.seconds(100, 0.5, 0) }, []string{"4s pause", "9s resume", "12s pause", "27s resume", "30s pause", "1m15s resume", "1m18s pause"}},
		"later and later":    {false, func(j *judged) { j.seconds(400, 0.5, 0); j.said = j.said[len(j.said)-2:] }, []string{"6m30s resume", "6m33s pause"}},
		"forgotten":          {false, func(j *judged) { j.seconds(13, 0.5, 0); j.seconds(30, 0, 0); j.seconds(4, 0.5, 0); j.seconds(6, 0, 0) }, []string{"4s pause", "9s resume", "12s pause", "27s resume", "47s pause", "52s resume"}},
		"worse, then better": {true, func(j *judged) { j.seconds(8, 0.5, 0); j.seconds(30, 0, 0) }, []string{"3s smaller", "8s pause", "23s resume", "28s larger"}},
		"a rising estimate": {true, func(j *judged) {
			j.seconds(3, 0, 500e3)
			for e := 300_000; e < 1e6; e += e / 12 { // as Chromium's, after a smaller picture
				j.seconds(1, 0, e)
			}
			j.seconds(30, 0, 1e6)
		}, []string{"3s smaller", "8s larger"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := &judged{lower: test.lower, now: time.Unix(0, 0)}
			test.goes(j)
			if !slices.Equal(j.said, test.want) {
				t.Errorf("said %q, want %q", j.said, test.want)
			}
		})
	}
}

// TestLossOfReports reads what clients report, true or not.
func TestLossOfReports(t *testing.T) {
	for name, test := range map[string]struct {
		reports [][2]uint32 // the highest number, and the packets lost
		want    float64     // by the last one
	}{
		"nothing":            {nil, 0},
		"a share":            {[][2]uint32{{1000, 10}, {1100, 30}}, 0.2},
		"too few to tell":    {[][2]uint32{{1000, 10}, {1010, 15}}, 0},
		"found again":        {[][2]uint32{{1000, 10}, {1100, 5}}, 0},
		"fewer than none":    {[][2]uint32{{1000, 0}, {1100, 0xfffffe}}, 0},
		"more than there is": {[][2]uint32{{1000, 0}, {1100, 0x7fffff}}, 1},
		"back":               {[][2]uint32{{1000, 10}, {500, 400}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newFeed().lane(video)
			o := &outlet{lane: l, codecs: anyVP8}
			got := 0.0
			for _, r := range test.reports {
				l.lossReported(o, &rtcp.ReceptionReport{LastSequenceNumber: r[0], TotalLost: r[1]})
				if got = 0; o.link.sample() {
					got = o.link.loss
				}
			}
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestAssign gives outlets with all kinds of wishes the layers that there are.
func TestAssign(t *testing.T) {
	for name, test := range map[string]struct {
		rates []int // of the layers, in kbit/s
		link  bandwidth
		want  int // of the layers; -1 for none
	}{
		"the largest":               {[]int{100, 400, 1200}, bandwidth{}, 2},
		"a limit":                   {[]int{100, 400, 1200}, bandwidth{limit: 500e3}, 1},
		"a size":                    {[]int{100, 400, 1200}, bandwidth{largest: 250}, 1},
		"a size, and a thin uplink": {[]int{10, 20, 30}, bandwidth{largest: 250, limit: 500e3}, 1},
		"a size below all":          {[]int{100, 400, 1200}, bandwidth{largest: 50}, 0},
		"a size above all":          {[]int{100, 400, 1200}, bandwidth{largest: 5000}, 2},
		"a limit below all":         {[]int{100, 400, 1200}, bandwidth{limit: 10e3}, 0},
		"a limit, not measured":     {[]int{-1, -1, -1}, bandwidth{limit: 500e3}, 2},
		"a thin link":               {[]int{100, 400, 1200}, bandwidth{below: 1}, 1},
		"a thin link, and a limit":  {[]int{100, 400, 1200}, bandwidth{below: 1, limit: 500e3}, 0},
		"thinner than there is":     {[]int{100, 400}, bandwidth{below: 5}, 0},
		"the largest has stopped":   {[]int{100, 400, 0}, bandwidth{}, 1},
		"the smallest has stopped":  {[]int{0, 400, 1200}, bandwidth{limit: 10e3}, 1},
		"all have stopped":          {[]int{0, 0, 0}, bandwidth{}, 2},
		"nobody publishes":          {nil, bandwidth{}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newFeed().lane(video)
			var layers []*track
			for i, rate := range test.rates {
				layers = append(layers, &track{lane: l, format: vp8, area: 100 << i, rate: rate * 1000})
			}
			l.tracks = slices.Clone(layers)
			slices.Reverse(l.tracks) // as they come
			o := &outlet{lane: l, link: test.link, codecs: anyVP8}
			l.outlets = []*outlet{o}
			wanted := l.assignAll()
			if test.want < 0 {
				if o.target != nil || len(wanted) != 0 {
					t.Error("something is sent")
				}
				return
			}
			if o.target != layers[test.want] || !slices.Equal(wanted, []*track{o.target}) {
				t.Errorf("layer %d is sent, want %d; key frames of %d wanted", slices.Index(layers, o.target), test.want, len(wanted))
			}
			if again := l.assignAll(); len(again) != 0 {
				t.Error("a key frame is wanted though nothing changes")
			}
			o.paused = true
			if l.assignAll(); o.target != nil {
				t.Error("something is sent to one that is paused")
			}
		})
	}
}

// studio is a publisher of a voice and a picture in layers, whose time is the test's.
type studio struct {
	*broadcast
	numbers    map[string]*rtp.Header // of each layer; the voice's is ""
	pictures   map[string]*pictureIDs // likewise; they turn over on their way
	spectators []*spectator
}

// layerPackets is how many packets of each layer are sent in a second; that makes 27,
// 82 and 245 kbit/s.
var layerPackets = map[string]int{"q": 10, "h": 30, "f": 90}

func newStudio(s *stage) *studio {
	st := &studio{broadcast: newBroadcast(s, 0), numbers: make(map[string]*rtp.Header), pictures: map[string]*pictureIDs{
		"q": {picture: 32_700, base: 10}, "h": {picture: 100, base: 250}, "f": {picture: 20_000, base: 30},
	}}
	s.plane.unwatch(st.up)
	st.publish()
	return st
}

func (st *studio) publish() {
	st.up.reception.negotiated([]part{
		layered("1", "q", "h", "f"),
		{kind: audio, mid: "0", way: sdp.DirectionRecvOnly, formats: []format{opus}, codecs: codecs{opus: {payload: 111}}},
	}, []section{{}, {}})
	for i, rid := range []string{"", "q", "h", "f"} {
		h := rtp.Header{PayloadType: 96, SSRC: uint32(i + 1), SequenceNumber: uint16(1000 * i)}
		if rid == "" {
			h.PayloadType = 111
		} else {
			h = with(h, map[uint8]string{ridID: rid})
		}
		st.numbers[rid] = &h
	}
}

// second sends the voice and those layers for a second, each of which begins with a
// key frame.
func (st *studio) second(rids ...string) {
	st.s.t.Helper()
	st.seconds(1, func() {
		for range 10 {
			st.one("", []byte{1, 2, 3})
		}
		for _, rid := range rids {
			side := byte(layerPackets[rid])
			ids := st.pictures[rid]
			body := append([]byte{0x90, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x9d, 0x01, 0x2a, side, 0, side, 0}, make([]byte, 300)...)
			for range layerPackets[rid] {
				binary.BigEndian.PutUint16(body[2:], ids.picture|wideID)
				body[4] = ids.base
				st.one(rid, body)
				body[6] = 1 // no more a key frame
				ids.picture = (ids.picture + 1) &^ wideID
				ids.base++
			}
		}
	})
}

func (st *studio) one(rid string, body []byte) {
	st.s.t.Helper()
	h := st.numbers[rid]
	h.SequenceNumber++
	h.Timestamp += 900
	if !st.sends(*h, body) {
		st.s.t.Fatalf("a packet of layer %q is refused", rid)
	}
	for _, v := range st.spectators {
		v.sees()
	}
}

// spectator is a subscriber of a studio.
type spectator struct {
	st           *studio
	leg          *leg
	sink         *net.UDPConn
	client       *srtp.Context
	voice, image *outlet
	lost         float64
	repairs      uint64 // packets that were sent again; no other spectator may ask for any
	repaired     uint64 // their bytes
	read         [video + 1]uint64
	last         [video + 1]*rtp.Header
	ids          pictureIDs // of the last picture
	reports      int        // packets of RTCP
}

func (st *studio) spectator(limit uint64) *spectator {
	s := st.s
	v := &spectator{st: st, leg: s.idle(core.UserID(fmt.Sprint(s.n)), "ann"), sink: s.sink(), repairs: s.plane.Stats().Retransmitted}
	v.voice, v.image = v.leg.outlet(audio), v.leg.outlet(video)
	v.voice.agree(codecs{opus: {payload: 111}}, nil)
	v.image.agree(codecs{vp8: {payload: 96, repair: 97, nack: true}}, nil)
	v.image.lane.limit(v.image, &section{limit: limit})
	keys, client := agreed(s.t)
	v.client = client
	v.leg.link.keys.Store(keys)
	v.leg.link.route.Store(&path{host: s.plane.port.hosts[0], to: netip.MustParseAddrPort(v.sink.LocalAddr().String())})
	v.leg.attach()
	st.spectators = append(st.spectators, v)
	return v
}

// says sends a report of the spectator's.
func (v *spectator) says(p ...rtcp.Packet) {
	v.st.s.t.Helper()
	plain, err := rtcp.Marshal(p)
	if err != nil {
		v.st.s.t.Fatal(err)
	}
	sealed, err := v.client.EncryptRTCP(nil, plain, nil)
	if err != nil {
		v.st.s.t.Fatal(err)
	}
	v.st.w.now = v.st.clock
	v.st.w.media(v.leg.link, sealed)
	v.st.w.flush()
}

// loses reports that a share of the picture did not come.
func (v *spectator) loses(share float64, packets uint64) {
	v.lost += share * float64(packets)
	v.says(&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{
		SSRC: v.image.ssrc, LastSequenceNumber: uint32(v.image.numbers.high), TotalLost: uint32(v.lost), FractionLost: uint8(min(255, share*256)),
	}}})
}

// sees reads what has come, and checks that voice and picture each are one stream.
func (v *spectator) sees() {
	t := v.st.s.t
	t.Helper()
	want := [...]uint64{audio: v.voice.packets.Load(), video: v.image.packets.Load()}
	again := v.st.s.plane.Stats().Retransmitted
	if err := v.sink.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, maxPacket); v.read[audio] < want[audio] || v.read[video] < want[video] || v.repairs < again; {
		n, err := v.sink.Read(b)
		if err != nil {
			t.Fatalf("%v packets came, want %v: %v", v.read, want, err)
		}
		if !isRTP(b[:n]) {
			v.reports++
			continue
		}
		h := &rtp.Header{}
		plain, err := v.client.DecryptRTP(nil, b[:n], h)
		if err != nil {
			t.Fatal(err)
		}
		k := audio
		switch h.SSRC {
		case v.image.repairSSRC:
			v.repairs++
			v.repaired += uint64(n)
			continue
		case v.image.ssrc:
			k = video
		}
		if last := v.last[k]; last != nil && (h.SequenceNumber != last.SequenceNumber+1 || int32(h.Timestamp-last.Timestamp) <= 0) {
			t.Fatalf("%v: %v after %v", k, h, last)
		}
		if k == video {
			v.looks(plain[12:])
		}
		v.last[k] = h
		v.read[k]++
	}
}

// looks checks that a picture is one that a decoder expects.
func (v *spectator) looks(payload []byte) {
	t := v.st.s.t
	t.Helper()
	if key, _ := vp8Keyframe(payload); v.last[video] == nil && !key {
		t.Fatal("the picture does not begin with a key frame")
	}
	ids := vp8.pictureIDs(payload)
	if want := v.ids.plus(pictureShift{1, 1}); v.last[video] != nil && (ids.picture != want.picture || ids.base != want.base) {
		t.Fatalf("picture %+v follows %+v", ids, v.ids)
	}
	v.ids = ids
}

// gets is the layer that is sent to the spectator; "" when none may be.
func (v *spectator) gets() string {
	v.image.lane.mu.Lock()
	defer v.image.lane.mu.Unlock()
	if v.image.target == nil {
		return ""
	}
	return v.image.numbers.source.layer
}

// TestLayers has spectators of a picture in layers: who wishes for less gets less,
// and when a layer stops whoever had it gets another.
func TestLayers(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	st.second("q", "h", "f")
	thrifty, middling, lavish := st.spectator(30e3), st.spectator(90e3), st.spectator(0)
	check := func(what string, want ...string) {
		t.Helper()
		for i, v := range []*spectator{thrifty, middling, lavish} {
			if got := v.gets(); got != want[i] {
				t.Errorf("%s: spectator %d gets %q, want %q", what, i, got, want[i])
			}
		}
	}
	st.second("q", "h", "f")
	st.second("q", "h", "f")
	check("all layers", "q", "h", "f")
	for range 4 {
		st.second("q", "h")
	}
	check("the largest has stopped", "q", "h", "h")
	for range 4 {
		st.second("h")
	}
	check("the smallest has stopped, too", "h", "h", "h")
	for range 4 {
		st.second("q", "h", "f")
	}
	check("all are there again", "q", "h", "f")
}

// TestEstimates has a spectator say what its link bears.
func TestEstimates(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	st.second("q", "h", "f")
	v := st.spectator(0)
	for _, test := range []struct {
		estimate float32
		seconds  int
		want     string
	}{{5e6, 5, "f"}, {100e3, 5, "h"}, {40e3, 5, "q"}, {1, 28, "q"}, {5e6, 60, "f"}, {1e30, 5, "f"}} {
		for range test.seconds {
			v.says(&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: test.estimate, SSRCs: []uint32{v.image.ssrc}})
			v.loses(0, 0)
			st.second("q", "h", "f")
		}
		if got := v.gets(); got != test.want {
			t.Errorf("%v bit/s: layer %q, want %q", test.estimate, got, test.want)
		}
	}
}

// TestHopelessLink loses most of what it is sent: it goes down to the smallest layer,
// then loses the picture, and keeps the voice; when it is better all comes back.
func TestHopelessLink(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	st.second("q", "h", "f")
	v, other := st.spectator(0), st.spectator(0)
	var seen []string
	run := func(seconds int, share float64) {
		for range seconds {
			before := [...]uint64{v.voice.packets.Load(), v.image.packets.Load()}
			st.second("q", "h", "f")
			v.loses(share, v.image.packets.Load()-before[1])
			if v.voice.packets.Load() != before[0]+10 {
				t.Fatal("the voice is not whole")
			}
			if now := v.gets(); len(seen) == 0 || seen[len(seen)-1] != now {
				seen = append(seen, now)
			}
		}
	}
	run(5, 0)
	run(20, 0.6)
	if got := v.gets(); got != "" || !v.image.paused {
		t.Fatalf("a hopeless link gets %q; it had %q", got, seen)
	}
	run(120, 0)
	if want := []string{"f", "h", "q", "", "q", "h", "f"}; !slices.Equal(slices.Compact(seen), want) {
		t.Errorf("layers %q, want %q", seen, want)
	}
	if got := other.gets(); got != "f" || other.image.paused {
		t.Errorf("who has a good link gets %q", got)
	}
	if n := st.s.plane.Stats().Paused; n != 1 {
		t.Errorf("%d pauses counted", n)
	}
}

// TestPausedThenReplaced has the publisher replaced while a link is too thin for its
// picture: the picture of the new one comes when it may.
func TestPausedThenReplaced(t *testing.T) {
	st := newStudio(newStage(t, core.MediaOptions{}))
	st.second("q")
	v := st.spectator(0)
	for i := 0; !v.image.paused; i++ {
		if i > 20 {
			t.Fatal("never paused")
		}
		st.second("q")
		v.loses(0.9, uint64(layerPackets["q"]*4))
	}
	old := st.up
	st.up = st.s.idle("ann", "ann")
	<-old.ended
	keys, client := agreed(t)
	st.client = client
	st.up.link.keys.Store(keys)
	st.s.plane.unwatch(st.up)
	st.publish()
	for range 10 {
		st.second("q")
	}
	if got := v.gets(); got != "q" {
		t.Errorf("the picture of the new publisher does not come: layer %q, paused %v", got, v.image.paused)
	}
}
