package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
)

// scenario is a kind of load, ready to be played once.
type scenario interface {
	// run plays it. There may be a result even if things went wrong; the error says
	// that it could not be played to its end.
	run(ctx context.Context) (result, error)
	// progressLine says in one line how far the run is.
	progressLine() string
}

// result is what came of a run; as JSON it is one line.
type result interface {
	writeTable(w io.Writer) error
	// ok says whether everything was as it must be.
	ok() bool
	// complaints are the first of the things that went wrong.
	complaints() []string
}

// play runs what parsing gave, and returns the exit code.
func play(ctx context.Context, o options, err error, stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	complain := func(what any) { fmt.Fprintf(stderr, "confgate bench %s: %v\n", o.scenario, what) }
	if err != nil {
		complain(err)
		return exitUsage
	}
	s, err := o.open(o)
	if err != nil {
		complain(err)
		return exitFailed
	}
	stop := showProgress(stderr, s)
	r, err := s.run(ctx)
	stop()
	if r != nil {
		if o.json {
			err = errors.Join(err, json.NewEncoder(stdout).Encode(r))
		} else {
			err = errors.Join(err, r.writeTable(stdout))
		}
		for _, fault := range r.complaints() {
			complain(fault)
		}
	}
	if err != nil {
		complain(err)
	}
	if err != nil || !r.ok() {
		return exitFailed
	}
	return exitOK
}
