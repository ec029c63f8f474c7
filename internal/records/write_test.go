package records

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/errandhq/errand"
)

// TestWriter reads back what was written, in several documents.
func TestWriter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := NewWriter(&out)
	w.maxRecords = 2
	at := time.Date(2026, 1, 31, 18, 0, 0, 123000, time.UTC)
	var want []*errand.Task
	for i := range 5 {
		id := fmt.Sprintf("%032x", i)
		task := &errand.Task{
			ID: id, JobID: id, Operation: "op<&>", User: errand.User{ID: "u", Name: "n"}, Params: "\u2028\"", Status: errand.Statuses()[i], ErrorCode: "E",
			Reason: "r", Details: []byte(`{"z":1,"a":2.50}`), CreatedAt: at, UpdatedAt: at.Add(time.Second),
			Origin: &errand.Origin{Status: []string{"CREATED", "EXECUTING", "SUCCESS", "FAILED", "DELETED"}[i]},
		}
		if i > 0 {
			task.Progress = &errand.Progress{Percent: i}
		}
		for n, status := range errand.StepStatuses() {
			if i == 2 {
				task.Progress.Steps = append(task.Progress.Steps, errand.Step{Name: "s", Status: status, StartedAt: at.Add(time.Duration(n) * time.Microsecond), Steps: []errand.Step{{Status: status, Detail: "d"}}})
			}
		}
		want = append(want, task)
		if err := w.Write(task); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || w.Records() != 5 {
		t.Fatal(err, w.Records())
	}
	got, sum, err := Read(&out, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if sum != (Summary{Documents: 3, Records: 5, Announced: 2}) {
		t.Errorf("%+v", sum)
	}
}

// failing takes a few bytes.
type failing int

func (f *failing) Write(b []byte) (int, error) {
	if *f -= failing(len(b)); *f < 0 {
		return 0, fmt.Errorf("full")
	}
	return len(b), nil
}

func TestWriterFails(t *testing.T) {
	t.Parallel()
	f := failing(20)
	w := NewWriter(&f)
	if err := w.Write(&errand.Task{Status: errand.Failed}); err == nil {
		t.Error("a write that fails is not told")
	}
	if err := w.Close(); err == nil {
		t.Error("and neither is the end")
	}
}
