package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"

	"confgate/core"
)

// logFormat is how log lines are written.
type logFormat string

const (
	logAuto logFormat = "auto"
	logText logFormat = "text"
	logJSON logFormat = "json"
)

func newLog(w io.Writer, f logFormat, level slog.Level) *slog.Logger {
	if f == logText || f == logAuto && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: legible}))
}

// legible writes durations as numbers that can be compared, in the unit of the
// metrics, and text so that it can be printed anywhere. JSON escapes what would break
// a line, but not what moves a terminal's cursor or turns text around, and whoever
// prints a field of a line undoes what it escapes.
func legible(_ []string, a slog.Attr) slog.Attr {
	isStack := a.Key == "stack" || a.Key == "stacks" // whose lines are our own
	switch a.Value.Kind() {
	case slog.KindDuration:
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	case slog.KindString:
		if !isStack {
			a.Value = slog.StringValue(printable(a.Value.String()))
		}
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(printable(err.Error()))
		}
	default: // numbers and the like
	}
	return a
}

// printable puts a mark in the place of what cannot be seen.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// journal is the core.Observer that writes log lines. Of a command it writes the
// names in it and never what it carries: no token, no SDP, no message.
type journal struct {
	log *slog.Logger

	// Clients can cause as many of these lines as they like.
	refusals, failures budget
}

// Handled tells of refused commands; of all others when everything is to be told.
func (j *journal) Handled(room core.RoomID, by core.Caller, cmd core.Command, err *core.Error) {
	level := slog.LevelDebug
	if err != nil {
		level = severity(err.Code)
	}
	if !j.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("command", core.CommandName(cmd)),
		slog.String("room", brief(string(room))),
		slog.String("user", brief(string(by.User))),
		slog.String("remote", by.Remote),
	}
	if err == nil {
		j.log.LogAttrs(context.Background(), level, "command done", attrs...)
		return
	}
	if c := shown(cmd); c != nil && by.User == "" {
		attrs = append(attrs, slog.String("claims_to_be", brief(string(c.User))))
		if c.Tenant != "" {
			attrs = append(attrs, slog.String("tenant", brief(c.Tenant)))
		}
	}
	attrs = append(attrs, slog.String("code", string(err.Code)), slog.String("reason", brief(err.Msg)))
	if err.Limit != "" {
		attrs = append(attrs, slog.String("limit", string(err.Limit)))
	}
	if err.Cause != nil {
		attrs = append(attrs, slog.String("cause", brief(err.Cause.Error())))
	}
	if attrs, ok := j.refusals.admit(attrs...); ok {
		j.log.LogAttrs(context.Background(), level, "command refused", attrs...)
	}
}

// shown gives what a command shows to be let in; nil: nothing.
func shown(cmd core.Command) *core.Credentials {
	switch c := cmd.(type) {
	case core.Hello:
		return &c.Cred
	case core.Join:
		return c.Cred
	default:
		return nil
	}
}

// severity says how much an operator cares: least where a client has only asked
// for something that cannot be.
func severity(c core.Code) slog.Level {
	switch c {
	case core.Internal:
		return slog.LevelError
	case core.Unauthorized, core.MediaFailed, core.TooMany:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// LegFailed tells whose connection failed, for whose stream.
func (j *journal) LegFailed(room core.RoomID, leg core.Leg, cause error) {
	direction := "down"
	if leg.Up() {
		direction = "up"
	}
	attrs, ok := j.failures.admit(
		slog.String("room", brief(string(room))),
		slog.String("user", brief(string(leg.Owner))),
		slog.String("direction", direction),
		slog.String("of", brief(string(leg.Stream.User))),
		slog.String("source", string(leg.Stream.Source)),
		slog.String("cause", brief(fmt.Sprint(cause))))
	if ok {
		j.log.LogAttrs(context.Background(), slog.LevelWarn, "leg failed", attrs...)
	}
}

// FirstPacket is for the metrics only.
func (*journal) FirstPacket(time.Duration) {}

// Expelled tells who may not be in a room any more, and why.
func (j *journal) Expelled(room core.RoomID, who core.Caller, cause error) {
	attrs, ok := j.refusals.admit(
		slog.String("room", brief(string(room))),
		slog.String("user", brief(string(who.User))),
		slog.String("remote", who.Remote),
		slog.String("reason", expelledFor(cause)))
	if ok {
		j.log.LogAttrs(context.Background(), slog.LevelInfo, "put out of a room", attrs...)
	}
}

// Slowed tells in which room too much is said.
func (j *journal) Slowed(room core.RoomID) {
	if attrs, ok := j.refusals.admit(slog.String("room", brief(string(room)))); ok {
		j.log.LogAttrs(context.Background(), slog.LevelWarn, "room slowed down", attrs...)
	}
}

// Panicked tells where the bug is.
func (j *journal) Panicked(room core.RoomID, reason any, stack []byte) {
	attrs, ok := j.failures.admit(
		slog.String("room", brief(string(room))),
		slog.String("reason", brief(fmt.Sprint(reason))),
		slog.String("stack", string(stack)))
	if ok {
		j.log.LogAttrs(context.Background(), slog.LevelError, "room ended by a bug", attrs...)
	}
}

// brief cuts what clients have a say in. An SDP, which some errors quote, does not
// come out beyond its first line, which holds nothing.
func brief(text string) string {
	const most = 200
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		text = text[:i] + "…"
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Lines of one kind that the log takes in one span of time.
const (
	budgetLines = 100
	budgetSpan  = 10 * time.Second
)

// budget bounds how often something is logged.
type budget struct {
	mu      sync.Mutex
	since   time.Time // when the span began; guarded by mu
	spent   int       // lines in the span; guarded by mu
	skipped int       // lines held back since the last one; guarded by mu
}

// admit reports whether a line may be written, and adds how many were not since
// the last one.
func (b *budget) admit(line ...slog.Attr) ([]slog.Attr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); now.Sub(b.since) >= budgetSpan {
		b.since, b.spent = now, 0
	}
	if b.spent >= budgetLines {
		b.skipped++
		return nil, false
	}
	b.spent++
	if b.skipped > 0 {
		line = append(line, slog.Int("lines_skipped", b.skipped))
		b.skipped = 0
	}
	return line, true
}
