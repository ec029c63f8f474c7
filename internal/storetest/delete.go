package storetest

import (
	"errors"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func deleteChecks() []check {
	return []check{
		{"delete removes a record and keeps its events", deleteRemoves},
		{"delete asks first", deleteAsks},
		{"delete of what is not there", deleteUnknown},
		{"delete makes room for the id", deleteThenPut},
	}
}

func deleteRemoves(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	given := rich(1, 1, noon)
	put(t, s, given, task(1, 2, noon))
	err := s.Delete(t.Context(), project, taskID(1), func(old *errand.Task) (*errand.Event, error) {
		given.Engine = errand.Kafka
		same(t, "task to delete", old, given)
		return drop(old)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantGone(t, s, taskID(1))
	_, err = s.GetJob(t.Context(), project, given.JobID)
	wantError(t, err, errand.NotFound, "task")
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 2)
	if es := events(t, s, 1); len(es) != 2 || es[1].Act != errand.ActDeleted || es[1].From != errand.Failed {
		t.Errorf("events after delete: %+v", es)
	}
	wantError(t, s.Delete(t.Context(), project, taskID(1), drop), errand.NotFound, "task")
}

func deleteAsks(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	refused := errors.New("it still runs")
	err := s.Delete(t.Context(), project, taskID(1), func(old *errand.Task) (*errand.Event, error) { return nil, refused })
	if err != refused { //nolint:errorlint // it must be the very error
		t.Errorf("error is %v, want change's own", err)
	}
	err = s.Delete(t.Context(), project, taskID(1), func(old *errand.Task) (*errand.Event, error) {
		old.Status, old.Params = errand.Running, "changed"
		return nil, nil
	})
	if err != nil {
		t.Errorf("delete without an event: %v", err)
	}
	want := task(1, 1, noon)
	want.Engine = errand.Kafka
	same(t, "task", get(t, s, taskID(1)), want)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
	if es := events(t, s, 1); len(es) != 1 {
		t.Errorf("events are %+v, want the first alone", es)
	}
}

func deleteUnknown(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	for _, where := range []struct{ project, id string }{{project, taskID(2)}, {otherProject, taskID(1)}} {
		err := s.Delete(t.Context(), where.project, where.id, func(old *errand.Task) (*errand.Event, error) {
			t.Errorf("change was called with %+v", old)
			return drop(old)
		})
		wantError(t, err, errand.NotFound, "task")
	}
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
}

func deleteThenPut(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1), kafka(2))
	for n := range 3 {
		put(t, s, task(1+n%2, 1, noon))
		wantPage(t, list(t, s, errand.Filter{}), 1, 1)
		if err := s.Delete(t.Context(), project, taskID(1), drop); err != nil {
			t.Fatal(err)
		}
		wantPage(t, list(t, s, errand.Filter{}), 0)
	}
}
