package tasks

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// Grant is a task together with what only the worker that holds it may know.
type Grant struct {
	Task    *errand.Task
	Token   string // names the lease in Extend and Finish
	Secrets map[string]string
	TTL     time.Duration // the lease is lost after so long a silence
}

// The limits of one call of a worker.
const (
	MaxClaim    = 100
	MaxWait     = 60 * time.Second
	MaxLogWrite = 256 << 10
)

// ClaimRequest says what a worker can run.
type ClaimRequest struct {
	Worker     string          // its name, for people
	Operations []string        // machine names
	Engines    []errand.Engine // none: every engine
	Limit      int             // how many tasks at the most
	Wait       time.Duration   // how long to wait for the first one
}

// Claim leases up to Limit tasks to a worker. It waits until there is one, but
// no longer than Wait, and returns none then. Errors: Invalid about a member.
func (r *Runs) Claim(ctx context.Context, p errand.Principal, project string, c ClaimRequest) ([]Grant, error) {
	if err := authorize(p, project, errand.Worker); err != nil {
		return nil, err
	}
	return r.claim(ctx, p, project, c)
}

// ClaimAll is Claim over every project, for the operations that the server runs
// by itself. p is no credential's: it has role Worker and no project. Extend and
// Finish are then called for the project of the task that was granted.
func (r *Runs) ClaimAll(ctx context.Context, p errand.Principal, c ClaimRequest) ([]Grant, error) {
	if p.Project != "" || p.Role != errand.Worker {
		return nil, errand.Errorf(errand.Forbidden, "role", "only the server itself claims for every project")
	}
	return r.claim(ctx, p, "", c)
}

// claim waits for work; project "" is every project.
func (r *Runs) claim(ctx context.Context, p errand.Principal, project string, c ClaimRequest) ([]Grant, error) {
	switch {
	case c.Worker == "" || !errand.ValidText(c.Worker, errand.MaxNameLen):
		return nil, errand.Errorf(errand.Invalid, "worker", "a worker's name is 1 to %d bytes of UTF-8", errand.MaxNameLen)
	case len(c.Operations) == 0 || len(c.Operations) > MaxLimit:
		return nil, errand.Errorf(errand.Invalid, "operations", "name 1 to %d operations to claim", MaxLimit)
	case slices.ContainsFunc(c.Operations, func(o string) bool { return !errand.ValidText(o, errand.MaxNameLen) }):
		return nil, errand.Errorf(errand.Invalid, "operations", "the name of an operation is at most %d bytes of UTF-8", errand.MaxNameLen)
	case slices.ContainsFunc(c.Engines, func(e errand.Engine) bool { return !e.Valid() }):
		return nil, errand.Errorf(errand.Invalid, "engines", "engines must be some of %v", errand.Engines())
	case c.Limit < 1 || c.Limit > MaxClaim:
		return nil, errand.Errorf(errand.Invalid, "limit", "limit must be 1 to %d, not %d", MaxClaim, c.Limit)
	case c.Wait < 0 || c.Wait > MaxWait:
		return nil, errand.Errorf(errand.Invalid, "wait", "wait must be 0 to %v, not %v", MaxWait, c.Wait)
	}
	timeout := time.NewTimer(c.Wait)
	defer timeout.Stop()
	r.seen.enter(project, c, r.now())
	defer func() { r.seen.leave(project, c.Worker, r.now()) }()
	look, leave := r.looks.join(Want{Project: project, Operations: c.Operations, Engines: c.Engines})
	defer leave()
	for came := true; ; came = false {
		changed, ring := r.changes.after() // before looking, so that nothing is missed
		var grants []Grant
		next, err := look.take(ctx, ring, r.now, came, func() (bool, time.Time, error) {
			all, next, err := r.take(ctx, p, project, c)
			grants = all
			return len(all) == 0, next, err
		})
		if err != nil || len(grants) > 0 || c.Wait == 0 {
			return grants, err
		}
		wait := c.Wait
		if !next.IsZero() {
			wait = min(wait, max(0, next.Sub(r.now())))
		}
		soon := time.NewTimer(wait)
		select {
		case <-changed:
		case <-soon.C:
		case <-timeout.C:
			soon.Stop()
			return nil, nil
		case <-ctx.Done():
			soon.Stop()
			return nil, ctx.Err()
		}
		soon.Stop()
	}
}

