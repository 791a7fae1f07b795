package bench

import (
	"math/bits"
	"slices"
	"time"
)

// spread holds how durations are distributed, to within 6 %: the buckets of each
// power of two are sixteen. The zero value is empty. It is not safe for concurrent use.
type spread struct {
	buckets [spreadSize]uint32
	n       uint64
	max     time.Duration
}

const (
	spreadBits = 4 // each power of two has 1<<spreadBits buckets
	spreadUnit = 1 << 10
	// From 1 µs (spreadUnit nanoseconds) up to 2^36 ns, over a minute.
	spreadSize = (36-10-spreadBits+1)<<spreadBits + 1
)

func (s *spread) add(d time.Duration) {
	s.buckets[bucketOf(d)]++
	s.n++
	s.max = max(s.max, d)
}

func (s *spread) merge(o *spread) {
	for i, n := range o.buckets {
		s.buckets[i] += n
	}
	s.n += o.n
	s.max = max(s.max, o.max)
}

// quantile gives the duration that the share q of all did not exceed.
func (s *spread) quantile(q float64) time.Duration {
	left := uint64(q * float64(s.n))
	for i, n := range s.buckets {
		if uint64(n) > left {
			return min(bucketEnd(i), s.max)
		}
		left -= uint64(n)
	}
	return s.max
}

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0)) / spreadUnit
	shift := max(bits.Len64(v)-spreadBits-1, 0)
	return min(shift<<spreadBits+int(v>>shift), spreadSize-1)
}

// bucketEnd gives the longest duration of a bucket.
func bucketEnd(i int) time.Duration {
	shift := max(i>>spreadBits-1, 0)
	v := uint64(i-shift<<spreadBits) + 1
	return time.Duration(v<<shift*spreadUnit - 1)
}

// summary is what the report says of a distribution. It is in milliseconds.
type summary struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func (s *spread) summary() summary {
	return summary{int(s.n), millis(s.quantile(0.5)), millis(s.quantile(0.99)), millis(s.max)}
}

// summarize is exact; it sorts samples.
func summarize(samples []time.Duration) summary {
	if len(samples) == 0 {
		return summary{}
	}
	slices.Sort(samples)
	at := func(q float64) float64 { return millis(samples[int(q*float64(len(samples)-1)+0.5)]) }
	return summary{len(samples), at(0.5), at(0.99), at(1)}
}

func millis(d time.Duration) float64 { return float64(d.Round(time.Microsecond)) / 1e6 }

// firstAt gives the index of the first of the ascending times that is not before at.
func firstAt(times []int64, at int64) uint32 {
	i, _ := slices.BinarySearch(times, at)
	return uint32(i)
}
