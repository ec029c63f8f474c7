package tasks

import (
	"context"
	"slices"
	"time"

	"github.com/errandhq/errand"
)

// The limits of an overview.
const (
	OverviewDay    = 24 * time.Hour // how far back it looks
	MaxUnfinished  = 1000           // tasks that Unfinished returns at the most
	maxShown       = 100            // of those that have not ended
	maxStuck       = 50
	maxFailedShown = 20
)

// unserved is how long a task may be ready for a worker that serves its
// operation before it is taken to be stuck.
const unserved = 2 * time.Minute

// Overview is what is going on in a project: what an operator looks at first.
// Those who ask at the same time are given the same tasks: nobody changes them.
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
// are read once and then followed. Progress in it may be a second old.
func (r *Runs) Overview(ctx context.Context, p errand.Principal, project string) (Overview, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return Overview{}, err
	}
	o := Overview{At: r.now()}
	var stuck []*errand.Task
	err := r.withPulse(ctx, project, o.At, true, func(k *pulse) {
		o.Running, o.Waiting = k.live.running, k.live.waiting
		o.Unfinished = slices.Clone(k.live.list[:min(maxShown, len(k.live.list))])
		o.Failed = k.live.failedSince(o.At.Add(-OverviewDay))
		o.Hours, o.Since = k.story.last24(o.At), later(k.since, o.At.Add(-OverviewDay))
		stuck = r.stuck(o.Unfinished, k.story.freed, o.At)
	})
	if err != nil {
		return Overview{}, err
	}
	for _, t := range stuck {
		w, err := r.whyStuck(ctx, t, o.At)
		if err != nil {
			return Overview{}, err
		}
		o.Stuck = append(o.Stuck, Stuck{Task: t, Why: w})
	}
	page, err := r.svc.Store.List(ctx, errand.Filter{Project: project, Limit: 1})
	if err != nil {
		return Overview{}, err
	}
	o.Tasks = page.Total
	_, o.Instances, err = r.svc.Store.Instances(ctx, project, 0, 1)
	return o, err
}

// laneKey names a lane of a project.
type laneKey struct{ instance, lane string }

// stuck returns those of list that go nowhere by themselves, the first maxStuck.
// list begins with everything that runs, or is all that: what stands in the way
// of a task comes before it. freed says when something last left a lane of an
// instance.
func (r *Runs) stuck(list []*errand.Task, freed func(instance string) time.Time, now time.Time) []*errand.Task {
	type operation struct {
		engine errand.Engine
		name   string
	}
	busy, served := map[laneKey]bool{}, map[operation]bool{}
	var all []*errand.Task
	for _, t := range list {
		k := laneKey{t.Instance, t.Run.Lane}
		switch {
		case t.Status == errand.Running:
			busy[k] = true
			if c := t.Run.Cancel; c != nil && c.Force.After(now) || c == nil && t.Run.Lease.Expires.After(now) {
				continue
			}
		case t.Run.RunAt.After(now) || k.lane != "" && busy[k]:
			continue // for its time, or behind one that is itself looked at
		default:
			busy[k] = true
			o := operation{t.Engine, t.Operation}
			there, known := served[o]
			if !known {
				there = r.seen.serves(t, now)
				served[o] = there
			}
			ready := t.Run.RunAt
			if k.lane != "" {
				ready = later(ready, freed(t.Instance))
			}
			if there && !t.Run.Stalled && now.Sub(ready) <= unserved {
				continue
			}
		}
		if all = append(all, t); len(all) == maxStuck {
			break
		}
	}
	return all
}

// whyStuck is Why for a task that runs, or that nothing in its lane keeps from
// running.
func (r *Runs) whyStuck(ctx context.Context, t *errand.Task, now time.Time) (Why, error) {
	if t.Status == errand.Running {
		return r.whyRunning(ctx, t, now)
	}
	return r.whyReady(t, now), nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Unfinished returns up to limit tasks that have not ended, of a project or of
// one of its instances, with their Run: those that run first, then the others in
// the order in which they are to run. running and waiting count all of them.
// Errors: NotFound about "instance", Invalid about "limit".
func (r *Runs) Unfinished(ctx context.Context, p errand.Principal, project, instance string, limit int) (list []*errand.Task, running, waiting int, err error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return nil, 0, 0, err
	}
	switch {
	case instance != "" && !errand.ValidInstanceID(instance):
		return nil, 0, 0, badInstanceID(instance)
	case limit < 1 || limit > MaxUnfinished:
		return nil, 0, 0, errand.Errorf(errand.Invalid, "limit", "limit must be 1 to %d, not %d", MaxUnfinished, limit)
	}
	list, running, waiting, err = r.queue.Unfinished(ctx, project, instance, limit)
	for i := range list {
		list[i] = public(list[i])
	}
	return list, running, waiting, err
}

// Timeline is Service.List with the Run of each task that has one.
func (r *Runs) Timeline(ctx context.Context, p errand.Principal, f errand.Filter) (errand.Page, error) {
	page, err := r.svc.List(ctx, p, f)
	if err != nil {
		return errand.Page{}, err
	}
	if err := r.queue.LoadRuns(ctx, f.Project, page.Tasks); err != nil {
		return errand.Page{}, err
	}
	for i := range page.Tasks {
		page.Tasks[i] = *public(&page.Tasks[i])
	}
	return page, nil
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
// not more than once a second; Changed rings again where that leaves something to
// be seen. Nobody is asked whether there is such an instance or task.
func (r *Runs) Mark(ctx context.Context, p errand.Principal, project, instance, task string) (Mark, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return Mark{}, err
	}
	switch {
	case instance != "" && !errand.ValidInstanceID(instance):
		return Mark{}, badInstanceID(instance)
	case task != "" && !errand.ValidID(task):
		return Mark{}, badTaskID(task)
	}
	var m Mark
	err := r.withPulse(ctx, project, r.now(), false, func(k *pulse) {
		m = Mark{Seq: k.story.lastOf(instance, task), Live: k.live.digestOf(instance, task)}
	})
	return m, err
}
