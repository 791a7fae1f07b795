package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's folder, seen from this package's.
const root = "../.."

// room is one row of the house's plan: what a package may import.
//
// Patterns are written as for the go command: ./core is a package of this module,
// /... at the end takes in everything below, std is the standard library.
type room struct {
	pkg   string
	may   []string
	tests []string // what its test files may import besides; see inTests
	why   string   // why it may import nothing else
	bans  []ban    // what it may not import though may has it, or what deserves a reason of its own
}

// ban is an import that is refused, and why.
type ban struct{ imports, why string }

// plan is the whole picture. The first row that fits a package counts, and a
// package that fits none has no place in the house.
var plan = []room{
	{
		pkg: "./core",
		may: []string{"std"},
		why: "rooms are read and tested without a wire format, a socket or a media library in sight",
		bans: []ban{
			{"./media", "core says what it wants of media as small interfaces (core.Plane); cmd hands the real one in"},
			{"./protocol/...", "core has its own words; what a dialect calls them is the dialect's business"},
			{"./transport", "a client is an outbox to core, however its frames travel"},
			{"net/...", "core opens no sockets: that is transport's and media's work"},
			{"os/...", "core neither reads files nor the environment: cmd hands it what it needs"},
			{"log/...", "core tells its Observer, which knows how to count and log"},
		},
	},
	{
		pkg: "./core/auth",
		may: []string{"std", "./core", "github.com/golang-jwt/jwt/v5"},
		why: "an authorizer says who a client is, and knows of nothing but credentials",
	},
	{
		pkg: "./protocol",
		may: []string{
			"./core", "encoding/json", "github.com/go-json-experiment/json/...",
			"bytes", "cmp", "errors", "fmt", "io", "maps", "reflect", "slices", "strconv", "strings", "unicode/utf8",
		},
		why:   "what the dialects share is pure functions over bytes",
		bans:  impure,
		tests: []string{"./protocol/idv1"},
	},
	{
		pkg:   "./protocol/wiretest",
		may:   []string{"std", "./core", "./protocol", "./transport", "golang.org/x/tools/txtar"},
		tests: []string{"./protocol/idv1", "./protocol/eventop"},
		why:   "transcripts are replayed by the real transport and the real core; only the socket and the media are made up",
	},
	{
		pkg: "./protocol/...",
		may: []string{
			"./core", "./protocol", "encoding/...", "github.com/go-json-experiment/json/...",
			"bytes", "cmp", "errors", "fmt", "maps", "slices", "strconv", "strings", "unicode/utf8",
		},
		why:   "a codec is a pair of pure functions, and knows no dialect but its own",
		bans:  impure,
		tests: []string{"./protocol/wiretest"},
	},
	{
		pkg:   "./transport",
		may:   []string{"std", "./core", "./protocol", "github.com/coder/websocket", "github.com/go-chi/chi/v5"},
		why:   "framing and dialect are independent: any dialect must run over any framing",
		tests: []string{"./protocol/idv1"},
		bans: []ban{
			{"./media", "frames and packets have nothing to do with each other"},
			{"./protocol/...", "a framing that knows a dialect cannot carry the next one"},
		},
	},
	{
		pkg: "./media",
		may: []string{"std", "./core", "github.com/pion/...", "golang.org/x/sys/unix"},
		why: "the media plane does what core's media interfaces ask, whoever is asking",
		bans: []ban{
			{"./protocol/...", "media knows legs and SDP, not the frames that they came in"},
			{"./transport", "media has its own sockets"},
		},
	},
	{
		pkg: "./media/relay",
		may: []string{"std", "./core", "github.com/pion/..."},
		why: "the relay carries packets between addresses, whoever's and whatever they are",
		bans: []ban{
			{"./media", "the gateway's own media is one address among others to a relay"},
			{"./protocol/...", "a codec tells clients where the relay is"},
			{"./transport", "the relay has its own sockets"},
		},
	},
	{
		pkg: "./examples",
		may: []string{"std"},
		why: "examples are files to copy; the package only embeds them",
	},
	{
		pkg:   "./cmd/confgate/bench",
		may:   []string{"std", "github.com/coder/websocket", "github.com/pion/...", "golang.org/x/term"},
		tests: []string{"./..."},
		why:   "a measuring client that shares code with the gateway shares its mistakes",
		bans:  []ban{{"./...", "it must dial the gateway as a real client does, from the outside"}},
	},
	{
		pkg:   "./cmd/confgate/bench/baseline",
		may:   []string{"std", "./core", "./core/auth", "./protocol/...", "./transport", "github.com/pion/..."},
		tests: []string{"./cmd/confgate/bench"},
		why:   "what confgate is measured against shares its signalling, so that only the media differ",
		bans:  []ban{{"./media", "it stands in its place"}},
	},
	{
		pkg: "./cmd/confgate/bench/compare",
		may: []string{"std", "os/exec"}, // it is no gateway: to run programs is what it is for
		why: "it sees programs from the outside",
	},
	{
		pkg: "./cmd/confgate/bench/soak",
		may: []string{"std", "os/exec", "./cmd/confgate/bench"}, // it is no gateway either
		why: "it starts programs; what they are put through is the bench's",
	},
	{
		pkg: "./cmd/confgate",
		may: []string{
			"std", "./...", "github.com/prometheus/client_golang/...", "go.yaml.in/yaml/v3", "golang.org/x/term",
		},
		tests: []string{"github.com/coder/websocket"},
		why:   "cmd wires the house together; whatever needs another library belongs in a room of its own",
	},
}

