// Package dcs speaks the wire format of the provider's Redis service (DCS):
// the calls of the pages "Listing Background Tasks", "Deleting a Background
// Task", "Querying the Progress of a Background Task", "Listing Tasks in the
// Task Center", "Deleting a Task from the Task Center" and "Querying Job
// Execution" of its API reference.
package dcs

import (
	"context"
	"net/http"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// Name is the name of the family, as used in settings.
const Name = "dcs"

// Options choose between spellings.
type Options struct {
	// LegacyCodes writes error codes in the older form, 111400061 instead of
	// DCS.4061.
	LegacyCodes bool
}

// NewFamily returns the dialect of Redis instances.
func NewFamily(svc *tasks.Service, o Options, auth wire.Authenticator) *wire.Family {
	d := newDialect(svc, o, auth)
	return &wire.Family{Name: Name, Base: d, ByEngine: map[errand.Engine]*wire.Dialect{errand.Redis: d}}
}

func newDialect(svc *tasks.Service, o Options, auth wire.Authenticator) *wire.Dialect {
	table := failures
	if o.LegacyCodes {
		table = legacy(failures)
	}
	d := wire.New(Name, table, appendError, auth)
	show := func(ctx context.Context, p errand.Principal, k taskKey) (*errand.Task, error) {
		return svc.Show(ctx, p, k.project, k.instance, k.task)
	}
	progress := func(ctx context.Context, p errand.Principal, k taskKey) (*errand.Task, error) {
		return svc.Progress(ctx, p, k.project, k.instance, k.task)
	}
	remove := func(ctx context.Context, p errand.Principal, k taskKey) (struct{}, error) {
		return struct{}{}, svc.Delete(ctx, p, k.project, k.task, tasks.DeleteOptions{Instance: k.instance, Engine: errand.Redis})
	}

	const ofInstance = "/v2/{project_id}/instances/{instance_id}/tasks"
	wire.HandleKept(d, "GET "+ofInstance, decodeList, svc.ListVersion, svc.List, encodeList)
	wire.Handle(d, "GET "+ofInstance+"/{task_id}", decodeTask, show, encodeShow)
	wire.Handle(d, "GET "+ofInstance+"/{task_id}/progress", decodeTask, progress, encodeProgress)
	wire.Handle(d, "DELETE "+ofInstance+"/{task_id}", decodeTask, remove, encodeDeleted)

	const centre = "/v2/{project_id}/tasks"
	wire.Handle(d, "GET "+centre, decodeList, svc.List, encodeCentre)
	wire.Handle(d, "DELETE "+centre+"/{task_id}", decodeTask, remove, func(*wire.Reply, struct{}) {})

	wire.Handle(d, "GET /v2/{project_id}/jobs/{job_id}", decodeJob,
		func(ctx context.Context, p errand.Principal, k jobKey) (*errand.Task, error) {
			return svc.Job(ctx, p, k.project, errand.Redis, k.job)
		}, encodeJob)
	return d
}

type taskKey struct{ project, instance, task string }

// decodeTask reads the ids of a path; the task centre's paths name no instance.
func decodeTask(r *http.Request) (taskKey, error) {
	return taskKey{r.PathValue("project_id"), r.PathValue("instance_id"), r.PathValue("task_id")}, nil
}

type jobKey struct{ project, job string }

func decodeJob(r *http.Request) (jobKey, error) {
	return jobKey{r.PathValue("project_id"), r.PathValue("job_id")}, nil
}

// The bounds of a page, as the provider's pages state them.
const (
	defaultLimit = 10
	maxLimit     = 1000
	maxOffset    = 1<<31 - 1
)

// decodeList reads the parameters of a listing, of an instance or of the task
// centre. The lower bound is start_time in the provider's table of parameters
// and begin_time in its sample request.
func decodeList(r *http.Request) (errand.Filter, error) {
	q := wire.NewQuery(r)
	f := errand.Filter{
		Project:  r.PathValue("project_id"),
		Instance: r.PathValue("instance_id"),
		Engine:   errand.Redis,
		Offset:   q.Int("offset", 0, 0, maxOffset),
		Limit:    q.Int("limit", defaultLimit, 1, maxLimit),
		From:     q.Time("start_time", "begin_time"),
		To:       wire.EndOfSecond(q.Time("end_time")),
	}
	return f, q.Err()
}
