package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"confgate/core"
)

func TestSlowReaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := &script{frames: slices.Repeat([]string{"hello"}, 3*defaultOutboxLimit), write: stuck}
		if err := Serve(t.Context(), c, newHub(), parrot, Options{}); !errors.Is(err, core.ErrSlow) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("took %v", d)
		}
	})
}

func TestStalledWriteEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := &script{frames: []string{"hello"}, write: stuck}
		if err := Serve(t.Context(), c, newHub(), parrot, Options{}); !errors.Is(err, ErrStalled) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d != defaultWriteTimeout {
			t.Errorf("took %v", d)
		}
	})
}

// However a connection ends, its member has left when Serve returns.
func TestEveryEndLeaves(t *testing.T) {
	tests := []struct {
		name   string
		frames []string
		write  func(context.Context, []byte) error
		then   error
		want   error
	}{
		{name: "read error", then: errQuit, want: errQuit},
		{name: "write error", write: func(context.Context, []byte) error { return errQuit }, want: errQuit},
		{name: "stalled", write: stuck, want: ErrStalled},
		{name: "slow", frames: slices.Repeat([]string{"x"}, 3*defaultOutboxLimit), write: stuck, want: core.ErrSlow},
		{name: "not UTF-8", frames: []string{"\xff"}, want: ErrNotUTF8},
		{name: "decode panics", frames: []string{"panic"}, want: ErrPanicked},
		{name: "encode panics", frames: []string{"mute"}, want: ErrPanicked},
		{name: "cut off", want: context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				hub, l := newHub(), &ledger{}
				c := &script{frames: append([]string{"join r ann"}, tt.frames...), write: tt.write, then: tt.then}
				if err := Serve(ctx, c, hub, parrot, l.options()); !errors.Is(err, tt.want) {
					t.Errorf("ended with %v, want %v", err, tt.want)
				}
				if s := hub.Stats(); s != (core.Stats{}) {
					t.Errorf("the house still has %+v", s)
				}
				if want := "script " + Reason(tt.want); !slices.Equal(l.closed, []string{want}) {
					t.Errorf("closed %q, want %q", l.closed, want)
				}
				lines := l.lines(t)
				last := lines[len(lines)-1]
				if last["msg"] != "connection ended" || last["user"] != "ann" || last["reason"] != Reason(tt.want) ||
					last["remote"] != "192.0.2.1:1" || last["dialect"] != "parrot" || last["framing"] != "script" {
					t.Errorf("last line: %v", last)
				}
			})
		})
	}
}

func TestDisplacedConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		hub := newHub()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- Serve(ctx, &script{frames: []string{"join r ann"}}, hub, parrot, Options{}) }()
		synctest.Wait()
		go func() { second <- Serve(ctx, &script{frames: []string{"join r ann"}}, hub, parrot, Options{}) }()
		if err := <-first; !errors.Is(err, core.ErrDisplaced) {
			t.Errorf("first ended with %v", err)
		}
		synctest.Wait()
		if s := hub.Stats(); s.Members != 1 {
			t.Errorf("%d members", s.Members)
		}
		cancel(errQuit)
		if err := <-second; !errors.Is(err, errQuit) {
			t.Errorf("second ended with %v", err)
		}
	})
}

func TestBadFramesAreCountedAndLoggedSparingly(t *testing.T) {
	hub, l := newHub(), &ledger{}
	evil := "bad \n{\"level\":\"ERROR\"}\x1b[31m" + strings.Repeat("x", 4000)
	c := &script{frames: slices.Concat(slices.Repeat([]string{evil}, 100), []string{"good"}), then: errQuit}
	err := Serve(t.Context(), c, hub, parrot, l.options())
	if !errors.Is(err, errQuit) {
		t.Fatal(err)
	}
	if l.bad != 100 {
		t.Errorf("counted %d", l.bad)
	}
	lines := l.lines(t)
	if len(lines) != maxBadFrameLines+1 {
		t.Errorf("%d lines", len(lines))
	}
	last := lines[len(lines)-1]
	if last["bad_frames"] != 100. || last["frames_in"] != 101. {
		t.Errorf("last line: %v", last)
	}
	for _, line := range lines {
		if n := len(fmt.Sprint(line)); n > 1000 {
			t.Errorf("a line of %d bytes", n)
		}
	}
}

func TestFramesThatAskForNothing(t *testing.T) {
	l := &ledger{}
	var wrote []string
	c := &script{frames: []string{"nothing", "nothing"}, then: errQuit,
		write: func(_ context.Context, b []byte) error { wrote = append(wrote, string(b)); return nil }}
	Serve(t.Context(), c, newHub(), parrot, l.options())
	if len(wrote) != 0 || l.bad != 0 {
		t.Errorf("wrote %q, %d bad", wrote, l.bad)
	}
}

func TestReasonsAreAClosedSet(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range append(slices.Clone(endings), goAway) {
		if seen[e.reason] {
			t.Errorf("%q twice", e.reason)
		}
		seen[e.reason] = true
		if text := endingOf(e.cause).text; text == "" || len(text) > 123 {
			t.Errorf("%q does not fit a close frame", text)
		}
		if e.cause == nil {
			continue
		}
		if got := Reason(fmt.Errorf("detail: %w", e.cause)); got != e.reason {
			t.Errorf("%v is %q, want %q", e.cause, got, e.reason)
		}
	}
	if Reason(nil) != "other" {
		t.Error("nil has a reason")
	}
}
