package tasks

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/errandhq/errand"
)

// Rule says how long the history of a project is kept. Zero members keep for
// ever.
type Rule struct {
	Age    time.Duration // of finished tasks, from their creation
	Count  int           // of tasks, the newest; older ones go once they have finished
	LogAge time.Duration // of the logs of finished tasks, from the creation of the task
}

// MinAge is the least age at which a rule, or an admin who gives an age, lets
// history go: who writes 1m has a month in mind, and would lose everything.
const MinAge = time.Hour

func (r Rule) keepsAll() bool { return r == Rule{} }

// RetentionOptions say what a Retention keeps.
type RetentionOptions struct {
	Rule  Rule            // of every project
	Rules map[string]Rule // by project id, in place of Rule

	// Log is told who purged by hand, and what went. Nil drops that.
	Log *slog.Logger
}

// Retention lets the past go: by itself, as its rules say, and when an admin
// asks for it. It works in batches with pauses between them, so that live work
// goes first.
type Retention struct {
	history  History
	projects func(context.Context) ([]string, error)
	opt      RetentionOptions
	now      func() time.Time

	tasks, logs, logBytes, events atomic.Int64 // removed since the start
}

// NewRetention returns the retention of a store. projects lists the ids of all
// projects; now is the time by which ages are measured.
func NewRetention(history History, projects func(context.Context) ([]string, error), now func() time.Time, o RetentionOptions) *Retention {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Retention{history: history, projects: projects, opt: o, now: now}
}

// The pace of retention.
const (
	purgeBatch    = 100                  // tasks, logs or events in one transaction: some 5 ms in SQLite
	purgeCount    = 2000                 // in one read, where nothing is removed
	purgeMinPause = 5 * time.Millisecond // between two batches
	purgeMaxPause = 500 * time.Millisecond
	purgeFirst    = time.Minute // after the start
	purgeEvery    = 10 * time.Minute
)

// Run applies the rules a minute after the start and then about every ten
// minutes, until ctx is done, and logs one line for each project of which
// something went. One node is enough, more do no harm: they begin at different
// times and with different projects.
func (r *Retention) Run(ctx context.Context, log *slog.Logger) error {
	if r.opt.Rule.keepsAll() && len(r.opt.Rules) == 0 {
		<-ctx.Done()
		return nil
	}
	for wait := purgeFirst; pause(ctx, jittered(wait), nil); wait = purgeEvery {
		if err := r.apply(ctx, log); err != nil && ctx.Err() == nil {
			log.LogAttrs(ctx, slog.LevelError, "retention", slog.Any("error", err))
		}
	}
	return nil
}

// jittered is d, give or take a fifth of it.
func jittered(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5+1) }

// apply goes through all projects once. What goes wrong in one does not stop the
// others; the first error is returned.
func (r *Retention) apply(ctx context.Context, log *slog.Logger) error {
	projects, err := r.projects(ctx)
	if err != nil {
		return err
	}
	if err := r.misnamed(projects); err != nil {
		return err
	}
	rand.Shuffle(len(projects), func(i, j int) { projects[i], projects[j] = projects[j], projects[i] })
	var first error
	for _, project := range projects {
		rule := r.rule(project)
		if rule.keepsAll() {
			continue
		}
		done, err := r.purge(ctx, rule.purge(project, r.now()), time.Time{})
		if !done.Nothing() {
			log.LogAttrs(ctx, slog.LevelInfo, "history purged", append(countsOf(done), slog.String("project", project))...)
		}
		if err != nil && first == nil {
			first = fmt.Errorf("project %s: %w", project, err)
		}
	}
	return first
}

func countsOf(p Purged) []slog.Attr {
	return []slog.Attr{slog.Int64("tasks", p.Tasks), slog.Int64("logs", p.Logs), slog.Int64("log_bytes", p.LogBytes), slog.Int64("events", p.Events)}
}

// misnamed refuses rules of projects that are not there: the project that was
// meant would lose what its own rule was to keep.
func (r *Retention) misnamed(projects []string) error {
	for _, id := range slices.Sorted(maps.Keys(r.opt.Rules)) {
		if !slices.Contains(projects, id) {
			return errand.Errorf(errand.Invalid, "purge", "the settings say how long to keep the history of project %.64q, which does not exist; "+
				"nothing is removed by the settings until that is put right", id)
		}
	}
	return nil
}

func (r *Retention) rule(project string) Rule {
	if rule, ok := r.opt.Rules[project]; ok {
		return rule
	}
	return r.opt.Rule
}

// purge is what the rule selects at a moment.
func (r Rule) purge(project string, now time.Time) Purge {
	p := Purge{Project: project, Keep: r.Count}
	if r.Age > 0 {
		p.Before = now.Add(-r.Age)
	}
	if r.LogAge > 0 {
		p.LogsBefore = now.Add(-r.LogAge)
	}
	return p
}

// purge works on one project until there is no more, or until a moment (zero:
// for as long as it takes). What was done before an error counts.
func (r *Retention) purge(ctx context.Context, p Purge, until time.Time) (sum Purged, err error) {
	p.Limit = purgeBatch
	if p.DryRun {
		p.Limit = purgeCount
	}
	for {
		start := time.Now()
		done, err := r.history.Purge(ctx, p)
		if err != nil {
			return sum, err
		}
		if !p.DryRun {
			r.note(done)
		}
		sum, p.After = sum.Add(done), done.Next
		took := time.Since(start)
		if !done.More || !until.IsZero() && !time.Now().Add(took).Before(until) {
			return sum, nil
		}
		if p.DryRun {
			continue // nobody waits for a read
		}
		if wait := min(max(purgeMinPause, 2*took), purgeMaxPause); !pause(ctx, wait, nil) {
			return sum, ctx.Err()
		}
	}
}

func (r *Retention) note(done Purged) {
	r.tasks.Add(done.Tasks)
	r.logs.Add(done.Logs)
	r.logBytes.Add(done.LogBytes)
	r.events.Add(done.Events)
}

// Total counts what was removed here since the start.
func (r *Retention) Total() Purged {
	return Purged{Tasks: r.tasks.Load(), Logs: r.logs.Load(), LogBytes: r.logBytes.Load(), Events: r.events.Load()}
}
