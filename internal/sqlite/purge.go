package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

var _ tasks.History = (*Store)(nil)

// purgeLogs is how many bytes of logs one transaction removes, about: their
// pages are all written.
const purgeLogs = 4 << 20

// What is found by age: tasks of a group, the logs of a project by the ids of
// their tasks, and the events of a project by their numbers. The rows that a
// purge must leave are returned too, so that LIMIT bounds what is read.
const (
	tasksByAge = `SELECT t.created_at, t.id, t.scope, t.grp, t.project_key, i.scope IS NOT NULL AND ` + ended + `
		FROM tasks t INDEXED BY tasks_by_group LEFT JOIN instances i ON i.scope = t.scope
		WHERE t.grp = ?1 AND (t.created_at, t.id) > (?2, ?3) AND (t.created_at, t.id) < (?4, ?5)
		ORDER BY t.created_at, t.id LIMIT ?6 + 0`
	nextLog     = `SELECT id FROM task_log WHERE project_key = ?1 AND id > ?2 AND id < ?3 ORDER BY id, at LIMIT 1`
	taskOfLog   = `SELECT t.created_at, ` + ended + ` FROM tasks t CROSS JOIN instances i ON i.scope = t.scope WHERE t.project_key = ?1 AND t.id = ?2`
	eventsByAge = `SELECT e.seq, e.at, EXISTS (` + taskOfEvent + `) FROM events e INDEXED BY events_by_project
		WHERE e.project = ?2 AND e.seq > ?3 ORDER BY e.seq LIMIT ?4 + 0`

	ended       = `t.status IN ('succeeded', 'failed', 'cancelled')`
	taskOfEvent = `SELECT 1 FROM tasks t CROSS JOIN instances i ON i.scope = t.scope WHERE t.project_key = ?1 AND t.id = e.task`

	eventsOfTask = `events INDEXED BY events_by_task WHERE task = ?1 AND project = ?2`
	countEvents  = `SELECT count(*) FROM ` + eventsOfTask
	dropEvents   = `DELETE FROM ` + eventsOfTask
	dropOrphan   = `DELETE FROM events AS e WHERE e.seq = ?2 AND NOT EXISTS (` + taskOfEvent + `)`
	hasEnded     = `SELECT ` + ended + ` FROM tasks t WHERE t.scope = ? AND t.created_at = ? AND t.id = ?`
	dropLog      = `DELETE FROM task_log WHERE project_key = ? AND id = ?`
	lastEvent    = `SELECT seq, at FROM events ORDER BY seq DESC LIMIT 1`

	standIn = `INSERT INTO events (seq, project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason)
		SELECT ?1, '', '', '', ?2, '', '', '', '', '', '', '' WHERE ?1 > (SELECT coalesce(max(seq), 0) FROM events)`
)

// mark is a place in the order of age.
type mark struct {
	at int64
	id string
}

func (m mark) compare(o mark) int { return cmp.Or(cmp.Compare(m.at, o.at), cmp.Compare(m.id, o.id)) }

// past is what one call of Purge removes: something of one sort.
type past struct {
	project string
	key     int64
	tasks   []oldTask
	logs    []string // ids of tasks
	events  []int64
	tasks.Purged
}

// oldTask is a task that goes.
type oldTask struct {
	mark
	place
}

func (p *past) empty() bool { return len(p.tasks)+len(p.logs)+len(p.events) == 0 }

// Purge implements tasks.History. What goes is looked up by a reader, while
// others write; the transaction only removes it.
func (s *Store) Purge(ctx context.Context, p tasks.Purge) (tasks.Purged, error) {
	from, err := parseCursor(p.After)
	if err != nil {
		return tasks.Purged{}, err
	}
	var found *past
	err = s.snapshot(ctx, func(c *conn) (err error) {
		found, err = c.past(p, from)
		return err
	})
	if err != nil {
		return tasks.Purged{}, err
	}
	if p.DryRun || found.empty() {
		return found.Purged, nil
	}
	var done tasks.Purged
	err = s.w.do(ctx, func(t *tx) error {
		done = tasks.Purged{More: found.More, Next: found.Next}
		return t.purge(found, &done)
	})
	if err != nil {
		return tasks.Purged{}, err
	}
	return done, nil
}

// cursor is where a call of Purge ended: what it was about to remove, and the
// place among those.
type cursor struct {
	what byte // 't'asks, 'l'ogs or 'e'vents
	mark      // of tasks; the id also of logs, at also the number of events
}

func (c cursor) String() string { return fmt.Sprintf("%c/%d/%s", c.what, c.at, c.id) }