func (r *Runs) take(ctx context.Context, p errand.Principal, project string, c ClaimRequest) ([]Grant, time.Time, error) {
	now := r.now()
	want := Want{Project: project, Operations: c.Operations, Engines: c.Engines, Now: now, Limit: c.Limit}
	taken, next, err := r.queue.Take(ctx, want, func(t *errand.Task) (*errand.Event, error) {
		l := errand.Lease{Token: t.ID + r.newID(now), Worker: c.Worker, Beat: now, Expires: now.Add(r.opt.Lease)}
		from := t.Status
		if err := t.Claim(l, now); err != nil {
			return nil, err
		}
		e := event(p, t, errand.ActClaimed, now)
		e.From, e.To, e.Reason = from, t.Status, "worker "+c.Worker
		return e, nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(taken) > 0 {
		r.changed() // for who watches, and for the sweeper
	}
	if ctx.Err() != nil { // nobody is there any more to be told
		for _, t := range taken {
			r.release(context.WithoutCancel(ctx), p, t)
		}
		return nil, time.Time{}, ctx.Err()
	}
	var grants []Grant
	for _, t := range taken {
		g, err := r.grant(t)
		if err != nil {
			r.unreadable(ctx, p, t)
			continue
		}
		grants = append(grants, g)
	}
	return grants, next, nil
}

// release gives back a claim. If it cannot be, the lease will expire.
func (r *Runs) release(ctx context.Context, p errand.Principal, t *errand.Task) {
	now := r.now()
	_, _ = r.queue.Update(ctx, t.Project, t.ID, func(x *errand.Task) (*errand.Event, error) {
		from := x.Status
		if err := x.Release(t.Run.Lease.Token, now); err != nil {
			return nil, err
		}
		e := event(p, x, errand.ActReleased, now)
		e.From, e.To, e.Reason = from, x.Status, "worker "+t.Run.Lease.Worker+" had gone"
		return e, nil
	})
	r.changed()
}

// unreadable ends a task whose secrets cannot be opened: no other worker would
// fare better. If it cannot be ended now, the lease will expire.
func (r *Runs) unreadable(ctx context.Context, p errand.Principal, t *errand.Task) {
	o := errand.Outcome{Status: errand.Failed, Permanent: true, ErrorCode: "SecretsUnreadable", Reason: "the secrets that it was submitted with cannot be opened with the server's master key"}
	_, _ = r.Finish(ctx, errand.Principal{User: p.User, Project: t.Project, Role: errand.Worker, Request: p.Request, Remote: p.Remote}, t.Project, t.Run.Lease.Token, o, nil)
}

func (r *Runs) grant(t *errand.Task) (Grant, error) {
	secrets, err := r.secrets(t)
	return Grant{Task: t, Token: t.Run.Lease.Token, Secrets: secrets, TTL: r.opt.Lease}, err
}

// Beat is what a worker says between claim and finish.
type Beat struct {
	Progress *errand.Progress // nil: as before
	Log      []byte           // more output, or nil
}

// Extended answers a beat.
type Extended struct {
	TTL          time.Duration
	Stop         bool   // somebody asked the task to stop: end it as cancelled
	Reason       string // why
	LogTruncated bool   // the log is full; more of it is thrown away
}

// Extend keeps a lease. Errors: LeaseLost about "lease" if token names none that
// is held; then nothing was changed and the worker must stop.
func (r *Runs) Extend(ctx context.Context, p errand.Principal, project, token string, b Beat) (Extended, error) {
	id, err := r.held(p, project, token)
	if err != nil {
		return Extended{}, err
	}
	if len(b.Log) > MaxLogWrite {
		return Extended{}, errand.Errorf(errand.Invalid, "log", "one call takes at most %d bytes of log", MaxLogWrite)
	}
	now := r.now()
	t, err := r.queue.Renew(ctx, project, id, func(t *errand.Task) error {
		p := b.Progress
		if p != nil {
			p = maskProgress(r.masker(t), p)
		}
		return t.Extend(token, now.Add(r.opt.Lease), p, now)
	})
	if err != nil {
		return Extended{}, lostIfGone(err)
	}
	x := Extended{TTL: r.opt.Lease}
	if c := t.Run.Cancel; c != nil {
		x.Stop, x.Reason = true, c.Reason
	}
	if len(b.Log) > 0 {
		if x.LogTruncated, err = r.appendLog(ctx, t, b.Log); err != nil {
			return Extended{}, err
		}
	}
	if b.Progress != nil {
		r.news.ring()
	}
	return x, nil
}

// Finish ends an attempt. Errors: LeaseLost about "lease" as in Extend, Invalid
// about a member of o.
func (r *Runs) Finish(ctx context.Context, p errand.Principal, project, token string, o errand.Outcome, log []byte) (*errand.Task, error) {
	id, err := r.held(p, project, token)
	if err != nil {
		return nil, err
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if len(log) > MaxLogWrite {
		return nil, errand.Errorf(errand.Invalid, "log", "one call takes at most %d bytes of log", MaxLogWrite)
	}
	if len(log) > 0 { // first, so that who sees the end of the task sees all of its log
		if err := r.appendHeld(ctx, project, id, token, log); err != nil {
			return nil, lostIfGone(err)
		}
	}
	now := r.now()
	t, err := r.queue.Update(ctx, project, id, func(t *errand.Task) (*errand.Event, error) {
		from, worker := t.Status, ""
		if t.Run != nil {
			worker = t.Run.Lease.Worker
		}
		if err := t.Finish(token, r.maskOutcome(t, o), r.retryAt(t, now), now); err != nil {
			return nil, err
		}
		e := event(p, t, errand.ActFinished, now)
		e.From, e.To, e.Reason = from, t.Status, joinReason("worker "+worker, t.Reason)
		return e, nil
	})
	if err != nil {
		return nil, lostIfGone(err)
	}
	r.changed()
	return public(t), nil
}

// appendHeld adds to the log of a task that runs under a lease.
func (r *Runs) appendHeld(ctx context.Context, project, id, token string, log []byte) error {
	t, err := r.svc.Store.Get(ctx, project, id)
	if err != nil {
		return err
	}
	if err := t.Hold(token); err != nil {
		return err
	}
	_, err = r.appendLog(ctx, t, log)
	return err
}

// logCut ends a log that is full.
const logCut = "\n[the log was cut here: it had reached its limit]\n"

// appendLog adds to a task's log as far as there is room, and then the mark that
// says so, for which there is room once. t has its Run as a worker holds it.
func (r *Runs) appendLog(ctx context.Context, t *errand.Task, text []byte) (truncated bool, err error) {
	text = []byte(r.masker(t).Text(string(text)))
	truncated, err = r.queue.AppendLog(ctx, t.Project, t.ID, text, r.opt.MaxLog)
	if err == nil && truncated {
		_, err = r.queue.AppendLog(ctx, t.Project, t.ID, []byte(logCut), r.opt.MaxLog+int64(len(logCut)))
	}
	return truncated, err
}

// held returns the id of the task that a token is for.
func (r *Runs) held(p errand.Principal, project, token string) (string, error) {
	if err := authorize(p, project, errand.Worker); err != nil {
		return "", err
	}
	if len(token) != 64 || !errand.ValidID(token[:32]) || !errand.ValidID(token[32:]) {
		return "", errand.Errorf(errand.LeaseLost, "lease", "this is not a lease token")
	}
	return token[:32], nil
}

// lostIfGone says of a task that is gone that its lease is lost.
func lostIfGone(err error) error {
	if e := errand.ErrorOf(err); e.Kind == errand.NotFound {
		return errand.Errorf(errand.LeaseLost, "lease", "the lease is no longer held: the task is gone")
	}
	return err
}

// retryAt is when the attempt after the current one may start: after a random
// part of a wait that doubles.
func (r *Runs) retryAt(t *errand.Task, now time.Time) time.Time {
	if t.Run == nil {
		return now
	}
	return now.Add(r.jitter(t.Run.Backoff.Ceiling(len(t.Run.Attempts)))).Truncate(time.Microsecond)
}

// public returns t without what only its worker may see.
func public(t *errand.Task) *errand.Task {
	if t.Run == nil {
		return t
	}
	c, run := *t, *t.Run
	run.Sealed, run.Lease.Token = nil, ""
	c.Run = &run
	return &c
}

func joinReason(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			kept = append(kept, p)
		}
	}
	s := strings.Join(kept, ": ")
	if len(s) > errand.MaxAttributeLen {
		s = strings.ToValidUTF8(s[:errand.MaxAttributeLen], "")
	}
	return s
}
