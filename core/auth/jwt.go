package auth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

// maxToken is how long a JSON Web Token may be, in bytes.
const maxToken = 8 << 10

// MaxLeeway is the most by which clocks may differ.
const MaxLeeway = time.Minute

// Keys are what the signatures of tokens are checked with.
type Keys interface {
	// Algorithms are the names (RFC 7518 section 3.1) that these keys serve. A
	// token signed by any other is refused before Find is called.
	Algorithms() []string

	// Find gives the key for a token that names kid, which may be empty, and alg:
	// []byte for HMAC, else a public key of crypto/*, or a jwt.VerificationKeySet of
	// those that may be meant. A key must never be given for an algorithm of another
	// family. Find may wait.
	Find(ctx context.Context, kid, alg string) (any, error)
}

// JWT lets in clients that show a signed token (RFC 7519) which has not expired.
type JWT struct {
	Tenant core.TenantID
	Keys   Keys
	Leeway time.Duration // by which clocks may differ, at most MaxLeeway

	Issuer   string // the iss that is demanded; empty: any
	Audience string // the aud that is demanded; empty: any

	// UserClaim names the claim that says whose token it is; empty: "id".
	UserClaim string
	// MatchUser demands that this be the user that the client says it is. Without
	// it, whoever has a token may be anyone.
	MatchUser bool

	// RoomsClaim names the claim that says which rooms the token opens: an id, or a
	// list of them; one that ends in * opens all that begin so. Empty: a token opens
	// every room.
	RoomsClaim string
}

// Authorize lets c in if its token is good.
func (j JWT) Authorize(ctx context.Context, c core.Credentials) (core.Grant, error) {
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(min(j.Leeway, MaxLeeway))}
	if j.Issuer != "" {
		options = append(options, jwt.WithIssuer(j.Issuer))
	}
	if j.Audience != "" {
		options = append(options, jwt.WithAudience(j.Audience))
	}
	claims, err := verify(ctx, c.Token, j.Keys, options...)
	if err != nil {
		return core.Grant{}, err
	}
	if sub, there := claims["sub"]; there && textOf(sub) == "" {
		return core.Grant{}, refuse(BadClaims, "token names no subject")
	}
	g, err := j.grant(c.User, core.UserID(textOf(claims[cmp.Or(j.UserClaim, "id")])))
	g.Until = timeOf(claims["exp"]).Add(min(j.Leeway, MaxLeeway))
	if err == nil && j.RoomsClaim != "" && !opens(claims[j.RoomsClaim], string(c.Room)) {
		return core.Grant{}, refuse(WrongRoom, "token does not open that room")
	}
	return g, err
}

// grant settles who a client is that says it is said and whose token says named.
func (j JWT) grant(said, named core.UserID) (core.Grant, error) {
	switch {
	case j.MatchUser && named == "":
		return core.Grant{}, refuse(WrongUser, "token names no user")
	case j.MatchUser && said != "" && said != named:
		return core.Grant{}, refuse(WrongUser, "token is another user's")
	case said == "" && named == "":
		return core.Grant{}, refuse(WrongUser, "no user named")
	case said == "":
		said = named
	}
	return core.Grant{Tenant: j.Tenant, User: said}, nil
}

// opens reports whether a claim opens a room. A claim that is not there opens none.
func opens(claim any, room string) bool {
	if room == "" {
		return false
	}
	switch claim := claim.(type) {
	case string:
		prefix, all := strings.CutSuffix(claim, "*")
		return claim == room || all && strings.HasPrefix(room, prefix)
	case []any:
		return slices.ContainsFunc(claim, func(one any) bool {
			text, ok := one.(string) // a list within the list opens nothing
			return ok && opens(text, room)
		})
	}
	return false
}

// verify gives the claims of a token that keys vouch for. What options say of the
// claims is looked at last, so a token that they refuse was no guess.
func verify(ctx context.Context, token string, keys Keys, options ...jwt.ParserOption) (jwt.MapClaims, error) {
	switch {
	case token == "":
		return nil, refuse(NoCredentials, "no token")
	case len(token) > maxToken:
		return nil, refuse(Malformed, "token too long")
	case strings.ContainsAny(token, "\r\n"): // which decoding would pass over
		return nil, refuse(Malformed, "token with line breaks")
	}
	if err := checkNames(token); err != nil {
		return nil, reasonOf(err)
	}
	options = append(options,
		jwt.WithValidMethods(keys.Algorithms()),
		jwt.WithStrictDecoding(),
		jwt.WithJSONNumber()) // an id may be longer than a float64 is exact
	claims := jwt.MapClaims{}
	if _, err := jwt.NewParser(options...).ParseWithClaims(token, claims, find(ctx, keys)); err != nil {
		return nil, reasonOf(err)
	}
	for _, name := range []string{"exp", "nbf"} {
		if n, ok := claims[name].(json.Number); ok && !isTime(n) {
			return nil, refuse(BadClaims, "token refused")
		}
	}
	return claims, nil
}

func find(ctx context.Context, keys Keys) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		if t.Header["crit"] != nil { // RFC 7515 section 4.1.11: we know no extension
			return nil, errCritical
		}
		kid, ok := t.Header["kid"].(string)
		if _, there := t.Header["kid"]; there && !ok {
			return nil, errMalformed
		}
		return keys.Find(ctx, kid, t.Method.Alg())
	}
}

// isTime reports whether n is a number of seconds that time.Time can hold.
func isTime(n json.Number) bool {
	seconds, err := n.Float64()
	return err == nil && seconds >= 0 && seconds < 1<<40
}

// timeOf reads a number of seconds since 1970 that isTime; zero: it is none.
func timeOf(claim any) time.Time {
	n, _ := claim.(json.Number)
	seconds, err := n.Float64()
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000))
}

// textOf reads an id, which issuers write as a string or as a whole number; empty:
// there is none to go by.
func textOf(claim any) string {
	switch id := claim.(type) {
	case string:
		return id
	case json.Number:
		if !strings.ContainsAny(id.String(), ".eE") {
			return id.String()
		}
	}
	return ""
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
