package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

// writes is what a group has decided, set by set.
type writes struct {
	added   taskRows
	live    liveRows  // new
	moved   liveRows  // with another status, or another time to run
	renewed liveRows  // with another due time alone
	left    []taskKey // no longer unfinished
	marked  []marked  // heads of lanes, as they were read

	rewritten rewrittenRows
	runs      textRows
	sealed    bytesRows
	unsealed  []taskKey
	gone      goneRows
	used      keyRows
	shown     []submitKey // used before, and told so
	planned   plannedRows
	took      map[operationKey][]int64 // durations
	pieces    logRows
}

// marked is a task that is marked as the head of its lane.
type marked struct {
	laneKey
	taskKey
}

type liveRows struct {
	project, scope, createdAt, runAt, due []int64
	id, engine, operation, lane, run      []string
	running, ready                        []int64
}

func (r *liveRows) add(p place, t *errand.Task, run string) {
	r.project, r.scope, r.createdAt = append(r.project, p.project), append(r.scope, p.scope), append(r.createdAt, micro(t.CreatedAt))
	r.runAt, r.due = append(r.runAt, micro(t.Run.RunAt)), append(r.due, micro(t.Run.Due))
	r.id, r.engine, r.operation = append(r.id, t.ID), append(r.engine, string(t.Engine)), append(r.operation, t.Operation)
	r.lane, r.run = append(r.lane, t.Run.Lane), append(r.run, run)
	running, ready := int64(0), int64(0)
	switch {
	case t.Status == errand.Running:
		running = 1
	case t.Run.Lane == "":
		ready = 1 // in a lane that is decided at last
	}
	r.running, r.ready = append(r.running, running), append(r.ready, ready)
}

type rewrittenRows struct {
	scope, createdAt, updatedAt []int64
	id, status, code, reason    []string
	percent, remaining          []*int64
	steps                       []*string
}

type textRows struct {
	keys []taskKey
	text []string
}

type bytesRows struct {
	keys []taskKey
	data [][]byte
}

type goneRows struct {
	keys             []taskKey
	scope, createdAt []int64
}

type keyRows struct {
	project, expires  []int64
	key, task, digest []string
	now               int64 // the latest of who uses them
}

type plannedRows struct {
	scope, createdAt []int64
	id               []string
}

type operationKey struct {
	project           int64
	engine, operation string
}

type logRows struct {
	keys []taskKey
	at   []int64
	text [][]byte
}

// idle reports whether nothing is to be written.
func (f *flow) idle() bool {
	return len(f.events)+len(f.counts)+f.added.len()+len(f.live.id)+len(f.moved.id)+len(f.renewed.id)+len(f.left)+
		len(f.rewritten.id)+len(f.gone.keys)+len(f.pieces.keys)+len(f.shown) == 0
}

const byKey = ` FROM unnest($1::bigint[], $2::text[]) AS k(project_key, id) WHERE x.project_key = k.project_key AND x.id = k.id`

// queueWrites queues all that was decided but for what waits for the lock of the
// commit. What leaves comes before what takes its place.
func (f *flow) queueWrites(b *pgx.Batch) {
	unready, ready := f.settle()
	f.queueGone(b)
	if len(unready) > 0 {
		projects, ids := columns(unready)
		b.Queue(`UPDATE live x SET ready = 0`+byKey, projects, ids)
	}
	if len(f.left) > 0 {
		projects, ids := columns(f.left)
		b.Queue(`DELETE FROM live x USING unnest($1::bigint[], $2::text[]) AS k(project_key, id) WHERE x.project_key = k.project_key AND x.id = k.id`, projects, ids)
	}
	if r := &f.moved; len(r.id) > 0 {
		b.Queue(`UPDATE live x SET running = k.running, ready = k.ready, run_at = k.run_at, due = k.due, run = k.run
			FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[])
				AS k(project_key, id, running, ready, run_at, due, run)
			WHERE x.project_key = k.project_key AND x.id = k.id`, r.project, r.id, r.running, r.ready, r.runAt, r.due, r.run)
	}
	if r := &f.renewed; len(r.id) > 0 {
		b.Queue(`UPDATE live x SET due = k.due, run = k.run FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[]) AS k(project_key, id, due, run)
			WHERE x.project_key = k.project_key AND x.id = k.id`, r.project, r.id, r.due, r.run)
	}
	if len(ready) > 0 {
		projects, ids := columns(ready)
		b.Queue(`UPDATE live x SET ready = 1`+byKey, projects, ids)
	}
	if f.added.len() > 0 {
		b.Queue(insertTasks, f.added.args()...)
	}
	if r := &f.live; len(r.id) > 0 {
		b.Queue(`INSERT INTO live (project_key, id, scope, created_at, engine, operation, lane, running, ready, run_at, due, run)
			SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
				$10::bigint[], $11::bigint[], $12::text[])`,
			r.project, r.id, r.scope, r.createdAt, r.engine, r.operation, r.lane, r.running, r.ready, r.runAt, r.due, r.run)
	}
	f.queueRecords(b)
	f.queueRuns(b)
	f.queueLogPieces(b)
}

