package client

import (
	"context"
	"net/http"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// Whoami returns who the client's access key stands for.
func (c *Client) Whoami(ctx context.Context) (errand.Principal, error) {
	var body struct {
		User    nativejson.User `json:"user"`
		Project string          `json:"project"`
		Role    errand.Role     `json:"role"`
	}
	err := c.get(ctx, &body, nil, "whoami")
	return errand.Principal{User: errand.User(body.User), Project: body.Project, Role: body.Role}, err
}

// The calls below are for admins: to all others the server answers Forbidden.

// Project is a tenant.
type Project struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"` // unique
	CreatedAt time.Time `json:"created_at"`
}

// AddProject adds a project. An empty id stands for a new one. Errors: Invalid
// about "name" or "project_id", Conflict about "project".
func (c *Client) AddProject(ctx context.Context, name, id string) (Project, error) {
	in := struct {
		Name string `json:"name"`
		ID   string `json:"id,omitempty"`
	}{name, id}
	var out Project
	err := c.post(ctx, in, &out, "projects")
	return out, err
}

// Projects returns every project, by name.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	var body struct {
		Projects []Project `json:"projects"`
	}
	err := c.get(ctx, &body, nil, "projects")
	return body.Projects, err
}

// User is a person or a program that holds credentials.
type User struct {
	ID        string                 `json:"id"`
	Name      string                 `json:"name"`     // unique
	Admin     bool                   `json:"admin"`    // may do everything in every project
	Disabled  bool                   `json:"disabled"` // every credential is refused
	Roles     map[string]errand.Role `json:"roles"`    // by project id
	CreatedAt time.Time              `json:"created_at"`
}

// NewUser is a user to add.
type NewUser struct {
	Name     string                 `json:"name"`
	Password string                 `json:"password,omitempty"` // "" for a user with access keys only
	Admin    bool                   `json:"admin,omitempty"`
	Roles    map[string]errand.Role `json:"roles,omitempty"` // by project id or name
}

// AddUser adds a user. Errors: Invalid about "name", "password" or "role",
// NotFound about "project", Conflict about "user".
func (c *Client) AddUser(ctx context.Context, n NewUser) (User, error) {
	var out User
	err := c.post(ctx, n, &out, "users")
	return out, err
}

// Users returns every user, by name.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var body struct {
		Users []User `json:"users"`
	}
	err := c.get(ctx, &body, nil, "users")
	return body.Users, err
}

// UserChange is what to change of a user; nil members stay as they are.
type UserChange struct {
	Password *string `json:"password,omitempty"` // "" takes the password away
	Admin    *bool   `json:"admin,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`

	// Roles are added to those that the user has, by project id or name. The
	// role "" takes the user out of the project.
	Roles map[string]errand.Role `json:"roles,omitempty"`
}

// SetUser changes a user and returns what became of it. Errors: NotFound about
// "user" or "project", Invalid about "password" or "role", Conflict about
// "user" where no admin would be left.
func (c *Client) SetUser(ctx context.Context, name string, change UserChange) (User, error) {
	var out User
	err := c.do(ctx, call{method: http.MethodPatch, path: []string{"users", name}, in: change}, &out)
	return out, err
}

// Key is an access key without its secret.
type Key struct {
	Access    string    `json:"access"`
	Project   string    `json:"project"` // id of the project in which it acts
	Note      string    `json:"note"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"` // zero: never
}

// NewKey is an access key to make.
type NewKey struct {
	User     string        // whose it is, by name
	Project  string        // in which it acts, by id or name; "" for that of the client's own key
	Lifetime time.Duration // whole seconds; 0 for a permanent key, else it is a temporary one
	Note     string        // what it is for
}

// Credential is a new access key. Secret and SecurityToken are shown only once.
type Credential struct {
	Access        string    `json:"access"`
	Secret        string    `json:"secret"`
	SecurityToken string    `json:"security_token"` // of a temporary key, else ""
	User          string    `json:"user"`           // name
	Project       string    `json:"project"`        // id
	ExpiresAt     time.Time `json:"expires_at"`     // zero: never
}

// AddKey makes an access key. Errors: NotFound about "user" or "project",
// Invalid about "lifetime", "note" or "role" (the user has none in the
// project), Conflict about "access_key" (the user has too many).
func (c *Client) AddKey(ctx context.Context, n NewKey) (Credential, error) {
	in := struct {
		Project  string `json:"project,omitempty"`
		Lifetime int64  `json:"lifetime_seconds,omitempty"`
		Note     string `json:"note,omitempty"`
	}{n.Project, int64(n.Lifetime / time.Second), n.Note}
	if n.Lifetime%time.Second != 0 {
		return Credential{}, errand.Errorf(errand.Invalid, "lifetime", "the life of a key is counted in whole seconds, unlike %s", n.Lifetime)
	}
	var out Credential
	err := c.post(ctx, in, &out, "users", n.User, "keys")
	return out, err
}

// Keys returns the access keys of a user. Errors: NotFound about "user".
func (c *Client) Keys(ctx context.Context, user string) ([]Key, error) {
	var body struct {
		Keys []Key `json:"keys"`
	}
	err := c.get(ctx, &body, nil, "users", user, "keys")
	return body.Keys, err
}

// RevokeKey ends an access key at once. Errors: NotFound about "access_key".
func (c *Client) RevokeKey(ctx context.Context, access string) error {
	return c.delete(ctx, "keys", access)
}
