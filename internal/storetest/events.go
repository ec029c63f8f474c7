package storetest

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func eventChecks() []check {
	return []check{
		{"events are kept whole", eventRoundTrip},
		{"events are paged by number", eventPages},
		{"events of what nobody knows are none", eventUnknown},
	}
}

// events returns all events of task n of project.
func events(t *testing.T, s tasks.Store, n int) []errand.Event {
	t.Helper()
	es, err := s.Events(t.Context(), project, taskID(n), 0, 1000)
	if err != nil {
		t.Fatalf("Events of %d: %v", n, err)
	}
	return es
}

func eventRoundTrip(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	want := errand.Event{
		Project: project, Instance: instanceID(1), Task: taskID(1), At: noon.Add(999), Act: errand.ActImported,
		Actor: errand.User{ID: "u", Name: "ü <b>"}, From: errand.Running, To: errand.Failed, Request: "r-1", Remote: "2001:db8::7", Reason: "a\nb",
	}
	err := s.Put(t.Context(), []*errand.Task{task(1, 1, noon)}, func(_, _ *errand.Task) (*errand.Event, error) {
		e := want
		e.At = e.At.In(time.FixedZone("east", 3600))
		return &e, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	es := events(t, s, 1)
	if len(es) != 1 || es[0].Seq <= 0 {
		t.Fatalf("events are %+v", es)
	}
	want.Seq, want.At = es[0].Seq, noon
	same(t, "event", es[0], want)
}

func eventPages(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	for range 5 {
		put(t, s, task(1, 1, noon), task(1, 2, noon))
	}
	all := events(t, s, 1)
	if len(all) != 5 {
		t.Fatalf("%d events, want 5", len(all))
	}
	for i, e := range all {
		if i > 0 && e.Seq <= all[i-1].Seq {
			t.Errorf("event %d follows %d", e.Seq, all[i-1].Seq)
		}
		rest, err := s.Events(t.Context(), project, taskID(1), e.Seq, 2)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "events after "+show(e.Seq), append([]errand.Event{}, rest...), append([]errand.Event{}, all[i+1:min(i+3, 5)]...))
	}
}

func eventUnknown(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	if es := events(t, s, 2); len(es) != 0 {
		t.Errorf("events of an unknown task: %+v", es)
	}
	es, err := s.Events(t.Context(), otherProject, taskID(1), 0, 10)
	if err != nil || len(es) != 0 {
		t.Errorf("events in another project: %+v, %v", es, err)
	}
}
