package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// update reports whether golden files and the tables in docs are to be rewritten.
// The flag is wiretest's.
func update() bool { return flag.Lookup("update").Value.String() == "true" }

// asConfgate in the environment makes the test binary be confgate.
const asConfgate = "TEST_AS_CONFGATE"

func TestMain(m *testing.M) {
	if os.Getenv(asConfgate) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestRun(t *testing.T) {
	const usage = "usage: confgate <command>"
	for _, c := range []struct {
		name     string
		args     []string
		code     int
		out, err string // a part of what is printed
	}{
		{"nothing", nil, exitUsage, "", usage},
		{"help", []string{"help"}, exitOK, usage, ""},
		{"--help", []string{"--help"}, exitOK, usage, ""},
		{"-h", []string{"-h"}, exitOK, usage, ""},
		{"unknown", []string{"sevre"}, exitUsage, "", `"sevre" is no command`},
		{"unknown shows usage", []string{"sevre"}, exitUsage, "", usage},
		{"version", []string{"version"}, exitOK, "confgate ", ""},
		{"--version", []string{"--version"}, exitOK, "go go1.", ""},
		{"serve help", []string{"serve", "-h"}, exitOK, "usage: confgate serve", ""},
		{"serve without authentication", []string{"serve"}, exitUsage, "", "--id-jwt-secret-file"},
		{"serve with a wrong flag", []string{"serve", "--nope"}, exitUsage, "", "-nope"},
		{"serve without a secret file", []string{"serve", "--id-jwt-secret-file", "none", "--media-ip", "192.0.2.1"}, exitFailed, "", "--id-jwt-secret-file"},
		{"bench help", []string{"bench", "help"}, exitOK, "usage: confgate bench", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), c.args, nil, &out, &errs)
			if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
				t.Errorf("exit code %d, want %d\nout: %s\nerr: %s", code, c.code, out.String(), errs.String())
			}
			if (c.out == "") != (out.Len() == 0) || (c.err == "") != (errs.Len() == 0) {
				t.Errorf("printed in the wrong place\nout: %s\nerr: %s", out.String(), errs.String())
			}
		})
	}
}

func TestServeHelp(t *testing.T) {
	var out, errs bytes.Buffer
	env := []string{"CONFGATE_ID_JWT_SECRET=hunter2", "CONFGATE_LISTEN=127.0.0.1:1"}
	run(t.Context(), []string{"serve", "--id-jwt-secret", "hunter2", "--help"}, env, &out, &errs)
	golden(t, "serve_help.txt", out.Bytes())
	for line := range strings.Lines(out.String()) {
		if len(line) > 140 || strings.Contains(line, "hunter2") {
			t.Errorf("%q is too long, or tells a value", line)
		}
	}
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if update() {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has changed (go test -run %s -update); got:\n%s", file, t.Name(), got)
	}
}
