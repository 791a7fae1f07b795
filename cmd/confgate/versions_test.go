package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// bounds holds the modules whose version matters, and why. A vulnerability
// scanner cannot reach its database everywhere; this table can be read anywhere.
var bounds = []struct {
	module string
	least  string
	below  string // empty: no upper bound
	why    string
}{
	{"github.com/go-chi/chi/v5", "v5.2.2", "", "redirects to a host that the client names (GHSA-vrw8-fxc6-2r93)"},
	{"github.com/golang-jwt/jwt/v5", "v5.2.2", "", "a token of many dots took memory without bound (CVE-2025-30204)"},
	{"github.com/pion/dtls/v3", "v3.1.15", "", "one spoofed alert in plain text ends an established call"},
	{"github.com/pion/ice/v4", "v4.4.0", "v4.4.3", "before: closing hangs on a blocked write, a restart wedges gathering; from v4.4.3 on it does not compile with webrtc v4.2.20"},
	{"github.com/pion/interceptor", "v0.1.48", "", "deadlock of the NACK writer; retransmission buffers that outlive their track"},
	{"github.com/pion/sctp", "v1.11.1", "", "shutdown hangs; reassembly without bound"},
	{"github.com/pion/turn/v5", "v5.0.8", "", "relays TCP to and from peers without a permission (RFC 6062, section 5)"},
	{"github.com/prometheus/client_golang", "v1.11.1", "", "a series for each method that a client thinks of (CVE-2022-21698)"},
	{"golang.org/x/crypto", "v0.45.0", "", "agents and servers of SSH that end, or take memory without bound (CVE-2025-47914, CVE-2025-58181)"},
	{"golang.org/x/net", "v0.38.0", "", "HTML and proxies that are read in two ways; HTTP/2 that never ends (CVE-2025-22872, CVE-2025-22870, CVE-2023-45288)"},
	{"google.golang.org/protobuf", "v1.33.0", "", "JSON that is read for ever (CVE-2024-24786)"},
	{"github.com/pion/webrtc/v4", "v4.2.18", "", "a goroutine leaks for every retransmission stream that nobody reads"},
}

// absent holds modules that must not come back, and why.
var absent = []struct{ module, why string }{
	{"github.com/dgrijalva/jwt-go", "unmaintained, audience check can be bypassed (CVE-2020-26160): use golang-jwt"},
	{"github.com/gorilla/websocket", "one WebSocket library is enough: github.com/coder/websocket"},
	{"nhooyr.io/websocket", "unmaintained: lives on as github.com/coder/websocket"},
}

func TestVersions(t *testing.T) {
	used := map[string]string{}
	for _, m := range goList[struct{ Path, Version string }](t, "-m", "all") {
		used[m.Path] = m.Version
	}
	for _, b := range bounds {
		version, ok := used[b.module]
		if !ok {
			t.Errorf("%s is not used any more: drop its row", b.module)
			continue
		}
		if compareVersions(t, version, b.least) < 0 {
			t.Errorf("%s %s is older than %s: %s", b.module, version, b.least, b.why)
		}
		if b.below != "" && compareVersions(t, version, b.below) >= 0 {
			t.Errorf("%s %s is not older than %s: %s", b.module, version, b.below, b.why)
		}
	}
	for _, a := range absent {
		if version, ok := used[a.module]; ok {
			t.Errorf("%s %s is used: %s", a.module, version, a.why)
		}
	}
}

// TestToolchain holds the release of Go that go.mod asks for. Where go may fetch it
// (GOTOOLCHAIN=auto, as go comes), nothing older builds.
func TestToolchain(t *testing.T) {
	const least, why = "v1.26.9", "HTTP/2 without bounds, Range and MIME headers without limit (GO-2026-6603 to 6617)"
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if version, ok := strings.CutPrefix(line, "toolchain go"); ok {
			version, _, _ = strings.Cut(version, " ")
			if compareVersions(t, "v"+strings.TrimSpace(version), least) < 0 {
				t.Errorf("Go %s is older than %s: %s", version, least, why)
			}
			return
		}
	}
	t.Error("go.mod asks for no release of Go")
}

func TestCompareVersions(t *testing.T) {
	ascending := []string{
		"v0.0.0-20250101000000-abcdefabcdef", "v0.1.9", "v0.1.48-rc.1", "v0.1.48", "v0.1.49+incompatible", "v1.0.0", "v1.10.0", "v4.4.2",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := compareVersions(t, a, b); got != cmp.Compare(i, j) {
				t.Errorf("compare %s with %s: got %d, want %d", a, b, got, cmp.Compare(i, j))
			}
		}
	}
}

// compareVersions orders module versions as semver does, but for the order of
// pre-releases among themselves, which is that of their text.
func compareVersions(t *testing.T, a, b string) int {
	t.Helper()
	an, apre, aerr := parseVersion(a)
	bn, bpre, berr := parseVersion(b)
	if err := cmp.Or(aerr, berr); err != nil {
		t.Fatal(err)
	}
	if c := slices.Compare(an, bn); c != 0 {
		return c
	}
	switch {
	case apre == bpre:
		return 0
	case apre == "":
		return 1 // the release comes after its pre-releases
	case bpre == "":
		return -1
	}
	return cmp.Compare(apre, bpre)
}

// parseVersion splits v1.2.3-pre+build into its numbers and its pre-release.
func parseVersion(v string) (numbers []int, pre string, err error) {
	plain, _, _ := strings.Cut(strings.TrimPrefix(v, "v"), "+")
	plain, pre, _ = strings.Cut(plain, "-")
	for part := range strings.SplitSeq(plain, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, "", fmt.Errorf("version %s: %w", v, err)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) != 3 {
		return nil, "", fmt.Errorf("version %s: want three numbers", v)
	}
	return numbers, pre, nil
}
