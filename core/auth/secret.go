package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Secret is a key shared with the issuer of tokens: Keys for HMAC. It is never
// written out.
type Secret []byte

// StrongSecret is the length in bytes from which on a secret is as strong as
// HS256 can be (RFC 7518 section 3.2).
const StrongSecret = 32

// Encoding is how a secret is written down.
type Encoding string

// The encodings there are.
const (
	// Base64 is RFC 4648, the standard or the URL alphabet, padded or not: what
	// Java's JJWT makes a key of when it is given a string.
	Base64 Encoding = "base64"
	// Plain takes the text as it stands.
	Plain Encoding = "plain"
)

// ParseSecret reads a secret. White space around it is no part of it. The errors
// do not quote it.
func ParseSecret(text string, e Encoding) (Secret, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("the secret is empty")
	}
	switch e {
	case Plain:
		return Secret(text), nil
	case Base64:
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		key, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil || len(key) == 0 {
			return nil, errors.New("the secret is not base64; is it plain?")
		}
		return key, nil
	default:
		return nil, fmt.Errorf("no encoding %q of secrets: %s or %s", e, Base64, Plain)
	}
}

// Secrets are those of an issuer that is about to change its secret: the new one and
// the old one, for as long as tokens live that it has signed.
type Secrets []Secret

// Algorithms are the HMAC ones.
func (Secrets) Algorithms() []string { return Secret(nil).Algorithms() }

// Find gives all of them. A key id means nothing here.
func (s Secrets) Find(context.Context, string, string) (any, error) {
	if len(s) == 0 {
		return nil, errNoKeys
	}
	var set jwt.VerificationKeySet
	for _, one := range s {
		set.Keys = append(set.Keys, []byte(one))
	}
	return set, nil
}

// Algorithms are the HMAC ones.
func (Secret) Algorithms() []string {
	return []string{
		jwt.SigningMethodHS256.Alg(), jwt.SigningMethodHS384.Alg(), jwt.SigningMethodHS512.Alg(),
	}
}

// Find gives the secret, which is the only key.
func (s Secret) Find(context.Context, string, string) (any, error) { return []byte(s), nil }

// Format hides the secret from every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// LogValue hides the secret from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }
