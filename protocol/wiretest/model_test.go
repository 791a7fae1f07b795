package wiretest

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"confgate/core"
	"confgate/protocol"
	"confgate/protocol/eventop"
	"confgate/protocol/idv1"
)

var (
	seed  = flag.Uint64("seed", 0, "of the model test; 0: another each time")
	steps = flag.Int("steps", 20000, "of the model test, at the least")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// modelLimit is how many members a room of the id dialect holds.
const modelLimit = 3

// storyLength is the most steps of one story.
const storyLength = 150

// TestModel has clients of both dialects do anything in any order, and holds what
// everybody hears against the reference, step by step. A failure is shortened, and
// printed as a script that Dir can replay.
func TestModel(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	random := rand.New(rand.NewPCG(*seed, 0))
	for played := 0; played < *steps; {
		story := anyStory(random)
		script, n, wrong := story.play(t)
		played += n
		if wrong == "" {
			continue
		}
		if short, _, still := story.shortened(t).play(t); still != "" {
			script, wrong = short, still
		}
		t.Fatalf("%s\n\n-seed %d; the story as a script, into which -update fills what the house says:\n\n-- eventop --\n%s", wrong, *seed, script)
	}
}

// telling is a story that anybody may tell.
type telling struct {
	waits bool // media does as the story says
	steps []step
}

// anyStory begins as calls do, more or less.
func anyStory(random *rand.Rand) telling {
	story := telling{waits: random.IntN(2) == 0, steps: make([]step, storyLength)}
	for i := range story.steps {
		s := step{
			// The first user and the first room are meant more often than all others.
			N: i, Who: random.IntN(len(speakers)), User: max(0, random.IntN(2*len(users))-len(users)),
			Room: max(0, random.IntN(3*len(roomIDs))-2*len(roomIDs)), Some: random.IntN(60),
		}
		switch {
		case i < len(speakers):
			s.Who, s.User, s.Deed = i, i%len(users), "register"
		case i == len(speakers):
			s.Who, s.Room, s.Deed = 0, 0, []string{"createRoom", "createVideoRoom"}[random.IntN(2)]
		case i <= 2*len(speakers):
			s.Who, s.User, s.Room, s.Deed = i-len(speakers)-1, i%len(users), 0, "joinRoom"
		default:
			s.Deed = anyDeed(random)
		}
		story.steps[i] = s
	}
	return story
}

// shortened leaves out all that is not needed to make a story go wrong.
func (s telling) shortened(t *testing.T) telling {
	for size := len(s.steps) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(s.steps); {
			less := telling{s.waits, slices.Delete(slices.Clone(s.steps), from, from+size)}
			if _, _, wrong := less.play(t); wrong != "" {
				s = less
			} else {
				from += size
			}
		}
	}
	return s
}

// step is one thing that somebody does. It depends on no other, so that a story
// without some of its steps is a story.
type step struct {
	Deed                     string
	N, Who, User, Room, Some int
}

func anyDeed(random *rand.Rand) string {
	total := 0
	for _, d := range deeds {
		total += d.often
	}
	what := random.IntN(total)
	for _, d := range deeds {
		if what -= d.often; what < 0 {
			return d.name
		}
	}
	return ""
}

var (
	speakers = []string{"a/eventop", "b/eventop", "c/eventop", "d/id", "e/id"}
	users    = []string{"ann", "ben", "cay", "dan"}
	roomIDs  = []string{"r1", "r2", "r3", "r1000001"} // the last is a breakout, or none
)

// deed is something that can be done, and how often it is.
type deed struct {
	often int
	name  string
	line  func(s step) string // empty: it cannot be done by them
}

// op gives a deed of the eventOp dialect. Fields are an alternation of names and
// values as JSON; names that end in ? are there now and then.
func op(often int, name string, fields func(s step) []string) deed {
	return deed{often, name, func(s step) string {
		who := speakers[s.Who]
		if strings.HasSuffix(who, "/id") {
			return ""
		}
		b := fmt.Sprintf(`%s > {"eventOp":%q,"reqId":"%d"`, who, name, s.N)
		if fields != nil {
			b += withFields(fields(s), s.Some)
		}
		if s.Some == 7 && name != "register" {
			b += fmt.Sprintf(`,"userId":%q`, users[s.User])
		}
		return b + "}"
	}}
}

// id gives a deed of the id dialect.
func id(often int, name string, fields func(s step) []string) deed {
	return deed{often, name, func(s step) string {
		who := speakers[s.Who]
		if !strings.HasSuffix(who, "/id") {
			return ""
		}
		b := fmt.Sprintf(`%s > {"id":%q`, who, name)
		if fields != nil {
			b += withFields(fields(s), s.Some)
		}
		return b + "}"
	}}
}

