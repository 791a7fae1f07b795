package bench

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"
)

var (
	errFingerprint = errors.New("the gateway's certificate is not the one of its SDP")
	errNoProfile   = errors.New("no SRTP profile was agreed on")
)

// profiles are what DTLS may agree on, as peers have it (see settings).
var profiles = map[dtls.SRTPProtectionProfile]srtp.ProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM:       srtp.ProtectionProfileAeadAes128Gcm,
	dtls.SRTP_AES128_CM_HMAC_SHA1_80: srtp.ProtectionProfileAes128CmHmacSha1_80,
}

// pipe is what DTLS reads from and writes to.
type pipe struct {
	*packetio.Buffer // what the socket's reader found
	socket           *socket
	to               net.Addr
}

// ReadFrom implements [net.PacketConn].
func (p pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.to, err
}

// WriteTo implements [net.PacketConn].
func (p pipe) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), p.socket.write(b) }

// LocalAddr implements [net.PacketConn].
func (p pipe) LocalAddr() net.Addr { return p.to }

// SetDeadline implements [net.PacketConn].
func (p pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetWriteDeadline implements [net.PacketConn]: writes never wait.
func (p pipe) SetWriteDeadline(time.Time) error { return nil }

// handshake agrees on the keys.
func (r *receiver) handshake(ctx context.Context, to net.Addr) error {
	options := []dtls.Option{
		dtls.WithCertificates(r.rig.certificate),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithInsecureSkipVerify(true), // certificates are known by their fingerprints
		dtls.WithVerifyPeerCertificate(r.verify),
		dtls.WithFlightInterval(100 * time.Millisecond),
		dtls.WithLoggerFactory(r.rig.loggers),
	}
	conn, isClient := pipe{r.hello, r.socket, to}, r.remote.setup != "active"
	var err error
	if isClient {
		var all []dtls.ClientOption
		for _, o := range options {
			all = append(all, o)
		}
		r.dtls, err = dtls.ClientWithOptions(conn, to, all...)
	} else {
		all := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(true)}
		for _, o := range options {
			all = append(all, o)
		}
		r.dtls, err = dtls.ServerWithOptions(conn, to, all...)
	}
	if err != nil {
		return err
	}
	if err := r.dtls.HandshakeContext(ctx); err != nil {
		return err
	}
	return r.takeKeys(isClient)
}

func (r *receiver) verify(certificates [][]byte, _ [][]*x509.Certificate) error {
	if len(certificates) == 0 || fingerprintOf(certificates[0]) != r.remote.fingerprint {
		return errFingerprint
	}
	return nil
}

// takeKeys makes SRTP's keys of the DTLS connection's (RFC 5764 section 4.2).
func (r *receiver) takeKeys(isClient bool) error {
	chosen, ok := r.dtls.SelectedSRTPProtectionProfile()
	profile, known := profiles[chosen]
	state, done := r.dtls.ConnectionState()
	if !ok || !known || !done {
		return errNoProfile
	}
	config := srtp.Config{Profile: profile}
	if err := config.ExtractSessionKeysFromDTLS(&state, isClient); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	in, err := srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, profile)
	if err != nil {
		return err
	}
	out, err := srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, profile)
	if err != nil {
		return err
	}
	r.out.Lock()
	r.out.keys = out
	r.out.Unlock()
	r.in.Lock()
	defer r.in.Unlock()
	r.in.keys = in
	for _, b := range r.in.early {
		r.takeMedia(b)
	}
	r.in.early = nil
	return nil
}
