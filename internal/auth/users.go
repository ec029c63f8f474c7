package auth

import (
	"context"
	"maps"

	"github.com/errandhq/errand"
)

// The bounds of a password's length, in bytes.
const (
	MinPasswordLen = 8
	MaxPasswordLen = 1024
)

// NewUser is what AddUser is told.
type NewUser struct {
	Name     string
	Password string // "" for a user who has access keys only
	Admin    bool

	// Roles holds what the user is to be in each project, by its id or name.
	Roles map[string]errand.Role
}

// UserChange is what SetUser is to change; nil members stay as they are.
type UserChange struct {
	Password *string // "" takes the password away
	Admin    *bool
	Disabled *bool

	// Roles are added to those that the user has, by project id or name. The
	// role "" takes the user out of the project.
	Roles map[string]errand.Role
}

// AddUser adds a user. Errors: Invalid about "name", "password" or "role",
// NotFound about "project", Conflict about "user".
func (d *Directory) AddUser(ctx context.Context, p errand.Principal, n NewUser) (User, error) {
	if err := adminOnly(p); err != nil {
		return User{}, err
	}
	if err := checkName("user", n.Name); err != nil {
		return User{}, err
	}
	roles, err := d.roles(ctx, n.Roles, false)
	if err != nil {
		return User{}, err
	}
	hash, err := d.hashPassword(ctx, n.Password)
	if err != nil {
		return User{}, err
	}
	u := User{ID: errand.NewID(d.now()), Name: n.Name, Password: hash, Admin: n.Admin, Roles: roles, CreatedAt: d.now()}
	if err := d.store.AddUser(ctx, u); err != nil {
		return User{}, err
	}
	d.Forget()
	return public(u), nil
}

// Users returns every user by name, without the hashes of their passwords.
func (d *Directory) Users(ctx context.Context, p errand.Principal) ([]User, error) {
	if err := adminOnly(p); err != nil {
		return nil, err
	}
	users, err := d.store.Users(ctx)
	for i := range users {
		users[i] = public(users[i])
	}
	return users, err
}

// SetUser changes the user with the given name and returns what became of it.
// A new password and being disabled end the user's sessions. The last admin who
// is not disabled stays one. Errors: NotFound about "user"
// or "project", Invalid about "password" or "role", Conflict about "user".
func (d *Directory) SetUser(ctx context.Context, p errand.Principal, name string, change UserChange) (User, error) {
	if err := adminOnly(p); err != nil {
		return User{}, err
	}
	roles, err := d.roles(ctx, change.Roles, true)
	if err != nil {
		return User{}, err
	}
	var hash string
	if change.Password != nil {
		if hash, err = d.hashPassword(ctx, *change.Password); err != nil {
			return User{}, err
		}
	}
	defer d.Forget()
	var u User
	err = d.store.Exclusively(ctx, func(ctx context.Context) error {
		if u, err = d.userByName(ctx, name); err != nil {
			return err
		}
		last, err := d.lastAdmin(ctx, u.ID)
		if err != nil {
			return err
		}
		err = d.store.UpdateUser(ctx, u.ID, func(x *User) error {
			if change.Password != nil {
				x.Password = hash
			}
			change.apply(x, roles)
			if last && (!x.Admin || x.Disabled) {
				return errand.Errorf(errand.Conflict, "user", "%s is the last admin; make another user one first", name)
			}
			u = *x
			return nil
		})
		if err == nil && (change.Password != nil || u.Disabled) {
			err = d.endSessions(ctx, u.ID)
		}
		return err
	})
	if err != nil {
		return User{}, err
	}
	return public(u), nil
}

// apply makes the change to x, but for the password.
func (c UserChange) apply(x *User, roles map[string]errand.Role) {
	if c.Admin != nil {
		x.Admin = *c.Admin
	}
	if c.Disabled != nil {
		x.Disabled = *c.Disabled
	}
	x.Roles = merge(x.Roles, roles)
}

// lastAdmin reports whether the user with the given id is the only enabled admin.
func (d *Directory) lastAdmin(ctx context.Context, id string) (bool, error) {
	users, err := d.store.Users(ctx)
	if err != nil {
		return false, err
	}
	is := false
	for _, u := range users {
		if !u.Admin || u.Disabled {
			continue
		}
		if u.ID != id {
			return false, nil
		}
		is = true
	}
	return is, nil
}

// roles checks roles and keys them by project id.
func (d *Directory) roles(ctx context.Context, in map[string]errand.Role, mayRemove bool) (map[string]errand.Role, error) {
	if len(in) == 0 {
		return nil, nil
	}
	projects, err := d.store.Projects(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]errand.Role, len(in))
	for name, role := range in {
		project, ok := findProject(projects, name)
		switch {
		case !ok:
			return nil, errand.Errorf(errand.NotFound, "project", "there is no project with the id or name %.64q", name)
		case role == errand.Admin:
			return nil, errand.Errorf(errand.Invalid, "role", "admin is not a role in one project: an admin may do everything everywhere; make the user an admin, or choose %s", errand.Operator)
		case !role.Valid() && !(mayRemove && role == ""):
			return nil, errand.Errorf(errand.Invalid, "role", "role %.64q is not one of viewer, operator and worker", string(role))
		}
		if was, twice := out[project.ID]; twice && was != role {
			return nil, errand.Errorf(errand.Invalid, "role", "project %s is given two roles", project.Name)
		}
		out[project.ID] = role
	}
	return out, nil
}

// merge returns roles with more put in, and without those that become "".
func merge(roles, more map[string]errand.Role) map[string]errand.Role {
	all := maps.Clone(roles)
	if all == nil {
		all = make(map[string]errand.Role, len(more))
	}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, r errand.Role) bool { return r == "" })
	return all
}

// hashPassword checks and hashes a password; "" stays "".
func (d *Directory) hashPassword(ctx context.Context, password string) (string, error) {
	if password == "" {
		return "", nil
	}
	if len(password) < MinPasswordLen || len(password) > MaxPasswordLen {
		return "", errand.Errorf(errand.Invalid, "password", "a password must have %d to %d bytes", MinPasswordLen, MaxPasswordLen)
	}
	return d.hasher.hash(ctx, password)
}

// public returns u without what must not leave this package.
func public(u User) User {
	u.Password = ""
	return u
}
