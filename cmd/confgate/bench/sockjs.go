package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

const (
	maxInfo  = 4 << 10   // bytes of an answer to /info
	maxFrame = 256 << 10 // bytes of a frame; SDP is the longest there is
)

// sockjs is the client side of one SockJS session on its websocket transport
// (SockJS protocol 0.3.3).
type sockjs struct {
	ws     *websocket.Conn
	queued []string // of the last frame; owned by the reader
}

// dialSockJS opens a session the way sockjs-client does: it asks for /info first and
// waits for the open frame.
func dialSockJS(ctx context.Context, web *http.Client, endpoint *url.URL) (*sockjs, error) {
	if err := askInfo(ctx, web, endpoint.JoinPath("info").String()); err != nil {
		return nil, err
	}
	server := fmt.Sprintf("%03d", rand.IntN(1000))
	session := fmt.Sprintf("%08x", rand.Uint32())
	ws, err := dialWebSocket(ctx, web, endpoint.JoinPath(server, session, "websocket"))
	if err != nil {
		return nil, err
	}
	s := &sockjs{ws: ws}
	_, frame, err := ws.Read(ctx)
	if err == nil && string(frame) != "o" {
		err = fmt.Errorf("SockJS session began with frame %.20q", frame)
	}
	if err != nil {
		s.hangUp()
		return nil, fmt.Errorf("open: %w", err)
	}
	return s, nil
}

func dialWebSocket(ctx context.Context, web *http.Client, at *url.URL) (*websocket.Conn, error) {
	ws, response, err := websocket.Dial(ctx, at.String(), &websocket.DialOptions{HTTPClient: web})
	if response != nil && response.Body != nil {
		defer response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	ws.SetReadLimit(maxFrame)
	return ws, nil
}

func askInfo(ctx context.Context, web *http.Client, at string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	response, err := web.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var info struct{ Websocket bool }
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", at, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxInfo)).Decode(&info); err != nil {
		return fmt.Errorf("GET %s: %w", at, err)
	}
	if !info.Websocket {
		return errors.New("the gateway offers no websocket transport")
	}
	return nil
}

func (s *sockjs) write(ctx context.Context, message []byte) error {
	frame, err := json.Marshal([]string{string(message)})
	if err != nil {
		return err
	}
	return s.ws.Write(ctx, websocket.MessageText, frame)
}

// read gives the next message.
func (s *sockjs) read(ctx context.Context) ([]byte, error) {
	for len(s.queued) == 0 {
		_, frame, err := s.ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		if s.queued, err = parseSockJS(frame); err != nil {
			return nil, err
		}
	}
	message := s.queued[0]
	s.queued = s.queued[1:]
	return []byte(message), nil
}

// errHungUp: the gateway closed the session.
var errHungUp = errors.New("the gateway closed the session")

// parseSockJS gives the messages of a frame, none for a heartbeat.
func parseSockJS(frame []byte) ([]string, error) {
	if len(frame) == 0 {
		return nil, errors.New("empty SockJS frame")
	}
	switch body := frame[1:]; frame[0] {
	case 'h':
		return nil, nil
	case 'a':
		var messages []string
		if err := json.Unmarshal(body, &messages); err != nil {
			return nil, fmt.Errorf("SockJS frame: %w", err)
		}
		return messages, nil
	case 'c':
		return nil, fmt.Errorf("%w: %.100s", errHungUp, body)
	default:
		return nil, fmt.Errorf("unknown SockJS frame %.20q", frame)
	}
}

// close ends the session properly.
func (s *sockjs) close(context.Context) error { return s.ws.Close(websocket.StatusNormalClosure, "") }

func (s *sockjs) hangUp() { _ = s.ws.CloseNow() }
