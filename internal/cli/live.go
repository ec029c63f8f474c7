package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// How often a task that is waited for is asked for: at first, and at the most
// after a while; and how often where somebody looks on.
const (
	firstPoll = 100 * time.Millisecond
	lastPoll  = 2 * time.Second
	livePoll  = 500 * time.Millisecond
)

// patience is how long a server may not answer while something is waited for: it
// may be restarted. callPatience is how long one call may take meanwhile.
const (
	patience     = 2 * time.Minute
	callPatience = 15 * time.Second
)

// link says when the server is lost, and when it is back.
type link struct {
	say   func(text string)
	since time.Time // of the first call that failed; zero: all is well
}

func (a *app) link() *link {
	return &link{say: func(text string) { fmt.Fprintf(a.stderr, "errand: %s\n", text) }}
}

// broken takes the error of a call. nil means to try again.
func (l *link) broken(err error) error {
	if errand.ErrorOf(err).Kind != errand.Unavailable {
		return err
	}
	if l.since.IsZero() {
		l.since = time.Now()
		l.say("connection lost, trying again: " + oneLine(errand.ErrorOf(err).Msg))
	}
	if time.Since(l.since) > patience {
		return err
	}
	return nil
}

// heard says that the server has answered.
func (l *link) heard() {
	if !l.since.IsZero() {
		l.since = time.Time{}
		l.say("connected again")
	}
}

// pause waits, or returns false if ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// waitFor returns t as it is when it has ended. Each time that it is asked for,
// show is told, if there is one.
func waitFor(ctx context.Context, s *session, t *errand.Task, l *link, show func(*errand.Task)) (*errand.Task, error) {
	longest := lastPoll
	if show != nil {
		longest = livePoll
	}
	for wait := firstPoll; ; wait = min(longest, wait*3/2) {
		if show != nil {
			show(t)
		}
		if t.Status.Final() {
			return t, nil
		}
		if !pause(ctx, wait) {
			return nil, fmt.Errorf("task %s goes on; only the waiting was interrupted", t.ID)
		}
		now, err := s.look(ctx, t.Project, t.ID)
		switch {
		case err == nil:
			t = now
			l.heard()
		case ctx.Err() != nil:
			continue
		default:
			if err := l.broken(err); err != nil {
				return nil, fmt.Errorf("while waiting for task %s: %w", t.ID, err)
			}
		}
	}
}

// look asks for a task, for a bounded time.
func (s *session) look(ctx context.Context, project, id string) (*errand.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	return s.Task(ctx, project, id)
}

// view shows how tasks go on.
type view interface {
	show(t *errand.Task) // as it is now
	say(text string)     // something that is no task
	end()                // nothing follows
}

// view returns bars on a terminal, and else lines for what changes. Where a
// program reads standard output, they are on standard error.
func (a *app) view() view {
	w := a.stdout
	if a.output != formText && a.output != formWide {
		w = a.stderr
	}
	if isTerminal(w) && a.getenv("TERM") != "dumb" {
		return newBars(w, a.painterOf(w), 0)
	}
	return &lines{w: w, err: a.stderr, last: map[string]string{}}
}

// follow shows how a task goes on until it has ended.
func (a *app) follow(ctx context.Context, s *session, t *errand.Task) (*errand.Task, error) {
	v := a.view()
	defer v.end()
	return waitFor(ctx, s, t, &link{say: v.say}, v.show)
}

// lines is the view of those who have no terminal.
type lines struct {
	w, err io.Writer
	last   map[string]string // what was said of each task
}

func (l *lines) show(t *errand.Task) {
	text := fmt.Sprintf("%s  %s  %s", t.ID, cell(t.Operation), t.Status)
	if how := going(t); how != "" {
		text += "  " + how
	}
	if l.last[t.ID] != text {
		l.last[t.ID] = text
		fmt.Fprintf(l.w, "%s  %s\n", stamp(time.Now()), text)
	}
}

func (l *lines) say(text string) { fmt.Fprintf(l.err, "errand: %s\n", text) }
func (l *lines) end()            {}

// going says how far a task is, or why it ended.
func going(t *errand.Task) string {
	if t.Status.Final() {
		return cut(oneLine(t.Reason), maxCell)
	}
	if t.Progress == nil || t.Status == errand.Pending {
		return ""
	}
	text := percent(t.Progress)
	if name, n := currentStep(t.Progress); n > 0 {
		text += fmt.Sprintf("  step %d of %d, %s", n, len(t.Progress.Steps), cut(cell(name), maxCell))
	}
	return text
}

// currentStep returns the step that is running, and its number counted from 1.
func currentStep(p *errand.Progress) (string, int) {
	for i, s := range p.Steps {
		if s.Status == errand.StepRunning {
			return s.Name, i + 1
		}
	}
	return "", 0
}

// watchList prints a page of a listing, and then how its tasks and newer ones go on.
func (a *app) watchList(ctx context.Context, s *session, f errand.Filter, page errand.Page) error {
	ended := map[string]bool{} // of which no more is shown
	var v view
	switch a.output {
	case formJSON, formYAML:
		v = &changes{a: a, last: map[string]string{}}
	case formName:
		return usage("--watch shows what changes and has no form of names")
	default:
		if err := a.tasks(ctx, s, page, f); err != nil {
			return err
		}
		for _, t := range page.Tasks {
			ended[t.ID] = t.Status.Final()
		}
		v = a.view()
	}
	defer v.end()
	l := &link{say: v.say}
	for {
		for i := len(page.Tasks) - 1; i >= 0; i-- { // the oldest first
			t := &page.Tasks[i]
			if ended[t.ID] {
				continue
			}
			if t.Status == errand.Running { // a listing has no steps
				if full, err := s.look(ctx, f.Project, t.ID); err == nil {
					t = full
				}
			}
			v.show(t)
			ended[t.ID] = t.Status.Final()
		}
		if !pause(ctx, 2*livePoll) {
			return nil // Ctrl-C is how it ends
		}
		next, err := s.lookAll(ctx, f)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if err := l.broken(err); err != nil {
				return err
			}
		default:
			page = next
			l.heard()
		}
	}
}

func (s *session) lookAll(ctx context.Context, f errand.Filter) (errand.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	return s.Tasks(ctx, f)
}

// changes is the view of programs: each task that has changed, whole.
type changes struct {
	a    *app
	last map[string]string
}

func (r *changes) show(t *errand.Task) {
	text := fmt.Sprint(t.Status, t.UpdatedAt, going(t))
	if r.last[t.ID] != text {
		r.last[t.ID] = text
		_ = r.a.dataLine(nativejson.TaskOf(t)) // a pipe that is closed ends the process
	}
}

func (r *changes) say(text string) { fmt.Fprintf(r.a.stderr, "errand: %s\n", text) }
func (r *changes) end()            {}
