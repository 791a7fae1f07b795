package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"confgate/core"
)

func TestLogFormat(t *testing.T) {
	var b bytes.Buffer
	newLog(&b, logAuto, slog.LevelInfo).Info("hello", "took", 1500*time.Millisecond)
	newLog(&b, logJSON, slog.LevelInfo).Info("hello")
	newLog(&b, logText, slog.LevelInfo).Info("hello")
	newLog(&b, logText, slog.LevelWarn).Info("not this")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || !json.Valid([]byte(lines[0])) || !strings.Contains(lines[0], `"took":1.5`) || !json.Valid([]byte(lines[1])) || !strings.Contains(lines[2], "msg=hello") {
		t.Errorf("got %q", lines)
	}
	if isTerminal(&b) || isTerminal(os.NewFile(^uintptr(0), "none")) {
		t.Error("what is no terminal passes for one")
	}
}

// journalTo gives a journal and what it wrote, one map a line.
func journalTo(t *testing.T, level slog.Level) (*journal, func() []map[string]any) {
	t.Helper()
	var b bytes.Buffer
	return &journal{log: newLog(&b, logJSON, level)}, func() (lines []map[string]any) {
		for text := range strings.Lines(b.String()) {
			line := map[string]any{}
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			delete(line, "time")
			lines = append(lines, line)
		}
		return lines
	}
}

