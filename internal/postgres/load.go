package postgres

import (
	"cmp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

// taskKey names a task by the number of its project, laneKey a lane by that of
// its instance.
type (
	taskKey struct {
		project int64
		id      string
	}
	laneKey struct {
		scope int64
		lane  string
	}
	submitKey struct {
		project int64
		key     string
	}
)

// needs says what a group must read before its callers decide.
type needs struct {
	instances []int64
	tasks     []taskKey
	lanes     []laneKey
	touched   []int64 // how many tasks of the lane may change
	first     []bool  // the lane's first task and its length are asked for
	keys      []submitKey
	logs      []taskKey
}

func (n *needs) lane(k laneKey, touched int, first bool) {
	n.lanes, n.touched, n.first = append(n.lanes, k), append(n.touched, int64(touched)), append(n.first, first)
}

// laneRow is an unfinished task of a lane.
type laneRow struct {
	taskKey
	running, ready bool
	runAt          int64
}

func (a laneRow) compare(b laneRow) int {
	switch {
	case a.running != b.running && a.running:
		return -1
	case a.running != b.running:
		return 1
	}
	return cmp.Or(cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.id, b.id))
}

// lane is the beginning of a lane: at least one more task than may change, if
// there are as many, so that its head is known whatever they become.
type lane struct {
	length int
	rows   []laneRow
}

// set puts a task of the lane where it belongs now; without, it takes it out.
func (l *lane) set(r laneRow) {
	l.drop(r.taskKey)
	i, _ := slices.BinarySearchFunc(l.rows, r, laneRow.compare)
	l.rows = slices.Insert(l.rows, i, r)
}

func (l *lane) drop(k taskKey) {
	l.rows = slices.DeleteFunc(l.rows, func(r laneRow) bool { return r.taskKey == k })
}

// head is the task that may be taken next, if there is one.
func (l *lane) head() (taskKey, bool) {
	if len(l.rows) == 0 || l.rows[0].running {
		return taskKey{}, false
	}
	return l.rows[0].taskKey, true
}

// runs reports whether another task than k runs in the lane.
func (l *lane) runs(k taskKey) bool {
	return slices.ContainsFunc(l.rows, func(r laneRow) bool { return r.running && r.taskKey != k })
}

// usedKey is what an idempotency key was used for.
type usedKey struct {
	task, digest string
	expires      int64
}

// logEnd is the end of a task's log.
type logEnd struct {
	place
	live bool
	lane string
	at   int64  // of the last piece
	size int64  // of the last piece
	text []byte // of the last piece, if that is short
}

// flow is the transaction of a group: what was read, and what is to be written.
type flow struct {
	tx
	instances map[int64]bool
	tasks     map[taskKey]*record
	lanes     map[laneKey]*lane
	keys      map[submitKey]usedKey
	logs      map[taskKey]*logEnd
	got       map[int64]bool // the locks that were tried and obtained
	writes
}

func newFlow(c *pgx.Conn) *flow {
	return &flow{
		tx: tx{Conn: c}, instances: make(map[int64]bool), tasks: make(map[taskKey]*record), lanes: make(map[laneKey]*lane),
		keys: make(map[submitKey]usedKey), logs: make(map[taskKey]*logEnd), got: make(map[int64]bool),
	}
}

// What is read for a group, set by set. A lane is read as far as its head can
// depend on.
const (
	tryLocks  = `SELECT k, pg_try_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k`
	areThere  = `SELECT scope FROM instances WHERE scope = ANY($1::bigint[])`
	laneHeads = `SELECT k.scope, k.lane, CASE WHEN k.first THEN (SELECT count(*) FROM live c WHERE c.scope = k.scope AND c.lane = k.lane) ELSE 0 END,
			f.project_key, f.id, f.running, f.ready, f.run_at
		FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bool[]) AS k(scope, lane, touched, first)
		CROSS JOIN LATERAL (SELECT project_key, id, running, ready, run_at FROM live WHERE live.scope = k.scope AND live.lane = k.lane
			ORDER BY running DESC, run_at, id LIMIT k.touched + 1) f`
	laneFirsts = `SELECT ` + wholeColumns + ` FROM unnest($1::bigint[], $2::text[]) AS k(scope, lane)
		CROSS JOIN LATERAL (SELECT project_key, id FROM live WHERE live.scope = k.scope AND live.lane = k.lane
			ORDER BY running DESC, run_at, id LIMIT 1) f
		JOIN tasks t ON t.project_key = f.project_key AND t.id = f.id` + wholeJoins
	usedKeys = `SELECT s.project_key, s.key, s.task, s.digest, s.expires FROM unnest($1::bigint[], $2::text[]) AS k(project_key, key)
		JOIN submit_keys s ON s.project_key = k.project_key AND s.key = k.key`
	logEnds = `SELECT t.project_key, t.id, t.scope, t.grp, l.id IS NOT NULL, coalesce(l.lane, ''), coalesce(p.at, 0), coalesce(length(p.text), 0),
			CASE WHEN length(p.text) < $3 THEN p.text END
		FROM unnest($1::bigint[], $2::text[]) AS k(project_key, id)
		JOIN tasks t ON t.project_key = k.project_key AND t.id = k.id
		JOIN instances i ON i.scope = t.scope
		LEFT JOIN live l ON l.project_key = t.project_key AND l.id = t.id
		LEFT JOIN LATERAL (SELECT at, text FROM task_log WHERE task_log.project_key = t.project_key AND task_log.id = t.id ORDER BY at DESC LIMIT 1) p ON true`
)

