package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

func TestMainRunsRoom(t *testing.T) {
	_, gateway := newTestGateway(t, nothingLost)
	var stdout, stderr bytes.Buffer
	args := []string{"room", "--url", gateway.URL, "--dialect", "id", "--members", "2", "--duration", "200ms", "--json"}
	if code := Main(t.Context(), args, &stdout, &stderr); code != exitOK {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	var rep report
	if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	if rep.Members != 2 || rep.Legs != 4 || rep.Expected == 0 || rep.Received != rep.Expected || stderr.Len() != 0 {
		t.Errorf("%s%s", stdout.Bytes(), stderr.Bytes())
	}
}

func TestMainRunsBroadcast(t *testing.T) {
	for _, c := range []struct {
		flags    string
		legs     int
		isSilent bool
	}{
		{"--subscribers 3 --join-rate 100 --key-frame-every 1h", 4, false},
		{"--subscribers 4 --join-rate 0 --video-fps 0", 5, true},
	} {
		_, gateway := newTestGateway(t, nothingLost)
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields("broadcast --duration 300ms --json "+c.flags), "--url", gateway.URL)
		if code := Main(t.Context(), args, &stdout, &stderr); code != exitOK {
			t.Errorf("%s: exit code %d: %s", c.flags, code, stderr.String())
		}
		var rep report
		if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil {
			t.Fatal(err)
		}
		if rep.Legs != c.legs || rep.Received != rep.Expected || (rep.Expected == 0) != c.isSilent || rep.Silent != c.isSilent {
			t.Errorf("%s: %s", c.flags, stdout.Bytes())
		}
		if !c.isSilent && (rep.JoinToFirst.N != 3 || rep.JoinToPicture.N != 3) {
			t.Errorf("%s: times: %+v, %+v", c.flags, rep.JoinToFirst, rep.JoinToPicture)
		}
	}
}

func TestMainFails(t *testing.T) {
	gateway, server := newTestGateway(t, nothingLost)
	gateway.capacity = 0
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), []string{"room", "--url", server.URL, "--members", "2", "--duration", "100ms"}, &stdout, &stderr)
	if code != exitFailed || !strings.Contains(stdout.String(), "0 of 2") || !strings.Contains(stderr.String(), "room is full") {
		t.Errorf("exit code %d\n%s%s", code, stdout.Bytes(), stderr.Bytes())
	}
}

func TestMainUsage(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"", exitUsage, "", "usage: confgate bench"},
		{"dance", exitUsage, "", "usage: confgate bench"},
		{"help", exitOK, "usage: confgate bench", ""},
		{"room --help", exitOK, "", "-members"},
		{"room --members 1", exitUsage, "", "--members must be from 2 to"},
		{"room more", exitUsage, "", `"more"`},
		{"room --dialect klingon", exitUsage, "", "there is: eventop, id, mixed"},
		{"room --url http://192.0.2.7:8080", exitUsage, "", "not this machine"},
	} {
		var stdout, stderr bytes.Buffer
		code := Main(t.Context(), strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: exit code %d\n%s%s", c.args, code, stdout.Bytes(), stderr.Bytes())
		}
	}
}

func TestParseBroadcast(t *testing.T) {
	o, err := parseBroadcast(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := load{fps: 30, packets: 4, size: 1150 - rtpHeader, keyEvery: 10 * time.Second}
	if o.members != 101 || o.rooms != 1 || o.senders != 1 || o.load != want || o.joinRate != 20 {
		t.Errorf("%+v", o)
	}
	for _, bad := range []string{
		"--subscribers 0", "--subscribers 2001", "--rooms 0", "--rooms 5 --subscribers 4", "--video-fps -1", "--frame-packets 0",
		"--packet-bytes 20", "--packet-bytes 1500", "--key-frame-every 1ms", "--members 3",
	} {
		if _, err := parseBroadcast(strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestParseRoom(t *testing.T) {
	o, err := parseRoom(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.gateway.String() != "http://127.0.0.1:8080" || o.dialect != "id" || o.members != 25 || o.duration != 20*time.Second || o.load != videoLoad(150, 15, 10*time.Second) {
		t.Errorf("%+v", o)
	}
	for _, good := range []string{
		"--url http://localhost:1", "--url http://[::1]:80", "--url https://conference.example --allow-remote",
		"--admin http://127.0.0.1:9090 --pid 1 --join-rate 2.5",
	} {
		if _, err := parseRoom(strings.Fields(good), io.Discard); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"--url 127.0.0.1:8080", "--url ftp://127.0.0.1", "--url http://conference.example", "--url http://127.0.0.1.example",
		"--admin http://10.0.0.1:9090", "--members 101", "--duration 50ms", "--duration 2h", "--video-kbps 0", "--video-fps 121",
		"--join-rate -1", "--join-rate NaN", "--pid -3", "--members many",
	} {
		if _, err := parseRoom(strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
