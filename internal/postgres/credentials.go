package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// AddKey implements auth.Store.
func (s *Store) AddKey(ctx context.Context, k auth.Key) error {
	var expires *int64
	if !k.ExpiresAt.IsZero() {
		us := micro(k.ExpiresAt)
		expires = &us
	}
	return s.account(ctx, func(ctx context.Context, t *tx) error {
		return t.add(ctx, "access_key", k.Access, `INSERT INTO access_keys (access, secret, user_id, project, token, expires_at, created_at, note)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.Access, notNull(k.Secret), k.UserID, k.Project, k.Token, expires, micro(k.CreatedAt), k.Note)
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

func scanKey(row pgx.CollectableRow) (k auth.Key, err error) {
	var expires *int64
	var created int64
	err = row.Scan(&k.Access, &k.Secret, &k.UserID, &k.Project, &k.Token, &expires, &created, &k.Note)
	if expires != nil {
		k.ExpiresAt = at(*expires)
	}
	k.CreatedAt = at(created)
	return k, err
}

const keyByAccess = keysWith + `access = $1`

// Key implements auth.Store.
func (s *Store) Key(ctx context.Context, access string) (auth.Key, error) {
	keys, err := collect(ctx, s, scanKey, keyByAccess, access)
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
	return collect(ctx, s, scanKey, keysWith+`user_id = $1 ORDER BY access`, userID)
}

// DeleteKey implements auth.Store.
func (s *Store) DeleteKey(ctx context.Context, access string) error {
	return s.account(ctx, func(ctx context.Context, t *tx) error {
		gone, err := t.Exec(ctx, `DELETE FROM access_keys WHERE access = $1`, access)
		if err == nil && gone.RowsAffected() == 0 {
			err = noKey(access)
		}
		return err
	})
}

func noKey(access string) error {
	return errand.Errorf(errand.NotFound, "access_key", "access key %.64q does not exist", access)
}

// AddToken implements auth.Store. Other nodes are not told: they learn of a token
// when it is shown to them, and those that had to go are honoured as long as they
// are remembered. Who logs in must not make every node forget what it knows.
func (s *Store) AddToken(ctx context.Context, k auth.Token, keep int) error {
	return s.transact(ctx, func(ctx context.Context, t *tx) error {
		if err := t.lock(ctx, nil, []int64{tokensLock(k.UserID)}); err != nil {
			return err
		}
		_, err := t.Exec(ctx, `DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens WHERE expires_at < $1 FOR UPDATE SKIP LOCKED)`, micro(k.CreatedAt))
		if err != nil {
			return err
		}
		err = t.add(ctx, "token", "of this hash", `INSERT INTO tokens (hash, user_id, project, expires_at, created_at, access) VALUES ($1, $2, $3, $4, $5, $6)`,
			k.Hash, k.UserID, k.Project, micro(k.ExpiresAt), micro(k.CreatedAt), k.Access)
		if err != nil {
			return err
		}
		_, err = t.Exec(ctx, `DELETE FROM tokens WHERE hash IN (
			SELECT hash FROM tokens WHERE user_id = $1 AND hash <> $2 ORDER BY created_at DESC, hash DESC OFFSET $3)`, k.UserID, k.Hash, keep-1)
		return err
	})
}

// Token implements auth.Store.
func (s *Store) Token(ctx context.Context, hash []byte) (auth.Token, error) {
	found, err := collect(ctx, s, func(row pgx.CollectableRow) (k auth.Token, err error) {
		var expires, created int64
		err = row.Scan(&k.Hash, &k.UserID, &k.Project, &expires, &created, &k.Access)
		k.ExpiresAt, k.CreatedAt = at(expires), at(created)
		return k, err
	}, `SELECT hash, user_id, project, expires_at, created_at, access FROM tokens WHERE hash = $1`, hash)
	if err == nil && len(found) == 0 {
		err = noToken()
	}
	if err != nil {
		return auth.Token{}, err
	}
	return found[0], nil
}

// DeleteToken implements auth.Store. Other nodes are not told, for the same reason
// as of a new one: they honour it as long as they remember it.
func (s *Store) DeleteToken(ctx context.Context, hash []byte) error {
	return s.transact(ctx, func(ctx context.Context, t *tx) error {
		gone, err := t.Exec(ctx, `DELETE FROM tokens WHERE hash = $1`, hash)
		if err == nil && gone.RowsAffected() == 0 {
			err = noToken()
		}
		return err
	})
}

func noToken() error {
	return errand.Errorf(errand.NotFound, "token", "the token does not exist")
}

// Check implements auth.Store.
func (s *Store) Check(ctx context.Context, name string, value []byte) (kept []byte, err error) {
	err = s.transact(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.Exec(ctx, `INSERT INTO checks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, notNull(value)); err != nil {
			return err
		}
		return t.QueryRow(ctx, `SELECT value FROM checks WHERE name = $1`, name).Scan(&kept)
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
