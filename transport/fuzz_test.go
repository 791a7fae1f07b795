package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// Frames are read the way JSON is, or refused; nothing else.
func FuzzSplitFrame(f *testing.F) {
	for _, seed := range []string{``, `[]`, `["a"]`, `"a"`, `["a","b"]`, `["{\"id\":\"x\"}"]`, `["a`, `[1]`, `null`,
		"[\"\xff\"]", `["\ud800"]`, `["a"]["b"]`, ` [ "a" ] `, `[null]`, `["` + strings.Repeat("x", 200) + `"]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		const limit = 100
		got, err := splitFrame(frame, limit)
		if err != nil {
			if got != nil {
				t.Errorf("both messages and %v", err)
			}
			if !errors.Is(err, ErrBroken) && !errors.Is(err, ErrNotUTF8) && !errors.Is(err, ErrTooBig) {
				t.Errorf("unknown error %v", err)
			}
			return
		}
		for _, message := range got {
			if len(message) > limit || !utf8.Valid(message) {
				t.Errorf("message %q", message)
			}
		}
		if len(frame) > 0 && !json.Valid(frame) {
			t.Errorf("took %q", frame)
		}
	})
}

// Whatever is sent arrives, and in one line.
func FuzzMessageFrame(f *testing.F) {
	for _, seed := range []string{``, `{"id":"x"}`, "\u2028\u2029\ufeff\uffff", "\x00\x1f\x7f", "한국어 😀", `\"\`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		frame := messageFrame(message)
		var back []string
		if err := json.Unmarshal(frame[1:], &back); err != nil || len(back) != 1 {
			t.Fatalf("%q: %v", frame, err)
		}
		if want := string(bytes.ToValidUTF8(message, []byte("\ufffd"))); utf8.Valid(message) && back[0] != want {
			t.Errorf("%q came as %q", message, back[0])
		}
		if bytes.ContainsAny(frame, "\r\n") {
			t.Errorf("%q is not one line", frame)
		}
		again, err := splitFrame(frame[1:], 1<<20)
		if err != nil || string(again[0]) != back[0] {
			t.Errorf("%q reads back as %q, %v", frame, again, err)
		}
	})
}

// No path opens anything but what is there, whatever its shape.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"", "/", "/info", "/a/b/xhr", "/a/b/xhr_send", "/a/b/xhr_streaming", "/a/b/websocket",
		"/websocket", "//b/xhr", "/a./b/xhr", "/a/b/xhr/", "/%2e/%2e/xhr", "/a%2fb/c/xhr", "/a/b/c/xhr", "/../info", "/*"} {
		f.Add("GET", seed)
		f.Add("POST", seed)
		f.Add("OPTIONS", seed)
	}
	// A hub is never reached: every connection is refused for the shutdown.
	edge := New(Config{Hub: newHub()})
	if err := edge.Shutdown(f.Context()); err != nil {
		f.Fatal(err)
	}
	handler := edge.Handler([]Door{{"/rtc", (*Edge).SockJS, parrot}, {"/ws", (*Edge).WebSocket, parrot}}, nil)
	f.Fuzz(func(t *testing.T, method, path string) {
		u, err := url.ParseRequestURI("/rtc" + path)
		if err != nil {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://gate.test/", http.NoBody)
		if err != nil {
			return
		}
		r.URL = u
		w := &recorder{header: http.Header{}}
		handler.ServeHTTP(w, r)
		switch w.status {
		case http.StatusOK:
			if p := u.EscapedPath(); p != "/rtc" && p != "/rtc/" || r.Method != http.MethodGet {
				t.Errorf("%s %q: found", method, path)
			}
		case http.StatusNoContent:
			if r.Method != http.MethodOptions {
				t.Errorf("%s %q: %d", method, path, w.status)
			}
		case http.StatusServiceUnavailable, http.StatusNotFound, http.StatusMethodNotAllowed:
		default:
			t.Errorf("%s %q: %d", method, path, w.status)
		}
	})
}

// One origin has one form.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"https://good.com", "HTTPS://GOOD.com:443", "http://[::1]:8080", "null", "file://",
		"https://good.com@evil.com", "https://good.com/", "capacitor://localhost", "https://good.com:", "//good.com"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		once, ok := canonicalOrigin(origin)
		if !ok {
			return
		}
		if twice, ok := canonicalOrigin(once); !ok || twice != once {
			t.Errorf("%q is %q is %q, %v", origin, once, twice, ok)
		}
		if strings.ContainsAny(once, "@?# ") {
			t.Errorf("%q is %q", origin, once)
		}
	})
}
