package storetest

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func unfinishedChecks() []queueCheck {
	return []queueCheck{
		{"unfinished tasks are listed in turn and counted", unfinishedList},
		{"unfinished tasks are those of a project or an instance", unfinishedApart},
		{"unfinished tasks of a forgotten instance are gone at once", unfinishedForgotten},
		{"runs are loaded for those that have one", runsLoaded},
	}
}

func wantUnfinished(t *testing.T, s Queue, instance string, limit, running, waiting int, ns ...int) []*errand.Task {
	t.Helper()
	got, r, w, err := s.Unfinished(t.Context(), project, instance, limit)
	if err != nil {
		t.Fatalf("Unfinished: %v", err)
	}
	wantTasks(t, "unfinished", got, ns...)
	if r != running || w != waiting {
		t.Errorf("%d running and %d waiting, want %d and %d", r, w, running, waiting)
	}
	for _, x := range got {
		same(t, "unfinished task", x, get(t, s, x.ID))
	}
	return got
}

func unfinishedList(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	wantUnfinished(t, s, "", 10, 0, 0)
	wantUnfinished(t, s, instanceID(1), 10, 0, 0)
	elsewhere := task(1, 9, noon) // it has not ended, and does not run here
	elsewhere.Status, elsewhere.Origin = errand.Running, &errand.Origin{Status: "EXECUTING"}
	put(t, s, task(1, 8, noon), elsewhere)
	submit(t, s, waiting(1, 5, time.Second), free(1, 4, time.Hour), full(1, 3), waiting(1, 2, time.Second), free(1, 6, time.Second))
	wantUnfinished(t, s, "", 10, 0, 5, 3, 2, 5, 6, 4)
	take(t, s, everything(noon.Add(2*time.Second))) // 3 and 6
	wantUnfinished(t, s, "", 10, 2, 3, 3, 6, 2, 5, 4)
	if _, err := s.Renew(t.Context(), project, taskID(6), func(x *errand.Task) error {
		p := &errand.Progress{Percent: 7, Remaining: time.Minute, Steps: []errand.Step{{Name: "a", Status: errand.StepRunning, StartedAt: noon}}}
		return x.Extend(leaseOf(x), noon.Add(time.Minute), p, noon.Add(3*time.Second))
	}); err != nil {
		t.Fatal(err)
	}
	got := wantUnfinished(t, s, instanceID(1), 3, 2, 3, 3, 6, 2)
	if p := got[1].Progress; p == nil || len(p.Steps) != 1 {
		t.Errorf("progress is %s, want a step", show(p))
	}
	wantUnfinished(t, s, "", 0, 2, 3)
	update(t, s, 3, finishing(errand.Succeeded, noon.Add(time.Second)))
	update(t, s, 6, finishing(errand.Failed, noon.Add(2*time.Second))) // again in a minute
	update(t, s, 5, cancelling(noon))
	wantUnfinished(t, s, "", 10, 0, 3, 2, 6, 4)
}

func unfinishedApart(t *testing.T, s Queue) {
	there, redis := kafka(1), kafka(2)
	there.Project, redis.Engine = otherProject, errand.Redis
	register(t, s, kafka(1), redis, there)
	elsewhere := waiting(1, 9, 0)
	elsewhere.Project = otherProject
	submit(t, s, waiting(1, 1, 0), waiting(2, 2, 0), waiting(1, 3, 0), elsewhere)
	wantUnfinished(t, s, "", 10, 0, 3, 1, 2, 3)
	wantUnfinished(t, s, instanceID(1), 1, 0, 2, 1)
	wantUnfinished(t, s, instanceID(2), 10, 0, 1, 2)
	_, _, _, err := s.Unfinished(t.Context(), project, instanceID(3), 10)
	wantError(t, err, errand.NotFound, "instance")
	if got, r, w, err := s.Unfinished(t.Context(), taskID(7), "", 10); err != nil || len(got)+r+w != 0 {
		t.Errorf("of a project that nobody knows: %d, %d, %d, %v", len(got), r, w, err)
	}
}

func unfinishedForgotten(t *testing.T, s Queue) {
	register(t, s, kafka(1), kafka(2))
	for n := range 300 {
		submit(t, s, free(1, n, 0))
	}
	submit(t, s, waiting(2, 300, 0))
	if err := s.DeleteInstance(t.Context(), project, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	wantUnfinished(t, s, "", 10, 0, 1, 300)
	_, _, _, err := s.Unfinished(t.Context(), project, instanceID(1), 10)
	wantError(t, err, errand.NotFound, "instance")
	gone := []errand.Task{{ID: taskID(299), Project: project, Run: &errand.Run{}}}
	if err := s.LoadRuns(t.Context(), project, gone); err != nil || gone[0].Run != nil {
		t.Errorf("a forgotten task has run %s, %v", show(gone[0].Run), err)
	}
}

func runsLoaded(t *testing.T, s Queue) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, kafka(1), there)
	elsewhere := waiting(1, 2, time.Hour)
	elsewhere.Project = otherProject
	submit(t, s, full(1, 1), free(1, 2, 0), free(1, 3, 0), free(1, 4, time.Hour), elsewhere)
	put(t, s, rich(1, 5, noon))
	take(t, s, everything(noon)) // 1, 2 and 3
	update(t, s, 2, finishing(errand.Succeeded, noon.Add(time.Second)))
	page := list(t, s, errand.Filter{})
	page.Tasks = append(page.Tasks, errand.Task{ID: taskID(6), Project: project})
	if err := s.Delete(t.Context(), project, taskID(3), drop); err != nil {
		t.Fatal(err)
	}
	if err := s.LoadRuns(t.Context(), project, page.Tasks); err != nil {
		t.Fatal(err)
	}
	for _, x := range page.Tasks {
		if x.ID == taskID(3) || x.ID == taskID(5) || x.ID == taskID(6) {
			if x.Run != nil {
				t.Errorf("task %s has run %s", x.ID, show(x.Run))
			}
			continue
		}
		want := *get(t, s, x.ID).Run
		want.Sealed = nil
		same(t, "run of "+x.ID, x.Run, &want)
	}
	if err := s.LoadRuns(t.Context(), project, nil); err != nil {
		t.Error(err)
	}
}
