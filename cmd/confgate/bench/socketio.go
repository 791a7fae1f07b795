package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// socketIO is the client side of one Socket.IO connection (Socket.IO protocol 5 on
// Engine.IO protocol 4), over a WebSocket from the start. It says and hears one event,
// in the namespace "/".
type socketIO struct {
	ws    *websocket.Conn
	event string
}

// The kinds of packets: Engine.IO's come first, and a message holds one of Socket.IO's.
const (
	eioOpen, eioClose, eioPing, eioPong, eioMessage, eioNoop = '0', '1', '2', '3', '4', '6'
	sioConnect, sioDisconnect, sioEvent, sioConnectError     = '0', '1', '2', '4'
)

// dialSocketIO connects the way socket.io-client does: it waits to be let into the
// namespace.
func dialSocketIO(ctx context.Context, web *http.Client, endpoint *url.URL, event string) (*socketIO, error) {
	at := *endpoint
	at.RawQuery = url.Values{"EIO": {"4"}, "transport": {"websocket"}}.Encode()
	ws, err := dialWebSocket(ctx, web, &at)
	if err != nil {
		return nil, err
	}
	s := &socketIO{ws, event}
	if err := s.open(ctx); err != nil {
		s.hangUp()
		return nil, fmt.Errorf("open: %w", err)
	}
	return s, nil
}

func (s *socketIO) open(ctx context.Context) error {
	_, frame, err := s.ws.Read(ctx)
	if err != nil {
		return err
	}
	if len(frame) == 0 || frame[0] != eioOpen {
		return fmt.Errorf("connection began with Engine.IO packet %.20q", frame)
	}
	if err := s.send(ctx, []byte{eioMessage, sioConnect}); err != nil {
		return err
	}
	packet, err := s.packet(ctx)
	switch {
	case err != nil:
		return err
	case packet[0] == sioConnectError:
		return fmt.Errorf("the gateway refused the namespace: %.100s", packet[1:])
	case packet[0] != sioConnect:
		return fmt.Errorf("namespace began with Socket.IO packet %.20q", packet)
	}
	return nil
}

// packet gives the next Socket.IO packet, which is never empty. Pings are answered in
// passing.
func (s *socketIO) packet(ctx context.Context) ([]byte, error) {
	for {
		typ, frame, err := s.ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		if typ != websocket.MessageText || len(frame) == 0 {
			return nil, errors.New("binary or empty Engine.IO packet")
		}
		switch body := frame[1:]; {
		case frame[0] == eioPing:
			if err := s.send(ctx, append([]byte{eioPong}, body...)); err != nil {
				return nil, err
			}
		case frame[0] == eioNoop:
		case frame[0] == eioClose:
			return nil, errHungUp
		case frame[0] == eioMessage && len(body) > 0:
			return body, nil
		default:
			return nil, fmt.Errorf("unknown Engine.IO packet %.20q", frame)
		}
	}
}

func (s *socketIO) write(ctx context.Context, message []byte) error {
	packet, err := json.Marshal([]any{s.event, json.RawMessage(message)})
	if err != nil {
		return err
	}
	return s.send(ctx, append([]byte{eioMessage, sioEvent}, packet...))
}

// read gives the message of the next event.
func (s *socketIO) read(ctx context.Context) ([]byte, error) {
	packet, err := s.packet(ctx)
	if err != nil {
		return nil, err
	}
	switch body := packet[1:]; packet[0] {
	case sioEvent:
		return parseSocketIO(body, s.event)
	case sioDisconnect:
		return nil, errHungUp
	default:
		return nil, fmt.Errorf("unknown Socket.IO packet %.20q", packet)
	}
}

// parseSocketIO gives the message of an event of that name.
func parseSocketIO(arguments []byte, event string) ([]byte, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(arguments, &all); err != nil {
		return nil, fmt.Errorf("Socket.IO event: %w", err)
	}
	var name string
	if len(all) != 2 || json.Unmarshal(all[0], &name) != nil || name != event {
		return nil, fmt.Errorf("unknown Socket.IO event %.40q", arguments)
	}
	return all[1], nil
}

func (s *socketIO) send(ctx context.Context, packet []byte) error {
	return s.ws.Write(ctx, websocket.MessageText, packet)
}

// close leaves the namespace and ends the connection properly.
func (s *socketIO) close(ctx context.Context) error {
	if err := s.send(ctx, []byte{eioMessage, sioDisconnect}); err != nil {
		return err
	}
	return s.ws.Close(websocket.StatusNormalClosure, "")
}

func (s *socketIO) hangUp() { _ = s.ws.CloseNow() }
