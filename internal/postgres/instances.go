package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// maxHomes bounds how many instances are remembered, at some 300 bytes each.
const maxHomes = 50_000

type instanceKey struct{ project, id string }

// home is what never changes of an instance: where its tasks are, and what it
// runs. Whether the instance is still there must be asked each time.
type home struct {
	place
	engine errand.Engine
}

// homes remembers where instances are. The number of a scope is never used
// again, so what is remembered of an instance that is gone selects nothing.
type homes struct {
	mu    sync.RWMutex
	known map[instanceKey]home
}

func (h *homes) get(project, id string) (home, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	at, ok := h.known[instanceKey{project, id}]
	return at, ok
}

func (h *homes) put(project, id string, at home) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= maxHomes {
		for other := range h.known { // any one
			delete(h.known, other)
			break
		}
	}
	h.known[instanceKey{project, id}] = at
}

func (h *homes) drop(project, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, instanceKey{project, id})
}

// home returns where an instance is, from memory or the database, or NotFound.
func (s *Store) home(ctx context.Context, project, id string) (at home, remembered bool, err error) {
	if at, ok := s.homes.get(project, id); ok {
		return at, true, nil
	}
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		at, err = homeOf(ctx, c, project, id)
		return err
	})
	if err == nil {
		s.homes.put(project, id, at)
	}
	return at, false, err
}

func homeOf(ctx context.Context, c *pgx.Conn, project, id string) (home, error) {
	var at home
	err := c.QueryRow(ctx, `SELECT scope, grp, project_key, engine FROM instances WHERE project = $1 AND id = $2`, project, id).
		Scan(&at.scope, &at.grp, &at.project, &at.engine)
	if err == pgx.ErrNoRows { //nolint:errorlint // it is documented to be this very error
		err = noInstance(id)
	}
	return at, err
}

// AddInstance implements tasks.Store.
func (s *Store) AddInstance(ctx context.Context, i errand.Instance) error {
	attrs, err := json.Marshal(i.Attributes)
	if err != nil {
		return err
	}
	return s.transact(ctx, func(ctx context.Context, t *tx) error {
		var known bool
		err := t.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM instances WHERE project = $1 AND id = $2)`, i.Project, i.ID).Scan(&known)
		if err != nil {
			return err
		}
		if known {
			return registered(i.ID)
		}
		var at home
		for _, of := range []struct {
			scope            *int64
			instance, engine string
		}{{&at.project, "", ""}, {&at.grp, "", string(i.Engine)}, {&at.scope, i.ID, string(i.Engine)}} {
			if *of.scope, err = t.scope(ctx, i.Project, of.instance, of.engine); err != nil {
				return err
			}
		}
		_, err = t.Exec(ctx, `INSERT INTO instances (scope, grp, project_key, project, id, engine, name, attributes, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			at.scope, at.grp, at.project, i.Project, i.ID, string(i.Engine), i.Name, string(attrs), micro(i.CreatedAt))
		if taken(err, "") { // by another node, meanwhile
			return registered(i.ID)
		}
		return err
	})
}

func registered(id string) error {
	return errand.Errorf(errand.Conflict, "instance", "instance %s is registered already", id)
}

// scope returns the number of a scope, which it makes if there is none.
func (t *tx) scope(ctx context.Context, project, instance, engine string) (id int64, err error) {
	_, err = t.Exec(ctx, `INSERT INTO scopes (project, instance, engine) SELECT $1, $2, $3
		WHERE NOT EXISTS (SELECT 1 FROM scopes WHERE project = $1 AND instance = $2 AND engine = $3) ON CONFLICT DO NOTHING`, project, instance, engine)
	if err == nil {
		err = t.QueryRow(ctx, `SELECT id FROM scopes WHERE project = $1 AND instance = $2 AND engine = $3`, project, instance, engine).Scan(&id)
	}
	return id, err
}

const instanceColumns = `project, id, engine, name, attributes, created_at`

// instanceScan reads instances row by row; all is nil where an outer join found
// none.
type instanceScan struct {
	project, id, engine, name, attributes *string
	createdAt                             *int64
}

func (s *instanceScan) dests(more ...any) []any {
	return append([]any{&s.project, &s.id, &s.engine, &s.name, &s.attributes, &s.createdAt}, more...)
}

