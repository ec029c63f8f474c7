package tasks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/errandhq/errand"
)

// Why says what a task waits for. Text is one sentence for people; the other
// members hold the same for programs, where they apply.
type Why struct {
	Code WhyCode
	Text string

	Until     time.Time     // when it is over at the latest, or looked at again
	Behind    *errand.Task  // the task that is in the way
	Ahead     int           // tasks that come first in its lane, Behind included
	Remaining time.Duration // of Behind or of the task itself, estimated; 0: unknown
	Worker    string
	LastSeen  time.Time // of the worker, or of any that serves the operation
	Step      string    // the step that is running
	StepIndex int       // its number, counted from 1
	Steps     int
}

// WhyCode classifies a Why.
type WhyCode string

// What a task may wait for.
const (
	WhyEnded     WhyCode = "ended"     // for nothing: it has ended
	WhyRecord    WhyCode = "record"    // it runs elsewhere, if at all
	WhyTime      WhyCode = "time"      // for its time
	WhyLane      WhyCode = "lane"      // for a task in the same lane
	WhyNoWorker  WhyCode = "no_worker" // no worker serves the operation
	WhyWorker    WhyCode = "worker"    // for a worker to take it
	WhyRunning   WhyCode = "running"   // it is running
	WhySilent    WhyCode = "silent"    // its worker has not been heard of; the sweep is near
	WhyCancelled WhyCode = "stopping"  // for its worker to stop
)

// Why explains what a task is waiting for, or why it ended. Errors: NotFound
// about "task".
func (r *Runs) Why(ctx context.Context, p errand.Principal, project, id string) (Why, error) {
	t, err := r.svc.Show(ctx, p, project, "", id)
	if err != nil {
		return Why{}, err
	}
	now := r.now()
	switch {
	case t.Status.Final():
		return whyEnded(t), nil
	case t.Run == nil:
		return Why{Code: WhyRecord, Text: fmt.Sprintf("the record was imported as %s; the task does not run here", t.Origin.Status)}, nil
	case t.Status == errand.Running:
		return r.whyRunning(ctx, t, now)
	case t.Run.RunAt.After(now):
		text := fmt.Sprintf("it is to be started at %s, in %s", clock(t.Run.RunAt), about(t.Run.RunAt.Sub(now)))
		if n := t.AttemptNumber(); n > 0 {
			text = fmt.Sprintf("attempt %d of %d failed (%s); the next one starts in %s", n, t.Run.MaxAttempts, t.Reason, about(t.Run.RunAt.Sub(now)))
		}
		return Why{Code: WhyTime, Until: t.Run.RunAt, Text: text}, nil
	}
	return r.whyPending(ctx, t, now)
}

func whyEnded(t *errand.Task) Why {
	text := fmt.Sprintf("it %s at %s", ended[t.Status], clock(t.UpdatedAt))
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return Why{Code: WhyEnded, Text: text}
}

var ended = map[errand.Status]string{
	errand.Succeeded: "succeeded",
	errand.Failed:    "failed",
	errand.Cancelled: "was cancelled",
}

// whyPending explains a task that could run now.
func (r *Runs) whyPending(ctx context.Context, t *errand.Task, now time.Time) (Why, error) {
	if t.Run.Lane != "" {
		lane, err := r.queue.Lane(ctx, t.Project, t.Instance, t.Run.Lane)
		if err != nil {
			return Why{}, err
		}
		// What is to be run later does not stand in the way.
		lane = slices.DeleteFunc(lane, func(x *errand.Task) bool { return x.Status == errand.Pending && x.Run.RunAt.After(now) })
		if at := slices.IndexFunc(lane, func(x *errand.Task) bool { return x.ID == t.ID }); at > 0 {
			return r.whyBehind(ctx, t, lane[0], at, now)
		}
	}
	return r.whyReady(t, now), nil
}

// whyReady explains a task that only needs a worker.
func (r *Runs) whyReady(t *errand.Task, now time.Time) Why {
	seen := r.seen.lastSeen(t, now)
	if !r.seen.serves(t, now) {
		w := Why{Code: WhyNoWorker, Until: t.Run.Deadline, LastSeen: seen, Text: "no worker serves operation " + t.Operation}
		if seen.IsZero() {
			w.Text += "; none has asked for work lately"
		} else {
			w.Text += "; the last one was seen " + about(now.Sub(seen)) + " ago"
		}
		if !w.Until.IsZero() {
			w.Text += "; it fails at " + clock(w.Until)
		}
		return w
	}
	return Why{Code: WhyWorker, LastSeen: seen, Text: fmt.Sprintf("it waits for a worker to take it; one that serves %s was seen %s ago", t.Operation, about(now.Sub(seen)))}
}