func parseCursor(text string) (cursor, error) {
	c := cursor{'t', mark{math.MinInt64, ""}}
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

// past finds what p removes next, from the cursor on. Of tasks, logs and events
// it looks at the next sort as soon as one has nothing left.
func (c *conn) past(p tasks.Purge, from cursor) (*past, error) {
	found := &past{project: p.Project}
	var err error
	if found.key, err = c.projectKey(p.Project); err != nil || found.key == 0 {
		return found, err
	}
	until, err := c.oldEnough(p)
	if err != nil {
		return nil, err
	}
	for {
		var more bool
		switch from.what {
		case 't':
			more, err = c.pastTasks(p, &from, until, found)
		case 'l':
			more, err = c.pastLogs(p, &from, until, found)
		case 'e':
			more, err = c.pastEvents(p, &from, found)
		}
		switch {
		case err != nil:
			return nil, err
		case !more && from.what == 'e':
			return found, nil
		case !more && from.what == 't':
			from = cursor{what: 'l'}
		case !more:
			from = cursor{what: 'e'}
		}
		if more || !found.empty() {
			found.More, found.Next = true, from.String()
			return found, nil
		}
	}
}

// oldEnough returns the mark before which finished tasks go, by age or count.
func (c *conn) oldEnough(p tasks.Purge) (mark, error) {
	byAge := mark{stored.FirstMicro(p.Before), ""}
	if p.Keep < 1 {
		return byAge, nil
	}
	parts, err := c.groups(p.Project, "")
	if err != nil || len(parts) == 0 {
		return byAge, err
	}
	query := pageOfGroups
	if len(parts) == 1 {
		query = pageOfGroup
	}
	if parts, err = c.withForgotten(parts); err != nil {
		return byAge, err
	}
	kept, err := c.page(errand.Filter{Project: p.Project, Offset: p.Keep - 1, Limit: 1}, parts, query, errand.Task{})
	if err != nil || len(kept.Tasks) == 0 {
		return byAge, err
	}
	byCount := mark{micro(kept.Tasks[0].CreatedAt), kept.Tasks[0].ID} // the last one that is kept
	if byAge.compare(byCount) > 0 {
		return byAge, nil
	}
	return byCount, nil
}

// pastTasks finds tasks, oldest first of all engines.
func (c *conn) pastTasks(p tasks.Purge, from *cursor, until mark, found *past) (more bool, err error) {
	if until.at == math.MinInt64 {
		return false, nil
	}
	groups, err := c.groups(p.Project, "")
	if err != nil {
		return false, err
	}
	type row struct {
		oldTask
		goes bool
	}
	var rows []row
	for _, g := range groups {
		err := c.rows(tasksByAge, func(st *sqlite.Stmt) error {
			rows = append(rows, row{oldTask{
				mark{st.ColumnInt64(0), st.ColumnText(1)},
				place{st.ColumnInt64(2), st.ColumnInt64(3), st.ColumnInt64(4)},
			}, st.ColumnBool(5)})
			return nil
		}, g.scope, from.at, from.id, until.at, until.id, p.Limit)
		if err != nil {
			return false, err
		}
	}
	// What a group has beyond its limit is younger than what is left in here.
	slices.SortFunc(rows, func(a, b row) int { return a.compare(b.mark) })
	read := rows[:min(p.Limit, len(rows))]
	var bytes int64
	for i, r := range read {
		from.mark = r.mark
		if !r.goes {
			continue
		}
		size, err := c.logSize(r.project, r.id)
		if err == nil && p.DryRun {
			err = c.countTask(r.id, size, found)
		}
		if err != nil {
			return false, err
		}
		found.tasks = append(found.tasks, r.oldTask)
		if bytes += size; bytes > purgeLogs && !p.DryRun {
			return i < len(rows)-1 || len(read) == p.Limit, nil
		}
	}
	return len(read) == p.Limit, nil
}

// countTask counts a task that would go.
func (c *conn) countTask(id string, log int64, found *past) error {
	events, err := c.number(countEvents, id, found.project)
	found.Tasks++
	found.Events += events
	found.countLog(log)
	return err
}

func (p *past) countLog(size int64) {
	if size > 0 {
		p.Logs++
		p.LogBytes += size
	}
}

// idSlack is how much later than its task's creation the time in an id may be.
const idSlack = time.Minute

// pastLogs finds logs of tasks that stay. Tasks that ran here, and no others
// have logs, have ids that begin with the time, so that the logs too are found
// by age.
func (c *conn) pastLogs(p tasks.Purge, from *cursor, until mark, found *past) (more bool, err error) {
	if p.LogsBefore.IsZero() {
		return false, nil
	}
	before := mark{stored.FirstMicro(p.LogsBefore), ""}
	lastID := errand.NewID(p.LogsBefore.Add(idSlack))
	var bytes int64
	for range p.Limit {
		id := ""
		err := c.rows(nextLog, func(st *sqlite.Stmt) error {
			id = st.ColumnText(0)
			return nil
		}, found.key, from.id, lastID)
		if err != nil || id == "" {
			return false, err
		}
		from.id = id
		goes := false
		err = c.rows(taskOfLog, func(st *sqlite.Stmt) error {
			m := mark{st.ColumnInt64(0), id}
			goes = st.ColumnBool(1) && m.compare(before) < 0 && m.compare(until) >= 0
			return nil
		}, found.key, id)
		if err != nil {
			return false, err
		}
		if !goes {
			continue
		}
		size, err := c.logSize(found.key, id)
		if err != nil {
			return false, err
		}
		found.logs = append(found.logs, id)
		if p.DryRun {
			found.countLog(size)
		} else if bytes += size; bytes > purgeLogs {
			return true, nil
		}
	}
	return true, nil
}

// eventsAtOnce is how many events are looked at for each thing that a call may
// remove: they are small.
const eventsAtOnce = 4

// pastEvents finds events of tasks that are gone, up to the first event that is
// not old enough.
func (c *conn) pastEvents(p tasks.Purge, from *cursor, found *past) (more bool, err error) {
	if p.Before.IsZero() {
		return false, nil
	}
	before := stored.FirstMicro(p.Before)
	if from.id != "" || from.at < 0 {
		from.mark = mark{}
	}
	read := 0
	err = c.rows(eventsByAge, func(st *sqlite.Stmt) error {
		if st.ColumnInt64(1) >= before {
			return errEnough
		}
		read++
		from.at = st.ColumnInt64(0)
		if st.ColumnBool(2) {
			return nil
		}
		found.events = append(found.events, from.at)
		if p.DryRun {
			found.Events++
		}
		return nil
	}, found.key, p.Project, from.at, eventsAtOnce*p.Limit)
	if errors.Is(err, errEnough) {
		return false, nil
	}
	return read == eventsAtOnce*p.Limit, err
}

// errEnough ends a read.
var errEnough = errors.New("enough")

// purge removes what was found, except what has changed since, and counts it.
func (t *tx) purge(found *past, done *tasks.Purged) error {
	last, at, err := t.lastEvent()
	if err != nil {
		return err
	}
	for _, x := range found.tasks {
		if err := t.purgeTask(x, found.project, done); err != nil {
			return err
		}
	}
	for _, id := range found.logs {
		if err := t.purgeLog(found.key, id, done); err != nil {
			return err
		}
	}
	for _, seq := range found.events {
		if err := t.exec(dropOrphan, found.key, seq); err != nil {
			return err
		}
		done.Events += int64(t.Changes())
	}
	return t.keepNumber(last, at)
}

func (t *tx) purgeTask(x oldTask, project string, done *tasks.Purged) error {
	goes, err := t.number(hasEnded, x.scope, x.at, x.id)
	if err != nil || goes == 0 {
		return err
	}
	if err := t.purgeLog(x.project, x.id, done); err != nil {
		return err
	}
	if err := t.remove(x.place, x.at, x.id); err != nil {
		return err
	}
	done.Tasks++
	err = t.exec(dropEvents, x.id, project)
	done.Events += int64(t.Changes())
	return err
}

func (t *tx) purgeLog(project int64, id string, done *tasks.Purged) error {
	size, err := t.logSize(project, id)
	if err != nil || size == 0 {
		return err
	}
	done.Logs++
	done.LogBytes += size
	return t.exec(dropLog, project, id)
}

// lastEvent returns the number and the time of the newest event, or zeros.
func (t *tx) lastEvent() (seq, at int64, err error) {
	err = t.rows(lastEvent, func(st *sqlite.Stmt) error {
		seq, at = st.ColumnInt64(0), st.ColumnInt64(1)
		return nil
	})
	return seq, at, err
}

// keepNumber sees to it that no number up to last is given out again: SQLite
// numbers a row after the greatest that is there, and who follows the feed and
// has seen last would miss what comes. Where that event has gone, an event of no
// project stands for it, with its time.
func (t *tx) keepNumber(last, at int64) error {
	now, _, err := t.lastEvent()
	if err != nil || now == last {
		return err
	}
	if err := t.exec(`DELETE FROM events WHERE project = ''`); err != nil { // it stood for an earlier one
		return err
	}
	return t.exec(standIn, last, at)
}
