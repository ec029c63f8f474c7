package auth

import (
	"context"
	"crypto/subtle"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/signature"
)

// Skew is how far the date of a signature may be from the server's clock,
// either way. Within it a request can be repeated: the scheme has no nonce.
const Skew = 15 * time.Minute

// Authenticator finds out who sent a request. It does not lock an access key
// after bad signatures, as the provider's gateway does: access keys are no
// secret, so anybody could lock anybody out, and a secret of 200 random bits
// cannot be guessed.
type Authenticator struct {
	// MaxBody is the longest body of a signed request, in bytes.
	MaxBody int64

	// MaxHeld is how many bytes of the bodies of all requests together, beyond a
	// small part of each, are held at a time. One request too many is Unavailable.
	MaxHeld int64

	dir  *Directory
	held atomic.Int64
}

// NewAuthenticator returns an Authenticator for the credentials of dir.
func NewAuthenticator(dir *Directory) *Authenticator {
	return &Authenticator{MaxBody: DefaultMaxBody, MaxHeld: DefaultMaxHeld, dir: dir}
}

// Authenticate returns who sent r, proven by its signature or else by its
// X-Auth-Token. A token that is for no project gives a principal with none. The
// body is read only if the signature covers it, and put back.
//
// Errors: Unauthenticated about "credentials" (none were sent), "token",
// "token_expired", "access_key", "signature" or "signature_expired", with the
// provider's wording as message; Forbidden about "role"; Invalid about
// "body_size" or "request" (the body broke off); Unavailable, also about "load"
// (see MaxHeld).
func (a *Authenticator) Authenticate(r *http.Request) (errand.Principal, error) {
	token := r.Header.Get("X-Auth-Token")
	if signature.Present(r) || token == "" && r.Header.Get("Authorization") != "" {
		return a.bySignature(r)
	}
	if token == "" {
		return errand.Principal{}, errand.Errorf(errand.Unauthenticated, "credentials", "x-auth-token not found")
	}
	s, err := a.dir.Session(r.Context(), token)
	if err != nil {
		return errand.Principal{}, err
	}
	return s.Principal, nil
}

func (a *Authenticator) bySignature(r *http.Request) (errand.Principal, error) {
	auth, err := signature.Parse(r)
	if err != nil {
		return errand.Principal{}, badSignature(err)
	}
	now := a.dir.now()
	if d := now.Sub(auth.Date); d > Skew || d < -Skew {
		return errand.Principal{}, errand.Errorf(errand.Unauthenticated, "signature_expired", "signature expired, signature time:%s,server time:%s",
			auth.Date.Format(signature.DateFormat), now.UTC().Format(signature.DateFormat))
	}
	key, err := a.dir.signingKey(r.Context(), auth.Access)
	if err != nil {
		return errand.Principal{}, err
	}
	// Only now: nobody without a live access key makes the server hold a body.
	body, err := a.body(r)
	if err != nil {
		return errand.Principal{}, err
	}
	if err := key.key.Verify(r, auth, body); err != nil {
		return errand.Principal{}, badSignature(err)
	}
	if len(key.token) > 0 {
		hash := hashToken(r.Header.Get(signature.TokenHeader))
		if subtle.ConstantTimeCompare(hash[:], key.token) != 1 {
			return errand.Principal{}, badToken()
		}
	}
	if key.denied != nil {
		return errand.Principal{}, key.denied
	}
	return key.principal, nil
}

// signingKey returns a live access key, or Unauthenticated.
func (d *Directory) signingKey(ctx context.Context, access string) (*signingKey, error) {
	if len(access) != accessLen || !errand.ValidText(access, accessLen) {
		return nil, unknownKey(access) // not one of ours: the store need not be asked
	}
	k, err := d.keys.get(ctx, access)
	if err != nil {
		return nil, err
	}
	if expired(k.expires, d.now()) {
		return nil, unknownKey(access)
	}
	return k, nil
}

func badSignature(cause error) error {
	return errand.Errorf(errand.Unauthenticated, "signature", "verify aksk signature fail").WithCause(cause)
}
