package cli

import (
	"fmt"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// task prints one task in full.
func (a *app) task(t *errand.Task) error {
	if a.structured() {
		return a.data(nativejson.TaskOf(t))
	}
	if a.output == formName {
		_, err := fmt.Fprintln(a.stdout, t.ID)
		return err
	}
	var list [][2]string
	line := func(name, value string) { list = append(list, [2]string{name, value}) }
	line("id", t.ID)
	line("operation", t.Operation)
	line("instance", t.Instance)
	line("engine", string(t.Engine))
	line("status", string(t.Status))
	line("error", t.ErrorCode)
	line("reason", t.Reason)
	line("user", t.User.Name)
	line("submitted", stamp(t.CreatedAt))
	line("changed", stamp(t.UpdatedAt))
	line("params", t.Params)
	line("details", string(t.Details))
	if t.Origin != nil {
		line("imported as", t.Origin.Status)
	}
	if t.Run != nil {
		runLines(line, t)
	}
	if err := a.facts(list); err != nil {
		return err
	}
	return a.parts(t)
}

func runLines(line func(name, value string), t *errand.Task) {
	r := t.Run
	line("lane", r.Lane)
	if r.Scheduled || len(r.Attempts) > 0 && t.Status == errand.Pending {
		line("run at", stamp(r.RunAt))
	}
	line("deadline", stamp(r.Deadline))
	if r.Timeout > 0 {
		line("timeout", r.Timeout.String())
	}
	line("retry of", r.RetryOf)
	if r.Lease.Worker != "" {
		line("worker", fmt.Sprintf("%s, last heard of at %s", r.Lease.Worker, stamp(r.Lease.Beat)))
	}
	if c := r.Cancel; c != nil {
		line("cancel", strings.TrimSuffix(fmt.Sprintf("asked for by %s at %s: %s", c.By.Name, stamp(c.At), c.Reason), ": "))
	}
	line("result", string(r.Result))
}

// parts prints the attempts and the steps of a task.
func (a *app) parts(t *errand.Task) error {
	if t.Run != nil && len(t.Run.Attempts) > 0 {
		fmt.Fprintln(a.stdout)
		out := newTable(column{"ATTEMPT", 0}, column{"WORKER", isFree}, column{"STARTED", isSpare}, column{"ENDED", isSpare}, column{"ERROR", isFree})
		for i, x := range t.Run.Attempts {
			out.add(fmt.Sprintf("%d of %d", i+1, t.Run.MaxAttempts), x.Worker, stamp(x.StartedAt), stamp(x.EndedAt), x.Error)
		}
		if err := a.table(out); err != nil {
			return err
		}
	}
	p := t.Progress
	if p == nil {
		return nil
	}
	fmt.Fprintf(a.stdout, "\nprogress %d %%", p.Percent)
	if p.Remaining > 0 {
		fmt.Fprintf(a.stdout, ", about %s left", p.Remaining)
	}
	fmt.Fprintln(a.stdout)
	if len(p.Steps) == 0 {
		return nil
	}
	out := newTable(column{"STEP", isFree}, column{"STATUS", isStatus}, column{"STARTED", isSpare}, column{"ENDED", isSpare}, column{"DETAIL", isFree})
	addSteps(out, p.Steps, "")
	return a.table(out)
}

func addSteps(out *table, steps []errand.Step, indent string) {
	for _, s := range steps {
		detail := strings.TrimSpace(s.ErrorCode + " " + s.Detail)
		out.add(indent+s.Name, string(s.Status), stamp(s.StartedAt), stamp(s.EndedAt), detail)
		addSteps(out, s.Steps, indent+"  ")
	}
}
