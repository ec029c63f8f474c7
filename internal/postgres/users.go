package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/tasks"
)

// account runs fn in a transaction after which other nodes ask anew what
// credentials mean.
func (s *Store) account(ctx context.Context, fn func(ctx context.Context, t *tx) error) error {
	return s.transact(ctx, func(ctx context.Context, t *tx) error {
		t.ring(tasks.RingCredentials)
		return fn(ctx, t)
	})
}

// add runs an INSERT, and reports Conflict about subject if a key is taken.
func (t *tx) add(ctx context.Context, subject, name, query string, args ...any) error {
	_, err := t.Exec(ctx, query, args...)
	if taken(err, "") {
		return errand.Errorf(errand.Conflict, subject, "%s %s exists already", subject, name)
	}
	return err
}

// AddProject implements auth.Store.
func (s *Store) AddProject(ctx context.Context, p auth.Project) error {
	return s.account(ctx, func(ctx context.Context, t *tx) error {
		return t.add(ctx, "project", p.Name, `INSERT INTO projects (id, name, created_at) VALUES ($1, $2, $3)`, p.ID, p.Name, micro(p.CreatedAt))
	})
}

// Projects implements auth.Store.
func (s *Store) Projects(ctx context.Context) ([]auth.Project, error) {
	return collect(ctx, s, func(row pgx.CollectableRow) (p auth.Project, err error) {
		var us int64
		err = row.Scan(&p.ID, &p.Name, &us)
		p.CreatedAt = at(us)
		return p, err
	}, `SELECT id, name, created_at FROM projects ORDER BY name`)
}

// AddUser implements auth.Store.
func (s *Store) AddUser(ctx context.Context, u auth.User) error {
	return s.account(ctx, func(ctx context.Context, t *tx) error {
		err := t.add(ctx, "user", u.Name, `INSERT INTO users (id, name, password, admin, disabled, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			u.ID, u.Name, u.Password, number(u.Admin), number(u.Disabled), micro(u.CreatedAt))
		if err != nil {
			return err
		}
		return t.setRoles(ctx, u)
	})
}

// number is how a yes or no is kept, as in SQLite.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// setRoles is called by who holds the row of the user.
func (t *tx) setRoles(ctx context.Context, u auth.User) error {
	var projects, roles []string
	for project, role := range u.Roles {
		projects, roles = append(projects, project), append(roles, string(role))
	}
	_, err := t.Exec(ctx, `DELETE FROM roles WHERE user_id = $1`, u.ID)
	if err == nil && len(roles) > 0 {
		_, err = t.Exec(ctx, `INSERT INTO roles (user_id, project, role) SELECT $1, p, r FROM unnest($2::text[], $3::text[]) AS n(p, r)`, u.ID, projects, roles)
	}
	return err
}

// The roles come in the same statement, so that all is of one moment.
const usersWith = `SELECT id, name, password, admin, disabled, created_at,
	coalesce((SELECT json_object_agg(project, role)::text FROM roles WHERE user_id = id), '{}') FROM users `

func scanUser(row pgx.CollectableRow) (u auth.User, err error) {
	var admin, disabled, us int64
	var roles string
	if err := row.Scan(&u.ID, &u.Name, &u.Password, &admin, &disabled, &us, &roles); err != nil {
		return u, err
	}
	u.Admin, u.Disabled, u.CreatedAt = admin != 0, disabled != 0, at(us)
	u.Roles = make(map[string]errand.Role)
	return u, json.Unmarshal([]byte(roles), &u.Roles)
}

// Users implements auth.Store.
func (s *Store) Users(ctx context.Context) ([]auth.User, error) {
	return collect(ctx, s, scanUser, usersWith+`ORDER BY name`)
}

const (
	userByID   = usersWith + `WHERE id = $1`
	userByName = usersWith + `WHERE name = $1`
)

// User implements auth.Store.
func (s *Store) User(ctx context.Context, id string) (auth.User, error) {
	return one(id)(collect(ctx, s, scanUser, userByID, id))
}

// UserByName implements auth.Store.
func (s *Store) UserByName(ctx context.Context, name string) (auth.User, error) {
	return one(name)(collect(ctx, s, scanUser, userByName, name))
}

// one returns the user that was found by key.
func one(key string) func([]auth.User, error) (auth.User, error) {
	return func(us []auth.User, err error) (auth.User, error) {
		if err == nil && len(us) == 0 {
			err = errand.Errorf(errand.NotFound, "user", "user %.64q does not exist", key)
		}
		if err != nil {
			return auth.User{}, err
		}
		return us[0], nil
	}
}

// UpdateUser implements auth.Store.
func (s *Store) UpdateUser(ctx context.Context, id string, fn func(*auth.User) error) error {
	return s.account(ctx, func(ctx context.Context, t *tx) error {
		// What is read with a lock may be of before the wait for it, as far as it
		// is from other tables: the user is read once the lock is held.
		if _, err := t.Exec(ctx, `SELECT 1 FROM users WHERE id = $1 FOR UPDATE`, id); err != nil {
			return err
		}
		rows, err := t.Query(ctx, userByID, id)
		if err != nil {
			return err
		}
		u, err := one(id)(pgx.CollectRows(rows, scanUser))
		if err != nil {
			return err
		}
		if err := fn(&u); err != nil {
			return err
		}
		u.ID = id
		_, err = t.Exec(ctx, `UPDATE users SET password = $2, admin = $3, disabled = $4 WHERE id = $1`, id, u.Password, number(u.Admin), number(u.Disabled))
		if err != nil {
			return err
		}
		return t.setRoles(ctx, u)
	})
}

// exclusiveIdle is how long the database waits for a node that holds the lock of
// accounts and has gone silent.
const exclusiveIdle = `SET LOCAL idle_in_transaction_session_timeout = '60s'`

// Exclusively implements auth.Store. The lock is held by a transaction that does
// nothing else; when its connection breaks, the lock is gone, and fn's context
// ends.
func (s *Store) Exclusively(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return tooLate(err)
	}
	select {
	case s.alone <- struct{}{}:
		defer func() { <-s.alone }()
	case <-ctx.Done():
		return tooLate(ctx.Err())
	case <-s.quit:
		return closing()
	}
	c, err := s.writers.Acquire(ctx)
	if err != nil {
		return classify(err)
	}
	defer c.Release() // closes the connection if the transaction has not ended
	_, err = c.Exec(ctx, strings.Join(append(slices.Clone(s.begin), exclusiveIdle), "; "))
	if err == nil {
		_, err = c.Exec(ctx, takeLock, int64(lockAccounts))
	}
	if err != nil {
		return classify(err)
	}
	inside, leave := context.WithCancel(ctx)
	defer leave()
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	broken := make(chan bool, 1)
	go func() {
		_, err := c.Conn().WaitForNotification(watched) // none comes: it ends with the connection, or with unwatch
		leave()
		broken <- err != nil && watched.Err() == nil
	}()
	err = fn(inside)
	unwatch()
	if <-broken && err == nil {
		return errand.Errorf(errand.Unavailable, "outcome",
			"the connection to the database was lost while accounts were changed; look at what became of it, and do again what is missing")
	}
	rollback(context.WithoutCancel(ctx), c.Conn())
	return err
}
