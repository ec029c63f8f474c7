package tasks_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

// archive is a service over a store in memory, to be filled with records.
type archive struct {
	*tasks.Service
	t *testing.T
}

func newArchive(t *testing.T) archive {
	a := archive{tasks.New(storetest.Memory(), func() time.Time { return now }), t}
	for id, e := range map[string]errand.Engine{kafkaID: errand.Kafka, redisID: errand.Redis} {
		if _, err := a.Register(t.Context(), as(errand.Admin), errand.Instance{Project: project, ID: id, Name: "x", Engine: e}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func recordAt(n int, at time.Time) *errand.Task {
	id := fmt.Sprintf("%032x", n)
	return &errand.Task{
		ID: id, JobID: id, Project: project, Instance: kafkaID, Operation: "EXTEND", User: errand.User{ID: "u1", Name: "alice"},
		Status: errand.Succeeded, CreatedAt: at, UpdatedAt: at, Origin: &errand.Origin{Status: "S"},
	}
}

func (a archive) put(ts ...*errand.Task) {
	a.t.Helper()
	if err := a.Store.Put(a.t.Context(), ts, func(_, x *errand.Task) (*errand.Event, error) {
		return &errand.Event{Project: project, Instance: x.Instance, Task: x.ID, At: now, Act: errand.ActImported, To: x.Status}, nil
	}); err != nil {
		a.t.Fatal(err)
	}
}

func (a archive) search(q tasks.Search) tasks.Found {
	a.t.Helper()
	q.Project = project
	f, err := a.Search(a.t.Context(), as(errand.Viewer), q)
	if err != nil {
		a.t.Fatal(err)
	}
	return f
}

// all follows a search to its end; between is called between its calls.
func (a archive) all(q tasks.Search, between func()) (ids []string) {
	a.t.Helper()
	for calls := 0; calls < 1000; calls++ {
		f := a.search(q)
		for _, x := range f.Tasks {
			ids = append(ids, x.ID)
		}
		if len(f.Tasks) > q.Limit || (f.Next == "") != f.To.IsZero() {
			a.t.Fatalf("part is %+v", f)
		}
		if f.Next == "" {
			return ids
		}
		q.Cursor = f.Next
		if between != nil {
			between()
		}
	}
	a.t.Fatal("a search has no end")
	return nil
}

func ids(ns ...int) (all []string) {
	for _, n := range ns {
		all = append(all, fmt.Sprintf("%032x", n))
	}
	return all
}

func TestSearch(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	for n, change := range []func(*errand.Task){
		func(x *errand.Task) { x.Status = errand.Failed },
		func(x *errand.Task) { x.Status, x.Operation = errand.Running, "RESTART" },
		func(x *errand.Task) { x.User = errand.User{ID: "u2", Name: "bob"} },
		func(x *errand.Task) { x.Status, x.User.Name = errand.Failed, "u2" },
		func(x *errand.Task) { x.Status, x.Instance = errand.Cancelled, redisID },
	} {
		x := recordAt(n, now.Add(time.Duration(n)*time.Second))
		change(x)
		a.put(x)
	}
	for name, c := range map[string]struct {
		q    tasks.Search
		want []int
	}{
		"all":       {tasks.Search{}, []int{4, 3, 2, 1, 0}},
		"status":    {tasks.Search{Statuses: []errand.Status{errand.Failed}}, []int{3, 0}},
		"statuses":  {tasks.Search{Statuses: []errand.Status{errand.Cancelled, errand.Running, errand.Pending}}, []int{4, 1}},
		"operation": {tasks.Search{Operation: "RESTART"}, []int{1}},
		"user":      {tasks.Search{User: "u2"}, []int{3, 2}},
		"both":      {tasks.Search{User: "u1", Statuses: []errand.Status{errand.Failed}}, []int{3, 0}},
		"instance":  {tasks.Search{Filter: errand.Filter{Instance: redisID}}, []int{4}},
		"engine":    {tasks.Search{Filter: errand.Filter{Engine: errand.Kafka}, User: "alice"}, []int{1, 0}},
		"range":     {tasks.Search{Filter: errand.Filter{From: now.Add(time.Second), To: now.Add(3 * time.Second)}}, []int{3, 2, 1}},
		"none":      {tasks.Search{Operation: "X"}, nil},
	} {
		for _, limit := range []int{1, 2, 100} {
			c.q.Limit = limit
			if got := a.all(c.q, nil); !slices.Equal(got, ids(c.want...)) {
				t.Errorf("%s by %d: %v, want %v", name, limit, got, c.want)
			}
		}
	}
}

func TestSearchErrors(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	good := errand.Filter{Project: project, Limit: 1}
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	id := fmt.Sprintf("%032x", 1)
	for name, c := range map[string]struct {
		q       tasks.Search
		subject string
	}{
		"status":    {tasks.Search{Filter: good, Statuses: []errand.Status{"done"}}, "status"},
		"operation": {tasks.Search{Filter: good, Operation: string(make([]byte, 9))}, "operation"},
		"user":      {tasks.Search{Filter: good, User: "\xff"}, "user"},
		"offset":    {tasks.Search{Filter: errand.Filter{Project: project, Limit: 1, Offset: 1}}, "offset"},
		"limit":     {tasks.Search{Filter: errand.Filter{Project: project}}, "limit"},
		"instance":  {tasks.Search{Filter: errand.Filter{Project: project, Limit: 1, Instance: "f" + kafkaID[1:]}}, "instance"},
		"no base64": {tasks.Search{Filter: good, Cursor: "$"}, "cursor"},
		"no cursor": {tasks.Search{Filter: good, Cursor: encode("hello")}, "cursor"},
		"no number": {tasks.Search{Filter: good, Cursor: encode("1 x " + id)}, "cursor"},
		"no id":     {tasks.Search{Filter: good, Cursor: encode("1 5 x")}, "cursor"},
		"another":   {tasks.Search{Filter: good, Cursor: encode("2 5 " + id)}, "cursor"},
		"negative":  {tasks.Search{Filter: good, Cursor: encode("1 -5 " + id)}, "cursor"},
		"too late":  {tasks.Search{Filter: good, Cursor: encode("1 9223372036854775807 " + id)}, "cursor"},
	} {
		if _, err := a.Search(t.Context(), as(errand.Viewer), c.q); err == nil || errand.ErrorOf(err).Subject != c.subject {
			t.Errorf("%s: %v", name, err)
		}
	}
	q := tasks.Search{Filter: errand.Filter{Project: project, Limit: 1, From: now}, Cursor: encode("1 5 " + id)}
	if f, err := a.Search(t.Context(), as(errand.Viewer), q); err != nil || f.Next != "" || len(f.Tasks) > 0 {
		t.Errorf("cursor of another search: %+v, %v", f, err)
	}
}

// TestSearchIsBounded wants a call that finds nothing to end all the same, and the
// next one to go on, even where all records are of one moment.
func TestSearchIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := archive{w.svc, t}
	var batch []*errand.Task
	const many = 20_500
	for n := range many {
		x := recordAt(n, now)
		if n < 300 {
			x.Operation = "RARE"
		}
		batch = append(batch, x)
	}
	a.put(batch...)
	q := tasks.Search{Filter: errand.Filter{Limit: 100}, Operation: "RARE"}
	f := a.search(q)
	if len(f.Tasks) > 0 || f.Next == "" || !f.To.Equal(now) {
		t.Fatalf("%d found, next %q, to %v", len(f.Tasks), f.Next, f.To)
	}
	q.Cursor = f.Next
	deleted := 0
	got := a.all(q, func() { // what has been looked at goes, a part of it
		for range 5 {
			if err := a.Delete(t.Context(), as(errand.Operator), project, batch[many-1-deleted].ID, tasks.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			deleted++
		}
	})
	var want []int
	for n := range 300 {
		want = append(want, 299-n)
	}
	if !slices.Equal(got, ids(want...)) {
		t.Errorf("found %d, want 300 in order", len(got))
	}
}

// TestSearchAmongChanges searches while records come and go: what was there all the
// time is found once, what came or went once at the most.
func TestSearchAmongChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a := newArchive(t)
		moment := rapid.IntRange(0, 3)
		here := map[string]bool{} // all the time
		add := func(n int) *errand.Task {
			x := recordAt(n, now.Add(time.Duration(moment.Draw(rt, "second"))*time.Second))
			x.Status = rapid.SampledFrom([]errand.Status{errand.Succeeded, errand.Failed}).Draw(rt, "status")
			a.put(x)
			return x
		}
		n := rapid.IntRange(0, 40).Draw(rt, "records")
		var failed []*errand.Task
		for i := range n {
			if x := add(2 * i); x.Status == errand.Failed {
				here[x.ID] = true
				failed = append(failed, x)
			}
		}
		q := tasks.Search{Filter: errand.Filter{Limit: rapid.IntRange(1, 5).Draw(rt, "limit")}, Statuses: []errand.Status{errand.Failed}}
		more := 1
		got := a.all(q, func() {
			for range rapid.IntRange(0, 2).Draw(rt, "come") {
				add(more)
				more += 2
			}
			for range rapid.IntRange(0, 3).Draw(rt, "go") {
				id := fmt.Sprintf("%032x", rapid.IntRange(0, 2*n).Draw(rt, "which"))
				if a.Delete(t.Context(), as(errand.Operator), project, id, tasks.DeleteOptions{}) == nil {
					delete(here, id)
				}
			}
		})
		seen := map[string]bool{}
		for _, id := range got {
			if seen[id] {
				rt.Errorf("%s was found twice", id)
			}
			seen[id] = true
		}
		for id := range here {
			if !seen[id] {
				rt.Errorf("%s was missed; found %v of %d", id, got, len(failed))
			}
		}
	})
}
