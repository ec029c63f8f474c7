package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/errandhq/errand"
)

// MaxNameLen bounds the names of projects and users, in bytes.
const MaxNameLen = 64

// Directory holds the rules about projects, users and their credentials. The
// methods that take a principal are for admins, unless they say otherwise.
type Directory struct {
	store  Store
	sealer *Sealer
	now    func() time.Time
	hasher *hasher

	keys   *cache[string, *signingKey]
	tokens *cache[tokenHash, Session]
}

// OpenDirectory returns the directory kept in store, with the clock now. It
// reports Invalid about "master_key" if the secrets in store are sealed with
// another key than sealer's.
func OpenDirectory(ctx context.Context, store Store, sealer *Sealer, now func() time.Time) (*Directory, error) {
	if err := sealer.check(ctx, store); err != nil {
		return nil, err
	}
	d := &Directory{store: store, sealer: sealer, now: now, hasher: newHasher()}
	d.keys = newCache(now, d.findKey)
	d.tokens = newCache(now, d.findToken)
	return d, nil
}

// Forget drops what is remembered of credentials: some may have been changed,
// here or on another node.
func (d *Directory) Forget() {
	d.keys.forget()
	d.tokens.forget()
}

// First is what the first start makes: the way in.
type First struct {
	Project  Project
	User     User
	Password string
	Key      Credential
}

// Bootstrap makes the first project, the user admin and an access key, unless
// there are users already. It hands them to deliver, which must keep them
// safely: the account is enabled only after deliver has succeeded, and until
// then every call begins anew. So nobody is locked out by a crash in between. Of
// several nodes that start at once, one delivers, and the others wait for it.
func (d *Directory) Bootstrap(ctx context.Context, project string, deliver func(First) error) error {
	if _, done, err := d.bootstrapped(ctx); done || err != nil {
		return err
	}
	first := First{Password: rand.Text()}
	hash, err := d.hasher.hash(ctx, first.Password)
	if err != nil {
		return err
	}
	defer d.Forget()
	return d.store.Exclusively(ctx, func(ctx context.Context) error {
		users, done, err := d.bootstrapped(ctx)
		if done || err != nil {
			return err
		}
		if first.Project, err = d.bootstrapProject(ctx, project); err != nil {
			return err
		}
		if first.User, err = d.bootstrapUser(ctx, users); err != nil {
			return err
		}
		if first.Key, err = d.issue(ctx, first.User, first.Project, 0, "first start"); err != nil {
			return err
		}
		if err := deliver(first); err != nil {
			return err
		}
		return d.store.UpdateUser(ctx, first.User.ID, func(u *User) error {
			u.Password, u.Disabled = hash, false
			return nil
		})
	})
}

// bootstrapped returns the users, and whether the first of them has been
// delivered: a single disabled admin without a password has not.
func (d *Directory) bootstrapped(ctx context.Context) (users []User, done bool, err error) {
	if users, err = d.store.Users(ctx); err != nil {
		return nil, false, err
	}
	unfinished := len(users) == 1 && users[0].Admin && users[0].Disabled && users[0].Password == ""
	return users, len(users) > 0 && !unfinished, nil
}

// bootstrapUser returns the first user, made anew or left by a start that did
// not come to its end.
func (d *Directory) bootstrapUser(ctx context.Context, users []User) (User, error) {
	if len(users) > 0 {
		return users[0], d.dropKeys(ctx, users[0].ID)
	}
	u := User{ID: errand.NewID(d.now()), Name: "admin", Admin: true, Disabled: true, CreatedAt: d.now()}
	return u, d.store.AddUser(ctx, u)
}

func (d *Directory) bootstrapProject(ctx context.Context, name string) (Project, error) {
	projects, err := d.store.Projects(ctx)
	if err != nil {
		return Project{}, err
	}
	if p, ok := findProject(projects, name); ok {
		return p, nil
	}
	return d.addProject(ctx, name, "")
}

