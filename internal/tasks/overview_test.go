package tasks_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func (w *world) overview() tasks.Overview {
	w.t.Helper()
	w.now = w.now.Add(time.Second) // what has not ended is read again
	o, err := w.Overview(w.t.Context(), as(errand.Viewer), project)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) mark(instance, task string) tasks.Mark {
	w.t.Helper()
	m, err := w.Mark(w.t.Context(), as(errand.Viewer), project, instance, task)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) beat(g tasks.Grant, percent int) {
	w.t.Helper()
	_, err := w.Extend(w.t.Context(), as(errand.Worker), project, g.Token, tasks.Beat{Progress: &errand.Progress{Percent: percent}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) cancel(id string) {
	w.t.Helper()
	if _, err := w.Cancel(w.t.Context(), as(errand.Operator), project, id, ""); err != nil {
		w.t.Fatal(err)
	}
}

// serve has a worker be there for an operation that takes nothing.
func (w *world) serve(operation string) {
	gone, cancel := context.WithCancel(w.t.Context())
	cancel()
	_, _ = w.Claim(gone, as(errand.Worker), project, tasks.ClaimRequest{Worker: "busy", Operations: []string{operation}, Limit: 1})
}

func idsOf(list []*errand.Task) (ids []string) {
	for _, t := range list {
		ids = append(ids, t.ID)
	}
	return ids
}

func wantIDs(t *testing.T, what string, got []*errand.Task, want ...*errand.Task) {
	t.Helper()
	if g, w := idsOf(got), idsOf(want); !slices.Equal(g, w) {
		t.Errorf("%s are %v, want %v", what, g, w)
	}
}

func TestOverview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if o := w.overview(); o.Instances != 2 || o.Tasks != 0 || len(o.Unfinished) > 0 || len(o.Hours) != 24 || !o.At.Equal(w.now) {
		t.Errorf("of nothing: %+v", o)
	}
	first := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	behind := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	secret := w.submit(redisID, tasks.Submission{Operation: "modify", Secrets: map[string]string{"password": "x"}})
	planned := w.submit(redisID, tasks.Submission{Operation: "check", RunAt: w.now.Add(time.Hour)})
	bad := w.submit(redisID, tasks.Submission{Operation: "check"})
	for _, g := range w.claim("w1", "EXTEND", "check") {
		if g.Task.ID == bad.ID {
			if err := w.finish(g, errand.Outcome{Status: errand.Failed, Reason: "no"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Cancel(t.Context(), as(errand.Operator), project, planned.ID, ""); err != nil {
		t.Fatal(err)
	}
	o := w.overview()
	if o.Instances != 2 || o.Tasks != 5 || o.Running != 1 || o.Waiting != 2 {
		t.Errorf("%d instances, %d tasks, %d running, %d waiting", o.Instances, o.Tasks, o.Running, o.Waiting)
	}
	wantIDs(t, "unfinished", o.Unfinished, first, behind, secret)
	wantIDs(t, "failed", o.Failed, bad)
	if r := o.Unfinished[0].Run; r == nil || r.Lease.Token != "" || r.Lease.Worker != "w1" || o.Unfinished[2].Run.Sealed != nil {
		t.Errorf("runs are %+v, %+v", r, o.Unfinished[2].Run)
	}
	if h := o.Hours[23]; h.Submitted != 5 || h.Failed != 1 || h.Cancelled != 1 || h.Succeeded != 0 || !h.From.Equal(w.now.Truncate(time.Hour)) {
		t.Errorf("this hour is %+v", h)
	}
	if len(o.Stuck) != 1 || o.Stuck[0].Task.ID != secret.ID || o.Stuck[0].Why.Code != tasks.WhyNoWorker {
		t.Errorf("stuck are %+v", o.Stuck)
	}
	if !o.Since.Equal(w.now.Add(-24 * time.Hour)) {
		t.Errorf("known since %v", o.Since)
	}
	if err := w.svc.Delete(t.Context(), as(errand.Operator), project, bad.ID, tasks.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "failed", w.overview().Failed)
	w.now = w.now.Add(25 * time.Hour)
	for _, h := range w.overview().Hours {
		if h.Submitted+h.Failed+h.Cancelled > 0 {
			t.Errorf("a day later: %+v", h)
		}
	}
	if _, err := w.Overview(t.Context(), as(errand.Viewer), "f"+project[1:]); errand.ErrorOf(err).Kind != errand.Unauthenticated {
		t.Errorf("of another project: %v", err)
	}
}

// TestStuck goes through the reasons for which a task goes nowhere by itself.
func TestStuck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*world) *errand.Task
		code    tasks.WhyCode // "" if it is not stuck
	}{
		"nobody serves it": {func(w *world) *errand.Task { return w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"}) }, tasks.WhyNoWorker},
		"its time has not come": {func(w *world) *errand.Task {
			return w.submit(kafkaID, tasks.Submission{Operation: "EXTEND", RunAt: w.now.Add(time.Hour)})
		}, ""},
		"behind another": {func(w *world) *errand.Task {
			w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
			w.claim("w1", "EXTEND")
			return w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
		}, ""},
		"ready for a short time": {func(w *world) *errand.Task {
			w.serve("check")
			w.now = w.now.Add(time.Minute)
			return w.submit(kafkaID, tasks.Submission{Operation: "check"})
		}, ""},
		"ready for long": {func(w *world) *errand.Task {
			x := w.submit(kafkaID, tasks.Submission{Operation: "check"})
			w.now = w.now.Add(3 * time.Minute)
			w.serve("check")
			return x
		}, tasks.WhyWorker},
		"its lane has just become free": {func(w *world) *errand.Task {
			w.submit(kafkaID, tasks.Submission{Operation: "modify"})
			x := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
			g := w.claim("w1", "modify")[0]
			for range 20 {
				w.now = w.now.Add(9 * time.Second)
				w.beat(g, 1)
			}
			if err := w.finish(g, errand.Outcome{Status: errand.Succeeded}); err != nil {
				w.t.Fatal(err)
			}
			w.serve("EXTEND")
			return x
		}, ""},
		"running": {func(w *world) *errand.Task {
			x := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
			w.claim("w1", "EXTEND")
			return x
		}, ""},
		"silent": {func(w *world) *errand.Task {
			x := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
			w.claim("w1", "EXTEND")
			w.now = w.now.Add(20 * time.Second)
			return x
		}, tasks.WhySilent},
		"asked to stop": {func(w *world) *errand.Task {
			x := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
			w.claim("w1", "EXTEND")
			w.cancel(x.ID)
			return x
		}, ""},
		"not stopped in time": {func(w *world) *errand.Task {
			x := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
			w.claim("w1", "EXTEND")
			w.cancel(x.ID)
			w.now = w.now.Add(31 * time.Second)
			return x
		}, tasks.WhyCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			x := c.prepare(w)
			var code tasks.WhyCode
			for _, s := range w.overview().Stuck {
				if s.Task.ID == x.ID {
					code = s.Why.Code
					why, err := w.Why(t.Context(), as(errand.Viewer), project, x.ID)
					if err != nil || !reflect.DeepEqual(why, s.Why) {
						t.Errorf("it is stuck because %+v, but waits for %+v, %v", s.Why, why, err)
					}
				}
			}
			if code != c.code {
				t.Errorf("it is stuck for %q, want %q", code, c.code)
			}
		})
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	y := w.submit(redisID, tasks.Submission{Operation: "EXTEND"})
	all := func() (m [5]tasks.Mark) {
		w.now = w.now.Add(time.Second)
		for i, of := range [...][2]string{{"", ""}, {kafkaID, ""}, {redisID, ""}, {kafkaID, x.ID}, {redisID, y.ID}} {
			m[i] = w.mark(of[0], of[1])
		}
		return m
	}
	var gs []tasks.Grant
	last := all()
	for _, step := range []struct {
		what    string
		do      func()
		changed [5]bool
	}{
		{"nothing", func() {}, [5]bool{}},
		{"claims", func() { gs = w.claim("w1", "EXTEND") }, [5]bool{true, true, true, true, true}},
		{"progress", func() { w.beat(gs[0], 10) }, [5]bool{true, true, false, true, false}},
		{"a beat", func() { w.beat(gs[0], 10) }, [5]bool{}},
		{"progress of both", func() { w.beat(gs[0], 20); w.beat(gs[1], 20) }, [5]bool{true, true, true, true, true}},
		{"an end", func() { _ = w.finish(gs[1], errand.Outcome{Status: errand.Succeeded}) }, [5]bool{true, false, true, false, true}},
		{"another task", func() { w.submit(redisID, tasks.Submission{Operation: "check"}) }, [5]bool{true, false, true, false, false}},
		{"a cancel", func() { w.cancel(x.ID) }, [5]bool{true, true, false, true, false}},
	} {
		step.do()
		now := all()
		for i := range now {
			if (now[i] != last[i]) != step.changed[i] {
				t.Errorf("after %s mark %d is %+v and was %+v", step.what, i, now[i], last[i])
			}
		}
		last = now
	}
	for _, of := range [][2]string{{"x", ""}, {"", "x"}} {
		if _, err := w.Mark(t.Context(), as(errand.Viewer), project, of[0], of[1]); errand.ErrorOf(err).Kind != errand.Invalid {
			t.Errorf("mark of %v: %v", of, err)
		}
	}
}

func TestUnfinishedAndTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.submit(redisID, tasks.Submission{Operation: "modify", Secrets: map[string]string{"password": "x"}})
	y := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	g := w.claim("w1", "EXTEND")[0]
	list, running, waiting, err := w.Unfinished(t.Context(), as(errand.Viewer), project, "", 10)
	if err != nil || running != 1 || waiting != 1 {
		t.Fatalf("%d running, %d waiting, %v", running, waiting, err)
	}
	wantIDs(t, "unfinished", list, y, x)
	if list[0].Run.Lease.Token != "" || list[1].Run.Sealed != nil {
		t.Errorf("what nobody may know: %+v, %+v", list[0].Run, list[1].Run)
	}
	list, _, _, err = w.Unfinished(t.Context(), as(errand.Viewer), project, redisID, 10)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "unfinished of one", list, x)
	page, err := w.Timeline(t.Context(), as(errand.Viewer), errand.Filter{Project: project, Limit: 10})
	if err != nil || page.Total != 2 || page.Tasks[0].Run.Attempts[0].Worker != "w1" || page.Tasks[0].Run.Lease.Token != "" {
		t.Errorf("timeline is %+v, %v", page, err)
	}
	if err := w.finish(g, errand.Outcome{Status: errand.Succeeded}); err != nil {
		t.Fatal(err)
	}
	page, err = w.Timeline(t.Context(), as(errand.Viewer), errand.Filter{Project: project, Instance: kafkaID, Limit: 10})
	if err != nil || page.Total != 1 || page.Tasks[0].Run.Attempts[0].EndedAt.IsZero() {
		t.Errorf("timeline of one is %+v, %v", page, err)
	}
	for what, call := range map[string]func() error{
		"limit": func() error {
			_, _, _, err := w.Unfinished(t.Context(), as(errand.Viewer), project, "", 1001)
			return err
		},
		"instance_id": func() error {
			_, _, _, err := w.Unfinished(t.Context(), as(errand.Viewer), project, "x", 1)
			return err
		},
		"instance": func() error {
			_, _, _, err := w.Unfinished(t.Context(), as(errand.Viewer), project, "f"+kafkaID[1:], 1)
			return err
		},
		"engine": func() error {
			_, err := w.Timeline(t.Context(), as(errand.Viewer), errand.Filter{Project: project, Engine: "x", Limit: 1})
			return err
		},
	} {
		if err := call(); err == nil || errand.ErrorOf(err).Subject != what {
			t.Errorf("error about %s is %v", what, err)
		}
	}
}
