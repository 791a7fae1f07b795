package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

const secret = "a secret that is thirty-two long"

// claims gives good ones, of user 8, with what a test changes; nil takes one out.
func claims(change jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"sub": "ann@example.com", "role": "USER", "id": 8,
		"iss": "community", "aud": []string{"web", "confgate"},
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range change {
		c[name] = value
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

func sign(t *testing.T, m jwt.SigningMethod, key any, c jwt.Claims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(m, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// raw signs a header and claims as they are written, with HS256.
func raw(t *testing.T, header, payload string) string {
	t.Helper()
	text := segment(header) + "." + segment(payload)
	sig, err := jwt.SigningMethodHS256.Sign(text, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func strict() JWT {
	return JWT{Tenant: "home", Keys: Secret(secret), Leeway: MaxLeeway, Issuer: "community", Audience: "confgate", MatchUser: true}
}

func TestJWTAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := sign(t, jwt.SigningMethodHS256, []byte(secret), claims(nil))
		hs := func(change jwt.MapClaims) string {
			return sign(t, jwt.SigningMethodHS256, []byte(secret), claims(change))
		}
		lax := JWT{Tenant: "home", Keys: Secret(secret)}
		for _, c := range []struct {
			name  string
			by    JWT
			token string
			user  core.UserID // that the client says it is
			want  core.UserID
		}{
			{"HS256", strict(), good, "8", "8"},
			{"HS384", strict(), sign(t, jwt.SigningMethodHS384, []byte(secret), claims(nil)), "8", "8"},
			{"HS512", strict(), sign(t, jwt.SigningMethodHS512, []byte(secret), claims(nil)), "8", "8"},
			{"id as a string", strict(), hs(jwt.MapClaims{"id": "8"}), "8", "8"},
			{"id longer than a float64 is exact", strict(), hs(jwt.MapClaims{"id": int64(9007199254740993)}), "9007199254740993", "9007199254740993"},
			{"one audience as a string", strict(), hs(jwt.MapClaims{"aud": "confgate"}), "8", "8"},
			{"nbf past", strict(), hs(jwt.MapClaims{"nbf": time.Now().Unix() - 1}), "8", "8"},
			{"nbf within the leeway", strict(), hs(jwt.MapClaims{"nbf": time.Now().Unix() + 59}), "8", "8"},
			{"expired within the leeway", strict(), hs(jwt.MapClaims{"exp": time.Now().Unix() - 59}), "8", "8"},
			{"unknown key id", strict(), raw(t, `{"alg":"HS256","kid":"../../dev/null"}`, payload(``)), "8", "8"},
			{"client leaves the choice", strict(), good, "", "8"},
			{"any user where that is allowed", lax, good, "9", "9"},
			{"no id where none is demanded", lax, hs(jwt.MapClaims{"id": nil}), "9", "9"},
			{"any issuer and audience", lax, hs(jwt.MapClaims{"iss": nil, "aud": nil}), "8", "8"},
		} {
			got, err := c.by.Authorize(t.Context(), core.Credentials{User: c.user, Token: c.token})
			if err != nil || got.User != c.want || got.Tenant != "home" {
				t.Errorf("%s: got %+v, %v; want user %s", c.name, got, err, c.want)
			}
		}
	})
}

// payload gives good claims as text, with more in front of the closing brace.
func payload(more string) string {
	return fmt.Sprintf(`{"id":8,"iss":"community","aud":"confgate","exp":%d%s}`, time.Now().Add(time.Hour).Unix(), more)
}

// vector is a token to be refused, and why.
type vector struct{ name, token, why string }

func TestJWTRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vectors := append(append(unsigned(t), otherwiseSigned(t)...), badClaims(t)...)
		vectors = append(vectors, badForms(t)...)
		for _, v := range vectors {
			g, err := strict().Authorize(t.Context(), core.Credentials{User: "8", Token: v.token})
			if complaint := refused(g, err, v.why); complaint != "" {
				t.Errorf("%s: %s", v.name, complaint)
			}
		}
		t.Logf("%d tokens refused", len(vectors))
	})
}

