package auth

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"confgate/core"
)

// Reason says why somebody was not let in, in a word of a closed set.
type Reason string

// The reasons there are.
const (
	NoCredentials Reason = "no_credentials" // nothing to judge by
	NoWayIn       Reason = "no_way_in"      // this kind of credentials is not configured
	Malformed     Reason = "malformed"      // no token, or more than one
	BadProof      Reason = "bad_proof"      // the signature or the key is not right
	UnknownKey    Reason = "unknown_key"    // signed with a key that the gateway does not have
	Expired       Reason = "expired"
	NotYet        Reason = "not_yet"
	BadClaims     Reason = "bad_claims"   // issuer, audience, or a claim that is missing or senseless
	WrongUser     Reason = "wrong_user"   // the token is another user's
	WrongRoom     Reason = "wrong_room"   // it does not open that room
	WrongOrigin   Reason = "wrong_origin" // the tenant's pages are elsewhere
	Throttled     Reason = "throttled"    // too many failures before this
	Unavailable   Reason = "unavailable"  // who had to be asked did not answer
	OtherReason   Reason = "other"
)

// Reasons gives all of them, for tables to be held against.
func Reasons() []Reason {
	return []Reason{
		NoCredentials, NoWayIn, Malformed, BadProof, UnknownKey, Expired, NotYet, BadClaims, WrongUser, WrongRoom,
		WrongOrigin, Throttled, Unavailable, OtherReason,
	}
}

// RefusalError is the cause of a refusal, for the log and the metrics. It holds
// nothing that a client sent.
type RefusalError struct {
	Reason Reason
	text   string
	guess  bool // a proof was compared, and was wrong
}

func (e *RefusalError) Error() string { return e.text }

// refuse gives the one answer that clients get, whatever the reason was: it helps
// nobody to guess.
func refuse(r Reason, text string) error { return refusal(&RefusalError{Reason: r, text: text}) }

func refusal(cause *RefusalError) error {
	return &core.Error{Code: core.Unauthorized, Msg: "not authorized", Cause: cause}
}

// asGuess marks a refusal as one of a proof that was compared and found wrong.
func asGuess(err error) error {
	e, ok := errors.AsType[*RefusalError](err)
	if !ok {
		return err
	}
	marked := *e
	marked.guess = true
	return refusal(&marked)
}

// isGuess reports whether err is a refusal that asGuess has marked.
func isGuess(err error) bool {
	e, ok := errors.AsType[*RefusalError](err)
	return ok && e.guess
}

var (
	errCritical   = errors.New("token demands an extension")
	errMalformed  = errors.New("token malformed")
	errDuplicate  = errors.New("token names a field twice")
	errUnknownKey = errors.New("token signed with an unknown key")
	errNoKeys     = errors.New("no keys to check tokens with")
)

// refusals are the words for what is wrong with a token; those of the library would
// quote it.
var refusals = []struct {
	is error
	RefusalError
}{
	{errCritical, RefusalError{Reason: Malformed, text: errCritical.Error()}},
	{errMalformed, RefusalError{Reason: Malformed, text: errMalformed.Error()}},
	{errDuplicate, RefusalError{Reason: Malformed, text: errDuplicate.Error()}},
	{errUnknownKey, RefusalError{Reason: UnknownKey, text: errUnknownKey.Error()}},
	{errNoKeys, RefusalError{Reason: Unavailable, text: errNoKeys.Error()}},
	{jwt.ErrTokenMalformed, RefusalError{Reason: Malformed, text: errMalformed.Error()}},
	{jwt.ErrTokenSignatureInvalid, RefusalError{Reason: BadProof, text: "token signed otherwise", guess: true}},
	{jwt.ErrTokenUnverifiable, RefusalError{Reason: BadProof, text: "token signed otherwise", guess: true}},
	{jwt.ErrTokenExpired, RefusalError{Reason: Expired, text: "token expired"}},
	{jwt.ErrTokenNotValidYet, RefusalError{Reason: NotYet, text: "token not valid yet"}},
	{jwt.ErrTokenInvalidIssuer, RefusalError{Reason: BadClaims, text: "token of another issuer"}},
	{jwt.ErrTokenInvalidAudience, RefusalError{Reason: BadClaims, text: "token for another audience"}},
	{jwt.ErrTokenRequiredClaimMissing, RefusalError{Reason: BadClaims, text: "token lacks a claim"}},
}

// reasonOf makes a refusal of what is wrong with a token.
func reasonOf(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return refusal(&r.RefusalError)
		}
	}
	return refuse(BadClaims, "token refused")
}
