// Command soak starts a gateway and puts it through trials: people come and go while
// their lines break, for half an hour or as long as is wanted, and then nothing may be
// left; and one fault after the other, with its figures. What is done and counted is
// package bench's; only that starts no programs, so as to stay out of the gateway's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"confgate/cmd/confgate/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const exitUsage = 2

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(errs, "soak: which program is tried? soak <confgate> help")
		return exitUsage
	}
	return bench.Trials(ctx, programs{args[0]}, args[1:], out, errs)
}

// programs starts the gateway that is tried, and this program.
type programs struct{ gateway string }

func (p programs) Gateway(args, env []string, log io.Writer) (bench.Process, error) {
	c := exec.Command(p.gateway, args...) //nolint:gosec // the operator says what is tried
	c.Env, c.Stderr = append(os.Environ(), env...), log
	return start(c)
}

func (p programs) Again(args []string, input io.Reader) (bench.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self, append([]string{p.gateway}, args...)...) //nolint:gosec // it is this program
	c.Stdin, c.Stderr = input, os.Stderr
	return start(c)
}

func start(c *exec.Cmd) (bench.Process, error) {
	dieWithUs(c)
	if err := c.Start(); err != nil {
		return nil, err
	}
	return process{c}, nil
}

// process is one that was started.
type process struct{ *exec.Cmd }

func (p process) PID() int                 { return p.Process.Pid }
func (p process) Signal(s os.Signal) error { return p.Process.Signal(s) }
func (p process) Freeze() error            { return p.Process.Signal(syscall.SIGSTOP) }
func (p process) Thaw() error              { return p.Process.Signal(syscall.SIGCONT) }

// Wait gives a negative code where a signal ended it, or where it cannot be told.
func (p process) Wait() int {
	err := p.Cmd.Wait()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return -1
	}
	return p.ProcessState.ExitCode()
}
