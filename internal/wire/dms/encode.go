package dms

import (
	"strconv"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

var statuses = map[errand.Status]string{
	errand.Pending:   "CREATED",
	errand.Running:   "EXECUTING",
	errand.Succeeded: "SUCCESS",
	errand.Failed:    "FAILED",
	errand.Cancelled: "CANCELLED",
}

var stepStatuses = map[errand.StepStatus]string{
	errand.StepWaiting:   "WAITING",
	errand.StepRunning:   "IN_PROGRESS",
	errand.StepSuspended: "IN_PROGRESS",
	errand.StepSucceeded: "COMPLETED",
	errand.StepFailed:    "FAILED",
	errand.StepCancelled: "FAILED",
}

// deleted is the one word of the provider that our statuses do not tell from
// another: the status of a record that was removed.
const deleted = "DELETED"

type encoder struct {
	hidden  map[string]bool // operations that never show EXECUTING
	numeric bool
}

func (e encoder) status(t *errand.Task) string {
	switch {
	case t.Origin != nil && t.Origin.Status == deleted && t.Status == errand.Cancelled:
		return deleted
	case t.Status == errand.Running && e.hidden[t.Operation]:
		return statuses[errand.Pending]
	}
	return statuses[t.Status]
}

// list writes a page. task_count is a string: SDKs fail on a number.
func (e encoder) list(r *wire.Reply, p errand.Page) {
	b := append(r.Body, `{"task_count":"`...)
	b = strconv.AppendInt(b, int64(p.Total), 10)
	b = append(b, `","tasks":[`...)
	for i := range p.Tasks {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.task(b, &p.Tasks[i])
	}
	r.Body = append(b, `]}`...)
}

// show writes a task as the list of one that the provider answers with.
func (e encoder) show(r *wire.Reply, t *errand.Task) {
	b := append(r.Body, `{"task_count":"1","tasks":[`...)
	b = e.task(b, t)
	r.Body = append(b, `]}`...)
}

func (e encoder) task(b []byte, t *errand.Task) []byte {
	return append(e.members(append(b, '{'), t), '}')
}

func (e encoder) members(b []byte, t *errand.Task) []byte {
	b = wire.AppendMember(b, "id", t.ID)
	b = wire.AppendMember(b, "name", t.Operation)
	b = wire.AppendMember(b, "user_name", t.User.Name)
	b = wire.AppendMember(b, "user_id", t.User.ID)
	b = wire.AppendMember(b, "params", t.Params)
	b = wire.AppendMember(b, "status", e.status(t))
	b = wire.AppendTime(wire.AppendName(b, "created_at"), t.CreatedAt)
	return wire.AppendTime(wire.AppendName(b, "updated_at"), t.UpdatedAt)
}

// progress writes how far a task has come. A task without steps has an empty
// list of them. Both "statue", which is the documented name, and "status",
// which SDKs of December 2025 read, are sent.
func (e encoder) progress(r *wire.Reply, t *errand.Task) {
	p := t.Progress
	if p == nil {
		p = &errand.Progress{}
		if t.Status == errand.Succeeded {
			p.Percent = 100
		}
	}
	b := append(r.Body, `{"progress_percentage":`...)
	b = strconv.AppendInt(b, int64(p.Percent), 10)
	b = append(b, `,"remain_time":`...)
	b = strconv.AppendInt(b, int64(p.Remaining/time.Second), 10)
	b = append(b, `,"step_list":[`...)
	for i, s := range p.Steps {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = wire.AppendMember(b, "name", s.Name)
		b = wire.AppendMember(b, "statue", stepStatuses[s.Status])
		b = wire.AppendMember(b, "status", stepStatuses[s.Status])
		b = e.stepTime(b, "start_time", s.StartedAt)
		b = e.stepTime(b, "end_time", s.EndedAt)
		b = append(b, '}')
	}
	r.Body = append(b, `]}`...)
}

// stepTime writes milliseconds since 1970, or nothing for a time that is not
// known: no SDK minds a member that is missing.
func (e encoder) stepTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = wire.AppendName(b, name)
	if e.numeric {
		return strconv.AppendInt(b, t.UnixMilli(), 10)
	}
	b = append(b, '"')
	b = strconv.AppendInt(b, t.UnixMilli(), 10)
	return append(b, '"')
}
