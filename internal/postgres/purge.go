package postgres

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

var _ tasks.History = (*Store)(nil)

// purgeLogs is how many bytes of logs one transaction removes, about.
const purgeLogs = 4 << 20

// What is found by age: tasks of the engines of a project, its logs by the ids
// of their tasks, its events by their numbers. The rows that a purge must leave
// are returned too, so that LIMIT bounds what is read.
const (
	ended   = `t.status IN ('succeeded', 'failed', 'cancelled')`
	logSize = `coalesce((SELECT l.at + length(l.text) FROM task_log l WHERE l.project_key = t.project_key AND l.id = t.id ORDER BY l.at DESC LIMIT 1), 0)`

	tasksByAge = `SELECT k.* FROM scopes g CROSS JOIN LATERAL (
			SELECT t.created_at, t.id, t.scope, t.grp, t.project_key, i.scope IS NOT NULL AND ` + ended + ` AS goes, ` + logSize + ` AS size,
				CASE WHEN $7 THEN (SELECT count(*) FROM events e WHERE e.task = t.id AND e.project = $1) ELSE 0 END AS events
			FROM tasks t LEFT JOIN instances i ON i.scope = t.scope
			WHERE t.grp = g.id AND (t.created_at, t.id) > ($2, $3) AND (t.created_at, t.id) < ($4, $5)
			ORDER BY t.created_at, t.id LIMIT $6) k
		WHERE g.project = $1 AND g.instance = '' AND g.engine <> '' ORDER BY k.created_at, k.id LIMIT $6`

	// From log to log, whatever their lengths.
	logsByAge = `WITH RECURSIVE logs AS (
			(SELECT id, 1 AS n FROM task_log WHERE project_key = $1 AND id > $2 AND id < $3 ORDER BY id, at LIMIT 1)
			UNION ALL SELECT (SELECT l.id FROM task_log l WHERE l.project_key = $1 AND l.id > logs.id AND l.id < $3 ORDER BY l.id, l.at LIMIT 1), n + 1
			FROM logs WHERE logs.id IS NOT NULL AND n < $4)
		SELECT logs.id, coalesce(t.created_at, 0), t.id IS NOT NULL AND i.scope IS NOT NULL AND ` + ended + `, coalesce(` + logSize + `, 0)
		FROM logs LEFT JOIN tasks t ON t.project_key = $1 AND t.id = logs.id LEFT JOIN instances i ON i.scope = t.scope
		WHERE logs.id IS NOT NULL ORDER BY logs.n`

	eventsByAge = `SELECT e.seq, e.at, EXISTS (` + taskOfEvent + `$1 AND t.id = e.task)
		FROM events e WHERE e.project = $2 AND e.seq > $3 ORDER BY e.seq LIMIT $4`
	taskOfEvent = `SELECT 1 FROM tasks t JOIN instances i ON i.scope = t.scope WHERE t.project_key = `
)

// mark is a place in the order of age.
type mark struct {
	at int64
	id string
}

func (m mark) compare(o mark) int { return cmp.Or(cmp.Compare(m.at, o.at), cmp.Compare(m.id, o.id)) }

// pastCursor is where a call of Purge ended: what it was about to remove, and the
// place among those.
type pastCursor struct {
	what byte // 't'asks, 'l'ogs or 'e'vents
	mark      // of tasks; the id also of logs, at also the number of events
}

func (c pastCursor) String() string { return fmt.Sprintf("%c/%d/%s", c.what, c.at, c.id) }

func parseCursor(text string) (pastCursor, error) {
	c := pastCursor{'t', mark{math.MinInt64, ""}}
	if text == "" {
		return c, nil
	}
	what, rest, _ := strings.Cut(text, "/")
	at, id, ok := strings.Cut(rest, "/")
	_, err := fmt.Sscanf(at, "%d", &c.at)
	if !ok || err != nil || len(what) != 1 || !strings.Contains("tle", what) || id != "" && !errand.ValidID(id) {
		return c, errand.Errorf(errand.Invalid, "after", "%.64q is not where a purge ended", text)
	}
	c.what, c.id = what[0], id
	return c, nil
}

// past is what one call of Purge removes: something of one sort.
type past struct {
	project string
	key     int64
	tasks   goneRows
	logs    []string // ids of tasks
	events  []int64
	tasks.Purged
}

func (p *past) empty() bool { return len(p.tasks.keys)+len(p.logs)+len(p.events) == 0 }

func (p *past) countLog(size int64) {
	if size > 0 {
		p.Logs++
		p.LogBytes += size
	}
}

