package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
)

// AddInstance implements tasks.Store.
func (s *Store) AddInstance(ctx context.Context, i errand.Instance) error {
	attrs, err := json.Marshal(i.Attributes)
	if err != nil {
		return err
	}
	return s.w.do(ctx, func(t *tx) error {
		known, err := t.number(`SELECT count(*) FROM instances WHERE project = ? AND id = ?`, i.Project, i.ID)
		if err != nil {
			return err
		}
		if known > 0 {
			return errand.Errorf(errand.Conflict, "instance", "instance %s is registered already", i.ID)
		}
		var p place
		for _, at := range []struct {
			scope            *int64
			instance, engine string
		}{{&p.project, "", ""}, {&p.grp, "", string(i.Engine)}, {&p.scope, i.ID, string(i.Engine)}} {
			if *at.scope, err = t.scope(i.Project, at.instance, at.engine); err != nil {
				return err
			}
		}
		return t.exec(`INSERT INTO instances (scope, grp, project_key, project, id, engine, name, attributes, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			p.scope, p.grp, p.project, i.Project, i.ID, string(i.Engine), i.Name, string(attrs), micro(i.CreatedAt))
	})
}

// scope returns the number of a scope, which it makes if there is none.
func (t *tx) scope(project, instance, engine string) (int64, error) {
	id, err := t.number(`SELECT id FROM scopes WHERE project = ? AND instance = ? AND engine = ?`, project, instance, engine)
	if err != nil || id != 0 {
		return id, err
	}
	err = t.exec(`INSERT INTO scopes (project, instance, engine) VALUES (?, ?, ?)`, project, instance, engine)
	return t.LastInsertRowID(), err
}

// Instance implements tasks.Store.
func (s *Store) Instance(ctx context.Context, project, id string) (errand.Instance, error) {
	e, err := s.instance(ctx, project, id)
	if err != nil {
		return errand.Instance{}, err
	}
	return e.copy(), nil
}

// instance returns an instance from memory or the file, or NotFound.
func (s *Store) instance(ctx context.Context, project, id string) (*entry, error) {
	if e := s.cache.get(project, id); e != nil {
		return e, ctx.Err()
	}
	forgotten := s.cache.forgotten.Load()
	var e *entry
	err := s.read(ctx, func(c *conn) error {
		var err error
		e, err = c.instance(project, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.cache.put(e, forgotten)
	return e, nil
}

const instanceColumns = `scope, grp, project_key, project, id, engine, name, attributes, created_at`

func (c *conn) instance(project, id string) (*entry, error) {
	var e *entry
	err := c.rows(`SELECT `+instanceColumns+` FROM instances WHERE project = ? AND id = ?`, func(st *sqlite.Stmt) (err error) {
		e, err = scanInstance(st)
		return err
	}, project, id)
	if err == nil && e == nil {
		err = noInstance(id)
	}
	return e, err
}

func scanInstance(st *sqlite.Stmt) (*entry, error) {
	e := &entry{
		place: place{scope: st.ColumnInt64(0), grp: st.ColumnInt64(1), project: st.ColumnInt64(2)},
		inst: errand.Instance{
			Project:   st.ColumnText(3),
			ID:        st.ColumnText(4),
			Engine:    errand.Engine(st.ColumnText(5)),
			Name:      st.ColumnText(6),
			CreatedAt: at(st.ColumnInt64(8)),
		},
	}
	return e, json.Unmarshal([]byte(st.ColumnText(7)), &e.inst.Attributes)
}

// Instances implements tasks.Store.
func (s *Store) Instances(ctx context.Context, project string, offset, limit int) ([]errand.Instance, int, error) {
	var all []errand.Instance
	var total int64
	err := s.snapshot(ctx, func(c *conn) (err error) {
		total, err = c.number(`SELECT count(*) FROM instances WHERE project = ?`, project)
		if err != nil {
			return err
		}
		return c.rows(`SELECT `+instanceColumns+` FROM instances WHERE project = ? ORDER BY id LIMIT ? OFFSET ?`,
			func(st *sqlite.Stmt) error {
				e, err := scanInstance(st)
				if err == nil {
					all = append(all, e.inst)
				}
				return err
			}, project, limit, offset)
	})
	if err != nil {
		return nil, 0, err
	}
	return all, int(total), nil
}

// DeleteInstance implements tasks.Store. One transaction takes the instance out
// of every reader's sight, and of those who look for work; its tasks are removed
// after that in the background.
func (s *Store) DeleteInstance(ctx context.Context, project, id string) error {
	err := s.w.do(ctx, func(t *tx) error {
		e, err := t.instance(project, id)
		if err != nil {
			return err
		}
		t.after = append(t.after, func() { s.cache.forget(project, id) })
		t.changed = append(t.changed, e.scope)
		if err := t.exec(`INSERT INTO forgotten (scope, grp) VALUES (?, ?)`, e.scope, e.grp); err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM scopes WHERE id = ?`, e.scope); err != nil {
			return err
		}
		return t.exec(`DELETE FROM instances WHERE scope = ?`, e.scope)
	})
	if err == nil {
		notify(s.forgotten)
	}
	return err
}
