package media

import (
	"crypto/rand"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
)

// link is the transport of one leg: ICE-lite (RFC 8445), then DTLS-SRTP (RFC 5764).
// We never probe: a client's checks tell where it is, and that it still is there.
type link struct {
	plane *Plane
	leg   *leg

	// Owned by the leg's queue.
	access        // that clients are given
	at     string // the name by which checks find it, see [links]
	former string // the name before, whose checks still count

	route   atomic.Pointer[path] // where to send; nil before the first check
	checked atomic.Int64         // when the client was last known to be there, Unix ns; 0 before
	routed  atomic.Int64         // when the route was last checked, Unix ns
	asked   transactions         // of the checks that counted
	keys    atomic.Pointer[keys] // nil before DTLS is done
	agreed  atomic.Bool          // the client has shown that it has them

	mu     sync.Mutex
	closed bool         // guarded by mu
	paths  []path       // from which checks came, the latest last; guarded by mu
	client *description // nil until known; guarded by mu
	shake  *handshake   // nil before it begins and after it is of use; guarded by mu
}

// maxPaths is how many addresses a client may use at a time: it has a few
// interfaces, and changes networks.
const maxPaths = 8

// absence is how long a client may keep silent before it is taken for gone (RFC
// 7675 has 30 s for those who probe; browsers check every few seconds).
const absence = 15 * time.Second

// disuse is how long no check may have come by the route before one by another path
// makes that the route, though it does not nominate it. So it is when a NAT gives a
// client another port, and the client, who does not know, has no reason to nominate
// anew: browsers check what they use every 2.5 s.
const disuse = 6 * time.Second

func newLink(p *Plane, l *leg, a access, at string) *link {
	k := &link{plane: p, leg: l, access: a, at: at}
	p.links.add(k)
	return k
}

// access is what a client's checks show that they are ours to answer (RFC 8445
// section 5.3).
type access struct {
	ufrag, pwd string
	integrity  stun.MessageIntegrity
}

func newAccess() access {
	pwd := rand.Text()
	return access{rand.Text()[:16], pwd, stun.NewShortTermIntegrity(pwd)}
}

// restart gives the client another password (RFC 8445 section 9). All else stays,
// also the way to it, until it nominates another.
func (k *link) restart() {
	k.plane.links.remove(k, k.former)
	k.former, k.access = k.at, newAccess()
	k.at = k.ufrag
	k.plane.links.add(k)
}

// isRestart reports whether the client has begun ICE anew.
func (k *link) isRestart(d *description) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client != nil && k.client.ufrag != d.ufrag
}

