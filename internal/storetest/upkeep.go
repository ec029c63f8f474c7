package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/upkeep"
)

// Whole is a store of everything.
type Whole interface {
	tasks.Store
	tasks.Queue
	auth.Store
}

// Noon is the moment at which what Fill leaves is as it should be: nothing is
// overdue and nothing has expired.
func Noon() time.Time { return noon.Add(5 * time.Second) }

// Fill puts something of every kind into an empty store: accounts, instances of
// which one has been forgotten, imported records beside those that ran here,
// tasks that wait, run, are scheduled and have ended, with secrets, logs and
// keys. imported is how many imported records there are beside the others.
func Fill(t *testing.T, s Whole, imported int) {
	t.Helper()
	ctx := t.Context()
	must(t, s.AddProject(ctx, auth.Project{ID: project, Name: "cn-north-4", CreatedAt: noon}))
	must(t, s.AddProject(ctx, auth.Project{ID: otherProject, Name: "another é", CreatedAt: noon}))
	for n := 1; n <= 3; n++ {
		must(t, s.AddUser(ctx, user(n)))
		must(t, s.AddKey(ctx, key(n)))
		must(t, s.AddToken(ctx, token(n), 10))
	}
	_, err := s.Check(ctx, "master_key", []byte("fingerprint\x00of this store"))
	must(t, err)

	redis := kafka(3)
	redis.Engine, redis.Name = errand.Redis, "redis-3"
	far := kafka(4)
	far.Project = otherProject
	register(t, s, kafka(1), kafka(2), redis, far, kafka(9))
	fillQueue(t, s)
	fillRecords(t, s, imported)

	// The greatest number of a scope is one that is no longer there.
	register(t, s, kafka(10))
	must(t, s.DeleteInstance(ctx, project, instanceID(9)))
	must(t, s.DeleteInstance(ctx, project, instanceID(10)))
}

// fillQueue leaves tasks in every state in which they can be.
func fillQueue(t *testing.T, s Whole) {
	t.Helper()
	keyed(t, s, 1, "a key", "digest", noon)
	submit(t, s, waiting(1, 2, 0), full(1, 3), planned(1, 4, 0), planned(3, 5, 1), full(2, 6), full(3, 7), free(2, 8, 0), free(2, 9, time.Hour), free(3, 14, 0))
	wantTaken(t, s, noon, 1, 6, 7, 8, 14)
	for _, n := range []int{1, 8} {
		appendLog(t, s, n, []byte("\x00\xffline of a task that runs\n"), 1<<20)
	}
	update(t, s, 6, finishing(errand.Succeeded, noon.Add(time.Second)))
	update(t, s, 7, finishing(errand.Failed, noon.Add(time.Second))) // waits for another attempt
	update(t, s, 8, finishing(errand.Cancelled, noon.Add(time.Second)))
	update(t, s, 1, cancelling(noon.Add(2*time.Second)))
}

func fillRecords(t *testing.T, s Whole, imported int) {
	t.Helper()
	const batch = 500
	var records []*errand.Task
	for n := range imported {
		x := task(1+n%3, 1000+n, noon.Add(-time.Duration(n)*37*time.Minute))
		x.Origin = &errand.Origin{Status: "SUCCESS"}
		if n%10 == 0 {
			x = rich(1+n%3, 1000+n, noon.Add(-time.Duration(n)*time.Second))
		}
		if records = append(records, x); len(records) == batch {
			put(t, s, records...)
			records = records[:0]
		}
	}
	put(t, s, records...)
}

// fault is damage to a filled store, by hand, and what must be found of it.
type fault struct {
	name  string
	sql   []string
	want  map[string]int64 // how many are found, by check; -1: some
	stays bool             // mending leaves it to a person
}

