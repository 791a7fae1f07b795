// Package auth holds the ways to find out who a client is: each is a
// core.Authorizer. It keeps out where secrets come from and how clients are told
// of a refusal.
package auth

import (
	"context"
	"errors"

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

// refuse gives the one answer that clients get, whatever the reason was: it helps
// nobody to guess. The cause is for the log, and holds nothing that a client sent.
func refuse(cause string) error {
	return &core.Error{Code: core.Unauthorized, Msg: "not authorized", Cause: errors.New(cause)}
}
