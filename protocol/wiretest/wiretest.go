// Package wiretest replays written conversations against the whole house: the real
// pumps, sessions, rooms and codecs in virtual time. Only the socket and the media
// plane are played; no clock and no network come in.
//
// A script is a txtar archive. Each file but one is a telling of the same story, a
// line to a frame: "ann > {…}" is sent by ann, "ann < {…}" must come to ann next.
// Its people speak the dialect that the file is named for, or, after a slash, their
// own: "ann/eventop > {…}". Besides frames a person can do
//
//	ann > (gone)             the client closes its connection
//	ann > (lost)             the connection breaks
//	ann > (quiet)            it has missed a sign of life
//	house > (drain)          the house takes no new calls
//	house > (wait 10s)       time passes
//	house > (ann is out)     the house cuts ann off
//	house > (media waits)    what is asked of media is settled by hand from now on
//	r1 > (ann is out)        the house puts ann out of that room
//	r1 > (look)              how room r1 stands now goes on the tape
//	r1 > (leg 3 agrees)      media settles what room r1 asked of its third connection
//	r1 > (leg 3 refuses)     the same, with an error
//	r1 > (leg 3 connects)    media tells that the connection is up
//	r1 > (leg 3 fails)       media tells that it died
//	r1 > (ann talks)         media tells that ann began to speak
//	r1 > (ann is silent)     and that she stopped
//
// A connection that the house ends shows as "ann < (closed: displaced)". Who says
// something after their connection has ended opens another.
//
// The file "room" is the tape: what the rooms were asked, whoever asked and in
// whatever dialect. Every telling of a story must leave the same tape.
package wiretest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"

	"confgate/core"
	"confgate/protocol"
	"confgate/transport"
)

var update = flag.Bool("update", false, "rewrite the scripts to what the house says")

// Dir replays every script in dir. With -update it rewrites them to what the house
// says; read every line that changes.
func Dir(t *testing.T, dir string, dialects ...protocol.Dialect) {
	scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	for _, name := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := Run(t, want, dialects...)
			switch {
			case bytes.Equal(got, want):
			case *update:
				if err := os.WriteFile(name, got, 0o600); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("the house tells it otherwise (-update takes it over):\n%s", firstDifference(want, got))
			}
		})
	}
}

// Run replays the script in data, and gives it back as it would be if every line
// that came from the house, and the tape, were right.
func Run(t *testing.T, data []byte, dialects ...protocol.Dialect) []byte {
	ar := txtar.Parse(data)
	var tape string
	for i, f := range ar.Files {
		if f.Name == "room" {
			continue
		}
		told, left := tell(t, string(f.Data), f.Name, dialects)
		ar.Files[i].Data = []byte(told)
		if tape != "" && tape != left {
			t.Errorf("%s leaves another tape:\n%s", f.Name, firstDifference([]byte(tape), []byte(left)))
		}
		tape = left
	}
	for i, f := range ar.Files {
		if f.Name == "room" {
			ar.Files[i].Data = []byte(tape)
		}
	}
	return txtar.Format(ar)
}

// firstDifference shows where two texts part.
func firstDifference(want, got []byte) string {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n want %s\n  got %s", i+1, a, b)
		}
	}
	return "no difference"
}

// tell plays one telling, and gives it with the answers of the house, and the tape.
func tell(t *testing.T, script, dialect string, dialects []protocol.Dialect) (told, tape string) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, dialect, dialects)
		for line := range strings.Lines(script) {
			st.play(line)
		}
		told, tape = st.told.String(), st.tape.String() // before all go at once, in no order
		st.close()
	})
	return told, tape
}

// stage is where a telling is played.
type stage struct {
	t        *testing.T
	dialect  string
	dialects []protocol.Dialect
	hub      *core.Hub
	plane    *plane
	ctx      context.Context //nolint:containedctx // of the connections, which are the stage's
	cancel   context.CancelFunc
	serving  sync.WaitGroup
	people   map[string]*pipe
	told     strings.Builder
	tape     recorder
	// overhear gives the codec that a person's connection speaks through, around the
	// dialect's own.
	overhear func(name string, c protocol.Codec) protocol.Codec
}

