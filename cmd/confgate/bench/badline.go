package bench

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// weather is what a bad line does to datagrams, each way: shares of them, and times.
type weather struct {
	loss, twice, corrupt float64
	delay, jitter        time.Duration
}

// badLine is a UDP proxy that stands between clients and the gateway. What it does to
// each datagram is drawn from a seed. Whom it answers, it knows by where they come from.
type badLine struct {
	weather weather
	to      *net.UDPAddr
	near    *net.UDPConn
	fates   *fates
	stop    chan struct{}
	woken   chan struct{} // there is something sooner to send
	running sync.WaitGroup

	mu    sync.Mutex
	rng   *rand.Rand                      // guarded by mu
	queue queue                           // guarded by mu
	out   map[netip.AddrPort]*net.UDPConn // guarded by mu; the gateway's side, by client
	last  map[*net.UDPConn]time.Time      // guarded by mu: when the latest was due, on each way
}

// fates counts what became of datagrams.
type fates struct{ passed, lost, twice, corrupted, overtaken atomic.Uint64 }

// Bounds on what a bad line holds.
const (
	maxQueued  = 1 << 14 // datagrams
	maxSources = 256
	datagram   = 1 << 11 // bytes
)

// newBadLine opens a line to the gateway's media port on this machine.
func newBadLine(media uint16, w weather, seed uint64, f *fates) (*badLine, error) {
	near, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if err := near.SetReadBuffer(receiveBuffer); err != nil {
		return nil, errors.Join(err, near.Close())
	}
	b := &badLine{
		weather: w, to: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(media)}, near: near, fates: f,
		stop: make(chan struct{}), woken: make(chan struct{}, 1), rng: seeded(seed),
		out: make(map[netip.AddrPort]*net.UDPConn), last: make(map[*net.UDPConn]time.Time),
	}
	b.running.Go(b.listen)
	b.running.Go(b.deliver)
	return b, nil
}

func (b *badLine) port() uint16 {
	return b.near.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// close ends the line, with what is on it.
func (b *badLine) close() {
	close(b.stop)
	_ = b.near.Close()
	b.mu.Lock()
	for _, out := range b.out {
		_ = out.Close()
	}
	b.out = nil
	b.mu.Unlock()
	b.running.Wait()
}

// listen takes what clients send.
func (b *badLine) listen() {
	buffer := make([]byte, datagram)
	for {
		n, from, err := b.near.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // what ICMP says of who is gone
		}
		if out := b.towards(from); out != nil {
			b.draw(parcel{from: out, send: func(p []byte) { _, _ = out.Write(p) }}, buffer[:n])
		}
	}
}

// towards gives the socket that stands for a client on the gateway's side; nil when
// there is none to be had.
func (b *badLine) towards(client netip.AddrPort) *net.UDPConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if out := b.out[client]; out != nil || b.out == nil || len(b.out) >= maxSources {
		return out
	}
	out, err := net.DialUDP("udp4", nil, b.to)
	if err != nil {
		return nil
	}
	_ = out.SetReadBuffer(receiveBuffer) // a smaller one loses more, which is what this is for
	b.out[client] = out
	b.running.Go(func() {
		buffer := make([]byte, datagram)
		for {
			n, err := out.Read(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				b.draw(parcel{from: b.near, send: func(p []byte) { _, _ = b.near.WriteToUDPAddrPort(p, client) }}, buffer[:n])
			}
		}
	})
	return out
}

// draw decides what becomes of a datagram.
func (b *badLine) draw(p parcel, datagram []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.weather
	if b.rng.Float64() < w.loss || len(b.queue) >= maxQueued {
		b.fates.lost.Add(1)
		return
	}
	copies := 1
	if b.rng.Float64() < w.twice {
		copies = 2
		b.fates.twice.Add(1)
	}
	for range copies {
		one := p
		one.bytes = append([]byte(nil), datagram...)
		if b.rng.Float64() < w.corrupt && len(datagram) > 0 {
			one.bytes[b.rng.IntN(len(datagram))] ^= 1 << b.rng.IntN(8)
			b.fates.corrupted.Add(1)
		}
		one.due = time.Now().Add(w.delay + time.Duration(b.rng.Float64()*float64(w.jitter)))
		if one.due.Before(b.last[p.from]) {
			b.fates.overtaken.Add(1)
		} else {
			b.last[p.from] = one.due
		}
		heap.Push(&b.queue, one)
	}
	select {
	case b.woken <- struct{}{}:
	default:
	}
}

// deliver sends what is due.
func (b *badLine) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-b.woken:
		case <-timer.C:
		}
		for {
			p, wait := b.due(time.Now())
			if wait > 0 {
				timer.Reset(wait)
				break
			}
			b.fates.passed.Add(1)
			p.send(p.bytes)
		}
	}
}

// due takes the next datagram off the line, or tells how long it takes.
func (b *badLine) due(now time.Time) (parcel, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return parcel{}, time.Hour
	}
	if wait := b.queue[0].due.Sub(now); wait > 0 {
		return parcel{}, wait
	}
	return heap.Pop(&b.queue).(parcel), 0
}

// parcel is a datagram on its way.
type parcel struct {
	due   time.Time
	bytes []byte
	from  *net.UDPConn // which way it goes
	send  func([]byte)
}

// queue is a heap of parcels, the one due first at the top.
type queue []parcel

// Len implements [heap.Interface].
func (q *queue) Len() int { return len(*q) }

// Less implements [heap.Interface].
func (q *queue) Less(i, j int) bool { return (*q)[i].due.Before((*q)[j].due) }

// Swap implements [heap.Interface].
func (q *queue) Swap(i, j int) { (*q)[i], (*q)[j] = (*q)[j], (*q)[i] }

// Push implements [heap.Interface].
func (q *queue) Push(x any) { *q = append(*q, x.(parcel)) }

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	(*q)[last] = parcel{}
	*q = (*q)[:last]
	return p
}