func (s *instanceScan) instance() (errand.Instance, error) {
	i := errand.Instance{Project: *s.project, ID: *s.id, Engine: errand.Engine(*s.engine), Name: *s.name, CreatedAt: at(*s.createdAt)}
	return i, json.Unmarshal([]byte(*s.attributes), &i.Attributes)
}

const instanceByID = `SELECT ` + instanceColumns + `, scope, grp, project_key FROM instances WHERE project = $1 AND id = $2`

// Instance implements tasks.Store. It asks each time: another node may have
// forgotten the instance.
func (s *Store) Instance(ctx context.Context, project, id string) (i errand.Instance, err error) {
	var at home
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		var scan instanceScan
		err := c.QueryRow(ctx, instanceByID, project, id).Scan(scan.dests(&at.scope, &at.grp, &at.project)...)
		if err == pgx.ErrNoRows { //nolint:errorlint // it is documented to be this very error
			return noInstance(id)
		}
		if err == nil {
			i, err = scan.instance()
		}
		return err
	})
	if err != nil {
		return errand.Instance{}, err
	}
	at.engine = i.Engine
	s.homes.put(project, id, at)
	return i, nil
}

const instancePage = `SELECT ` + instanceColumns + `, n.total FROM (SELECT count(*) AS total FROM instances WHERE project = $1) n
	LEFT JOIN LATERAL (SELECT ` + instanceColumns + ` FROM instances WHERE project = $1 ORDER BY id LIMIT $2 OFFSET $3) i ON true ORDER BY i.id`

// Instances implements tasks.Store.
func (s *Store) Instances(ctx context.Context, project string, offset, limit int) (all []errand.Instance, total int, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all = nil
		rows, err := c.Query(ctx, instancePage, project, limit, offset)
		if err != nil {
			return err
		}
		var scan instanceScan
		_, err = pgx.ForEachRow(rows, scan.dests(&total), func() error {
			if scan.id == nil {
				return nil
			}
			i, err := scan.instance()
			all = append(all, i)
			return err
		})
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return all, total, nil
}

const (
	deleteWait = "200ms"          // for those who change tasks of the instance
	deletePast = 15 * time.Second // after which that is not tried again
)

// DeleteInstance implements tasks.Store. One transaction takes the instance out
// of every reader's sight, once those that change its tasks are through; its
// tasks are removed after that in the background.
//
// Behind who waits for a lock alone, all wait who would share it, and those in
// their groups with them. So it waits briefly, and again: an import takes long.
func (s *Store) DeleteInstance(ctx context.Context, project, id string) error {
	for end := time.Now().Add(deletePast); ; {
		err := s.deleteInstance(ctx, project, id)
		if code(err) != "55P03" || time.Now().After(end) || !sleep(ctx, about(200*time.Millisecond)) {
			return err
		}
	}
}

func (s *Store) deleteInstance(ctx context.Context, project, id string) error {
	err := s.transact(ctx, func(ctx context.Context, t *tx) error {
		at, err := homeOf(ctx, t.Conn, project, id)
		if err != nil {
			return err
		}
		if _, err := t.Exec(ctx, `SET LOCAL lock_timeout = '`+deleteWait+`'`); err != nil {
			return err
		}
		if err := t.lock(ctx, nil, []int64{instanceLock(at.scope)}); err != nil {
			return err
		}
		if _, err := t.Exec(ctx, fmt.Sprintf(`SET LOCAL %s = '%s'`, writeSettings[0].name, writeSettings[0].value)); err != nil {
			return err
		}
		gone, err := t.Exec(ctx, `DELETE FROM instances WHERE scope = $1`, at.scope)
		if err != nil {
			return err
		}
		if gone.RowsAffected() == 0 { // another node was faster
			return noInstance(id)
		}
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO forgotten (scope, grp) VALUES ($1, $2)`, at.scope, at.grp)
		// What has not ended is not to be run, and nobody is to be told of it.
		b.Queue(`DELETE FROM secrets WHERE project_key = $1 AND id IN (SELECT id FROM live WHERE scope = $2)`, at.project, at.scope)
		b.Queue(`DELETE FROM live WHERE project_key = $1 AND scope = $2`, at.project, at.scope)
		b.Queue(`DELETE FROM scopes WHERE id = $1`, at.scope)
		t.after = append(t.after, func() { s.homes.drop(project, id) })
		t.ring(tasks.RingChanged)
		return t.SendBatch(ctx, b).Close()
	})
	if err == nil {
		notify(s.forgotten)
	}
	return err
}