func newStage(t *testing.T, dialect string, dialects []protocol.Dialect) *stage {
	st := &stage{
		t: t, dialect: dialect, dialects: dialects, plane: newPlane(), people: make(map[string]*pipe),
		overhear: func(_ string, c protocol.Codec) protocol.Codec { return c },
	}
	rooms, users := 0, 0
	st.hub = core.NewHub(core.HubConfig{
		Plane: st.plane, Auth: anyone{&users}, Observer: &st.tape,
		NewRoomID: func() core.RoomID { rooms++; return core.RoomID(fmt.Sprint("r", 1000000+rooms)) },
	})
	st.ctx, st.cancel = context.WithCancel(t.Context())
	return st
}

func (st *stage) close() {
	st.cancel()
	st.serving.Wait()
	st.hub.Close()
}

// play plays one line of a script.
func (st *stage) play(line string) {
	name, frame, ok := strings.Cut(strings.TrimSpace(line), " > ")
	switch {
	case !ok && strings.Contains(line, " < "):
		return // what comes is written below
	case !ok:
		st.told.WriteString(line) // a comment or an empty line
		return
	}
	fmt.Fprintf(&st.told, "%s > %s\n", name, frame)
	if act, ok := strings.CutPrefix(frame, "("); ok {
		st.act(name, strings.TrimSuffix(act, ")"))
	} else {
		st.person(name).in <- []byte(frame)
	}
	synctest.Wait()
	st.listen()
}

// act does what is no frame.
func (st *stage) act(name, what string) {
	switch what {
	case "gone", "lost":
		p := st.person(name)
		delete(st.people, name)
		p.end <- map[string]error{"gone": transport.ErrLeft, "lost": transport.ErrLost}[what]
	case "quiet":
		st.person(name).quiet(true)
	case "drain":
		st.hub.Drain()
	case "look":
		st.look(core.RoomID(name))
	case "media waits":
		st.plane.wait()
	default:
		if user, ok := strings.CutSuffix(what, " is out"); ok {
			st.putOut(name, core.UserID(user))
			return
		}
		if d, ok := strings.CutPrefix(what, "wait "); ok {
			span, err := time.ParseDuration(d)
			if err != nil {
				st.t.Fatal(err)
			}
			<-time.After(span)
			return
		}
		if err := st.plane.act(core.RoomID(name), what); err != nil {
			st.t.Fatal(err)
		}
	}
}

// putOut has the house put somebody out of a room, or of the house.
func (st *stage) putOut(of string, user core.UserID) {
	if of == "house" {
		st.hub.ExpelUser(st.ctx, "", user)
		return
	}
	st.hub.ExpelFrom(st.ctx, "", user, core.RoomID(of))
}

// listen writes down what everybody hears.
func (st *stage) listen() {
	for _, name := range slices.Sorted(maps.Keys(st.people)) {
		p := st.people[name]
		for len(p.out) > 0 {
			fmt.Fprintf(&st.told, "%s < %s\n", name, <-p.out)
		}
		if len(p.ended) > 0 {
			fmt.Fprintf(&st.told, "%s < (closed: %s)\n", name, transport.Reason(<-p.ended))
			delete(st.people, name)
		}
	}
}

// look writes a member's view of a room on the tape.
func (st *stage) look(id core.RoomID) {
	room, err := st.hub.Look(st.ctx, "", id)
	if err != nil {
		st.tape.write(fmt.Sprintf("%s is not there: %v", id, err))
		return
	}
	var people []string
	for _, m := range room.Members {
		people = append(people, fmt.Sprintf("%s host=%t video=%t audio=%t publishing=%t", m.User, m.Host, m.Video, m.Audio, m.Publishing))
	}
	st.tape.write(fmt.Sprintf("%s has %s", id, strings.Join(people, "; ")))
}

