// Command confgate is a conferencing gateway: clients of several signalling dialects
// meet in rooms and exchange media through it. This package wires the house
// together and keeps out all that the house does: rooms are core's, frames are
// transport's and protocol's, packets are media's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"confgate/cmd/confgate/bench"
)

func main() {
	os.Exit(run(untilSignal(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// untilSignal gives a context that ends with the first SIGTERM or SIGINT. From then
// on nobody listens for signals, so that a second one ends the process at once.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		first := <-signals
		signal.Stop(signals)
		cancel(fmt.Errorf("signal %v", first))
	}()
	return ctx
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // what was asked for makes no sense
)

// command is what the first argument names.
type command struct {
	name, does string
	run        func(ctx context.Context, args, env []string, out, errs io.Writer) int
}

func subcommands() []command {
	return []command{
		{"serve", "serve calls until SIGTERM", runServe},
		{"bench", "load a gateway with made-up people and count what they receive", runBench},
		{"version", "tell which confgate this is", runVersion},
		{"help", "show this", runHelp},
	}
}

func run(ctx context.Context, args, env []string, out, errs io.Writer) int {
	if len(args) == 0 {
		writeUsage(errs)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	for _, c := range subcommands() {
		if c.name == name {
			return c.run(ctx, args[1:], env, out, errs)
		}
	}
	fmt.Fprintf(errs, "confgate: %q is no command\n\n", args[0])
	writeUsage(errs)
	return exitUsage
}

func writeUsage(w io.Writer) {
	fmt.Fprint(w, "usage: confgate <command> [flags]\n\n")
	for _, c := range subcommands() {
		fmt.Fprintf(w, "  %-8s  %s\n", c.name, c.does)
	}
	fmt.Fprint(w, "\nconfgate <command> --help tells a command's flags.\n")
}

func runHelp(_ context.Context, _, _ []string, out, _ io.Writer) int {
	writeUsage(out)
	return exitOK
}

func runServe(ctx context.Context, args, env []string, out, errs io.Writer) int {
	c, err := loadConfig(args, env)
	switch {
	case errors.Is(err, flag.ErrHelp):
		writeServeHelp(out)
		return exitOK
	case err != nil:
		fmt.Fprintf(errs, "confgate serve: %v\nconfgate serve --help tells the settings.\n", err)
		return exitUsage
	}
	log := newLog(errs, c.logFormat, c.logLevel)
	if err := serve(ctx, c, out, log); err != nil {
		log.Error("serve failed", "error", err.Error())
		return exitFailed
	}
	return exitOK
}

func runBench(ctx context.Context, args, _ []string, out, errs io.Writer) int {
	return bench.Main(ctx, args, out, errs)
}

func runVersion(_ context.Context, _, _ []string, out, _ io.Writer) int {
	b := readBuild()
	fmt.Fprintf(out, "confgate %s\ngo %s\n", b.version, b.goVersion)
	if b.revision != "" {
		fmt.Fprintf(out, "revision %s\n", b.revision)
	}
	return exitOK
}

// build says what is running, as far as the compiler noted it.
type build struct{ version, goVersion, revision string }

func readBuild() build {
	b := build{version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.version, b.goVersion = info.Main.Version, info.GoVersion
	var changed string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	if b.revision != "" {
		b.revision += changed
	}
	return b
}