// refused says what is wrong with a refusal; empty: nothing.
func refused(g core.Grant, err error, why string) string {
	e, ok := errors.AsType[*core.Error](err)
	switch {
	case !ok || e.Code != core.Unauthorized || e.Msg != "not authorized":
		return fmt.Sprintf("got %+v, %v; want it refused", g, err)
	case e.Cause == nil || e.Cause.Error() != why: // which quotes nothing of the token
		return fmt.Sprintf("refused because %v; want %q", e.Cause, why)
	case g.User != "" || g.Tenant != "":
		return fmt.Sprintf("refused, yet granted %+v", g)
	}
	return ""
}

// unsigned are tokens that say they need no signature, or have none.
func unsigned(t *testing.T) (vs []vector) {
	const otherwise = "token signed otherwise"
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "nonE", " none", "none ", "none\u0000", ""} {
		text := segment(fmt.Sprintf(`{"alg":%q}`, alg)) + "." + segment(payload(``)) + "."
		vs = append(vs,
			vector{fmt.Sprintf("alg %q", alg), text, otherwise},
			vector{fmt.Sprintf("alg %q, signed with the secret", alg), raw(t, fmt.Sprintf(`{"alg":%q}`, alg), payload(``)), otherwise})
	}
	for i := range vs { // a NUL as Go writes it is no JSON
		if strings.Contains(vs[i].name, `\x00`) {
			vs[i].why = "token malformed"
		}
	}
	good := sign(t, jwt.SigningMethodHS256, []byte(secret), claims(nil))
	cut := good[:strings.LastIndex(good, ".")+1]
	return append(vs,
		vector{"no signature", cut, otherwise},
		vector{"half a signature", good[:len(good)-23], otherwise},
		vector{"no alg", raw(t, `{"typ":"JWT"}`, payload(``)), otherwise},
		vector{"alg null", raw(t, `{"alg":null}`, payload(``)), otherwise},
		vector{"alg a list", raw(t, `{"alg":["HS256"]}`, payload(``)), otherwise},
		vector{"alg in lower case", raw(t, `{"alg":"hs256"}`, payload(``)), otherwise},
		vector{"the name alg in upper case", raw(t, `{"ALG":"HS256"}`, payload(``)), otherwise},
		vector{"alg HS384 over an HS256 signature", raw(t, `{"alg":"HS384"}`, payload(``)), otherwise},
	)
}

// otherwiseSigned are tokens whose signature is good, by another key.
func otherwiseSigned(t *testing.T) (vs []vector) {
	const otherwise = "token signed otherwise"
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []jwt.SigningMethod{
		jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
		jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512,
	} {
		vs = append(vs, vector{m.Alg(), sign(t, m, rsaKey, claims(nil)), otherwise})
	}
	for m, curve := range map[*jwt.SigningMethodECDSA]elliptic.Curve{
		jwt.SigningMethodES256: elliptic.P256(), jwt.SigningMethodES384: elliptic.P384(), jwt.SigningMethodES512: elliptic.P521(),
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		vs = append(vs, vector{m.Alg(), sign(t, m, key, claims(nil)), otherwise})
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	good := sign(t, jwt.SigningMethodHS256, []byte(secret), claims(nil))
	parts := strings.Split(good, ".")
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		vs = append(vs, vector{"secret used as the key of " + alg, raw(t, `{"alg":"`+alg+`"}`, payload(``)), otherwise})
	}
	return append(vs,
		vector{"EdDSA", sign(t, jwt.SigningMethodEdDSA, edKey, claims(nil)), otherwise},
		vector{"wrong secret", sign(t, jwt.SigningMethodHS256, []byte("another secret"), claims(nil)), otherwise},
		vector{"empty secret", sign(t, jwt.SigningMethodHS256, []byte{}, claims(nil)), otherwise},
		vector{"the secret's base64", sign(t, jwt.SigningMethodHS256, []byte(base64.StdEncoding.EncodeToString([]byte(secret))), claims(nil)), otherwise},
		vector{"HS256 with a public key", sign(t, jwt.SigningMethodHS256, asPEM, claims(nil)), otherwise},
		vector{"other claims under the signature", parts[0] + "." + segment(payload(`,"role":"ADMIN"`)) + "." + parts[2], otherwise},
	)
}

