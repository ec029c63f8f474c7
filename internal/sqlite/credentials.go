package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// AddKey implements auth.Store.
func (s *Store) AddKey(ctx context.Context, k auth.Key) error {
	var token any
	if k.Token != nil {
		token = k.Token
	}
	return s.w.do(ctx, func(t *tx) error {
		return t.add("access_key", k.Access, `INSERT INTO access_keys (access, secret, user_id, project, token, expires_at, created_at, note)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			k.Access, notNull(k.Secret), k.UserID, k.Project, token, microOrNull(k.ExpiresAt), micro(k.CreatedAt), k.Note)
	})
}

// notNull keeps no bytes apart from no value.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

const keysWith = `SELECT access, secret, user_id, project, token, expires_at, created_at, note FROM access_keys WHERE `

// Key implements auth.Store.
func (s *Store) Key(ctx context.Context, access string) (auth.Key, error) {
	keys, err := s.keys(ctx, keysWith+`access = ?`, access)
	if err == nil && len(keys) == 0 {
		err = noKey(access)
	}
	if err != nil {
		return auth.Key{}, err
	}
	return keys[0], nil
}

// Keys implements auth.Store.
func (s *Store) Keys(ctx context.Context, userID string) ([]auth.Key, error) {
	return s.keys(ctx, keysWith+`user_id = ? ORDER BY access`, userID)
}

func (s *Store) keys(ctx context.Context, query, arg string) ([]auth.Key, error) {
	var all []auth.Key
	err := s.read(ctx, func(c *conn) error {
		return c.rows(query, func(st *sqlite.Stmt) error {
			k := auth.Key{
				Access:    st.ColumnText(0),
				Secret:    blob(st, 1),
				UserID:    st.ColumnText(2),
				Project:   st.ColumnText(3),
				ExpiresAt: atOrZero(st, 5),
				CreatedAt: at(st.ColumnInt64(6)),
				Note:      st.ColumnText(7),
			}
			if !st.ColumnIsNull(4) {
				k.Token = blob(st, 4)
			}
			all = append(all, k)
			return nil
		}, arg)
	})
	return all, err
}

// DeleteKey implements auth.Store.
func (s *Store) DeleteKey(ctx context.Context, access string) error {
	return s.w.do(ctx, func(t *tx) error {
		err := t.exec(`DELETE FROM access_keys WHERE access = ?`, access)
		if err == nil && t.Changes() == 0 {
			err = noKey(access)
		}
		return err
	})
}

func noKey(access string) error {
	return errand.Errorf(errand.NotFound, "access_key", "access key %.64q does not exist", access)
}

// AddToken implements auth.Store.
func (s *Store) AddToken(ctx context.Context, k auth.Token, keep int) error {
	return s.w.do(ctx, func(t *tx) error {
		if err := t.exec(`DELETE FROM tokens WHERE expires_at < ?`, micro(k.CreatedAt)); err != nil {
			return err
		}
		err := t.add("token", "of this hash", `INSERT INTO tokens (hash, user_id, project, expires_at, created_at, access) VALUES (?, ?, ?, ?, ?, ?)`,
			k.Hash, k.UserID, k.Project, micro(k.ExpiresAt), micro(k.CreatedAt), k.Access)
		if err != nil {
			return err
		}
		return t.exec(`DELETE FROM tokens WHERE hash IN (
			SELECT hash FROM tokens WHERE user_id = ? AND hash <> ? ORDER BY created_at DESC, hash DESC LIMIT -1 OFFSET ?)`, k.UserID, k.Hash, keep-1)
	})
}

// Token implements auth.Store.
func (s *Store) Token(ctx context.Context, hash []byte) (auth.Token, error) {
	var k *auth.Token
	err := s.read(ctx, func(c *conn) error {
		return c.rows(`SELECT hash, user_id, project, expires_at, created_at, access FROM tokens WHERE hash = ?`, func(st *sqlite.Stmt) error {
			k = &auth.Token{
				Hash:      blob(st, 0),
				UserID:    st.ColumnText(1),
				Project:   st.ColumnText(2),
				ExpiresAt: at(st.ColumnInt64(3)),
				CreatedAt: at(st.ColumnInt64(4)),
				Access:    st.ColumnText(5),
			}
			return nil
		}, hash)
	})
	if err == nil && k == nil {
		err = noToken()
	}
	if err != nil {
		return auth.Token{}, err
	}
	return *k, nil
}

// DeleteToken implements auth.Store.
func (s *Store) DeleteToken(ctx context.Context, hash []byte) error {
	return s.w.do(ctx, func(t *tx) error {
		err := t.exec(`DELETE FROM tokens WHERE hash = ?`, hash)
		if err == nil && t.Changes() == 0 {
			err = noToken()
		}
		return err
	})
}

func noToken() error {
	return errand.Errorf(errand.NotFound, "token", "the token does not exist")
}

// Check implements auth.Store.
func (s *Store) Check(ctx context.Context, name string, value []byte) ([]byte, error) {
	var kept []byte
	err := s.w.do(ctx, func(t *tx) error {
		if err := t.exec(`INSERT INTO checks (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, name, notNull(value)); err != nil {
			return err
		}
		return t.rows(`SELECT value FROM checks WHERE name = ?`, func(st *sqlite.Stmt) error {
			kept = blob(st, 0)
			return nil
		}, name)
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