func TestJournal(t *testing.T) {
	const signed, sdp = "eyJhbGciOiJIUzI1NiJ9.secret.signature", "v=0\r\na=ice-pwd:secret\r\n"
	join := core.Join{Room: "c-1", Cred: &core.Credentials{User: "8", Token: signed}}
	leg := core.Leg{Owner: "8", Stream: core.Stream{User: "7", Source: core.Cam}}
	for _, c := range []struct {
		name string
		tell func(*journal)
		want string // the line, without its time; empty: none
	}{
		{"done", func(j *journal) { j.Handled("c-1", core.Caller{User: "8", Remote: "192.0.2.8:1"}, join, nil) }, ""},
		{"refused", func(j *journal) {
			j.Handled("c-1", core.Caller{User: "8", Remote: "192.0.2.8:1"}, core.Offer{SDP: sdp}, core.AsError(core.Errorf(core.NoSuchMember, "9 is not in room c-1")))
		}, `{"level":"INFO","msg":"command refused","command":"Offer","room":"c-1","user":"8","remote":"192.0.2.8:1","code":"no_such_member","reason":"9 is not in room c-1"}`},
		{"not let in", func(j *journal) {
			j.Handled("c-1", core.Caller{User: "", Remote: "192.0.2.8:1"}, join, &core.Error{Code: core.Unauthorized, Msg: "not authorized", Cause: errors.New("token expired")})
		}, `{"level":"WARN","msg":"command refused","command":"Join","room":"c-1","user":"","remote":"192.0.2.8:1","claims_to_be":"8","code":"unauthorized","reason":"not authorized","cause":"token expired"}`},
		{"not let in by its key", func(j *journal) {
			hello := core.Hello{Cred: core.Credentials{Tenant: "school\nx", Key: signed, User: "8"}}
			j.Handled("", core.Caller{Remote: "192.0.2.8:1"}, hello, &core.Error{Code: core.Unauthorized, Msg: "not authorized", Cause: errors.New("not its key")})
		}, `{"level":"WARN","msg":"command refused","command":"Hello","room":"","user":"","remote":"192.0.2.8:1","claims_to_be":"8","tenant":"school…","code":"unauthorized","reason":"not authorized","cause":"not its key"}`},
		{"a bug", func(j *journal) {
			j.Handled("c-1", core.Caller{User: "8", Remote: "192.0.2.8:1"}, core.Ping{}, core.AsError(errors.New("disk on fire")))
		},
			`{"level":"ERROR","msg":"command refused","command":"Ping","room":"c-1","user":"8","remote":"192.0.2.8:1","code":"internal","reason":"internal error","cause":"disk on fire"}`},
		{"leg", func(j *journal) { j.LegFailed("c-1", leg, errors.New("no answer: "+sdp)) },
			`{"level":"WARN","msg":"leg failed","room":"c-1","user":"8","direction":"down","of":"7","source":"cam","cause":"no answer: v=0…"}`},
		{"panic", func(j *journal) { j.Panicked("c-1", "nil map", []byte("goroutine 1")) },
			`{"level":"ERROR","msg":"room ended by a bug","room":"c-1","reason":"nil map","stack":"goroutine 1"}`},
		{"a name that would forge a line", func(j *journal) {
			j.Handled(core.RoomID("c\n{\"level\":\"ERROR\"}"), core.Caller{User: "8", Remote: "192.0.2.8:1"}, core.Ping{}, core.AsError(core.Errorf(core.Invalid, "\x1b[31mred")))
		}, `{"level":"INFO","msg":"command refused","command":"Ping","room":"c…","user":"8","remote":"192.0.2.8:1","code":"invalid","reason":"\ufffd[31mred"}`},
		{"a long name", func(j *journal) {
			j.Handled(core.RoomID(strings.Repeat("é", 150)), core.Caller{User: "8", Remote: "192.0.2.8:1"}, core.Ping{}, core.AsError(core.Errorf(core.Invalid, "no")))
		}, fmt.Sprintf(`{"level":"INFO","msg":"command refused","command":"Ping","room":"%s…","user":"8","remote":"192.0.2.8:1","code":"invalid","reason":"no"}`, strings.Repeat("é", 100))},
		{"slow", func(j *journal) { j.Slowed("c-1") }, `{"level":"WARN","msg":"room slowed down","room":"c-1"}`},
		{"first packet", func(j *journal) { j.FirstPacket(time.Second) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, lines := journalTo(t, slog.LevelInfo)
			c.tell(j)
			want := map[string]any(nil)
			if c.want != "" {
				if err := json.Unmarshal([]byte(c.want), &want); err != nil {
					t.Fatal(err)
				}
			}
			got := lines()
			if len(got) > 1 || fmt.Sprint(got) != fmt.Sprint(oneOf(want)) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func oneOf(line map[string]any) []map[string]any {
	if line == nil {
		return nil
	}
	return []map[string]any{line}
}

func TestJournalTellsEveryCommandForDebug(t *testing.T) {
	j, lines := journalTo(t, slog.LevelDebug)
	j.Handled("c-1", core.Caller{User: "8", Remote: "192.0.2.8:1"}, core.Join{Cred: &core.Credentials{Token: "secret"}}, nil)
	want := map[string]any{"level": "DEBUG", "msg": "command done", "command": "Join", "room": "c-1", "user": "8", "remote": "192.0.2.8:1"}
	if got := lines(); fmt.Sprint(got) != fmt.Sprint(oneOf(want)) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestJournalIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines := journalTo(t, slog.LevelInfo)
		refuse := func() {
			j.Handled("c-1", core.Caller{User: "8", Remote: "192.0.2.8:1"}, core.Ping{}, core.AsError(core.Errorf(core.Unknown, "what?")))
		}
		for range budgetLines + 5000 {
			refuse()
		}
		if got := len(lines()); got != budgetLines {
			t.Errorf("%d lines, want %d", got, budgetLines)
		}
		j.LegFailed("c-1", core.Leg{}, errors.New("gone")) // has a budget of its own
		if got := lines(); got[len(got)-1]["msg"] != "leg failed" {
			t.Error("refused commands hold back failed legs")
		}
		<-time.After(budgetSpan)
		refuse()
		refuse()
		got := lines()
		if len(got) != budgetLines+3 || got[budgetLines+1]["lines_skipped"] != 5000.0 || got[budgetLines+2]["lines_skipped"] != nil {
			t.Errorf("after a while: %v", got[budgetLines:])
		}
	})
}
