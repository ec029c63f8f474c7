package upkeep

import (
	"context"
	"strings"
	"time"
)

// How long what has expired may stay before somebody is told: the server removes
// it now and then, as it goes.
const stale = 7 * 24 * time.Hour

// late is how long a task may be overdue before its sweep is taken for dead.
const late = 10 * time.Minute

// Conditions on a row x.
const (
	noTask = `NOT EXISTS (SELECT 1 FROM tasks t WHERE t.project_key = x.project_key AND t.id = x.id)`
	noLive = `NOT EXISTS (SELECT 1 FROM live l WHERE l.project_key = x.project_key AND l.id = x.id)`
	noUser = `NOT EXISTS (SELECT 1 FROM users u WHERE u.id = x.user_id)`

	noProject   = `x.project <> '' AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.id = x.project)`
	finalTask   = `EXISTS (SELECT 1 FROM tasks t WHERE t.project_key = x.project_key AND t.id = x.id AND t.status NOT IN ('pending', 'running'))`
	notThisTask = `EXISTS (SELECT 1 FROM tasks t WHERE t.project_key = x.project_key AND t.id = x.id AND t.status IN ('pending', 'running')
		AND (t.scope <> x.scope OR t.created_at <> x.created_at OR CASE WHEN t.status = 'running' THEN 1 ELSE 0 END <> x.running))`
	nowhere = `NOT EXISTS (SELECT 1 FROM instances i WHERE i.scope = x.scope AND i.grp = x.grp AND i.project_key = x.project_key)
		AND NOT EXISTS (SELECT 1 FROM forgotten f WHERE f.scope = x.scope AND f.grp = x.grp)`
	noScopes = `NOT EXISTS (SELECT 1 FROM scopes s WHERE s.id = x.scope AND s.project = x.project AND s.instance = x.id AND s.engine = x.engine)
		OR NOT EXISTS (SELECT 1 FROM scopes s WHERE s.id = x.grp AND s.project = x.project AND s.instance = '' AND s.engine = x.engine)
		OR NOT EXISTS (SELECT 1 FROM scopes s WHERE s.id = x.project_key AND s.project = x.project AND s.instance = '' AND s.engine = '')`
	neverRun = `x.status IN ('pending', 'running') AND x.origin IS NULL AND ` + noLive + `
		AND NOT EXISTS (SELECT 1 FROM forgotten f WHERE f.scope = x.scope)`
	notScheduled = `NOT EXISTS (SELECT 1 FROM tasks t WHERE t.scope = x.scope AND t.created_at = x.created_at AND t.id = x.id)`
)