func withFields(fields []string, some int) (text string) {
	for i := 0; i+1 < len(fields); i += 2 {
		name, maybe := strings.CutSuffix(fields[i], "?")
		if maybe && some>>(i/2)&1 == 0 {
			continue
		}
		text += fmt.Sprintf(",%q:%s", name, fields[i+1])
	}
	return text
}

func user(s step) string    { return strconv.Quote(users[s.User]) }
func inWhich(s step) string { return strconv.Quote(roomIDs[s.Room]) }

// other is a user who follows from the step but is not its own.
func other(s step) string { return strconv.Quote(users[(s.User+1)%len(users)]) }

func offer(s step) string {
	if s.Some%9 == 0 {
		return `"bad"`
	}
	return fmt.Sprintf(`"o%d"`, s.Some)
}

func describes(s step, kind string) string {
	return fmt.Sprintf(`{"type":%q,"sdp":%s}`, kind, offer(s))
}

func source(s step) string {
	if s.Some%4 == 0 {
		return `"screen"`
	}
	return `"cam"`
}

func onOff(s step) string { return strconv.FormatBool(s.Some%3 == 0) }

func inRoom(s step) []string { return []string{"roomId", inWhich(s)} }

// deeds are all that can be done, each with how often it is.
var deeds = []deed{
	op(5, "register", func(s step) []string {
		return []string{"cpCode", `"KP"`, "authKey", strconv.Quote([]string{"k", "k", "k", "forged"}[s.Some%4]), "userId", user(s), "forced?", "true"}
	}),
	op(5, "createVideoRoom", func(s step) []string {
		return []string{"roomId?", inWhich(s), "destroy?", `"false"`, "capacity?", "2", "talkingNoty?", "true"}
	}),
	op(2, "createRoom", func(s step) []string { return []string{"roomId", inWhich(s), "title?", `"t"`} }),
	op(14, "joinRoom", inRoom),
	op(4, "leaveRoom", inRoom),
	op(1, "destroyRoom", inRoom),
	op(14, "sdpRoom", func(s step) []string {
		return []string{"roomId", inWhich(s), "type", source(s), "sdp", describes(s, []string{"offer", "answer"}[s.Some%2]), "target?", user(s)}
	}),
	op(6, "subscribe", func(s step) []string { return []string{"roomId", inWhich(s), "type", source(s), "target", user(s)} }),
	op(2, "sdp", func(s step) []string {
		return []string{"sdp", describes(s, "offer"), "target?", user(s), "roomId?", inWhich(s)}
	}),
	op(3, "candidate", func(s step) []string {
		return []string{"candidate", `"candidate:1"`, "roomId?", inWhich(s), "target?", user(s)}
	}),
	op(3, "screen", inRoom), op(3, "whiteboard", inRoom), op(3, "document", inRoom), op(4, "shareStop", inRoom),
	op(3, "documentShare", func(s step) []string { return []string{"roomId", inWhich(s), "img", `"data:,"`} }),
	op(4, "drawing", func(s step) []string { return []string{"roomId", inWhich(s), "xy", `{"x0":0.5}`} }),
	op(2, "changeName", func(s step) []string { return []string{"name", offer(s), "roomId?", inWhich(s)} }),
	op(5, "chat", func(s step) []string {
		return []string{"message", offer(s), "roomId?", inWhich(s), "target?", user(s)}
	}),
	op(6, "permit", func(s step) []string {
		return []string{"roomId", inWhich(s), "target", user(s), "draw?", onOff(s), "chat?", onOff(s), "screen?", onOff(s), "document?", onOff(s)}
	}),
	op(3, "editUserInfo", func(s step) []string {
		return []string{"roomId", inWhich(s), "video?", onOff(s), "broadcast?", onOff(s), "target?", user(s), "name?", `"n"`}
	}),
	op(2, "memberList", inRoom),
	op(2, "createGroup", func(s step) []string {
		return []string{"roomId", inWhich(s), "list", fmt.Sprintf("[%s,%s]", user(s), other(s))}
	}),
	op(1, "endGroup", func(s step) []string { return []string{"roomId", inWhich(s), "groupId", `"r1000001"`} }),
	op(2, "inform", func(s step) []string {
		return []string{"message", `{"a":1}`, "roomId?", inWhich(s), "target?", user(s)}
	}),
	op(2, "kickOut", func(s step) []string { return []string{"target", user(s), "roomId?", inWhich(s)} }),
	op(2, "editRoomInfo", func(s step) []string {
		return []string{"roomId", inWhich(s), "title?", `"x"`, "capacity?", "1", "host?", user(s)}
	}),
	op(1, "reqCanvasImage", func(s step) []string { return []string{"target", user(s), "roomId?", inWhich(s)} }),
	op(1, "updateImage", func(s step) []string { return []string{"target", user(s), "img", `"data:,"`} }),
	op(1, "KeepAlive", nil),

	id(40, "joinRoom", func(s step) []string {
		return []string{"userId", user(s), "roomId", inWhich(s), "video?", onOff(s), "token?", strconv.Quote([]string{"t", "forged"}[s.Some%2])}
	}),
	id(30, "receiveVideoFrom", func(s step) []string { return []string{"userId", user(s), "sdpOffer", offer(s)} }),
	id(10, "onIceCandidate", func(s step) []string { return []string{"userId", user(s), "candidate", `{"candidate":"c"}`} }),
	id(8, "leaveRoom", nil),
	id(5, "videoStateFrom", func(s step) []string { return []string{"userId?", user(s), "video", onOff(s)} }),
	id(5, "audioStateFrom", func(s step) []string { return []string{"audio", onOff(s)} }),

	{6, "(gone)", func(s step) string { return speakers[s.Who] + " > (gone)" }},
	{1, "(wait)", func(step) string { return "house > (wait 11s)" }},
	{8, "(quiet)", func(s step) string { return speakers[s.Who] + " > (quiet)" }},
	{1, "(drain)", func(s step) string {
		if s.Some > 3 {
			return ""
		}
		return "house > (drain)"
	}},
	{40, "(leg)", func(s step) string {
		verb := []string{"agrees", "agrees", "connects", "connects", "refuses", "fails"}[s.Some%6]
		return fmt.Sprintf("%s > (leg %d %s)", roomIDs[s.Room], 1+s.Some/6, verb)
	}},
	{3, "(talks)", func(s step) string {
		return fmt.Sprintf("%s > (%s %s)", roomIDs[s.Room], users[s.User], []string{"talks", "is silent"}[s.Some%2])
	}},
}