func (f *flow) queueTry(b *pgx.Batch, keys []int64) {
	if len(keys) == 0 {
		return
	}
	b.Queue(tryLocks, keys).Query(func(rows pgx.Rows) error {
		var k int64
		var ok bool
		_, err := pgx.ForEachRow(rows, []any{&k, &ok}, func() error {
			f.got[k] = ok
			return nil
		})
		return err
	})
}

func (f *flow) queueLoads(b *pgx.Batch, n *needs) {
	if len(n.instances) > 0 {
		var scope int64
		b.Queue(areThere, n.instances).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&scope}, func() error {
				f.instances[scope] = true
				return nil
			})
			return err
		})
	}
	keep := func(rows pgx.Rows) error { return readRecords(rows, func(r *record) { f.tasks[r.key()] = r }) }
	if len(n.tasks) > 0 {
		projects, ids := columns(n.tasks)
		b.Queue(tasksByKey, projects, ids).Query(keep)
	}
	f.queueLanes(b, n, keep)
	if len(n.keys) > 0 {
		f.queueKeys(b, n.keys)
	}
	if len(n.logs) > 0 {
		f.queueLogs(b, n.logs)
	}
}

func (f *flow) queueLanes(b *pgx.Batch, n *needs, keep func(pgx.Rows) error) {
	if len(n.lanes) == 0 {
		return
	}
	var scopes, firstScopes []int64
	var names, firstNames []string
	for i, k := range n.lanes {
		f.lanes[k] = &lane{}
		scopes, names = append(scopes, k.scope), append(names, k.lane)
		if n.first[i] {
			firstScopes, firstNames = append(firstScopes, k.scope), append(firstNames, k.lane)
		}
	}
	b.Queue(laneHeads, scopes, names, n.touched, n.first).Query(func(rows pgx.Rows) error {
		var k laneKey
		var r laneRow
		var length, running, ready int64
		_, err := pgx.ForEachRow(rows, []any{&k.scope, &k.lane, &length, &r.project, &r.id, &running, &ready, &r.runAt}, func() error {
			l := f.lanes[k]
			r.running, r.ready = running == 1, ready == 1
			l.length, l.rows = int(length), append(l.rows, r)
			if r.ready {
				f.marked = append(f.marked, marked{k, r.taskKey})
			}
			return nil
		})
		for _, l := range f.lanes {
			slices.SortFunc(l.rows, laneRow.compare)
		}
		return err
	})
	if len(firstScopes) > 0 {
		b.Queue(laneFirsts, firstScopes, firstNames).Query(keep)
	}
}

func (f *flow) queueKeys(b *pgx.Batch, keys []submitKey) {
	projects, names := keyColumns(keys)
	b.Queue(usedKeys, projects, names).Query(func(rows pgx.Rows) error {
		var k submitKey
		var u usedKey
		_, err := pgx.ForEachRow(rows, []any{&k.project, &k.key, &u.task, &u.digest, &u.expires}, func() error {
			f.keys[k] = u
			return nil
		})
		return err
	})
}

func (f *flow) queueLogs(b *pgx.Batch, tasks []taskKey) {
	projects, ids := columns(tasks)
	b.Queue(logEnds, projects, ids, int64(shortPiece)).Query(func(rows pgx.Rows) error {
		var k taskKey
		var e logEnd
		_, err := pgx.ForEachRow(rows, []any{&k.project, &k.id, &e.scope, &e.grp, &e.live, &e.lane, &e.at, &e.size, &e.text}, func() error {
			end := e
			end.project = k.project
			end.text = slices.Clone(e.text)
			f.logs[k] = &end
			e.text = nil
			return nil
		})
		return err
	})
}

func (r *record) key() taskKey { return taskKey{r.project, r.ID} }

func (r *record) laneKey() laneKey { return laneKey{r.scope, r.Run.Lane} }

// row is where a task stands in its lane.
func (r *record) row() laneRow {
	return laneRow{taskKey: r.key(), running: r.Status == errand.Running, runAt: micro(r.Run.RunAt)}
}

// columns are keys as statements take them.
func columns(keys []taskKey) (projects []int64, ids []string) {
	for _, k := range keys {
		projects, ids = append(projects, k.project), append(ids, k.id)
	}
	return projects, ids
}

func keyColumns(keys []submitKey) (projects []int64, names []string) {
	for _, k := range keys {
		projects, names = append(projects, k.project), append(names, k.key)
	}
	return projects, names
}
