package console

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// submitView is the way to a new task: first its instance, then its operation,
// then the form of its parameters.
type submitView struct {
	frame
	Instances []errand.Instance // to choose from
	Total     int               // of all instances
	Instance  string            // chosen, "" for none yet
	Name      string
	Engine    string
	Ops       []operationRow // to choose from
	Op        *operationRow  // chosen
	Fields    []field
	Secrets   []secretField
	Problem   string
	Key       string
	When      whenFields
	Busy      int // unfinished tasks of the instance
}

// Inputs hands fields to the template that draws them, with the frame.
func (f frame) Inputs(fields []field) inputs { return inputs{f, fields} }

type inputs struct {
	frame
	Fields []field
}

type secretField struct{ Name, Label string }

type whenFields struct {
	RunAt, Deadline, Timeout string
	Reject                   bool

	RunAtProblem, DeadlineProblem, TimeoutProblem string
}

func (c *Console) submitPage(v *visit) (reply, error) {
	if err := operatorOnly(v); err != nil { // before somebody fills in a form for nothing
		return reply{}, err
	}
	q := v.URL.Query()
	view, o, err := c.submitView(v, strings.TrimSpace(q.Get("instance")), q.Get("operation"))
	if err != nil {
		return reply{}, err
	}
	if o != nil {
		view.fill(v.look, *o, nil)
		view.Key = errand.NewID(c.Now())
	}
	return reply{page: "submit", view: view}, nil
}

// operatorOnly refuses the pages of what only operators may do; doing it is
// refused by the service.
func operatorOnly(v *visit) error {
	if v.who.Can(errand.Operator) {
		return nil
	}
	return errand.Errorf(errand.Forbidden, "role", "role %s may not do this; it takes %s", v.who.Role, errand.Operator)
}

// submitView looks up what has been chosen so far.
func (c *Console) submitView(v *visit, instance, operation string) (view *submitView, chosen *errand.Operation, err error) {
	view = &submitView{frame: c.frame(v, "Submit a task", "submit")}
	if instance == "" {
		view.Instances, view.Total, err = c.instanceOptions(v.Context(), v)
		return view, nil, err
	}
	i, err := c.Tasks.Instance(v.Context(), v.who, v.project(), instance)
	if err != nil {
		return nil, nil, err
	}
	view.Instance, view.Name, view.Engine = i.ID, clean(i.Name, cutCell), engineNames[i.Engine]
	if operation == "" {
		for _, o := range c.Operations() {
			if o.Engine == i.Engine {
				view.Ops = append(view.Ops, v.look.operation(o))
			}
		}
		return view, nil, nil
	}
	o, ok := c.catalog[[2]string{string(i.Engine), operation}]
	if !ok {
		return nil, nil, errand.Errorf(errand.NotFound, "operation", "no operation %.64q is declared for %s instances", operation, i.Engine)
	}
	row := v.look.operation(o)
	view.Op = &row
	_, running, waiting, err := c.Runs.Unfinished(v.Context(), v.who, v.project(), i.ID, 1)
	view.Busy = running + waiting
	return view, &o, err
}

// fill makes the form, with the values of one that was sent before.
func (view *submitView) fill(l look, o errand.Operation, values url.Values) {
	view.Fields = l.fields(readSchema(o.Schema), "", 0, values)
	for _, name := range o.Secrets {
		view.Secrets = append(view.Secrets, secretField{secretPrefix + name, clean(name, cutCell)})
	}
	view.When = whenFields{RunAt: values.Get("run_at"), Deadline: values.Get("deadline"), Timeout: values.Get("timeout"), Reject: values.Has("reject")}
}

// submit sends a form to the service. Whatever is wrong, what was typed is still
// there, but for secrets.
func (c *Console) submit(v *visit) (reply, error) {
	f := v.PostForm
	view, o, err := c.submitView(v, f.Get("instance"), f.Get("operation"))
	if err != nil {
		return reply{}, err
	}
	if o == nil {
		return reply{to: query("submit", "instance", view.Instance)}, nil
	}
	view.Here = query("submit", "instance", view.Instance, "operation", o.Name)
	view.fill(v.look, *o, f)
	view.Key = cmp.Or(f.Get("key"), errand.NewID(c.Now()))
	params, _, ok := v.look.read(view.Fields)
	s := tasks.Submission{Operation: o.Name, Params: json.RawMessage(params), Secrets: secretsOf(v), Reject: f.Has("reject"), Key: view.Key}
	if !view.When.read(v.look, &s) || !ok {
		view.Problem = v.look.t("Nothing was submitted yet: see the fields that are marked.")
		return reply{page: "submit", view: view, status: http.StatusBadRequest}, nil
	}
	t, err := c.Runs.Submit(v.Context(), v.who, v.project(), view.Instance, s)
	if e := errand.ErrorOf(err); e != nil {
		if e.Kind != errand.Invalid && e.Kind != errand.Conflict {
			return reply{}, err
		}
		view.refused(v.look, e)
		return reply{page: "submit", view: view, status: statusOf(e)}, nil
	}
	return reply{to: "tasks/" + t.ID + "?done=submitted"}, nil
}

// refused says beside the fields why the service did not take them.
func (view *submitView) refused(l look, e *errand.Error) {
	msg := clean(e.Msg, cutLine)
	switch e.Subject {
	case "params":
		if msg = assign(view.Fields, e.Msg); msg == "" {
			msg = l.t("Nothing was submitted yet: see the fields that are marked.")
		}
		view.Problem = clean(msg, cutLine)
	case "run_at":
		view.When.RunAtProblem = msg
	case "deadline":
		view.When.DeadlineProblem = msg
	case "timeout":
		view.When.TimeoutProblem = msg
	default:
		view.Problem = msg
	}
	if e.Subject == "idempotency_key" { // the form was changed after it had been sent
		view.Key = errand.NewID(l.now)
	}
}

// read takes the times of a form over into s.
func (w *whenFields) read(l look, s *tasks.Submission) bool {
	for _, x := range []struct {
		text    string
		to      *time.Time
		problem *string
	}{{w.RunAt, &s.RunAt, &w.RunAtProblem}, {w.Deadline, &s.Deadline, &w.DeadlineProblem}} {
		if x.text == "" {
			continue
		}
		t, ok := l.parse(x.text, false)
		if !ok {
			*x.problem = l.t("%s is not a time; write it like 2026-01-31 18:00", clean(x.text, cutCell))
		}
		*x.to = t
	}
	if w.Timeout != "" {
		d, err := time.ParseDuration(strings.ReplaceAll(w.Timeout, " ", ""))
		if err != nil {
			w.TimeoutProblem = l.t("Write a number with its unit, such as 90s, 30m or 2h.")
		}
		s.Timeout = d
	}
	return w.RunAtProblem == "" && w.DeadlineProblem == "" && w.TimeoutProblem == ""
}
