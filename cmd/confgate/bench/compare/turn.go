package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

const (
	readyLimit = 20 * time.Second
	readyStep  = 20 * time.Millisecond
	stopLimit  = 15 * time.Second
	runLimit   = 5 * time.Minute
)

// server is a program and how it is told where to listen.
type server struct {
	program string
	args    func(ports) []string
}

// ports are where a server listens.
type ports struct{ clients, admin netip.AddrPort }

// freePorts finds some that nobody has at the moment.
func freePorts() (p ports, err error) {
	loopback := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	clients, err := net.ListenTCP("tcp", &loopback)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, clients.Close()) }()
	admin, err := net.ListenTCP("tcp", &loopback)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	p.clients, err = netip.ParseAddrPort(clients.Addr().String())
	if err != nil {
		return p, err
	}
	p.admin, err = netip.ParseAddrPort(admin.Addr().String())
	return p, err
}

// key names the runs that are to be alike.
type key struct {
	load string
	on   contender
}

// bench makes runs with confgate bench.
type bench struct {
	program string
	told    io.Writer // what goes wrong
	record  io.Writer // each run's line; may be nil
	results map[key][]figures
}

// try makes one run against a server of its own.
func (b *bench) try(ctx context.Context, s server, t turn) (err error) {
	p, err := freePorts()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	var said bytes.Buffer
	process := exec.CommandContext(ctx, s.program, s.args(p)...) //nolint:gosec // the operator says what is compared
	process.Stdout, process.Stderr = &said, &said
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	process.WaitDelay = stopLimit
	if err := process.Start(); err != nil {
		return err
	}
	defer func() {
		_ = process.Process.Signal(os.Interrupt)
		end := process.Wait()
		if err != nil {
			err = errors.Join(fmt.Errorf("%w; the server said: %s", err, said.Bytes()), end)
		}
	}()
	if err := awaitReady(ctx, p.admin); err != nil {
		return err
	}
	line, err := b.load(ctx, t.load.args, p, process.Process.Pid)
	if err != nil {
		return err
	}
	if b.record != nil {
		if _, err := fmt.Fprintf(b.record, "{\"server\":%q,\"load\":%q,\"run\":%s}\n", t.on, t.load.name, bytes.TrimSpace(line)); err != nil {
			return err
		}
	}
	var f figures
	if err := json.Unmarshal(line, &f); err != nil {
		return fmt.Errorf("what confgate bench printed: %w", err)
	}
	k := key{t.load.name, t.on}
	b.results[k] = append(b.results[k], f)
	return nil
}

// load runs confgate bench and gives the line that it prints. A run with losses or
// faults counts like any other; the table shows it.
func (b *bench) load(ctx context.Context, args []string, p ports, pid int) ([]byte, error) {
	args = slices.Concat([]string{"bench"}, args, []string{
		"--json", "--pid", fmt.Sprint(pid), "--url", "http://" + p.clients.String(), "--admin", "http://" + p.admin.String(),
	})
	process := exec.CommandContext(ctx, b.program, args...) //nolint:gosec // the operator says what is compared
	process.Stderr = b.told
	line, err := process.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) && len(bytes.TrimSpace(line)) > 0 {
		err = nil
	}
	return line, err
}

// awaitReady waits until a server takes calls.
func awaitReady(ctx context.Context, admin netip.AddrPort) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, errors.New("the server does not get ready"))
	defer cancel()
	web := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	tick := time.NewTicker(readyStep)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin.String()+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := web.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
