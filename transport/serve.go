package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"confgate/core"
	"confgate/protocol"
)

// Defaults of Options and Config.
const (
	defaultOutboxLimit  = 1024 // events
	defaultOutboxBytes  = 4 << 20
	defaultWriteTimeout = 10 * time.Second
)

// maxBadFrameLines is how many bad frames of one connection are logged one by one;
// the line at its end has their number.
const maxBadFrameLines = 5

// maxLogged is how many bytes of anything a client sent go into a log line.
const maxLogged = 200

// Conn carries whole frames, without the framing around them. Read and Write may
// each be called from one goroutine at a time, and return soon after their context
// has ended.
type Conn interface {
	Read(context.Context) ([]byte, error)
	receiver
}

// receiver is who frames go to.
type receiver interface {
	// Write may be given a deadline.
	Write(context.Context, []byte) error
}

// Acknowledger is a Conn whose client may want the reply to a frame twice: as a
// frame like all others, and as the acknowledgement of its own frame.
type Acknowledger interface {
	// Wanted names the acknowledgement that is wanted for the frame that Read gave
	// last; empty: none.
	Wanted() string
	// Acknowledge sends the reply once more, under that name.
	Acknowledge(ctx context.Context, name string, reply []byte) error
}

// Watched is a Conn that notices when its client misses a sign of life.
type Watched interface {
	// Watch gives it what it is to tell whenever that changes.
	Watch(quiet func(missed bool))
}

// Observer is told what happens to connections, from the goroutines in which it
// happens: its methods must not wait.
type Observer interface {
	Opened(dialect, framing string)
	Closed(dialect, framing string, cause error) // see Reason
	BadFrame(dialect string)
	Limited(Limit) // a limit bites
}

// Options are the circumstances of one connection. The zero value serves.
type Options struct {
	Framing      string        // names it in metrics and log lines
	Remote       string        // the client's address
	Origin       string        // of the page it is, as canonicalOrigin writes it; empty: none
	Observer     Observer      // nil: nobody watches
	Log          *slog.Logger  // nil: silent
	OutboxLimit  int           // events a client may be behind; 0: 1024
	OutboxBytes  int           // that they may hold, besides the largest of them; 0: 4 MiB
	WriteTimeout time.Duration // for one frame, and more if it is long; 0: 10 s
	Full         func() bool   // there is no memory for new calls; nil: there is
	Limits       Limits        // of them, those of one connection's frames
	Limited      func(Limit)   // told of a limit that bites; nil: the Observer is
	// Sparing is asked before a line of a kind that strangers can cause at will, and how
	// many were skipped since the last one. Nil: all are written.
	Sparing    func(kind string) (skipped int, ok bool)
	Registered func() // called once the client has said who it is, and was let in; nil: nobody wants to know
}

func (o Options) withDefaults() Options {
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Limited == nil {
		o.Limited = o.Observer.Limited
	}
	if o.Sparing == nil {
		o.Sparing = func(string) (int, bool) { return 0, true }
	}
	if o.Full == nil {
		o.Full = func() bool { return false }
	}
	if o.Registered == nil {
		o.Registered = func() {}
	}
	o.OutboxLimit = cmp.Or(o.OutboxLimit, defaultOutboxLimit)
	o.OutboxBytes = cmp.Or(o.OutboxBytes, defaultOutboxBytes)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, defaultWriteTimeout)
	return o
}

// nobody is the Observer of those who have none.
type nobody struct{}

func (nobody) Opened(string, string)        {}
func (nobody) Closed(string, string, error) {}
func (nobody) BadFrame(string)              {}
func (nobody) Limited(Limit)                {}

// Serve runs one connection until it breaks, its client is cut off, or ctx ends,
// and returns the cause. It reads in this goroutine, and writes in another for as
// long as there is something to write: most connections are idle most of the time.
// When it returns, the client has left everything. Closing the connection, in the
// words of its framing, is the caller's.
func Serve(ctx context.Context, c Conn, hub *core.Hub, d protocol.Dialect, o Options) error {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	p := newPumps(ctx, cut, c, hub, d, o)
	cut(p.guard(func() error { return p.read(ctx, c) }))
	cause := context.Cause(ctx)
	p.end(cause)
	return cause
}

