package tasks

import (
	"context"
	"time"

	"github.com/errandhq/errand"
)

// A Queue is the part of a store that running tasks need. What Store says of
// atomicity, durability and errors holds here too. A queue knows no rule: what
// may follow what is decided by the Change that it is handed.
//
// Tasks that are not final are few, whatever the history; they are kept so that
// no method here reads more than those.
type Queue interface {
	// Submit adds t, its event, and key, in one transaction. If key has been
	// used in t's project and has not expired at t.CreatedAt, nothing is added,
	// and the task that it was used for is returned as it is now, with the
	// digest that was kept with the key; Conflict about "idempotency_key" if that
	// task's record is gone: keys outlive their records. admit is shown the first of the
	// unfinished tasks of t's lane and how many there are (none if the lane is
	// ""), and may refuse t with an error. Conflict about "task" if t's id is
	// taken.
	Submit(ctx context.Context, t *errand.Task, key SubmitKey, e *errand.Event, admit func(first *errand.Task, unfinished int) error) (earlier *errand.Task, digest string, err error)

	// Update loads a task with its Run, lets change alter it, and saves it with
	// change's event; without one, it returns the task as it is. NotFound about
	// "task"; Conflict about "task" if a second one of its lane would run. A
	// final task leaves the queue, and its Lease and Sealed are not kept.
	Update(ctx context.Context, project, id string, change Change) (*errand.Task, error)

	// Renew is Update without an event, for heartbeats: change may alter
	// Run.Lease, Run.Due, Progress and UpdatedAt only, and nothing else is
	// saved. Where Progress and UpdatedAt stay, the record itself is not
	// written.
	Renew(ctx context.Context, project, id string, change func(*errand.Task) error) (*errand.Task, error)

	// Take is Update for up to want.Limit pending tasks that match want: those
	// to be run by want.Now whose lane has neither a running task nor an older
	// pending one that is to be run by then, oldest (RunAt, then ID) first.
	// Concurrent calls never take the same task, nor two of one instance and
	// lane. next is the earliest RunAt after want.Now of the pending tasks that
	// match otherwise and are the first of their lane, or zero.
	Take(ctx context.Context, want Want, change Change) (taken []*errand.Task, next time.Time, err error)

	// Sweep is Update for up to limit tasks of any project with Run.Due <= now,
	// the longest overdue first. A Change that fails leaves its task as it is
	// and does not stop the others; the first error is returned at the end. A
	// nil event saves the task all the same: its Due has moved. next is the
	// earliest Due that is left, or zero.
	Sweep(ctx context.Context, now time.Time, limit int, change Change) (swept int, next time.Time, err error)

	// Lane returns the unfinished tasks of an instance and lane with their Run:
	// the running one first, then the pending ones in the order in which Take
	// would give them.
	Lane(ctx context.Context, project, instance, lane string) ([]*errand.Task, error)

	// Unfinished returns the first limit tasks that have not ended, of a project
	// or, where instance is not "", of one of its instances, with their Run and
	// all of their Progress: those that are running first, then by (RunAt, ID).
	// running and waiting count all of them, at the same moment. Records of tasks
	// that run elsewhere are not among them. NotFound about "instance".
	Unfinished(ctx context.Context, project, instance string, limit int) (list []*errand.Task, running, waiting int, err error)

	// LoadRuns sets the Run, but for its Sealed, of the tasks in list that have
	// one: all as of one moment, which may be later than that of the list. A task
	// that is gone by then is left with none.
	LoadRuns(ctx context.Context, project string, list []errand.Task) error

	// Scheduled is Store.List for the tasks that were submitted to run later
	// (Run.Scheduled), in any status, with their Run.
	Scheduled(ctx context.Context, f errand.Filter) (errand.Page, error)

	// AppendLog adds text to the log of a task, up to limit bytes in all for
	// the task; what does not fit is cut, and truncated says so. Log returns up
	// to limit bytes from offset, and the length of the whole. NotFound about
	// "task"; a log goes with its task's record.
	AppendLog(ctx context.Context, project, id string, text []byte, limit int64) (truncated bool, err error)
	Log(ctx context.Context, project, id string, offset int64, limit int) (text []byte, size int64, err error)

	// Feed returns up to limit events of a project with a Seq above after, in
	// their order. LastSeq is the Seq of the newest event of all.
	Feed(ctx context.Context, project string, after int64, limit int) ([]errand.Event, error)
	LastSeq(ctx context.Context) (int64, error)

	// Durations returns how long the latest successful attempts of an operation
	// took, newest first, up to limit.
	Durations(ctx context.Context, project string, engine errand.Engine, operation string, limit int) ([]time.Duration, error)

	// Backlog counts the tasks of all projects that have not ended, as of now.
	Backlog(ctx context.Context, now time.Time) (Backlog, error)
}

// Backlog is how much there is to do.
type Backlog struct {
	Running int
	Ready   int       // to be run by now, with nothing before them in their lane: they wait for a worker
	Behind  int       // to be run by now, behind others of their lane
	Later   int       // to be run later: scheduled, or tried again after a while
	Oldest  time.Time // the earliest RunAt of those that are ready, or zero
}

// SubmitKey makes a submission idempotent. The zero key is none.
type SubmitKey struct {
	Key     string
	Digest  string // of what was submitted
	Expires time.Time
}

// Want says which tasks a worker can run.
type Want struct {
	Project    string          // "" is every project
	Operations []string        // machine names; none: every operation
	Engines    []errand.Engine // none: every engine
	Now        time.Time
	Limit      int
}
