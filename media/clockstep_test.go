package media

import (
	"testing"
	"time"
	"unsafe"

	"confgate/core"
)

// TestClockStep sets the machine's clock an hour on: the plane goes by the time that
// has passed.
func TestClockStep(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	// The wall clock's seconds lie above 30 bits of nanoseconds (see time.Time). To
	// have been made an hour before, by the clock alone, is to see it set an hour on.
	(*[2]uint64)(unsafe.Pointer(&s.plane.born))[0] -= 3600 << 30
	if ahead := time.Now().Round(0).Sub(s.plane.now().Round(0)); ahead < 59*time.Minute {
		t.Errorf("the plane's time followed the clock's by %v", time.Hour-ahead)
	}
	if passed := time.Since(s.plane.now()); passed < 0 || passed > time.Minute {
		t.Errorf("the plane's time is %v off", passed)
	}
}
