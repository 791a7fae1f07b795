package auth

import (
	"regexp"
	"testing"

	"go.uber.org/goleak"

	"confgate/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		cred core.Credentials
		want core.Grant
	}{
		{"as it says", core.Credentials{User: "8"}, core.Grant{Tenant: "home", User: "8"}},
		{"whatever tenant it names", core.Credentials{User: "8", Tenant: "x"}, core.Grant{Tenant: "home", User: "8"}},
		{"whatever it shows", core.Credentials{User: "8", Token: "no token"}, core.Grant{Tenant: "home", User: "8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Open{Tenant: "home"}.Authorize(t.Context(), c.cred)
			if err != nil || got.Tenant != c.want.Tenant || got.User != c.want.User {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestOpenKeepsTenantsApart(t *testing.T) {
	for tenant, want := range map[string]core.TenantID{"": "home", "x": "x"} {
		got, err := Open{Tenant: "home", Apart: true}.Authorize(t.Context(), core.Credentials{User: "8", Tenant: tenant})
		if err != nil || got.Tenant != want {
			t.Errorf("%q: got %+v, %v", tenant, got, err)
		}
	}
}

func TestOpenNamesTheNameless(t *testing.T) {
	got, err := Open{}.Authorize(t.Context(), core.Credentials{})
	if err != nil || !regexp.MustCompile(`^u\d{7}$`).MatchString(string(got.User)) {
		t.Errorf("got %+v, %v", got, err)
	}
}
