// Package examples holds what a reader can copy and run; the demo page among
// it is built into the program. No other code of the gateway lives here: the
// page is an ordinary client and knows nothing but the wire.
package examples

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
)

//go:embed call
var files embed.FS

// policy keeps everything on the page's own origin. The socket schemes are
// named because older browsers do not count them as 'self'; blob: is what
// browsers call the local preview.
const policy = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Page serves the demo call, a page in the id dialect that dials /ws/id on the
// origin it came from. Mount it at "/". It answers GET and HEAD.
func Page() (http.Handler, error) {
	page, err := fs.Sub(files, "call")
	if err != nil {
		return nil, fmt.Errorf("open the embedded page: %w", err)
	}
	version, err := digest(page)
	if err != nil {
		return nil, fmt.Errorf("read the embedded page: %w", err)
	}
	static := http.FileServerFS(page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Permissions-Policy", "camera=(self), microphone=(self)")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		// Embedded files have no times, so the digest is what a browser can ask about.
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", version)
		static.ServeHTTP(w, r)
	}), nil
}

// digest names the content of all files together, as an entity tag.
func digest(page fs.FS) (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(page, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(page, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(content))
		sum.Write(content)
		return nil
	})
	return `"` + hex.EncodeToString(sum.Sum(nil)[:12]) + `"`, err
}
