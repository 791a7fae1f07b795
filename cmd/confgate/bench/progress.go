package bench

import (
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/term"
)

// showProgress keeps one line up to date on w while s runs, if w is a terminal. The
// function that it returns ends that and wipes the line.
func showProgress(w io.Writer, s scenario) (stop func()) {
	screen, ok := w.(interface {
		io.Writer
		Fd() uintptr
	})
	if !ok || !term.IsTerminal(int(screen.Fd())) {
		return func() {}
	}
	const wipe = "\r\x1b[K"
	done := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				fmt.Fprint(screen, wipe)
				return
			case <-tick.C:
				fmt.Fprint(screen, wipe, s.progressLine())
			}
		}
	})
	return func() {
		close(done)
		shown.Wait()
	}
}

func (r *call) progressLine() string {
	now, _, _ := r.stage.board.read()
	n := r.options.members
	want := r.whole[n]
	line := fmt.Sprintf("joined %d/%d  legs %d/%d  pairs %d/%d", now.joined, n, now.connected, want.legs, now.flowing, want.pairs)
	if from, at := r.stage.window.from.Load(), r.stage.clock.now(); from <= at {
		gone := min(time.Duration(at-from), r.options.duration)
		line += fmt.Sprintf("  counting %.0f/%.0f s", gone.Seconds(), r.options.duration.Seconds())
	}
	if now.faults > 0 {
		line += fmt.Sprintf("  faults %d", now.faults)
	}
	return line
}
