package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func putChecks() []check {
	return []check{
		{"put adds and offers no old record", putAdds},
		{"put replaces what decide was shown", putReplaces},
		{"put may change created_at", putMoves},
		{"put without an event saves nothing", putWithoutEvent},
		{"put is all or nothing", putRefusedMidBatch},
		{"put sees its own batch", putSeesItself},
		{"put needs a known instance", putUnknownInstance},
		{"put offers a task of another instance", putOtherInstance},
		{"put keeps ids apart by project", putSameIDInTwoProjects},
		{"put keeps every byte", putKeepsBytes},
		{"put of nothing is nothing", putNothing},
		{"put keeps many", putMany},
	}
}

func putAdds(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	want := rich(1, 1, noon)
	calls := 0
	err := s.Put(t.Context(), []*errand.Task{want}, func(old, task *errand.Task) (*errand.Event, error) {
		calls++
		if old != nil || task != want {
			t.Errorf("decide was given old %v and task %p, want none and %p", old, task, want)
		}
		return save(old, task)
	})
	if err != nil || calls == 0 {
		t.Fatalf("Put: %v after %d calls of decide", err, calls)
	}
	want.Engine = errand.Kafka
	same(t, "task", get(t, s, want.ID), want)
}

func putReplaces(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	first := rich(1, 1, noon)
	put(t, s, first)
	second := task(1, 1, noon)
	second.Status, second.Params, second.UpdatedAt = errand.Running, "", noon.Add(time.Hour)
	err := s.Put(t.Context(), []*errand.Task{second}, func(old, task *errand.Task) (*errand.Event, error) {
		first.Engine = errand.Kafka
		same(t, "old record", old, first)
		return save(old, task)
	})
	if err != nil {
		t.Fatal(err)
	}
	second.Engine = errand.Kafka
	same(t, "task", get(t, s, second.ID), second)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
	_, err = s.GetJob(t.Context(), project, first.JobID)
	wantError(t, err, errand.NotFound, "task") // the old job id went with the old record
}

func putMoves(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon), task(1, 2, noon.Add(time.Second)))
	put(t, s, task(1, 2, noon.AddDate(-3, 0, 0)))
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 2, 1, 2)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1), From: noon}), 1, 1)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1), To: noon.Add(-time.Second)}), 1, 2)
}

func putWithoutEvent(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	changed := task(1, 1, noon)
	changed.Status = errand.Failed
	err := s.Put(t.Context(), []*errand.Task{changed, task(1, 2, noon)}, func(_, _ *errand.Task) (*errand.Event, error) {
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, taskID(1)).Status; got != errand.Succeeded {
		t.Errorf("status is %s although decide gave no event", got)
	}
	wantGone(t, s, taskID(2))
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
}

func putRefusedMidBatch(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	refused := errors.New("not this one")
	changed := task(1, 1, noon.Add(time.Hour))
	changed.Status = errand.Failed
	batch := []*errand.Task{task(1, 2, noon), changed, task(1, 3, noon), task(1, 4, noon)}
	err := s.Put(t.Context(), batch, func(old, task *errand.Task) (*errand.Event, error) {
		if task.ID == taskID(3) {
			return nil, refused
		}
		return save(old, task)
	})
	if err != refused { //nolint:errorlint // it must be the very error
		t.Fatalf("error is %v, want decide's own", err)
	}
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
	if got := get(t, s, taskID(1)); got.Status != errand.Succeeded || !got.CreatedAt.Equal(noon) {
		t.Errorf("record is %s, created %v, although the batch was refused", got.Status, got.CreatedAt)
	}
	for n := 2; n <= 4; n++ {
		wantGone(t, s, taskID(n))
		if es := events(t, s, n); len(es) != 0 {
			t.Errorf("task %d has events %v of a refused batch", n, es)
		}
	}
	put(t, s, batch...) // the same batch is fine later
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 4, 1, 4, 3, 2)
}

func putSeesItself(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	again := task(1, 1, noon.Add(time.Second))
	again.Status = errand.Failed
	put(t, s, task(1, 1, noon), again)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
	es := events(t, s, 1)
	if len(es) != 2 || es[1].From != errand.Succeeded || es[1].To != errand.Failed {
		t.Errorf("events are %+v; want two, the second from succeeded to failed", es)
	}
}

