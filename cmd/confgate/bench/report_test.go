package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample() *report {
	return &report{
		Scenario: "room", Dialect: "id", URL: "http://127.0.0.1:8080", Seconds: 20,
		Members: 25, MembersWanted: 25, Legs: 624, LegsWanted: 625,
		Expected: 960_000, Received: 959_904, Loss: 0.0001, LostIn: 48, LostOut: 48,
		Missed: 100, Recovered: 4, KernelDrops: 3, Skipped: 2,
		SetupSeconds:     9.26,
		JoinToFirst:      summary{24, 41.2, 88.9, 88.9},
		JoinToPicture:    summary{24, 52.5, 91.25, 91.25},
		JoinToWhole:      summary{25, 312, 640.5, 640.5},
		OfferToConnected: summary{624, 33.1, 120, 160.7},
		Delay:            summary{959_904, 0.8, 6.1, 31.4},
		SentLate:         summary{40_000, 0.1, 1.9, 12.3},
		Server:           &cost{Cores: 0.59, MicrosPerPacket: 12.29, MicrosPerLeg: 945.5, MillisPerJoin: 3.125, RSS: 190 << 20, RSSPerLeg: 301_000},
		Generator:        &cost{Cores: 0.45, MicrosPerPacket: 9.38, RSS: 260 << 20},
		Goroutines:       new(13.2), Settled: new(true),
		Faults: []string{"member 3: connection failed"}, FaultCount: 1,
	}
}

func TestReportGolden(t *testing.T) {
	for name, write := range map[string]func(*report, *bytes.Buffer) error{
		"report.txt":  func(r *report, b *bytes.Buffer) error { return r.writeTable(b) },
		"report.json": func(r *report, b *bytes.Buffer) error { return json.NewEncoder(b).Encode(r) },
	} {
		var got bytes.Buffer
		if err := write(sample(), &got); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got.Bytes(), want)
		}
	}
}

// TestReportPromises: scripts rely on these names.
func TestReportPromises(t *testing.T) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(sample()); err != nil {
		t.Fatal(err)
	}
	if bytes.Count(b.Bytes(), []byte("\n")) != 1 {
		t.Errorf("not one line: %s", b.Bytes())
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"members": 25, "legs": 624, "expected": 960_000, "received": 959_904, "loss": 0.0001,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func TestReportOK(t *testing.T) {
	good := func() *report {
		return &report{Members: 3, MembersWanted: 3, Legs: 9, LegsWanted: 9, Expected: 5, Received: 5}
	}
	if !good().ok() {
		t.Error("a good run is not ok")
	}
	for name, spoil := range map[string]func(*report){
		"somebody did not join": func(r *report) { r.Members-- },
		"a leg is missing":      func(r *report) { r.Legs-- },
		"a packet is missing":   func(r *report) { r.Received-- },
		"a packet went astray":  func(r *report) { r.Strays++ },
		"nothing was sent":      func(r *report) { r.Expected, r.Received = 0, 0 },
		"something went wrong":  func(r *report) { r.FaultCount++ },
	} {
		r := good()
		spoil(r)
		if r.ok() {
			t.Errorf("%s, and the run is ok", name)
		}
	}
}
