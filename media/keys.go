package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// replayWindow is how far back of the latest a packet may be: as far as one may be
// asked for that is sent again as it was.
const replayWindow = 512

const (
	// maxSources is how many SSRCs of a client are listened to at a time.
	maxSources = 16
	// maxIdentities is how many there may be in the life of a connection, of media
	// and of reports each: SRTP keeps what it needs to know a replay by for all of them.
	maxIdentities = 1024
)

var (
	errShort   = errors.New("packet is too short")
	errSources = errors.New("client sends with too many SSRCs")
)

// keys encrypt what goes to a client and decrypt what comes from it.
type keys struct {
	in struct {
		mu      sync.Mutex
		context *srtp.Context // guarded by mu
		media   identities    // that have sent RTP; guarded by mu
		reports identities    // that have sent RTCP; guarded by mu
	}
	out struct {
		mu      sync.Mutex
		context *srtp.Context // guarded by mu
	}
}

// newKeys takes the keys from a handshake (RFC 5764 section 4.2). weAreClient is our
// role in it.
func newKeys(conn *dtls.Conn, weAreClient bool) (*keys, error) {
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, errProfile
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, errProfile
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := c.ExtractSessionKeysFromDTLS(&state, weAreClient); err != nil {
		return nil, fmt.Errorf("take SRTP keys: %w", err)
	}
	var (
		k   = &keys{}
		err error
	)
	k.in.context, err = srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(64))
	if err != nil {
		return nil, fmt.Errorf("use the client's SRTP keys: %w", err)
	}
	k.out.context, err = srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile)
	if err != nil {
		return nil, fmt.Errorf("use our SRTP keys: %w", err)
	}
	return k, nil
}

// seal encrypts an RTP packet in its own buffer, which has room for the tag. h is
// scratch.
func (k *keys) seal(packet []byte, h *rtp.Header) ([]byte, error) {
	k.out.mu.Lock()
	defer k.out.mu.Unlock()
	return k.out.context.EncryptRTP(packet, packet, h)
}

// identities are SSRCs of packets that were authentic.
type identities []uint32

// admits reports whether a packet of ssrc may be looked at.
func (all *identities) admits(ssrc uint32) bool {
	return len(*all) < maxIdentities || slices.Contains(*all, ssrc)
}

func (all *identities) add(ssrc uint32) {
	if !slices.Contains(*all, ssrc) {
		*all = append(*all, ssrc)
	}
}

// openFirst is open for a packet of a source that is not known, or no more.
func (k *keys) openFirst(dst, packet []byte, h *rtp.Header) ([]byte, error) {
	ssrc := binary.BigEndian.Uint32(packet[8:])
	k.in.mu.Lock()
	defer k.in.mu.Unlock()
	if !k.in.media.admits(ssrc) {
		return nil, errSources
	}
	out, err := k.in.context.DecryptRTP(dst, packet, h)
	if err == nil {
		k.in.media.add(ssrc)
	}
	return out, err
}

// open decrypts an RTP packet into dst and its header into h.
func (k *keys) open(dst, packet []byte, h *rtp.Header) ([]byte, error) {
	k.in.mu.Lock()
	defer k.in.mu.Unlock()
	return k.in.context.DecryptRTP(dst, packet, h)
}

// sealReport encrypts RTCP.
func (k *keys) sealReport(packet []byte) ([]byte, error) {
	k.out.mu.Lock()
	defer k.out.mu.Unlock()
	return k.out.context.EncryptRTCP(nil, packet, nil)
}

// openReport decrypts RTCP into dst.
func (k *keys) openReport(dst, packet []byte) ([]byte, error) {
	if len(packet) < 8 {
		return nil, errShort
	}
	ssrc := binary.BigEndian.Uint32(packet[4:])
	k.in.mu.Lock()
	defer k.in.mu.Unlock()
	if !k.in.reports.admits(ssrc) {
		return nil, errSources
	}
	out, err := k.in.context.DecryptRTCP(dst, packet, nil)
	if err == nil {
		k.in.reports.add(ssrc)
	}
	return out, err
}
