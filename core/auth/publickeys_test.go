package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

// issuer signs tokens with keys of every kind.
type issuer struct {
	rsa *rsa.PrivateKey
	ec  map[string]*ecdsa.PrivateKey // by algorithm
	ed  ed25519.PrivateKey
}

func newIssuer(t testing.TB) issuer {
	t.Helper()
	i := issuer{ec: map[string]*ecdsa.PrivateKey{}}
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if i.ec[alg], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	if _, i.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return i
}

// public gives each public key by the algorithm that it is for.
func (i issuer) public() map[string]crypto.PublicKey {
	all := map[string]crypto.PublicKey{"RS256": &i.rsa.PublicKey, "EdDSA": i.ed.Public()}
	for alg, key := range i.ec {
		all[alg] = &key.PublicKey
	}
	return all
}

func (i issuer) private(alg string) any {
	switch {
	case alg == "EdDSA":
		return i.ed
	case i.ec[alg] != nil:
		return i.ec[alg]
	default:
		return i.rsa
	}
}

// signed gives a token of good claims. The header has what more says.
func (i issuer) signed(t testing.TB, alg string, more map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims(nil))
	maps.Copy(token.Header, more)
	text, err := token.SignedString(i.private(alg))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func pemOf(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// files gives all public keys as ParsePEM reads them, each by its algorithm's name.
func (i issuer) files(t testing.TB) (all PublicKeys) {
	t.Helper()
	for alg, key := range i.public() {
		keys, err := ParsePEM(alg, pemOf(t, key))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keys...)
	}
	return all
}

func TestPublicKeysAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		j := strict()
		j.Keys = AnyOf{Secrets{Secret(secret)}, i.files(t)}
		for alg := range i.public() {
			token := i.signed(t, alg, map[string]any{"kid": alg})
			if _, err := j.Authorize(t.Context(), core.Credentials{User: "8", Token: token}); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
		good := sign(t, jwt.SigningMethodHS256, []byte(secret), claims(nil))
		if _, err := j.Authorize(t.Context(), core.Credentials{User: "8", Token: good}); err != nil {
			t.Errorf("HS256: %v", err)
		}
	})
}

// TestAlgorithmConfusion shows tokens that are signed with something public, or with
// the right key in the wrong way.
func TestAlgorithmConfusion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		for name, keys := range map[string]Keys{
			"public keys alone": i.files(t), "and a secret": AnyOf{Secrets{Secret(secret)}, i.files(t)},
		} {
			j := strict()
			j.Keys = keys
			vectors := confused(t, i)
			for _, v := range vectors {
				g, err := j.Authorize(t.Context(), core.Credentials{User: "8", Token: v.token})
				if complaint := refusedFor(g, err, v.why); complaint != "" {
					t.Errorf("%s, %s: %s", name, v.name, complaint)
				}
			}
			t.Logf("%s: %d tokens refused", name, len(vectors))
		}
	})
}

