package auth

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

const (
	opaque   = "kp-opaque-key-0123456789"
	licensor = "the secret that licences are signed with"
	long     = "a secret that is longer than the 64 bytes of a block of SHA-256, by some"
)

func day(text string) time.Time {
	at, err := time.ParseInLocation(time.DateOnly, text, time.UTC)
	if err != nil {
		panic(err)
	}
	return at
}

// registry is that of all tests here. The bubble's clock begins on 2000-01-01.
func registry(t testing.TB) *Tenants {
	t.Helper()
	tenants, err := NewTenants([]Tenant{
		{Code: "school", Keys: []string{opaque, "kp-the-next-key-9876543210"}, MaxUsers: 30},
		{Code: "club", Secrets: []Secret{Secret(licensor), Secret("the secret before that, thirty-two")}, MaxUsers: 20},
		{Code: "both", Keys: []string{opaque}, Secrets: []Secret{Secret(licensor), Secret(long)}},
		{Code: "later", Keys: []string{opaque}, From: day("2000-01-02")},
		{Code: "over", Keys: []string{opaque}, Until: day("2000-01-01")},
		{Code: "web", Keys: []string{opaque}, Origin: func(o string) bool { return o == "https://school.example" }},
	}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return tenants
}

// licence gives good claims with what a test changes; nil takes one out.
func licence(change jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"name": "a club", "maxUser": "10", "startDate": "1999-12-31", "endDate": "2000-01-01", "authCode": "club", "companyCode": "KP", "iat": 946684800,
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func TestTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenants := registry(t)
		hs := func(change jwt.MapClaims) string {
			return sign(t, jwt.SigningMethodHS256, []byte(licensor), licence(change))
		}
		none := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, licence(nil))
		for _, c := range []struct {
			name   string
			cred   core.Credentials
			reason Reason // empty: let in
			users  int
		}{
			{"key", core.Credentials{Tenant: "school", Key: opaque}, "", 30},
			{"the next key", core.Credentials{Tenant: "school", Key: "kp-the-next-key-9876543210"}, "", 30},
			{"key of one that takes both", core.Credentials{Tenant: "both", Key: opaque}, "", 0},
			{"wrong key", core.Credentials{Tenant: "school", Key: opaque + "0"}, BadProof, 0},
			{"half a key", core.Credentials{Tenant: "school", Key: opaque[:10]}, BadProof, 0},
			{"key in another case", core.Credentials{Tenant: "school", Key: strings.ToUpper(opaque)}, BadProof, 0},
			{"key of another tenant", core.Credentials{Tenant: "club", Key: opaque}, BadProof, 0},
			{"no such tenant", core.Credentials{Tenant: "nobody", Key: opaque}, BadProof, 0},
			{"tenant in another case", core.Credentials{Tenant: "School", Key: opaque}, BadProof, 0},
			{"no key", core.Credentials{Tenant: "school"}, NoCredentials, 0},
			{"no tenant", core.Credentials{Key: opaque}, NoCredentials, 0},
			{"huge key", core.Credentials{Tenant: "school", Key: strings.Repeat("k", 1<<20)}, Malformed, 0},
			{"huge tenant", core.Credentials{Tenant: strings.Repeat("k", 1<<20), Key: opaque}, Malformed, 0},

			{"before its time", core.Credentials{Tenant: "later", Key: opaque}, NotYet, 0},
			{"before its time, with a wrong key", core.Credentials{Tenant: "later", Key: "x"}, BadProof, 0},
			{"after its time", core.Credentials{Tenant: "over", Key: opaque}, Expired, 0},
			{"after its time, with a wrong key", core.Credentials{Tenant: "over", Key: "x"}, BadProof, 0},
			{"its page", core.Credentials{Tenant: "web", Key: opaque, Origin: "https://school.example"}, "", 0},
			{"another page", core.Credentials{Tenant: "web", Key: opaque, Origin: "https://evil.example"}, WrongOrigin, 0},
			{"a page without an origin", core.Credentials{Tenant: "web", Key: opaque, Origin: "null"}, WrongOrigin, 0},
			{"no page at all", core.Credentials{Tenant: "web", Key: opaque}, "", 0},
			{"another page, with a wrong key", core.Credentials{Tenant: "web", Key: "x", Origin: "https://evil.example"}, BadProof, 0},

			{"licence", core.Credentials{Tenant: "club", Key: hs(nil)}, "", 10},
			{"licence signed with the secret before", core.Credentials{Tenant: "club", Key: sign(t, jwt.SigningMethodHS256, []byte("the secret before that, thirty-two"), licence(nil))}, "", 10},
			{"licence signed with a long secret", core.Credentials{Tenant: "both", Key: sign(t, jwt.SigningMethodHS256, []byte(long), licence(jwt.MapClaims{"authCode": "both"}))}, "", 10},
			{"licence for more than the tenant may", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"maxUser": 500})}, "", 20},
			{"licence for no number of users", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"maxUser": nil})}, "", 20},
			{"dates without dashes", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"startDate": "19991231", "endDate": 20000101})}, "", 10},
			{"dates with times", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"startDate": "1999/12/31 10:00", "endDate": "2000.01.01T00:00:00Z"})}, "", 10},
			{"licence of another tenant", core.Credentials{Tenant: "both", Key: hs(nil)}, BadClaims, 0},
			{"licence at one without secrets", core.Credentials{Tenant: "school", Key: hs(jwt.MapClaims{"authCode": "school"})}, BadProof, 0},
			{"licence of nobody", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"authCode": nil})}, BadClaims, 0},
			{"licence of a list", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"authCode": []string{"club"}})}, BadClaims, 0},
			{"licence that is over", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"endDate": "1999-12-31"})}, Expired, 0},
			{"licence that has not begun", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"startDate": "2000-01-02", "endDate": "2000-12-31"})}, NotYet, 0},
			{"licence without an end", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"endDate": nil})}, BadClaims, 0},
			{"licence without a start", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"startDate": nil})}, BadClaims, 0},
			{"licence with a date that is none", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"endDate": "2000-13-01"})}, BadClaims, 0},
			{"licence with a word for a date", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"endDate": "never"})}, BadClaims, 0},
			{"licence for less than nobody", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"maxUser": "-1"})}, BadClaims, 0},
			{"licence for many", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"maxUser": "many"})}, BadClaims, 0},
			{"licence that expired by exp", core.Credentials{Tenant: "club", Key: hs(jwt.MapClaims{"exp": 946684700})}, Expired, 0},
			{"licence signed otherwise", core.Credentials{Tenant: "club", Key: sign(t, jwt.SigningMethodHS256, []byte("another secret"), licence(nil))}, BadProof, 0},
			{"licence signed with the code", core.Credentials{Tenant: "club", Key: sign(t, jwt.SigningMethodHS256, []byte("club"), licence(nil))}, BadProof, 0},
			{"licence signed with HS512", core.Credentials{Tenant: "club", Key: sign(t, jwt.SigningMethodHS512, []byte(licensor), licence(nil))}, BadProof, 0},
			{"licence not signed", core.Credentials{Tenant: "club", Key: none}, BadProof, 0},
		} {
			c.cred.User = "8"
			g, err := tenants.Authorize(t.Context(), c.cred)
			if c.reason == "" {
				if err != nil || g.Tenant != core.TenantID(c.cred.Tenant) || g.User != "8" || g.MaxUsers != c.users {
					t.Errorf("%s: got %+v, %v; want %d users", c.name, g, err, c.users)
				}
				continue
			}
			if why := reasonIn(err); why != c.reason || isGuess(err) != (c.reason == BadProof) || g.User != "" || g.Tenant != "" {
				t.Errorf("%s: got %+v, %s, a guess: %t; want %s", c.name, g, why, isGuess(err), c.reason)
			}
		}
	})
}

