package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"confgate/core"
)

func TestHouseSettings(t *testing.T) {
	c, err := loadConfig([]string{"--dev", "--user-rooms", "7", "--name-size=0", "--room-ids=long"}, []string{"CONFGATE_TENANT_ROOMS=8"})
	if err != nil || c.limits.UserRooms != 7 || c.limits.TenantRooms != 8 || c.limits.Name != 0 || c.limits.Message != core.DefaultLimits().Message {
		t.Errorf("%+v, %v", c.limits, err)
	}
	if short, long := shortIDs.next()(), c.roomIDs.next()(); len(short) != 8 || len(long) < 1+96/5 {
		t.Errorf("room ids %s and %s", short, long)
	}
	for _, name := range houseLimits {
		_, err := loadConfig([]string{"--dev", "--" + name, "-1"}, nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("--%s -1: %v", name, err)
		}
	}
}

// TestNamesForgeNoLine: whatever rooms and users are called, an event is one line.
func TestNamesForgeNoLine(t *testing.T) {
	for _, format := range []logFormat{logJSON, logText} {
		for i := range 500 {
			var b bytes.Buffer
			j := &journal{log: newLog(&b, format, slog.LevelInfo)}
			evil := fmt.Sprintf("n%c%c\r\n{\"level\":\"ERROR\",\"msg\":\"%d\"}\x1b[31m\u2028level=ERROR msg=x", rune(i%128), rune(i*37), i)
			j.Handled(core.RoomID(evil), core.Caller{User: core.UserID(evil)}, core.Ping{}, core.AsError(core.Errorf(core.Invalid, "%s", evil)))
			line := strings.TrimSuffix(b.String(), "\n")
			if strings.ContainsAny(line, "\r\n\x1b\u2028") || format == logJSON && !json.Valid([]byte(line)) {
				t.Fatalf("%q", line)
			}
		}
	}
}
