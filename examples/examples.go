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

//go:embed call sdk socketio/dist
var files embed.FS

// SocketIOClient holds the scripts of npm's socket.io-client, for pages to load from
// the gateway: socket.io.js and socket.io.min.js, if make put them there when the
// gateway was built.
func SocketIOClient() fs.FS {
	client, err := fs.Sub(files, "socketio/dist")
	if err != nil {
		panic(err) // the path is valid
	}
	return client
}

// policy keeps everything on the page's own origin. The socket schemes are
// named because older browsers do not count them as 'self'; blob: is what
// browsers call the local preview.
const policy = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Page serves the demo call, a page that dials the origin it came from, and the SDK
// script for pages of others. Mount it at "/". It answers GET and HEAD.
func Page() (http.Handler, error) {
	page, err := fs.Sub(files, "call")
	if err != nil {
		return nil, fmt.Errorf("open the embedded page: %w", err)
	}
	version, err := digest(files)
	if err != nil {
		return nil, fmt.Errorf("read the embedded page: %w", err)
	}
	static, sdk := http.FileServerFS(page), script("sdk/knowledgetalk.js", version)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		if r.URL.Path == sdkPath {
			sdk(w, r)
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

// sdkPath is where pages written for the vendor's SDK look for it.
const sdkPath = "/knowledgetalk.min.js"

// script serves a file to the pages of any origin. They ask each time whether it is
// still the same: a gateway that is replaced brings its own.
func script(name, version string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("ETag", version)
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeFileFS(w, r, files, name)
	}
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
