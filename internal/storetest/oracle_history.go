package storetest

import (
	"context"
	"slices"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

var _ tasks.History = (*oracle)(nil)

// Purge removes everything at once in a dry run, and up to p.Limit things
// otherwise: tasks first, then logs, then events.
func (o *oracle) Purge(ctx context.Context, p tasks.Purge) (tasks.Purged, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return tasks.Purged{}, err
	}
	var done tasks.Purged
	left := p.Limit
	take := func() bool {
		if p.DryRun {
			return true
		}
		left--
		done.More = done.More || left < 0
		return left >= 0
	}
	old, logged := o.past(p)
	for _, t := range old {
		if take() {
			o.purgeTask(t, &done, p.DryRun)
		}
	}
	for _, t := range logged {
		if take() {
			o.purgeLog(t, &done, p.DryRun)
		}
	}
	for i := range o.events {
		e := &o.events[i]
		switch {
		case e.Project != p.Project:
			continue
		case !e.At.Before(p.Before):
			return done, nil
		}
		if o.byID(p.Project, e.Task) < 0 && take() {
			o.purgeEvent(e, &done, p.DryRun)
		}
	}
	return done, nil
}

// past returns the tasks that p selects, oldest first, and those of which it
// selects the log alone.
func (o *oracle) past(p tasks.Purge) (old, logged []*errand.Task) {
	o.sort()
	newer := 0
	for _, t := range o.tasks {
		if t.Project != p.Project {
			continue
		}
		newer++
		switch {
		case !t.Status.Final():
		case t.CreatedAt.Before(p.Before), p.Keep > 0 && newer > p.Keep:
			old = append(old, t)
		case t.CreatedAt.Before(p.LogsBefore) && len(o.logs[ref{t.Project, t.ID}]) > 0:
			logged = append(logged, t)
		}
	}
	slices.Reverse(old)
	slices.Reverse(logged)
	return old, logged
}

func (o *oracle) purgeTask(t *errand.Task, done *tasks.Purged, dry bool) {
	done.Tasks++
	o.purgeLog(t, done, dry)
	for i := range o.events {
		if e := &o.events[i]; e.Project == t.Project && e.Task == t.ID {
			o.purgeEvent(e, done, dry)
		}
	}
	if !dry {
		at := o.byID(t.Project, t.ID)
		o.tasks = slices.Delete(o.tasks, at, at+1)
	}
}

func (o *oracle) purgeLog(t *errand.Task, done *tasks.Purged, dry bool) {
	if n := len(o.logs[ref{t.Project, t.ID}]); n > 0 {
		done.Logs++
		done.LogBytes += int64(n)
	}
	if !dry {
		o.erase(t)
	}
}

// purgeEvent leaves the number of the event, which nobody gets again.
func (o *oracle) purgeEvent(e *errand.Event, done *tasks.Purged, dry bool) {
	done.Events++
	if !dry {
		*e = errand.Event{Seq: e.Seq}
	}
}