// line gives a step as a line of a script.
func (s step) line() string {
	for _, d := range deeds {
		if line := d.line(s); d.name == s.Deed && line != "" {
			return line
		}
	}
	return ""
}

// play plays a story, and says what went wrong, if anything did. The script is as
// far as it was played.
func (s telling) play(t *testing.T) (script string, n int, wrong string) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		if s.waits {
			m.play("house > (media waits)")
		}
		for _, do := range s.steps {
			if line := do.line(); line != "" && m.canPlay(line) {
				m.play(line)
				n++
			}
			if m.wrong != "" {
				break
			}
		}
		m.stage.close()
		m.audit()
		script, wrong = m.script.String(), m.wrong
	})
	return script, n, wrong
}

// model is a stage beside the reference.
type model struct {
	*stage
	world     *world
	script    strings.Builder
	witnesses map[string]*witness
	wrong     string

	// Guarded by mu, as several connections write at once.
	mu    sync.Mutex
	asked map[string]*asking
	heard map[string][]core.Event
}

// asking is what a codec made of a frame.
type asking struct {
	cmd core.Command
	ref core.Ref
	err error
}

func newModel(t *testing.T) *model {
	m := &model{
		stage: newStage(t, "eventop", []protocol.Dialect{idv1.New(modelLimit), eventop.New(eventop.Knobs{})}),
		world: newWorld(modelLimit), witnesses: make(map[string]*witness), asked: make(map[string]*asking),
	}
	m.overhear = func(name string, c protocol.Codec) protocol.Codec {
		m.witnesses[name] = newWitness()
		return &ear{Codec: c, hears: func(a *asking, e core.Event) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if a != nil {
				m.asked[name] = a
			} else {
				m.heard[name] = append(m.heard[name], e)
			}
		}}
	}
	return m
}

// ear is a codec that tells what goes through it.
type ear struct {
	protocol.Codec
	hears func(*asking, core.Event)
}

// Decode implements protocol.Codec.
func (x *ear) Decode(frame []byte) (core.Command, core.Ref, error) {
	cmd, ref, err := x.Codec.Decode(frame)
	x.hears(&asking{cmd, ref, err}, nil)
	return cmd, ref, err
}

// Encode implements protocol.Codec.
func (x *ear) Encode(e core.Event) [][]byte {
	x.hears(nil, e)
	return x.Codec.Encode(e)
}

// canPlay reports whether there is what a line speaks of.
func (m *model) canPlay(line string) bool {
	name, what, _ := strings.Cut(line, " > ")
	switch {
	case what == "(gone)" || what == "(quiet)":
		return m.people[name] != nil
	case strings.HasSuffix(what, " talks)"), strings.HasSuffix(what, " is silent)"):
		return m.world.last[core.RoomID(name)] != nil
	case strings.HasPrefix(what, "(leg "):
		r := m.world.last[core.RoomID(name)]
		var n uint64
		_, err := fmt.Sscanf(what, "(leg %d", &n)
		return r != nil && err == nil && r.asked[n] != nil
	}
	return true
}

