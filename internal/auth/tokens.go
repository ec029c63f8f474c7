package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/errandhq/errand"
)

// The limits of session tokens.
const (
	TokenLifetime = 24 * time.Hour
	maxTokens     = 100 // of one user; a new one pushes out the oldest

	tokenBytes = 32
)

var tokenLen = base64.RawURLEncoding.EncodedLen(tokenBytes)

// Scope names the project that a token is to be for, by id or else by name. The
// zero Scope is no project.
type Scope struct{ ProjectID, ProjectName string }

// Session is what a token stands for.
type Session struct {
	Principal errand.Principal
	Project   Project // zero for a token without a project
	Access    string  // the access key that the token was made with, or ""
	IssuedAt  time.Time
	ExpiresAt time.Time

	denied error
}

// PasswordToken exchanges a name and a password for a token. It does not lock
// accounts: whoever knows a name could lock its owner out. What slows guessing
// down is the price of a hash, of which only a few are computed at a time.
//
// Errors: Unauthenticated about "password" (the name or the password is wrong,
// or the user is disabled; all the same to a client), Forbidden about "project"
// (there is none such, or the user has no role there), Unavailable.
func (d *Directory) PasswordToken(ctx context.Context, name, password string, scope Scope) (token string, s Session, err error) {
	u, err := d.userByName(ctx, name)
	if err != nil && !isNotFound(err) {
		return "", s, err
	}
	ok, err := d.hasher.matches(ctx, u.Password, password[:min(len(password), MaxPasswordLen+1)])
	if err != nil {
		return "", s, err
	}
	if !ok || u.Disabled {
		return "", s, badPassword()
	}
	token, s, err = d.newSession(ctx, Token{UserID: u.ID, ExpiresAt: d.now().Add(TokenLifetime)}, scope, "")
	if err != nil {
		return "", s, err
	}
	// A new password ends the sessions that are there when it is set. If it is
	// not set by now, that will end this one too; otherwise nobody is given it.
	now, err := d.store.User(ctx, u.ID)
	if err != nil {
		return "", Session{}, err
	}
	if now.Password != u.Password || now.Disabled {
		return "", Session{}, badPassword()
	}
	return token, s, nil
}

func badPassword() error {
	return errand.Errorf(errand.Unauthenticated, "password", "the user name or the password is wrong")
}

// Rescope exchanges a token for one of another scope, which expires when the
// given one does. One that was made with an access key stays with the key and its
// project: any other is Forbidden about "project". Errors: as
// [Directory.Session] and PasswordToken.
func (d *Directory) Rescope(ctx context.Context, token string, scope Scope) (next string, s Session, err error) {
	if s, err = d.Session(ctx, token); err != nil {
		return "", s, err
	}
	err = d.store.Exclusively(ctx, func(ctx context.Context) error {
		// Not what is remembered: its sessions may have been ended on another node.
		old, err := d.findToken(ctx, hashToken(token))
		if err == nil {
			err = old.denied
		}
		if err != nil {
			return err
		}
		next, s, err = d.newSession(ctx, Token{UserID: old.Principal.User.ID, Access: old.Access, ExpiresAt: old.ExpiresAt}, scope, old.Project.ID)
		return err
	})
	if err != nil {
		return "", Session{}, err
	}
	return next, s, nil
}

// newSession issues a token like t, of another scope. One that was made with an
// access key is for the project bound.
func (d *Directory) newSession(ctx context.Context, t Token, scope Scope, bound string) (string, Session, error) {
	project, err := d.scoped(ctx, scope)
	if err != nil {
		return "", Session{}, err
	}
	if t.Access != "" && project.ID != bound {
		return "", Session{}, errand.Errorf(errand.Forbidden, "project", "a token that was made with an access key is for the key's project alone")
	}
	principal, denied, err := d.identify(ctx, t.UserID, project.ID)
	if err != nil {
		return "", Session{}, err
	}
	if denied != nil {
		return "", Session{}, noScope(scope)
	}
	return d.issueToken(ctx, t, principal, project)
}

// issueToken makes and saves a token like t.
func (d *Directory) issueToken(ctx context.Context, t Token, p errand.Principal, project Project) (string, Session, error) {
	token := newToken()
	hash := hashToken(token)
	t.Hash, t.Project, t.CreatedAt = hash[:], project.ID, d.now()
	if err := d.store.AddToken(ctx, t, maxTokens); err != nil {
		return "", Session{}, err
	}
	return token, Session{Principal: p, Project: project, Access: t.Access, IssuedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}, nil
}

// endSessions makes the tokens of a user worthless: one that nobody holds pushes
// out all others.
func (d *Directory) endSessions(ctx context.Context, userID string) error {
	hash := hashToken(newToken())
	return d.store.AddToken(ctx, Token{Hash: hash[:], UserID: userID, ExpiresAt: d.now(), CreatedAt: d.now()}, 1)
}

// scoped returns the project of a scope. That there is none is told in the same
// words as that the user has no role in it.
func (d *Directory) scoped(ctx context.Context, scope Scope) (Project, error) {
	if scope == (Scope{}) {
		return Project{}, nil
	}
	projects, err := d.store.Projects(ctx)
	if err != nil {
		return Project{}, err
	}
	for _, p := range projects {
		if scope.ProjectID != "" && p.ID == scope.ProjectID || scope.ProjectID == "" && p.Name == scope.ProjectName {
			return p, nil
		}
	}
	return Project{}, noScope(scope)
}

func noScope(s Scope) error {
	return errand.Errorf(errand.Forbidden, "project", "the user has no role in a project %.80q", s.ProjectID+s.ProjectName)
}

// Session returns what a token stands for. Errors: Unauthenticated about
// "token" or "token_expired", Forbidden about "role".
func (d *Directory) Session(ctx context.Context, token string) (Session, error) {
	if len(token) != tokenLen {
		return Session{}, badToken() // not one of ours: the store need not be asked
	}
	s, err := d.tokens.get(ctx, hashToken(token))
	if err != nil {
		return Session{}, err
	}
	if expired(s.ExpiresAt, d.now()) {
		return Session{}, tokenExpired()
	}
	return s, s.denied
}

func tokenExpired() error {
	return errand.Errorf(errand.Unauthenticated, "token_expired", "token expires")
}

// findToken resolves a token by its hash.
func (d *Directory) findToken(ctx context.Context, hash tokenHash) (Session, error) {
	t, err := d.store.Token(ctx, hash[:])
	if isNotFound(err) {
		return Session{}, badToken()
	}
	if err != nil {
		return Session{}, err
	}
	if t.Access != "" {
		if err := d.keyHolds(ctx, t); err != nil {
			return Session{}, err
		}
	}
	s := Session{Access: t.Access, IssuedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}
	s.Principal, s.denied, err = d.identify(ctx, t.UserID, t.Project)
	if isNotFound(err) {
		return Session{}, badToken()
	}
	if err != nil || t.Project == "" {
		return s, err
	}
	s.Project, err = d.project(ctx, t.Project)
	if isNotFound(err) {
		return Session{}, badToken()
	}
	return s, err
}

func newToken() string {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func badToken() error {
	return errand.Errorf(errand.Unauthenticated, "token", "decrypt token fail")
}
