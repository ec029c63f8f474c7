package tasks

import (
	"context"
	"log/slog"
	"time"

	"github.com/errandhq/errand"
)

// sweeper is who acts in events that nobody asked for.
var sweeper = errand.Principal{User: errand.User{ID: "errand", Name: "errand"}, Role: errand.Admin}

// sweepBatch is how many tasks are looked at in one go.
const sweepBatch = 100

// idleSweep is how long the sweeper sleeps when nothing is due: the clock may
// have been moved meanwhile.
const idleSweep = 30 * time.Second

// Sweep looks at every task whose due time has come and makes happen what
// should have: an attempt whose worker is silent or out of time is ended, a task
// that does not stop is stopped, one that missed its deadline fails, and one
// that waits for a worker that nobody has seen is put on record as stalled. It
// returns how many it looked at and when to come again (zero: nothing is due).
func (r *Runs) Sweep(ctx context.Context) (int, time.Time, error) {
	now := r.now()
	total := 0
	for {
		n, next, err := r.queue.Sweep(ctx, now, sweepBatch, func(t *errand.Task) (*errand.Event, error) {
			return r.overdue(t, now)
		})
		total += n
		if n > 0 {
			r.changed()
		}
		if err != nil || n < sweepBatch {
			return total, next, err
		}
	}
}

// overdue does what is due with t.
func (r *Runs) overdue(t *errand.Task, now time.Time) (*errand.Event, error) {
	from, act := t.Status, errand.ActLost
	var err error
	switch end, limited := t.AttemptEnds(); {
	case t.Status == errand.Running && t.Run.Cancel != nil && !t.Run.Cancel.Force.After(now):
		act, err = errand.ActCancelled, t.Stop(now)
	case t.Status == errand.Running && !t.Run.Lease.Expires.After(now):
		err = t.Lose("worker "+t.Run.Lease.Worker+" was last heard of at "+t.Run.Lease.Beat.UTC().Format(time.RFC3339), r.retryAt(t, now), now)
	case limited && !end.After(now):
		err = t.Lose("the attempt took longer than "+t.Run.Timeout.String(), r.retryAt(t, now), now)
	case t.Status == errand.Pending && !t.Run.Deadline.IsZero() && !t.Run.Deadline.After(now):
		act, err = errand.ActMissed, t.Miss("it could not be started by its deadline, "+t.Run.Deadline.UTC().Format(time.RFC3339), now)
	default:
		return r.stillWaits(t, now), nil
	}
	if err != nil {
		return nil, err
	}
	e := event(sweeper, t, act, now)
	e.From, e.To, e.Reason = from, t.Status, joinReason(t.Reason)
	return e, nil
}

// stillWaits notes, once, that no worker serves the operation of a task that
// could run.
func (r *Runs) stillWaits(t *errand.Task, now time.Time) *errand.Event {
	t.Wait(now)
	if t.Status != errand.Pending || t.Run.RunAt.After(now) {
		return nil
	}
	alive := r.seen.serves(t, now)
	if alive == !t.Run.Stalled {
		return nil
	}
	t.Run.Stalled = !alive
	if alive {
		return nil
	}
	e := event(sweeper, t, errand.ActStalled, now)
	e.From, e.To, e.Reason = t.Status, t.Status, "no worker serves operation "+t.Operation
	return e
}

// minSweep is the least time between two sweeps: nothing is due sooner after a
// change.
const minSweep = 500 * time.Millisecond

// sweepSpread is over how long the sweeps of nodes that share a store are spread,
// so that not all look at the same moment for what has become due.
const sweepSpread = 400 * time.Millisecond

// Run sweeps until ctx is done. One is enough, more do no harm.
func (r *Runs) Run(ctx context.Context, log *slog.Logger) error {
	for {
		changed := r.changes.next()
		_, next, err := r.Sweep(ctx)
		wait := idleSweep
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.LogAttrs(ctx, slog.LevelError, "sweep", slog.Any("error", err))
		case !next.IsZero():
			wait = min(wait, max(0, next.Sub(r.now())))
		}
		if !pause(ctx, minSweep+r.jitter(r.spread), nil) || !pause(ctx, wait-minSweep, changed) {
			return nil
		}
	}
}

// pause waits for d, or until wake is closed. It reports false once ctx is done.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return true
}
