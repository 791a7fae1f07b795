package transport

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestNewsForWhoLeaves: news that come while a session ends know why it ended, so that
// nobody who has left is taken for one who was lost, and may come back.
func TestNewsForWhoLeaves(t *testing.T) {
	for _, cause := range []error{ErrLeft, ErrLost, ErrSilent} {
		s := newEngineSession(&engine{edge: new(Edge), sessions: make(map[string]*engineSession)}, httptest.NewRequest(http.MethodGet, "/", nil), eio4)
		s.alarm = time.NewTimer(time.Hour)
		last := &lastWords{session: s}
		s.talker = last
		s.end(cause)
		if !errors.Is(last.err, cause) {
			t.Errorf("a session that ended with %q refuses news with %q", cause, last.err)
		}
	}
}

// lastWords has news for a session that ends.
type lastWords struct {
	talker
	session *engineSession
	err     error
}

func (l *lastWords) leave(error) { l.err = l.session.send(context.Background(), []byte("4news")) }
