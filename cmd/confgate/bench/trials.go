package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// trial is what a trial was asked to do.
type trial struct {
	programs Programs
	seed     uint64
	duration time.Duration
	rooms    int
	guests   int
	members  int
	visitors int // in all
	corpora  []string
	serve    []string // more flags for the gateway

	instrumented bool // see subject
}

// trials hold what a gateway can be put through that was started for it.
var trials = []struct {
	name, about string
	parse       func(f *trialFlags)
	open        func(t trial) (scenario, error)
}{
	{"soak", "people come and go while lines break, for a long time; then nothing must be left", parseSoak, newSoak},
	{"herd", "the gateway is killed and started again, and everybody comes back at once", parseHerd, faulty("herd", playHerd)},
	{"slow", "a tenth of all stop reading", parseSlow, faulty("slow", playSlow)},
	{"drain", "the gateway is asked to stop while people are in calls", parseDrain, faulty("drain", playDrain, "--drain", "45s")},
	{"takeover", "two come under one name at the same moment", parseTakeover, faulty("takeover", playTakeover)},
	{"turnover", "a hundred thousand come and go, and nothing must be left of them", parseTurnover, faulty("turnover", playTurnover)},
	{"disk", "the disk is full where the log goes", parseDisk, faulty("disk", playDisk, "--log-level", "debug")},
	{"memory", "there are 256 MiB of memory for thousands of people", parseMemory, faulty("memory", playMemory, "--max-sockets-per-ip", "0")},
	{"cut", "lines are cut, and people come back in time", parseCut, faulty("cut", playCut, "--id-grace", "30s", "--eventop-grace", "30s")},
}

// Trials puts a gateway, that programs starts, through the trial that args begins with,
// and returns as [Main] does.
func Trials(ctx context.Context, programs Programs, args []string, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	if name == crowdName {
		return runCrowd(ctx, args[1:], stderr)
	}
	usage := new(strings.Builder)
	fmt.Fprintln(usage, "usage: soak <confgate> <trial> [flags]; the first is the path of the program")
	for _, t := range trials {
		if t.name == name {
			o, err := parseTrial(t.name, t.parse, programs, args[1:], stderr)
			o.options.open = func(options) (scenario, error) { return t.open(o.trial) }
			return play(ctx, o.options, err, stdout, stderr)
		}
		fmt.Fprintf(usage, "  %-10s %s\n", t.name, t.about)
	}
	if name == "help" || name == "-h" || name == "--help" || name == "-help" {
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	fmt.Fprint(stderr, usage)
	return exitUsage
}

// trialFlags are those of a trial.
type trialFlags struct {
	*flag.FlagSet
	options options
	trial   trial
}

func parseTrial(name string, declare func(*trialFlags), programs Programs, args []string, w io.Writer) (*trialFlags, error) {
	f := &trialFlags{FlagSet: flag.NewFlagSet("soak "+name, flag.ContinueOnError)}
	f.options.scenario, f.trial.programs = name, programs
	f.SetOutput(w)
	f.BoolVar(&f.options.json, "json", false, "print one line of JSON instead of a table")
	f.Uint64Var(&f.trial.seed, "seed", 0, "`number` that faults are drawn from; 0: any")
	f.Func("serve", "more `flags` for confgate serve, with spaces between them", func(text string) error {
		f.trial.serve = strings.Fields(text)
		return nil
	})
	declare(f)
	if err := f.Parse(args); err != nil {
		return f, err
	}
	if f.NArg() > 0 {
		return f, fmt.Errorf("what is %q?", f.Arg(0))
	}
	return f, f.trial.check()
}

const (
	maxTrial    = 24 * time.Hour
	maxRooms    = 50
	maxGuests   = 15
	maxVisitors = 1_000_000
)

func (t trial) check() error {
	var errs []error
	if t.duration < 0 || t.duration > maxTrial {
		errs = append(errs, fmt.Errorf("--duration must be at most %v", maxTrial))
	}
	return errors.Join(append(errs,
		within("rooms", t.rooms, 0, maxRooms),
		within("guests", t.guests, 0, maxGuests),
		within("members", t.members, 0, maxSockets),
		within("visitors", t.visitors, 0, maxVisitors),
	)...)
}