// newPumps begins a connection. What a waiting Serve keeps on its stack is little:
// there are many of them.
func newPumps(ctx context.Context, cut context.CancelCauseFunc, c receiver, hub *core.Hub, d protocol.Dialect, o Options) *pumps {
	o = o.withDefaults()
	p := &pumps{
		conn: c, dialect: d, out: core.NewOutbox(o.OutboxLimit, cut), options: &o,
		began: time.Now(), throttle: newThrottle(o.Limits),
	}
	p.out.LimitBytes(o.OutboxBytes)
	p.out.OnWork(func() { p.startWriting(ctx, cut) })
	p.session = hub.Session(p.out, core.Peer{Remote: o.Remote, Origin: o.Origin})
	if w, ok := c.(Watched); ok {
		w.Watch(p.out.Quiet)
	}
	p.acks, _ = c.(Acknowledger)
	o.Observer.Opened(d.Name, o.Framing)
	return p
}

// end has the client leave, or stay for a while if it may come back, and tells of it.
func (p *pumps) end(cause error) {
	o := p.options
	p.late.Wait()
	user, inRoom := p.session.User(), p.session.InRoom()
	if lost(cause) {
		p.session.Lose()
	} else {
		p.session.Close()
	}
	p.stopWriting()
	limit := endingOf(cause).limit
	if limit != "" {
		o.Limited(limit)
	}
	o.Observer.Closed(p.dialect.Name, o.Framing, cause)
	skipped := 0
	if !inRoom && (user == "" || limit != "") {
		var ok bool
		if skipped, ok = o.Sparing("connection ended, " + Reason(cause)); !ok {
			return
		}
	}
	p.log().Info("connection ended", "user", clip(string(user)), "duration", time.Since(p.began),
		"frames_in", p.framesIn, "frames_out", p.framesOut, "bad_frames", p.badFrames,
		"reason", Reason(cause), "cause", clip(cause.Error()), "lines_skipped", skipped)
}

// lost reports whether a connection ended against its client's will, as far as can be
// told: the client may come back.
func lost(cause error) bool {
	return errors.Is(cause, ErrLost) || errors.Is(cause, ErrSilent) || errors.Is(cause, ErrStalled)
}

// guard runs a part of a connection. A bug in it ends the connection, not the
// process.
func guard(log func() *slog.Logger, run func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrPanicked, r)
			log().Error("connection panicked", "panic", clip(fmt.Sprint(r)), "stack", string(debug.Stack()))
		}
	}()
	return run()
}

// pumps move the frames of one connection.
type pumps struct {
	conn    receiver
	acks    Acknowledger // conn, if it is one
	dialect protocol.Dialect
	session *core.Session
	out     *core.Outbox
	options *Options
	began   time.Time

	// Owned by read.
	framesIn int
	throttle throttle
	// Owned by read while nothing waits in backlog, else by catchUp.
	badFrames int
	known     bool // the client has said who it is
	// Owned by write.
	framesOut int

	backlog backlog
	late    sync.WaitGroup // who catches up, one at a time

	writers sync.WaitGroup // one at a time
	mu      sync.Mutex     // held while a writer begins, and while over is set
	over    atomic.Bool    // nothing is to be written any more
}

