package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/signature"
)

// The limits of access keys.
const (
	MaxKeys     = 100 // of one user
	MaxNoteLen  = 256
	MinLifetime = time.Minute
	MaxLifetime = 30 * 24 * time.Hour

	accessLen = 20
	secretLen = 40
)

// NewKey is what AddKey is told.
type NewKey struct {
	User     string        // whose it is, by name
	Project  string        // in which it acts, by id or name
	Lifetime time.Duration // 0 for a permanent key, else it is a temporary one
	Note     string
}

// Credential is a new access key with what is shown only once.
type Credential struct {
	Access        string
	Secret        string
	SecurityToken string // of a temporary key, else ""
	User          string // name
	Project       string // id
	ExpiresAt     time.Time
}

// AddKey makes an access key. Errors: NotFound about "user" or "project",
// Invalid about "lifetime", "note" or "role" (the user has none in the
// project), Conflict about "access_key" (too many).
func (d *Directory) AddKey(ctx context.Context, p errand.Principal, n NewKey) (Credential, error) {
	if err := adminOnly(p); err != nil {
		return Credential{}, err
	}
	if n.Lifetime != 0 && (n.Lifetime < MinLifetime || n.Lifetime > MaxLifetime) {
		return Credential{}, errand.Errorf(errand.Invalid, "lifetime", "the life of a temporary key must be %s to %s, not %s", MinLifetime, MaxLifetime, n.Lifetime)
	}
	if len(n.Note) > MaxNoteLen || !utf8.ValidString(n.Note) || strings.ContainsFunc(n.Note, unicode.IsControl) {
		return Credential{}, errand.Errorf(errand.Invalid, "note", "a note must be at most %d bytes of UTF-8 without control characters", MaxNoteLen)
	}
	defer d.Forget()
	var c Credential
	err := d.store.Exclusively(ctx, func(ctx context.Context) error {
		u, err := d.userByName(ctx, n.User)
		if err != nil {
			return err
		}
		project, err := d.project(ctx, n.Project)
		if err != nil {
			return err
		}
		if roleIn(u, project.ID) == "" {
			return errand.Errorf(errand.Invalid, "role", "user %s has no role in project %s; give one first", u.Name, project.Name)
		}
		keys, err := d.store.Keys(ctx, u.ID)
		if err != nil {
			return err
		}
		if len(keys) >= MaxKeys {
			return errand.Errorf(errand.Conflict, "access_key", "user %s has %d access keys already; revoke one first", u.Name, len(keys))
		}
		c, err = d.issue(ctx, u, project, n.Lifetime, n.Note)
		return err
	})
	if err != nil {
		return Credential{}, err
	}
	return c, nil
}

// issue makes and saves a key.
func (d *Directory) issue(ctx context.Context, u User, project Project, lifetime time.Duration, note string) (Credential, error) {
	now := d.now()
	c := Credential{
		Access:  rand.Text()[:accessLen],
		Secret:  (rand.Text() + rand.Text())[:secretLen],
		User:    u.Name,
		Project: project.ID,
	}
	k := Key{
		Access: c.Access, Secret: d.sealer.Seal(sealedSecret(c.Access), []byte(c.Secret)),
		UserID: u.ID, Project: project.ID, CreatedAt: now, Note: note,
	}
	if lifetime > 0 {
		c.SecurityToken = newToken()
		c.ExpiresAt = now.Add(lifetime)
		hash := hashToken(c.SecurityToken)
		k.Token, k.ExpiresAt = hash[:], c.ExpiresAt
	}
	return c, d.store.AddKey(ctx, k)
}

func sealedSecret(access string) string { return "secret of access key " + access }

// Keys returns the access keys of the user with the given name, without their
// secrets. Errors: NotFound about "user".
func (d *Directory) Keys(ctx context.Context, p errand.Principal, user string) ([]Key, error) {
	if err := adminOnly(p); err != nil {
		return nil, err
	}
	u, err := d.userByName(ctx, user)
	if err != nil {
		return nil, err
	}
	keys, err := d.store.Keys(ctx, u.ID)
	for i := range keys {
		keys[i].Secret, keys[i].Token = nil, nil
	}
	return keys, err
}

// RevokeKey ends an access key at once. Errors: NotFound about "access_key".
func (d *Directory) RevokeKey(ctx context.Context, p errand.Principal, access string) error {
	if err := adminOnly(p); err != nil {
		return err
	}
	if !errand.ValidText(access, MaxNameLen) {
		return errand.Errorf(errand.NotFound, "access_key", "access key %.64q does not exist", access)
	}
	defer d.Forget()
	return d.store.DeleteKey(ctx, access)
}

// dropKeys revokes all keys of a user.
func (d *Directory) dropKeys(ctx context.Context, userID string) error {
	keys, err := d.store.Keys(ctx, userID)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := d.store.DeleteKey(ctx, k.Access); err != nil {
			return err
		}
	}
	return nil
}

// signingKey is an access key as the authenticator needs it.
type signingKey struct {
	key       *signature.Key
	token     []byte    // hash of the security token, or nil
	expires   time.Time // zero: never
	principal errand.Principal
	denied    error // why the user may do nothing in the key's project, or nil
}

// findKey resolves an access key. A key that is unknown, has expired, or is of
// a user who is disabled is all the same to a client.
func (d *Directory) findKey(ctx context.Context, access string) (*signingKey, error) {
	k, err := d.store.Key(ctx, access)
	if isNotFound(err) || err == nil && expired(k.ExpiresAt, d.now()) {
		return nil, unknownKey(access)
	}
	if err != nil {
		return nil, err
	}
	principal, denied, err := d.identify(ctx, k.UserID, k.Project)
	if isNotFound(err) {
		return nil, unknownKey(access)
	}
	if err != nil {
		return nil, err
	}
	secret, err := d.sealer.Open(sealedSecret(access), k.Secret)
	if err != nil {
		return nil, err
	}
	if len(k.Token) != 0 && len(k.Token) != sha256.Size {
		return nil, errand.Errorf(errand.Internal, "access_key", "the security token of access key %s is damaged", access)
	}
	return &signingKey{key: signature.NewKey(string(secret)), token: k.Token, expires: k.ExpiresAt, principal: principal, denied: denied}, nil
}

// identify says who a user is in a project ("" for none). denied is not nil if
// the user has no role there. It reports NotFound for a user who is disabled.
func (d *Directory) identify(ctx context.Context, userID, project string) (p errand.Principal, denied, err error) {
	u, err := d.store.User(ctx, userID)
	if err != nil {
		return p, nil, err
	}
	if u.Disabled {
		return p, nil, errand.Errorf(errand.NotFound, "user", "user %s is disabled", u.Name)
	}
	p = errand.Principal{User: errand.User{ID: u.ID, Name: u.Name}, Project: project, Role: roleIn(u, project)}
	if project != "" && p.Role == "" {
		denied = errand.Errorf(errand.Forbidden, "role", "user %s has no role in project %s", u.Name, project)
	}
	return p, denied, nil
}

func expired(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

func isNotFound(err error) bool { return err != nil && errand.ErrorOf(err).Kind == errand.NotFound }

func unknownKey(access string) error {
	return errand.Errorf(errand.Unauthenticated, "access_key", "ak %s not exist", access)
}