func confused(t *testing.T, i issuer) (vs []vector) {
	const otherwise, unknown = "token signed otherwise", "token signed with an unknown key"
	// HMAC with every form of a key that everybody has.
	der, err := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pemOf(t, &i.rsa.PublicKey)
	for form, key := range map[string][]byte{
		"PEM": asPEM, "PEM without its last newline": asPEM[:len(asPEM)-1], "DER": der, "PKCS1": x509.MarshalPKCS1PublicKey(&i.rsa.PublicKey),
		"modulus": i.rsa.N.Bytes(), "base64": []byte(base64.StdEncoding.EncodeToString(der)), "ed25519": i.ed.Public().(ed25519.PublicKey),
	} {
		for _, m := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
			token := jwt.NewWithClaims(m, claims(nil))
			token.Header["kid"] = "RS256"
			text, err := token.SignedString(key)
			if err != nil {
				t.Fatal(err)
			}
			vs = append(vs, vector{m.Alg() + " with the public key as " + form, text, otherwise})
		}
	}
	// The right key, with an algorithm that it is not for.
	for _, alg := range []string{"RS384", "RS512", "PS256", "PS384", "PS512"} {
		vs = append(vs, vector{alg + " with the key for RS256", i.signed(t, alg, map[string]any{"kid": "RS256"}), ""})
	}
	// Spellings of an algorithm over a good signature.
	for _, alg := range []string{"rs256", "Rs256", "RS256 ", " RS256", "RS-256", "es256", "Es256", "eddsa", "EDDSA", "Ed25519", "none", "NONE", "nOne", ""} {
		good := strings.Split(i.signed(t, "RS256", map[string]any{"kid": "RS256"}), ".")
		header := segment(fmt.Sprintf(`{"alg":%q,"kid":"RS256"}`, alg))
		vs = append(vs, vector{fmt.Sprintf("alg %q", alg), header + "." + good[1] + "." + good[2], otherwise})
	}
	// Names of keys that lead elsewhere, or nowhere.
	for _, kid := range []string{
		"", "rs256", "RS256 ", "ES256", "../../../dev/null", "file:///etc/passwd", "https://evil.test/jwks.json", "RS256\x00", "' OR 1=1 --", strings.Repeat("k", 4000),
	} {
		vs = append(vs, vector{fmt.Sprintf("kid %.40q", kid), i.signed(t, "RS256", map[string]any{"kid": kid}), unknown})
	}
	vs = append(vs, vector{"no kid", i.signed(t, "RS256", nil), unknown})
	for _, kid := range []any{1, true, nil, []string{"RS256"}, map[string]string{"kid": "RS256"}} {
		vs = append(vs, vector{fmt.Sprintf("kid %v", kid), i.signed(t, "RS256", map[string]any{"kid": kid}), "token malformed"})
	}
	// Keys and addresses of keys that a token brings along.
	stranger := newIssuer(t)
	for name, value := range map[string]any{
		"jwk": jwkOf("RS256", &stranger.rsa.PublicKey), "jku": "https://evil.test/jwks.json", "x5u": "https://evil.test/cert.pem", "x5c": []string{"MIIB"},
	} {
		vs = append(vs, vector{"stranger's key by " + name, stranger.signed(t, "RS256", map[string]any{"kid": "RS256", name: value}), otherwise})
	}
	// A signature of no length, of another form, and one beside the curve.
	good := i.signed(t, "ES256", map[string]any{"kid": "ES256"})
	text := good[:strings.LastIndex(good, ".")+1]
	for name, sig := range map[string][]byte{"none": nil, "zero": make([]byte, 64), "short": make([]byte, 63), "r and s of the order": append(elliptic.P256().Params().N.Bytes(), elliptic.P256().Params().N.Bytes()...)} {
		vs = append(vs, vector{"ES256 with a signature that is " + name, text + base64.RawURLEncoding.EncodeToString(sig), otherwise})
	}
	return vs
}

// refusedFor is refused, for any cause if why is empty.
func refusedFor(g core.Grant, err error, why string) string {
	if cause, ok := errors.AsType[*RefusalError](err); ok && why == "" {
		why = cause.Error()
	}
	return refused(g, err, why)
}

func TestParsePEM(t *testing.T) {
	i := newIssuer(t)
	private, err := x509.MarshalPKCS8PrivateKey(i.ed)
	if err != nil {
		t.Fatal(err)
	}
	weak, _ := new(big.Int).SetString(strings.Repeat("f", 1024/4), 16)
	for _, c := range []struct {
		name string
		text []byte
		n    int
		err  string
	}{
		{"one", pemOf(t, &i.rsa.PublicKey), 1, ""},
		{"old and new", append(pemOf(t, &i.rsa.PublicKey), pemOf(t, i.ed.Public())...), 2, ""},
		{"PKCS1", pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&i.rsa.PublicKey)}), 1, ""},
		{"nothing", nil, 0, "not a public key"},
		{"a secret", []byte("c2VjcmV0"), 0, "not a public key"},
		{"something behind", append(pemOf(t, i.ed.Public()), "c2VjcmV0"...), 0, "not a public key"},
		{"the private one", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0, "private key"},
		{"a certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), 0, "no public key"},
		{"a short RSA key", pemOf(t, &rsa.PublicKey{N: weak, E: 65537}), 0, "1024 bits"},
		{"broken", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1, 2}}), 0, "asn1"},
		{"too many", []byte(strings.Repeat(string(pemOf(t, i.ed.Public())), maxKeys+1)), 0, "more than"},
	} {
		got, err := ParsePEM("", c.text)
		if len(got) != c.n || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %d keys, %v; want %d, %q", c.name, len(got), err, c.n, c.err)
		}
	}
}