// person gives somebody's connection, which is made when they first do something.
func (st *stage) person(name string) *pipe {
	if st.people[name] == nil {
		_, speaks, own := strings.Cut(name, "/")
		if !own {
			speaks = st.dialect
		}
		i := slices.IndexFunc(st.dialects, func(d protocol.Dialect) bool { return d.Name == speaks })
		if i < 0 {
			st.t.Fatalf("%s speaks %q, which is no dialect here", name, speaks)
		}
		p := &pipe{
			in: make(chan []byte), end: make(chan error), out: make(chan []byte, 256), ended: make(chan error, 1),
		}
		st.people[name] = p
		d := st.dialects[i]
		d.Codec = st.overhear(name, d.Codec)
		st.serving.Go(func() { p.ended <- transport.Serve(st.ctx, p, st.hub, d, transport.Options{}) })
		synctest.Wait() // until it watches for signs of life
	}
	return st.people[name]
}

// pipe is a transport.Conn made of channels, so that virtual time sees it wait.
type pipe struct {
	in, out chan []byte
	end     chan error        // takes what ends the connection
	ended   chan error        // holds what has ended it
	quiet   func(missed bool) // notes a missed sign of life
}

// Watch implements transport.Watched.
func (p *pipe) Watch(quiet func(missed bool)) { p.quiet = quiet }

// Read implements transport.Conn.
func (p *pipe) Read(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case err := <-p.end:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write implements transport.Conn.
func (p *pipe) Write(ctx context.Context, b []byte) error {
	select {
	case p.out <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// anyone lets everyone in as who they say they are, but for those whose token or
// key is "forged". Who does not say gets an id.
type anyone struct{ users *int }

// Authorize implements core.Authorizer.
func (a anyone) Authorize(_ context.Context, c core.Credentials) (core.Grant, error) {
	if c.Token == "forged" || c.Key == "forged" {
		return core.Grant{}, core.Errorf(core.Unauthorized, "forged credentials")
	}
	if c.User == "" {
		*a.users++
		c.User = core.UserID(fmt.Sprint("u", 1000000+*a.users))
	}
	return core.Grant{User: c.User}, nil
}

// recorder is a core.Observer that writes the tape.
type recorder struct {
	mu sync.Mutex
	strings.Builder
}

// Handled implements core.Observer.
func (r *recorder) Handled(room core.RoomID, by core.Caller, cmd core.Command, err *core.Error) {
	from := by.User
	asked := asked(from, cmd)
	if asked == "" {
		return
	}
	line := fmt.Sprintf("%s %s %s", printable(string(room)), printable(string(from)), asked)
	if err != nil {
		line += " -> " + string(err.Code)
	}
	r.write(line)
}

// asked writes what a room was asked. Who makes the SDP offer for a stream is the
// dialect's choice and no part of the story.
func asked(from core.UserID, cmd core.Command) string {
	switch c := cmd.(type) {
	case core.Hello, core.Open, core.Ping, core.Bad:
		return "" // not of a room
	case core.Answer:
		return "" // the second half of a Subscribe
	case core.Offer:
		if c.Stream.User == from {
			return fmt.Sprintf("sends %s", c.Stream.Source)
		}
		return fmt.Sprintf("takes %s of %s", c.Stream.Source, c.Stream.User)
	case core.Subscribe:
		return fmt.Sprintf("takes %s of %s", c.Stream.Source, c.Stream.User)
	default:
		return core.Describe(cmd)
	}
}

// printable quotes an id that cannot be printed as it is.
func printable(id string) string {
	if q := strconv.Quote(id); q != `"`+id+`"` {
		return q
	}
	return id
}

// LegFailed implements core.Observer.
func (r *recorder) LegFailed(room core.RoomID, l core.Leg, cause error) {
	r.write(fmt.Sprintf("%s %s's connection for %s of %s failed: %v", room, l.Owner, l.Stream.Source, l.Stream.User, cause))
}

// Expelled implements core.Observer.
func (r *recorder) Expelled(room core.RoomID, who core.Caller, cause error) {
	r.write(fmt.Sprintf("%s %s is put out: %v", printable(string(room)), printable(string(who.User)), cause))
}

// FirstPacket implements core.Observer.
func (r *recorder) FirstPacket(time.Duration) {}

// Slowed implements core.Observer.
func (r *recorder) Slowed(core.RoomID) {}

// Panicked implements core.Observer.
func (r *recorder) Panicked(room core.RoomID, reason any, stack []byte) {
	r.write(fmt.Sprintf("%s panicked: %v\n%s", room, reason, stack))
}

func (r *recorder) write(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.WriteString(line + "\n")
}
