package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseSecret(t *testing.T) {
	key := "\xfb\xff\xfe key"
	for _, c := range []struct {
		name, text string
		encoding   Encoding
		want       string // empty: refused
	}{
		{"standard alphabet", "+//+IGtleQ==", Base64, key},
		{"unpadded", "+//+IGtleQ", Base64, key},
		{"URL alphabet", "-__-IGtleQ==", Base64, key},
		{"URL alphabet, unpadded", "-__-IGtleQ", Base64, key},
		{"a file's last newline", "+//+IGtleQ==\r\n", Base64, key},
		{"broken into lines", "+//+\nIGtleQ==", Base64, key},
		{"plain", " correct horse\n", Plain, "correct horse"},
		{"plain that looks like base64", "aGVsbG8=", Plain, "aGVsbG8="},
		{"not base64", "correct horse", Base64, ""},
		{"one letter over", "aGVsb", Base64, ""},
		{"padding only", "==", Base64, ""},
		{"empty", " \n", Base64, ""},
		{"empty and plain", "", Plain, ""},
		{"of no encoding", "aGVsbG8=", "hex", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseSecret(c.text, c.encoding)
			if string(got) != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %q, %v", string(got), err)
			}
			if text := strings.TrimSpace(c.text); err != nil && text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("the error gives the secret away: %v", err)
			}
		})
	}
}

func TestSecretIsNeverWritten(t *testing.T) {
	const text = "hunter2 and more"
	s := Secret(text)
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%s", "%q", "%x", "%X", "%d", "%+v", "%#v"} {
		fmt.Fprintf(&b, verb+"\n", s)
		fmt.Fprintf(&b, verb+"\n", JWT{Keys: s})
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("text", "secret", s, "auth", JWT{Keys: s})
	slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "secret", s)
	for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%d", []byte(text))} {
		if strings.Contains(strings.ToLower(b.String()), strings.Trim(form, "[]")) {
			t.Errorf("%q was written in:\n%s", form, b.String())
		}
	}
}
