package client

import (
	"context"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// Overview is what is going on in a project.
type Overview struct {
	At        time.Time
	Instances int
	Tasks     int // records in all, whatever their status

	Running, Waiting int
	Unfinished       []*errand.Task // the first of them: running first, then by when they are to run
	Stuck            []Stuck        // those that go nowhere by themselves
	Failed           []*errand.Task // that failed within a day, the last first, up to 20

	// Hours are the last 24, oldest first. What is before Since is not in them.
	Hours []Hour
	Since time.Time
}

// Stuck is a task that goes nowhere by itself, with what it waits for.
type Stuck struct {
	Task *errand.Task
	Why  Why
}

// Hour counts what happened to tasks within an hour. Imported records are not
// counted.
type Hour struct {
	From                                    time.Time
	Submitted, Succeeded, Failed, Cancelled int
}

// Overview says what is going on in a project.
func (c *Client) Overview(ctx context.Context, project string) (Overview, error) {
	var b nativejson.Overview
	if err := c.get(ctx, &b, nil, "projects", project, "overview"); err != nil {
		return Overview{}, err
	}
	o := Overview{
		At: b.At.Time, Instances: b.Instances, Tasks: b.Tasks, Running: b.Running, Waiting: b.Waiting,
		Unfinished: tasksOf(b.Unfinished), Failed: tasksOf(b.Failed), Since: b.Since.Time,
	}
	for _, s := range b.Stuck {
		o.Stuck = append(o.Stuck, Stuck{s.Task.Task(), whyOf(s.Why)})
	}
	for _, h := range b.Hours {
		o.Hours = append(o.Hours, Hour{h.From.Time, h.Submitted, h.Succeeded, h.Failed, h.Cancelled})
	}
	return o, nil
}

func tasksOf(list []nativejson.Task) []*errand.Task {
	out := make([]*errand.Task, 0, len(list))
	for i := range list {
		out = append(out, list[i].Task())
	}
	return out
}

// Unfinished returns up to limit tasks that have not ended, of a project or of one
// of its instances: those that run first, then the others in the order in which
// they are to run. running and waiting count all of them. A limit of 0 stands for
// the server's default.
func (c *Client) Unfinished(ctx context.Context, project, instance string, limit int) (list []*errand.Task, running, waiting int, err error) {
	q := paging(0, limit)
	set(q, "instance", instance)
	var b nativejson.Unfinished
	if err := c.get(ctx, &b, q, "projects", project, "unfinished"); err != nil {
		return nil, 0, 0, err
	}
	return tasksOf(b.Tasks), b.Running, b.Waiting, nil
}

// SearchOptions select tasks by what no index keeps. Zero members select
// everything.
type SearchOptions struct {
	errand.Filter // but for Offset, which is passed over

	Statuses  []errand.Status // any of them
	Operation string          // machine name
	User      string          // id or name of who asked for the task

	// Cursor continues where an earlier search with the same members stopped.
	Cursor string
}

// Found is a part of what a search has found, newest first.
type Found struct {
	Tasks []errand.Task
	Next  string    // Cursor of the next part; "" if there is none
	To    time.Time // how far back was looked; zero: to the end
}

// Search looks through tasks from the newest on, a bounded number of them in one
// call: a part may hold fewer than Limit, or none, and still have a Next.
func (c *Client) Search(ctx context.Context, o SearchOptions) (Found, error) {
	q := filter(o.Filter)
	q.Del("offset")
	set(q, "operation", o.Operation)
	set(q, "user", o.User)
	set(q, "cursor", o.Cursor)
	var words []string
	for _, s := range o.Statuses {
		words = append(words, string(s))
	}
	set(q, "status", strings.Join(words, ","))
	var b nativejson.Found
	if err := c.get(ctx, &b, q, "projects", o.Project, "search"); err != nil {
		return Found{}, err
	}
	f := Found{Next: b.Next, To: b.LookedTo.Time, Tasks: make([]errand.Task, 0, len(b.Tasks))}
	for i := range b.Tasks {
		f.Tasks = append(f.Tasks, *b.Tasks[i].Task())
	}
	return f, nil
}

// DeleteTask removes the record of a task that has ended, with its log; its events
// stay. Errors: NotFound about "task", Conflict about "task" while it has not
// ended.
func (c *Client) DeleteTask(ctx context.Context, project, task string) error {
	return c.delete(ctx, "projects", project, "tasks", task)
}
