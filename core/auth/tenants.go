package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

// Tenant is a world of its own, and what opens it.
type Tenant struct {
	Code    string   // its name, as its clients give it
	Keys    []string // opaque; any of them
	Secrets []Secret // that its keys are signed with, where they are tokens

	From, Until time.Time // when it is open; zero: always, for ever
	MaxUsers    int       // online at once; 0: no limit

	// Origin tells of which web origins its pages may be; nil: any that was let in.
	// Clients that are no web pages have none, and are not asked.
	Origin func(origin string) bool
}

// Bounds of tenants.
const (
	maxCode       = 64 // bytes
	minKey        = 16 // bytes, below which a key is guessed
	keysOfTenant  = 4  // old and new ones while they are changed
	maxTenantKey  = maxToken
	dateOfLicence = "20060102"
)

// Tenants is the registry of those who may use the house. What it costs to find
// that a key is wrong does not depend on which tenant was named, or whether there
// is one: what is compared are hashes, as many of them for everyone.
type Tenants struct {
	salt  [sha256.Size]byte
	zone  *time.Location
	doors map[digest]*door
	decoy door // of those who are not there
}

// digest is a keyed hash, so that equal ones say nothing of how alike the texts are.
type digest [sha256.Size]byte

// door is a tenant with its locks: always as many, so that trying them all is the
// same work whoever's they are. Those in excess open to nothing.
type door struct {
	tenant  Tenant
	keys    [keysOfTenant]digest
	secrets [keysOfTenant]Secret
}

// NewTenants makes a registry. Days without a time of day begin in zone. Errors do
// not quote keys.
func NewTenants(list []Tenant, zone *time.Location) (*Tenants, error) {
	t := &Tenants{zone: zone, doors: make(map[digest]*door, len(list))}
	fill(t.salt[:])
	t.decoy = t.lock(Tenant{})
	for _, one := range list {
		if err := one.check(); err != nil {
			return nil, fmt.Errorf("tenant %q: %w", one.Code, err)
		}
		at := t.hash(one.Code)
		if t.doors[at] != nil {
			return nil, fmt.Errorf("tenant %q: stands there twice", one.Code)
		}
		t.doors[at] = new(t.lock(one))
	}
	return t, nil
}

// fill makes b random.
func fill(b []byte) {
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand does not fail
	}
}

func (t Tenant) check() error {
	switch {
	case t.Code == "" || len(t.Code) > maxCode:
		return fmt.Errorf("its code must have 1 to %d bytes", maxCode)
	case len(t.Keys)+len(t.Secrets) == 0:
		return errors.New("has neither a key nor a secret")
	case len(t.Keys) > keysOfTenant || len(t.Secrets) > keysOfTenant:
		return fmt.Errorf("has more than %d keys or secrets", keysOfTenant)
	case t.MaxUsers < 0:
		return errors.New("lets in less than nobody")
	case !t.Until.IsZero() && !t.From.Before(t.Until):
		return errors.New("ends before it begins")
	}
	for _, key := range t.Keys {
		if len(key) < minKey || len(key) > maxTenantKey {
			return fmt.Errorf("a key must have %d to %d bytes", minKey, maxTenantKey)
		}
	}
	for _, secret := range t.Secrets {
		if len(secret) < minKey {
			return fmt.Errorf("a secret must have %d bytes or more", minKey)
		}
	}
	return nil
}

func (t *Tenants) hash(text string) digest {
	mac := hmac.New(sha256.New, t.salt[:])
	mac.Write([]byte(text))
	return digest(mac.Sum(nil))
}

// lock puts a tenant behind its locks.
func (t *Tenants) lock(one Tenant) door {
	d := door{tenant: one}
	for i := range keysOfTenant {
		fill(d.keys[i][:])
		if i < len(one.Keys) {
			d.keys[i] = t.hash(one.Keys[i])
		}
		d.secrets[i] = make(Secret, StrongSecret)
		fill(d.secrets[i])
		if i < len(one.Secrets) {
			d.secrets[i] = oneBlock(one.Secrets[i])
		}
	}
	d.tenant.Keys, d.tenant.Secrets = nil, nil
	return d
}

// oneBlock shortens a secret to what HMAC makes of it anyhow (RFC 2104 section 2), so
// that a long one is no more work than a short one.
func oneBlock(s Secret) Secret {
	if len(s) <= sha256.BlockSize {
		return s
	}
	sum := sha256.Sum256(s)
	return sum[:]
}

// Len tells how many tenants there are.
func (t *Tenants) Len() int { return len(t.doors) }

// AllowOrigin reports whether pages of an origin are some tenant's.
func (t *Tenants) AllowOrigin(origin string) bool {
	for _, d := range t.doors {
		if d.tenant.Origin != nil && d.tenant.Origin(origin) {
			return true
		}
	}
	return false
}

// Without tells which codes of t are not in next.
func (t *Tenants) Without(next *Tenants) (gone []core.TenantID) {
	for _, d := range t.doors {
		if _, there := next.doors[next.hash(d.tenant.Code)]; !there {
			gone = append(gone, core.TenantID(d.tenant.Code))
		}
	}
	return gone
}

