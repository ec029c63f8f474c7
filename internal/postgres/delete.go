package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand/internal/tasks"
)

// Delete implements tasks.Store. It may wait for an import, so it shares its
// transaction with nobody.
func (s *Store) Delete(ctx context.Context, project, id string, change tasks.Change) error {
	return s.atSpot(ctx, project, id, func(at spot) *op {
		k := taskKey{at.project, id}
		o := &op{scopes: []int64{at.scope}, keys: append(at.locks(id), recordsLock(at.project)), alone: true, weight: 1}
		o.needs = func(n *needs) {
			n.tasks = append(n.tasks, k)
			if at.lane != "" {
				n.lane(laneKey{at.scope, at.lane}, 1, false)
			}
		}
		o.decide = func(f *flow) error {
			r := f.tasks[k]
			if r == nil {
				return noTask(id)
			}
			createdAt := micro(r.CreatedAt)
			moved := !r.at(at)
			event, err := change(&r.Task)
			if err != nil || event == nil {
				return err
			}
			if moved {
				return errMoved
			}
			f.gone.add(r.place, id, createdAt)
			f.count(r.place, createdAt, -1)
			if l := f.lanes[laneKey{at.scope, at.lane}]; l != nil {
				l.drop(k)
			}
			f.append(event)
			f.after = append(f.after, func() { s.spots.drop(project, id) })
			return nil
		}
		return o
	})
}

// settleLanes marks the heads of lanes anew, from what is there.
func settleLanes(b *pgx.Batch, lanes map[laneKey]bool) {
	var scopes []int64
	var names []string
	for k := range lanes {
		if k.lane != "" {
			scopes, names = append(scopes, k.scope), append(names, k.lane)
		}
	}
	if len(scopes) == 0 {
		return
	}
	const heads = `(SELECT f.* FROM unnest($1::bigint[], $2::text[]) AS k(scope, lane)
		CROSS JOIN LATERAL (SELECT scope, lane, project_key, id, running FROM live WHERE live.scope = k.scope AND live.lane = k.lane
			ORDER BY running DESC, run_at, id LIMIT 1) f) h`
	b.Queue(`UPDATE live x SET ready = 0 FROM `+heads+` WHERE x.scope = h.scope AND x.lane = h.lane AND x.ready = 1 AND (h.running = 1 OR x.id <> h.id)`, scopes, names)
	b.Queue(`UPDATE live x SET ready = 1 FROM `+heads+` WHERE x.project_key = h.project_key AND x.id = h.id AND h.running = 0 AND x.ready = 0`, scopes, names)
}