// faults work in every store. Task 1 is running in the lane of instance 1, in
// which 2, 3 and 4 wait; 5 and 7 wait in that of instance 3; 9 waits and 14 runs
// in no lane; 6 and 8 have ended.
func faults() []fault {
	id := func(n int) string { return "'" + taskID(n) + "'" }
	ghost := func(table, columns, of string) []string {
		return []string{`INSERT INTO ` + table + ` SELECT ` + columns + ` FROM ` + table + ` WHERE id = ` + of}
	}
	inst := func(n int) string { return "'" + instanceID(n) + "'" }
	return []fault{
		{name: "place of an instance", sql: []string{`DELETE FROM scopes WHERE engine = 'redis' AND instance = ''`}, want: map[string]int64{"instances": 1}, stays: true},
		{name: "instance", sql: []string{`DELETE FROM instances WHERE id = ` + inst(3)}, want: map[string]int64{"tasks": -1}, stays: true},
		{name: "work without a task behind one that runs", sql: ghost("live", `project_key, 'ghost', scope, created_at, engine, operation, lane, 0, 0, 0, due, run`, id(2)),
			want: map[string]int64{"live-orphans": 1}},
		{name: "work without a task ahead of others", sql: append([]string{`UPDATE live SET ready = 0 WHERE id IN (` + id(5) + `, ` + id(7) + `)`},
			ghost("live", `project_key, 'ghost', scope, created_at, engine, operation, lane, 0, 1, 0, due, run`, id(5))...), want: map[string]int64{"live-orphans": 1}},
		{name: "ended task that waits", sql: []string{`UPDATE tasks SET status = 'failed' WHERE id = ` + id(3)}, want: map[string]int64{"live-final": 1}},
		{name: "ended tasks that run", sql: []string{`UPDATE tasks SET status = 'succeeded' WHERE id IN (` + id(1) + `, ` + id(14) + `)`}, want: map[string]int64{"live-final": 2}},
		{name: "task that is not queued", sql: []string{`DELETE FROM live WHERE id = ` + id(9)}, want: map[string]int64{"live-missing": 1}, stays: true},
		{name: "task that runs and waits", sql: []string{`UPDATE tasks SET status = 'running' WHERE id = ` + id(9)}, want: map[string]int64{"live-status": 1}, stays: true},
		{name: "two tasks in a lane", sql: []string{`DROP INDEX live_running`, `UPDATE live SET running = 1 WHERE id = ` + id(2), `UPDATE tasks SET status = 'running' WHERE id = ` + id(2)},
			want: map[string]int64{"schema": 1, "lanes": 1}, stays: true},
		{name: "nobody is next", sql: []string{`UPDATE live SET ready = 0`}, want: map[string]int64{"ready": 2}},
		{name: "one is next too soon", sql: []string{`UPDATE live SET ready = 1 WHERE id = ` + id(4)}, want: map[string]int64{"ready": 1}},
		{name: "secrets", sql: ghost("secrets", `project_key, 'ghost', sealed`, id(3)), want: map[string]int64{"secrets": 1}},
		{name: "runs", sql: ghost("runs", `project_key, 'ghost', run`, id(6)), want: map[string]int64{"runs": 1}},
		{name: "logs", sql: ghost("task_log", `project_key, 'ghost', at, text`, id(1)), want: map[string]int64{"logs": 1}},
		{name: "scheduled", sql: ghost("scheduled", `scope, created_at, 'ghost'`, id(4)), want: map[string]int64{"scheduled": 1}},
		{name: "no counts", sql: []string{`DELETE FROM counts`}, want: map[string]int64{"counts": -1}},
		{name: "a count too high", sql: []string{`UPDATE counts SET n = n + 1 WHERE level = 41 AND scope = 3`}, want: map[string]int64{"counts": -1}},
		{name: "counts too low, and of nothing", sql: []string{`DELETE FROM counts WHERE level = 23 AND scope = 4`, `UPDATE counts SET n = n + 3 WHERE level = 29 AND scope = 2`,
			`INSERT INTO counts VALUES (3, 23, -5, 7)`, `INSERT INTO counts VALUES (99, 41, 9, 1)`, `INSERT INTO counts VALUES (0, 35, 9, 1)`, `DELETE FROM counts WHERE scope = 99`},
			want: map[string]int64{"counts": -1}},
		{name: "overdue", sql: []string{`UPDATE live SET due = 1 WHERE id = ` + id(9)}, want: map[string]int64{"overdue": 1}, stays: true},
		{name: "forgotten instance", sql: []string{`INSERT INTO forgotten VALUES (10, 2)`}, want: map[string]int64{"forgotten": 1}, stays: true},
		{name: "old idempotency key", sql: []string{`UPDATE submit_keys SET expires = 1`}, want: map[string]int64{"idempotency-keys": 1}},
		{name: "old credentials", sql: []string{`UPDATE access_keys SET expires_at = 1 WHERE expires_at IS NOT NULL`, `UPDATE tokens SET expires_at = 1`},
			want: map[string]int64{"access-keys": 2, "tokens": 3}},
		{name: "user", sql: []string{`DELETE FROM users WHERE id = ` + id(1)}, want: map[string]int64{"roles-of-users": 2, "keys-of-users": 3, "tokens-of-users": 3}},
		{name: "project", sql: []string{`DELETE FROM projects WHERE id = '` + otherProject + `'`, `UPDATE access_keys SET project = 'gone' WHERE token IS NULL`},
			want: map[string]int64{"roles-of-projects": 3, "keys-of-projects": 1, "instances-of-projects": 1}, stays: true},
		{name: "index", sql: []string{`DROP INDEX tasks_by_job`}, want: map[string]int64{"schema": 1}, stays: true},
		{name: "unfinished copy", sql: []string{`CREATE TABLE copy_state (source text NOT NULL)`}, want: map[string]int64{"copy": 1}, stays: true},
		{name: "older schema", sql: []string{`DELETE FROM migrations WHERE version = (SELECT max(version) FROM migrations)`}, want: map[string]int64{"version": 1}, stays: true},
		{name: "another build's schema", sql: []string{`UPDATE migrations SET checksum = 'x'`}, want: map[string]int64{"version": 1}, stays: true},
	}
}