func (p *pumps) read(ctx context.Context, c Conn) error {
	for {
		frame, err := c.Read(ctx)
		if err != nil {
			p.settle(ctx)
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := p.take(ctx, frame); err != nil {
			return err
		}
	}
}

// take sees to a frame from the client: it is handled here and now, or waits until it
// is due. One at a time is taken, and none after the end.
func (p *pumps) take(ctx context.Context, frame []byte) error {
	p.framesIn++
	if !utf8.Valid(frame) {
		p.settle(ctx)
		return ErrNotUTF8
	}
	r := request{size: len(frame)}
	r.cmd, r.ref, r.bad = p.dialect.Codec.Decode(frame)
	if p.acks != nil {
		r.ref.Ack = p.acks.Wanted()
	}
	waiting := p.backlog.waiting()
	wait, err := p.throttle.due(r.cmd, r.size, waiting, p.options.Limited)
	switch {
	case err != nil:
		return err
	case wait == 0 && waiting == 0:
		p.handle(ctx, r)
		return nil
	}
	r.due = time.Now().Add(wait)
	first, err := p.backlog.add(ctx, r)
	if first {
		p.startCatchingUp(ctx)
	}
	return err
}

// startCatchingUp handles what waits, and ends the connection where that fails.
func (p *pumps) startCatchingUp(ctx context.Context) {
	p.late.Go(func() {
		if err := p.guard(func() error { return p.catchUp(ctx) }); err != nil {
			p.out.Cut(err)
		}
	})
}

// catchUp handles frames as they become due, until none waits.
func (p *pumps) catchUp(ctx context.Context) error {
	for more := true; more; more = p.backlog.drop() {
		r := p.backlog.first()
		if err := sleep(ctx, time.Until(r.due)); err != nil {
			return err
		}
		p.handle(ctx, r)
	}
	return nil
}

// settle is for when the client will say no more: it waits until all is handled that
// came before. Nothing is written any more, as that would fail, and look like a line
// that broke.
func (p *pumps) settle(ctx context.Context) {
	if p.backlog.waiting() > 0 {
		p.stopWriting()
		p.backlog.settle(ctx)
	}
}

// handle does what a frame asks for. One at a time is handled, in order.
func (p *pumps) handle(ctx context.Context, r request) {
	switch {
	case r.bad != nil:
		p.badFrame(r.ref, r.bad)
		p.session.Fail(r.ref, r.bad)
	case needsMemory(r.cmd) && p.options.Full():
		p.options.Limited(LimitMemory)
		p.session.Fail(r.ref, core.Errorf(core.Draining, "no memory for more calls"))
	case r.cmd != nil:
		p.session.Do(ctx, r.ref, r.cmd)
		p.register()
	}
}

// log is for lines about this connection. It is made when there is one.
func (p *pumps) log() *slog.Logger {
	o := p.options
	return o.Log.With("dialect", p.dialect.Name, "framing", o.Framing, "remote", o.Remote)
}

// guard runs a part of the connection; see guard.
func (p *pumps) guard(run func() error) error { return guard(p.log, run) }

// register tells, once, that the client has said who it is.
func (p *pumps) register() {
	if !p.known && p.session.User() != "" {
		p.known = true
		p.options.Registered()
	}
}

// badFrame tells of a frame that could not be read: of a few of each connection, and of
// fewer of strangers'.
func (p *pumps) badFrame(ref core.Ref, err error) {
	p.options.Observer.BadFrame(p.dialect.Name)
	p.badFrames++
	if p.badFrames > maxBadFrameLines {
		return
	}
	user, skipped := p.session.User(), 0
	if user == "" {
		var ok bool
		if skipped, ok = p.options.Sparing("bad frame"); !ok {
			return
		}
	}
	p.log().Warn("bad frame", "user", clip(string(user)), "op", clip(ref.Op), "error", clip(err.Error()), "lines_skipped", skipped)
}

// startWriting writes what waits, and ends the connection where that fails.
func (p *pumps) startWriting(ctx context.Context, cut context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over.Load() {
		p.discard()
		return
	}
	p.writers.Go(func() {
		err := p.guard(func() error { return p.write(ctx) })
		switch {
		case p.over.Load(), errors.Is(err, net.ErrClosed): // the client's last word was read: who reads knows why
			p.discard()
		case err != nil:
			cut(err)
		}
	})
}

// stopWriting returns when nothing is being written any more, and has nothing be
// written from then on.
func (p *pumps) stopWriting() {
	p.mu.Lock()
	p.over.Store(true)
	p.mu.Unlock()
	p.writers.Wait()
}

// discard empties the outbox of a client that has gone.
func (p *pumps) discard() {
	for more := true; more; {
		more = len(p.out.Drain()) > 0
	}
}

// write writes until nothing waits.
func (p *pumps) write(ctx context.Context) error {
	for {
		events := p.out.Drain()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(events) == 0, p.over.Load():
			return nil
		}
		for _, event := range events {
			for i, frame := range p.dialect.Codec.Encode(event) {
				err := p.writeFrame(ctx, frame, p.conn.Write)
				if i == 0 && err == nil {
					err = p.acknowledge(ctx, event, frame)
				}
				if err != nil {
					return err
				}
				p.framesOut++
			}
		}
	}
}

// acknowledge repeats the frame of a reply for a client that waits for it so.
func (p *pumps) acknowledge(ctx context.Context, event core.Event, frame []byte) error {
	reply, ok := event.(core.Reply)
	if !ok || reply.Ref.Ack == "" || p.acks == nil {
		return nil
	}
	return p.writeFrame(ctx, frame, func(ctx context.Context, frame []byte) error {
		return p.acks.Acknowledge(ctx, reply.Ref.Ack, frame)
	})
}

func (p *pumps) writeFrame(ctx context.Context, frame []byte, write func(context.Context, []byte) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, transferTime(p.options.WriteTimeout, len(frame)), ErrStalled)
	defer cancel()
	err := write(ctx, frame)
	if err != nil && errors.Is(context.Cause(ctx), ErrStalled) {
		return ErrStalled
	}
	return err
}

// slowLine is how many bytes a second a client is expected to take.
const slowLine = 64 << 10

// transferTime gives so many bytes time to go out, besides what a small frame has.
func transferTime(base time.Duration, size int) time.Duration {
	return base + time.Duration(size/slowLine)*time.Second
}

// clip bounds what a client sent for a log line, and keeps it valid.
func clip(s string) string {
	if len(s) > maxLogged {
		s = s[:maxLogged] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
