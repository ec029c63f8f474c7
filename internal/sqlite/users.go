package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// add runs an INSERT, and reports Conflict about subject if a key is taken.
func (t *tx) add(subject, name, query string, args ...any) error {
	err := t.exec(query, args...)
	if taken(err) {
		return errand.Errorf(errand.Conflict, subject, "%s %s exists already", subject, name)
	}
	return err
}

// AddProject implements auth.Store.
func (s *Store) AddProject(ctx context.Context, p auth.Project) error {
	return s.w.do(ctx, func(t *tx) error {
		return t.add("project", p.Name, `INSERT INTO projects (id, name, created_at) VALUES (?, ?, ?)`, p.ID, p.Name, micro(p.CreatedAt))
	})
}

// Projects implements auth.Store.
func (s *Store) Projects(ctx context.Context) ([]auth.Project, error) {
	var all []auth.Project
	err := s.read(ctx, func(c *conn) error {
		return c.rows(`SELECT id, name, created_at FROM projects ORDER BY name`, func(st *sqlite.Stmt) error {
			all = append(all, auth.Project{ID: st.ColumnText(0), Name: st.ColumnText(1), CreatedAt: at(st.ColumnInt64(2))})
			return nil
		})
	})
	return all, err
}

// AddUser implements auth.Store.
func (s *Store) AddUser(ctx context.Context, u auth.User) error {
	return s.w.do(ctx, func(t *tx) error {
		err := t.add("user", u.Name, `INSERT INTO users (id, name, password, admin, disabled, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
			u.ID, u.Name, u.Password, u.Admin, u.Disabled, micro(u.CreatedAt))
		if err != nil {
			return err
		}
		return t.setRoles(u)
	})
}

func (t *tx) setRoles(u auth.User) error {
	if err := t.exec(`DELETE FROM roles WHERE user_id = ?`, u.ID); err != nil {
		return err
	}
	for project, role := range u.Roles {
		if err := t.exec(`INSERT INTO roles (user_id, project, role) VALUES (?, ?, ?)`, u.ID, project, string(role)); err != nil {
			return err
		}
	}
	return nil
}

const usersWith = `SELECT id, name, password, admin, disabled, created_at FROM users `

// Users implements auth.Store.
func (s *Store) Users(ctx context.Context) ([]auth.User, error) {
	var all []auth.User
	err := s.snapshot(ctx, func(c *conn) (err error) {
		all, err = c.users(usersWith + `ORDER BY name`)
		return err
	})
	return all, err
}

// User implements auth.Store.
func (s *Store) User(ctx context.Context, id string) (auth.User, error) {
	return s.user(ctx, usersWith+`WHERE id = ?`, id)
}

// UserByName implements auth.Store.
func (s *Store) UserByName(ctx context.Context, name string) (auth.User, error) {
	return s.user(ctx, usersWith+`WHERE name = ?`, name)
}

func (s *Store) user(ctx context.Context, query, key string) (u auth.User, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		u, err = c.user(query, key)
		return err
	})
	return u, err
}

func (c *conn) user(query, key string) (auth.User, error) {
	us, err := c.users(query, key)
	if err == nil && len(us) == 0 {
		err = errand.Errorf(errand.NotFound, "user", "user %.64q does not exist", key)
	}
	if err != nil {
		return auth.User{}, err
	}
	return us[0], nil
}

// users reads users with their roles, in one transaction of the caller.
func (c *conn) users(query string, args ...any) ([]auth.User, error) {
	var all []auth.User
	err := c.rows(query, func(st *sqlite.Stmt) error {
		all = append(all, auth.User{
			ID:        st.ColumnText(0),
			Name:      st.ColumnText(1),
			Password:  st.ColumnText(2),
			Admin:     st.ColumnBool(3),
			Disabled:  st.ColumnBool(4),
			CreatedAt: at(st.ColumnInt64(5)),
		})
		return nil
	}, args...)
	for i := range all {
		if err != nil {
			break
		}
		all[i].Roles = make(map[string]errand.Role)
		err = c.rows(`SELECT project, role FROM roles WHERE user_id = ?`, func(st *sqlite.Stmt) error {
			all[i].Roles[st.ColumnText(0)] = errand.Role(st.ColumnText(1))
			return nil
		}, all[i].ID)
	}
	return all, err
}

// UpdateUser implements auth.Store.
func (s *Store) UpdateUser(ctx context.Context, id string, fn func(*auth.User) error) error {
	return s.w.do(ctx, func(t *tx) error {
		u, err := t.user(usersWith+`WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if err := fn(&u); err != nil {
			return err
		}
		u.ID = id
		if err := t.exec(`UPDATE users SET password = ?, admin = ?, disabled = ? WHERE id = ?`, u.Password, u.Admin, u.Disabled, id); err != nil {
			return err
		}
		return t.setRoles(u)
	})
}

// Exclusively implements auth.Store. No other process has the file.
func (s *Store) Exclusively(ctx context.Context, fn func(context.Context) error) error {
	s.alone.Lock()
	defer s.alone.Unlock()
	if err := ctx.Err(); err != nil { // while it waited
		return errand.Errorf(errand.Unavailable, "store", "the request ended while it waited for its turn").WithCause(err)
	}
	return fn(ctx)
}
