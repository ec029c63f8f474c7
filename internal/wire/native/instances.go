package native

import (
	"context"
	"net/http"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

func (a *api) instanceRoutes(d *wire.Dialect) {
	const path = "/api/v1/projects/{project}/instances"
	wire.Handle(d, "POST "+path, decodeInstance, a.svc.Register,
		func(r *wire.Reply, i errand.Instance) {
			created(r, nativejson.InstanceOf(i))
			r.Header = map[string]string{"Location": "/api/v1/projects/" + i.Project + "/instances/" + i.ID}
		})
	wire.Handle(d, "GET "+path, decodeInstances,
		func(ctx context.Context, p errand.Principal, q instanceQuery) (instancePage, error) {
			list, total, err := a.svc.Instances(ctx, p, q.project, q.offset, q.limit)
			return instancePage{Total: total, Instances: each(list, nativejson.InstanceOf)}, err
		},
		func(r *wire.Reply, p instancePage) { write(r, p) })
	wire.Handle(d, "GET "+path+"/{instance}", decodeInstanceKey,
		func(ctx context.Context, p errand.Principal, k instanceKey) (errand.Instance, error) {
			return a.svc.Instance(ctx, p, k.project, k.instance)
		},
		func(r *wire.Reply, i errand.Instance) { write(r, nativejson.InstanceOf(i)) })
	wire.Handle(d, "DELETE "+path+"/{instance}", decodeInstanceKey,
		func(ctx context.Context, p errand.Principal, k instanceKey) (struct{}, error) {
			return struct{}{}, a.svc.Forget(ctx, p, k.project, k.instance)
		}, noContent)
}

func noContent(r *wire.Reply, _ struct{}) { r.NoContent() }

func decodeInstance(r *http.Request) (errand.Instance, error) {
	b, err := decodeBody[struct {
		ID         string            `json:"id"`
		Name       string            `json:"name"`
		Engine     errand.Engine     `json:"engine"`
		Attributes map[string]string `json:"attributes"`
	}](r)
	return errand.Instance{Project: r.PathValue("project"), ID: b.ID, Name: b.Name, Engine: b.Engine, Attributes: b.Attributes}, err
}

type instanceQuery struct {
	project       string
	offset, limit int
}

type instancePage struct {
	Total     int                   `json:"total"`
	Instances []nativejson.Instance `json:"instances"`
}

func decodeInstances(r *http.Request) (instanceQuery, error) {
	q, err := query(r, "offset", "limit")
	if err != nil {
		return instanceQuery{}, err
	}
	i := instanceQuery{
		project: r.PathValue("project"),
		offset:  q.Int("offset", 0, 0, maxOffset),
		limit:   q.Int("limit", defaultLimit, 1, tasks.MaxLimit),
	}
	return i, q.Err()
}

type instanceKey struct{ project, instance string }

func decodeInstanceKey(r *http.Request) (instanceKey, error) {
	_, err := query(r)
	return instanceKey{r.PathValue("project"), r.PathValue("instance")}, err
}