// Purge implements tasks.History. What goes is looked up while others write; the
// transaction removes what is still as it was found.
func (s *Store) Purge(ctx context.Context, p tasks.Purge) (tasks.Purged, error) {
	from, err := parseCursor(p.After)
	if err != nil {
		return tasks.Purged{}, err
	}
	until, err := s.oldEnough(ctx, p)
	if err != nil {
		return tasks.Purged{}, err
	}
	var found *past
	err = s.snapshot(ctx, func(ctx context.Context, t pgx.Tx) (err error) {
		found, err = findPast(ctx, t, p, from, until)
		return err
	})
	if err != nil || p.DryRun || found.empty() {
		if err != nil {
			return tasks.Purged{}, err
		}
		return found.Purged, nil
	}
	var done tasks.Purged
	err = s.transact(ctx, func(ctx context.Context, t *tx) error {
		done = tasks.Purged{More: found.More, Next: found.Next}
		return t.purge(ctx, found, &done)
	})
	if err != nil {
		return tasks.Purged{}, err
	}
	return done, nil
}

// oldEnough returns the mark before which finished tasks go, by age or count.
func (s *Store) oldEnough(ctx context.Context, p tasks.Purge) (mark, error) {
	byAge := mark{stored.FirstMicro(p.Before), ""}
	if p.Keep < 1 {
		return byAge, nil
	}
	kept, err := s.List(ctx, errand.Filter{Project: p.Project, Offset: p.Keep - 1, Limit: 1})
	if err != nil || len(kept.Tasks) == 0 {
		return byAge, err
	}
	byCount := mark{micro(kept.Tasks[0].CreatedAt), kept.Tasks[0].ID} // the last one that is kept
	if byAge.compare(byCount) > 0 {
		return byAge, nil
	}
	return byCount, nil
}

// findPast finds what p removes next, from the cursor on. Of tasks, logs and
// events it looks at the next sort as soon as one has nothing left.
func findPast(ctx context.Context, t pgx.Tx, p tasks.Purge, from pastCursor, until mark) (*past, error) {
	found := &past{project: p.Project}
	err := t.QueryRow(ctx, `SELECT coalesce((SELECT id FROM scopes WHERE project = $1 AND instance = '' AND engine = ''), 0)`, p.Project).Scan(&found.key)
	if err != nil || found.key == 0 {
		return found, err
	}
	for {
		var more bool
		switch from.what {
		case 't':
			more, err = found.findTasks(ctx, t, p, &from, until)
		case 'l':
			more, err = found.findLogs(ctx, t, p, &from, until)
		case 'e':
			more, err = found.findEvents(ctx, t, p, &from)
		}
		switch {
		case err != nil:
			return nil, err
		case !more && from.what == 'e':
			return found, nil
		case !more && from.what == 't':
			from = pastCursor{what: 'l'}
		case !more:
			from = pastCursor{what: 'e'}
		}
		if more || !found.empty() {
			found.More, found.Next = true, from.String()
			return found, nil
		}
	}
}

// findTasks finds tasks, oldest first of all engines.
func (p *past) findTasks(ctx context.Context, t pgx.Tx, want tasks.Purge, from *pastCursor, until mark) (more bool, err error) {
	if until.at == math.MinInt64 {
		return false, nil
	}
	rows, err := t.Query(ctx, tasksByAge, want.Project, from.at, from.id, until.at, until.id, want.Limit, want.DryRun)
	if err != nil {
		return false, err
	}
	var m mark
	var at place
	var goes, full bool
	var size, events, bytes int64
	read := 0
	_, err = pgx.ForEachRow(rows, []any{&m.at, &m.id, &at.scope, &at.grp, &at.project, &goes, &size, &events}, func() error {
		read++
		if full {
			return nil
		}
		from.mark = m
		if !goes {
			return nil
		}
		p.tasks.add(at, m.id, m.at)
		if want.DryRun {
			p.Tasks++
			p.Events += events
			p.countLog(size)
			return nil
		}
		bytes += size
		full = bytes > purgeLogs
		return nil
	})
	return full || read == want.Limit, err
}

// idSlack is how much later than its task's creation the time in an id may be.
const idSlack = time.Minute

// findLogs finds logs of tasks that stay. Tasks that ran here, and no others
// have logs, have ids that begin with the time, so that the logs too are found
// by age.
func (p *past) findLogs(ctx context.Context, t pgx.Tx, want tasks.Purge, from *pastCursor, until mark) (more bool, err error) {
	if want.LogsBefore.IsZero() {
		return false, nil
	}
	before := mark{stored.FirstMicro(want.LogsBefore), ""}
	rows, err := t.Query(ctx, logsByAge, p.key, from.id, errand.NewID(want.LogsBefore.Add(idSlack)), want.Limit)
	if err != nil {
		return false, err
	}
	var m mark
	var over, full bool
	var size, bytes int64
	read := 0
	_, err = pgx.ForEachRow(rows, []any{&m.id, &m.at, &over, &size}, func() error {
		read++
		if full {
			return nil
		}
		from.id = m.id
		if !over || m.compare(before) >= 0 || m.compare(until) < 0 {
			return nil
		}
		p.logs = append(p.logs, m.id)
		if want.DryRun {
			p.countLog(size)
			return nil
		}
		bytes += size
		full = bytes > purgeLogs
		return nil
	})
	return full || read == want.Limit, err
}

