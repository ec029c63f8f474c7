package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
)

// shortSkip is how many rows are passed over faster than the buckets that hold
// them are looked up.
const shortSkip = 100

// The rows of a page. CROSS JOIN keeps SQLite from turning the join round, which
// also leaves out the tasks of forgotten instances. The sums in LIMIT keep it
// from looking at the bound values while it plans: it would then plan anew, which
// takes longer than the query, each time one of them changes.
const (
	pageOfInstance = `SELECT ` + taskColumns + ` FROM tasks t
		WHERE t.scope = ?1 AND t.created_at >= ?2 AND t.created_at < ?3
		ORDER BY t.created_at DESC, t.id DESC LIMIT ?4 + 0 OFFSET ?5 + 0`
	groupRows = `SELECT ` + taskColumns + `, i.id, i.engine FROM tasks t CROSS JOIN instances i ON i.scope = t.scope
		WHERE t.created_at >= ?2 AND t.created_at < ?3 AND t.grp = `
	pageOfGroup = groupRows + `?1 ORDER BY t.created_at DESC, t.id DESC LIMIT ?4 + 0 OFFSET ?5 + 0`

	// The columns to order by are the 14th and the first; SQLite merges the
	// four, each in the order of its index.
	pageOfGroups = groupRows + `?1 UNION ALL ` + groupRows + `?6 UNION ALL ` + groupRows + `?7 UNION ALL ` + groupRows + `?8
		ORDER BY 14 DESC, 1 DESC LIMIT ?4 + 0 OFFSET ?5 + 0`
)

// List implements tasks.Store.
func (s *Store) List(ctx context.Context, f errand.Filter) (errand.Page, error) {
	if f.Instance == "" {
		return s.listGroups(ctx, f)
	}
	forgotten := s.cache.forgotten.Load()
	e, err := s.instance(ctx, f.Project, f.Instance)
	if err != nil {
		return errand.Page{}, err
	}
	return s.listInstance(ctx, f, e, forgotten)
}

// listInstance lists the tasks of e, which was known when the count of forgotten
// instances was read.
func (s *Store) listInstance(ctx context.Context, f errand.Filter, e *entry, forgotten uint64) (page errand.Page, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		page, err = c.page(f, []part{{scope: e.scope}}, pageOfInstance,
			errand.Task{Project: e.inst.Project, Instance: e.inst.ID, Engine: e.inst.Engine})
		if err != nil || s.cache.forgotten.Load() == forgotten {
			return err
		}
		// An instance was forgotten meanwhile. If it was this one, some of its
		// tasks may be missing from the snapshot.
		known, err := c.int64s(`SELECT count(*) FROM instances WHERE scope = ?1`, e.scope)
		if err == nil && known == 0 {
			err = noInstance(f.Instance)
		}
		return err
	})
	if err != nil {
		return errand.Page{}, err
	}
	return page, nil
}

// listGroups lists the tasks of a project or of one engine in it.
func (s *Store) listGroups(ctx context.Context, f errand.Filter) (errand.Page, error) {
	var page errand.Page
	err := s.snapshot(ctx, func(c *conn) error {
		parts, err := c.groups(f.Project, f.Engine)
		if err != nil || len(parts) == 0 {
			return err
		}
		query := pageOfGroups
		if len(parts) == 1 {
			query = pageOfGroup
		}
		if parts, err = c.withForgotten(parts); err != nil {
			return err
		}
		page, err = c.page(f, parts, query, errand.Task{Project: f.Project})
		return err
	})
	if err != nil {
		return errand.Page{}, err
	}
	return page, nil
}

// groups returns the scopes of a project's engines, or of one.
func (c *conn) groups(project string, engine errand.Engine) ([]part, error) {
	var parts []part
	err := c.rows(`SELECT id, engine FROM scopes WHERE project = ? AND instance = ''`, func(st *sqlite.Stmt) error {
		if e := errand.Engine(st.ColumnText(1)); e != "" && (engine == "" || e == engine) {
			parts = append(parts, part{scope: st.ColumnInt64(0), group: true})
		}
		return nil
	}, project)
	return parts, err
}

// withForgotten adds what the counts of groups hold too much.
func (c *conn) withForgotten(groups []part) ([]part, error) {
	parts := groups
	err := c.rows(`SELECT scope, grp FROM forgotten`, func(st *sqlite.Stmt) error {
		for _, g := range groups {
			if g.scope == st.ColumnInt64(1) {
				parts = append(parts, part{scope: st.ColumnInt64(0), minus: true})
			}
		}
		return nil
	})
	return parts, err
}

// page reads one page of the tasks of parts, and counts them all.
func (c *conn) page(f errand.Filter, parts []part, query string, of errand.Task) (errand.Page, error) {
	r := stored.ReachOf(f)
	after, total, err := c.countReach(parts, r)
	if err != nil {
		return errand.Page{}, err
	}
	p := errand.Page{Total: int(max(total, 0))}
	skip := int64(f.Offset)
	if skip >= total || f.Limit < 1 {
		return p, nil
	}
	if skip > shortSkip {
		// From here on the order counts from the newest task of all, and the
		// end of the range is before skip.
		if r.Until, skip, err = c.seek(parts, skip+after); err != nil {
			return errand.Page{}, err
		}
	}
	st, err := c.Prepare(query)
	if err != nil {
		return errand.Page{}, err
	}
	limit := min(int64(f.Limit), total-int64(f.Offset))
	args := [8]int64{parts[0].scope, r.From, r.Until, limit, skip}
	for i, k := 1, 5; i < len(parts) && k < len(args); i++ {
		if parts[i].group {
			args[k] = parts[i].scope
			k++
		}
	}
	for i := range st.BindParamCount() {
		st.BindInt64(i+1, args[i])
	}
	p.Tasks, err = c.readTasks(st, int(limit), of)
	return p, err
}

// countReach counts the tasks within r, and those after it.
func (c *conn) countReach(parts []part, r stored.Reach) (after, total int64, err error) {
	if r.Until < stored.Forever {
		if after, err = c.since(parts, r.Until); err != nil {
			return 0, 0, err
		}
	}
	if r.From > stored.Always {
		total, err = c.since(parts, r.From)
	} else {
		total, err = c.total(parts)
	}
	return after, total - after, err
}
