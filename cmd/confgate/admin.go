package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"confgate/core/auth"
)

// phase is where in its life a gateway is.
type phase int32

const (
	starting phase = iota
	ready
	draining
)

// phaseNames are what /readyz answers.
var phaseNames = map[phase]string{
	starting: "starting", ready: "ready", draining: "draining: no new calls are taken",
}

// readiness tells whether new calls are taken, and what the gateway has to do
// without meanwhile.
type readiness struct {
	phase   atomic.Int32
	sources []source    // of what says who may come in
	full    func() bool // there is no memory for more; nil: there is

	// Guarded by mu.
	mu      sync.Mutex
	missing map[string]string // what, and why
}

func (r *readiness) set(p phase)  { r.phase.Store(int32(p)) }
func (r *readiness) now() phase   { return phase(r.phase.Load()) }
func (r *readiness) isFull() bool { return r.full != nil && r.full() }

func (r *readiness) isReady() bool {
	missing := func(s source) bool { return s.state() == auth.None }
	return r.now() == ready && !r.isFull() && !slices.ContainsFunc(r.sources, missing)
}

// lacks notes that something is not there. New calls are taken all the same.
func (r *readiness) lacks(what, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missing == nil {
		r.missing = make(map[string]string)
	}
	r.missing[what] = why
}

// has notes that something is there again.
func (r *readiness) has(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.missing, what)
}

// lacking counts what is not there.
func (r *readiness) lacking() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.missing)
}

// ServeHTTP answers 200 if new calls are taken, else 503 and why not. A source that
// is lost is told of, while the gateway goes on with what it has, and so is what it
// has to do without.
func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	code := http.StatusOK
	if !r.isReady() {
		code = http.StatusServiceUnavailable
	}
	lines := []string{phaseNames[r.now()]}
	if r.isFull() {
		lines = append(lines, "no memory for more calls")
	}
	for _, s := range r.sources {
		if says := sourceStates[s.state()]; says != "" {
			lines = append(lines, s.name+": "+says)
		}
	}
	r.mu.Lock()
	for _, what := range slices.Sorted(maps.Keys(r.missing)) {
		lines = append(lines, "without "+what+": "+r.missing[what])
	}
	r.mu.Unlock()
	answer(w, code, strings.Join(lines, "\n"))
}

// sourceStates are what /readyz says of the sources.
var sourceStates = map[auth.State]string{
	auth.Up: "", auth.Lost: "does not answer; what it said before counts", auth.None: "has never answered, so nobody can come in by it",
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}

// adminEndpoints are what the admin port serves, and the client port does not.
func adminEndpoints(metrics http.Handler, r *readiness, expel http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.Handle("GET /readyz", r)
	mux.Handle("POST /expel", expel)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	// The command line is left out of the profiles: it may hold a secret.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
