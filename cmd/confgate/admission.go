package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"confgate/core"
	"confgate/core/auth"
)

// admission is who may come in: what the files said when they were read last,
// behind what outlives a reading. It is the hub's core.Authorizer.
type admission struct {
	config config
	log    *slog.Logger

	throttle *auth.Throttle
	jwks     *auth.JWKS  // nil: no keys are fetched
	rooms    *auth.Rooms // nil: no backend is asked
	current  atomic.Pointer[admitted]
}

// admitted is what one reading of the files gave. It is never changed.
type admitted struct {
	core.Authorizer
	tenants *auth.Tenants // nil: none are configured
}

// source is something that is asked over the network who may come in.
type source struct {
	name  string
	state func() auth.State
}

func newAdmission(c config, log *slog.Logger) (*admission, error) {
	a := &admission{config: c, log: log, throttle: auth.NewThrottle(c.throttle)}
	var err error
	if c.jwt.jwks.URL != "" {
		of := c.jwt.jwks
		of.Log = log
		if a.jwks, err = auth.NewJWKS(of); err != nil {
			return nil, fmt.Errorf("--id-jwks-url: %w", err)
		}
	}
	if c.rooms.URL != "" {
		of := c.rooms
		of.Log = log
		if a.rooms, err = auth.NewRooms(of); err != nil {
			return nil, fmt.Errorf("--id-rooms-url: %w", err)
		}
	}
	first, err := a.read()
	if err != nil {
		return nil, err
	}
	a.current.Store(first)
	return a, nil
}

// Authorize judges by the last reading.
func (a *admission) Authorize(ctx context.Context, c core.Credentials) (core.Grant, error) {
	return a.current.Load().Authorize(ctx, c)
}

// allowOrigin reports whether pages of an origin are some tenant's.
func (a *admission) allowOrigin(origin string) bool {
	tenants := a.current.Load().tenants
	return tenants != nil && tenants.AllowOrigin(origin)
}

// sources are what is asked, as far as it is configured.
func (a *admission) sources() (all []source) {
	if a.jwks != nil {
		all = append(all, source{"jwks", a.jwks.State})
	}
	if a.rooms != nil {
		all = append(all, source{"rooms", a.rooms.State})
	}
	return all
}

// forget has the backend asked afresh about a user.
func (a *admission) forget(user core.UserID) {
	if a.rooms != nil {
		a.rooms.Forget(user)
	}
}

// run keeps what is kept up to date, until ctx ends.
func (a *admission) run(ctx context.Context) {
	if a.jwks != nil {
		a.jwks.Run(ctx)
	}
	<-ctx.Done()
	if a.rooms != nil {
		a.rooms.Close()
	}
}

// reload reads the files again, and tells which tenants have gone. On an error,
// what was read before stays.
func (a *admission) reload() (gone []core.TenantID, err error) {
	next, err := a.read()
	if err != nil {
		return nil, err
	}
	before := a.current.Load()
	switch {
	case before.tenants == nil:
	case next.tenants == nil:
		return nil, errors.New("the list of tenants is not there any more; to take all of them out, leave it empty")
	default:
		gone = before.tenants.Without(next.tenants)
	}
	a.current.Store(next)
	if a.jwks != nil {
		a.jwks.Refresh()
	}
	a.log.Info("keys and tenants read again", "tenants", next.count(), "tenants_gone", len(gone))
	return gone, nil
}

func (a *admitted) count() int {
	if a.tenants == nil {
		return 0
	}
	return a.tenants.Len()
}

// read makes what lets clients in of the files that are configured.
func (a *admission) read() (*admitted, error) {
	if a.config.dev {
		return &admitted{Authorizer: auth.Open{Tenant: a.config.tenant(), Apart: a.config.idTenant != ""}}, nil
	}
	var ways auth.Ways
	keys, err := a.keys()
	if err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		j := a.config.jwt
		ways.ByToken = a.throttle.Before(auth.JWT{
			Tenant: a.config.tenant(), Keys: keys, Leeway: j.leeway, Issuer: j.issuer, Audience: j.audience,
			UserClaim: j.userClaim, MatchUser: j.matchUser, RoomsClaim: j.roomsClaim,
		})
		if a.rooms != nil {
			ways.ByToken = a.rooms.Behind(ways.ByToken)
		}
	}
	tenants, err := a.config.tenants()
	if err != nil {
		return nil, err
	}
	if tenants != nil {
		ways.ByKey = a.throttle.Before(tenants)
	}
	if ways.ByKey == nil && ways.ByToken == nil {
		return nil, errNoWayIn
	}
	return &admitted{ways, tenants}, nil
}