// impure is what would make a codec wait, look at a clock or remember.
var impure = []ban{
	{"context", "a codec never waits, so there is nothing to cancel"},
	{"log/...", "a codec returns its errors to one who knows whose they are"},
	{"net/...", "a codec sees frames, not sockets"},
	{"os/...", "what a codec says depends on the frame alone"},
	{"sync/...", "a codec keeps no state: one value serves every connection at once"},
	{"time", "a codec that looks at the clock cannot be replayed"},
}

// nowhere is refused in every package, whatever its row says.
var nowhere = []ban{
	{"./protocol/wiretest", "test support stays out of the binary"},
	{"C", "the binary cross-compiles and is linked statically"},
	{"io/ioutil", "deprecated: io and os have what it had"},
	{"log", "log/slog is the one way to log"},
	{"math/rand", "math/rand/v2 needs no seed, crypto/rand is for secrets"},
	{"os/exec", "a gateway that runs other programs is a bigger target"},
	{"plugin", "what runs is what was built"},
}

// inTests is what the test files of every package may import besides. Bans hold
// for what is built into the binary only.
var inTests = []struct{ imports, why string }{
	{"std", "a test may do whatever a program may"},
	{"go.uber.org/goleak", "every package's TestMain looks for leaked goroutines"},
	{"golang.org/x/tools/txtar", "transcripts are txtar archives"},
}

// single holds the imports that only a few files may have, wherever their
// package's row allows them.
var single = []struct {
	imports string
	files   []string // see path.Match
	why     string
}{
	{
		"github.com/prometheus/client_golang/...",
		[]string{"cmd/confgate/metrics.go", "cmd/confgate/metrics_test.go"},
		"everything else counts through an Observer or Stats, and could be counted otherwise tomorrow",
	},
	{
		"net/http/pprof",
		[]string{"cmd/confgate/*.go", "cmd/confgate/bench/baseline/main.go"},
		"profiles are for the admin port, never for clients",
	},
	{
		"unsafe",
		[]string{"media/*_linux.go", "media/clockstep_test.go", "cmd/confgate/bench/*_linux.go"},
		"only system calls that the standard library lacks, and a step of the clock, are worth it",
	},
}

// card is the repository's top level, all of it.
var card = []string{
	".ci", ".editorconfig", ".gitattributes", ".gitignore", ".golangci.yml",
	"LICENSE", "Makefile", "README.md", "SECURITY.md",
	"cmd", "core", "docs", "examples", "go.mod", "go.sum", "media", "protocol", "transport",
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, complaint := range complaints(p) {
			t.Error(complaint)
		}
	}
}

