package media

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/pion/logging"
)

// logs gives Pion's packages loggers that write to ours. All of it is written at
// debug level: Pion warns of what any stranger's packet can cause, and what matters
// to an operator the plane says itself.
type logs struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l logs) NewLogger(scope string) logging.LeveledLogger { return scoped{l.log, scope} }

type scoped struct {
	log   *slog.Logger
	scope string
}

func (s scoped) print(msg string) {
	s.log.Debug(msg, "pion", s.scope) //nolint:sloglint // the message is Pion's
}

// printf leaves out what would give away an ICE password.
func (s scoped) printf(format string, args ...any) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) && !strings.Contains(format, "Pwd") {
		s.log.Debug(fmt.Sprintf(format, args...), "pion", s.scope) //nolint:sloglint // the message is Pion's
	}
}

// Trace lines come several a packet; they are dropped.

func (scoped) Trace(string)          {}
func (scoped) Tracef(string, ...any) {}

func (s scoped) Debug(msg string) { s.print(msg) }
func (s scoped) Info(msg string)  { s.print(msg) }
func (s scoped) Warn(msg string)  { s.print(msg) }
func (s scoped) Error(msg string) { s.print(msg) }

func (s scoped) Debugf(format string, args ...any) { s.printf(format, args...) }
func (s scoped) Infof(format string, args ...any)  { s.printf(format, args...) }
func (s scoped) Warnf(format string, args ...any)  { s.printf(format, args...) }
func (s scoped) Errorf(format string, args ...any) { s.printf(format, args...) }
