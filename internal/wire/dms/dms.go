// Package dms speaks the wire format of the provider's message services: Kafka,
// RocketMQ and RabbitMQ. The calls are those of the pages "Listing Background
// Tasks", "Querying a Specific Record from Background Tasks", "Deleting a
// Specific Record from Background Tasks" and "Querying the Progress of a
// Background Task" of the three products' API references.
package dms

import (
	"context"
	"net/http"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// Name is the name of the family, as used in settings.
const Name = "dms"

// Options choose between spellings where the provider's own clients disagree.
type Options struct {
	// NumericStepTimes writes the times of steps and the count of scheduled
	// tasks as numbers, which SDKs released from 2026-08-20 on expect, instead
	// of as strings, which all earlier ones of Go and Java demand.
	NumericStepTimes bool

	// Runs schedules tasks; nil: the server only keeps records.
	Runs *tasks.Runs
}

// NewFamily returns the dialects of the three engines.
func NewFamily(svc *tasks.Service, operations []errand.Operation, o Options, auth wire.Authenticator) *wire.Family {
	f := &wire.Family{Name: Name, ByEngine: map[errand.Engine]*wire.Dialect{}}
	for _, e := range []errand.Engine{errand.Kafka, errand.RocketMQ, errand.RabbitMQ} {
		f.ByEngine[e] = newDialect(e, svc, operations, o, auth)
	}
	f.Base = newDialect(errand.Kafka, svc, operations, o, auth)
	f.Base.Name = Name // what it answers is about no engine that is known
	return f
}

func newDialect(engine errand.Engine, svc *tasks.Service, operations []errand.Operation, o Options, auth wire.Authenticator) *wire.Dialect {
	d := wire.New(string(engine), failures, appendError, auth)
	enc := encoder{hidden: map[string]bool{}, numeric: o.NumericStepTimes}
	for _, op := range operations {
		if op.Engine == engine && op.HideRunning {
			enc.hidden[op.Name] = true
		}
	}
	const path = "/v2/{project_id}/instances/{instance_id}/tasks"
	wire.HandleKept(d, "GET "+path, decodeList, svc.ListVersion, svc.List, enc.list)
	wire.Handle(d, "GET "+path+"/{task_id}", decodeTask,
		func(ctx context.Context, p errand.Principal, k taskKey) (*errand.Task, error) {
			return svc.Show(ctx, p, k.project, k.instance, k.task)
		}, enc.show)
	wire.Handle(d, "DELETE "+path+"/{task_id}", decodeTask,
		func(ctx context.Context, p errand.Principal, k taskKey) (struct{}, error) {
			return struct{}{}, svc.Delete(ctx, p, k.project, k.task, tasks.DeleteOptions{Instance: k.instance})
		}, func(r *wire.Reply, _ struct{}) { r.NoContent() })
	if engine != errand.RabbitMQ { // its reference has no such call
		wire.Handle(d, "GET "+path+"/{task_id}/progress", decodeTask,
			func(ctx context.Context, p errand.Principal, k taskKey) (*errand.Task, error) {
				return svc.Progress(ctx, p, k.project, k.instance, k.task)
			}, enc.progress)
	}
	if o.Runs != nil {
		scheduled(d, o.Runs, enc)
	}
	return d
}

type taskKey struct{ project, instance, task string }

func decodeTask(r *http.Request) (taskKey, error) {
	return taskKey{r.PathValue("project_id"), r.PathValue("instance_id"), r.PathValue("task_id")}, nil
}

// The bounds of a page: the default is what the provider's Terraform data
// sources rely on, the maximum what its RabbitMQ page states.
const (
	defaultLimit = 10
	maxLimit     = 100
	maxOffset    = 1<<31 - 1
)

// decodeList reads the parameters of a listing. SDKs send the place to begin
// at as start, which counts from 1, or in some releases as offset, which counts
// from 0; start wins if both are there.
func decodeList(r *http.Request) (errand.Filter, error) {
	q := wire.NewQuery(r)
	f := errand.Filter{
		Project:  r.PathValue("project_id"),
		Instance: r.PathValue("instance_id"),
		Offset:   q.Int("offset", 0, 0, maxOffset),
		Limit:    q.Int("limit", defaultLimit, 1, maxLimit),
		From:     q.Time("begin_time", "start_time"),
		To:       wire.EndOfSecond(q.Time("end_time")),
	}
	if q.Has("start") {
		f.Offset = max(0, q.Int("start", 1, 0, maxOffset)-1) // 0 means the first, like 1
	}
	return f, q.Err()
}
