// Package auth holds the ways to find out who a client is: each is a
// core.Authorizer. It keeps out where secrets come from and how clients are told
// of a refusal.
package auth

import (
	"context"

	"confgate/core"
)

// Open lets everyone in as who they say they are, for development. Whoever does
// not say gets an id.
type Open struct {
	Tenant core.TenantID // everyone's; with Apart, of clients that name none
	Apart  bool          // keeps the tenants that clients name apart
}

// Authorize never refuses.
func (o Open) Authorize(_ context.Context, c core.Credentials) (core.Grant, error) {
	g := core.Grant{Tenant: o.Tenant, User: c.User}
	if o.Apart && c.Tenant != "" {
		g.Tenant = core.TenantID(c.Tenant)
	}
	if g.User == "" {
		g.User = core.UserID(core.RandomID("u"))
	}
	return g, nil
}

// Ways sends each client to the Authorizer for what it shows. Nil is a way that is
// closed.
type Ways struct {
	ByKey   core.Authorizer // a tenant and its key
	ByToken core.Authorizer // everything else
}

// Authorize asks the one whose business it is.
func (w Ways) Authorize(ctx context.Context, c core.Credentials) (core.Grant, error) {
	next := w.ByToken
	if c.Tenant != "" || c.Key != "" {
		next = w.ByKey
	}
	if next == nil {
		return core.Grant{}, refuse(NoWayIn, "no way in for such credentials is configured")
	}
	return next.Authorize(ctx, c)
}