// check takes a client's connectivity check, which is authentic.
func (k *link) check(from path, nominated bool, now time.Time) {
	k.checked.Store(now.UnixNano())
	r := k.route.Load()
	if r != nil && *r == from {
		k.routed.Store(now.UnixNano())
		if k.plane.links.at(from) == k {
			return // as nearly always
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	if !k.keep(from, now) {
		return
	}
	if r == nil || nominated || now.Sub(time.Unix(0, k.routed.Load())) > disuse {
		k.route.Store(&from)
		k.routed.Store(now.UnixNano())
		k.begin()
	}
}

// keep notes a path of the client's, and lets go of the one not noted for longest if
// there are too many. It reports false when the path is in use by somebody else. It needs
// k.mu.
func (k *link) keep(p path, now time.Time) bool {
	if !k.plane.links.bind(k, p, now) {
		return false
	}
	if i := slices.Index(k.paths, p); i >= 0 {
		k.paths = slices.Delete(k.paths, i, i+1)
	}
	if len(k.paths) == maxPaths {
		i := 0
		if r := k.route.Load(); r != nil && *r == k.paths[0] {
			i = 1
		}
		k.leave(k.paths[i])
		k.paths = slices.Delete(k.paths, i, i+1)
	}
	k.paths = append(k.paths, p)
	return true
}

// uses reports whether the client's media go by a path, and it has said so lately.
func (k *link) uses(p path, now time.Time) bool {
	r := k.route.Load()
	return r != nil && *r == p && now.Sub(time.Unix(0, k.routed.Load())) <= disuse
}

// isOfSame reports whether two links are of one member.
func (k *link) isOfSame(other *link) bool {
	return k.leg.room == other.leg.room && k.leg.name.owner == other.leg.name.owner
}

// leave ends what comes by a path, unless that is another link's by now.
func (k *link) leave(p path) {
	if k.plane.links.unbind(k, p) && p.stream != nil {
		p.stream.close()
	}
}

// send sends a packet that is neither media nor urgent.
func (k *link) send(b []byte) {
	if r := k.route.Load(); r != nil {
		r.send(b)
	}
}

// look does what time asks for.
func (k *link) look(now time.Time) {
	if k.isGone(now) {
		k.leg.fail(errICE)
		return
	}
	k.mu.Lock()
	over := k.shake != nil && k.shake.isOver(now)
	k.mu.Unlock()
	if over {
		k.leg.queue.post(k.letGo)
	}
}

// isGone reports whether a client that was there no longer is.
func (k *link) isGone(now time.Time) bool {
	at := k.checked.Load()
	return at != 0 && now.Sub(time.Unix(0, at)) > absence
}

// close ends all traffic.
func (k *link) close() {
	k.plane.links.remove(k, k.at)
	k.plane.links.remove(k, k.former)
	k.mu.Lock()
	k.closed = true
	paths, shake := k.paths, k.shake
	k.paths, k.shake = nil, nil
	k.mu.Unlock()
	for _, p := range paths {
		k.leave(p)
	}
	if shake != nil {
		shake.stop()
	}
}

// links finds the link that a packet is for: a check by the user that it names, which
// is our user fragment, a colon, and the client's (RFC 8445 section 7.2.2), all else by
// where it comes from. A link is there by our fragment alone, or by the whole name if
// it goes by a fragment that another had before it: see [guise].
type links struct {
	seed   maphash.Seed
	shards [64]shard

	mu     sync.RWMutex
	byName map[string]door // guarded by mu
}

// door is what a user fragment of ours opens.
type door struct {
	link      *link
	integrity stun.MessageIntegrity
}

type shard struct {
	mu     sync.RWMutex
	byPath map[path]*link // guarded by mu
}

func newLinks() *links {
	t := &links{seed: maphash.MakeSeed(), byName: make(map[string]door)}
	for i := range t.shards {
		t.shards[i].byPath = make(map[path]*link)
	}
	return t
}

func (t *links) shard(p path) *shard {
	return &t.shards[maphash.Comparable(t.seed, p.to)%uint64(len(t.shards))]
}

func (t *links) add(k *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byName[k.at] = door{k, k.integrity}
}

// remove takes a name from k, unless that is another link's by now.
func (t *links) remove(k *link, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName[name].link == k {
		delete(t.byName, name)
	}
}

// bind gives a path to k. A client that uses one address for one connection after
// the other means the latest. It reports false where somebody else is at that address:
// who can forge the sender of a check could else take it from them.
func (t *links) bind(k *link, p path, now time.Time) bool {
	s := t.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.byPath[p]; other != nil && other != k && !k.isOfSame(other) && other.uses(p, now) {
		return false
	}
	s.byPath[p] = k
	return true
}

// unbind takes a path from k. It reports false when it was not k's.
func (t *links) unbind(k *link, p path) bool {
	s := t.shard(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPath[p] != k {
		return false
	}
	delete(s.byPath, p)
	return true
}

func (t *links) at(p path) *link {
	s := t.shard(p)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byPath[p]
}

func (t *links) named(user string) door {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if d, ok := t.byName[user]; ok {
		return d
	}
	ours, _, _ := strings.Cut(user, ":")
	return t.byName[ours]
}

// all gives the links there are, some twice.
func (t *links) all(into []*link) []*link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, d := range t.byName {
		into = append(into, d.link)
	}
	return into
}
