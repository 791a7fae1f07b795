package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

// Limits of a JSON Web Token.
const (
	maxToken = 8 << 10          // bytes
	leeway   = 60 * time.Second // by which clocks may differ
)

// Keys are what the signatures of tokens are checked with.
type Keys interface {
	// Algorithms are the names (RFC 7518 section 3.1) that these keys serve. A
	// token signed by any other is refused before Find is called.
	Algorithms() []string

	// Find gives the key for a token that names kid, which may be empty, and alg:
	// []byte for HMAC, else a public key of crypto/*. A key must never be given for
	// an algorithm of another family. Find may wait.
	Find(ctx context.Context, kid, alg string) (any, error)
}

// JWT lets in clients that show a signed token (RFC 7519) which has not expired.
type JWT struct {
	Tenant core.TenantID
	Keys   Keys

	Issuer   string // the iss that is demanded; empty: any
	Audience string // the aud that is demanded; empty: any

	// MatchUser demands that the claim "id" be the user that the client says it is.
	// Without it, whoever has a token may be anyone.
	MatchUser bool
}

// Authorize lets c in if its token is good.
func (j JWT) Authorize(ctx context.Context, c core.Credentials) (core.Grant, error) {
	switch {
	case c.Token == "":
		return core.Grant{}, refuse("no token")
	case len(c.Token) > maxToken:
		return core.Grant{}, refuse("token too long")
	}
	if err := checkNames(c.Token); err != nil {
		return core.Grant{}, refuse(err.Error())
	}
	claims := jwt.MapClaims{}
	if _, err := j.parser().ParseWithClaims(c.Token, claims, j.find(ctx)); err != nil {
		return core.Grant{}, refuse(reason(err))
	}
	return j.grant(c.User, userOf(claims))
}

// grant settles who a client is that says it is said and whose token says named.
func (j JWT) grant(said, named core.UserID) (core.Grant, error) {
	switch {
	case j.MatchUser && named == "":
		return core.Grant{}, refuse("token names no user")
	case j.MatchUser && said != "" && said != named:
		return core.Grant{}, refuse("token is another user's")
	case said == "" && named == "":
		return core.Grant{}, refuse("no user named")
	case said == "":
		said = named
	}
	return core.Grant{Tenant: j.Tenant, User: said}, nil
}

func (j JWT) parser() *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(j.Keys.Algorithms()),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
		jwt.WithJSONNumber(), // an id may be longer than a float64 is exact
	}
	if j.Issuer != "" {
		options = append(options, jwt.WithIssuer(j.Issuer))
	}
	if j.Audience != "" {
		options = append(options, jwt.WithAudience(j.Audience))
	}
	return jwt.NewParser(options...)
}

func (j JWT) find(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		if t.Header["crit"] != nil { // RFC 7515 section 4.1.11: we know no extension
			return nil, errCritical
		}
		kid, _ := t.Header["kid"].(string)
		return j.Keys.Find(ctx, kid, t.Method.Alg())
	}
}

// userOf reads the claim "id", which issuers write as a string or as a whole
// number; empty: there is none to go by.
func userOf(claims jwt.MapClaims) core.UserID {
	switch id := claims["id"].(type) {
	case string:
		return core.UserID(id)
	case json.Number:
		if !strings.ContainsAny(id.String(), ".eE") {
			return core.UserID(id.String())
		}
	}
	return ""
}

var (
	errCritical  = errors.New("token demands an extension")
	errMalformed = errors.New("token malformed")
	errDuplicate = errors.New("token names a field twice")
)

// reasons are the words for the log; the library's own would quote the token.
var reasons = []struct {
	is   error
	text string
}{
	{errCritical, errCritical.Error()},
	{jwt.ErrTokenMalformed, errMalformed.Error()},
	{jwt.ErrTokenSignatureInvalid, "token signed otherwise"},
	{jwt.ErrTokenUnverifiable, "token signed otherwise"},
	{jwt.ErrTokenExpired, "token expired"},
	{jwt.ErrTokenNotValidYet, "token not valid yet"},
	{jwt.ErrTokenInvalidIssuer, "token of another issuer"},
	{jwt.ErrTokenInvalidAudience, "token for another audience"},
	{jwt.ErrTokenRequiredClaimMissing, "token lacks a claim"},
}

func reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return r.text
		}
	}
	return "token refused"
}

// checkNames refuses a token whose header or claims, at any depth, name a field
// twice: readers differ in which of the two they believe.
func checkNames(token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errMalformed
	}
	for _, part := range parts[:2] {
		text, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || !utf8.Valid(text) {
			return errMalformed
		}
		if err := uniqueNames(text); err != nil {
			return err
		}
	}
	return nil
}

// uniqueNames reports whether text is one JSON object in which no object has two
// fields of one name.
func uniqueNames(text []byte) error {
	if !json.Valid(text) || !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return errMalformed
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return walk(d)
}

// walk reads one JSON value. Its depth is bounded by json.Valid, and by the
// length of a token before that.
func walk(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return errMalformed
	}
	delim, compound := t.(json.Delim)
	if !compound {
		return nil
	}
	names := make(map[json.Token]bool)
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return errMalformed
			}
			if names[name] {
				return errDuplicate
			}
			names[name] = true
		}
		if err := walk(d); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the closing delimiter
		return errMalformed
	}
	return nil
}
