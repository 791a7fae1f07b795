// Package bench is the load instrument: it puts people into a gateway's rooms, over
// the wire as real clients come, and counts exactly what becomes of their packets.
// It imports nothing of the gateway, so that it measures any that speaks the dialects.
package bench

import (
	"context"
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

// programme holds the scenarios. Each reads the arguments that follow its name; usage
// and complaints go to w.
var programme = []struct {
	name, about string
	parse       func(args []string, w io.Writer) (options, error)
}{
	{"room", "everybody in one room receives everybody else", parseRoom},
	{"broadcast", "one sends to many", parseBroadcast},
	{"churn", "people come, meet and go, all the time", parseChurn},
	{"signal", "people sit there, idle or busy, without media", parseSignal},
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
	for _, s := range programme {
		if s.name == name {
			o, err := s.parse(args[1:], stderr)
			return play(ctx, o, err, stdout, stderr)
		}
	}
	usage := new(strings.Builder)
	fmt.Fprintln(usage, "usage: confgate bench <scenario> [flags]")
	for _, s := range programme {
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
