package auth

import (
	"context"
	"time"

	"github.com/errandhq/errand"
)

// Project keeps instances, tasks and credentials apart. SDKs that are given a
// region and no project id look a project up by name, and send the region's id
// as that name.
type Project struct {
	ID        string
	Name      string // unique
	CreatedAt time.Time
}

// User is a person or a program that holds credentials.
type User struct {
	ID       string // 32 hex digits
	Name     string // unique
	Password string // argon2id hash in PHC string format; "" means none can match
	Admin    bool   // has role admin in every project
	Disabled bool   // every credential of the user is refused

	// Roles holds what the user is in each project, by project id.
	Roles     map[string]errand.Role
	CreatedAt time.Time
}

// Key is an access key: it lets its user act in one project.
type Key struct {
	Access  string // the public half, as sent in signatures
	Secret  []byte // the secret half, sealed
	UserID  string
	Project string

	// Token must accompany a temporary key in X-Security-Token: its SHA-256, or
	// nil for a permanent key.
	Token     []byte
	ExpiresAt time.Time // zero: never
	CreatedAt time.Time
	Note      string // what the key is for
}

// Token is a session token, kept by the SHA-256 of what the client holds.
type Token struct {
	Hash      []byte
	UserID    string
	Project   string // "" for a token that is scoped to no project
	Access    string // the access key that it was made with and ends with, or ""
	ExpiresAt time.Time
	CreatedAt time.Time
}

// A Store keeps projects, users, keys and tokens. Methods are atomic and
// durable before they return, and report *errand.Error: NotFound and Conflict
// (an id, name or access key that is taken) about "project", "user",
// "access_key" or "token".
//
// Every implementation must pass storetest.RunAuth.
type Store interface {
	AddProject(ctx context.Context, p Project) error
	Projects(ctx context.Context) ([]Project, error) // by name

	AddUser(ctx context.Context, u User) error
	Users(ctx context.Context) ([]User, error) // by name

	// User and UserByName return one user, or NotFound.
	User(ctx context.Context, id string) (User, error)
	UserByName(ctx context.Context, name string) (User, error)

	// UpdateUser loads a user, lets fn change it and saves it in one
	// transaction. ID, Name and CreatedAt do not change. fn's error undoes it.
	UpdateUser(ctx context.Context, id string, fn func(*User) error) error

	AddKey(ctx context.Context, k Key) error
	Key(ctx context.Context, access string) (Key, error)
	Keys(ctx context.Context, userID string) ([]Key, error) // by access key
	DeleteKey(ctx context.Context, access string) error

	// AddToken saves t, drops tokens that expired before t was made, and keeps
	// no more than keep tokens of t's user: the oldest go.
	AddToken(ctx context.Context, t Token, keep int) error
	Token(ctx context.Context, hash []byte) (Token, error)
	DeleteToken(ctx context.Context, hash []byte) error

	// Exclusively runs fn, once at the most, while no other caller's Exclusively
	// runs, on any node. What fn calls are transactions of their own: what it did
	// before it failed stays. The context that fn is given ends when others might
	// be let in. fn's error is returned as it is; fn does not call Exclusively.
	Exclusively(ctx context.Context, fn func(ctx context.Context) error) error

	// Check returns the value kept under name, after saving value if there was
	// none. It ties a store to the key that its secrets are sealed with.
	Check(ctx context.Context, name string, value []byte) ([]byte, error)
}