var errNoWayIn = errors.New("no authentication is configured, so anybody could join: " +
	"give the secret that tokens are signed with (--id-jwt-secret-file), the issuer's public keys (--id-jwt-key-file, --id-jwks-url) " +
	"or tenants (--tenants-file), or say --dev to try things out on this machine")

// keys are what tokens are checked with.
func (a *admission) keys() (all auth.AnyOf, err error) {
	secrets, err := a.config.jwt.secrets()
	if err != nil {
		return nil, err
	}
	if len(secrets) > 0 {
		for _, s := range secrets {
			if len(s) < auth.StrongSecret {
				a.log.Warn("the JWT secret is short enough to be guessed from one token", "bytes", len(s), "at_least", auth.StrongSecret)
			}
		}
		all = append(all, secrets)
	}
	public, err := a.config.jwt.publicKeys()
	if err != nil {
		return nil, err
	}
	if len(public) > 0 {
		all = append(all, public)
	}
	if a.jwks != nil {
		all = append(all, a.jwks)
	}
	return all, nil
}

// Bounds of files.
const (
	maxSecretFile = 16 << 10 // bytes
	maxKeyFile    = 64 << 10
)

// secrets are those that HMAC tokens are signed with: the one of the setting, or
// those of the files.
func (c jwtConfig) secrets() (all auth.Secrets, err error) {
	texts, from := []string{c.secret}, "--id-jwt-secret"
	switch {
	case len(c.secretFiles) > 0:
		from = "--id-jwt-secret-file"
		if texts, err = readSecrets(c.secretFiles); err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
	case c.secret == "":
		return nil, nil
	}
	for _, text := range texts {
		secret, err := auth.ParseSecret(text, c.encoding)
		if err != nil {
			return nil, fmt.Errorf("%s: %w (see --id-jwt-secret-encoding)", from, err)
		}
		all = append(all, secret)
	}
	return all, nil
}

// readSecrets reads files that hold nothing but a secret.
func readSecrets(names []string) (texts []string, err error) {
	for _, name := range names {
		b, err := readFile(name, maxSecretFile)
		if err != nil {
			return nil, err
		}
		texts = append(texts, strings.TrimSpace(string(b)))
	}
	return texts, nil
}

// publicKeys are those in files.
func (c jwtConfig) publicKeys() (all auth.PublicKeys, err error) {
	for _, f := range c.keyFiles {
		text, err := readFile(f.path, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("--id-jwt-key-file: %w", err)
		}
		keys, err := auth.ParsePEM(f.id, text)
		if err != nil {
			return nil, fmt.Errorf("--id-jwt-key-file: %s: %w", f.path, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

// tenants reads the registry, in its own file or in that of the settings; nil: there
// is none.
func (c config) tenants() (*auth.Tenants, error) {
	var list []auth.Tenant
	for _, name := range []string{c.file, c.tenantsFile} {
		if name == "" {
			continue
		}
		here, err := readTenants(name)
		switch {
		case err != nil:
			return nil, err
		case here == nil && name == c.tenantsFile:
			return nil, fmt.Errorf("--tenants-file: %s has no list %s", name, tenantsKey)
		case here != nil && list != nil:
			return nil, fmt.Errorf("--tenants-file: %s has tenants already", c.file)
		case here != nil:
			list = here
		}
	}
	if list == nil {
		return nil, nil
	}
	own := func(t auth.Tenant) bool { return c.idTenant == "" && t.Code == string(c.tenant()) }
	if slices.ContainsFunc(list, own) {
		return nil, fmt.Errorf("tenant %q: people who come by tokens would be in it; if that is meant, say --id-tenant", c.tenant())
	}
	return auth.NewTenants(list, time.Local)
}

// warn tells of ways in that are wider than they should be.
func (a *admission) warn() {
	c := a.config
	if c.dev {
		a.log.Warn("DEVELOPMENT MODE: no authentication. Whoever reaches this gateway may join any call as anyone.")
		return
	}
	if !c.jwt.given() {
		return
	}
	if !c.jwt.matchUser {
		a.log.Warn("tokens are not tied to users: whoever has one may join as anyone (--id-jwt-match-user)")
	}
	if c.jwt.roomsClaim == "" && a.rooms == nil {
		a.log.Warn("every token opens every room (--id-jwt-rooms-claim, --id-rooms-url)")
	}
	for setting, text := range map[string]string{"id-jwks-url": c.jwt.jwks.URL, "id-rooms-url": c.rooms.URL} {
		if u, err := url.Parse(text); err == nil && u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "0")) {
			a.log.Warn("what is asked without TLS can be answered by anybody in between", "setting", setting)
		}
	}
}