func badClaims(t *testing.T) []vector {
	hs := func(change jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodHS256, []byte(secret), claims(change))
	}
	header := `{"alg":"HS256","typ":"JWT"}`
	now := time.Now().Unix()
	return []vector{
		{"expired", hs(jwt.MapClaims{"exp": now - 60}), "token expired"},
		{"expired long ago", hs(jwt.MapClaims{"exp": 1}), "token expired"},
		{"exp 0", hs(jwt.MapClaims{"exp": 0}), "token expired"},
		{"exp missing", hs(jwt.MapClaims{"exp": nil}), "token lacks a claim"},
		{"exp a string", hs(jwt.MapClaims{"exp": fmt.Sprint(now + 3600)}), "token refused"},
		{"exp null", raw(t, header, `{"id":8,"iss":"community","aud":"confgate","exp":null}`), "token refused"},
		{"exp in upper case", raw(t, header, `{"id":8,"iss":"community","aud":"confgate","EXP":99999999999}`), "token lacks a claim"},
		{"not yet valid", hs(jwt.MapClaims{"nbf": now + 61}), "token not valid yet"},
		{"nbf a string", hs(jwt.MapClaims{"nbf": "0"}), "token refused"},
		{"wrong aud", hs(jwt.MapClaims{"aud": "web"}), "token for another audience"},
		{"aud in another case", hs(jwt.MapClaims{"aud": "ConfGate"}), "token for another audience"},
		{"aud missing", hs(jwt.MapClaims{"aud": nil}), "token lacks a claim"},
		{"aud empty", hs(jwt.MapClaims{"aud": []string{}}), "token lacks a claim"},
		{"wrong iss", hs(jwt.MapClaims{"iss": "somebody"}), "token of another issuer"},
		{"iss missing", hs(jwt.MapClaims{"iss": nil}), "token lacks a claim"},
		{"another user's", hs(jwt.MapClaims{"id": 9}), "token is another user's"},
		{"another user's, as a string", hs(jwt.MapClaims{"id": "08"}), "token is another user's"},
		{"id missing", hs(jwt.MapClaims{"id": nil}), "token names no user"},
		{"id with a fraction", raw(t, header, strings.Replace(payload(``), `"id":8`, `"id":8.0`, 1)), "token names no user"},
		{"id a list", hs(jwt.MapClaims{"id": []int{8}}), "token names no user"},
		{"id true", hs(jwt.MapClaims{"id": true}), "token names no user"},
		{"id empty", hs(jwt.MapClaims{"id": ""}), "token names no user"},
		{"id in upper case", raw(t, header, strings.Replace(payload(``), `"id"`, `"ID"`, 1)), "token names no user"},
	}
}

