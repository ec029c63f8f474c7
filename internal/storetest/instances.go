package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func instanceChecks() []check {
	return []check{
		{"instance is returned as registered", instanceRoundTrip},
		{"instance ids are taken once in a project", instanceTaken},
		{"instances are paged by id", instancePages},
		{"instances are the caller's own copy", instanceCopies},
		{"instance that is forgotten is gone at once", instanceForgotten},
		{"instance that is forgotten makes room", instanceAgain},
		{"instance that is forgotten leaves the others", instanceOthers},
	}
}

func instanceRoundTrip(t *testing.T, s tasks.Store) {
	plain := kafka(2)
	plain.Attributes = nil
	odd := kafka(3)
	odd.Engine, odd.Name = errand.Redis, "名前 <b>&\"' "
	odd.Attributes = map[string]string{"": "", "k <é>": "v\n\u2028", "empty": ""}
	odd.CreatedAt = noon.In(time.FixedZone("east", 3600)).Add(999)
	for _, want := range []errand.Instance{kafka(1), plain, odd} {
		register(t, s, want)
		want.CreatedAt = want.CreatedAt.UTC().Truncate(time.Microsecond)
		for range 2 { // from wherever the second answer comes
			got, err := s.Instance(t.Context(), project, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if len(want.Attributes) == 0 && len(got.Attributes) == 0 {
				got.Attributes = want.Attributes // nil and empty mean the same
			}
			same(t, "instance", got, want)
		}
	}
	_, err := s.Instance(t.Context(), project, instanceID(9))
	wantError(t, err, errand.NotFound, "instance")
	_, err = s.Instance(t.Context(), otherProject, instanceID(1))
	wantError(t, err, errand.NotFound, "instance")
}

func instanceTaken(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	again := kafka(1)
	again.Engine, again.Name = errand.Redis, "another"
	wantError(t, s.AddInstance(t.Context(), again), errand.Conflict, "instance")
	if got, err := s.Instance(t.Context(), project, again.ID); err != nil || got.Engine != errand.Kafka || got.Name != "kafka-1" {
		t.Errorf("instance is %+v, %v, want the first", got, err)
	}
	again.Project = otherProject
	register(t, s, again)
	if got, err := s.Instance(t.Context(), otherProject, again.ID); err != nil || got.Engine != errand.Redis {
		t.Errorf("instance of the other project is %+v, %v", got, err)
	}
}

func instancePages(t *testing.T, s tasks.Store) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, there)
	order := []int{3, 1, 4, 0xa, 5, 9, 2, 6}
	for _, n := range order {
		register(t, s, kafka(n))
	}
	slices.Sort(order)
	for offset := range len(order) + 2 {
		is, total, err := s.Instances(t.Context(), project, offset, 3)
		if err != nil || total != len(order) {
			t.Fatalf("Instances: total %d, %v", total, err)
		}
		want := order[min(offset, len(order)):min(offset+3, len(order))]
		if len(is) != len(want) {
			t.Fatalf("offset %d gives %d instances, want %d", offset, len(is), len(want))
		}
		for i, n := range want {
			same(t, "instance", is[i], kafka(n))
		}
	}
}

func instanceCopies(t *testing.T, s tasks.Store) {
	given := kafka(1)
	register(t, s, given)
	given.Attributes["version"] = "X"
	for range 3 {
		got, err := s.Instance(t.Context(), project, given.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "instance", got, kafka(1))
		got.Attributes["version"] = "Y"
	}
}

func instanceForgotten(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1), kafka(2))
	const many = 1100
	batch := []*errand.Task{task(2, many, noon)}
	for n := range many {
		batch = append(batch, task(1, n, noon.Add(-time.Duration(n)*time.Minute)))
	}
	put(t, s, batch...)
	if _, err := s.Instance(t.Context(), project, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteInstance(t.Context(), project, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Instance(t.Context(), project, instanceID(1))
	wantError(t, err, errand.NotFound, "instance")
	_, err = s.List(t.Context(), errand.Filter{Project: project, Instance: instanceID(1), Limit: 10})
	wantError(t, err, errand.NotFound, "instance")
	wantError(t, s.DeleteInstance(t.Context(), project, instanceID(1)), errand.NotFound, "instance")
	wantError(t, s.Put(t.Context(), batch[1:2], save), errand.NotFound, "instance")
	for _, n := range []int{0, 1, 500, many - 1} {
		wantGone(t, s, taskID(n))
		_, err := s.GetJob(t.Context(), project, taskID(n))
		wantError(t, err, errand.NotFound, "task")
		wantError(t, s.Delete(t.Context(), project, taskID(n), drop), errand.NotFound, "task")
		if es := events(t, s, n); len(es) != 1 {
			t.Errorf("task %d has %d events, want its one", n, len(es))
		}
	}
	for range 20 { // while the records go
		wantPage(t, list(t, s, errand.Filter{Engine: errand.Kafka}), 1, many)
		wantPage(t, list(t, s, errand.Filter{From: noon, To: noon}), 1, many)
		wantPage(t, list(t, s, errand.Filter{To: noon.Add(-time.Microsecond)}), 0)
	}
	is, total, err := s.Instances(t.Context(), project, 0, 10)
	if err != nil || total != 1 || len(is) != 1 || is[0].ID != instanceID(2) {
		t.Errorf("instances are %+v (%d), %v", is, total, err)
	}
}

func instanceAgain(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1), kafka(2))
	var batch []*errand.Task
	for n := range 600 {
		batch = append(batch, task(1, n, noon.Add(time.Duration(n))))
	}
	put(t, s, batch...)
	if err := s.DeleteInstance(t.Context(), project, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	redis := kafka(1)
	redis.Engine = errand.Redis
	register(t, s, redis)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 0)
	// The ids of the records that went can be used again at once, here and there.
	err := s.Put(t.Context(), []*errand.Task{task(1, 599, noon), task(2, 0, noon)}, func(old, task *errand.Task) (*errand.Event, error) {
		if old != nil {
			t.Errorf("decide was shown %+v of an instance that was forgotten", old)
		}
		return save(old, task)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, taskID(599)); got.Engine != errand.Redis {
		t.Errorf("engine of the new record is %s", got.Engine)
	}
	for range 5 {
		wantPage(t, list(t, s, errand.Filter{}), 2, 599, 0)
		wantPage(t, list(t, s, errand.Filter{Engine: errand.Kafka}), 1, 0)
	}
}

func instanceOthers(t *testing.T, s tasks.Store) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, kafka(1), kafka(2), there)
	elsewhere := task(1, 1, noon)
	elsewhere.Project = otherProject
	put(t, s, task(1, 1, noon), task(2, 2, noon), elsewhere)
	if err := s.DeleteInstance(t.Context(), project, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(2)}), 1, 2)
	wantPage(t, list(t, s, errand.Filter{Project: otherProject, Instance: instanceID(1)}), 1, 1)
	wantPage(t, list(t, s, errand.Filter{Project: otherProject}), 1, 1)
}
