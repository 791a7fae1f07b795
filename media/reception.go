package media

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
)

// reception is what a publisher's connection receives: it finds out what a packet
// belongs to, and tells the publisher how it arrives.
type reception struct {
	leg  *leg
	ssrc uint32 // by which we report

	mu      sync.Mutex
	closed  bool           // guarded by mu
	takes   []part         // the sections that we receive; guarded by mu
	offers  []section      // the client's side of them; guarded by mu
	sources []*source      // by SSRC, at most maxSources; guarded by mu
	arrival *twcc.Recorder // nil unless negotiated; guarded by mu
	limit   *estimate      // nil unless negotiated, in the place of arrival; guarded by mu
	octets  int            // that have come since the last report; guarded by mu
	last    time.Time      // report; guarded by mu
	ticks   int            // guarded by mu
}

// source is one SSRC of a publisher: a track, or what repeats a track's packets
// (RFC 4588).
type source struct {
	ssrc   uint32
	track  *track
	repair bool
	numbers
	passedOn time.Time // its last report
}

// negotiated tells what is to come, and ends what no longer is. parts and sections are
// of the same index.
func (r *reception) negotiated(parts []part, sections []section) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takes, r.offers = r.takes[:0], r.offers[:0]
	for i := range parts {
		if parts[i].way != sdp.DirectionRecvOnly {
			continue
		}
		r.takes, r.offers = append(r.takes, parts[i]), append(r.offers, sections[i])
		if parts[i].counts() && r.arrival == nil {
			r.arrival = twcc.NewRecorder(r.ssrc)
		}
		if parts[i].codecs.estimates() && r.limit == nil {
			r.limit = &estimate{}
		}
	}
	r.drop(func(s *source) bool { return !slices.ContainsFunc(r.takes, s.track.isOf) })
}

// drop forgets sources, and what repeats those.
func (r *reception) drop(unwanted func(*source) bool) {
	dropped := make(map[*track]bool)
	for _, s := range r.sources {
		if !s.repair && unwanted(s) {
			dropped[s.track] = true
			s.track.close()
		}
	}
	r.sources = slices.DeleteFunc(r.sources, func(s *source) bool { return dropped[s.track] })
}

// estimates reports whether we are to tell the other side how much it may send.
func (c *codecs) estimates() bool {
	return !c.allow(func(c codec) bool { return !c.remb })
}

// counts reports whether the publisher's congestion control wants to know when each
// packet came.
func (p *part) counts() bool {
	_, ok := p.extensions[sdp.TransportCCURI]
	return ok && !p.codecs.allow(func(c codec) bool { return !c.congestion })
}

