package dms

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// scheduled registers the calls of the pages "Listing Scheduled Tasks",
// "Modifying a Scheduled Task" and "Deleting a Scheduled Task".
func scheduled(d *wire.Dialect, runs *tasks.Runs, enc encoder) {
	const path = "/v2/{project_id}/instances/{instance_id}/scheduled-tasks"
	wire.Handle(d, "GET "+path, decodeScheduledList, runs.Scheduled, enc.scheduledList)
	wire.Handle(d, "PUT "+path+"/{task_id}", decodeModify,
		func(ctx context.Context, p errand.Principal, m modify) (struct{}, error) {
			return struct{}{}, m.apply(ctx, runs, p)
		}, func(r *wire.Reply, _ struct{}) { r.NoContent() })
	wire.Handle(d, "DELETE "+path+"/{task_id}", decodeTask,
		func(ctx context.Context, p errand.Principal, k taskKey) (struct{}, error) {
			return struct{}{}, runs.Unschedule(ctx, p, k.project, k.instance, k.task)
		}, func(r *wire.Reply, _ struct{}) { r.NoContent() })
}

// decodeScheduledList reads the parameters of the listing; the provider's sample
// request spells the times in camel case and begins at 0.
func decodeScheduledList(r *http.Request) (errand.Filter, error) {
	q := wire.NewQuery(r)
	f := errand.Filter{
		Project:  r.PathValue("project_id"),
		Instance: r.PathValue("instance_id"),
		Offset:   max(0, q.Int("start", 1, 0, maxOffset)-1),
		Limit:    q.Int("limit", defaultLimit, 1, maxLimit),
		From:     q.Time("begin_time", "beginTime"),
		To:       wire.EndOfSecond(q.Time("end_time", "endTime")),
	}
	return f, q.Err()
}

// modify is what a client wants of a scheduled task: another time, or none.
type modify struct {
	taskKey
	at     time.Time
	cancel bool
}

func decodeModify(r *http.Request) (modify, error) {
	q := wire.NewQuery(r)
	k, _ := decodeTask(r)
	m := modify{taskKey: k, at: q.Time("execute_at"), cancel: q.String("status") == statuses[errand.Cancelled]}
	if err := q.Err(); err != nil {
		return modify{}, err
	}
	switch s := q.String("status"); {
	case s != "" && !m.cancel:
		return modify{}, errand.Errorf(errand.Invalid, "status", "status can be set to CANCELLED only, not to %.32q", s)
	case m.at.IsZero() && !m.cancel:
		return modify{}, errand.Errorf(errand.Invalid, "execute_at", "execute_at or status=CANCELLED is needed")
	}
	return m, nil
}

func (m modify) apply(ctx context.Context, runs *tasks.Runs, p errand.Principal) error {
	if err := runs.InInstance(ctx, p, m.project, m.instance, m.task); err != nil {
		return err
	}
	var err error
	if m.cancel {
		_, err = runs.Cancel(ctx, p, m.project, m.task, "")
	} else {
		_, err = runs.Reschedule(ctx, p, m.project, m.task, m.at)
	}
	return err
}

func (e encoder) scheduledList(r *wire.Reply, p errand.Page) {
	b := append(r.Body, `{"job_count":`...)
	if e.numeric {
		b = strconv.AppendInt(b, int64(p.Total), 10)
	} else {
		b = wire.AppendString(b, strconv.Itoa(p.Total))
	}
	b = append(b, `,"jobs":[`...)
	for i := range p.Tasks {
		if i > 0 {
			b = append(b, ',')
		}
		t := &p.Tasks[i]
		b = append(b, '{')
		b = e.members(b, t)
		if t.Run != nil {
			b = wire.AppendTime(wire.AppendName(b, "schedule_at"), t.Run.RunAt)
		}
		b = append(b, '}')
	}
	r.Body = append(b, `]}`...)
}
