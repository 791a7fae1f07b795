package main

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
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

// readiness tells whether new calls are taken.
type readiness struct {
	phase   atomic.Int32
	sources []source    // of what says who may come in
	full    func() bool // there is no memory for more; nil: there is
}

func (r *readiness) set(p phase)  { r.phase.Store(int32(p)) }
func (r *readiness) now() phase   { return phase(r.phase.Load()) }
func (r *readiness) isFull() bool { return r.full != nil && r.full() }

func (r *readiness) isReady() bool {
	missing := func(s source) bool { return s.state() == auth.None }
	return r.now() == ready && !r.isFull() && !slices.ContainsFunc(r.sources, missing)
}

// ServeHTTP answers 200 if new calls are taken, else 503 and why not. A source that
// is lost is told of, while the gateway goes on with what it has.
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
func adminEndpoints(metrics http.Handler, r *readiness) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.Handle("GET /readyz", r)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	// The command line is left out of the profiles: it may hold a secret.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
