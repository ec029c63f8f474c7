package worker

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/errandhq/errand"
)

// finish reports what became of the attempt, for as long as its lease can live.
func (a *attempt) finish() {
	cause := context.Cause(a.ctx)
	if a.waiting {
		a.answered(<-a.answers)
	}
	if a.lost {
		return
	}
	o := a.outcome(cause)
	a.job.close(o.Status, o.ErrorCode)
	for !a.lost && !a.reported() {
		if !a.flush() {
			return
		}
	}
	if a.lost {
		return
	}
	log := a.job.out.next()
	err := a.persist(func(ctx context.Context) error { return a.pool.Source.Finish(ctx, a.token, o, log) })
	if err != nil && errand.ErrorOf(err).Kind == errand.Invalid {
		a.log.Error("the server refused the outcome", "error", err)
		o = errand.Outcome{Status: errand.Failed, ErrorCode: "BadOutcome", Reason: "the worker's report was refused: " + errand.ErrorOf(err).Msg, Permanent: true}
		o.Reason = clean(a.job.out.mask, o.Reason, errand.MaxAttributeLen)
		err = a.persist(func(ctx context.Context) error { return a.pool.Source.Finish(ctx, a.token, o, nil) })
	}
	switch {
	case err == nil:
		a.log.Debug("attempt ended", "status", o.Status, "reason", o.Reason)
	case errand.ErrorOf(err).Kind == errand.LeaseLost:
		a.lost = true
	default:
		a.log.Error("the end of the attempt could not be reported; the server will take the worker for lost", "status", o.Status, "error", err)
	}
}

// outcome is what the source is told, with nothing in it that it would refuse
// or must not see.
func (a *attempt) outcome(cause error) errand.Outcome {
	o := outcomeOf(a.err, cause, a.job, a.pool.Name, a.timeout())
	mask := a.job.out.mask
	o.ErrorCode = clean(mask, o.ErrorCode, errand.MaxNameLen)
	o.Reason = clean(mask, o.Reason, errand.MaxAttributeLen)
	return o
}

func (a *attempt) timeout() time.Duration {
	if a.task.Run == nil {
		return 0
	}
	return a.task.Run.Timeout
}

// reported says whether everything but the last part of the log is sent.
func (a *attempt) reported() bool {
	a.job.mu.Lock()
	version := a.job.version
	a.job.mu.Unlock()
	return version == a.sent && a.job.out.size() <= MaxLogWrite
}

// flush sends a beat and waits for its answer. It returns false if none came
// while the lease lived.
func (a *attempt) flush() bool {
	err := a.persist(func(context.Context) error {
		a.extend()
		x := <-a.answers
		a.answered(x)
		if x.err != nil && errand.ErrorOf(x.err).Kind == errand.Invalid {
			return nil // what was refused is left out
		}
		return x.err
	})
	if err != nil && !a.lost {
		a.log.Error("the end of the attempt could not be reported; the server will take the worker for lost", "error", err)
	}
	return err == nil
}

// persist calls f until it succeeds, is refused for good, or the lease has
// ended.
func (a *attempt) persist(f func(context.Context) error) error {
	for pause := firstPause; ; pause *= 2 {
		ctx, cancel := context.WithDeadline(a.pool.base, a.expires)
		err := f(ctx)
		cancel()
		if err == nil {
			return nil
		}
		if k := errand.ErrorOf(err).Kind; k == errand.LeaseLost || refused(k) || k == errand.Conflict {
			return err
		}
		wait := pause/2 + rand.N(pause/2)
		if time.Until(a.expires) <= wait {
			return err
		}
		a.log.Warn("the report is sent again", "error", err, "in", wait)
		if !sleep(a.pool.base, wait) {
			return err
		}
	}
}
