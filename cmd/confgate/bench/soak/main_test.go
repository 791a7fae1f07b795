package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also plays the crowd, which is this program once more.
func TestMain(m *testing.M) {
	if os.Getenv(posing) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) //nolint:forbidigo // it is a program then
	}
	goleak.VerifyTestMain(m)
}

const posing = "SOAK_POSES"

// corpora are the frames that a soak mangles.
var corpora = []string{"--corpus", "../../../../protocol/idv1/testdata/fuzz/FuzzDecode", "--corpus", "../../../../protocol/eventop/testdata/fuzz/FuzzDecode"}

// TestSoak is a short soak of the whole gateway, built as this test is: under the race
// detector or not.
func TestSoak(t *testing.T) {
	t.Setenv(posing, "yes")
	gateway := build(t)
	var out, errs bytes.Buffer
	args := []string{gateway, "soak", "--duration", "2s", "--rooms", "2", "--guests", "4", "--seed", "5", "--json"}
	code := run(t.Context(), slices.Concat(args, corpora), &out, &errs)
	var rep struct {
		Pass     bool   `json:"pass"`
		Joins    uint64 `json:"guests_joined"`
		Heard    uint64 `json:"messages_checked"`
		Expected uint64 `json:"packets_on_sound_lines"`
	}
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatal(err, errs.String())
	}
	if code != 0 || !rep.Pass || rep.Joins == 0 || rep.Heard == 0 || rep.Expected == 0 {
		t.Errorf("exit code %d\n%s%s", code, out.Bytes(), errs.Bytes())
	}
}

// TestFaults is a little of those trials that need no half minute for the gateway to
// miss a client. How long things take is for the trials themselves to judge: here the
// machine may be busy.
func TestFaults(t *testing.T) {
	gateway := build(t)
	for _, args := range []string{
		"herd --members 20 --within 100ms --json",
		"drain --members 10 --duration 200ms --json",
		"takeover --members 8 --json",
		"disk --members 10 --duration 100ms --json",
		"memory --members 10 --duration 100ms --json",
		"turnover --members 10 --visitors 30 --json",
	} {
		t.Run(args, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), slices.Concat([]string{gateway}, strings.Fields(args)), &out, &errs)
			var rep struct {
				Pass    bool
				Faults  []string
				Figures []struct {
					Name, Unit  string
					Value       float64
					Most, Least *float64
				}
			}
			if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
				t.Fatal(err, errs.String())
			}
			if (code == 0) != rep.Pass || len(rep.Faults) > 0 || len(rep.Figures) < 4 {
				t.Errorf("exit code %d\n%s%s", code, out.Bytes(), errs.Bytes())
			}
			for _, f := range rep.Figures {
				if f.Unit != "ms" && (f.Most != nil && f.Value > *f.Most || f.Least != nil && f.Value < *f.Least) {
					t.Errorf("%s: %v", f.Name, f.Value)
				}
			}
		})
	}
}

// build builds the gateway.
func build(t *testing.T) string {
	t.Helper()
	gateway := filepath.Join(t.TempDir(), "confgate")
	args := []string{"build", "-o", gateway}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	c := exec.CommandContext(t.Context(), "go", append(args, "../..")...)
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return gateway
}

func TestRunRefuses(t *testing.T) {
	for _, args := range []string{"", "confgate", "confgate what", "confgate soak --rooms 1000", "confgate soak --duration 48h", "confgate soak x"} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &out, &errs); code != exitUsage || errs.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, errs.Bytes())
		}
	}
	for _, args := range []string{"confgate help", "confgate soak --help"} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &out, &errs); code != 0 {
			t.Errorf("%q: exit code %d, %s", args, code, errs.Bytes())
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"/does/not/exist", "soak", "--duration", "1s"}, &out, &errs); code != 1 {
		t.Errorf("exit code %d, %s", code, errs.Bytes())
	}
}
