package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/errandhq/errand"
)

// taskJSON is a task in -o json. Its members are called as in the native API.
type taskJSON struct {
	ID        string          `json:"id"`
	Project   string          `json:"project"`
	Instance  string          `json:"instance"`
	Engine    errand.Engine   `json:"engine"`
	Operation string          `json:"operation"`
	JobID     string          `json:"job_id"`
	User      userJSON        `json:"user"`
	Params    string          `json:"params"`
	Details   json.RawMessage `json:"details,omitempty"`
	Status    errand.Status   `json:"status"`
	ErrorCode string          `json:"error_code,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Progress  *progressJSON   `json:"progress,omitempty"`
	Origin    *originJSON     `json:"origin,omitempty"`
	Run       *runJSON        `json:"run,omitempty"`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

// userJSON is who did something in -o json.
type userJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type originJSON struct {
	Status string `json:"status"`
}

type progressJSON struct {
	Percent          int        `json:"percent"`
	RemainingSeconds float64    `json:"remaining_seconds"`
	Steps            []stepJSON `json:"steps,omitempty"`
}

type stepJSON struct {
	Name      string            `json:"name"`
	Status    errand.StepStatus `json:"status"`
	StartedAt time.Time         `json:"started_at,omitzero"`
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	ErrorCode string            `json:"error_code,omitempty"`
	Detail    string            `json:"detail,omitempty"`
	Steps     []stepJSON        `json:"steps,omitempty"`
}

type runJSON struct {
	Lane           string            `json:"lane"`
	RunAt          time.Time         `json:"run_at"`
	Deadline       time.Time         `json:"deadline,omitzero"`
	TimeoutSeconds float64           `json:"timeout_seconds,omitempty"`
	MaxAttempts    int               `json:"max_attempts"`
	OnLost         errand.LostPolicy `json:"on_lost,omitempty"`
	Due            time.Time         `json:"due,omitzero"`
	Attempts       []attemptJSON     `json:"attempts"`
	Lease          *leaseJSON        `json:"lease,omitempty"`
	Cancel         *cancelJSON       `json:"cancel,omitempty"`
	RetryOf        string            `json:"retry_of,omitempty"`
	Scheduled      bool              `json:"scheduled"`
	Stalled        bool              `json:"stalled"`
	Result         json.RawMessage   `json:"result,omitempty"`
}

type attemptJSON struct {
	Number    int       `json:"number"`
	Worker    string    `json:"worker"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Error     string    `json:"error,omitempty"`
}

type leaseJSON struct {
	Worker  string    `json:"worker"`
	Beat    time.Time `json:"beat"`
	Expires time.Time `json:"expires"`
}

type cancelJSON struct {
	By     userJSON  `json:"by"`
	At     time.Time `json:"at"`
	Force  time.Time `json:"force"`
	Reason string    `json:"reason,omitempty"`
}

func newTaskJSON(t *errand.Task) taskJSON {
	j := taskJSON{
		ID: t.ID, Project: t.Project, Instance: t.Instance, Engine: t.Engine, Operation: t.Operation, JobID: t.JobID,
		User: userJSON(t.User), Params: t.Params, Details: t.Details, Status: t.Status, ErrorCode: t.ErrorCode, Reason: t.Reason,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
	if p := t.Progress; p != nil {
		j.Progress = &progressJSON{Percent: p.Percent, RemainingSeconds: p.Remaining.Seconds(), Steps: newStepsJSON(p.Steps)}
	}
	if t.Origin != nil {
		j.Origin = &originJSON{t.Origin.Status}
	}
	if t.Run != nil {
		j.Run = newRunJSON(t.Run)
	}
	return j
}

func newStepsJSON(steps []errand.Step) []stepJSON {
	var out []stepJSON
	for _, s := range steps {
		out = append(out, stepJSON{s.Name, s.Status, s.StartedAt, s.EndedAt, s.ErrorCode, s.Detail, newStepsJSON(s.Steps)})
	}
	return out
}

func newRunJSON(r *errand.Run) *runJSON {
	j := &runJSON{
		Lane: r.Lane, RunAt: r.RunAt, Deadline: r.Deadline, TimeoutSeconds: r.Timeout.Seconds(), MaxAttempts: r.MaxAttempts,
		OnLost: r.OnLost, Due: r.Due, Attempts: []attemptJSON{}, RetryOf: r.RetryOf, Scheduled: r.Scheduled,
		Stalled: r.Stalled, Result: r.Result,
	}
	for i, a := range r.Attempts {
		j.Attempts = append(j.Attempts, attemptJSON{i + 1, a.Worker, a.StartedAt, a.EndedAt, a.Error})
	}
	if r.Lease.Worker != "" {
		j.Lease = &leaseJSON{r.Lease.Worker, r.Lease.Beat, r.Lease.Expires}
	}
	if c := r.Cancel; c != nil {
		j.Cancel = &cancelJSON{userJSON(c.By), c.At, c.Force, c.Reason}
	}
	return j
}

// task prints one task in full.
func (a *app) task(t *errand.Task) error {
	if a.output == "json" {
		return a.json(newTaskJSON(t))
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, cell(value))
		}
	}
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
	if err := w.Flush(); err != nil {
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
		var rows [][]string
		for i, x := range t.Run.Attempts {
			rows = append(rows, []string{fmt.Sprintf("%d of %d", i+1, t.Run.MaxAttempts), x.Worker, stamp(x.StartedAt), stamp(x.EndedAt), x.Error})
		}
		if err := a.table([]string{"ATTEMPT", "WORKER", "STARTED", "ENDED", "ERROR"}, rows); err != nil {
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
	return a.table([]string{"STEP", "STATUS", "STARTED", "ENDED", "DETAIL"}, stepRows(p.Steps, ""))
}

func stepRows(steps []errand.Step, indent string) [][]string {
	var rows [][]string
	for _, s := range steps {
		detail := strings.TrimSpace(s.ErrorCode + " " + s.Detail)
		rows = append(rows, []string{indent + s.Name, string(s.Status), stamp(s.StartedAt), stamp(s.EndedAt), detail})
		rows = append(rows, stepRows(s.Steps, indent+"  ")...)
	}
	return rows
}
