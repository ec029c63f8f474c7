package native

import (
	"context"
	"net/http"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// overviewRoutes are the calls of those who look before they read.
func (a *api) overviewRoutes(d *wire.Dialect) {
	const project = "/api/v1/projects/{project}"
	wire.Handle(d, "GET "+project+"/overview", decodeProject, a.runs.Overview,
		func(r *wire.Reply, o tasks.Overview) { write(r, overviewOf(o)) })
	wire.Handle(d, "GET "+project+"/unfinished", decodeUnfinished,
		func(ctx context.Context, p errand.Principal, q unfinishedQuery) (nativejson.Unfinished, error) {
			list, running, waiting, err := a.runs.Unfinished(ctx, p, q.project, q.instance, q.limit)
			return nativejson.Unfinished{Running: running, Waiting: waiting, Tasks: each(list, nativejson.TaskOf)}, err
		},
		func(r *wire.Reply, u nativejson.Unfinished) { write(r, u) })
}

// searchRoute finds tasks by what no index keeps.
func (a *api) searchRoute(d *wire.Dialect) {
	wire.Handle(d, "GET /api/v1/projects/{project}/search", decodeSearch, a.svc.Search,
		func(r *wire.Reply, f tasks.Found) {
			b := nativejson.Found{Tasks: make([]nativejson.Task, 0, len(f.Tasks)), Next: f.Next, LookedTo: nativejson.Moment{Time: f.To}}
			for i := range f.Tasks {
				b.Tasks = append(b.Tasks, nativejson.TaskOf(&f.Tasks[i]))
			}
			write(r, b)
		})
}

func decodeProject(r *http.Request) (string, error) {
	_, err := query(r)
	return r.PathValue("project"), err
}

type unfinishedQuery struct {
	project, instance string
	limit             int
}

func decodeUnfinished(r *http.Request) (unfinishedQuery, error) {
	q, err := query(r, "instance", "limit")
	if err != nil {
		return unfinishedQuery{}, err
	}
	u := unfinishedQuery{project: r.PathValue("project"), instance: q.String("instance"), limit: q.Int("limit", defaultLimit, 1, tasks.MaxUnfinished)}
	return u, q.Err()
}

func decodeSearch(r *http.Request) (tasks.Search, error) {
	q, err := query(r, "instance", "engine", "begin_time", "end_time", "limit", "status", "operation", "user", "cursor")
	if err != nil {
		return tasks.Search{}, err
	}
	f, err := filterOf(r, q)
	if err != nil {
		return tasks.Search{}, err
	}
	s := tasks.Search{Filter: f, Operation: q.String("operation"), User: q.String("user"), Cursor: q.String("cursor")}
	if list := q.String("status"); list != "" {
		for word := range strings.SplitSeq(list, ",") {
			s.Statuses = append(s.Statuses, errand.Status(word))
		}
	}
	return s, q.Err()
}

func overviewOf(o tasks.Overview) nativejson.Overview {
	b := nativejson.Overview{
		At: nativejson.Moment{Time: o.At}, Instances: o.Instances, Tasks: o.Tasks, Running: o.Running, Waiting: o.Waiting,
		Unfinished: each(o.Unfinished, nativejson.TaskOf), Failed: each(o.Failed, nativejson.TaskOf), Since: nativejson.Moment{Time: o.Since},
	}
	b.Stuck = each(o.Stuck, func(s tasks.Stuck) nativejson.Stuck {
		return nativejson.Stuck{Task: nativejson.TaskOf(s.Task), Why: whyOf(s.Why)}
	})
	b.Hours = each(o.Hours, func(h tasks.Hour) nativejson.Hour {
		return nativejson.Hour{From: nativejson.Moment{Time: h.From}, Submitted: h.Submitted, Succeeded: h.Succeeded, Failed: h.Failed, Cancelled: h.Cancelled}
	})
	return b
}
