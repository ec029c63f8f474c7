package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/errandhq/errand"
)

// Imported says what an import held and what became of it.
type Imported struct {
	Documents int `json:"documents"`
	Records   int `json:"records"`

	// Announced is the greatest number of tasks that a document says there are.
	// Where it exceeds Records, pages of the listing are missing.
	Announced int `json:"announced"`

	Added     int `json:"added"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
}

// Import stores records of tasks that ran at the provider: r holds one or more
// answers of its list or show calls, one after the other, at most MaxImport
// bytes. All records are stored or none. Records that are there already stay as
// they are, so that an import may be repeated; where the client itself had to
// repeat it, Added may count as Unchanged what the first try has stored.
//
// Errors: NotFound about "instance"; Invalid about a member, with its place in
// r; Conflict about "record" where a record contradicts the stored one.
func (c *Client) Import(ctx context.Context, project, instance string, r io.Reader) (Imported, error) {
	body, err := io.ReadAll(io.LimitReader(r, MaxImport+1))
	if err != nil {
		return Imported{}, err
	}
	if len(body) > MaxImport {
		return Imported{}, errand.Errorf(errand.Invalid, "size", "an import is at most %d bytes; split it", MaxImport)
	}
	var done Imported
	err = c.do(ctx, call{
		method: http.MethodPost, path: []string{"projects", project, "instances", instance, "records"}, body: body, repeat: true,
	}, &done)
	return done, err
}

// Tasks returns one page of a project's tasks, newest first. A Limit of 0 stands
// for the server's default. Progress comes without its steps.
func (c *Client) Tasks(ctx context.Context, f errand.Filter) (errand.Page, error) {
	q := paging(f.Offset, f.Limit)
	set(q, "instance", f.Instance)
	set(q, "engine", string(f.Engine))
	if !f.From.IsZero() {
		q.Set("begin_time", f.From.UTC().Format(time.RFC3339Nano))
	}
	if !f.To.IsZero() {
		q.Set("end_time", f.To.UTC().Format(time.RFC3339Nano))
	}
	var body struct {
		Total int        `json:"total"`
		Tasks []taskBody `json:"tasks"`
	}
	if err := c.get(ctx, &body, q, "projects", f.Project, "tasks"); err != nil {
		return errand.Page{}, err
	}
	p := errand.Page{Total: body.Total, Tasks: make([]errand.Task, 0, len(body.Tasks))}
	for _, t := range body.Tasks {
		p.Tasks = append(p.Tasks, t.task())
	}
	return p, nil
}

// Task returns one task, or NotFound about "task".
func (c *Client) Task(ctx context.Context, project, id string) (*errand.Task, error) {
	var body taskBody
	if err := c.get(ctx, &body, nil, "projects", project, "tasks", id); err != nil {
		return nil, err
	}
	t := body.task()
	return &t, nil
}

// Events returns up to limit events of a task, oldest first, after the one
// numbered after. A limit of 0 stands for the server's default.
func (c *Client) Events(ctx context.Context, project, task string, after int64, limit int) ([]errand.Event, error) {
	q := paging(0, limit)
	if after > 0 {
		q.Set("after", strconv.FormatInt(after, 10))
	}
	var body struct {
		Events []eventBody `json:"events"`
	}
	if err := c.get(ctx, &body, q, "projects", project, "tasks", task, "events"); err != nil {
		return nil, err
	}
	list := make([]errand.Event, 0, len(body.Events))
	for _, e := range body.Events {
		list = append(list, e.event())
	}
	return list, nil
}

// paging returns a query with the members of a page that are not the default.
func paging(offset, limit int) url.Values {
	q := url.Values{}
	if offset != 0 {
		q.Set("offset", strconv.Itoa(offset))
	}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

type userBody struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type eventBody struct {
	Seq      int64         `json:"seq"`
	Project  string        `json:"project"`
	Instance string        `json:"instance"`
	Task     string        `json:"task"`
	At       time.Time     `json:"at"`
	Act      errand.Act    `json:"act"`
	Actor    userBody      `json:"actor"`
	From     errand.Status `json:"from"`
	To       errand.Status `json:"to"`
	Request  string        `json:"request_id"`
	Remote   string        `json:"remote"`
	Reason   string        `json:"reason"`
}

func (e *eventBody) event() errand.Event {
	return errand.Event{
		Seq: e.Seq, Project: e.Project, Instance: e.Instance, Task: e.Task, At: e.At, Act: e.Act,
		Actor: errand.User(e.Actor), From: e.From, To: e.To, Request: e.Request, Remote: e.Remote, Reason: e.Reason,
	}
}

type taskBody struct {
	ID        string          `json:"id"`
	Project   string          `json:"project"`
	Instance  string          `json:"instance"`
	Engine    errand.Engine   `json:"engine"`
	Operation string          `json:"operation"`
	JobID     string          `json:"job_id"`
	User      userBody        `json:"user"`
	Params    string          `json:"params"`
	Details   json.RawMessage `json:"details"`
	Status    errand.Status   `json:"status"`
	ErrorCode string          `json:"error_code"`
	Reason    string          `json:"reason"`
	Progress  *struct {
		Percent   int        `json:"percent"`
		Remaining int64      `json:"remaining_seconds"`
		Steps     []stepBody `json:"steps"`
	} `json:"progress"`
	Origin *struct {
		Status string `json:"status"`
	} `json:"origin"`
	Run       *runBody  `json:"run"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

type stepBody struct {
	Name      string            `json:"name"`
	Status    errand.StepStatus `json:"status"`
	StartedAt time.Time         `json:"started_at"`
	EndedAt   time.Time         `json:"ended_at"`
	ErrorCode string            `json:"error_code"`
	Detail    string            `json:"detail"`
	Steps     []stepBody        `json:"steps"`
}

func (b *taskBody) task() errand.Task {
	t := errand.Task{
		ID: b.ID, Project: b.Project, Instance: b.Instance, Engine: b.Engine, Operation: b.Operation, JobID: b.JobID,
		User: errand.User(b.User), Params: b.Params, Details: b.Details, Status: b.Status,
		ErrorCode: b.ErrorCode, Reason: b.Reason, CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt,
	}
	if p := b.Progress; p != nil {
		t.Progress = &errand.Progress{Percent: p.Percent, Remaining: time.Duration(p.Remaining) * time.Second, Steps: steps(p.Steps)}
	}
	if b.Run != nil {
		t.Run = b.Run.run()
	}
	if b.Origin != nil {
		t.Origin = &errand.Origin{Status: b.Origin.Status}
	}
	return t
}

func steps(bodies []stepBody) []errand.Step {
	var list []errand.Step
	for _, b := range bodies {
		list = append(list, errand.Step{
			Name: b.Name, Status: b.Status, StartedAt: b.StartedAt, EndedAt: b.EndedAt,
			ErrorCode: b.ErrorCode, Detail: b.Detail, Steps: steps(b.Steps),
		})
	}
	return list
}
