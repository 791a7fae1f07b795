package auth

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

// FuzzToken has nothing but the tokens that were signed be let in, byte for byte:
// HMAC and Ed25519 know one signature of a text, and the text one spelling.
func FuzzToken(f *testing.F) {
	ed := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public, err := ParsePEM("ed", pemOf(f, ed.Public()))
	if err != nil {
		f.Fatal(err)
	}
	j := JWT{Tenant: "home", Keys: AnyOf{Secrets{Secret(secret)}, public}, MatchUser: true, RoomsClaim: "rooms"}
	tenants, err := NewTenants([]Tenant{{Code: "club", Keys: []string{opaque}, Secrets: []Secret{Secret(licensor)}}}, day("2000-01-01").Location())
	if err != nil {
		f.Fatal(err)
	}
	good := map[string]bool{opaque: true}
	add := func(m jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) {
		token := jwt.NewWithClaims(m, c)
		maps.Copy(token.Header, header)
		text, err := token.SignedString(key)
		if err != nil {
			f.Fatal(err)
		}
		good[text] = true
		f.Add(text)
	}
	user := jwt.MapClaims{"id": 8, "exp": 1 << 36, "rooms": []string{"c-*"}}
	add(jwt.SigningMethodHS256, []byte(secret), nil, user)
	add(jwt.SigningMethodHS512, []byte(secret), map[string]any{"kid": "x"}, user)
	add(jwt.SigningMethodEdDSA, ed, map[string]any{"kid": "ed"}, user)
	add(jwt.SigningMethodHS256, []byte(licensor), nil, licence(jwt.MapClaims{"endDate": "2999-12-31"}))
	for _, text := range []string{"", opaque, "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", segment(`{"alg":"HS256","alg":"none"}`) + "." + segment(`{"id":8,"id":9}`) + ".AA"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for way, a := range map[string]core.Authorizer{"token": j, "key": tenants} {
			c := core.Credentials{User: "8", Room: "c-10", Token: text}
			if way == "key" {
				c = core.Credentials{User: "8", Tenant: "club", Key: text}
			}
			g, err := a.Authorize(t.Context(), c)
			if err == nil && !good[text] {
				t.Errorf("as a %s, %q lets in %+v", way, text, g)
			}
			if e := core.AsError(err); err != nil && (e.Code != core.Unauthorized || fmt.Sprint(g) != fmt.Sprint(core.Grant{})) {
				t.Errorf("as a %s, %q: %v, %+v", way, text, err, g)
			}
		}
	})
}

// FuzzKeySet reads what an issuer's host may answer.
func FuzzKeySet(f *testing.F) {
	ed := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	f.Add([]byte(setOf(jwkOf("d", ed.Public()))))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"r","n":"` + segment("\xff") + `","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeySet(text)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Errorf("got %d keys, %v", len(keys), err)
		}
	})
}