// RunPatient damages stores and holds what is found and mended against what must
// be. open returns a store that Fill has filled, and a function that runs
// statements in it; behind is one that lets the numbers of scopes begin again.
func RunPatient(t *testing.T, open func(*testing.T) (upkeep.Patient, func(...string)), behind string) {
	all := append(faults(),
		fault{name: "none", want: map[string]int64{}},
		fault{name: "numbers", sql: []string{behind}, want: map[string]int64{"numbers": 1}})
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p, run := open(t)
			run(`DELETE FROM forgotten`) // their tasks are gone
			run(f.sql...)
			wantFound(t, p, f.want, false)
			left := map[string]int64{}
			if f.stays {
				left = f.want
			}
			wantFound(t, p, left, true)
			wantFound(t, p, left, false)
		})
	}
}

// wantFound checks a store and compares what is wrong with it.
func wantFound(t *testing.T, p upkeep.Patient, want map[string]int64, fix bool) {
	t.Helper()
	r, err := upkeep.Check(t.Context(), p, upkeep.CheckOptions{Fix: fix, Now: Noon()})
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, f := range r.Findings {
		if f.Severity == upkeep.OK {
			if f.Count > 0 && f.Check != "nodes" || want[f.Check] != 0 {
				t.Errorf("%s is ok: %s", f.Check, show(f))
			}
			continue
		}
		if f.Severity == upkeep.Bad {
			bad++
		}
		if n := want[f.Check]; n == 0 || n > 0 && n != f.Count || n < 0 && f.Count == 0 || f.Example == "" && f.Check != "copy" || f.Act == "" || f.What == "" {
			t.Errorf("found %s, want %d", show(f), n)
		}
	}
	if bad != r.Errors() {
		t.Errorf("%d errors, counted %d", r.Errors(), bad)
	}
	for name := range want {
		if !slices.ContainsFunc(r.Findings, func(f upkeep.Finding) bool { return f.Check == name && f.Severity != upkeep.OK }) {
			t.Errorf("%s is not found", name)
		}
	}
}
