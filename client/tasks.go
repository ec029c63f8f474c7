package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
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
	var body struct {
		Total int               `json:"total"`
		Tasks []nativejson.Task `json:"tasks"`
	}
	if err := c.get(ctx, &body, filter(f), "projects", f.Project, "tasks"); err != nil {
		return errand.Page{}, err
	}
	p := errand.Page{Total: body.Total, Tasks: make([]errand.Task, 0, len(body.Tasks))}
	for _, t := range body.Tasks {
		p.Tasks = append(p.Tasks, *t.Task())
	}
	return p, nil
}

// filter returns a query with the members of f that are not the default.
func filter(f errand.Filter) url.Values {
	q := paging(f.Offset, f.Limit)
	set(q, "instance", f.Instance)
	set(q, "engine", string(f.Engine))
	if !f.From.IsZero() {
		q.Set("begin_time", f.From.UTC().Format(time.RFC3339Nano))
	}
	if !f.To.IsZero() {
		q.Set("end_time", f.To.UTC().Format(time.RFC3339Nano))
	}
	return q
}

// Task returns one task, or NotFound about "task".
func (c *Client) Task(ctx context.Context, project, id string) (*errand.Task, error) {
	var body nativejson.Task
	if err := c.get(ctx, &body, nil, "projects", project, "tasks", id); err != nil {
		return nil, err
	}
	return body.Task(), nil
}

// Events returns up to limit events of a task, oldest first, after the one
// numbered after. A limit of 0 stands for the server's default.
func (c *Client) Events(ctx context.Context, project, task string, after int64, limit int) ([]errand.Event, error) {
	q := paging(0, limit)
	if after > 0 {
		q.Set("after", strconv.FormatInt(after, 10))
	}
	var body struct {
		Events []nativejson.Event `json:"events"`
	}
	if err := c.get(ctx, &body, q, "projects", project, "tasks", task, "events"); err != nil {
		return nil, err
	}
	list := make([]errand.Event, 0, len(body.Events))
	for _, e := range body.Events {
		list = append(list, e.Event())
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
