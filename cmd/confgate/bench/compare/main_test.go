package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain also plays the programs that are compared: see pose.
func TestMain(m *testing.M) {
	if as := os.Getenv(posing); as != "" {
		os.Exit(pose(as, os.Args[1:])) //nolint:forbidigo // it is a program then
	}
	goleak.VerifyTestMain(m)
}

const posing = "COMPARE_POSES"

// pose serves readyz at the address that it is given, or prints a report.
func pose(as string, args []string) int {
	if args[0] == "bench" {
		fmt.Printf(`{"members":1,"members_wanted":1,"server":{"cpu_us_per_packet":5},"posed":%q}`+"\n", as) //nolint:forbidigo // it is a program
		return 1
	}
	f := flag.NewFlagSet("server", flag.ContinueOnError)
	at := f.String("admin-listen", "", "")
	port := f.String("admin-port", "", "")
	for _, name := range []string{"listen", "port", "log-level", "id-room-limit", "media-port"} {
		f.String(name, "", "")
	}
	f.Bool("dev", false, "")
	if args[0] == "serve" {
		args = args[1:]
	}
	if f.Parse(args) != nil {
		return 2
	}
	if *port != "" {
		*at = "127.0.0.1:" + *port
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *at, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	context.AfterFunc(ctx, func() { server.Close() })
	if server.ListenAndServe() != http.ErrServerClosed {
		return 1
	}
	return 0
}

// TestRun makes all runs, of programs that only pose.
func TestRun(t *testing.T) {
	t.Setenv(posing, "confgate")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(t.TempDir(), "runs")
	var out, errs bytes.Buffer
	err = run(t.Context(), []string{"--pairs", "2", "--record", record, self, self}, &out, &errs)
	if err == nil || !strings.Contains(err.Error(), errGoals.Error()) {
		t.Errorf("%v\n%s", err, errs.Bytes())
	}
	if !strings.Contains(out.String(), "ratio ≤ 0.65") || !strings.Contains(out.String(), "|     1 |") {
		t.Error(out.String())
	}
	runs, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(schedule(2)); bytes.Count(runs, []byte("\n")) != n || bytes.Count(errs.Bytes(), []byte("\n")) != n {
		t.Errorf("%d runs wanted\n%s\n%s", n, runs, errs.Bytes())
	}
	for line := range bytes.Lines(runs) {
		if !json.Valid(line) {
			t.Errorf("%s", line)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range []string{"", "one", "--pairs 0 a b", "--what a b", "/does/not/exist /neither"} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), strings.Fields(args), &out, &errs); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// TestSchedule: both take their turns, and what is confgate's alone comes once.
func TestSchedule(t *testing.T) {
	var got []string
	for _, t := range schedule(2) {
		got = append(got, fmt.Sprint(t.load.name, " ", t.on))
	}
	want := []string{
		broadcast + " confgate", broadcast + " baseline", idle + " confgate", idle + " baseline",
		broadcast + " confgate", broadcast + " baseline", idle + " confgate", idle + " baseline",
		wide + " confgate", square + " confgate",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestJudge(t *testing.T) {
	value := func(f figures) float64 { return f.Server.PerPacket }
	runs := func(values ...float64) (all []figures) {
		for _, v := range values {
			var f figures
			f.Server.PerPacket = v
			all = append(all, f)
		}
		return all
	}
	for name, c := range map[string]struct {
		m            measure
		ours, theirs []figures
		want         string
	}{
		"median of the pairs' ratios": {measure{value: value, ratio: 0.5, most: noGoal}, runs(1, 10, 4), runs(2, 10, 10), "4 10 0.50 ratio ≤ 0.5 met"},
		"too much":                    {measure{value: value, ratio: 0.5, most: noGoal}, runs(6), runs(10), "6 10 0.60 ratio ≤ 0.5 missed"},
		"one loss is a loss":          {measure{value: value, most: 0}, runs(0, 2, 0), runs(0, 1, 7), "2 7  0 missed"},
		"below":                       {measure{value: value, most: 10}, runs(9, 11, 10), nil, "10   ≤ 10 met"},
		"nothing was measured":        {measure{value: value, most: 0}, nil, nil, "   0 missed"},
		"no ratio":                    {measure{value: value, ratio: 0.5, most: noGoal}, runs(1), nil, "1   ratio ≤ 0.5 missed"},
		"no goal":                     {measure{value: value, most: noGoal}, runs(1, 2), runs(4, 4), "1.50 4 0.38  "},
	} {
		r := c.m.judge(c.ours, c.theirs)
		if got := fmt.Sprint(number(r.ours), " ", number(r.theirs), " ", number(r.ratio), " ", r.goal, " ", r.verdict); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
