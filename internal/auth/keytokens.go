package auth

import (
	"context"
	"crypto/subtle"

	"github.com/errandhq/errand"
)

// KeyToken exchanges an access key with its secret, and its security token if it
// is a temporary one, for a token that is for the key's project and ends with
// the key at the latest: when it is revoked or expires. Errors: Unauthenticated
// about "access_key", all the same whatever was wrong; Forbidden about "role".
func (d *Directory) KeyToken(ctx context.Context, access, secret, securityToken string) (token string, s Session, err error) {
	k, err := d.keyWith(ctx, access, secret, securityToken)
	if err != nil {
		return "", Session{}, err
	}
	principal, denied, err := d.identify(ctx, k.UserID, k.Project)
	if isNotFound(err) {
		return "", Session{}, badKey()
	}
	if err == nil {
		err = denied
	}
	if err != nil {
		return "", Session{}, err
	}
	project, err := d.project(ctx, k.Project)
	if isNotFound(err) {
		return "", Session{}, badKey()
	}
	if err != nil {
		return "", Session{}, err
	}
	expires := d.now().Add(TokenLifetime)
	if !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(expires) {
		expires = k.ExpiresAt
	}
	// Should the key be revoked meanwhile, the token is worthless: it is looked at
	// together with the key.
	return d.issueToken(ctx, Token{UserID: k.UserID, Access: access, ExpiresAt: expires}, principal, project)
}

// keyWith returns an access key that has not expired, if the rest of the
// credential is right. What is compared and how does not depend on what is wrong.
func (d *Directory) keyWith(ctx context.Context, access, secret, securityToken string) (Key, error) {
	var k Key
	var right []byte
	if len(access) == accessLen && errand.ValidText(access, accessLen) { // or else it is not one of ours
		var err error
		if k, err = d.store.Key(ctx, access); err != nil && !isNotFound(err) {
			return Key{}, err
		}
		if err == nil {
			if right, err = d.sealer.Open(sealedSecret(access), k.Secret); err != nil {
				return Key{}, err
			}
		}
	}
	want, got := hashToken(string(right)), hashToken(secret)
	ok := subtle.ConstantTimeCompare(want[:], got[:])
	if got = hashToken(securityToken); len(k.Token) > 0 {
		ok &= subtle.ConstantTimeCompare(k.Token, got[:])
	}
	if ok != 1 || len(right) == 0 || expired(k.ExpiresAt, d.now()) {
		return Key{}, badKey()
	}
	return k, nil
}

func badKey() error {
	return errand.Errorf(errand.Unauthenticated, "access_key", "the access key, its secret or its security token is wrong, or the key is not valid any more")
}

// keyHolds reports an error unless the access key of a token is still what it was
// made with.
func (d *Directory) keyHolds(ctx context.Context, t Token) error {
	k, err := d.store.Key(ctx, t.Access)
	if isNotFound(err) {
		return badToken()
	}
	if err != nil {
		return err
	}
	switch {
	case k.UserID != t.UserID || k.Project != t.Project:
		return badToken()
	case expired(k.ExpiresAt, d.now()):
		return tokenExpired()
	}
	return nil
}

// EndSession makes a token worthless. One that is not known is no error. Another
// node may honour it as long as it remembers it, for some seconds.
func (d *Directory) EndSession(ctx context.Context, token string) error {
	if len(token) != tokenLen {
		return nil // not one of ours
	}
	hash := hashToken(token)
	err := d.store.DeleteToken(ctx, hash[:])
	d.tokens.drop(hash)
	if isNotFound(err) {
		return nil
	}
	return err
}
