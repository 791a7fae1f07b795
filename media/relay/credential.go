package relay

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the scheme has it so (RFC 2104: HMAC does not rest on collisions)
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"confgate/core"
)

// maxUsername is the longest username that STUN carries, in bytes (RFC 8489,
// section 14.3).
const maxUsername = 508

// Issuer makes the credentials with which clients use TURN servers: those that
// coturn calls use-auth-secret (draft-uberti-behave-turn-rest-00). The username is
// the time at which the credential ends and whose it is; the password is an HMAC of
// that, so that whoever knows the secret can check both without having been told.
type Issuer struct {
	Secret []byte
	TTL    time.Duration // how long a credential opens allocations
	URLs   []string      // stun:, turn: and turns: (RFC 7064, RFC 7065)
}

// ICEServers gives what a user's client needs, in as few entries as it takes.
func (i Issuer) ICEServers(t core.TenantID, u core.UserID) []core.ICEServer {
	var open, locked []string
	for _, at := range i.URLs {
		if strings.HasPrefix(at, "stun") {
			open = append(open, at)
		} else {
			locked = append(locked, at)
		}
	}
	var all []core.ICEServer
	if len(open) > 0 {
		all = append(all, core.ICEServer{URLs: open})
	}
	c := credential{ends: time.Now().Add(i.TTL).Unix(), tenant: t, user: u}
	if name := c.username(); len(locked) > 0 && len(name) <= maxUsername {
		all = append(all, core.ICEServer{URLs: locked, Username: name, Credential: password(i.Secret, name)})
	}
	return all
}

// credential is what a username says.
type credential struct {
	ends   int64 // seconds since 1970
	tenant core.TenantID
	user   core.UserID
}

// username writes c as clients show it. The names are escaped: a tenant's cannot
// reach into the user's, and what is left is ASCII, which needs no preparation
// (RFC 8265).
func (c credential) username() string {
	return strconv.FormatInt(c.ends, 10) + ":" + url.PathEscape(string(c.tenant)) + "/" + url.PathEscape(string(c.user))
}

var errUsername = errors.New("not a username of ours")

// parseUsername reads what username wrote.
func parseUsername(name string) (credential, error) {
	ends, whose, ok := strings.Cut(name, ":")
	tenant, user, ok2 := strings.Cut(whose, "/")
	if !ok || !ok2 {
		return credential{}, errUsername
	}
	var c credential
	var err error
	if c.ends, err = strconv.ParseInt(ends, 10, 64); err != nil {
		return credential{}, errUsername
	}
	t, err := url.PathUnescape(tenant)
	if err != nil {
		return credential{}, errUsername
	}
	u, err := url.PathUnescape(user)
	if err != nil {
		return credential{}, errUsername
	}
	c.tenant, c.user = core.TenantID(t), core.UserID(u)
	return c, nil
}

func password(secret []byte, username string) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
