// Package nativejson is the JSON of the native API: what the server writes, package
// client reads, and the command line prints with -o json. Its types say what
// anybody may see, so neither secrets nor the token of a lease.
package nativejson

import (
	"encoding/json"
	"time"

	"github.com/errandhq/errand"
)

// Task is an errand.Task.
type Task struct {
	ID        string          `json:"id"`
	Project   string          `json:"project"`
	Instance  string          `json:"instance"`
	Engine    errand.Engine   `json:"engine"`
	Operation string          `json:"operation"`
	JobID     string          `json:"job_id"`
	User      User            `json:"user"`
	Params    string          `json:"params"`
	Details   json.RawMessage `json:"details,omitempty"`
	Status    errand.Status   `json:"status"`
	ErrorCode string          `json:"error_code,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Progress  *Progress       `json:"progress,omitempty"`
	Origin    *Origin         `json:"origin,omitempty"`
	Run       *Run            `json:"run,omitempty"`
	CreatedAt Moment          `json:"created_at"`
	UpdatedAt Moment          `json:"updated_at"`
}

// User is an errand.User.
type User struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Origin is an errand.Origin.
type Origin struct {
	Status string `json:"status"`
}

// Progress is an errand.Progress.
type Progress struct {
	Percent   int    `json:"percent"`
	Remaining Span   `json:"remaining_seconds"`
	Steps     []Step `json:"steps,omitempty"`
}

// Step is an errand.Step.
type Step struct {
	Name      string            `json:"name"`
	Status    errand.StepStatus `json:"status"`
	StartedAt Moment            `json:"started_at,omitzero"`
	EndedAt   Moment            `json:"ended_at,omitzero"`
	ErrorCode string            `json:"error_code,omitempty"`
	Detail    string            `json:"detail,omitempty"`
	Steps     []Step            `json:"steps,omitempty"`
}

// TaskOf returns the body of t.
func TaskOf(t *errand.Task) Task {
	b := Task{
		ID: t.ID, Project: t.Project, Instance: t.Instance, Engine: t.Engine, Operation: t.Operation, JobID: t.JobID,
		User: User(t.User), Params: t.Params, Details: t.Details, Status: t.Status, ErrorCode: t.ErrorCode, Reason: t.Reason,
		Progress: ProgressOf(t.Progress), CreatedAt: Moment{t.CreatedAt}, UpdatedAt: Moment{t.UpdatedAt},
	}
	if b.Progress != nil { // shown in whole seconds
		b.Progress.Remaining = Span(time.Duration(b.Progress.Remaining).Truncate(time.Second))
	}
	if t.Run != nil {
		b.Run = runOf(t.Run)
	}
	if t.Origin != nil {
		b.Origin = &Origin{Status: t.Origin.Status}
	}
	return b
}

// Task returns what b is the body of.
func (b *Task) Task() *errand.Task {
	t := &errand.Task{
		ID: b.ID, Project: b.Project, Instance: b.Instance, Engine: b.Engine, Operation: b.Operation, JobID: b.JobID,
		User: errand.User(b.User), Params: b.Params, Details: b.Details, Status: b.Status, ErrorCode: b.ErrorCode, Reason: b.Reason,
		Progress: b.Progress.Progress(), CreatedAt: b.CreatedAt.Time, UpdatedAt: b.UpdatedAt.Time,
	}
	if b.Run != nil {
		t.Run = b.Run.run()
	}
	if b.Origin != nil {
		t.Origin = &errand.Origin{Status: b.Origin.Status}
	}
	return t
}

// ProgressOf returns the body of p, nil for nil.
func ProgressOf(p *errand.Progress) *Progress {
	if p == nil {
		return nil
	}
	return &Progress{Percent: p.Percent, Remaining: Span(p.Remaining), Steps: stepsOf(p.Steps)}
}

// Progress returns what b is the body of.
func (b *Progress) Progress() *errand.Progress {
	if b == nil {
		return nil
	}
	return &errand.Progress{Percent: b.Percent, Remaining: time.Duration(b.Remaining), Steps: steps(b.Steps)}
}

func stepsOf(list []errand.Step) []Step {
	var out []Step
	for _, s := range list {
		out = append(out, Step{s.Name, s.Status, Moment{s.StartedAt}, Moment{s.EndedAt}, s.ErrorCode, s.Detail, stepsOf(s.Steps)})
	}
	return out
}

func steps(list []Step) []errand.Step {
	var out []errand.Step
	for _, b := range list {
		out = append(out, errand.Step{
			Name: b.Name, Status: b.Status, StartedAt: b.StartedAt.Time, EndedAt: b.EndedAt.Time,
			ErrorCode: b.ErrorCode, Detail: b.Detail, Steps: steps(b.Steps),
		})
	}
	return out
}
