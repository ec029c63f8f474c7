package tasks

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// PurgeRequest is what an admin asks to have removed; see Purge. Where nothing of
// it selects anything, it is what the rules would remove.
type PurgeRequest struct {
	Project string // "" for all

	Before time.Time
	Age    time.Duration // in place of Before: tasks created longer ago; MinAge or more
	Keep   int

	LogsBefore time.Time
	LogAge     time.Duration // in place of LogsBefore; MinAge or more

	DryRun bool
	After  string // the Next of the answer before, if that said More
}

// purgeTime is how long one call of Purge works at the most.
const purgeTime = 20 * time.Second

// Purge removes history, or counts what it would remove, for up to 20 seconds.
// More says that it is not done: it is to be asked again, with Next as After.
// What is removed is told to the log, with who asked. Errors: Forbidden about
// "role"; NotFound about "project"; Invalid about "purge" where neither q nor a
// rule selects anything, and about members of q.
func (r *Retention) Purge(ctx context.Context, p errand.Principal, q PurgeRequest) (Purged, error) {
	if !p.Can(errand.Admin) {
		return Purged{}, errand.Errorf(errand.Forbidden, "role", "role %s may not remove history; it takes %s", p.Role, errand.Admin)
	}
	all, err := r.asked(ctx, q)
	if err != nil {
		return Purged{}, err
	}
	done, err := r.purgeEach(ctx, all)
	if !q.DryRun && (err != nil || !done.Nothing()) {
		of := q.Project
		if of == "" {
			of = "all"
		}
		r.opt.Log.LogAttrs(ctx, slog.LevelInfo, "history purged by hand", append(countsOf(done),
			slog.String("project", of), slog.String("user", p.User.Name), slog.String("user_id", p.User.ID),
			slog.String("remote", p.Remote), slog.String("request_id", p.Request), slog.Bool("more", done.More))...)
	}
	return done, err
}

// asked returns what q selects of each project, by id, from q.After on.
func (r *Retention) asked(ctx context.Context, q PurgeRequest) ([]Purge, error) {
	chosen, err := q.selection(r.now())
	if err != nil {
		return nil, err
	}
	known, err := r.projects(ctx)
	if err != nil {
		return nil, err
	}
	if chosen == (Purge{}) {
		if err := r.misnamed(known); err != nil {
			return nil, err
		}
	}
	if q.Project != "" {
		if !slices.Contains(known, q.Project) {
			return nil, errand.Errorf(errand.NotFound, "project", "project %.64q does not exist", q.Project)
		}
		known = []string{q.Project}
	}
	slices.Sort(known)
	var all []Purge
	for _, project := range known {
		p := chosen
		if chosen == (Purge{}) {
			p = r.rule(project).purge(project, r.now())
		}
		if p.Before.IsZero() && p.Keep == 0 && p.LogsBefore.IsZero() {
			continue
		}
		p.Project, p.DryRun = project, q.DryRun
		all = append(all, p)
	}
	if len(all) == 0 && len(known) > 0 {
		return nil, errand.Errorf(errand.Invalid, "purge", "nothing says what to remove: give an age or a count, or set keep-tasks, keep-count or keep-logs on the server")
	}
	return from(all, q.After)
}

// from passes over what calls before have done.
func from(all []Purge, after string) ([]Purge, error) {
	if after == "" {
		return all, nil
	}
	project, place, ok := strings.Cut(after, ":")
	at := slices.IndexFunc(all, func(p Purge) bool { return p.Project == project })
	if !ok || at < 0 {
		return nil, errand.Errorf(errand.Invalid, "after", "%.128q is not the next of an answer to the same question", after)
	}
	all = all[at:]
	all[0].After = place
	return all, nil
}

// selection checks q and returns what it selects; nothing stands for the rules.
func (q PurgeRequest) selection(now time.Time) (Purge, error) {
	p := Purge{Before: q.Before, Keep: q.Keep, LogsBefore: q.LogsBefore}
	if q.Keep < 0 {
		return p, errand.Errorf(errand.Invalid, "keep", "keep must be 1 or more, or left out to keep any number")
	}
	for _, m := range []struct {
		name   string
		moment *time.Time
		age    time.Duration
	}{{"before", &p.Before, q.Age}, {"logs_before", &p.LogsBefore, q.LogAge}} {
		switch {
		case m.age < 0:
			return p, errand.Errorf(errand.Invalid, m.name, "an age must not be negative")
		case m.age > 0 && m.age < MinAge:
			return p, errand.Errorf(errand.Invalid, m.name, "an age must be at least an hour, not %s; a month is 30 days, which is written 30d, or as 2592000 seconds", m.age)
		case m.age > 0 && !m.moment.IsZero():
			return p, errand.Errorf(errand.Invalid, m.name, "give either a moment or an age, not both")
		case m.age > 0:
			*m.moment = now.Add(-m.age)
		case m.moment.After(now):
			return p, errand.Errorf(errand.Invalid, m.name, "%s must not be in the future", m.name)
		}
	}
	return p, nil
}

// purgeEach works on one after the other, for as long as one call may take.
func (r *Retention) purgeEach(ctx context.Context, all []Purge) (sum Purged, err error) {
	until := time.Now().Add(purgeTime)
	for i, p := range all {
		if i > 0 && !time.Now().Before(until) {
			sum.More, sum.Next = true, p.Project+":"
			return sum, nil
		}
		done, err := r.purge(ctx, p, until)
		if sum = sum.Add(done); err != nil {
			return sum, err
		}
		if sum.More {
			sum.Next = p.Project + ":" + sum.Next
			return sum, nil
		}
		sum.Next = ""
	}
	return sum, nil
}