// AddProject adds a project. An empty id stands for a new one. Errors: Invalid
// about "name" or "project_id", Conflict about "project".
func (d *Directory) AddProject(ctx context.Context, p errand.Principal, name, id string) (Project, error) {
	if err := adminOnly(p); err != nil {
		return Project{}, err
	}
	return d.addProject(ctx, name, id)
}

func (d *Directory) addProject(ctx context.Context, name, id string) (Project, error) {
	if err := checkName("project", name); err != nil {
		return Project{}, err
	}
	if id == "" {
		id = errand.NewID(d.now())
	}
	if !errand.ValidProjectID(id) {
		return Project{}, errand.Errorf(errand.Invalid, "project_id", "project id %.64q is neither 32 lower-case hex digits nor a UUID", id)
	}
	project := Project{ID: id, Name: name, CreatedAt: d.now()}
	return project, d.store.AddProject(ctx, project)
}

// Projects returns every project, by name.
func (d *Directory) Projects(ctx context.Context, p errand.Principal) ([]Project, error) {
	if err := adminOnly(p); err != nil {
		return nil, err
	}
	return d.store.Projects(ctx)
}

// OwnProjects returns the projects that p's credential gives access to: the one
// that it is bound to, or for a token without a project all those in which the
// user has a role. Anybody may ask.
func (d *Directory) OwnProjects(ctx context.Context, p errand.Principal) ([]Project, error) {
	projects, err := d.store.Projects(ctx)
	if err != nil {
		return nil, err
	}
	u, err := d.store.User(ctx, p.User.ID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(projects, func(x Project) bool {
		return p.Project != "" && x.ID != p.Project || roleIn(u, x.ID) == ""
	}), nil
}

// project returns the project with the given id or name, or NotFound.
func (d *Directory) project(ctx context.Context, idOrName string) (Project, error) {
	projects, err := d.store.Projects(ctx)
	if err != nil {
		return Project{}, err
	}
	if p, ok := findProject(projects, idOrName); ok {
		return p, nil
	}
	return Project{}, errand.Errorf(errand.NotFound, "project", "there is no project with the id or name %.64q", idOrName)
}

// userByName returns a user, or NotFound. No store is asked for a name that none
// can hold.
func (d *Directory) userByName(ctx context.Context, name string) (User, error) {
	if !errand.ValidText(name, MaxNameLen) {
		return User{}, errand.Errorf(errand.NotFound, "user", "user %.64q does not exist", name)
	}
	return d.store.UserByName(ctx, name)
}

// findProject prefers an id: a name may look like another project's id.
func findProject(projects []Project, idOrName string) (Project, bool) {
	for _, of := range []func(Project) string{func(p Project) string { return p.ID }, func(p Project) string { return p.Name }} {
		if i := slices.IndexFunc(projects, func(p Project) bool { return of(p) == idOrName }); i >= 0 {
			return projects[i], true
		}
	}
	return Project{}, false
}

// roleIn returns what u is in a project, or "".
func roleIn(u User, project string) errand.Role {
	if u.Admin {
		return errand.Admin
	}
	// Role admin reaches beyond a project: only the flag gives it.
	if r := u.Roles[project]; r.Valid() && r != errand.Admin {
		return r
	}
	return ""
}

func adminOnly(p errand.Principal) error {
	if p.Role != errand.Admin {
		return errand.Errorf(errand.Forbidden, "role", "only an admin may do this")
	}
	return nil
}

// checkName checks the name of a project or user. It must be fit for a segment
// of a path, a line of a log and a cell of a table.
func checkName(what, name string) error {
	ok := name != "" && len(name) <= MaxNameLen && utf8.ValidString(name) && name != "." && name != ".." &&
		strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == '/' || !unicode.IsPrint(r) })
	if !ok {
		return errand.Errorf(errand.Invalid, "name", "a %s's name must be 1 to %d bytes of printable UTF-8 without %q and without spaces around it, not %.80q", what, MaxNameLen, "/", name)
	}
	return nil
}

type tokenHash [sha256.Size]byte

func hashToken(token string) tokenHash { return sha256.Sum256([]byte(token)) }
