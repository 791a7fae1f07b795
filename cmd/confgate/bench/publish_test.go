package bench

import (
	"testing"
	"time"
)

func TestSkip(t *testing.T) {
	const ms = int64(time.Millisecond)
	p := &publication{window: newWindow()}
	for _, c := range []struct{ late, want int64 }{
		{-5, 0}, {0, 0}, {200, 0}, {201, 20}, {220, 20}, {221, 40}, {1000, 800},
	} {
		if got := p.skip(5000*ms, (5000-c.late)*ms, 20*ms); got != c.want*ms {
			t.Errorf("%d ms late: skip %v, want %d ms", c.late, time.Duration(got), c.want)
		}
	}
	if p.skipped != 0 {
		t.Errorf("%d skipped outside the window", p.skipped)
	}
	p.window.from.Store(0)
	p.skip(5000*ms, 4700*ms, 20*ms)
	if p.skipped != 5 {
		t.Errorf("%d skipped in the window, want 5", p.skipped)
	}
}

func TestNTP(t *testing.T) {
	c := clock{time.Unix(0, 0)}
	if got, want := c.ntp(int64(1500*time.Millisecond)), uint64(2_208_988_801)<<32|1<<31; got != want {
		t.Errorf("ntp = %x, want %x", got, want)
	}
}

func TestLoad(t *testing.T) {
	l := load{kbps: 150, fps: 15}
	if l.frameSize() != 1250 || l.frameEvery() != time.Second/15 {
		t.Errorf("%d bytes every %v", l.frameSize(), l.frameEvery())
	}
	if tiny := (load{kbps: 1, fps: 120}).frameSize(); tiny < minVideoPayload {
		t.Errorf("a frame of %d bytes", tiny)
	}
}
