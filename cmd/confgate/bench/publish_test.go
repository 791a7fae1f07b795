package bench

import (
	"math"
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
	if got := p.skip(0, math.MaxInt64, 20*ms); got != 0 {
		t.Errorf("a track that is never due: skip %v", time.Duration(got))
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
	l := videoLoad(150, 15, time.Second)
	if l.packets != 2 || l.size != 625 || l.every(video) != time.Second/15 || !l.has(audio) || !l.has(video) {
		t.Errorf("%+v", l)
	}
	if tiny := videoLoad(1, 120, time.Second); tiny.size < minVideoPayload {
		t.Errorf("a frame of %d bytes", tiny.size)
	}
	if !(load{packets: 4, size: 1000}).isSilent() {
		t.Error("a load without frames is not silent")
	}
}