func (r *Runs) whyBehind(ctx context.Context, t, first *errand.Task, ahead int, now time.Time) (Why, error) {
	w := Why{Code: WhyLane, Behind: public(first), Ahead: ahead}
	w.Text = fmt.Sprintf("it waits behind task %s (%s, %s) in lane %q", first.ID, first.Operation, first.Status, t.Run.Lane)
	if ahead > 1 {
		w.Text += fmt.Sprintf(" and %d more", ahead-1)
	}
	if first.Status == errand.Pending && !r.seen.serves(first, now) { // nobody knows how long that one takes
		w.Text += "; no worker serves operation " + first.Operation
		return w, nil
	}
	left, err := r.remaining(ctx, first, now)
	if err != nil {
		return Why{}, err
	}
	if w.Remaining = left; left > 0 {
		w.Text += ", which has about " + about(left) + " left"
	}
	return w, nil
}

// whyRunning explains a task that a worker holds.
func (r *Runs) whyRunning(ctx context.Context, t *errand.Task, now time.Time) (Why, error) {
	l := t.Run.Lease
	w := Why{Code: WhyRunning, Worker: l.Worker, LastSeen: l.Beat, Until: t.Run.Due}
	var err error
	if w.Remaining, err = r.remaining(ctx, t, now); err != nil {
		return Why{}, err
	}
	w.Text = fmt.Sprintf("worker %s runs it and was heard of %s ago", l.Worker, about(now.Sub(l.Beat)))
	if t.Progress != nil {
		for i, s := range t.Progress.Steps {
			if s.Status == errand.StepRunning {
				w.Step, w.StepIndex, w.Steps = s.Name, i+1, len(t.Progress.Steps)
				w.Text += fmt.Sprintf(", at step %d of %d (%s)", w.StepIndex, w.Steps, s.Name)
				break
			}
		}
	}
	switch {
	case t.Run.Cancel != nil:
		w.Code = WhyCancelled
		w.Text = fmt.Sprintf("%s asked it to stop %s ago; worker %s has until %s, then it is stopped without it",
			t.Run.Cancel.By.Name, about(now.Sub(t.Run.Cancel.At)), l.Worker, clock(t.Run.Cancel.Force))
	case !l.Expires.After(now):
		w.Code = WhySilent
		w.Text = fmt.Sprintf("worker %s was last heard of %s ago; its lease has expired and the sweep takes it over now", l.Worker, about(now.Sub(l.Beat)))
	case w.Remaining > 0:
		w.Text += ", about " + about(w.Remaining) + " left"
	}
	return w, nil
}

// remaining estimates how long a task still takes: as its worker says, else from
// the runs before it.
func (r *Runs) remaining(ctx context.Context, t *errand.Task, now time.Time) (time.Duration, error) {
	if t.Progress != nil && t.Progress.Remaining > 0 && t.Run != nil { // so much was left when it was said
		return max(0, t.Progress.Remaining-max(0, now.Sub(t.Run.Lease.Beat))).Round(time.Second), nil
	}
	usual, err := r.usual(ctx, t)
	if err != nil || usual == 0 {
		return 0, err
	}
	if n := t.AttemptNumber(); n > 0 && t.Status == errand.Running {
		return max(0, usual-now.Sub(t.Run.Attempts[n-1].StartedAt)).Round(time.Second), nil
	}
	return usual.Round(time.Second), nil
}

// history is how many runs an estimate looks back on.
const history = 20

// usual is the median of how long an operation took lately, or zero.
func (r *Runs) usual(ctx context.Context, t *errand.Task) (time.Duration, error) {
	all, err := r.queue.Durations(ctx, t.Project, t.Engine, t.Operation, history)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// Workers returns the workers of a project that this server and those that share
// its store have seen within a day.
func (r *Runs) Workers(p errand.Principal, project string) ([]Worker, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return nil, err
	}
	return r.seen.list(project, r.now()), nil
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// about words a duration for people.
func about(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than a second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}
