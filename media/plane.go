package media

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"confgate/core"
)

// Config is what a plane needs to know.
type Config struct {
	// Port is the UDP port of all media, and the TCP port of the fallback. 0 takes
	// any that is free.
	Port int
	// IPs are the addresses at which clients reach the port, as they are to stand
	// in ICE candidates.
	IPs []netip.Addr
	// TCP adds ICE-TCP (RFC 6544) for clients whose UDP is blocked.
	TCP bool
	// Log gets what an operator should see; nil drops it.
	Log *slog.Logger
	// Patience is how long a client may take to connect, or to answer an offer;
	// 0 is 30 s.
	Patience time.Duration
}

var errClosed = errors.New("media plane is closed")

// Plane implements [core.Plane] with one port and one certificate for all.
type Plane struct {
	log        *slog.Logger
	loggers    logs
	patience   time.Duration
	identity   identity
	port       *port
	candidates []string // lines of our candidates
	links      *links
	farewells  farewells
	streams    *streams
	readers    sync.WaitGroup // of the port, and the one that ticks
	born       time.Time
	done       chan struct{}
	shut       sync.Once
	legs       sync.WaitGroup
	stats      counters
	batches    sync.Pool // of *batch, for who sends now and then

	mu         sync.Mutex
	closed     bool                    // guarded by mu
	rooms      map[*room]struct{}      // guarded by mu
	receptions map[*reception]struct{} // guarded by mu
}

// New opens the sockets and makes a plane.
func New(c Config) (*Plane, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.IPs = distinct(c.IPs)
	who, err := newIdentity()
	if err != nil {
		return nil, err
	}
	port, err := openPort(c, socketsPerHost())
	if err != nil {
		return nil, err
	}
	p := &Plane{
		log: c.Log, loggers: logs{c.Log}, patience: c.Patience, identity: who, port: port,
		candidates: candidateLines(c.IPs, port.number, c.TCP), links: newLinks(), born: time.Now(), done: make(chan struct{}), streams: newStreams(),
		rooms: make(map[*room]struct{}), receptions: make(map[*reception]struct{}),
	}
	p.listen()
	return p, nil
}

// listen starts the goroutines that the plane has while it is open: a few, however
// many legs there are.
func (p *Plane) listen() {
	for i, h := range p.port.hosts {
		for j := range h.sockets {
			p.readers.Go(func() { p.read(h, j) })
		}
		if i < len(p.port.listeners) {
			p.readers.Go(func() { p.accept(p.port.listeners[i], h) })
		}
	}
	p.readers.Go(p.tick)
}

// now is the time by which the plane goes. It is that of the wall when the plane was
// made, and has passed evenly since: what is set right about the clock of the
// machine changes nothing for a call.
func (p *Plane) now() time.Time { return p.born.Add(time.Since(p.born)) }

// ticksCheck is how many ticks go by between two looks for clients that are gone.
const ticksCheck = 20

// tick does what time asks for, for all legs: none has a timer of its own.
func (p *Plane) tick() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var (
		receptions []*reception
		all        []*link
	)
	for n := 1; ; n++ {
		select {
		case <-p.done:
			return
		case <-ticker.C:
		}
		now := p.now()
		receptions = p.watched(receptions[:0])
		for _, r := range receptions {
			r.tick(now)
		}
		if n%ticksCheck != 0 {
			continue
		}
		all = p.links.all(all[:0])
		for _, k := range all {
			k.look(now)
		}
		clear(all)
		p.farewells.forget(now)
	}
}

func (p *Plane) batch() *batch {
	if b, ok := p.batches.Get().(*batch); ok {
		return b
	}
	return newBatch(0)
}

func (p *Plane) watch(l *leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receptions[l.reception] = struct{}{}
}

func (p *Plane) unwatch(l *leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.receptions, l.reception)
}

func (p *Plane) watched(into []*reception) []*reception {
	clear(into[:cap(into)])
	p.mu.Lock()
	defer p.mu.Unlock()
	for r := range p.receptions {
		into = append(into, r)
	}
	return into
}

func (c Config) check() error {
	if len(c.IPs) == 0 {
		return errors.New("media needs an address to put into candidates")
	}
	for _, ip := range c.IPs {
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%v cannot be reached by clients", ip)
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("%d is not a port", c.Port)
	}
	return nil
}

func distinct(ips []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	return out
}

// Port is the port that media goes through.
func (p *Plane) Port() int { return p.port.number }

// Open implements [core.Plane].
func (p *Plane) Open(id core.RoomID, o core.MediaOptions, tell func(core.MediaEvent)) core.Media {
	r := &room{
		plane: p, log: p.log.With("room", id), options: o, menu: newMenu(o), common: everything, tell: tell,
		legs: make(map[name]*leg), feeds: make(map[core.Stream]*feed),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		r.closed = true
	} else {
		p.rooms[r] = struct{}{}
	}
	return r
}

// forget is told by a room that has closed.
func (p *Plane) forget(r *room) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rooms, r)
}

// Close ends all legs of all rooms, waits until they are gone, and closes the
// sockets. Rooms opened later refuse all work.
func (p *Plane) Close() (err error) {
	p.mu.Lock()
	p.closed = true
	rooms := p.rooms
	p.rooms = make(map[*room]struct{})
	p.mu.Unlock()
	for r := range rooms {
		r.Close()
	}
	p.legs.Wait()
	p.shut.Do(func() {
		close(p.done)
		if err = p.port.close(); err != nil {
			err = fmt.Errorf("close the media port: %w", err)
		}
		p.streams.close()
	})
	p.readers.Wait()
	return err
}
