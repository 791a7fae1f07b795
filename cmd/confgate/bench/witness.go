package bench

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// witness stands in a member's line and holds all that the member is told against what
// the dialect promises: of whom, in which order, how often.
type witness struct {
	carrier
	tongue tongue

	mu sync.Mutex // over the tongue: members read and write at once
}

// tongue knows a dialect's promises.
type tongue interface {
	// said takes what the member says.
	said(message []byte)
	// heard takes what the member is told. pass is false for what no member's client in
	// this package has a use for.
	heard(message []byte) (pass bool)
	// owed gives how many requests wait for their answers.
	owed() int
}

func (w *witness) write(ctx context.Context, message []byte) error {
	w.mu.Lock()
	w.tongue.said(message)
	w.mu.Unlock()
	return w.carrier.write(ctx, message)
}

func (w *witness) read(ctx context.Context) ([]byte, error) {
	for {
		message, err := w.carrier.read(ctx)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		pass := w.tongue.heard(message)
		w.mu.Unlock()
		if pass {
			return message, nil
		}
	}
}

func (w *witness) unanswered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tongue.owed()
}

// account is how much was held against promises in a run.
type account struct {
	heard, requests, replies, chats atomic.Uint64
}

// roll is who is there, as one member was told. Tongues share it.
type roll struct {
	self, room string
	tag        string // what is said in this room has it
	people     *people
	account    *account
	deaf       atomic.Bool // to what is wrong
	complain   func(format string, args ...any)

	mu      sync.Mutex
	entered chan struct{}        // closed once the member is in
	in      bool                 // guarded by mu
	present map[string]struct{}  // guarded by mu: the others
	story   []string             // guarded by mu: who came (+) and left (-), in order
	chats   map[string]chatOrder // guarded by mu: by sender
}

// chatOrder is the latest that somebody said: they begin anew when they come again.
type chatOrder struct {
	visit string
	n     int
}

func newRoll(self, room, tag string, p *people, a *account, complain func(string, ...any)) *roll {
	r := &roll{
		self: self, room: room, tag: tag, people: p, account: a, entered: make(chan struct{}),
		present: make(map[string]struct{}), chats: make(map[string]chatOrder),
	}
	r.complain = func(format string, args ...any) {
		if !r.deaf.Load() {
			complain("%s was told "+format, append([]any{self}, args...)...)
		}
	}
	return r
}

// deafen lets all pass from now on, as for a member whose requests make no sense.
func (r *roll) deafen() { r.deaf.Store(true) }

// enter notes that the member was let in, where others are.
func (r *roll) enter(others []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.in {
		r.complain("twice that it is in")
		return
	}
	r.in = true
	for _, user := range others {
		if !r.known(user) {
			continue
		}
		if _, twice := r.present[user]; twice || user == r.self {
			r.complain("on entering of %s, itself or twice", user)
		}
		r.present[user] = struct{}{}
	}
	close(r.entered)
}

// came notes who came after the member.
func (r *roll) came(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known(user) {
		return
	}
	if _, twice := r.present[user]; twice || user == r.self || !r.in {
		r.complain("that %s came, who is there already", user)
	}
	r.present[user] = struct{}{}
	r.story = append(r.story, "+"+user)
}

// left notes who left.
func (r *roll) left(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.present[user]; !there {
		r.complain("that %s left, who is not there", user)
		return
	}
	delete(r.present, user)
	delete(r.chats, user)
	r.story = append(r.story, "-"+user)
}

// about notes something that concerns another, or the member itself.
func (r *roll) about(what, user string) {
	if user == r.self {
		return
	}
	r.aboutOther(what, user)
}

// aboutOther notes something that concerns another only.
func (r *roll) aboutOther(what, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.present[user]; !there && r.known(user) {
		r.complain("%s about %s, who is not there", what, user)
	}
}

// known complains about strangers. It is called with mu held.
func (r *roll) known(user string) bool {
	if m := r.people.find(user); m == nil || m.room != r.room {
		r.complain("of %q, who is a stranger", user)
		return false
	}
	return true
}

// listed takes the list of all who are there.
func (r *roll) listed(users []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	others := 0
	for _, user := range users {
		if _, there := r.present[user]; there {
			others++
		} else if user != r.self {
			r.complain("by a list of %s, who is not there", user)
		}
	}
	if others != len(r.present) || !slices.Contains(users, r.self) {
		r.complain("by a list of %d others, and before of %d", others, len(r.present))
	}
}

// chat is what somebody says: the room's tag, which of their visits it is, and how often
// they have said something.
func chat(tag, visit string, n int) string { return tag + " " + visit + " " + strconv.Itoa(n) }

// chatted takes what another says.
func (r *roll) chatted(user, text string) {
	r.aboutOther("words", user)
	if m := r.people.find(user); m == nil || m.babbles {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.account.chats.Add(1)
	f := strings.Fields(text)
	if len(f) != 3 || f[0] != r.tag {
		r.complain("%.60q by %s, which was said in another room", text, user)
		return
	}
	n, err := strconv.Atoi(f[2])
	last, heard := r.chats[user]
	if err != nil || heard && last.visit == f[1] && n != last.n+1 {
		r.complain("%.60q by %s after their word %d", text, user, last.n)
	}
	r.chats[user] = chatOrder{f[1], n}
}

// sees reports whether another is there.
func (r *roll) sees(user string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.present[user]
	return there
}

// others gives who is there.
func (r *roll) others() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for user := range r.present {
		all = append(all, user)
	}
	slices.Sort(all)
	return all
}

// told gives the story from step on.
func (r *roll) told(step int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.story[min(step, len(r.story)):])
}