// TestImportsAreRefused shows that the plan holds: packages that it is there to
// refuse are refused, with the reason that it gives.
func TestImportsAreRefused(t *testing.T) {
	for _, c := range []struct {
		pkg, imports string
		why          string // empty: it is allowed
		test         bool   // imported by a test file
	}{
		{pkg: "core", imports: "confgate/media", why: "core.Plane"},
		{pkg: "core", imports: "confgate/protocol", why: "its own words"},
		{pkg: "core", imports: "github.com/google/uuid", why: "rooms are read and tested"},
		{pkg: "core", imports: "net/http", why: "no sockets"},
		{pkg: "core", imports: "sync"},
		{pkg: "core/auth", imports: "net/http"},
		{pkg: "protocol/idv1", imports: "time", why: "replayed"},
		{pkg: "protocol/idv1", imports: "time", test: true},
		{pkg: "protocol/idv1", imports: "confgate/protocol/eventop", why: "no dialect but its own"},
		{pkg: "protocol/idv1", imports: "confgate/protocol/wiretest", why: "out of the binary"},
		{pkg: "protocol/idv1", imports: "confgate/protocol/wiretest", test: true},
		{pkg: "protocol/wiretest", imports: "time"},
		{pkg: "transport", imports: "confgate/protocol/idv1", why: "the next one"},
		{pkg: "transport", imports: "confgate/protocol"},
		{pkg: "media", imports: "math/rand", why: "math/rand/v2"},
		{pkg: "cmd/confgate/bench", imports: "confgate/core", why: "from the outside"},
		{pkg: "cmd/confgate/bench", imports: "confgate/core", test: true},
		{pkg: "cmd/confgate/bench/baseline", imports: "confgate/media", why: "in its place"},
		{pkg: "cmd/confgate/bench/compare", imports: "os/exec"},
		{pkg: "cmd/confgate", imports: "os/exec", why: "bigger target"},
		{pkg: "cmd/confgate", imports: "confgate/protocol/idv1"},
		{pkg: "cmd/confgate", imports: "github.com/pion/webrtc/v4", why: "a room of its own"},
		{pkg: "internal/misc", imports: "strings", why: "no place in the house"},
		{pkg: "", imports: "strings", why: "no place in the house"},
	} {
		p := listed{ImportPath: path.Join("confgate", c.pkg), Imports: []string{c.imports}}
		if c.test {
			p.Imports, p.TestImports = nil, p.Imports
		}
		got := strings.Join(complaints(p), "\n")
		if (got == "") != (c.why == "") || !strings.Contains(got, c.why) {
			t.Errorf("%s imports %s (in tests: %t): got %q, want a reason with %q", c.pkg, c.imports, c.test, got, c.why)
		}
	}
}

// TestPlanIsLean sees to it that other people's modules stand in the plan only
// where they are used.
func TestPlanIsLean(t *testing.T) {
	all := packages(t)
	for i, row := range plan {
		for _, pattern := range slices.Concat(row.may, row.tests) {
			first, _, _ := strings.Cut(pattern, "/")
			used := slices.ContainsFunc(all, func(p listed) bool {
				imports := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
				return rowOf(p) == i && slices.ContainsFunc(imports, func(path string) bool { return fits(pattern, path) })
			})
			if strings.Contains(first, ".") && first != "." && !used {
				t.Errorf("%s does not import %s any more: drop it from the plan", row.pkg, pattern)
			}
		}
	}
}

func TestSingleImporters(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range slices.Concat(p.product(), p.tests()) {
			for _, imports := range importsOf(t, file) {
				for _, s := range single {
					allowed := slices.ContainsFunc(s.files, func(pattern string) bool {
						ok, err := path.Match(pattern, file)
						return ok && err == nil
					})
					if fits(s.imports, imports) && !allowed {
						t.Errorf("%s may not import %s: %s", file, imports, s.why)
					}
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			t.Errorf("%s has no Go files but tests", p.ImportPath)
			continue
		}
		begin := "Package " + p.Name + " "
		if p.Name == "main" {
			begin = "Command " + path.Base(p.ImportPath) + " "
		}
		comment := packageComment(t, p)
		switch rest, ok := strings.CutPrefix(comment, begin); {
		case !ok:
			t.Errorf("%s: its package comment should begin with %q", p.ImportPath, begin)
		case strings.Count(rest, ".") < 2:
			t.Errorf("%s: its package comment should say in one sentence what it is, and in another what it keeps out", p.ImportPath)
		}
	}
}

func TestTopLevel(t *testing.T) {
	var have []string
	for _, file := range tracked(t) {
		first, _, _ := strings.Cut(file, "/")
		have = append(have, first)
	}
	slices.Sort(have)
	have = slices.Compact(have)
	for _, entry := range have {
		if !slices.Contains(card, entry) {
			t.Errorf("%s is at the top level, but not on the card", entry)
		}
	}
	for _, entry := range card {
		if !slices.Contains(have, entry) {
			t.Errorf("%s is on the card, but not at the top level", entry)
		}
	}
}

// listed is a package as go list -json describes it.
type listed struct {
	Dir, ImportPath, Name string

	GoFiles, IgnoredGoFiles   []string
	TestGoFiles, XTestGoFiles []string

	Imports, TestImports, XTestImports []string
}

// local is the package's path as the plan writes it.
func (p listed) local() string { return local(p.ImportPath) }

// product gives the files that are built, for this system and others, as paths
// from the root.
func (p listed) product() []string {
	return p.files(slices.Concat(p.GoFiles, p.IgnoredGoFiles))
}

// tests gives the package's test files as paths from the root.
func (p listed) tests() []string {
	return p.files(slices.Concat(p.TestGoFiles, p.XTestGoFiles))
}

func (p listed) files(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, path.Join(strings.TrimPrefix(p.local(), "./"), name))
	}
	return all
}