// jwkOf writes a key as RFC 7518 section 6 has it.
func jwkOf(kid string, key any) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "kid": kid, "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		return map[string]any{"kty": "EC", "kid": kid, "crv": key.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(key)}
	}
	panic("no such key")
}

// with gives a copy of a JWK with something changed; nil takes it out.
func with(jwk map[string]any, name string, value any) map[string]any {
	changed := map[string]any{}
	maps.Copy(changed, jwk)
	changed[name] = value
	if value == nil {
		delete(changed, name)
	}
	return changed
}

func setOf(keys ...map[string]any) string {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestParseKeySet(t *testing.T) {
	i := newIssuer(t)
	rsaKey, ecKey, edKey := jwkOf("r", &i.rsa.PublicKey), jwkOf("e", i.public()["ES256"]), jwkOf("d", i.public()["EdDSA"])
	oct := map[string]any{"kty": "oct", "kid": "o", "k": segment(secret)}
	many := make([]map[string]any, maxKeys+1)
	for n := range many {
		many[n] = jwkOf(fmt.Sprint(n), i.ed.Public())
	}
	for _, c := range []struct {
		name, text string
		algs       string // of the keys that are taken; empty: an error
	}{
		{"every kind", setOf(rsaKey, ecKey, edKey, jwkOf("3", i.public()["ES384"]), jwkOf("5", i.public()["ES512"])), "RS256 ES256 EdDSA ES384 ES512"},
		{"for another algorithm", setOf(with(rsaKey, "alg", "PS512")), "PS512"},
		{"for signatures", setOf(with(with(ecKey, "use", "sig"), "key_ops", []string{"verify"})), "ES256"},
		{"unknown fields", setOf(with(edKey, "x5t", "abc")), "EdDSA"},
		{"a secret is left out", setOf(edKey, oct), "EdDSA"},
		{"a secret alone", setOf(oct), ""},
		{"for encryption", setOf(with(rsaKey, "use", "enc")), ""},
		{"not to verify", setOf(with(rsaKey, "key_ops", []string{"encrypt"})), ""},
		{"alg HS256 on an RSA key", setOf(with(rsaKey, "alg", "HS256")), ""},
		{"alg none", setOf(with(rsaKey, "alg", "none")), ""},
		{"alg of another curve", setOf(with(ecKey, "alg", "ES512")), ""},
		{"exponent 1", setOf(with(rsaKey, "e", "AQ")), ""},
		{"exponent even", setOf(with(rsaKey, "e", "Ag")), ""},
		{"exponent huge", setOf(with(rsaKey, "e", segment(strings.Repeat("\xff", 9)))), ""},
		{"modulus short", setOf(with(rsaKey, "n", segment("\xff\xff"))), ""},
		{"modulus huge", setOf(with(rsaKey, "n", segment(strings.Repeat("\xff", maxRSABits/8+1)))), ""},
		{"point off the curve", setOf(with(ecKey, "x", ecKey["y"])), ""},
		{"point cut", setOf(with(ecKey, "x", "AA")), ""},
		{"unknown curve", setOf(with(ecKey, "crv", "secp256k1")), ""},
		{"Ed25519 cut", setOf(with(edKey, "x", "AA")), ""},
		{"X25519", setOf(with(edKey, "crv", "X25519")), ""},
		{"long kid", setOf(with(edKey, "kid", strings.Repeat("k", maxKeyID+1))), ""},
		{"one id twice", setOf(edKey, edKey), ""},
		{"too many", setOf(many...), ""},
		{"none", setOf(), ""},
		{"a page", "<html>", ""},
		{"a list", "[]", ""},
		{"nothing", "", ""},
		{"a field twice", `{"keys":[],"keys":[]}`, ""},
		{"keys of the wrong type", `{"keys":[{"kty":1}]}`, ""},
	} {
		got, err := parseKeySet([]byte(c.text))
		var algs []string
		for _, k := range got {
			algs = append(algs, k.alg)
		}
		if strings.Join(algs, " ") != c.algs || (err == nil) != (c.algs != "") {
			t.Errorf("%s: got %q, %v; want %q", c.name, algs, err, c.algs)
		}
	}
}
