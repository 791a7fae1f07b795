package examples

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, method, path, tag string) *http.Response {
	t.Helper()
	page, err := Page()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, path, nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	return w.Result()
}

func TestPage(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/main.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/call.css", 200, "text/css; charset=utf-8"},
		{"GET", "/favicon.svg", 200, "image/svg+xml"},
		{"GET", "/nothing", 404, "text/plain; charset=utf-8"},
		{"GET", "/../examples.go", 404, "text/plain; charset=utf-8"},
		{"POST", "/", 405, "text/plain; charset=utf-8"},
	} {
		got := get(t, c.method, c.path, "")
		if got.StatusCode != c.status || got.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, got.StatusCode, got.Header.Get("Content-Type"), c.status, c.kind)
		}
	}
}

func TestPageIsAskedAboutNotFetchedAgain(t *testing.T) {
	tag := get(t, "GET", "/", "").Header.Get("ETag")
	if got := get(t, "GET", "/main.js", tag); got.StatusCode != http.StatusNotModified {
		t.Errorf("status %d for a page that is the same, want 304", got.StatusCode)
	}
}

// The policy forbids what the page must not need, and browsers drop it without a
// word to us; markup made of what others typed the policy cannot see.
func TestPageKeepsItsPolicy(t *testing.T) {
	if p := get(t, "GET", "/", "").Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'self';") {
		t.Errorf("policy %q", p)
	}
	for _, c := range []struct {
		what, in string
		banned   *regexp.Regexp
	}{
		{"an inline script", "*.html", regexp.MustCompile(`<script[^>]*>[^<]`)},
		{"an inline style", "*.html", regexp.MustCompile(`<style|\sstyle=`)},
		{"an event attribute", "*.html", regexp.MustCompile(`\son[a-z]+=`)},
		{"another origin", "*.*", regexp.MustCompile(`(?:src|href|from|import|url)\W{1,3}(?:https?:)?//`)},
		{"markup from text", "*.js", regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write`)},
	} {
		names, err := fs.Glob(files, "call/"+c.in)
		if err != nil || len(names) == 0 {
			t.Fatalf("no files %s: %v", c.in, err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			if found := c.banned.Find(text); found != nil {
				t.Errorf("%s has %s: %s", name, c.what, found)
			}
		}
	}
}
