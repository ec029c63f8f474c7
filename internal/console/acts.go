package console

import (
	"net/http"
	"slices"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// act is something that can be done to a task. It is asked for once more on a
// page of its own, which names the instance: there is no way back.
type act struct {
	path   string // last segment
	verb   string // of the button
	head   string // of the page
	lead   string // what it does
	danger bool
	reason bool // may be given one
	when   bool // needs a time

	can func(*errand.Task) bool
	do  func(c *Console, v *visit, t *errand.Task) (to string, err error)
}

func acts() []act {
	return []act{
		{
			path: "cancel", verb: "Cancel the task", head: "Cancel this task?", danger: true, reason: true,
			lead: "One that waits is cancelled at once. The worker of a running one is told to stop; what it has done already stays done.",
			can:  func(t *errand.Task) bool { return t.Run != nil && !t.Status.Final() && t.Run.Cancel == nil },
			do: func(c *Console, v *visit, t *errand.Task) (string, error) {
				now, err := c.Runs.Cancel(v.Context(), v.who, v.project(), t.ID, v.PostForm.Get("reason"))
				if err != nil {
					return "", err
				}
				if now.Status == errand.Cancelled {
					return "tasks/" + t.ID + "?done=cancelled", nil
				}
				return "tasks/" + t.ID + "?done=stopping", nil
			},
		},
		{
			path: "move", verb: "Move the start", head: "Move the start of this task?", when: true,
			lead: "It is not started before the new time. Its deadline stays as it is.",
			can:  func(t *errand.Task) bool { return t.Run != nil && t.Status == errand.Pending },
			do: func(c *Console, v *visit, t *errand.Task) (string, error) {
				at, ok := v.look.parse(v.PostForm.Get("run_at"), false)
				if !ok {
					return "", errand.Errorf(errand.Invalid, "run_at", "%.64q is not a time; write it like 2026-01-31 18:00", v.PostForm.Get("run_at"))
				}
				_, err := c.Runs.Reschedule(v.Context(), v.who, v.project(), t.ID, at)
				return "tasks/" + t.ID + "?done=moved", err
			},
		},
		{
			path: "retry", verb: "Run again", head: "Run this task again?",
			lead: "A new task is submitted with the same parameters. The old one and its history stay as they are.",
			can:  func(t *errand.Task) bool { return t.Status.Final() },
			do: func(c *Console, v *visit, t *errand.Task) (string, error) {
				again, err := c.Runs.Retry(v.Context(), v.who, v.project(), t.ID, secretsOf(v), v.PostForm.Get("key"))
				if err != nil {
					return "", err
				}
				return "tasks/" + again.ID + "?done=submitted", nil
			},
		},
		{
			path: "delete", verb: "Delete the record", head: "Delete this record?", danger: true,
			lead: "The record goes from every listing, with its log. What happened stays in the history of events. Nothing brings it back.",
			can:  func(t *errand.Task) bool { return t.Status.Final() },
			do: func(c *Console, v *visit, t *errand.Task) (string, error) {
				return "instances/" + t.Instance + "?done=deleted", c.Tasks.Delete(v.Context(), v.who, v.project(), t.ID, tasks.DeleteOptions{Instance: t.Instance})
			},
		},
	}
}

// possible lists what who is signed in can do to t.
func (c *Console) possible(v *visit, t *errand.Task) []choice {
	if !v.who.Can(errand.Operator) {
		return nil
	}
	var out []choice
	for _, a := range acts() {
		if a.can(t) && (a.path != "retry" || c.declared(t)) {
			out = append(out, choice{To: "tasks/" + t.ID + "/" + a.path, Text: v.look.t(a.verb), Chosen: a.danger})
		}
	}
	return out
}

// declared reports whether a task's operation can be submitted.
func (c *Console) declared(t *errand.Task) bool {
	_, ok := c.catalog.of(t)
	return ok
}

type confirmView struct {
	frame
	Head, Lead, Verb string
	Danger, Reason   bool
	When             bool
	RunAt, Why       string // what is typed
	Task             taskRow
	Secrets          []string
	Key              string
	Problem          string
}

// confirm asks whether it is meant.
func (c *Console) confirm(a act) handler {
	return func(v *visit) (reply, error) {
		t, err := c.Runs.Get(v.Context(), v.who, v.project(), v.PathValue("task"))
		if err == nil {
			err = operatorOnly(v)
		}
		if err == nil && !a.can(t) {
			err = errand.Errorf(errand.Conflict, "task", "this cannot be done to task %s as it is: %s", t.ID, t.Status)
		}
		if err != nil {
			return reply{}, err
		}
		return reply{page: "confirm", view: c.confirmView(v, a, t, "")}, nil
	}
}

func (c *Console) confirmView(v *visit, a act, t *errand.Task, problem string) confirmView {
	view := confirmView{
		frame: c.frame(v, a.head, "tasks"), Head: v.look.t(a.head), Lead: v.look.t(a.lead), Verb: v.look.t(a.verb),
		Danger: a.danger, Reason: a.reason, When: a.when, Task: c.rows(v).of(t), Problem: problem,
	}
	if a.when && t.Run != nil {
		view.RunAt = v.look.inputTime(t.Run.RunAt)
	}
	if v.Method == http.MethodPost { // what was typed is not lost
		view.RunAt, view.Why = v.PostForm.Get("run_at"), v.PostForm.Get("reason")
	}
	if a.path == "retry" {
		view.Key = errand.NewID(c.Now())
		if o, ok := c.catalog.of(t); ok {
			view.Secrets = o.Secrets
		}
	}
	return view
}

// act does it.
func (c *Console) act(a act) handler {
	return func(v *visit) (reply, error) {
		t, err := c.Runs.Get(v.Context(), v.who, v.project(), v.PathValue("task"))
		if err != nil {
			return reply{}, err
		}
		to, err := a.do(c, v, t)
		if e := errand.ErrorOf(err); e != nil && slices.Contains([]errand.Kind{errand.Invalid, errand.Conflict}, e.Kind) {
			return reply{page: "confirm", view: c.confirmView(v, a, t, clean(e.Msg, cutLine)), status: statusOf(e)}, nil
		}
		return reply{to: to}, err
	}
}

// secretPrefix begins the names of the fields for secrets.
const secretPrefix = "secret."

// secretsOf returns the secrets of a form, without those that are empty.
func secretsOf(v *visit) map[string]string {
	out := map[string]string{}
	for name, values := range v.PostForm {
		if len(name) > len(secretPrefix) && name[:len(secretPrefix)] == secretPrefix && values[0] != "" {
			out[name[len(secretPrefix):]] = values[0]
		}
	}
	return out
}
