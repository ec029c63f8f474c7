package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

const (
	firstDue = `SELECT coalesce((SELECT due FROM live ORDER BY due LIMIT 1), 0)`
	overdue  = `SELECT project_key, id, due, scope, lane FROM live WHERE due <= $1 ORDER BY due, id LIMIT $2`
)

// Sweep implements tasks.Queue.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int, change tasks.Change) (swept int, next time.Time, err error) {
	due, err := s.number(ctx, firstDue)
	if err != nil || due == 0 || due > micro(now) {
		return 0, zeroOrAt(due), err
	}
	var all []candidate
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all = nil
		rows, err := c.Query(ctx, overdue, micro(now), limit)
		if err != nil {
			return err
		}
		var x candidate
		_, err = pgx.ForEachRow(rows, []any{&x.project, &x.id, &x.runAt, &x.scope, &x.lane}, func() error {
			all = append(all, x)
			return nil
		})
		return err
	})
	if err != nil {
		return 0, time.Time{}, err
	}
	x := &sweeping{s: s, found: all, now: micro(now), change: change}
	if len(all) > 0 {
		if err := s.do(ctx, x.op()); err != nil {
			return 0, time.Time{}, err
		}
	}
	due, err = s.number(context.WithoutCancel(ctx), firstDue)
	if err == nil {
		err = x.refused
	}
	return x.swept, zeroOrAt(due), err
}

// number returns what a query for one number gives.
func (s *Store) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error { return c.QueryRow(ctx, query, args...).Scan(&n) })
	return n, err
}

// sweeping is a caller's part of a group that looks at what is due.
type sweeping struct {
	s      *Store
	found  []candidate
	now    int64
	change tasks.Change

	swept   int
	refused error // the first
}

func (x *sweeping) op() *op {
	o := &op{weight: len(x.found), decide: x.decide}
	lanes := make(map[laneKey]int)
	for _, c := range x.found {
		o.scopes = append(o.scopes, c.scope)
		k := laneKey{c.scope, c.lane}
		if c.lane == "" || lanes[k] == 0 {
			o.keys = append(o.keys, c.lock())
		}
		if c.lane != "" {
			lanes[k]++
		}
	}
	o.needs = func(n *needs) {
		for _, c := range x.found {
			n.tasks = append(n.tasks, c.taskKey)
		}
		for k, touched := range lanes {
			n.lane(k, touched, false)
		}
	}
	return o
}

func (x *sweeping) decide(f *flow) error {
	x.swept, x.refused = 0, nil
	var all []*saving
	for _, c := range x.found {
		r := f.tasks[c.taskKey]
		if r == nil || !r.live || r.scope != c.scope || r.Run.Lane != c.lane || micro(r.Run.Due) > x.now {
			continue
		}
		v, err := x.offer(f, r)
		if err != nil {
			if x.refused == nil {
				x.refused = err
			}
			continue
		}
		all = append(all, v)
	}
	for _, v := range all {
		f.save(v)
		f.after = append(f.after, func() { x.s.spots.note(v) })
	}
	x.swept = len(all)
	return nil
}

func (x *sweeping) offer(f *flow, r *record) (*saving, error) {
	before := asBefore(&r.Task)
	event, err := x.change(&r.Task)
	if err != nil {
		return nil, err
	}
	v, err := newSaving(r, &before, event)
	if err == nil {
		err = f.admits(v)
	}
	return v, err
}

const (
	// maxLane is how many tasks of a lane are read: more than may wait in one.
	maxLane = 2000

	laneOf = `SELECT ` + wholeColumns + ` FROM (SELECT project_key, id, running, run_at FROM live
			WHERE scope = $1 AND lane = $2 ORDER BY running DESC, run_at, id LIMIT $3) x
		JOIN tasks t ON t.project_key = x.project_key AND t.id = x.id` + wholeJoins + ` ORDER BY x.running DESC, x.run_at, x.id`
)

// Lane implements tasks.Queue.
func (s *Store) Lane(ctx context.Context, project, instance, lane string) ([]*errand.Task, error) {
	for {
		in, remembered, err := s.home(ctx, project, instance)
		if err != nil {
			return nil, err
		}
		var all []*errand.Task
		var there bool
		err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
			all = nil
			b := &pgx.Batch{}
			b.Queue(laneOf, in.scope, lane, maxLane).Query(func(rows pgx.Rows) error {
				return readRecords(rows, func(r *record) { all = append(all, &r.Task) })
			})
			b.Queue(`SELECT EXISTS (SELECT 1 FROM instances WHERE scope = $1)`, in.scope).QueryRow(func(row pgx.Row) error { return row.Scan(&there) })
			return c.SendBatch(ctx, b).Close()
		})
		switch {
		case err != nil:
			return nil, err
		case there:
			return all, nil
		case !remembered:
			return nil, noInstance(instance)
		}
		s.homes.drop(project, instance) // it may be registered again
	}
}