// play plays a line in the house and in the reference, and compares.
func (m *model) play(line string) {
	m.script.WriteString(line + "\n")
	m.mu.Lock() // a room's timer, set before this line, may have somebody told in it
	clear(m.asked)
	m.heard = make(map[string][]core.Event)
	m.mu.Unlock()
	m.stage.play(line + "\n")

	w := m.world
	w.heard, w.loose = make(map[string][]core.Event), false
	name, what, _ := strings.Cut(line, " > ")
	switch act := strings.Trim(what, "()"); {
	case !strings.HasPrefix(what, "("):
		m.asks(w.conn(name), m.asked[name])
	case act == "gone":
		w.gone(w.conn(name))
	case act == "quiet":
		w.conn(name).quiet = true
	case act == "drain":
		w.drain = true
	case strings.HasPrefix(act, "wait "):
		w.passTime()
	case act == "media waits":
		w.waits = true
	case strings.HasSuffix(act, " talks"), strings.HasSuffix(act, " is silent"):
		user, how, _ := strings.Cut(act, " ")
		w.talks(w.last[core.RoomID(name)], core.UserID(user), how == "talks")
	default:
		var (
			n    uint64
			verb string
		)
		if _, err := fmt.Sscanf(act, "leg %d %s", &n, &verb); err != nil {
			m.t.Fatal(err)
		}
		r := w.last[core.RoomID(name)]
		w.media(r, n, verb)
	}
	m.compare(line)
}

func (m *model) asks(c *conn, a *asking) {
	switch {
	case a == nil:
		m.fail("the frame was not read")
		return
	case a.cmd == nil && a.err == nil:
		return
	}
	m.witnesses[c.name].asks(a.ref)
	if a.err != nil {
		m.world.reply(c, a.ref, nil, core.AsError(a.err).Code)
		return
	}
	m.world.does(c, a.ref, a.cmd)
}

func (m *model) fail(format string, args ...any) {
	if m.wrong == "" {
		m.wrong = fmt.Sprintf(format, args...)
	}
}

// compare holds what was heard against what should have been.
func (m *model) compare(line string) {
	for name, c := range m.world.conns {
		if c.ended { // what it heard last is no matter
			delete(m.heard, name)
			delete(m.world.heard, name)
			if m.people[name] != nil {
				m.fail("after %s\n%s should have been closed", line, name)
			}
		}
	}
	names := slices.Collect(maps.Keys(m.heard))
	names = slices.AppendSeq(names, maps.Keys(m.world.heard))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		got, want := lines(m.heard[name]), lines(m.world.heard[name])
		if m.world.loose {
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			m.fail("after %s\n%s heard\n  %s\nand should have heard\n  %s", line, name, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
		for _, e := range m.heard[name] {
			if err := m.witnesses[name].hears(e); err != nil {
				m.fail("after %s\n%s hears %v", line, name, err)
			}
		}
	}
	m.compareStats(line)
}

// compareStats holds the house's own figures against the reference.
func (m *model) compareStats(line string) {
	want := core.Stats{Rooms: len(m.world.rooms), People: len(m.world.users)}
	for _, r := range m.world.rooms {
		want.Members += len(r.seats)
	}
	if got := m.hub.Stats(); got != want {
		m.fail("after %s\nthe house counts %+v, and should %+v", line, got, want)
	}
	for _, fault := range m.plane.faults {
		m.fail("after %s\nmedia was asked what makes no sense: %s", line, fault)
	}
}

// audit looks for what is left when all have gone.
func (m *model) audit() {
	if got := m.hub.Stats(); got != (core.Stats{}) {
		m.fail("when all had gone, the house counted %+v", got)
	}
	for _, room := range m.plane.all {
		if !room.ended {
			m.fail("when all had gone, a room's media had not ended")
		}
		for n, l := range room.legs {
			if l.over == "" {
				m.fail("when all had gone, leg %d was still there", n)
			}
		}
	}
	for name, x := range m.witnesses {
		if c := m.world.conns[name]; c == nil || c.ended || m.world.waits {
			continue
		}
		for ref := range x.waits {
			m.fail("%s never had a reply to %v", name, ref)
		}
	}
}

// lines gives events as they can be compared: without times, and the words of errors.
func lines(events []core.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		if r, ok := e.(core.Reply); ok {
			r.Ref = plain(r.Ref)
			if r.Err != nil {
				r.Err = &core.Error{Code: r.Err.Code}
			}
			if j, ok := r.Result.(core.Joined); ok {
				j.State.Created = time.Time{}
				r.Result = j
			}
			e = r
			all[i] = fmt.Sprintf("%T ", r.Result)
		}
		b, err := json.Marshal(e)
		if err != nil {
			panic(err) // events are plain data
		}
		all[i] += fmt.Sprintf("%T %s", e, b)
	}
	return all
}
