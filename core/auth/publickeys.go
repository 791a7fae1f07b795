package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of public keys.
const (
	maxKeys    = 64
	maxKeyID   = 256  // bytes
	minRSABits = 2048 // below, RFC 7518 section 3.3 forbids them
	maxRSABits = 8192 // above, one check takes a millisecond or more
)

// publicKey is a key for one algorithm. That nails down how it is used, whatever a
// token says.
type publicKey struct {
	id, alg string
	key     any
}

// PublicKeys are Keys that check signatures and cannot make any.
type PublicKeys []publicKey

// Algorithms are those that some key serves.
func (s PublicKeys) Algorithms() []string {
	var all []string
	for _, k := range s {
		if !slices.Contains(all, k.alg) {
			all = append(all, k.alg)
		}
	}
	return all
}

// Find gives the keys that go by kid to the letter; a token without one is for keys
// without one.
func (s PublicKeys) Find(_ context.Context, kid, alg string) (any, error) {
	var set jwt.VerificationKeySet
	for _, k := range s {
		if k.id == kid && k.alg == alg {
			set.Keys = append(set.Keys, k.key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errUnknownKey
	}
	return set, nil
}

// AnyOf are Keys of several kinds. Where some serve one algorithm, the first that
// knows the key counts.
type AnyOf []Keys

// Algorithms are those of all of them.
func (a AnyOf) Algorithms() []string {
	var all []string
	for _, keys := range a {
		all = append(all, keys.Algorithms()...)
	}
	return all
}

// Find asks the first that serves alg and knows the key.
func (a AnyOf) Find(ctx context.Context, kid, alg string) (any, error) {
	err := errUnknownKey
	for _, keys := range a {
		if !slices.Contains(keys.Algorithms(), alg) {
			continue
		}
		var key any
		if key, err = keys.Find(ctx, kid, alg); err == nil {
			return key, nil
		}
	}
	return nil, err
}

// ParsePEM reads public keys in PEM, as `openssl pkey -pubout` writes them. They
// go by id; empty: they are for tokens that name no key. RSA keys are for RS256,
// keys on P-256, P-384 and P-521 for ES256, ES384 and ES512, and Ed25519 ones for
// EdDSA.
func ParsePEM(id string, text []byte) (PublicKeys, error) {
	var all PublicKeys
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		alg, err := algorithmOf(key)
		if err != nil {
			return nil, err
		}
		if all = append(all, publicKey{id, alg, key}); len(all) > maxKeys {
			return nil, fmt.Errorf("more than %d keys", maxKeys)
		}
	}
	if len(all) == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("not a public key in PEM")
	}
	return all, nil
}

func parseBlock(b *pem.Block) (any, error) {
	switch b.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(b.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(b.Bytes)
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("this is a private key, which belongs to the issuer alone: give the public one")
	default:
		return nil, fmt.Errorf("a %q is no public key", b.Type)
	}
}

// algorithmOf gives the algorithm that a key is for if nobody says otherwise.
func algorithmOf(key any) (string, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return "", fmt.Errorf("an RSA key of %d bits: want %d to %d", bits, minRSABits, maxRSABits)
		}
		return jwt.SigningMethodRS256.Alg(), nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return jwt.SigningMethodES256.Alg(), nil
		case elliptic.P384():
			return jwt.SigningMethodES384.Alg(), nil
		case elliptic.P521():
			return jwt.SigningMethodES512.Alg(), nil
		}
	case ed25519.PublicKey:
		return jwt.SigningMethodEdDSA.Alg(), nil
	}
	return "", errors.New("a key of a kind that no token is signed with")
}

// webKey is a JSON Web Key (RFC 7517), as far as signatures need it.
type webKey struct {
	Kty, Kid, Use, Alg, Crv string
	N, E, X, Y              string
	Ops                     []string `json:"key_ops"`
}

// parseKeySet reads a JSON Web Key Set (RFC 7517 section 5). Keys of kinds that
// tokens are not signed with here are left out, as the RFC has it; a secret is one
// of them, since a set is public.
func parseKeySet(text []byte) (PublicKeys, error) {
	if err := uniqueNames(text); err != nil {
		return nil, errors.New("not a set of keys")
	}
	var set struct{ Keys []webKey }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("not a set of keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	var all PublicKeys
	for _, w := range set.Keys {
		k, ok := w.public()
		if !ok {
			continue
		}
		twin := func(o publicKey) bool { return o.id == k.id && o.alg == k.alg }
		if slices.ContainsFunc(all, twin) {
			return nil, errors.New("two keys of one id")
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		return nil, errors.New("no key to check signatures with")
	}
	return all, nil
}

// public gives the key, if it is one for signatures.
func (w webKey) public() (publicKey, bool) {
	usable := (w.Use == "" || w.Use == "sig") && (w.Ops == nil || slices.Contains(w.Ops, "verify")) && len(w.Kid) <= maxKeyID
	key, err := w.key()
	if !usable || err != nil {
		return publicKey{}, false
	}
	alg, err := algorithmOf(key)
	if err != nil {
		return publicKey{}, false
	}
	if _, isRSA := key.(*rsa.PublicKey); isRSA && slices.Contains(algorithmsOfRSA, w.Alg) {
		alg = w.Alg // the one kind of key that fits several
	}
	return publicKey{w.Kid, alg, key}, w.Alg == "" || w.Alg == alg
}

// The algorithms of public keys (RFC 7518 section 3.1, RFC 8037).
var (
	algorithmsOfRSA = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	algorithmsOfAll = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

var errNoWebKey = errors.New("not a key that tokens are signed with")

func (w webKey) key() (any, error) {
	switch w.Kty {
	case "RSA":
		n, err := number(w.N, maxRSABits)
		if err != nil {
			return nil, err
		}
		e, err := number(w.E, 31)
		if err != nil || !e.IsInt64() || e.Int64() < 3 || e.Bit(0) == 0 {
			return nil, errNoWebKey
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC":
		return w.point()
	case "OKP":
		x, err := base64.RawURLEncoding.Strict().DecodeString(w.X)
		if err != nil || w.Crv != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil, errNoWebKey
		}
		return ed25519.PublicKey(x), nil
	default:
		return nil, errNoWebKey
	}
}

// point reads a key of a curve (RFC 7518 section 6.2.1), which must be on it.
func (w webKey) point() (any, error) {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[w.Crv]
	if curve == nil {
		return nil, errNoWebKey
	}
	uncompressed := []byte{4} // SEC 1 section 2.3.3
	for _, text := range []string{w.X, w.Y} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(b) != (curve.Params().BitSize+7)/8 {
			return nil, errNoWebKey
		}
		uncompressed = append(uncompressed, b...)
	}
	return ecdsa.ParseUncompressedPublicKey(curve, uncompressed)
}

// number reads a big-endian integer of so many bits at most.
func number(text string, bits int) (*big.Int, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) == 0 || len(b) > (bits+7)/8 {
		return nil, errNoWebKey
	}
	return new(big.Int).SetBytes(b), nil
}