// take takes an SRTP packet. It reports false when that is not authentic, or there
// is no track that it can belong to.
func (r *reception) take(w *worker, k *keys, b []byte) bool {
	ssrc := binary.BigEndian.Uint32(b[8:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	i := slices.IndexFunc(r.sources, func(s *source) bool { return s.ssrc == ssrc })
	if i < 0 && len(r.sources) >= maxSources {
		return false
	}
	into, open := w.plain, k.open
	switch {
	case i < 0:
		open = k.openFirst
	case !r.sources[i].repair:
		into = r.sources[i].track.spare
	}
	plain, err := open(into, b, &w.header)
	if err != nil {
		return false
	}
	h := &w.header
	r.octets += len(b)
	if r.arrival != nil {
		r.record(h, w.now) // whatever it is: a sender probes with packets of nothing, too
	}
	var s *source
	if i < 0 {
		if s = r.meet(h); s == nil {
			return false
		}
		if !s.repair {
			plain = append(s.track.spare, plain...)
		}
	} else {
		s = r.sources[i]
	}
	payload, ok := unpad(plain[headerSize(plain):], h.Padding)
	switch {
	case !ok:
		return false
	case s.repair:
		return s.track.repeated(w, h, payload)
	case !s.track.carries(h.PayloadType):
		return false
	}
	s.arrived(h, s.track.lane.rate, w.now)
	return s.track.take(w, h, payload, len(b))
}

// headerSize is the size of an RTP header with its extension, which has been parsed
// before (RFC 3550 section 5.1).
func headerSize(b []byte) int {
	n := 12 + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	return n
}

// unpad takes the padding off a payload; ok is false when it makes no sense.
func unpad(payload []byte, padded bool) (_ []byte, ok bool) {
	if !padded {
		return payload, true
	}
	if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-int(payload[len(payload)-1])], true
}

// meet makes a source of an SSRC not heard of before; nil when the packet does not
// tell what it is.
func (r *reception) meet(h *rtp.Header) *source {
	i := r.section(h)
	if i < 0 {
		return nil
	}
	p := &r.takes[i]
	f, repair := p.codecs.find(h.PayloadType)
	if f == noFormat {
		return nil
	}
	layer := ""
	if len(p.layers) > 0 {
		uri := sdp.SDESRTPStreamIDURI
		if repair {
			uri = sdesRepairedRID
		}
		layer = string(h.GetExtension(p.extensions[uri]))
		if !slices.Contains(p.layers, layer) {
			return nil
		}
	}
	t := r.track(p.kind, layer)
	switch {
	case repair && t == nil:
		return nil // there is nothing that it could repeat
	case !repair:
		if t = newTrack(r.leg, p, layer, h.SSRC); !t.lane.publish(t) {
			t.lane = r.leg.feed.nowhere(p.kind)
		}
	}
	if repair { // one is enough
		r.sources = slices.DeleteFunc(r.sources, func(s *source) bool { return s.repair && s.track == t })
	}
	s := &source{ssrc: h.SSRC, track: t, repair: repair}
	r.sources = append(r.sources, s)
	return s
}

// section finds the section that a packet belongs to (RFC 9143 section 9.2): by the
// mid that it names, else by its SSRC, or a payload type that only one section has.
func (r *reception) section(h *rtp.Header) int {
	named := false
	for i := range r.takes {
		if id, ok := r.takes[i].extensions[sdp.SDESMidURI]; ok {
			mid := h.GetExtension(id)
			if len(mid) > 0 && string(mid) == r.takes[i].mid {
				return i
			}
			named = named || len(mid) > 0
		}
	}
	if named {
		return -1
	}
	for i := range r.offers {
		if slices.Contains(r.offers[i].streams, h.SSRC) {
			return i
		}
	}
	found := -1
	for i := range r.takes {
		if f, _ := r.takes[i].codecs.find(h.PayloadType); f != noFormat {
			if found >= 0 {
				return -1
			}
			found = i
		}
	}
	return found
}

// track gives the track of a kind and layer that came last.
func (r *reception) track(k kind, layer string) *track {
	for _, s := range slices.Backward(r.sources) {
		if !s.repair && s.track.kind == k && s.track.layer == layer {
			return s.track
		}
	}
	return nil
}

// record notes when a packet came, for the publisher's congestion control (transport-wide
// congestion control, draft-holmer-rmcat-transport-wide-cc-extensions-01).
func (r *reception) record(h *rtp.Header, now time.Time) {
	for i := range r.takes {
		id, ok := r.takes[i].extensions[sdp.TransportCCURI]
		if !ok {
			continue
		}
		if x := h.GetExtension(id); len(x) >= 2 {
			r.arrival.Record(h.SSRC, binary.BigEndian.Uint16(x), now.UnixMicro())
			return
		}
	}
}

// Reports are sent every few ticks of the plane.
const (
	tick            = 50 * time.Millisecond
	ticksFeedback   = 2  // to one of congestion control
	ticksReport     = 20 // to one of loss and jitter
	sourcesInReport = 31 // RFC 3550 section 6.4.1
)

// tick asks again for what is missing, and reports when it is time to.
func (r *reception) tick(now time.Time) {
	r.mu.Lock()
	var out []rtcp.Packet
	r.ticks++
	if r.arrival != nil && r.ticks%ticksFeedback == 0 {
		out = r.arrival.BuildFeedbackPacket()
	}
	report := rtcp.ReceiverReport{SSRC: r.ssrc}
	for _, s := range r.sources {
		if s.repair {
			continue
		}
		if n := s.track.missing.ask(now); len(n) > 0 {
			out = append(out, s.track.nack(n))
		}
		if r.ticks%ticksReport == 0 {
			s.track.measure(now)
			if len(report.Reports) < sourcesInReport {
				report.Reports = append(report.Reports, s.reception(s.ssrc, now))
				r.leg.room.plane.stats.observe(uplink, &report.Reports[len(report.Reports)-1], s.track.lane.rate)
			}
		}
	}
	if r.ticks%ticksReport == 0 {
		r.drop(func(s *source) bool { return s.track.isOver() })
		if r.limit != nil {
			out = append(out, r.estimated(report.Reports, now))
		}
		r.octets, r.last = 0, now
	}
	r.mu.Unlock()
	if len(report.Reports) > 0 {
		out = append([]rtcp.Packet{&report}, out...)
	}
	r.leg.link.sendReports(out...)
}

// estimated tells the publisher what it may send, after the reports of a second. It
// needs r.mu.
func (r *reception) estimated(reports []rtcp.ReceptionReport, now time.Time) rtcp.Packet {
	loss := 0.0
	for i := range reports {
		loss = max(loss, float64(reports[i].FractionLost)/256)
	}
	came := 0
	if !r.last.IsZero() && now.After(r.last) {
		came = int(float64(r.octets) * 8 / now.Sub(r.last).Seconds())
	}
	r.limit.judge(loss, came)
	return r.limit.packet(r.ssrc, r.sources)
}

// reportGap is how long subscribers are told nothing after a publisher's report: each is
// encrypted for each of them, and one packet can hold dozens. Browsers send one a second.
const reportGap = 200 * time.Millisecond

// told takes the publisher's own reports.
func (r *reception) told(w *worker, packets []rtcp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range packets {
		sr, ok := p.(*rtcp.SenderReport)
		if !ok {
			continue
		}
		for _, s := range r.sources {
			if s.ssrc == sr.SSRC && !s.repair {
				s.reported(sr, w.now)
				if w.now.Sub(s.passedOn) >= reportGap {
					s.passedOn = w.now
					s.track.lane.report(w, s.track, sr)
				}
			}
		}
	}
}

// close retires the tracks.
func (r *reception) close() {
	r.mu.Lock()
	r.closed = true
	sources := r.sources
	r.sources = nil
	r.mu.Unlock()
	for _, s := range sources {
		if !s.repair {
			s.track.close()
		}
	}
}
