package storetest

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func getChecks() []check {
	return []check{
		{"get knows what it was given only", getUnknown},
		{"get returns moments in UTC and microseconds", getTimes},
		{"get hands out copies", getCopies},
		{"get by job id", getByJob},
		{"get keeps the kinds of progress apart", getProgress},
		{"get keeps records here and from elsewhere apart", getOrigin},
	}
}

func getUnknown(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	wantGone(t, s, taskID(2))
	_, err := s.Get(t.Context(), otherProject, taskID(1))
	wantError(t, err, errand.NotFound, "task")
	_, err = s.GetJob(t.Context(), otherProject, taskID(1))
	wantError(t, err, errand.NotFound, "task")
	_, err = s.GetJob(t.Context(), project, taskID(2))
	wantError(t, err, errand.NotFound, "task")
}

func getTimes(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	there := time.FixedZone("far east", 9*3600)
	for n, at := range []time.Time{
		time.Unix(0, 0), time.UnixMicro(1), noon, noon.Add(1999 * time.Nanosecond),
		time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(2024, 2, 29, 3, 0, 0, 0, there),
	} {
		put(t, s, task(1, n, at.In(there)))
		got := get(t, s, taskID(n))
		same(t, "created_at", got.CreatedAt, at.UTC().Truncate(time.Microsecond))
		same(t, "updated_at", got.UpdatedAt, at.Add(time.Minute).UTC().Truncate(time.Microsecond))
		page := list(t, s, errand.Filter{Instance: instanceID(1), From: at.Truncate(time.Microsecond), To: at})
		if len(page.Tasks) != 1 || page.Tasks[0].CreatedAt != got.CreatedAt {
			t.Errorf("listing at %v gives %+v", at, page)
		}
	}
}

func getCopies(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	given := rich(1, 1, noon)
	put(t, s, given)
	given.Details[2], given.Progress.Steps[0].Name, given.Origin.Status = 'X', "X", "X"
	got := get(t, s, taskID(1))
	got.Details[2], got.Progress.Steps[1].Steps[0].Name, got.Origin.Status = 'Y', "Y", "Y"
	listed := list(t, s, errand.Filter{Instance: instanceID(1)}).Tasks[0]
	listed.Details[2], listed.Progress.Percent, listed.Origin.Status = 'Z', 7, "Z"
	want := rich(1, 1, noon)
	want.Engine = errand.Kafka
	same(t, "task", get(t, s, taskID(1)), want)
}

func getByJob(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1), kafka(2))
	own := task(1, 1, noon)
	other := task(2, 2, noon)
	other.JobID = taskID(77)
	put(t, s, own, other)
	for job, want := range map[string]string{taskID(1): taskID(1), taskID(77): taskID(2)} {
		got, err := s.GetJob(t.Context(), project, job)
		if err != nil {
			t.Fatalf("GetJob %s: %v", job, err)
		}
		if got.ID != want || got.JobID != job {
			t.Errorf("GetJob %s gives task %s with job %s, want task %s", job, got.ID, got.JobID, want)
		}
	}
	_, err := s.GetJob(t.Context(), project, taskID(2)) // that task has another job id
	wantError(t, err, errand.NotFound, "task")

	// Where imported records share a job id, it means the newest.
	newer := task(1, 3, noon.Add(time.Second))
	newer.JobID = taskID(77)
	older := task(1, 4, noon.Add(-time.Second))
	older.JobID = taskID(1)
	put(t, s, newer, older)
	for job, want := range map[string]string{taskID(1): taskID(1), taskID(77): taskID(3)} {
		if got, err := s.GetJob(t.Context(), project, job); err != nil || got.ID != want {
			t.Errorf("GetJob %s gives %+v, %v, want task %s", job, got, err, want)
		}
	}
}

func getProgress(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	kinds := []*errand.Progress{
		nil, {}, {Percent: 100}, {Remaining: time.Hour},
		{Percent: 1, Steps: []errand.Step{{Name: "only", Status: errand.StepRunning}}},
		rich(1, 0, noon).Progress,
	}
	for n, want := range kinds {
		given := task(1, n, noon)
		given.Progress = want
		put(t, s, given)
		same(t, "progress", get(t, s, taskID(n)).Progress, want)
	}
	page := list(t, s, errand.Filter{Instance: instanceID(1)})
	for i := range page.Tasks {
		got, want := page.Tasks[i].Progress, kinds[len(kinds)-1-i]
		if want != nil {
			without := *want
			without.Steps = nil
			want = &without
		}
		same(t, "listed progress", got, want)
	}
}

func getOrigin(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	for n, want := range []*errand.Origin{nil, {}, {Status: "DELETED"}} {
		given := task(1, n, noon.Add(time.Duration(n)))
		given.Origin = want
		put(t, s, given)
		same(t, "origin", get(t, s, taskID(n)).Origin, want)
		newest := list(t, s, errand.Filter{Instance: instanceID(1), Limit: 1}).Tasks[0]
		same(t, "listed origin", newest.Origin, want)
	}
}
