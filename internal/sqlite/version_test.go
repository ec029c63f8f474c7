package sqlite

import (
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// TestVersion checks that whatever changes what is listed of an instance changes
// its version, and nothing else does.
func TestVersion(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	ctx := t.Context()
	if v := s.Version(testProject, instanceID(1)); v != (tasks.Version{}) {
		t.Errorf("an unknown instance has version %v", v)
	}
	for n := 1; n <= 2; n++ {
		if err := s.AddInstance(ctx, testInstance(n)); err != nil {
			t.Fatal(err)
		}
	}
	version := func(n int) tasks.Version {
		t.Helper()
		if _, err := s.Instance(ctx, testProject, instanceID(n)); err != nil { // so that it is known
			t.Fatal(err)
		}
		v := s.Version(testProject, instanceID(n))
		if v == (tasks.Version{}) || v != s.Version(testProject, instanceID(n)) {
			t.Fatalf("version %v", v)
		}
		return v
	}
	task := errand.Task{ID: "00000000000000000000000000000001", JobID: "00000000000000000000000000000001", Project: testProject, Instance: instanceID(1),
		Operation: "EXTEND", Status: errand.Running, CreatedAt: noon, UpdatedAt: noon, Origin: &errand.Origin{Status: "EXECUTING"}}
	event := func(*errand.Task) (*errand.Event, error) {
		return &errand.Event{Act: errand.ActImported, At: noon}, nil
	}
	put := func(x errand.Task, save bool) func() error {
		return func() error {
			return s.Put(ctx, []*errand.Task{&x}, func(_, _ *errand.Task) (*errand.Event, error) {
				if !save {
					return nil, nil
				}
				return event(nil)
			})
		}
	}
	ended := task
	ended.Status = errand.Succeeded
	for _, c := range []struct {
		name    string
		do      func() error
		changes bool
	}{
		{"add", put(task, true), true},
		{"read", func() error { _, err := s.Get(ctx, testProject, task.ID); return err }, false},
		{"put what is there", put(task, false), false},
		{"put a newer one", put(ended, true), true},
		{"an append to its log", func() error { _, err := s.AppendLog(ctx, testProject, task.ID, []byte("x"), 10); return err }, false},
		{"a delete that is refused", func() error {
			return s.Delete(ctx, testProject, task.ID, func(*errand.Task) (*errand.Event, error) { return nil, nil })
		}, false},
		{"delete", func() error { return s.Delete(ctx, testProject, task.ID, event) }, true},
	} {
		one, two := version(1), version(2)
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := version(1) != one; got != c.changes {
			t.Errorf("%s: version changes: %v", c.name, got)
		}
		if version(2) != two {
			t.Errorf("%s: the version of another instance changes", c.name)
		}
	}
	before := version(1)
	if err := s.DeleteInstance(ctx, testProject, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	if v := s.Version(testProject, instanceID(1)); v != (tasks.Version{}) {
		t.Errorf("a forgotten instance has version %v", v)
	}
	if err := s.AddInstance(ctx, testInstance(1)); err != nil {
		t.Fatal(err)
	}
	if version(1) == before {
		t.Error("an instance that was registered again has the version of the one before")
	}
}
