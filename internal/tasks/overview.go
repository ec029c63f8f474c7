package tasks

import (
	"context"
	"time"

	"github.com/errandhq/errand"
)

// The limits of an overview.
const (
	OverviewDay    = 24 * time.Hour // how far back it looks
	MaxUnfinished  = 1000           // tasks that Unfinished returns at the most
	maxStuck       = 50
	maxFailedShown = 20
)

// Overview is what is going on in a project: what an operator looks at first.
type Overview struct {
	At        time.Time
	Instances int
	Tasks     int // records in all, whatever their status

	Running, Waiting int
	Unfinished       []*errand.Task // with their Run: running first, then by RunAt; the first 100
	Stuck            []Stuck        // those of them that go nowhere by themselves, the first 50
	Failed           []*errand.Task // that failed within a day, the last first, up to 20

	// Hours are the last 24, each from a full hour on, oldest first. What is
	// before Since is not known and not in them: the first look after a start
	// reads a bounded number of events.
	Hours []Hour
	Since time.Time
}

// Stuck is a task that goes nowhere by itself, with what it waits for.
type Stuck struct {
	Task *errand.Task
	Why  Why
}

// Hour counts what happened to tasks within an hour. Imported records are not
// counted: they happened elsewhere and at other times.
type Hour struct {
	From                                    time.Time
	Submitted, Succeeded, Failed, Cancelled int
}

// Overview says what is going on in a project. Its cost does not grow with the
// history: it is made from the tasks that have not ended and from events, which
// are read once and then followed.
func (r *Runs) Overview(ctx context.Context, p errand.Principal, project string) (Overview, error) {
	return Overview{}, errand.Errorf(errand.Unavailable, "overview", "not yet")
}

// Unfinished returns up to limit tasks that have not ended, of a project or of
// one of its instances, with their Run: those that run first, then the others in
// the order in which they are to run. running and waiting count all of them.
func (r *Runs) Unfinished(ctx context.Context, p errand.Principal, project, instance string, limit int) (list []*errand.Task, running, waiting int, err error) {
	return nil, 0, 0, errand.Errorf(errand.Unavailable, "overview", "not yet")
}

// Timeline is Service.List with the Run of each task that has one.
func (r *Runs) Timeline(ctx context.Context, p errand.Principal, f errand.Filter) (errand.Page, error) {
	return r.svc.List(ctx, p, f)
}

// Mark tells whether something has changed of what is watched: as long as it is
// the same, nothing has. It is meant to be compared with ==.
type Mark struct {
	Seq  int64  // of the last event of what is watched
	Live uint64 // digest of the progress of what runs
}

// Mark returns the mark of a project, of one of its instances or of one task:
// the narrowest that is not "". Those who watch the same share the work: however
// many they are, the store is asked once after each change, and for progress
// not more than once a second.
func (r *Runs) Mark(ctx context.Context, p errand.Principal, project, instance, task string) (Mark, error) {
	return Mark{}, errand.Errorf(errand.Unavailable, "overview", "not yet")
}
