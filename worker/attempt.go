package worker

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/errandhq/errand"
)

// attempt is one run of a handler under a lease. Its run method owns all members
// but those that the handler's goroutine closes or reads.
type attempt struct {
	pool   *Pool
	task   *errand.Task
	token  string
	job    *Job
	log    *slog.Logger
	before *attempt // whose handler must return first; nil once this one's has begun

	ctx      context.Context // the handler's
	cancel   context.CancelCauseFunc
	returned chan struct{} // closed when the handler has returned err
	err      error

	asked   time.Time // when the claim was sent: the grant is not older
	ttl     time.Duration
	expires time.Time // of the lease, as far as we know
	lost    bool      // the lease; nothing more is said
	sent    int       // version of the progress that the source has

	beat    *time.Timer
	lastly  time.Time   // of the last beat that was answered
	failing bool        // the last beat was not
	answers chan answer // of the beat that is under way
	waiting bool        // for it
	grace   <-chan time.Time
}

// answer is what became of a beat.
type answer struct {
	Extended
	err     error
	began   time.Time
	version int
	log     int // bytes
}

const (
	// minTTL keeps a source that gives none from being asked without end.
	minTTL = 100 * time.Millisecond
	// soon is how long after a beat a step may be reported with the next one.
	soon = time.Second
)

// newAttempt prepares the run of a grant that has just come.
func newAttempt(p *Pool, g Grant) *attempt {
	now := time.Now()
	a := &attempt{
		pool: p, task: g.Task, token: g.Token, job: newJob(g, p.MaxLog), returned: make(chan struct{}),
		ttl: max(minTTL, g.TTL), lastly: now, answers: make(chan answer, 1),
	}
	// It was given at some time during the claim, which may have waited for long:
	// until the first beat is answered, its arrival has to do.
	a.expires = now.Add(a.ttl)
	a.log = p.Log.With("task", a.task.ID, "operation", a.task.Operation, "attempt", a.task.AttemptNumber())
	a.ctx, a.cancel = context.WithCancelCause(p.base)
	return a
}

func (a *attempt) lane() lane {
	l := lane{project: a.task.Project, instance: a.task.Instance}
	if a.task.Run != nil {
		l.name = a.task.Run.Lane
	}
	return l
}

func (a *attempt) interval() time.Duration { return a.ttl / 3 }

// run runs the handler and says what became of it.
func (a *attempt) run() {
	defer a.cancel(nil)
	if !a.confirm() {
		a.log.Warn("the lease was lost before the handler could begin")
		close(a.returned)
		a.pool.leave(a)
		return
	}
	a.log.Debug("attempt begins")
	go a.handle()
	if !a.watch() {
		a.pool.abandon(a)
		return
	}
	if a.finish(); a.lost {
		a.log.Warn("the lease was lost; nothing is reported")
	}
	a.pool.leave(a)
}

// confirm makes sure that the lease is still held before the handler begins: a
// grant may have come while this process, or the network, stood still, and
// another worker may be at the task by now.
func (a *attempt) confirm() bool {
	for time.Since(a.asked) > a.interval() {
		began := time.Now()
		ctx, cancel := context.WithTimeout(a.pool.base, a.interval())
		x, err := a.pool.Source.Extend(ctx, a.token, Beat{})
		cancel()
		switch {
		case err == nil:
			a.lastly, a.asked, a.ttl = began, began, max(minTTL, x.TTL)
			a.expires = began.Add(a.ttl)
			if x.Stop {
				a.cancel(&stopError{a.job.out.mask.Text(x.Reason)})
			}
			return true
		case errand.ErrorOf(err).Kind == errand.LeaseLost || time.Now().After(a.expires):
			return false
		}
		sleep(a.pool.base, a.interval()/3)
	}
	return true
}

// handle calls the handler in a goroutine of its own.
func (a *attempt) handle() {
	defer close(a.returned)
	a.err = errors.New("the handler ended its goroutine")
	defer func() {
		if v := recover(); v != nil {
			a.err = &panicError{v}
			a.log.Error(a.job.out.mask.Text(a.err.Error()), "stack", a.job.out.mask.Text(string(debug.Stack())))
		}
	}()
	for b := a.before; b != nil; b = b.before { // one that did not start has another before it
		if !a.after(b) {
			a.err = errors.New("the handler of task " + b.task.ID + ", which is in the same lane, does not return")
			return
		}
	}
	a.before = nil
	h := a.pool.Mux.handlers[a.task.Operation]
	if h == nil {
		a.err = errors.New("this worker does not run operation " + a.task.Operation)
		return
	}
	a.err = h(a.ctx, a.job)
}

