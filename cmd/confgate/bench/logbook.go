package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

const (
	maxLine   = 64 << 10 // bytes of a line of the log that is looked at
	lastLines = 8        // that are kept
	maxErrors = 10       // that are kept
)

// logbook reads the gateway's log, which is one JSON object a line, and keeps what it
// should not say.
type logbook struct {
	mu     sync.Mutex
	part   []byte   // guarded by mu: of a line whose end has not come
	last   []string // guarded by mu
	lines  uint64   // guarded by mu
	count  uint64   // guarded by mu: of errors
	errors []string // guarded by mu: the first of them
}

func newLogbook() *logbook { return new(logbook) }

// Write implements [io.Writer].
func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := b
	for {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), maxLine-min(len(l.part), maxLine))]...)
		if !whole {
			return len(b), nil
		}
		l.take(l.part)
		l.part = l.part[:0]
		rest = after
	}
}

// take is called with mu held. What is no JSON is what a program says that dies.
func (l *logbook) take(line []byte) {
	l.lines++
	l.last = append(l.last, string(line[:min(len(line), maxInfo)]))
	if len(l.last) > lastLines {
		l.last = slices.Delete(l.last, 0, 1)
	}
	var entry struct{ Level string }
	if json.Unmarshal(line, &entry) == nil && entry.Level != "ERROR" {
		return
	}
	l.count++
	if len(l.errors) < maxErrors {
		l.errors = append(l.errors, string(line[:min(len(line), maxInfo)]))
	}
}

// written gives how many lines there were.
func (l *logbook) written() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

// complaints gives how many lines should not be there, and the first of them.
func (l *logbook) complaints() (uint64, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count, slices.Clone(l.errors)
}

// tail gives the last lines.
func (l *logbook) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("the log ends with %q", l.last)
}
