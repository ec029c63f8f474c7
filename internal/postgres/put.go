package postgres

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

// putChunk is how many tasks of a batch are read and written at once.
const putChunk = 1000

// Put implements tasks.Store.
func (s *Store) Put(ctx context.Context, batch []*errand.Task, decide func(old, t *errand.Task) (*errand.Event, error)) error {
	if len(batch) == 0 {
		return ctx.Err()
	}
	given := make([]time.Time, len(batch)) // decide may change it, and run again
	for i, t := range batch {
		given[i] = t.CreatedAt
	}
	var err error
	for range moves {
		err = s.transact(ctx, func(ctx context.Context, t *tx) error {
			for i, x := range batch {
				x.CreatedAt = given[i]
			}
			p := &putting{tx: t, decide: decide, homes: make(map[instanceKey]home), locked: make(map[int64]bool), lanes: make(map[laneKey]bool)}
			return p.run(ctx, batch)
		})
		// Somebody else added one of the ids, or changed what was not locked.
		if !errors.Is(err, errMoved) && !taken(err, "tasks_by_id") && !taken(err, "tasks_pkey") {
			return err
		}
	}
	return err
}

// putting is a Put under way.
type putting struct {
	*tx
	decide func(old, t *errand.Task) (*errand.Event, error)
	homes  map[instanceKey]home
	locked map[int64]bool   // locks of tasks that have not ended
	lanes  map[laneKey]bool // those that lost a task
}

func (p *putting) run(ctx context.Context, batch []*errand.Task) error {
	if err := p.lockAll(ctx, batch); err != nil {
		return err
	}
	for len(batch) > 0 {
		n := min(len(batch), putChunk)
		if err := p.chunk(ctx, batch[:n]); err != nil {
			return err
		}
		batch = batch[n:]
	}
	b := &pgx.Batch{}
	settleLanes(b, p.lanes)
	return p.SendBatch(ctx, b).Close()
}

// lockAll finds the instances of a batch and takes the locks that it needs: a
// record has that of its project, a task that has not ended its own.
func (p *putting) lockAll(ctx context.Context, batch []*errand.Task) error {
	if err := p.findHomes(ctx, batch); err != nil {
		return err
	}
	var shared, keys []int64
	for _, h := range p.homes {
		shared, keys = append(shared, instanceLock(h.scope)), append(keys, recordsLock(h.project))
	}
	projects, ids := columns(p.keys(batch))
	rows, err := p.Query(ctx, `SELECT l.project_key, l.id, l.scope, l.lane FROM unnest($1::bigint[], $2::text[]) AS k(project_key, id)
		JOIN live l ON l.project_key = k.project_key AND l.id = k.id`, projects, ids)
	if err != nil {
		return err
	}
	var c candidate
	if _, err := pgx.ForEachRow(rows, []any{&c.project, &c.id, &c.scope, &c.lane}, func() error {
		p.locked[c.lock()] = true
		keys = append(keys, c.lock())
		return nil
	}); err != nil {
		return err
	}
	if err := p.lock(ctx, shared, keys); err != nil {
		return err
	}
	found := maps.Clone(p.homes)
	if err := p.findHomes(ctx, batch); err != nil { // as they are now that they stay
		return err
	}
	if !maps.Equal(found, p.homes) { // one that was registered meanwhile is not locked
		return errMoved
	}
	return nil
}

// findHomes looks up the instances of a batch. Those that are not there are
// missing in the end.
func (p *putting) findHomes(ctx context.Context, batch []*errand.Task) error {
	seen := make(map[instanceKey]bool)
	var projects, ids []string
	for _, t := range batch {
		if k := (instanceKey{t.Project, t.Instance}); !seen[k] {
			seen[k] = true
			projects, ids = append(projects, t.Project), append(ids, t.Instance)
		}
	}
	clear(p.homes)
	rows, err := p.Query(ctx, `SELECT i.project, i.id, i.scope, i.grp, i.project_key, i.engine FROM unnest($1::text[], $2::text[]) AS k(project, id)
		JOIN instances i ON i.project = k.project AND i.id = k.id`, projects, ids)
	if err != nil {
		return err
	}
	var k instanceKey
	var h home
	_, err = pgx.ForEachRow(rows, []any{&k.project, &k.id, &h.scope, &h.grp, &h.project, &h.engine}, func() error {
		p.homes[k] = h
		return nil
	})
	return err
}