// after waits until the handler of b has returned. Most have long since.
func (a *attempt) after(b *attempt) bool {
	if b.done() {
		return true
	}
	a.job.Logf("[not started yet: the handler of task %s on this worker has been told to stop and does not return]", b.task.ID)
	select {
	case <-b.returned:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// done reports whether the handler has returned.
func (a *attempt) done() bool {
	select {
	case <-a.returned:
		return true
	default:
		return false
	}
}

// watch keeps the lease until the handler returns. It reports false if the
// handler does not, long after its context has ended.
func (a *attempt) watch() bool {
	a.beat = time.NewTimer(a.interval())
	defer a.beat.Stop()
	lease := time.NewTimer(a.ttl)
	defer lease.Stop()
	var timeout <-chan time.Time
	if a.task.Run != nil && a.task.Run.Timeout > 0 {
		t := time.NewTimer(a.task.Run.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	stopping := a.pool.stopping
	for {
		select {
		case <-a.returned:
			return true
		case <-a.beat.C:
			a.extend()
		case <-a.job.wake:
			a.schedule()
		case x := <-a.answers:
			a.answered(x)
			lease.Reset(time.Until(a.expires))
			a.schedule()
		case <-lease.C:
			a.lose()
		case <-timeout:
			a.end(ErrTimeout)
		case <-stopping:
			stopping = nil
			a.end(ErrStopping)
		case <-a.grace:
			return false
		}
	}
}

// end ends the handler's context.
func (a *attempt) end(cause error) {
	a.cancel(cause)
	if a.grace == nil {
		a.grace = time.After(a.pool.Grace)
	}
}

func (a *attempt) lose() {
	a.lost = true
	a.end(ErrLeaseLost)
}

// schedule sets the time of the next beat.
func (a *attempt) schedule() {
	if a.waiting || a.lost {
		a.beat.Stop()
		return
	}
	next := a.lastly.Add(a.interval())
	switch step, full := a.job.urgent(); {
	case a.failing:
		next = time.Now().Add(a.interval() / 3)
	case full:
		next = time.Now()
	case step:
		next = earlier(next, a.lastly.Add(soon))
	}
	a.beat.Reset(max(0, time.Until(next)))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// extend sends a beat; its answer comes over the channel.
func (a *attempt) extend() {
	if a.waiting || a.lost {
		return
	}
	a.waiting = true
	x := answer{began: time.Now()}
	var b Beat
	if p, version := a.job.snapshot(); version > a.sent {
		b.Progress, x.version = p, version
	}
	b.Log = a.job.out.next()
	x.log = len(b.Log)
	go func() {
		ctx, cancel := context.WithTimeout(a.pool.base, a.interval()*3/2)
		defer cancel()
		x.Extended, x.err = a.pool.Source.Extend(ctx, a.token, b)
		a.answers <- x
	}()
}

// answered takes in what became of a beat.
func (a *attempt) answered(x answer) {
	a.waiting = false
	kind := errand.Internal
	if x.err != nil {
		kind = errand.ErrorOf(x.err).Kind
	}
	switch {
	case x.err == nil:
	case kind == errand.LeaseLost:
		a.lose()
		return
	case kind == errand.Invalid && (x.version > 0 || x.log > 0):
		a.log.Error("the server refused a report of progress or log; it is left out", "error", x.err)
		a.sent = max(a.sent, x.version)
		a.job.out.drop(x.log)
		a.failing = true
		return
	default:
		a.log.Warn("the lease could not be extended", "error", x.err, "lives_until", a.expires)
		a.failing = true
		return
	}
	a.failing, a.lastly = false, x.began
	a.ttl = max(minTTL, x.TTL)
	a.expires = x.began.Add(a.ttl)
	a.sent = max(a.sent, x.version)
	a.job.out.drop(x.log)
	if x.LogTruncated {
		a.job.out.close()
	}
	if x.Stop {
		a.end(&stopError{a.job.out.mask.Text(x.Reason)})
	}
}
