// Package storetest is the contract of the stores: what every implementation of
// tasks.Store and auth.Store must do, as suites, and random sequences of calls
// that a store must answer like a plain one in memory. Tests import it; no
// program does.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// check is one part of the contract.
type check struct {
	name string
	run  func(*testing.T, tasks.Store)
}

// Run holds the store that open returns against the contract of tasks.Store.
// Every check opens a store of its own, and they run in parallel; open closes
// what it opened when its test ends.
func Run(t *testing.T, open func(*testing.T) tasks.Store) {
	for _, area := range [][]check{putChecks(), getChecks(), listChecks(), deleteChecks(), instanceChecks(), eventChecks(), callerChecks(), randomChecks()} {
		for _, c := range area {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, open(t))
			})
		}
	}
}

// The projects and instances that checks use; nothing is registered at first.
const (
	project      = "0123456789abcdef0123456789abcdef"
	otherProject = "fedcba9876543210fedcba9876543210"
)

// noon is when everything happens, unless a check says otherwise.
var noon = time.Date(2024, 2, 29, 12, 0, 0, 123456000, time.UTC)

func instanceID(n int) string { return fmt.Sprintf("5560df16-cebf-4473-95c4-%012x", n) }

func taskID(n int) string { return fmt.Sprintf("%032x", n) }

// kafka returns instance n of project; other engines say so.
func kafka(n int) errand.Instance {
	return errand.Instance{
		Project: project, ID: instanceID(n), Name: fmt.Sprintf("kafka-%d", n), Engine: errand.Kafka,
		Attributes: map[string]string{"version": "3.7", "flavour": "c6.2u4g"}, CreatedAt: noon,
	}
}

// task returns a finished task n of an instance of project.
func task(instance, n int, at time.Time) *errand.Task {
	return &errand.Task{
		ID: taskID(n), Project: project, Instance: instanceID(instance), Operation: "EXTEND", JobID: taskID(n),
		User: errand.User{ID: "e3b0c44298fc1c149afbf4c8996fb924", Name: "alice"}, Params: `{"new_size":600}`,
		Status: errand.Succeeded, CreatedAt: at, UpdatedAt: at.Add(time.Minute),
	}
}

// rich returns a task with every member set.
func rich(instance, n int, at time.Time) *errand.Task {
	t := task(instance, n, at)
	t.JobID = taskID(n + 1<<32)
	t.Params = "{\"nåme\": \"消费组 \\u0000\"}\r\n\n"
	t.Details = json.RawMessage("{ \"old\" : {\"port\":6379},\n\t\"new\":{\"port\":6380}, \"f\": 1.0e+2 }\n")
	t.Status, t.ErrorCode, t.Reason = errand.Failed, "DCS.5011", "the node <b>did not</b> answer"
	t.Origin = &errand.Origin{Status: "FAILED"}
	t.Progress = &errand.Progress{Percent: 42, Remaining: 90 * time.Second, Steps: []errand.Step{
		{Name: "check", Status: errand.StepSucceeded, StartedAt: at, EndedAt: at.Add(time.Second), Detail: `a "quoted" & <odd> word`},
		{Name: "resize", Status: errand.StepFailed, StartedAt: at.Add(time.Second), ErrorCode: "E1", Steps: []errand.Step{
			{Name: "node 1", Status: errand.StepSuspended, StartedAt: at.Add(1500 * time.Millisecond)},
			{Name: "node 2", Status: errand.StepWaiting},
		}},
	}}
	return t
}

// save is a decision that keeps every task.
func save(old, t *errand.Task) (*errand.Event, error) {
	e := &errand.Event{
		Project: t.Project, Instance: t.Instance, Task: t.ID, At: t.UpdatedAt, Act: errand.ActImported,
		Actor: errand.User{ID: "u1", Name: "bob"}, To: t.Status, Request: "req-1", Remote: "192.0.2.7", Reason: "because",
	}
	if old != nil {
		e.From = old.Status
	}
	return e, nil
}

// drop is a change that lets a record go.
func drop(t *errand.Task) (*errand.Event, error) {
	return &errand.Event{Project: t.Project, Instance: t.Instance, Task: t.ID, At: noon, Act: errand.ActDeleted, From: t.Status, Remote: "192.0.2.8"}, nil
}

func register(t *testing.T, s tasks.Store, is ...errand.Instance) {
	t.Helper()
	for _, i := range is {
		if err := s.AddInstance(t.Context(), i); err != nil {
			t.Fatalf("AddInstance %s: %v", i.ID, err)
		}
	}
}

func put(t *testing.T, s tasks.Store, batch ...*errand.Task) {
	t.Helper()
	if err := s.Put(t.Context(), batch, save); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func get(t *testing.T, s tasks.Store, id string) *errand.Task {
	t.Helper()
	got, err := s.Get(t.Context(), project, id)
	if err != nil {
		t.Fatalf("Get %s: %v", id, err)
	}
	return got
}

func list(t *testing.T, s tasks.Store, f errand.Filter) errand.Page {
	t.Helper()
	if f.Project == "" {
		f.Project = project
	}
	if f.Limit == 0 {
		f.Limit = 1000
	}
	p, err := s.List(t.Context(), f)
	if err != nil {
		t.Fatalf("List %+v: %v", f, err)
	}
	return p
}

// wantPage compares the ids of a page, given as the numbers of its tasks.
func wantPage(t *testing.T, p errand.Page, total int, ns ...int) {
	t.Helper()
	if p.Total != total {
		t.Errorf("total is %d, want %d", p.Total, total)
	}
	var got, want []string
	for i := range p.Tasks {
		got = append(got, p.Tasks[i].ID)
	}
	for _, n := range ns {
		want = append(want, taskID(n))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("page has\n%v, want\n%v", got, want)
	}
}

// wantError wants err to be of kind about subject.
func wantError(t *testing.T, err error, kind errand.Kind, subject string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v about %s", kind, subject)
	}
	if e := errand.ErrorOf(err); e.Kind != kind || e.Subject != subject {
		t.Fatalf("error is %v about %q (%v), want %v about %q", e.Kind, e.Subject, err, kind, subject)
	}
}

// wantGone wants nothing to be left of a task.
func wantGone(t *testing.T, s tasks.Store, id string) {
	t.Helper()
	_, err := s.Get(t.Context(), project, id)
	wantError(t, err, errand.NotFound, "task")
}

// same compares deeply and prints both where they differ.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is\n%s, want\n%s", what, show(got), show(want))
	}
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return string(b)
}

// ended is a context that is over.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
