package sqlite

import (
	"regexp"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
)

// Every statement that a request runs must find its rows by a key and in order:
// nothing is sorted, and no table is read through.
func TestPlans(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2, 3, 4)
	for n := range 200 {
		put(t, s, testTask(1+n%4, n))
	}
	for name, c := range map[string]struct {
		query string
		keys  []string // in the order of the plan
	}{
		"page of an instance": {pageOfInstance, []string{"t USING PRIMARY KEY (scope=? AND created_at>? AND created_at<?)"}},
		"page of a group": {pageOfGroup, []string{
			"t USING INDEX tasks_by_group (grp=? AND created_at>? AND created_at<?)", "i USING INTEGER PRIMARY KEY (rowid=?)",
		}},
		"page of a project": {pageOfGroups, []string{
			"t USING INDEX tasks_by_group (grp=? AND created_at>? AND created_at<?)", "i USING INTEGER PRIMARY KEY (rowid=?)",
		}},
		"count of an instance": {instanceSince, []string{
			"counts USING PRIMARY KEY (scope=? AND level=? AND bucket>?)",
			"counts USING PRIMARY KEY (scope=? AND level=? AND bucket>? AND bucket<?)",
			"tasks USING PRIMARY KEY (scope=? AND created_at>? AND created_at<?)",
		}},
		"count of a group": {groupSince, []string{"tasks USING COVERING INDEX tasks_by_group (grp=? AND created_at>? AND created_at<?)"}},
		"total":            {totalOf, []string{"counts USING PRIMARY KEY (scope=? AND level=?)"}},
		"buckets":          {bucketsOf, []string{"counts USING PRIMARY KEY (scope=? AND level=? AND bucket>? AND bucket<?)"}},
		"task by id":       {taskByID, []string{"t USING INDEX tasks_by_id (project_key=? AND id=?)", "i USING INTEGER PRIMARY KEY (rowid=?)"}},
		"task by job":      {taskByJob, []string{"t USING INDEX tasks_by_job (project_key=? AND job_id=?)"}},
		"events":           {eventsOf, []string{"events USING INDEX events_by_task (task=? AND seq>?)"}},
		"key":              {keysWith + `access = ?`, []string{"access_keys USING PRIMARY KEY (access=?)"}},

		"what may be taken in a project":             {readyIn, []string{"live USING INDEX live_ready (project_key=? AND run_at<?)"}},
		"what may be taken":                          {readyInAll, []string{"live USING INDEX live_ready_all (run_at<?)"}},
		"what may be taken of one in a project":      {readyOfOneIn, []string{"live USING INDEX live_ready_of (project_key=? AND operation=? AND run_at<?)"}},
		"what may be taken of one":                   {readyOfOneAll, []string{"live USING INDEX live_ready_of_all (operation=? AND run_at<?)"}},
		"when more may be taken in a project":        {nextIn, []string{"live USING INDEX live_ready (project_key=? AND run_at>?)"}},
		"when more may be taken":                     {nextInAll, []string{"live USING INDEX live_ready_all (run_at>?)"}},
		"when more of one may be taken in a project": {nextOfOneIn, []string{"live USING INDEX live_ready_of (project_key=? AND operation=? AND run_at>?)"}},
		"when more of one may be taken":              {nextOfOneAll, []string{"live USING INDEX live_ready_of_all (operation=? AND run_at>?)"}},
		"what is due":                                {overdue, []string{"live USING INDEX live_due (due<?)"}},
		"a lane":                                     {laneOf, []string{"live USING COVERING INDEX live_lane (scope=? AND lane=?)"}},
		"how long a lane is":                         {laneSize, []string{"live USING COVERING INDEX live_lane (scope=? AND lane=?)"}},
		"the head of a lane":                         {laneHead, []string{"live USING INDEX live_lane (scope=? AND lane=?)"}},
		"heads that are none":                        {unready, []string{"live USING INDEX live_head (scope=? AND lane=?)"}},
		"a run that has not ended":                   {liveRun, []string{"l USING PRIMARY KEY (project_key=? AND id=?)", "s USING INDEX sqlite_autoindex_secrets_1 (project_key=? AND id=?)"}},
		"a run that has ended":                       {endedRun, []string{"runs USING PRIMARY KEY (project_key=? AND id=?)"}},
		"a run of a listing":                         {runOf, []string{"t USING INDEX tasks_by_id (project_key=? AND id=?)", "i USING INTEGER PRIMARY KEY (rowid=?)", "l USING PRIMARY KEY (project_key=? AND id=?)", "r USING PRIMARY KEY (project_key=? AND id=?)"}},
		"a task by its key":                          {submittedWith, []string{"submit_keys USING PRIMARY KEY (project_key=? AND key=?)"}},
		"keys that have expired":                     {dropExpiredKeys, []string{"submit_keys USING PRIMARY KEY (project_key=? AND key=?)", "submit_keys USING COVERING INDEX submit_keys_by_expiry (expires<?)"}},
		"durations":                                  {latestDurations, []string{"durations USING PRIMARY KEY (project_key=? AND engine=? AND operation=?)"}},
		"scheduled tasks":                            {pageOfScheduledOf, []string{"s USING PRIMARY KEY (scope=? AND created_at>? AND created_at<?)"}},
		"count of scheduled tasks":                   {countScheduled + scheduledOf, []string{"s USING PRIMARY KEY (scope=? AND created_at>? AND created_at<?)"}},
		"feed":                                       {feedOf, []string{"events USING INDEX events_by_project (project=? AND seq>?)"}},
		"end of a log":                               {logEnd, []string{"task_log USING PRIMARY KEY (project_key=? AND id=?)"}},
		"last piece of a log":                        {logLast, []string{"task_log USING PRIMARY KEY (project_key=? AND id=?)"}},
		"pieces of a log":                            {logPieces, []string{"task_log USING PRIMARY KEY (project_key=? AND id=? AND at>? AND at<?)"}},

		"what of a forgotten instance has not ended": {unfinishedOf, []string{"live USING INDEX live_lane (scope=?)"}},
		"what is left of a forgotten instance":       {tasksOf, []string{"tasks USING PRIMARY KEY (scope=?)"}},
		"tasks that may be purged":                   {tasksByAge, []string{"t USING INDEX tasks_by_group (grp=? AND (created_at,id)>(?,?) AND (created_at,id)<(?,?))", "i USING INTEGER PRIMARY KEY (rowid=?)"}},
		"whether a task has ended":                   {hasEnded, []string{"t USING PRIMARY KEY (scope=? AND created_at=? AND id=?)"}},
		"logs that may be purged":                    {nextLog, []string{"task_log USING PRIMARY KEY (project_key=? AND id>? AND id<?)"}},
		"the task of a log":                          {taskOfLog, []string{"t USING INDEX tasks_by_id (project_key=? AND id=?)", "i USING INTEGER PRIMARY KEY (rowid=?)"}},
		"a log that is purged":                       {dropLog, []string{"task_log USING PRIMARY KEY (project_key=? AND id=?)"}},
		"events that may be purged":                  {eventsByAge, []string{"e USING INDEX events_by_project (project=? AND seq>?)", "t USING COVERING INDEX tasks_by_id (project_key=? AND id=?)"}},
		"how many events a task has":                 {countEvents, []string{"events USING INDEX events_by_task (task=?)"}},
		"events of a task that go":                   {dropEvents, []string{"events USING INDEX events_by_task (task=?)"}},
		"an event that goes by itself":               {dropOrphan, []string{"e USING INTEGER PRIMARY KEY (rowid=?)", "t USING COVERING INDEX tasks_by_id (project_key=? AND id=?)"}},
	} {
		t.Run(name, func(t *testing.T) {
			var plan []string
			err := s.read(t.Context(), func(c2 *conn) error {
				return c2.rows(`EXPLAIN QUERY PLAN `+c.query, func(st *sqlite.Stmt) error {
					plan = append(plan, st.ColumnText(3))
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			text := strings.NewReplacer("SCAN CONSTANT ROW", "", "SCAN json_each", "").Replace(strings.Join(plan, "\n")) // those are no tables
			if regexp.MustCompile(`TEMP B-TREE|SCAN `).MatchString(text) {
				t.Errorf("plan sorts or reads through a table:\n%s", text)
			}
			rest := text
			for _, key := range c.keys {
				at := strings.Index(rest, "SEARCH "+key)
				if at < 0 {
					t.Fatalf("plan lacks %q:\n%s", key, text)
				}
				rest = rest[at:]
			}
		})
	}
}
