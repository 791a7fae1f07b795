package media

import (
	"sync"
	"time"

	"confgate/core"
)

const (
	// speechLevel is how loud a packet of speech is at least, in -dBov (RFC 6464):
	// a smaller number is louder.
	speechLevel = 45
	// speechOnset is how many such packets in a row begin speech, so that a click
	// does not.
	speechOnset = 3
	// speechHangover is how long after the last one it ends, so that a pause for
	// breath does not.
	speechHangover = 800 * time.Millisecond
)

// speech tells from the levels of a voice's packets when its owner begins and stops
// to speak; it also ends when packets cease to come.
type speech struct {
	tell func(on bool)

	mu      sync.Mutex
	closed  bool        // guarded by mu
	talking bool        // guarded by mu
	loud    int         // in a row; guarded by mu
	timer   *time.Timer // runs while talking; guarded by mu
}

func newSpeech(tell func(on bool)) *speech { return &speech{tell: tell} }

// heard takes the level of a packet. tell is called with no lock held.
func (s *speech) heard(level uint8) {
	if s.hear(level) {
		s.tell(true)
	}
}

// hear reports whether speech begins.
func (s *speech) hear(level uint8) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if level > speechLevel {
		s.loud = 0
		return false
	}
	s.loud++
	switch {
	case s.closed || s.loud < speechOnset:
		return false
	case s.talking:
		s.timer.Reset(speechHangover)
		return false
	}
	s.talking = true
	s.timer = time.AfterFunc(speechHangover, s.stop)
	return true
}

func (s *speech) stop() {
	s.mu.Lock()
	stops := s.talking
	s.talking = false
	s.mu.Unlock()
	if stops {
		s.tell(false)
	}
}

// close ends speech with the track.
func (s *speech) close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.stop()
}

// talk tells the room that the leg's owner begins or stops to speak. Told by
// different goroutines, it tells the latest, and nothing twice.
func (l *leg) talk(on bool) {
	l.talking.Store(on)
	l.queue.post(func() {
		if now := l.talking.Load(); now != l.toldTalking {
			l.toldTalking = now
			l.tell(core.Talked{User: l.name.owner, On: now})
		}
	})
}
