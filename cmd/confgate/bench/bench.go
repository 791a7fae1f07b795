// Package bench is the load instrument: it puts people into a gateway's rooms, over
// the wire as real clients come, and counts exactly what becomes of their packets.
// It imports nothing of the gateway, so that it measures any that speaks the dialects.
package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// What Main returns, as exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something did not join, connect or arrive
	exitUsage  = 2
)

// scenario plays one kind of load with the arguments that follow its name.
type scenario struct {
	name, about string
	main        func(ctx context.Context, args []string, stdout, stderr io.Writer) int
}

func scenarios() []scenario {
	return []scenario{
		{"room", "everybody in one room receives everybody else", mainRoom},
		{"broadcast", "one sends to many", mainBroadcast},
	}
}

// Main plays the scenario that args begins with and prints what came of it to stdout;
// complaints, and progress where stderr is a terminal, go to stderr. It returns the
// exit code: 0 when everybody joined and received everything, 1 when not, 2 when args
// make no sense.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	for _, s := range scenarios() {
		if s.name == name {
			return s.main(ctx, args[1:], stdout, stderr)
		}
	}
	usage := new(strings.Builder)
	fmt.Fprintln(usage, "usage: confgate bench <scenario> [flags]")
	for _, s := range scenarios() {
		fmt.Fprintf(usage, "  %-10s %s\n", s.name, s.about)
	}
	fmt.Fprintln(usage, "confgate bench <scenario> --help tells its flags.")
	if name == "help" || name == "-h" || name == "--help" || name == "-help" {
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	fmt.Fprint(stderr, usage)
	return exitUsage
}

// mainCall plays what parsing gave.
func mainCall(ctx context.Context, o options, err error, stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	complain := func(what any) { fmt.Fprintf(stderr, "confgate bench %s: %v\n", o.scenario, what) }
	if err != nil {
		complain(err)
		return exitUsage
	}
	c, err := newCall(o)
	if err != nil {
		complain(err)
		return exitFailed
	}
	stop := showProgress(stderr, c)
	rep, err := c.run(ctx)
	stop()
	if rep != nil {
		write := rep.writeTable
		if o.json {
			write = rep.writeJSON
		}
		err = errors.Join(err, write(stdout))
		for _, fault := range rep.Faults {
			complain(fault)
		}
	}
	if err != nil {
		complain(err)
	}
	if err != nil || !rep.ok() {
		return exitFailed
	}
	return exitOK
}
