package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"confgate/core"
)

// Outage says what happens while the backend cannot be asked.
type Outage string

// The choices there are.
const (
	Closed    Outage = "closed" // nobody is let in whom it has not let in a moment ago
	LetPeople Outage = "open"   // a good token is enough
)

// RoomsConfig says how the backend of the application is asked who may enter which
// room.
type RoomsConfig struct {
	// URL is asked with GET. {user} and {room} in its path or query are filled in. An
	// answer of 2xx lets the user in, 401, 403 and 404 do not, and any other is an
	// outage. The client's token goes with it, as Authorization: Bearer.
	URL string

	Timeout  time.Duration // for one question, waiting for its turn included; 0: 3 s
	Remember time.Duration // how long an answer counts; 0: 30 s
	Outage   Outage        // empty: Closed
	Log      *slog.Logger  // nil: silent

	RoundTripper http.RoundTripper // nil: over the network
}

// Bounds of asking the backend.
const (
	maxAsking  = 32     // questions under way
	maxAnswers = 20_000 // remembered
	maxReply   = 4 << 10
)

// Rooms asks the backend of the application whether a user may enter a room. The
// one who asks waits; nobody else does.
type Rooms struct {
	config RoomsConfig
	path   string // of the URL, up to its query
	query  string
	client *http.Client
	turns  chan struct{} // one for each question under way
	line   *line

	// Guarded by mu.
	mu        sync.Mutex
	answers   *lru[question, answer]
	forgotten uint64 // times that something was forgotten on purpose
}

// question tells who wants in where, and what they show: who shows a worse token
// gets no better answer.
type question struct {
	user  digest
	whole digest // the user too, the room, the token
}

func newQuestion(user, room, token string) question {
	return question{
		sha256.Sum256([]byte(user)),
		sha256.Sum256(fmt.Appendf(nil, "%d %d %s%s%s", len(user), len(room), user, room, token)),
	}
}

type answer struct {
	admitted bool
	unknown  bool // the backend does not know the token, and may know nothing of the user
	until    time.Time
}

var errOutage = errors.New("the backend gives no answer")

// NewRooms checks the configuration. It asks nothing yet.
func NewRooms(c RoomsConfig) (*Rooms, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(c.URL, "?")
	if u, err := url.Parse(path); err != nil || strings.ContainsAny(u.Host, "{}") {
		return nil, errors.New("the host cannot depend on who asks")
	}
	if !strings.Contains(c.URL, "{room}") || !strings.Contains(c.URL, "{user}") {
		return nil, errors.New("must have {user} and {room} in it")
	}
	c.Timeout, c.Remember = cmp.Or(c.Timeout, 3*time.Second), cmp.Or(c.Remember, 30*time.Second)
	c.Outage = cmp.Or(c.Outage, Closed)
	return &Rooms{
		config: c, path: path, query: query, client: newClient(c.RoundTripper, maxAsking),
		turns: make(chan struct{}, maxAsking), line: newLine("rooms", c.Log), answers: newLRU[question, answer](maxAnswers),
	}, nil
}

// State tells whether the backend answers.
func (r *Rooms) State() State { return r.line.state(true) }

// Close lets go of its connections.
func (r *Rooms) Close() { r.client.CloseIdleConnections() }

// Behind makes an Authorizer that asks about those whom next lets in.
func (r *Rooms) Behind(next core.Authorizer) core.Authorizer { return roomsBehind{r, next} }

type roomsBehind struct {
	rooms *Rooms
	next  core.Authorizer
}

// Authorize lets in whom next lets in and the backend admits to the room.
func (b roomsBehind) Authorize(ctx context.Context, c core.Credentials) (core.Grant, error) {
	g, err := b.next.Authorize(ctx, c)
	if err != nil {
		return core.Grant{}, err
	}
	user, room, token, until := string(g.User), string(c.Room), c.Token, g.Until
	if err := b.rooms.admit(ctx, user, room, token); err != nil {
		return core.Grant{}, err
	}
	g.Stays = func(ctx context.Context) error { return b.rooms.stays(ctx, user, room, token, until) }
	return g, nil
}

func (r *Rooms) admit(ctx context.Context, user, room, token string) error {
	if !named(user) || !named(room) {
		return refuse(WrongRoom, "no name that the backend could be asked about")
	}
	if a, ok := r.recall(newQuestion(user, room, token)); ok {
		return a.verdict()
	}
	a, err := r.consult(ctx, user, room, token)
	switch {
	case err == nil:
		return a.verdict()
	case ctx.Err() != nil:
		return refuse(Unavailable, "gone before the backend answered")
	case r.config.Outage == LetPeople:
		return nil
	default:
		return refuse(Unavailable, "the backend gives no answer")
	}
}

// stays asks about somebody who is in the room, whatever the answer was before. No
// answer is none: an outage empties no room. Nor does a backend that takes the token
// no more because its time, which ends at until, is over.
func (r *Rooms) stays(ctx context.Context, user, room, token string, until time.Time) error {
	a, err := r.consult(ctx, user, room, token)
	tooOld := a.unknown && !until.IsZero() && !time.Now().Before(until)
	if err == nil && !tooOld {
		return a.verdict()
	}
	return nil
}

// Forget has the backend asked afresh about a user, whatever it said before.
func (r *Rooms) Forget(user core.UserID) {
	gone := digest(sha256.Sum256([]byte(user)))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten++
	r.answers.drop(func(q question) bool { return q.user == gone })
}

// consult asks the backend, and remembers what it says.
func (r *Rooms) consult(ctx context.Context, user, room, token string) (answer, error) {
	r.mu.Lock()
	before := r.forgotten
	r.mu.Unlock()
	a, err := r.ask(ctx, user, room, token)
	if err != nil && ctx.Err() != nil {
		return a, err
	}
	r.line.note(err, r.config.Outage == LetPeople)
	if err == nil {
		r.keep(newQuestion(user, room, token), a, before)
	}
	return a, err
}

func (a answer) verdict() error {
	if !a.admitted {
		return refuse(WrongRoom, "the backend does not admit this user to that room")
	}
	return nil
}

// named reports whether a name can stand in a path: "." and ".." would change it.
func named(name string) bool {
	return name != "" && len(name) <= 128 && name != "." && name != ".."
}

func (r *Rooms) recall(q question) (answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.answers.get(q)
	return a, ok && time.Now().Before(a.until)
}

// keep remembers an answer to a question that was put when so much was forgotten. If
// it is more now, the answer may be from before what made the user's be forgotten.
func (r *Rooms) keep(q question, a answer, before uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forgotten == before {
		r.answers.put(q, a)
	}
}

// ask puts the question to the backend, when it is its turn.
func (r *Rooms) ask(ctx context.Context, user, room, token string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return answer{}, errOutage
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address(user, room), http.NoBody)
	if err != nil {
		return answer{}, errOutage
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return answer{}, plain(err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxReply) // so that the connection can be used again
	a := answer{until: time.Now().Add(r.config.Remember)}
	switch code := response.StatusCode; {
	case code/100 == 2:
		a.admitted = true
		return a, nil
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound:
		a.unknown = code == http.StatusUnauthorized
		return a, nil
	default:
		return a, fmt.Errorf("%w: status %d", errOutage, code)
	}
}

// address fills in who wants to enter which room.
func (r *Rooms) address(user, room string) string {
	fill := func(text string, escape func(string) string) string {
		return strings.NewReplacer("{user}", escape(user), "{room}", escape(room)).Replace(text)
	}
	address := fill(r.path, url.PathEscape)
	if r.query != "" {
		address += "?" + fill(r.query, url.QueryEscape)
	}
	return address
}
