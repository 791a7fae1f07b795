package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Origins makes a policy for Config.AllowOrigin of a list of origins, such as
// "https://app.example.com" or "http://localhost:3000", "null", or "*" for any.
func Origins(list ...string) (func(origin string) bool, error) {
	allowed := make(map[string]bool, len(list))
	for _, entry := range list {
		origin, ok := canonicalOrigin(entry)
		if entry == "*" {
			origin, ok = entry, true
		}
		if !ok {
			return nil, fmt.Errorf("%q is not an origin: want scheme://host or scheme://host:port", entry)
		}
		allowed[origin] = true
	}
	return func(origin string) bool { return allowed[origin] || allowed["*"] }, nil
}

// admit refuses requests of web pages that have no business here. A browser lets
// any page open a WebSocket to anywhere, so the server has to look at who asks.
// Native applications send no Origin; there, no page can speak in a user's name.
func (e *Edge) admit(w http.ResponseWriter, r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(origins) == 1 {
		if origin, ok := canonicalOrigin(origins[0]); ok && (sameOrigin(origin, r) || e.config.AllowOrigin(origin)) {
			return true
		}
	}
	if skipped, ok := e.notices.due("origin refused"); ok {
		e.config.Log.Warn("origin refused", "origin", clip(strings.Join(origins, ", ")), "remote", e.remote(r), "lines_skipped", skipped)
	}
	http.Error(w, "origin not allowed", http.StatusForbidden)
	return false
}

// isEmbedded reports whether r is for a picture, a script or the like in a page of
// another origin. Browsers name no origin with those, but say as much (W3C Fetch
// Metadata Request Headers).
func isEmbedded(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Header.Get("Origin") == "" && (site == "cross-site" || site == "same-site")
}

// sameOrigin reports whether a page of that origin came from the host that r is
// addressed to. Behind a proxy that ends TLS the scheme cannot be known here, so
// it counts only when TLS ends here.
func sameOrigin(origin string, r *http.Request) bool {
	scheme, _, _ := strings.Cut(origin, "://")
	switch {
	case scheme != "http" && scheme != "https":
		return false
	case scheme == "http" && r.TLS != nil:
		return false
	}
	here, ok := canonicalOrigin(scheme + "://" + r.Host)
	return ok && here == origin
}

// canonicalOrigin brings an origin into the one form in which equal origins are
// equal strings (RFC 6454 section 6.2): lower case, no default port.
func canonicalOrigin(origin string) (string, bool) {
	if origin == "null" {
		return origin, true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Path != "" || strings.ContainsAny(origin, "?#@%") || !strings.Contains(origin, "://") {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	ip6 := strings.HasPrefix(u.Host, "[")
	switch {
	case host == "" && (u.Scheme == "http" || u.Scheme == "https"), strings.Contains(host, ":") != ip6:
		return "", false
	}
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	if ip6 {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return u.Scheme + "://" + host, true
}