func reasonIn(err error) Reason {
	for _, r := range Reasons() {
		if e := core.AsError(err); e != nil && e.Cause != nil {
			if cause, ok := e.Cause.(*RefusalError); ok && cause.Reason == r { //nolint:errorlint // causes are not wrapped
				return r
			}
		}
	}
	return ""
}

func TestTenantsNameTheNameless(t *testing.T) {
	g, err := registry(t).Authorize(t.Context(), core.Credentials{Tenant: "school", Key: opaque})
	if err != nil || !strings.HasPrefix(string(g.User), "u") {
		t.Errorf("got %+v, %v", g, err)
	}
}

// TestTenantsAreRefusedAlike shows by construction that a wrong key costs the same
// whoever's it is said to be: there are as many locks everywhere, of one length each
// where they are compared, and an unknown tenant has a door too.
func TestTenantsAreRefusedAlike(t *testing.T) {
	tenants := registry(t)
	doors := map[string]*door{"nobody": &tenants.decoy}
	for _, d := range tenants.doors {
		doors[d.tenant.Code] = d
	}
	if len(doors) != 7 {
		t.Fatalf("%d doors", len(doors))
	}
	for code, d := range doors {
		seen := map[string]bool{}
		for i := range keysOfTenant {
			seen[string(d.keys[i][:])] = true
			seen[string(d.secrets[i])] = true
			if d.keys[i] == (digest{}) || len(d.secrets[i]) < minKey || len(d.secrets[i]) > sha256.BlockSize {
				t.Errorf("%s: lock %d is missing", code, i)
			}
		}
		if len(seen) != 2*keysOfTenant {
			t.Errorf("%s: locks are alike", code)
		}
		_, err := tenants.Authorize(t.Context(), core.Credentials{Tenant: code, Key: "a wrong key of some length"})
		e := core.AsError(err)
		if e == nil || e.Error() != "not authorized: no such tenant, or not its key" || e.Code != core.Unauthorized {
			t.Errorf("%s is told %v", code, err)
		}
	}
}

