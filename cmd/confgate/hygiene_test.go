package main

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What no file of the repository may name: it says where somebody's machine keeps
// things or where it gets them, and is wrong on the next one.
var (
	machinePaths = []string{"/home/", "/root/", "/tmp/", "/work/"}
	registries   = []string{
		"archive.ubuntu.com", "deb.debian.org", "security.debian.org",
		"goproxy.cn", "goproxy.io", "proxy.golang.org", "sum.golang.org",
		"index.docker.io", "pypi.org", "registry.npmjs.org", "registry.yarnpkg.com",
	}
)

// welcome holds the files that may have it nonetheless, and why.
var welcome = []struct{ file, why string }{
	{"cmd/confgate/hygiene_test.go", "lists what is unwelcome"},
}

const (
	// maxFile bounds a file's size: larger ones weigh on every clone for ever.
	maxFile = 1 << 20
	// screenshots may be larger, and are the only files that are not text.
	screenshots    = "docs/*.png"
	maxScreenshots = 4 << 20
)

func TestHygiene(t *testing.T) {
	for _, file := range tracked(t) {
		content, err := os.ReadFile(filepath.Join(root, file))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, complaint := range blemishes(file, content) {
			t.Errorf("%s: %s", file, complaint)
		}
	}
}

// TestHygieneFinds shows that the rules find what they are there to find.
func TestHygieneFinds(t *testing.T) {
	for _, c := range []struct {
		file, content string
		complaints    int
	}{
		{"docs/a.md", "cd /work/main && make", 1},
		{"docs/a.md", `"/tmp/x" and https://proxy.golang.org/x`, 2},
		{"docs/a.md", "GET /rtc/tmp/ and docs/work/plan.md, $HOME/work/", 0},
		{"docs/a.png", "\x89PNG\x00", 0},
		{"core/a.png", "\x89PNG\x00", 1},
		{"core/a.go", string(make([]byte, maxFile+1)), 2},
		{"docs/a.png", string(make([]byte, maxFile+1)), 0},
	} {
		if got := blemishes(c.file, []byte(c.content)); len(got) != c.complaints {
			t.Errorf("%s with %.40q: got %q, want %d complaints", c.file, c.content, got, c.complaints)
		}
	}
}

// blemishes says what is wrong with a file of the repository.
func blemishes(file string, content []byte) []string {
	picture, err := path.Match(screenshots, file)
	if err != nil {
		return []string{err.Error()}
	}
	limit := maxFile
	if picture {
		limit = maxScreenshots
	}
	var all []string
	if len(content) > limit {
		all = append(all, "too large")
	}
	if picture {
		return all
	}
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		all = append(all, "not text")
	}
	for _, w := range welcome {
		if w.file == file {
			return all
		}
	}
	for _, folder := range machinePaths {
		if beginsIn(content, folder) {
			all = append(all, "names a path of one machine, in "+folder)
		}
	}
	for _, host := range registries {
		if bytes.Contains(content, []byte(host)) {
			all = append(all, "names a package registry: "+host)
		}
	}
	return all
}

// beginsIn reports whether an absolute path stands in the text: not /rtc/tmp/, nor
// $HOME/work/.
func beginsIn(content []byte, folder string) bool {
	for {
		i := bytes.Index(content, []byte(folder))
		if i < 0 {
			return false
		}
		before, _ := utf8.DecodeLastRune(content[:i])
		if i == 0 || !unicode.In(before, unicode.L, unicode.N) && !strings.ContainsRune("_.$})*]", before) {
			return true
		}
		content = content[i+1:]
	}
}