// settle marks the heads of the lanes: in the rows that are written anyway, and
// those of others that become one or cease to be.
func (f *flow) settle() (unready, ready []taskKey) {
	heads := make(map[taskKey]bool, len(f.lanes))
	for _, l := range f.lanes {
		if k, ok := l.head(); ok {
			heads[k] = true
		}
	}
	written := make(map[taskKey]bool)
	for _, rows := range [...]*liveRows{&f.live, &f.moved} {
		for i, id := range rows.id {
			k := taskKey{rows.project[i], id}
			written[k] = true
			if rows.lane[i] != "" && heads[k] {
				rows.ready[i] = 1
			}
		}
	}
	gone := make(map[taskKey]bool)
	for _, keys := range [...][]taskKey{f.left, f.gone.keys} {
		for _, k := range keys {
			gone[k] = true
		}
	}
	was := make(map[taskKey]bool, len(f.marked))
	for _, m := range f.marked {
		was[m.taskKey] = true
		if heads[m.taskKey] || gone[m.taskKey] {
			continue
		}
		// What is written with the next head must cease to be one before that.
		l := f.lanes[m.laneKey]
		if l == nil {
			continue // its lock was not obtained
		}
		if head, ok := l.head(); !written[m.taskKey] || ok && written[head] {
			unready = append(unready, m.taskKey)
		}
	}
	for k := range heads {
		if !was[k] && !written[k] {
			ready = append(ready, k)
		}
	}
	return unready, ready
}

// queueGone queues what takes whole tasks away.
func (f *flow) queueGone(b *pgx.Batch) {
	if len(f.unsealed) > 0 {
		projects, ids := columns(f.unsealed)
		b.Queue(`DELETE FROM secrets x USING unnest($1::bigint[], $2::text[]) AS k(project_key, id) WHERE x.project_key = k.project_key AND x.id = k.id`, projects, ids)
	}
	f.gone.queue(b)
}

func (r *goneRows) add(p place, id string, createdAt int64) {
	r.keys, r.scope, r.createdAt = append(r.keys, taskKey{p.project, id}), append(r.scope, p.scope), append(r.createdAt, createdAt)
}

func (r *goneRows) queue(b *pgx.Batch) {
	if len(r.keys) == 0 {
		return
	}
	projects, ids := columns(r.keys)
	for _, query := range remainders {
		b.Queue(query, projects, ids)
	}
	for _, query := range [...]string{removeScheduled, removeTasks} {
		b.Queue(query, r.scope, r.createdAt, ids)
	}
}

// What is kept of tasks beside their records, and those.
var remainders = [...]string{
	`DELETE FROM live x USING unnest($1::bigint[], $2::text[]) AS k(project_key, id) WHERE x.project_key = k.project_key AND x.id = k.id`,
	`DELETE FROM secrets x USING unnest($1::bigint[], $2::text[]) AS k(project_key, id) WHERE x.project_key = k.project_key AND x.id = k.id`,
	`DELETE FROM runs x USING unnest($1::bigint[], $2::text[]) AS k(project_key, id) WHERE x.project_key = k.project_key AND x.id = k.id`,
	`DELETE FROM task_log x USING unnest($1::bigint[], $2::text[]) AS k(project_key, id) WHERE x.project_key = k.project_key AND x.id = k.id`,
}

