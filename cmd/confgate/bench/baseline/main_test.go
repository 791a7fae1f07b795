package main

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"confgate/cmd/confgate/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestBench holds calls that the bench makes, and leaves nothing behind.
func TestBench(t *testing.T) {
	s, err := open(0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.run(ctx) }()
	for _, dialect := range []string{"id", "eventop"} {
		for _, args := range [][]string{
			{"broadcast", "--subscribers", "3", "--join-rate", "50"},
			{"room", "--members", "3"},
		} {
			var stdout, stderr bytes.Buffer
			args = append(args, "--dialect", dialect, "--duration", "300ms",
				"--url", fmt.Sprint("http://", s.clients.Addr()), "--admin", fmt.Sprint("http://", s.admin.Addr()))
			if code := bench.Main(t.Context(), args, &stdout, &stderr); code != 0 {
				t.Errorf("%v: exit code %d\n%s%s", args, code, stdout.Bytes(), stderr.Bytes())
			}
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