// Authorize lets in who shows a key of the tenant they name.
func (t *Tenants) Authorize(ctx context.Context, c core.Credentials) (core.Grant, error) {
	switch {
	case c.Tenant == "" || c.Key == "":
		return core.Grant{}, refuse(NoCredentials, "no tenant, or no key")
	case len(c.Tenant) > maxCode || len(c.Key) > maxTenantKey:
		return core.Grant{}, refuse(Malformed, "tenant or key too long")
	}
	d := t.doors[t.hash(c.Tenant)]
	if d == nil {
		d = &t.decoy
	}
	licence, err := d.open(ctx, t, c.Key)
	if err != nil {
		return core.Grant{}, err
	}
	g := core.Grant{Tenant: core.TenantID(d.tenant.Code), User: c.User, MaxUsers: d.tenant.MaxUsers}
	if g.User == "" {
		g.User = core.UserID(core.RandomID("u"))
	}
	if licence != nil {
		users, end, err := t.judge(licence, d.tenant.Code)
		if err != nil {
			return core.Grant{}, err
		}
		g.MaxUsers, g.Until = fewer(g.MaxUsers, users), end
		if exp := timeOf(licence["exp"]); !exp.IsZero() && exp.Before(end) {
			g.Until = exp
		}
	}
	if err := d.tenant.admits(c.Origin); err != nil {
		return core.Grant{}, err
	}
	return g, nil
}

// open tries the key in every lock, whichever fits. Where the key is a token, its
// claims are given.
func (d *door) open(ctx context.Context, t *Tenants, key string) (licence jwt.MapClaims, err error) {
	shown, fits := t.hash(key), 0
	for _, lock := range d.keys {
		fits |= subtle.ConstantTimeCompare(shown[:], lock[:])
	}
	licence, err = verify(ctx, key, signedHS256(d.secrets))
	switch {
	case fits == 1:
		return nil, nil
	case err == nil:
		return licence, nil
	}
	if e, ok := errors.AsType[*RefusalError](err); ok && (e.Reason == Expired || e.Reason == NotYet) {
		return nil, err // its signature is good
	}
	return nil, asGuess(refuse(BadProof, "no such tenant, or not its key"))
}

// signedHS256 are Keys for the one algorithm that tenants' tokens have.
type signedHS256 [keysOfTenant]Secret

func (signedHS256) Algorithms() []string { return []string{jwt.SigningMethodHS256.Alg()} }

func (s signedHS256) Find(ctx context.Context, kid, alg string) (any, error) {
	return Secrets(s[:]).Find(ctx, kid, alg)
}

// admits looks at what has nothing to do with keys, so only who has one is told.
func (t Tenant) admits(origin string) error {
	now := time.Now()
	switch {
	case now.Before(t.From):
		return refuse(NotYet, "the tenant's time has not begun")
	case !t.Until.IsZero() && !now.Before(t.Until):
		return refuse(Expired, "the tenant's time is over")
	case t.Origin != nil && origin != "" && !t.Origin(origin):
		return refuse(WrongOrigin, "not a page of the tenant's")
	}
	return nil
}

// judge checks a licence: whose it is, and its days, of which the last one counts.
// It gives how many users it is for, and when it ends.
func (t *Tenants) judge(licence jwt.MapClaims, code string) (users int, end time.Time, err error) {
	if licence["authCode"] != code {
		return 0, end, refuse(BadClaims, "licence of another tenant")
	}
	start, err := t.day(licence["startDate"])
	if err != nil {
		return 0, end, err
	}
	last, err := t.day(licence["endDate"])
	if err != nil {
		return 0, end, err
	}
	if users, err = strconv.Atoi(cmp.Or(textOf(licence["maxUser"]), "0")); err != nil || users < 0 {
		return 0, end, refuse(BadClaims, "licence for no number of users")
	}
	end = last.AddDate(0, 0, 1)
	switch now := time.Now(); {
	case now.Before(start):
		return 0, end, refuse(NotYet, "licence not valid yet")
	case !now.Before(end):
		return 0, end, refuse(Expired, "licence expired")
	}
	return users, end, nil
}

// day reads the day of a date, however its parts are set apart; what follows the
// day is not looked at.
func (t *Tenants) day(claim any) (time.Time, error) {
	text, _ := claim.(string)
	if n, ok := claim.(json.Number); ok {
		text = n.String()
	}
	digits := make([]byte, 0, len(dateOfLicence))
	for i := 0; i < len(text) && len(digits) < len(dateOfLicence); i++ {
		switch b := text[i]; {
		case b >= '0' && b <= '9':
			digits = append(digits, b)
		case b == '-' || b == '/' || b == '.':
		default:
			return time.Time{}, refuse(BadClaims, "licence without a date")
		}
	}
	day, err := time.ParseInLocation(dateOfLicence, string(digits), t.zone)
	if err != nil {
		return time.Time{}, refuse(BadClaims, "licence without a date")
	}
	return day, nil
}

// fewer gives the smaller of two limits, of which 0 is none.
func fewer(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