// checks are all checks, in an order in which none undoes what one before has
// mended.
func checks() []check {
	byHand := "no server can mend this: restore a backup, or ask for help with the output of this command"
	return []check{
		count("instances", Bad, "instances whose place in their project is missing", "instances", "id", noScopes, byHand),
		count("tasks", Bad, "tasks whose instance is missing", "tasks", "id", nowhere, byHand),
		{name: "live-orphans", severity: Bad, what: "unfinished work whose task is missing", act: "removes it, and lets its lane go on",
			find: find("live", "id", noTask), mend: mendLive(noTask, dropLive)},
		{name: "live-final", severity: Bad, what: "tasks that have ended and are still among the unfinished", act: "takes them out, and lets their lanes go on",
			find: find("live", "id", finalTask), mend: mendLive(finalTask, endLive)},
		count("live-missing", Bad, "unfinished tasks that nothing will ever run or end", "tasks", "id", neverRun,
			"restore a backup, or submit them again: their records stay as they are"),
		count("live-status", Bad, "unfinished tasks that are kept as running and not, at once", "live", "id", notThisTask,
			"cancel these tasks: the next change of one puts it right"),
		{name: "lanes", severity: Bad, what: "lanes in which two tasks run", act: "find out which of the two really runs, and cancel the other",
			find: query(`SELECT count(*), min(lane) FROM (SELECT scope, lane FROM live WHERE running = 1 AND lane <> '' GROUP BY scope, lane HAVING count(*) > 1) x`)},
		{name: "ready", severity: Bad, what: "tasks that are marked as next in their lane and are not, or the other way round", act: "sets the marks",
			find: query(`SELECT count(*), min(id) FROM (` + marked + `) x WHERE ready <> want`), mend: mendMarks},
		remove("secrets", Bad, "sealed secrets of tasks that have ended or are gone", "secrets", "project_key, id", "id", noLive),
		remove("runs", Warn, "runs whose task is gone", "runs", "project_key, id", "id", noTask),
		remove("logs", Warn, "pieces of logs whose task is gone", "task_log", "project_key, id, at", "id", noTask),
		remove("scheduled", Warn, "scheduled tasks that are gone", "scheduled", "scope, created_at, id", "id", notScheduled),
		{name: "counts", severity: Bad, what: "counts of tasks that differ from their rows", act: "counts again", find: findCounts, mend: mendCounts},
		{name: "numbers", severity: Bad, what: "columns whose next number is one that was used", act: "goes on after the greatest", find: findNumbers, mend: mendNumbers},
		{name: "overdue", severity: Warn, what: "unfinished tasks that something should have happened to long ago", act: "see whether a server is running, and its log: it looks at what is due",
			find: timed("live", "id", `x.due <= $1`, late)},
		count("forgotten", Warn, "instances that were forgotten and have tasks left", "forgotten", "scope", `1 = 1`, "a server removes them as long as it runs"),
		removeOld("idempotency-keys", "idempotency keys that expired over a week ago", "submit_keys", "project_key, key", "task", `x.expires <= $1`),
		removeOld("access-keys", "temporary access keys that expired over a week ago", "access_keys", "access", "access", `x.expires_at <= $1`),
		removeOld("tokens", "tokens that expired over a week ago", "tokens", "hash", "user_id", `x.expires_at <= $1`),
		remove("roles-of-users", Warn, "roles of users who are gone", "roles", "user_id, project", "user_id", noUser),
		remove("keys-of-users", Warn, "access keys of users who are gone", "access_keys", "access", "access", noUser),
		remove("tokens-of-users", Warn, "tokens of users who are gone", "tokens", "hash", "user_id", noUser),
		count("roles-of-projects", Warn, "roles in projects that are gone", "roles", "user_id", noProject, "give these users other roles with `errand user set`"),
		count("keys-of-projects", Warn, "access keys of projects that are gone", "access_keys", "access", noProject, "end them with `errand key revoke`"),
		count("instances-of-projects", Warn, "instances of projects that are gone", "instances", "id", noProject, "restore a backup: nobody can see these"),
	}
}

// find counts the rows x of a table for which a condition holds.
func find(table, example, where string) func(context.Context, *visit) (int64, string, error) {
	return query(`SELECT count(*), min(x.` + example + `) FROM ` + table + ` x WHERE ` + where)
}

func query(sql string, args ...any) func(context.Context, *visit) (int64, string, error) {
	return func(ctx context.Context, v *visit) (n int64, example string, err error) {
		err = v.Rows(ctx, Statement{sql, args}, func(row []any) error {
			n, _ = row[0].(int64)
			if row[1] != nil {
				example = plain(row[1])
			}
			return nil
		})
		return n, example, err
	}
}

func plain(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return show(v)
}

// timed is find where $1 is a moment some time ago.
func timed(table, example, where string, age time.Duration) func(context.Context, *visit) (int64, string, error) {
	return func(ctx context.Context, v *visit) (int64, string, error) {
		return query(`SELECT count(*), min(x.`+example+`) FROM `+table+` x WHERE `+where, v.now.Add(-age).UnixMicro())(ctx, v)
	}
}

// count is a check of what a person has to see to.
func count(name string, s Severity, what, table, example, where, act string) check {
	return check{name: name, severity: s, what: what, act: act, find: find(table, example, where)}
}

const removes = "removes them"

// remove is a check of rows that are of no use.
func remove(name string, s Severity, what, table, key, example, where string) check {
	return check{name: name, severity: s, what: what, act: removes, find: find(table, example, where),
		mend: func(ctx context.Context, v *visit) error { return v.drop(ctx, table, key, where) }}
}

// removeOld is remove for what has expired.
func removeOld(name, what, table, key, example, where string) check {
	return check{name: name, severity: Warn, what: what, act: removes, find: timed(table, example, where, stale),
		mend: func(ctx context.Context, v *visit) error {
			return v.drop(ctx, table, key, where, v.now.Add(-stale).UnixMicro())
		}}
}

// drop removes rows, some at a time.
func (v *visit) drop(ctx context.Context, table, key, where string, args ...any) error {
	keys := "x." + strings.ReplaceAll(key, ", ", ", x.")
	s := Statement{`DELETE FROM ` + table + ` WHERE (` + key + `) IN (SELECT ` + keys + ` FROM ` + table + ` x WHERE ` + where + ` LIMIT 500)`, args}
	for {
		n, err := v.Mend(ctx, Lock{}, s)
		if err != nil || n == 0 {
			return err
		}
	}
}
