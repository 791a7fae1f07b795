package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// figures is what of a run's report is compared.
type figures struct {
	Members       int     `json:"members"`
	MembersWanted int     `json:"members_wanted"`
	Expected      uint64  `json:"expected"`
	Received      uint64  `json:"received"`
	Goroutines    float64 `json:"server_goroutines_per_leg"`
	FirstPacket   summary `json:"join_to_first_packet"`
	KeyFrame      summary `json:"join_to_first_key_frame"`
	Whole         summary `json:"join_to_whole_room"`
	Server        struct {
		PerPacket float64 `json:"cpu_us_per_packet"`
		PerJoin   float64 `json:"cpu_ms_per_join"`
		PerLeg    float64 `json:"cpu_us_per_leg_s"`
		RSS       float64 `json:"rss_bytes_per_leg"`
	} `json:"server"`
	Generator struct {
		Cores float64 `json:"cores"`
	} `json:"generator"`
	Faults int `json:"fault_count"`
}

type summary struct {
	P50 float64 `json:"p50_ms"`
	Max float64 `json:"max_ms"`
}

// measure is one row of the table.
type measure struct {
	load, name string
	value      func(figures) float64
	ratio      float64 // the most that confgate may have of the baseline's; 0: no goal
	most       float64 // the most that confgate may have; negative: no goal
}

const noGoal = -1

// measures is the table.
var measures = []measure{
	{broadcast, "CPU per forwarded packet, µs", func(f figures) float64 { return f.Server.PerPacket }, 0.65, noGoal},
	{broadcast, "RSS per leg, KiB", func(f figures) float64 { return f.Server.RSS / 1024 }, 0.8, noGoal},
	{broadcast, "goroutines per leg", func(f figures) float64 { return f.Goroutines }, 0, 10},
	{broadcast, "CPU per join, ms", func(f figures) float64 { return f.Server.PerJoin }, 0.9, noGoal},
	{broadcast, "join to first packet, p50, ms", func(f figures) float64 { return f.FirstPacket.P50 }, 0, noGoal},
	{broadcast, "join to first key frame, p50, ms", func(f figures) float64 { return f.KeyFrame.P50 }, 0, 60},
	{broadcast, "key frame after first packet, p50, ms", func(f figures) float64 { return f.KeyFrame.P50 - f.FirstPacket.P50 }, 0, 15},
	{broadcast, "packets lost", lost, 0, 0},
	{broadcast, "generator, cores", func(f figures) float64 { return f.Generator.Cores }, 0, noGoal},
	{idle, "CPU per leg and second, µs", func(f figures) float64 { return f.Server.PerLeg }, 0.5, noGoal},
	{idle, "CPU per join, ms", func(f figures) float64 { return f.Server.PerJoin }, 0.9, noGoal},
	{idle, "RSS per leg, KiB", func(f figures) float64 { return f.Server.RSS / 1024 }, 0.8, noGoal},
	{idle, "goroutines per leg", func(f figures) float64 { return f.Goroutines }, 0, 10},
	{idle, "faults", faults, 0, 0},
	{wide, "packets lost", lost, 0, 0},
	{wide, "faults", faults, 0, 0},
	{wide, "CPU per forwarded packet, µs", func(f figures) float64 { return f.Server.PerPacket }, 0, noGoal},
	{square, "packets lost", lost, 0, 0},
	{square, "faults", faults, 0, 0},
	{square, "whole after a join, most, ms", func(f figures) float64 { return f.Whole.Max }, 0, 3000},
}

func lost(f figures) float64 { return float64(f.Expected - f.Received) }

// faults counts what went wrong, and those who did not get in.
func faults(f figures) float64 { return float64(f.Faults + f.MembersWanted - f.Members) }

// writeTable writes all measures in Markdown, and gives whether all are as they should be.
func writeTable(w io.Writer, results map[key][]figures) (reached bool, err error) {
	var b strings.Builder
	line := func(cells ...any) { fmt.Fprintf(&b, "| %-46s | %8s | %8s | %5s | %-12s | %-6s |\n", cells...) }
	line("", "confgate", "baseline", "ratio", "goal", "")
	fmt.Fprintln(&b, "| --- | --: | --: | --: | --- | --- |")
	reached = true
	load := ""
	for _, m := range measures {
		if m.load != load {
			load = m.load
			line("**"+load+"**", "", "", "", "", "")
		}
		r := m.judge(results[key{m.load, confgate}], results[key{m.load, baseline}])
		line(m.name, number(r.ours), number(r.theirs), number(r.ratio), r.goal, r.verdict)
		reached = reached && r.verdict != missed
	}
	_, err = io.WriteString(w, b.String())
	return reached, err
}

// row is what comes of a measure; NaN stands for what is not known.
type row struct {
	ours, theirs, ratio float64
	goal, verdict       string
}

const (
	met    = "met"
	missed = "missed"
)

// judge compares the runs, in pairs as they were made.
func (m measure) judge(ours, theirs []figures) row {
	var a, b, ratios []float64
	for i, f := range ours {
		a = append(a, m.value(f))
		if i < len(theirs) {
			b = append(b, m.value(theirs[i]))
			ratios = append(ratios, a[i]/b[i])
		}
	}
	r := row{ours: median(a), theirs: median(b), ratio: median(ratios)}
	value := r.ours
	switch {
	case m.ratio > 0:
		value, r.goal = r.ratio, fmt.Sprintf("ratio ≤ %g", m.ratio)
		r.verdict = verdict(value <= m.ratio)
	case m.most == 0: // of all runs: one loss is not undone by two runs without
		r.goal, r.verdict = "0", verdict(len(a) > 0 && slices.Max(a) == 0)
		r.ours, r.ratio = largest(a), math.NaN()
		r.theirs = largest(b)
	case m.most > 0:
		r.goal, r.verdict = fmt.Sprintf("≤ %g", m.most), verdict(value <= m.most)
	}
	return r
}

func verdict(ok bool) string {
	if ok {
		return met
	}
	return missed
}

// median gives NaN where there is nothing.
func median(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	all = slices.Sorted(slices.Values(all))
	middle := len(all) / 2
	if len(all)%2 == 0 {
		return (all[middle-1] + all[middle]) / 2
	}
	return all[middle]
}

func largest(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	return slices.Max(all)
}

func number(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return ""
	case v == math.Trunc(v) || math.Abs(v) >= 1000:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// machine says on what all this was measured.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := runtime.GOOS
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = "Linux " + strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d × %s, %s, %s", runtime.NumCPU(), model, kernel, runtime.Version())
}
