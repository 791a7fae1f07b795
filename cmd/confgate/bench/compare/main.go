// Command compare runs a fixed set of loads against confgate and the baseline in turn,
// each against a server that was just started, and holds the ratios against their
// goals. It keeps out how a load is made and counted: that is confgate bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

const maxPairs = 50

var errGoals = errors.New("not all goals are reached")

// run makes the runs and writes the table. Which run is under way goes to errs.
func run(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() {
		fmt.Fprintln(errs, "usage: compare [flags] <confgate> <baseline>, the paths of both programs")
		f.PrintDefaults()
	}
	pairs := f.Int("pairs", 3, "how `often` both take their turns")
	serve := f.String("serve", "", "more `flags` for confgate serve, with spaces between them")
	record := f.String("record", "", "`file` that gets the line of JSON of each run")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 2 {
		return errors.New("what is compared? compare <confgate> <baseline>")
	}
	if *pairs < 1 || *pairs > maxPairs {
		return fmt.Errorf("--pairs must be from 1 to %d", maxPairs)
	}
	b := &bench{program: f.Arg(0), told: errs, results: make(map[key][]figures)}
	if *record != "" {
		file, err := os.OpenFile(*record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		b.record = file
	}
	servers := [...]server{
		confgate: {f.Arg(0), func(p ports) []string {
			return append([]string{
				"serve", "--dev", "--log-level", "warn", "--id-room-limit", "0", "--media-port", "0",
				"--listen", p.clients.String(), "--admin-listen", p.admin.String(),
			}, strings.Fields(*serve)...)
		}},
		baseline: {f.Arg(1), func(p ports) []string {
			return []string{"--port", fmt.Sprint(p.clients.Port()), "--admin-port", fmt.Sprint(p.admin.Port())}
		}},
	}
	for i, t := range schedule(*pairs) {
		fmt.Fprintf(errs, "%d of %d: %s, %v\n", i+1, len(schedule(*pairs)), t.load.name, t.on)
		if err := b.try(ctx, servers[t.on], t); err != nil {
			return fmt.Errorf("%s, %v: %w", t.load.name, t.on, err)
		}
	}
	fmt.Fprintf(out, "%s\n%d pairs; each ratio is the median of theirs\n\n", machine(), *pairs)
	reached, err := writeTable(out, b.results)
	if err == nil && !reached {
		err = errGoals
	}
	return err
}
