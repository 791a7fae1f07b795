package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pion/stun/v4"
)

// Times of a probe.
const (
	probePatience = 5 * time.Second
	probeAgain    = time.Second
)

// Probe asks the server at a turn: or turns: URL for an allocation, without a
// credential: any answer shows that it lives. It gives up after five seconds.
func Probe(ctx context.Context, at string) error {
	uri, err := stun.ParseURI(at)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	network := "udp"
	if uri.Proto == stun.ProtoTypeTCP {
		network = "tcp"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	if uri.Scheme == stun.SchemeTypeTURNS {
		conn = tls.Client(conn, &tls.Config{ServerName: uri.Host, MinVersion: tls.VersionTLS12})
	}
	unblock := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(0, 0)) })
	defer unblock()
	if err := ask(ctx, conn); err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return nil
}

// ask waits for a STUN message in answer to one, which over UDP may have to be sent
// again.
func ask(ctx context.Context, conn net.Conn) error {
	request, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest),
		stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}) // UDP
	if err != nil {
		return err
	}
	answer := make([]byte, maxMessage)
	for ctx.Err() == nil {
		if _, err := conn.Write(request.Raw); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(probeAgain)); err != nil {
			return err
		}
		n, err := conn.Read(answer)
		switch late, ok := errors.AsType[net.Error](err); {
		case ok && late.Timeout():
		case err != nil:
			return err
		case stun.IsMessage(answer[:n]):
			return nil
		}
	}
	return ctx.Err()
}

// CheckURL says what is wrong with the URL of a STUN or TURN server (RFC 7064,
// RFC 7065).
func CheckURL(text string) error {
	if _, err := stun.ParseURI(text); err != nil {
		return errors.New("must be a URL such as turn:turn.example:3478?transport=udp")
	}
	return nil
}
