package media

import (
	"net/netip"

	"github.com/pion/rtp"
)

// message is data for one destination: a datagram, or several that the kernel is to
// cut it into.
type message struct {
	host    *host
	to      netip.AddrPort
	data    []byte
	segment uint16 // bytes of each datagram but the last; 0 when there is but one
}

func (m *message) packets() int {
	if m.segment == 0 {
		return 1
	}
	return (len(m.data) + int(m.segment) - 1) / int(m.segment)
}

const (
	arenaSize = 256 << 10
	// Of what the kernel cuts: udp(7) allows 64 datagrams, and an IP packet has
	// 64 KiB. Longer ones than maxSegment might not fit a path.
	maxSegments = 64
	maxCut      = 60 << 10
	maxSegment  = 1440

	// A packet may leave longer than it came: by a header extension, the number of a
	// repeated packet, and the tag.
	maxSealed = maxPacket + 64
)

// batch collects packets and hands them to the kernel together. It is worked on by
// one goroutine at a time. Those for one destination are to come one after the
// other: where they have the same size, they become one message.
type batch struct {
	index    int // of the sockets that it sends through
	arena    []byte
	messages []message
	vectors  *vectors
	lost     int        // packets that there was no room for, since last asked
	header   rtp.Header // scratch
}

func newBatch(index int) *batch {
	return &batch{index: index, arena: make([]byte, 0, arenaSize), messages: make([]message, 0, vectorSize), vectors: newVectors()}
}

// room gives an empty buffer for one packet, to be filled and given to add before
// the next is asked for.
func (b *batch) room() []byte {
	if cap(b.arena)-len(b.arena) < maxSealed {
		b.flush()
	}
	n := len(b.arena)
	return b.arena[n : n : n+maxSealed]
}

// add sends packet, which lies in the buffer that room gave, when the batch is
// flushed.
func (b *batch) add(p *path, packet []byte) {
	if p.stream != nil {
		if !p.stream.send(packet) {
			b.lost++
		}
		return
	}
	n := len(b.arena)
	b.arena = b.arena[:n+len(packet)]
	if b.join(p, packet) {
		return
	}
	if len(b.messages) == vectorSize {
		b.hand()
	}
	b.messages = append(b.messages, message{host: p.host, to: p.to, data: b.arena[n:]})
}

// join makes packet part of the last message, if it may be.
func (b *batch) join(p *path, packet []byte) bool {
	if len(b.messages) == 0 {
		return false
	}
	m := &b.messages[len(b.messages)-1]
	if m.host != p.host || m.to != p.to || p.host.sockets[0].cannotCut() {
		return false
	}
	segment := int(m.segment)
	if segment == 0 {
		segment = len(m.data)
	}
	if len(packet) > segment || segment > maxSegment || len(m.data)%segment != 0 ||
		len(m.data) >= maxSegments*segment || len(m.data)+len(packet) > maxCut {
		return false
	}
	m.segment = uint16(segment)
	m.data = m.data[:len(m.data)+len(packet)] // which follows it in the arena
	return true
}

// hand gives the messages to the kernel and keeps the arena.
func (b *batch) hand() {
	for from := 0; from < len(b.messages); {
		h, to := b.messages[from].host, from+1
		for to < len(b.messages) && b.messages[to].host == h {
			to++
		}
		b.lost += b.vectors.send(h.sockets[b.index%len(h.sockets)], b.messages[from:to])
		from = to
	}
	clear(b.messages)
	b.messages = b.messages[:0]
}

// flush sends what has been collected.
func (b *batch) flush() {
	if len(b.messages) > 0 {
		b.hand()
	}
	b.arena = b.arena[:0]
}
