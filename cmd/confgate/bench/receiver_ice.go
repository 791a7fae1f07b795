package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

const (
	hostPriority = 126<<24 | 65535<<8 | 255 // of a host candidate (RFC 8445 section 5.1.2)

	firstCheck = 50 * time.Millisecond // until the check goes out again, then twice that
	lastCheck  = time.Second
	silence    = 5 * time.Second // without an answer to a check: interrupted
	death      = 30 * time.Second
)

// checks are a receiver's ICE checks.
type checks struct {
	answered chan struct{} // closed with the first success
	last     atomic.Int64  // when a check was answered last, in Unix nanoseconds
	silent   bool          // owned by rig.keep
	dead     bool          // owned by rig.keep

	mu   sync.Mutex
	sent [4][stun.TransactionIDSize]byte // guarded by mu: the latest checks
	next int                             // guarded by mu
	once sync.Once
}

// reachGateway checks until the gateway answers.
func (r *receiver) reachGateway(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := firstCheck; ; wait = min(2*wait, lastCheck) {
		select {
		case <-r.checks.answered:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			if err := r.check(); err != nil {
				return err
			}
			timer.Reset(wait)
		}
	}
}

// check sends a binding request (RFC 8445 section 7.2.5).
func (r *receiver) check() error {
	m := stun.New()
	setters := []stun.Setter{
		stun.TransactionID, stun.BindingRequest, stun.NewUsername(r.remote.ufrag + ":" + r.ufrag), ice.PriorityAttr(hostPriority),
	}
	if r.controls.Load() {
		setters = append(setters, ice.AttrControlling(r.tiebreaker), ice.UseCandidate())
	} else {
		setters = append(setters, ice.AttrControlled(r.tiebreaker))
	}
	setters = append(setters, stun.NewShortTermIntegrity(r.remote.pwd), stun.Fingerprint)
	if err := m.Build(setters...); err != nil {
		return err
	}
	c := &r.checks
	c.mu.Lock()
	c.sent[c.next%len(c.sent)] = m.TransactionID
	c.next++
	c.mu.Unlock()
	return r.socket.write(m.Raw)
}

// takeSTUN takes answers to checks, and answers those of a gateway that makes its own.
func (r *receiver) takeSTUN(b []byte) {
	m := stun.New()
	if stun.Decode(b, m) != nil || m.Type.Method != stun.MethodBinding {
		return
	}
	switch m.Type.Class {
	case stun.ClassRequest:
		r.answerCheck(m)
	case stun.ClassSuccessResponse, stun.ClassErrorResponse:
		r.checked(m)
	case stun.ClassIndication: // a keep-alive
	}
}

func (r *receiver) checked(m *stun.Message) {
	if !r.checks.asked(m.TransactionID) || stun.NewShortTermIntegrity(r.remote.pwd).Check(m) != nil {
		return
	}
	if m.Type.Class == stun.ClassErrorResponse {
		var why stun.ErrorCodeAttribute
		if why.GetFrom(m) == nil && why.Code == stun.CodeRoleConflict {
			r.controls.Store(!r.controls.Load())
		}
		return
	}
	r.checks.last.Store(time.Now().UnixNano())
	r.checks.once.Do(func() { close(r.checks.answered) })
}

func (c *checks) asked(id [stun.TransactionIDSize]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range min(c.next, len(c.sent)) {
		if c.sent[i] == id {
			return true
		}
	}
	return false
}

func (r *receiver) answerCheck(m *stun.Message) {
	integrity := stun.NewShortTermIntegrity(r.pwd)
	if integrity.Check(m) != nil {
		return
	}
	r.mu.Lock()
	socket := r.socket
	r.mu.Unlock()
	if socket == nil {
		return // it comes again
	}
	to := socket.to
	answer, err := stun.Build(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: to.Addr().AsSlice(), Port: int(to.Port())}, integrity, stun.Fingerprint)
	if err == nil {
		_ = socket.write(answer.Raw)
	}
}

var errSilent = errors.New("the gateway does not answer checks any more")

// consent checks a connection that is up (RFC 7675), and tells if it is not any more.
func (r *receiver) consent() {
	c := &r.checks
	quiet := time.Duration(time.Now().UnixNano() - c.last.Load())
	switch {
	case c.dead:
		return
	case quiet > death:
		c.dead = true
		r.up.failed(errSilent)
		return
	case quiet > silence && !c.silent:
		c.silent = true
		r.up.interrupted()
	case quiet <= silence:
		c.silent = false
	}
	_ = r.check() // the silence tells
}
