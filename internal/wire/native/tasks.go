package native

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/records"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// defaultLimit is the length of a page where none is asked for.
const defaultLimit = 50

// maxOffset is the greatest number of records that a listing passes over.
const maxOffset = 1<<31 - 1

func (a *api) taskRoutes(d *wire.Dialect) {
	wire.Handle(d, "GET /api/v1/projects/{project}/tasks", decodeTasks, a.svc.List, encodeTasks)
	wire.Handle(d, "GET /api/v1/projects/{project}/tasks/{task}", decodeTask,
		func(ctx context.Context, p errand.Principal, k taskKey) (*errand.Task, error) {
			return a.svc.Show(ctx, p, k.project, "", k.task)
		},
		func(r *wire.Reply, t *errand.Task) { write(r, nativejson.TaskOf(t)) })
	wire.Handle(d, "DELETE /api/v1/projects/{project}/tasks/{task}", decodeTask,
		func(ctx context.Context, p errand.Principal, k taskKey) (struct{}, error) {
			return struct{}{}, a.svc.Delete(ctx, p, k.project, k.task, tasks.DeleteOptions{})
		}, noContent)
	a.searchRoute(d)
	wire.Handle(d, "GET /api/v1/projects/{project}/tasks/{task}/events", decodeEvents,
		func(ctx context.Context, p errand.Principal, q eventQuery) ([]errand.Event, error) {
			return a.svc.Events(ctx, p, q.project, q.task, q.after, q.limit)
		},
		func(r *wire.Reply, list []errand.Event) {
			write(r, struct {
				Events []nativejson.Event `json:"events"`
			}{each(list, nativejson.EventOf)})
		})
	wire.Handle(d, "POST /api/v1/projects/{project}/instances/{instance}/records", decodeImport, a.importRecords, encodeImport)
}

func decodeTasks(r *http.Request) (errand.Filter, error) {
	q, err := query(r, "instance", "engine", "begin_time", "end_time", "offset", "limit")
	if err != nil {
		return errand.Filter{}, err
	}
	f, err := filterOf(r, q)
	if err != nil {
		return f, err
	}
	f.Offset = q.Int("offset", 0, 0, maxOffset)
	return f, q.Err()
}

// filterOf reads what every listing is filtered by.
func filterOf(r *http.Request, q *wire.Query) (f errand.Filter, err error) {
	f = errand.Filter{
		Project:  r.PathValue("project"),
		Instance: q.String("instance"),
		Engine:   errand.Engine(q.String("engine")),
		Limit:    q.Int("limit", defaultLimit, 1, tasks.MaxLimit),
	}
	if f.From, err = timeOf(q, "begin_time", false); err != nil {
		return f, err
	}
	f.To, err = timeOf(q, "end_time", true)
	return f, err
}

// timeOf reads a parameter that is an RFC 3339 time or a whole second as the
// compatible API spells it (YYYYMMDDHHmmss in UTC); end takes all of that second.
func timeOf(q *wire.Query, name string, end bool) (time.Time, error) {
	v := q.String(name)
	if v == "" {
		return time.Time{}, nil
	}
	if t, err := wire.ParseCompactTime(v); err == nil {
		if end {
			t = wire.EndOfSecond(t)
		}
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return t, errand.Errorf(errand.Invalid, name, "%s must be a time such as 2020-06-09T16:00:00Z (a + in it is sent as %%2B) or 20200609160000 in UTC, not %.40q", name, v)
	}
	return t.UTC(), nil
}

func encodeTasks(r *wire.Reply, p errand.Page) {
	page := struct {
		Total int               `json:"total"`
		Tasks []nativejson.Task `json:"tasks"`
	}{p.Total, make([]nativejson.Task, 0, len(p.Tasks))}
	for i := range p.Tasks {
		page.Tasks = append(page.Tasks, nativejson.TaskOf(&p.Tasks[i]))
	}
	write(r, page)
}

type taskKey struct{ project, task string }

func decodeTask(r *http.Request) (taskKey, error) {
	_, err := query(r)
	return taskKey{r.PathValue("project"), r.PathValue("task")}, err
}

type eventQuery struct {
	taskKey
	after int64
	limit int
}

func decodeEvents(r *http.Request) (eventQuery, error) {
	q, err := query(r, "after", "limit")
	if err != nil {
		return eventQuery{}, err
	}
	e := eventQuery{
		taskKey: taskKey{r.PathValue("project"), r.PathValue("task")},
		after:   int64(q.Int("after", 0, 0, 1<<62)),
		limit:   q.Int("limit", defaultLimit, 1, tasks.MaxLimit),
	}
	return e, q.Err()
}

type importRequest struct {
	project, instance string
	body              io.Reader
}

func decodeImport(r *http.Request) (importRequest, error) {
	_, err := query(r)
	return importRequest{r.PathValue("project"), r.PathValue("instance"), r.Body}, err
}

type importResult struct {
	read records.Summary
	done tasks.Imported
}

// importRecords asks with nothing to import first, so that who may not import
// makes the server read nothing.
func (a *api) importRecords(ctx context.Context, p errand.Principal, q importRequest) (importResult, error) {
	if _, err := a.svc.Import(ctx, p, q.project, q.instance, nil); err != nil {
		return importResult{}, err
	}
	list, sum, err := records.Read(q.body, records.Limits{Bytes: MaxImport, Records: tasks.MaxImport})
	if err != nil {
		return importResult{}, err
	}
	done, err := a.svc.Import(ctx, p, q.project, q.instance, list)
	return importResult{sum, done}, err
}

func encodeImport(r *wire.Reply, i importResult) {
	write(r, struct {
		Documents int `json:"documents"`
		Records   int `json:"records"`
		Announced int `json:"announced"`
		Added     int `json:"added"`
		Updated   int `json:"updated"`
		Unchanged int `json:"unchanged"`
	}{i.read.Documents, i.read.Records, i.read.Announced, i.done.Added, i.done.Updated, i.done.Unchanged})
}
