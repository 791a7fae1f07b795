package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"
)

const (
	connectLimit = 30 * time.Second // for a receiver to be up, from the first check
	maxEarly     = 256              // packets that came before the keys are kept
)

var (
	errAnswered = errors.New("connection was answered already")
	errUnwanted = errors.New("answer to no offer")
)

// receiver is a connection that only receives, as cheap as can be: ICE, DTLS and SRTP
// are real and so is the UDP socket of its own, but few goroutines read the sockets of
// all, and nothing else runs for one that is up.
type receiver struct {
	rig        *rig
	up         upshot
	ufrag, pwd string // ours
	tiebreaker uint64
	controls   atomic.Bool // we are the ICE agent in control
	slot       int         // guarded by rig.mu
	connecting sync.WaitGroup

	// Guarded by mu; remote and socket do not change any more once connect runs.
	mu      sync.Mutex
	closed  bool
	offered bool
	remote  *description       // nil until known
	socket  *socket            // nil until dialed
	abort   context.CancelFunc // ends connect; nil until dialed

	checks checks
	hello  *packetio.Buffer // what came of DTLS
	dtls   *dtls.Conn       // owned by connect, and by close once that has ended

	in struct { // what comes
		sync.Mutex
		keys   *srtp.Context // guarded by the lock; nil until known
		early  [][]byte      // guarded by the lock: what came before
		header rtp.Header    // guarded by the lock; to parse into
	}
	out struct { // what goes
		sync.Mutex
		keys   *srtp.Context // guarded by the lock; nil until known
		buffer []byte        // guarded by the lock
	}
}

func (g *rig) receiver(up upshot) *receiver {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	return &receiver{
		rig: g, up: up, ufrag: rand.Text()[:8], pwd: rand.Text(), tiebreaker: binary.BigEndian.Uint64(seed[:]),
		hello: packetio.NewBuffer(), checks: checks{answered: make(chan struct{})},
	}
}

func (r *receiver) offer(ctx context.Context, send func(ctx context.Context, sdp string) error) error {
	r.mu.Lock()
	r.offered = true
	r.mu.Unlock()
	return send(ctx, r.describe(sections(), "actpass"))
}

func (r *receiver) answer(sdp string) error {
	d, err := parseDescription(sdp)
	if err != nil {
		return fmt.Errorf("apply answer: %w", err)
	}
	r.mu.Lock()
	offered := r.offered
	r.mu.Unlock()
	if !offered {
		return errUnwanted
	}
	r.controls.Store(true) // who offers is in control (RFC 8445 section 6.1.1)
	return r.begin(d)
}

func (r *receiver) accept(ctx context.Context, sdp string, send func(ctx context.Context, sdp string) error) error {
	d, err := parseDescription(sdp)
	if err != nil {
		return fmt.Errorf("apply offer: %w", err)
	}
	r.controls.Store(d.lite) // who is lite is not
	if err := send(ctx, r.describe(d.media, "active")); err != nil {
		return err
	}
	d.setup = "passive" // as we are active
	return r.begin(d)
}

// begin connects as soon as there is an address to connect to.
func (r *receiver) begin(d *description) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil
	case r.remote != nil:
		return errAnswered
	}
	r.remote = d
	if len(d.candidates) == 0 {
		return nil // they will be trickled
	}
	return r.dial()
}

func (r *receiver) candidate(c webrtc.ICECandidateInit) error {
	at, ok := parseCandidate(c.Candidate)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || r.closed || r.socket != nil || r.remote == nil {
		return nil
	}
	r.remote.candidates = append(r.remote.candidates, at)
	return r.dial()
}

// dial needs mu.
func (r *receiver) dial() error {
	to, err := r.rig.usable(r.remote.candidates)
	if err != nil {
		return err
	}
	if r.socket, err = r.rig.open(to, r.take); err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	at, err := r.socket.address()
	if err != nil {
		return err
	}
	ctx, abort := context.WithTimeout(context.Background(), connectLimit)
	r.abort = abort
	r.connecting.Go(func() {
		defer abort()
		r.up.found(hostCandidate(at, r.ufrag))
		if err := r.connect(ctx, to); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			r.up.failed(fmt.Errorf("%w: %w", errConnectionFailed, err))
		}
	})
	return nil
}

func hostCandidate(at netip.AddrPort, ufrag string) webrtc.ICECandidateInit {
	return webrtc.ICECandidateInit{
		Candidate: fmt.Sprintf("candidate:1 1 udp %d %s %d typ host ufrag %s", hostPriority, at.Addr(), at.Port(), ufrag),
		SDPMid:    new("0"), SDPMLineIndex: new(uint16), UsernameFragment: &ufrag,
	}
}

// connect brings the connection up.
func (r *receiver) connect(ctx context.Context, to netip.AddrPort) error {
	if err := r.reachGateway(ctx); err != nil {
		return fmt.Errorf("ICE: %w", err)
	}
	if err := r.handshake(ctx, net.UDPAddrFromAddrPort(to)); err != nil {
		return fmt.Errorf("DTLS: %w", err)
	}
	r.rig.keepUp(r)
	r.up.connected()
	return nil
}

// take sorts what the gateway sends (RFC 7983).
func (r *receiver) take(b []byte) {
	switch {
	case len(b) == 0:
	case b[0] < 4:
		r.takeSTUN(b)
	case b[0] >= 20 && b[0] < 64:
		_, _ = r.hello.Write(b) // one that there is no room for comes again
	case b[0] >= 128 && b[0] < 192:
		r.in.Lock()
		defer r.in.Unlock()
		if r.in.keys == nil {
			if len(r.in.early) < maxEarly {
				r.in.early = append(r.in.early, append([]byte(nil), b...))
			}
			return
		}
		r.takeMedia(b)
	}
}

// takeMedia needs in's lock.
func (r *receiver) takeMedia(b []byte) {
	if len(b) < 2 {
		return
	}
	if b[1] >= 192 && b[1] < 224 { // RTCP (RFC 5761 section 4)
		if r.up.control == nil {
			return
		}
		if plain, err := r.in.keys.DecryptRTCP(nil, b, nil); err == nil {
			if packets, err := rtcp.Unmarshal(plain); err == nil {
				r.up.control(packets)
			}
		}
		return
	}
	if plain, err := r.in.keys.DecryptRTP(b, b, &r.in.header); err == nil {
		r.up.packet(plain)
	}
}

func (r *receiver) control(packets ...rtcp.Packet) {
	plain, err := rtcp.Marshal(packets)
	if err != nil {
		return
	}
	r.out.Lock()
	defer r.out.Unlock()
	if r.out.keys == nil {
		return
	}
	if r.out.buffer, err = r.out.keys.EncryptRTCP(r.out.buffer[:0], plain, nil); err == nil {
		_ = r.socket.write(r.out.buffer)
	}
}

func (r *receiver) close() {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	if r.abort != nil {
		r.abort()
	}
	r.mu.Unlock()
	if closed {
		return
	}
	r.connecting.Wait()
	r.rig.letGo(r)
	if r.dtls != nil {
		_ = r.dtls.Close()
	}
	_ = r.hello.Close()
	if r.socket != nil {
		r.socket.close()
	}
}
