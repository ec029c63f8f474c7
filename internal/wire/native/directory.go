package native

import (
	"context"
	"net/http"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/wire"
)

// The calls about projects, users and access keys. The directory lets nobody
// but admins do any of them.

type projectBody struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	CreatedAt nativejson.Moment `json:"created_at"`
}

func projectOf(p auth.Project) projectBody {
	return projectBody{ID: p.ID, Name: p.Name, CreatedAt: nativejson.Moment{Time: p.CreatedAt}}
}

type newProject struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

func (a *api) projectRoutes(d *wire.Dialect) {
	wire.Handle(d, "POST /api/v1/projects", decodeBody[newProject],
		func(ctx context.Context, p errand.Principal, n newProject) (auth.Project, error) {
			return a.dir.AddProject(ctx, p, n.Name, n.ID)
		},
		func(r *wire.Reply, p auth.Project) { created(r, projectOf(p)) })
	wire.Handle(d, "GET /api/v1/projects", decodeNothing,
		func(ctx context.Context, p errand.Principal, _ struct{}) ([]auth.Project, error) {
			return a.dir.Projects(ctx, p)
		},
		func(r *wire.Reply, list []auth.Project) {
			write(r, struct {
				Projects []projectBody `json:"projects"`
			}{each(list, projectOf)})
		})
}

type accountBody struct {
	ID        string                 `json:"id"`
	Name      string                 `json:"name"`
	Admin     bool                   `json:"admin"`
	Disabled  bool                   `json:"disabled"`
	Roles     map[string]errand.Role `json:"roles,omitempty"`
	CreatedAt nativejson.Moment      `json:"created_at"`
}

func accountOf(u auth.User) accountBody {
	return accountBody{ID: u.ID, Name: u.Name, Admin: u.Admin, Disabled: u.Disabled, Roles: u.Roles, CreatedAt: nativejson.Moment{Time: u.CreatedAt}}
}

type newUser struct {
	Name     string                 `json:"name"`
	Password string                 `json:"password"`
	Admin    bool                   `json:"admin"`
	Roles    map[string]errand.Role `json:"roles"`
}

type userChange struct {
	name     string
	Password *string                `json:"password"`
	Admin    *bool                  `json:"admin"`
	Disabled *bool                  `json:"disabled"`
	Roles    map[string]errand.Role `json:"roles"`
}

func decodeUserChange(r *http.Request) (userChange, error) {
	c, err := decodeBody[userChange](r)
	c.name = r.PathValue("name")
	return c, err
}

func (a *api) userRoutes(d *wire.Dialect) {
	wire.Handle(d, "POST /api/v1/users", decodeBody[newUser],
		func(ctx context.Context, p errand.Principal, n newUser) (auth.User, error) {
			return a.dir.AddUser(ctx, p, auth.NewUser(n))
		},
		func(r *wire.Reply, u auth.User) { created(r, accountOf(u)) })
	wire.Handle(d, "GET /api/v1/users", decodeNothing,
		func(ctx context.Context, p errand.Principal, _ struct{}) ([]auth.User, error) {
			return a.dir.Users(ctx, p)
		},
		func(r *wire.Reply, list []auth.User) {
			write(r, struct {
				Users []accountBody `json:"users"`
			}{each(list, accountOf)})
		})
	wire.Handle(d, "PATCH /api/v1/users/{name}", decodeUserChange,
		func(ctx context.Context, p errand.Principal, c userChange) (auth.User, error) {
			return a.dir.SetUser(ctx, p, c.name, auth.UserChange{Password: c.Password, Admin: c.Admin, Disabled: c.Disabled, Roles: c.Roles})
		},
		func(r *wire.Reply, u auth.User) { write(r, accountOf(u)) })
}

type newKey struct {
	user     string
	Project  string `json:"project"`          // "" for the project of who asks
	Lifetime int64  `json:"lifetime_seconds"` // 0 for a permanent key
	Note     string `json:"note"`
}

func decodeNewKey(r *http.Request) (newKey, error) {
	k, err := decodeBody[newKey](r)
	k.user = r.PathValue("name")
	if most := int64(auth.MaxLifetime / time.Second); err == nil && (k.Lifetime < 0 || k.Lifetime > most) {
		err = errand.Errorf(errand.Invalid, "lifetime", "lifetime_seconds must be 0 for a permanent key, or up to %d", most)
	}
	return k, err
}

// credentialBody is the only answer that ever holds a secret.
type credentialBody struct {
	Access        string            `json:"access"`
	Secret        string            `json:"secret"`
	SecurityToken string            `json:"security_token,omitempty"`
	User          string            `json:"user"`
	Project       string            `json:"project"`
	ExpiresAt     nativejson.Moment `json:"expires_at,omitzero"`
}

type keyBody struct {
	Access    string            `json:"access"`
	Project   string            `json:"project"`
	Note      string            `json:"note,omitempty"`
	CreatedAt nativejson.Moment `json:"created_at"`
	ExpiresAt nativejson.Moment `json:"expires_at,omitzero"`
}

func keyOf(k auth.Key) keyBody {
	return keyBody{Access: k.Access, Project: k.Project, Note: k.Note, CreatedAt: nativejson.Moment{Time: k.CreatedAt}, ExpiresAt: nativejson.Moment{Time: k.ExpiresAt}}
}

func (a *api) keyRoutes(d *wire.Dialect) {
	wire.Handle(d, "POST /api/v1/users/{name}/keys", decodeNewKey, a.addKey, func(r *wire.Reply, c auth.Credential) {
		created(r, credentialBody{
			Access: c.Access, Secret: c.Secret, SecurityToken: c.SecurityToken,
			User: c.User, Project: c.Project, ExpiresAt: nativejson.Moment{Time: c.ExpiresAt},
		})
		r.Header = map[string]string{"Cache-Control": "no-store"}
	})
	wire.Handle(d, "GET /api/v1/users/{name}/keys", decodeName("name"),
		func(ctx context.Context, p errand.Principal, user string) ([]auth.Key, error) {
			return a.dir.Keys(ctx, p, user)
		},
		func(r *wire.Reply, list []auth.Key) {
			write(r, struct {
				Keys []keyBody `json:"keys"`
			}{each(list, keyOf)})
		})
	wire.Handle(d, "DELETE /api/v1/keys/{access}", decodeName("access"),
		func(ctx context.Context, p errand.Principal, access string) (struct{}, error) {
			return struct{}{}, a.dir.RevokeKey(ctx, p, access)
		}, noContent)
}

func (a *api) addKey(ctx context.Context, p errand.Principal, k newKey) (auth.Credential, error) {
	if k.Project == "" {
		k.Project = p.Project
	}
	return a.dir.AddKey(ctx, p, auth.NewKey{User: k.user, Project: k.Project, Lifetime: time.Duration(k.Lifetime) * time.Second, Note: k.Note})
}

// decodeName reads a path of one wildcard.
func decodeName(wildcard string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		_, err := query(r)
		return r.PathValue(wildcard), err
	}
}
