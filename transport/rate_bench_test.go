package transport

import (
	"slices"
	"testing"
)

// What a frame costs that comes in time: read, decoded, paid for, and carried out.
//
//	go test ./transport -run '^$' -bench Frame -count 10
func BenchmarkFrame(b *testing.B) {
	limits := DefaultLimits()
	limits.Messages = Rate{PerSecond: 1e9, Burst: 1e9}
	for b.Loop() {
		c := &script{frames: slices.Repeat([]string{"nothing"}, 10_000), then: errQuit}
		Serve(b.Context(), c, newHub(), parrot, Options{Limits: limits})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/frame")
}