// rowOf gives the package's row in the plan, or -1.
func rowOf(p listed) int {
	return slices.IndexFunc(plan, func(r room) bool { return fits(r.pkg, p.local()) })
}

// complaints says what is wrong with a package's imports.
func complaints(p listed) []string {
	i := rowOf(p)
	if i < 0 {
		return []string{p.local() + " has no place in the house: see plan"}
	}
	row := plan[i]
	var all []string
	refuse := func(imports, why string) {
		all = append(all, fmt.Sprintf("%s may not import %s: %s", p.local(), imports, why))
	}
	for _, imports := range p.Imports {
		bans := slices.Concat(row.bans, nowhere)
		b := slices.IndexFunc(bans, func(b ban) bool { return fits(b.imports, local(imports)) && !slices.Contains(row.may, local(imports)) })
		switch {
		case b >= 0:
			refuse(imports, bans[b].why)
		case !fitsAny(row.may, local(imports)):
			refuse(imports, row.why)
		}
	}
	also := slices.Concat(row.may, row.tests, []string{p.local()})
	for _, a := range inTests {
		also = append(also, a.imports)
	}
	for _, imports := range slices.Concat(p.TestImports, p.XTestImports) {
		if !fitsAny(also, local(imports)) {
			refuse(imports+" in its tests", row.why)
		}
	}
	return all
}

// local writes an import path as the plan does: packages of this module begin
// with ./ and all others stay as they are.
func local(importPath string) string {
	rest, ok := strings.CutPrefix(importPath+"/", "confgate/")
	if !ok {
		return importPath
	}
	return strings.TrimSuffix("./"+rest, "/")
}

// fits reports whether a pattern of the plan takes in the import path.
func fits(pattern, importPath string) bool {
	if pattern == "std" {
		first, _, _ := strings.Cut(importPath, "/")
		return !strings.Contains(first, ".")
	}
	prefix, below := strings.CutSuffix(pattern, "/...")
	return importPath == prefix || below && strings.HasPrefix(importPath, prefix+"/")
}

func fitsAny(patterns []string, importPath string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, importPath) })
}

// packages lists the packages of this module.
func packages(t *testing.T) []listed {
	t.Helper()
	return goList[listed](t, "./...")
}

// goList runs go list -json in the module's root.
func goList[T any](t *testing.T, args ...string) []T {
	t.Helper()
	var all []T
	dec := json.NewDecoder(bytes.NewReader(output(t, "go", append([]string{"list", "-json"}, args...)...)))
	for {
		var one T
		switch err := dec.Decode(&one); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// tracked lists the files of the repository: those that are committed, and new
// ones that are not ignored.
func tracked(t *testing.T) []string {
	t.Helper()
	out := output(t, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

// output runs a program in the module's root and gives what it prints.
func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, complaint.String())
	}
	return out
}

func importsOf(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, spec := range f.Imports {
		imports, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, imports)
	}
	return all
}

// packageComment gives the whole package comment; go list has its first sentence only.
func packageComment(t *testing.T, p listed) string {
	t.Helper()
	for _, file := range p.product() {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			return f.Doc.Text()
		}
	}
	return ""
}
