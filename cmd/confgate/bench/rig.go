package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/logging"
)

const (
	maxReaders = 4
	// Chromium checks a connection that is stable every 2.5 s.
	checkEvery = 2500 * time.Millisecond
	checkSlots = 50 // the checks of all receivers are spread over so many moments
)

// rig is what receivers share: a certificate, those who read their sockets, and one
// who keeps their connections up.
type rig struct {
	certificate tls.Certificate
	fingerprint string // of the certificate: SHA-256 in lower-case hexadecimal, with colons
	loggers     logging.LoggerFactory
	reach       reach
	readers     []*reader
	stop        chan struct{}
	running     sync.WaitGroup

	mu    sync.Mutex
	next  int                                // guarded by mu: the reader whose turn it is
	slots [checkSlots]map[*receiver]struct{} // guarded by mu: those that are up
	least int                                // guarded by mu: the slot to fill
}

func newRig(within reach) (*rig, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	certificate, err := selfsign.SelfSign(key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	g := &rig{
		certificate: certificate, fingerprint: fingerprintOf(certificate.Certificate[0]), reach: within,
		loggers: &logging.DefaultLoggerFactory{Writer: io.Discard}, stop: make(chan struct{}),
	}
	for i := range g.slots {
		g.slots[i] = make(map[*receiver]struct{})
	}
	for range min(runtime.GOMAXPROCS(0), maxReaders) {
		r, err := newReader()
		if err != nil {
			g.close()
			return nil, fmt.Errorf("read sockets: %w", err)
		}
		g.readers = append(g.readers, r)
	}
	g.running.Go(g.keep)
	return g, nil
}

func fingerprintOf(certificate []byte) string {
	sum := sha256.Sum256(certificate)
	var parts []string
	for _, b := range sum {
		parts = append(parts, hex.EncodeToString([]byte{b}))
	}
	return strings.Join(parts, ":")
}

// close ends the rig, whose receivers are closed already.
func (g *rig) close() {
	close(g.stop)
	g.running.Wait()
	for _, r := range g.readers {
		r.close()
	}
}

// open makes a socket for a receiver.
func (g *rig) open(to netip.AddrPort, take func([]byte)) (*socket, error) {
	g.mu.Lock()
	reader := g.readers[g.next%len(g.readers)]
	g.next++
	g.mu.Unlock()
	return reader.open(to, take)
}

// usable picks where to send of a gateway's candidates.
func (g *rig) usable(candidates []netip.AddrPort) (netip.AddrPort, error) {
	i := slices.IndexFunc(candidates, func(at netip.AddrPort) bool { return g.reach == anywhere || at.Addr().IsLoopback() })
	if i < 0 {
		return netip.AddrPort{}, errNoWay
	}
	return candidates[i], nil
}

var errNoWay = errors.New("the gateway names no UDP address that may be used")

// keep checks the receivers that are up.
func (g *rig) keep() {
	tick := time.NewTicker(checkEvery / checkSlots)
	defer tick.Stop()
	var due []*receiver
	for slot := 0; ; slot = (slot + 1) % checkSlots {
		select {
		case <-g.stop:
			return
		case <-tick.C:
		}
		g.mu.Lock()
		due = due[:0]
		for r := range g.slots[slot] {
			due = append(due, r)
		}
		g.mu.Unlock()
		for _, r := range due {
			r.consent()
		}
	}
}

// keepUp has a receiver checked from now on, until it is let go.
func (g *rig) keepUp(r *receiver) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.slot = g.least
	g.slots[r.slot][r] = struct{}{}
	g.least = (g.least + 1) % checkSlots
}

func (g *rig) letGo(r *receiver) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.slots[r.slot], r)
}