func badForms(t *testing.T) []vector {
	const malformed, twice = "token malformed", "token names a field twice"
	header := `{"alg":"HS256"}`
	good := sign(t, jwt.SigningMethodHS256, []byte(secret), claims(nil))
	return []vector{
		{"no token", "", "no token"},
		{"a word", "token", malformed},
		{"dots", "..", malformed},
		{"two parts", good[:strings.LastIndex(good, ".")], malformed},
		{"four parts", good + ".x", malformed},
		{"many dots", strings.Repeat(".", 8000), malformed},
		{"five parts, as encrypted tokens have", "a.b.c.d.e", malformed},
		{"with Bearer in front", "Bearer " + good, malformed},
		{"with a space behind", good + " ", malformed},
		{"padded", good + "=", malformed},
		{"claims in the standard alphabet", raw(t, header, payload(`,"x":"??>>"`))[:20] + "+/" + good[22:], malformed},
		{"claims a list", raw(t, header, `[1]`), malformed},
		{"claims null", raw(t, header, `null`), malformed},
		{"claims not JSON", raw(t, header, `{"id":8,`), malformed},
		{"two objects", raw(t, header, payload(``)+`{"id":9}`), malformed},
		{"header a string", raw(t, `"HS256"`, payload(``)), malformed},
		{"invalid UTF-8", raw(t, header, payload(",\"x\":\"\xff\"")), malformed},
		{"deep", raw(t, header, payload(`,"x":` + strings.Repeat("[", 2500) + strings.Repeat("]", 2500))[:5000]), malformed},
		{"claim twice", raw(t, header, payload(`,"id":9`)), twice},
		{"claim twice, once escaped", raw(t, header, payload(`,"\u0069d":9`)), twice},
		{"claim twice further in", raw(t, header, payload(`,"x":[{"a":1,"a":2}]`)), twice},
		{"alg twice", raw(t, `{"alg":"none","alg":"HS256"}`, payload(``)), twice},
		{"an extension demanded", raw(t, `{"alg":"HS256","crit":["b64"],"b64":false}`, payload(``)), "token demands an extension"},
		{"oversize", sign(t, jwt.SigningMethodHS256, []byte(secret), claims(jwt.MapClaims{"x": strings.Repeat("x", maxToken)})), "token too long"},
	}
}

func TestJWTNamesNobody(t *testing.T) {
	token := sign(t, jwt.SigningMethodHS256, []byte(secret), claims(jwt.MapClaims{"id": nil}))
	g, err := JWT{Keys: Secret(secret)}.Authorize(t.Context(), core.Credentials{Token: token})
	if complaint := refused(g, err, "no user named"); complaint != "" {
		t.Error(complaint)
	}
}

func TestJWTExpiresWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cred := core.Credentials{User: "8", Token: sign(t, jwt.SigningMethodHS256, []byte(secret), claims(nil))}
		<-time.After(time.Hour + MaxLeeway - time.Second)
		if _, err := strict().Authorize(t.Context(), cred); err != nil {
			t.Errorf("refused a second too early: %v", err)
		}
		<-time.After(time.Second)
		g, err := strict().Authorize(t.Context(), cred)
		if complaint := refused(g, err, "token expired"); complaint != "" {
			t.Error(complaint)
		}
	})
}

// ecKey is a Keys of one public key, as a key set fetched from the issuer has many.
type ecKey struct {
	kid string
	key *ecdsa.PublicKey
}

func (ecKey) Algorithms() []string { return []string{"ES256"} }

func (k ecKey) Find(_ context.Context, kid, _ string) (any, error) {
	if kid != k.kid {
		return nil, errors.New("no such key")
	}
	return k.key, nil
}

func TestJWTWithAnotherKindOfKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	j := JWT{Tenant: "home", Keys: ecKey{"k1", &key.PublicKey}, MatchUser: true}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims(nil))
	token.Header["kid"] = "k1"
	good, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Authorize(t.Context(), core.Credentials{User: "8", Token: good}); err != nil {
		t.Errorf("refused: %v", err)
	}
	for name, bad := range map[string]string{
		"of no known key": sign(t, jwt.SigningMethodES256, key, claims(nil)),
		"HS256":           sign(t, jwt.SigningMethodHS256, []byte(secret), claims(nil)),
	} {
		g, err := j.Authorize(t.Context(), core.Credentials{User: "8", Token: bad})
		if complaint := refused(g, err, "token signed otherwise"); complaint != "" {
			t.Errorf("%s: %s", name, complaint)
		}
	}
}
