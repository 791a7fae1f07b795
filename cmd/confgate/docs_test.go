package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// operations is the operator's page.
const operations = root + "/docs/operations.md"

func TestOperationsHasEverySetting(t *testing.T) {
	var b strings.Builder
	fmt.Fprint(&b, "| flag | variable | what it is |\n| --- | --- | --- |\n")
	fs := newFlags(new(config))
	for _, g := range settingGroups {
		for _, name := range g.names {
			value, usage := describe(fs.Lookup(name))
			if value != "" {
				value = " " + strings.ReplaceAll(value, "|", `\|`)
			}
			fmt.Fprintf(&b, "| `--%s%s` | `%s` | %s |\n", name, value, envName(name), strings.ReplaceAll(usage, "*:", "`*`:"))
		}
	}
	section(t, "settings", b.String())
}

func TestOperationsHasEveryMetric(t *testing.T) {
	all, err := testMetrics(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprint(&b, "| metric | type | labels | what it tells |\n| --- | --- | --- | --- |\n")
	for _, f := range all {
		if !strings.HasPrefix(f.GetName(), metricPrefix) {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n",
			f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	section(t, "metrics", b.String())
}

// section compares the part of the operator's page that begins with a comment
// naming it.
func section(t *testing.T, name, want string) {
	t.Helper()
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	mark := regexp.MustCompile(`(?s)(<!-- ` + name + `: [^\n]*-->\n)(.*?)(<!-- end -->)`)
	parts := mark.FindSubmatchIndex(page)
	if parts == nil {
		t.Fatalf("%s has no section %s", operations, name)
	}
	if string(page[parts[4]:parts[5]]) == want {
		return
	}
	if !update() {
		t.Fatalf("the section %s of %s is stale (go test -run TestOperations -update)", name, operations)
	}
	page = slices.Concat(page[:parts[4]], []byte(want), page[parts[5]:])
	if err := os.WriteFile(operations, page, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOperationsIsTrue checks what the page says in its own words: settings and
// metrics that it names, and log messages.
func TestOperationsIsTrue(t *testing.T) {
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	fs := newFlags(new(config))
	for _, m := range regexp.MustCompile("--([a-z][a-z-]+)").FindAllSubmatch(page, -1) {
		if fs.Lookup(string(m[1])) == nil {
			t.Errorf("--%s is no setting", m[1])
		}
	}
	metrics := scrape(t, testMetrics(t))
	for _, m := range regexp.MustCompile(`confgate_[a-z_]+[a-z]`).FindAllString(string(page), -1) {
		if !strings.Contains(metrics, "# TYPE "+m+" ") {
			t.Errorf("%s is no metric", m)
		}
	}
	_, log, ok := bytes.Cut(page, []byte("| message | level |"))
	if !ok {
		t.Fatal("the page has no table of log messages")
	}
	source := sources(t)
	for row := range bytes.Lines(log) {
		cells := bytes.SplitN(row, []byte("|"), 3)
		if len(cells) < 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(cells[1], -1) {
			if !strings.Contains(source, fmt.Sprintf("%q", m[1])) {
				t.Errorf("nothing logs %q", m[1])
			}
		}
	}
}

// sources gives the code that writes log lines.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range []string{"cmd/confgate", "core/auth", "transport", "media", "media/relay"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	return all.String()
}

// TestSecurityNamesWhatThereIs holds that each test which docs/security.md says
// shows something is there.
func TestSecurityNamesWhatThereIs(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range tracked(t) {
		switch {
		case strings.HasSuffix(file, "_test.go"):
			b, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		case strings.HasSuffix(file, ".test.js"):
			fmt.Fprintf(&all, "func %s(\n", filepath.Base(file))
		}
	}
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\w+|[\\w-]+\\.test\\.js)`").FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(all.String(), "func "+m[1]+"(") {
			t.Errorf("there is no %s", m[1])
		}
	}
}