func putUnknownInstance(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	err := s.Put(t.Context(), []*errand.Task{task(1, 1, noon), task(2, 2, noon)}, save)
	wantError(t, err, errand.NotFound, "instance")
	wantGone(t, s, taskID(1))
	elsewhere := task(1, 3, noon)
	elsewhere.Project = otherProject
	wantError(t, s.Put(t.Context(), []*errand.Task{elsewhere}, save), errand.NotFound, "instance")
}

func putOtherInstance(t *testing.T, s tasks.Store) {
	redis := kafka(2)
	redis.Engine = errand.Redis
	register(t, s, kafka(1), redis)
	put(t, s, task(1, 1, noon))
	refused := errors.New("it belongs to another instance")
	err := s.Put(t.Context(), []*errand.Task{task(2, 1, noon)}, func(old, task *errand.Task) (*errand.Event, error) {
		if old == nil || old.Instance != instanceID(1) || old.Engine != errand.Kafka || task.Instance != instanceID(2) {
			t.Errorf("decide was given %+v and %+v", old, task)
		}
		return nil, refused
	})
	if err != refused { //nolint:errorlint // it must be the very error
		t.Fatalf("error is %v, want decide's own", err)
	}
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(2)}), 0)
}

func putSameIDInTwoProjects(t *testing.T, s tasks.Store) {
	there := kafka(1)
	there.Project, there.Engine = otherProject, errand.RabbitMQ
	register(t, s, kafka(1), there)
	mine, theirs := task(1, 1, noon), task(1, 1, noon.Add(time.Hour))
	theirs.Project, theirs.Params = otherProject, "theirs"
	put(t, s, mine, theirs)
	if got := get(t, s, taskID(1)); got.Params != mine.Params || got.Engine != errand.Kafka {
		t.Errorf("got %+v, want the record of this project", got)
	}
	got, err := s.Get(t.Context(), otherProject, taskID(1))
	if err != nil || got.Params != "theirs" || got.Engine != errand.RabbitMQ {
		t.Errorf("got %+v, %v, want the record of the other project", got, err)
	}
	if err := s.Delete(t.Context(), project, taskID(1), drop); err != nil {
		t.Fatal(err)
	}
	wantGone(t, s, taskID(1))
	wantPage(t, list(t, s, errand.Filter{Project: otherProject}), 1, 1)
}

func putKeepsBytes(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	texts := []string{
		"", " ", "\n", "{}\n", "\r\n\t", `{"a":"\u00e9"}`, "é e\u0301 消息 🧵", "\u2028\ufeff", "'; DROP TABLE tasks; --",
		strings.Repeat("x", errand.MaxParamsLen-1) + "\n", strings.Repeat("消", 4000),
	}
	for n, text := range texts {
		want := task(1, n, noon.Add(time.Duration(n)*time.Microsecond))
		want.Params, want.Operation, want.User.Name, want.Reason = text, "op"+text, text, text
		if len(text) > 0 {
			want.Details = []byte(text)
		}
		put(t, s, want)
		want.Engine = errand.Kafka
		same(t, "task", get(t, s, want.ID), want)
	}
	page := list(t, s, errand.Filter{Instance: instanceID(1)})
	for i := range page.Tasks {
		want := texts[len(texts)-1-i]
		if got := &page.Tasks[i]; got.Params != want || got.Reason != want || string(got.Details) != want {
			t.Errorf("listed task %d has params %.80q, reason %.80q, details %.80q, want %.80q", i, got.Params, got.Reason, got.Details, want)
		}
	}
}

func putNothing(t *testing.T, s tasks.Store) {
	if err := s.Put(t.Context(), nil, save); err != nil {
		t.Errorf("Put of nothing: %v", err)
	}
}

func putMany(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	const many = 1500
	var batch []*errand.Task
	for n := range many {
		batch = append(batch, task(1, n, noon.Add(-time.Duration(n)*7*time.Minute)))
	}
	put(t, s, batch...)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1), Offset: many - 2, Limit: 5}), many, many-2, many-1)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1), Offset: 1234, Limit: 3}), many, 1234, 1235, 1236)
}
