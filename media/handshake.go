package media

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/transport/v4/packetio"
)

const (
	handshakeTime = 10 * time.Second
	// lastFlight is how long a connection is kept for a client that has not got our
	// last flight and repeats its own, if no media shows earlier that it has.
	lastFlight = 10 * time.Second
	// maxFlight is how many of a client's packets may wait.
	maxFlight = 32
)

var (
	errFingerprint = errors.New("the client's certificate is not the one that its SDP names")
	errProfile     = errors.New("no SRTP protection profile in common")
)

// identity is by what clients know the plane. It is made at its start.
type identity struct {
	certificate tls.Certificate
	fingerprint string // as SDP has it (RFC 8122)
}

func newIdentity() (identity, error) {
	cert, err := selfsign.GenerateSelfSigned() // ECDSA with P-256
	if err != nil {
		return identity{}, fmt.Errorf("make a DTLS certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return identity{}, fmt.Errorf("read the DTLS certificate: %w", err)
	}
	hash, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
	if err != nil {
		return identity{}, fmt.Errorf("hash the DTLS certificate: %w", err)
	}
	return identity{cert, "sha-256 " + strings.ToUpper(hash)}, nil
}

// profiles are those of SRTP, the best first: GCM costs a quarter of the time.
var profiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}

// handshake is DTLS over a link. It implements net.PacketConn for Pion: it reads
// what the client has sent and writes to wherever the client is. Once the keys are
// known nothing more is to be said over it, except to repeat our last flight.
type handshake struct {
	link   *link
	in     *packetio.Buffer
	cancel context.CancelFunc // not nil once it runs; guarded by link.mu
	mute   atomic.Bool

	conn *dtls.Conn   // owned by run until it is done
	done atomic.Int64 // when, Unix ns; 0 before
}

func newHandshake(k *link) *handshake {
	h := &handshake{link: k, in: packetio.NewBuffer()}
	h.in.SetLimitCount(maxFlight)
	return h
}

// known tells the link who the client is.
func (k *link) known(d *description) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client = d.identity()
	k.begin()
}

// dtls takes a packet of the client's.
func (k *link) dtls(b []byte) {
	if hasPlainAlert(b) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.shake == nil && k.keys.Load() != nil {
		return
	}
	if k.shake == nil {
		k.shake = newHandshake(k)
	}
	_, _ = k.shake.in.Write(b) // what is too much is lost
	k.begin()
}

// hasPlainAlert reports whether a packet holds an alert that is not encrypted (RFC
// 6347 section 4.1). Anybody who knows where the client is could have sent it, and
// end a handshake with it; a client that has given up is noticed by its silence.
func hasPlainAlert(b []byte) bool {
	const alert, header = 21, 13 // type, version, epoch, number, length
	for len(b) >= header {
		if b[0] == alert && binary.BigEndian.Uint16(b[3:]) == 0 {
			return true
		}
		b = b[min(header+int(binary.BigEndian.Uint16(b[11:])), len(b)):]
	}
	return false
}

// begin begins the handshake when its time has come: the client is known, and has
// spoken first or leaves that to us. It needs k.mu.
func (k *link) begin() {
	if k.closed || k.client == nil || k.keys.Load() != nil || k.route.Load() == nil {
		return
	}
	if k.shake == nil && !k.client.active {
		k.shake = newHandshake(k)
	}
	h := k.shake
	if h == nil || h.cancel != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	h.cancel = cancel
	d := k.client
	k.leg.start(func() { h.run(ctx, d) })
}

// run shakes hands and takes the keys.
func (h *handshake) run(ctx context.Context, d *description) {
	defer h.cancel()
	k, err := h.keys(ctx, d)
	if err != nil {
		h.drop()
		h.link.leg.fail(fmt.Errorf("%w: %w", errDTLS, err))
		return
	}
	h.link.mu.Lock()
	closed := h.link.closed
	if !closed {
		h.link.keys.Store(k)
		h.done.Store(h.link.plane.now().UnixNano())
	}
	h.link.mu.Unlock()
	if closed {
		h.drop()
		return
	}
	h.link.leg.up()
}

func (h *handshake) keys(ctx context.Context, d *description) (*keys, error) {
	common := []dtls.Option{
		dtls.WithCertificates(h.link.plane.identity.certificate),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithInsecureSkipVerify(true), // instead of a chain, the fingerprint counts
		dtls.WithVerifyPeerCertificate(d.verify),
		dtls.WithFlightInterval(100 * time.Millisecond),
		dtls.WithEllipticCurves(elliptic.X25519, elliptic.P256, elliptic.P384),
		dtls.WithLoggerFactory(h.link.plane.loggers),
	}
	conn, err := h.connect(common, d.active)
	if err != nil {
		return nil, err
	}
	h.conn = conn
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return newKeys(conn, !d.active)
}

func (h *handshake) connect(common []dtls.Option, server bool) (*dtls.Conn, error) {
	if !server {
		var options []dtls.ClientOption
		for _, o := range common {
			options = append(options, o)
		}
		return dtls.ClientWithOptions(h, h.LocalAddr(), options...)
	}
	options := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerifyHello(true), // the client's address has been proved by ICE
	}
	for _, o := range common {
		options = append(options, o)
	}
	return dtls.ServerWithOptions(h, h.LocalAddr(), options...)
}

// verify checks that a certificate is the one that the client's SDP names, by a
// hash that still means something.
func (d *description) verify(chain [][]byte, _ [][]*x509.Certificate) error {
	if len(chain) == 0 {
		return errFingerprint
	}
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("%w: %w", errFingerprint, err)
	}
	for _, f := range d.fingerprints {
		hash, err := fingerprint.HashFromString(f.algorithm)
		if err != nil || !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, hash) {
			continue
		}
		if got, err := fingerprint.Fingerprint(cert, hash); err == nil && strings.EqualFold(got, f.value) {
			return nil
		}
	}
	return errFingerprint
}

// isOver reports whether the connection is of no more use.
func (h *handshake) isOver(now time.Time) bool {
	done := h.done.Load()
	return done != 0 && now.Sub(time.Unix(0, done)) > lastFlight
}

// letGo ends a handshake that is done.
func (k *link) letGo() {
	k.mu.Lock()
	h := k.shake
	if h == nil || h.done.Load() == 0 {
		k.mu.Unlock()
		return
	}
	k.shake = nil
	k.mu.Unlock()
	h.drop()
}

// stop ends the handshake, wherever it is. It needs to be out of link.shake.
func (h *handshake) stop() {
	if h.done.Load() != 0 || h.cancel == nil {
		h.drop()
		return
	}
	h.cancel() // run does the rest
	_ = h.in.Close()
}

// drop lets go of the connection. The client hears nothing of it: to a browser the
// end of DTLS is the end of the call.
func (h *handshake) drop() {
	h.mute.Store(true)
	if h.conn != nil {
		_ = h.conn.Close()
	}
	_ = h.in.Close()
}

// ReadFrom implements net.PacketConn.
func (h *handshake) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := h.in.Read(b)
	return n, h.LocalAddr(), err
}

// WriteTo implements net.PacketConn.
func (h *handshake) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !h.mute.Load() {
		h.link.send(b)
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (h *handshake) Close() error { return h.in.Close() }

// LocalAddr implements net.PacketConn. Who the client is, the link knows.
func (h *handshake) LocalAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline implements net.PacketConn.
func (h *handshake) SetDeadline(t time.Time) error { return h.in.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (h *handshake) SetReadDeadline(t time.Time) error { return h.in.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn. No write waits.
func (h *handshake) SetWriteDeadline(time.Time) error { return nil }