// eventsEach is how many events are looked at for each thing that a call may
// remove: they are small.
const eventsEach = 4

// findEvents finds events of tasks that are gone, up to the first event that is
// not old enough.
func (p *past) findEvents(ctx context.Context, t pgx.Tx, want tasks.Purge, from *pastCursor) (more bool, err error) {
	if want.Before.IsZero() {
		return false, nil
	}
	if from.id != "" || from.at < 0 {
		from.mark = mark{}
	}
	rows, err := t.Query(ctx, eventsByAge, p.key, want.Project, from.at, eventsEach*want.Limit)
	if err != nil {
		return false, err
	}
	before := stored.FirstMicro(want.Before)
	var seq, at int64
	var needed, end bool
	read := 0
	_, err = pgx.ForEachRow(rows, []any{&seq, &at, &needed}, func() error {
		if end = end || at >= before; end {
			return nil
		}
		read++
		from.at = seq
		if needed {
			return nil
		}
		p.events = append(p.events, seq)
		if want.DryRun {
			p.Events++
		}
		return nil
	})
	return !end && read == eventsEach*want.Limit, err
}

// purge removes what was found, except what has changed since, and counts it. It
// keeps out who changes records of the project: imports, deletions, others who
// purge.
func (t *tx) purge(ctx context.Context, found *past, done *tasks.Purged) error {
	if err := t.lock(ctx, nil, []int64{recordsLock(found.key)}); err != nil {
		return err
	}
	if len(found.events) > 0 {
		tag, err := t.Exec(ctx, `DELETE FROM events e WHERE e.seq = ANY($1::bigint[]) AND NOT EXISTS (`+taskOfEvent+`$2 AND t.id = e.task)`, found.events, found.key)
		done.Events += tag.RowsAffected()
		return err
	}
	if len(found.logs) > 0 {
		b := &pgx.Batch{}
		queueLogCount(b, found.key, found.logs, done)
		b.Queue(`DELETE FROM task_log x USING unnest($2::text[]) AS k(id) WHERE x.project_key = $1 AND x.id = k.id`, found.key, found.logs)
		return t.SendBatch(ctx, b).Close()
	}
	return t.purgeTasks(ctx, found, done)
}

func (t *tx) purgeTasks(ctx context.Context, found *past, done *tasks.Purged) error {
	_, ids := columns(found.tasks.keys)
	rows, err := t.Query(ctx, `DELETE FROM tasks t USING unnest($1::bigint[], $2::bigint[], $3::text[]) AS k(scope, created_at, id)
		WHERE t.scope = k.scope AND t.created_at = k.created_at AND t.id = k.id AND `+ended+`
		RETURNING t.scope, t.grp, t.project_key, t.id, t.created_at`, found.tasks.scope, found.tasks.createdAt, ids)
	if err != nil {
		return err
	}
	var gone goneRows
	var at place
	var id string
	var createdAt int64
	if _, err := pgx.ForEachRow(rows, []any{&at.scope, &at.grp, &at.project, &id, &createdAt}, func() error {
		t.count(at, createdAt, -1)
		gone.add(at, id, createdAt)
		return nil
	}); err != nil || len(gone.keys) == 0 {
		return err
	}
	done.Tasks += int64(len(gone.keys))
	_, ids = columns(gone.keys)
	b := &pgx.Batch{}
	queueLogCount(b, found.key, ids, done)
	gone.queue(b)
	b.Queue(`DELETE FROM events e USING unnest($1::text[]) AS k(id) WHERE e.task = k.id AND e.project = $2 RETURNING e.seq`, ids, found.project).
		Query(func(rows pgx.Rows) error {
			for rows.Next() {
				done.Events++
			}
			return rows.Err()
		})
	return t.SendBatch(ctx, b).Close()
}

// queueLogCount counts the logs that there are of some tasks.
func queueLogCount(b *pgx.Batch, project int64, ids []string, done *tasks.Purged) {
	b.Queue(`SELECT count(*), coalesce(sum(size), 0)::bigint FROM (SELECT (SELECT l.at + length(l.text) FROM task_log l
			WHERE l.project_key = $1 AND l.id = k.id ORDER BY l.at DESC LIMIT 1) AS size FROM unnest($2::text[]) AS k(id)) s WHERE size > 0`, project, ids).
		QueryRow(func(row pgx.Row) error {
			var n, bytes int64
			err := row.Scan(&n, &bytes)
			done.Logs += n
			done.LogBytes += bytes
			return err
		})
}