const (
	removeScheduled = `DELETE FROM scheduled x USING unnest($1::bigint[], $2::bigint[], $3::text[]) AS k(scope, created_at, id)
		WHERE x.scope = k.scope AND x.created_at = k.created_at AND x.id = k.id`
	removeTasks = `DELETE FROM tasks x USING unnest($1::bigint[], $2::bigint[], $3::text[]) AS k(scope, created_at, id)
		WHERE x.scope = k.scope AND x.created_at = k.created_at AND x.id = k.id`
)

// expiredKeys is how many idempotency keys that have expired are taken away for
// each new one at the most: more than are added.
const expiredKeys = 4

// queueRecords queues what listings show, and what belongs to new tasks.
func (f *flow) queueRecords(b *pgx.Batch) {
	if r := &f.rewritten; len(r.id) > 0 {
		b.Queue(`UPDATE tasks x SET status = k.status, error_code = k.error_code, reason = k.reason, percent = k.percent, remaining = k.remaining,
				updated_at = k.updated_at, steps = k.steps
			FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[])
				AS k(scope, created_at, id, status, error_code, reason, percent, remaining, updated_at, steps)
			WHERE x.scope = k.scope AND x.created_at = k.created_at AND x.id = k.id`,
			r.scope, r.createdAt, r.id, r.status, r.code, r.reason, r.percent, r.remaining, r.updatedAt, r.steps)
	}
	if r := &f.planned; len(r.id) > 0 {
		b.Queue(`INSERT INTO scheduled (scope, created_at, id) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])`, r.scope, r.createdAt, r.id)
	}
	if len(f.shown) > 0 {
		// The standby may lack what the first caller was not told of. Who is told
		// now waits for it: a COMMIT is waited for with all that came before, but
		// only where something was written.
		projects, names := keyColumns(f.shown)
		b.Queue(`UPDATE submit_keys x SET expires = x.expires FROM unnest($1::bigint[], $2::text[]) AS k(project_key, key)
			WHERE x.project_key = k.project_key AND x.key = k.key`, projects, names)
	}
	if r := &f.used; len(r.key) > 0 {
		// Those that others take away at the moment are passed over.
		b.Queue(`DELETE FROM submit_keys x USING (SELECT project_key, key FROM submit_keys WHERE expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED) k
			WHERE x.project_key = k.project_key AND x.key = k.key`, r.now, expiredKeys*len(r.key))
		b.Queue(`INSERT INTO submit_keys (project_key, key, task, digest, expires) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[])
			ON CONFLICT (project_key, key) DO UPDATE SET task = excluded.task, digest = excluded.digest, expires = excluded.expires`,
			r.project, r.key, r.task, r.digest, r.expires)
	}
}

func (f *flow) queueRuns(b *pgx.Batch) {
	if r := &f.runs; len(r.keys) > 0 {
		projects, ids := columns(r.keys)
		b.Queue(`INSERT INTO runs (project_key, id, run) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])
			ON CONFLICT (project_key, id) DO UPDATE SET run = excluded.run`, projects, ids, r.text)
	}
	if r := &f.sealed; len(r.keys) > 0 {
		projects, ids := columns(r.keys)
		b.Queue(`INSERT INTO secrets (project_key, id, sealed) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])
			ON CONFLICT (project_key, id) DO UPDATE SET sealed = excluded.sealed`, projects, ids, r.data)
	}
}

func (f *flow) queueLogPieces(b *pgx.Batch) {
	if r := &f.pieces; len(r.keys) > 0 {
		projects, ids := columns(r.keys)
		b.Queue(`INSERT INTO task_log (project_key, id, at, text) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])
			ON CONFLICT (project_key, id, at) DO UPDATE SET text = excluded.text`, projects, ids, r.at, r.text)
	}
}

func (r *rewrittenRows) add(rec *record, percent, remaining *int64, steps *string) {
	r.scope, r.createdAt, r.updatedAt = append(r.scope, rec.scope), append(r.createdAt, micro(rec.CreatedAt)), append(r.updatedAt, micro(rec.UpdatedAt))
	r.id, r.status = append(r.id, rec.ID), append(r.status, string(rec.Status))
	r.code, r.reason = append(r.code, rec.ErrorCode), append(r.reason, rec.Reason)
	r.percent, r.remaining, r.steps = append(r.percent, percent), append(r.remaining, remaining), append(r.steps, steps)
}