// BenchmarkTenants compares what wrong keys cost: go test -bench Tenants ./core/auth
func BenchmarkTenants(b *testing.B) {
	tenants := registry(b)
	token := sign2(b, licence(nil))
	for _, tenant := range []string{"school", "club", "over", "nobody"} {
		for form, key := range map[string]string{"opaque": "a wrong key of some length", "token": token} {
			b.Run(fmt.Sprintf("%s/%s", form, tenant), func(b *testing.B) {
				for b.Loop() {
					if _, err := tenants.Authorize(b.Context(), core.Credentials{Tenant: tenant, Key: key}); err == nil {
						b.Fatal("let in")
					}
				}
			})
		}
	}
}

func sign2(tb testing.TB, c jwt.Claims) string {
	tb.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte("a wrong secret, and no right one"))
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func TestTenantsAreChecked(t *testing.T) {
	for name, list := range map[string][]Tenant{
		"no code":        {{Keys: []string{opaque}}},
		"long code":      {{Code: strings.Repeat("c", 65), Keys: []string{opaque}}},
		"no key":         {{Code: "a"}},
		"short key":      {{Code: "a", Keys: []string{"hunter2"}}},
		"long key":       {{Code: "a", Keys: []string{strings.Repeat("k", maxTenantKey+1)}}},
		"short secret":   {{Code: "a", Secrets: []Secret{Secret("hunter2")}}},
		"too many keys":  {{Code: "a", Keys: []string{opaque, opaque, opaque, opaque, opaque}}},
		"less than none": {{Code: "a", Keys: []string{opaque}, MaxUsers: -1}},
		"ends too early": {{Code: "a", Keys: []string{opaque}, From: day("2001-01-01"), Until: day("2000-01-01")}},
		"twice":          {{Code: "a", Keys: []string{opaque}}, {Code: "a", Keys: []string{opaque + "2"}}},
	} {
		if _, err := NewTenants(list, time.UTC); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), opaque) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if tenants, err := NewTenants(nil, time.UTC); err != nil || tenants.Len() != 0 {
		t.Errorf("an empty list: %v", err)
	}
}

func TestTenantsOrigins(t *testing.T) {
	tenants := registry(t)
	if !tenants.AllowOrigin("https://school.example") || tenants.AllowOrigin("https://evil.example") {
		t.Error("origins are not those of the tenants")
	}
}

func TestTenantsGone(t *testing.T) {
	next, err := NewTenants([]Tenant{{Code: "club", Keys: []string{opaque}}, {Code: "new", Keys: []string{opaque}}}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	gone := map[core.TenantID]bool{}
	for _, code := range registry(t).Without(next) {
		gone[code] = true
	}
	if want := map[core.TenantID]bool{"school": true, "both": true, "later": true, "over": true, "web": true}; !maps.Equal(gone, want) {
		t.Errorf("gone are %v", gone)
	}
}

// TestTenantsEndWithTheirLastDay moves the clock over the end of a licence.
func TestTenantsEndWithTheirLastDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenants := registry(t)
		cred := core.Credentials{Tenant: "club", User: "8", Key: sign(t, jwt.SigningMethodHS256, []byte(licensor), licence(nil))}
		<-time.After(24*time.Hour - time.Second)
		if _, err := tenants.Authorize(t.Context(), cred); err != nil {
			t.Errorf("refused a second too early: %v", err)
		}
		<-time.After(time.Second)
		if _, err := tenants.Authorize(t.Context(), cred); reasonIn(err) != Expired {
			t.Errorf("got %v", err)
		}
	})
}

func TestWays(t *testing.T) {
	byKey, byToken := Open{Tenant: "keys"}, Open{Tenant: "tokens"}
	for _, c := range []struct {
		ways Ways
		cred core.Credentials
		want core.TenantID
	}{
		{Ways{byKey, byToken}, core.Credentials{User: "8", Tenant: "a", Key: "k"}, "keys"},
		{Ways{byKey, byToken}, core.Credentials{User: "8", Token: "t"}, "tokens"},
		{Ways{byKey, byToken}, core.Credentials{User: "8"}, "tokens"},
		{Ways{byKey, byToken}, core.Credentials{User: "8", Key: "k", Token: "t"}, "keys"},
		{Ways{ByKey: byKey}, core.Credentials{User: "8", Token: "t"}, ""},
		{Ways{ByToken: byToken}, core.Credentials{User: "8", Tenant: "a", Key: "k"}, ""},
		{Ways{}, core.Credentials{User: "8"}, ""},
	} {
		g, err := c.ways.Authorize(t.Context(), c.cred)
		if g.Tenant != c.want || (err == nil) != (c.want != "") || err != nil && reasonIn(err) != NoWayIn {
			t.Errorf("%+v: got %+v, %v", c.cred, g, err)
		}
	}
}
