package relay

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// logs gives Pion's server loggers that write to ours, at debug level: it warns of
// what any stranger's packet can cause. What matters to an operator is in Refusal.
type logs struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l logs) NewLogger(string) logging.LeveledLogger { return quiet(l) }

// quiet drops what comes several a packet.
type quiet struct{ log *slog.Logger }

func (quiet) Trace(string)          {}
func (quiet) Tracef(string, ...any) {}
func (quiet) Debug(string)          {}
func (quiet) Debugf(string, ...any) {}
func (quiet) Info(string)           {}
func (quiet) Infof(string, ...any)  {}

func (q quiet) Warn(msg string)  { q.print("%s", msg) }
func (q quiet) Error(msg string) { q.print("%s", msg) }

func (q quiet) Warnf(format string, args ...any)  { q.print(format, args...) }
func (q quiet) Errorf(format string, args ...any) { q.print(format, args...) }

func (q quiet) print(format string, args ...any) {
	if q.log.Enabled(context.Background(), slog.LevelDebug) {
		q.log.Debug(fmt.Sprintf(format, args...), "pion", "turn") //nolint:sloglint // the message is Pion's
	}
}