// keys names the tasks of a batch whose instances are there.
func (p *putting) keys(batch []*errand.Task) []taskKey {
	keys := []taskKey{}
	for _, t := range batch {
		if h, ok := p.homes[instanceKey{t.Project, t.Instance}]; ok {
			keys = append(keys, taskKey{h.project, t.ID})
		}
	}
	return keys
}

// chunk reads the old records of some tasks, has it decided about each, and
// writes what came of that.
func (p *putting) chunk(ctx context.Context, batch []*errand.Task) error {
	keys := p.keys(batch)
	projects, ids := columns(keys)
	rows, err := p.Query(ctx, tasksByKey, projects, ids)
	if err != nil {
		return err
	}
	old := make(map[taskKey]*record)
	if err := readRecords(rows, func(r *record) { old[r.key()] = r }); err != nil {
		return err
	}
	now := make(map[taskKey]*record) // what was decided
	for _, t := range batch {
		h, ok := p.homes[instanceKey{t.Project, t.Instance}]
		if !ok {
			return noInstance(t.Instance)
		}
		if err := p.put(h, t, old, now); err != nil {
			return err
		}
	}
	return p.write(ctx, keys, old, now)
}

// put has it decided about one task, beside what was decided before.
func (p *putting) put(h home, t *errand.Task, old, now map[taskKey]*record) error {
	t.Engine = h.engine
	k := taskKey{h.project, t.ID}
	was := now[k]
	if was == nil {
		was = old[k]
	}
	var before *errand.Task
	if was != nil {
		shown := asBefore(&was.Task)
		before = &shown
	}
	event, err := p.decide(before, t)
	if err != nil || event == nil {
		return err
	}
	if was != nil {
		p.count(was.place, micro(was.CreatedAt), -1)
	}
	r := &record{Task: *t, place: h.place}
	if r.JobID == "" {
		r.JobID = r.ID
	}
	p.count(h.place, micro(t.CreatedAt), 1)
	now[k] = r
	p.append(event)
	return nil
}

// write has the records of now in place of the old ones.
func (p *putting) write(ctx context.Context, keys []taskKey, old, now map[taskKey]*record) error {
	var gone goneRows
	var bare goneRows // of which all but the record stays
	var added taskRows
	for k, r := range now {
		if err := added.add(r.place, &r.Task); err != nil {
			return err
		}
		was := old[k]
		switch {
		case was == nil:
		case was.Run == nil && was.scope == r.scope && was.CreatedAt.Equal(r.CreatedAt):
			bare.add(was.place, was.ID, micro(was.CreatedAt))
		default:
			gone.add(was.place, was.ID, micro(was.CreatedAt))
			if was.live {
				c := candidate{taskKey: k, scope: was.scope, lane: was.Run.Lane}
				if !p.locked[c.lock()] {
					return errMoved
				}
				p.lanes[laneKey{c.scope, c.lane}] = true
			}
		}
	}
	if added.len() == 0 {
		return nil
	}
	if err := p.removeForgotten(ctx, keys); err != nil {
		return err
	}
	b := &pgx.Batch{}
	if len(bare.keys) > 0 {
		_, ids := columns(bare.keys)
		b.Queue(removeTasks, bare.scope, bare.createdAt, ids)
	}
	gone.queue(b)
	b.Queue(insertTasks, added.args()...)
	return p.SendBatch(ctx, b).Close()
}
