package dcs

import (
	"strconv"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// statuses has two entries for one word and one for a word that the product
// lacks: its waiters know EXECUTING, SUCCESS and FAILED only, and read every
// other word as a failure.
var statuses = map[errand.Status]string{
	errand.Pending:   "EXECUTING",
	errand.Running:   "EXECUTING",
	errand.Succeeded: "SUCCESS",
	errand.Failed:    "FAILED",
	errand.Cancelled: "FAILED",
}

// jobStatuses are the words of the job call: FAIL, not FAILED.
var jobStatuses = map[errand.Status]string{
	errand.Pending:   "INIT",
	errand.Running:   "RUNNING",
	errand.Succeeded: "SUCCESS",
	errand.Failed:    "FAIL",
	errand.Cancelled: "FAIL",
}

var stepStatuses = map[errand.StepStatus]string{
	errand.StepWaiting:   "WAITING",
	errand.StepRunning:   "EXECUTING",
	errand.StepSuspended: "EXECUTING",
	errand.StepSucceeded: "FINISH",
	errand.StepFailed:    "FAILED",
	errand.StepCancelled: "FAILED",
}

var subStepStatuses = map[errand.StepStatus]string{
	errand.StepWaiting:   "WAITING",
	errand.StepRunning:   "EXECUTING",
	errand.StepSuspended: "SUSPEND",
	errand.StepSucceeded: "FINISH",
	errand.StepFailed:    "FAILED",
	errand.StepCancelled: "CANCELED",
}

func encodeList(r *wire.Reply, p errand.Page)   { r.Body = appendPage(r.Body, p, appendTask) }
func encodeCentre(r *wire.Reply, p errand.Page) { r.Body = appendPage(r.Body, p, appendCentreTask) }

// encodeShow answers like a list of one. The provider has no such call.
func encodeShow(r *wire.Reply, t *errand.Task) {
	r.Body = appendPage(r.Body, errand.Page{Tasks: []errand.Task{*t}, Total: 1}, appendTask)
}

// appendPage writes a page. task_count is a string, as in the table of the
// provider's page (its example shows a number, which its SDKs cannot read).
func appendPage(b []byte, p errand.Page, appendTask func([]byte, *errand.Task) []byte) []byte {
	b = append(b, `{"task_count":"`...)
	b = strconv.AppendInt(b, int64(p.Total), 10)
	b = append(b, `","tasks":[`...)
	for i := range p.Tasks {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTask(b, &p.Tasks[i])
	}
	return append(b, `]}`...)
}

func appendTask(b []byte, t *errand.Task) []byte {
	return append(appendMembers(append(b, '{'), t), '}')
}

func appendCentreTask(b []byte, t *errand.Task) []byte {
	b = appendMembers(append(b, '{'), t)
	b = wire.AppendMember(b, "error_code", t.ErrorCode)
	b = wire.AppendMember(b, "job_id", t.JobID)
	return append(b, '}')
}

func appendMembers(b []byte, t *errand.Task) []byte {
	b = wire.AppendMember(b, "id", t.ID)
	b = wire.AppendMember(b, "name", t.Operation)
	b = wire.AppendMember(b, "user_name", t.User.Name)
	b = wire.AppendMember(b, "user_id", t.User.ID)
	if t.Details != nil {
		b = append(wire.AppendName(b, "details"), t.Details...)
	}
	if t.Params != "" {
		b = wire.AppendMember(b, "params", t.Params)
	}
	b = strconv.AppendBool(wire.AppendName(b, "enable_show"), t.Progress != nil)
	b = wire.AppendMember(b, "status", statuses[t.Status])
	b = wire.AppendTime(wire.AppendName(b, "created_at"), t.CreatedAt)
	return wire.AppendTime(wire.AppendName(b, "updated_at"), t.UpdatedAt)
}

func encodeDeleted(r *wire.Reply, _ struct{}) { r.Body = append(r.Body, `{"message":""}`...) }

// encodeProgress writes how far a task has come; a task without steps has an
// empty list of them.
func encodeProgress(r *wire.Reply, t *errand.Task) {
	p := t.Progress
	if p == nil {
		p = &errand.Progress{}
		if t.Status == errand.Succeeded {
			p.Percent = 100
		}
	}
	b := append(r.Body, `{"progress":`...)
	b = strconv.AppendInt(b, int64(p.Percent), 10)
	b = append(b, `,"remain_time":`...)
	b = strconv.AppendInt(b, int64(p.Remaining/time.Second), 10)
	b = append(b, `,"step_details":[`...)
	for i, s := range p.Steps {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendStep(b, s, strconv.Itoa(i+1))
	}
	r.Body = append(b, `]}`...)
}

func appendStep(b []byte, s errand.Step, id string) []byte {
	b = append(b, '{')
	b = wire.AppendMember(b, "step_id", id)
	b = wire.AppendMember(b, "step_name", s.Name)
	b = wire.AppendMember(b, "step_status", stepStatuses[s.Status])
	b = appendStepTimes(b, s)
	b = append(wire.AppendName(b, "sub_step_details"), '[')
	for i, sub := range s.Steps {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = wire.AppendMember(b, "sub_step_id", id+"."+strconv.Itoa(i+1))
		b = wire.AppendMember(b, "sub_step_name", sub.Name)
		b = wire.AppendMember(b, "sub_step_status", subStepStatuses[sub.Status])
		b = appendStepTimes(b, sub)
		b = wire.AppendMember(b, "detail", sub.Detail)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

// appendStepTimes writes what is known of a step's times and failure. Members
// that have no value are left out: no SDK minds.
func appendStepTimes(b []byte, s errand.Step) []byte {
	if !s.StartedAt.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "begin_time"), s.StartedAt)
	}
	if !s.EndedAt.IsZero() {
		b = wire.AppendTime(wire.AppendName(b, "end_time"), s.EndedAt)
	}
	if s.ErrorCode != "" {
		b = wire.AppendMember(b, "error_code", s.ErrorCode)
	}
	return b
}

// encodeJob writes a task as a job: times are milliseconds since 1970 in
// strings, and what is not known yet is null.
func encodeJob(r *wire.Reply, t *errand.Task) {
	b := append(r.Body, '{')
	b = wire.AppendMember(b, "job_id", t.JobID)
	b = wire.AppendMember(b, "job_type", t.Operation)
	b = wire.AppendMember(b, "status", jobStatuses[t.Status])
	b = appendMillis(b, "begin_time", t.CreatedAt)
	if t.Status.Final() {
		b = appendMillis(b, "end_time", t.UpdatedAt)
	} else {
		b = append(wire.AppendName(b, "end_time"), "null"...)
	}
	if reason := failReason(t); reason != "" {
		b = wire.AppendMember(b, "fail_reason", reason)
	} else {
		b = append(wire.AppendName(b, "fail_reason"), "null"...)
	}
	r.Body = append(b, '}')
}

func appendMillis(b []byte, name string, t time.Time) []byte {
	b = append(wire.AppendName(b, name), '"')
	b = strconv.AppendInt(b, t.UnixMilli(), 10)
	return append(b, '"')
}

func failReason(t *errand.Task) string {
	switch {
	case t.Status != errand.Failed && t.Status != errand.Cancelled:
		return ""
	case t.Reason != "":
		return t.Reason
	case t.ErrorCode != "":
		return t.ErrorCode
	}
	return string(t.Status)
}
