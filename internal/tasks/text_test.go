package tasks_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// TestTextThatNoStoreKeeps sends NUL bytes, and bytes that are not UTF-8, by
// every way that leads into a store.
func TestTextThatNoStoreKeeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	operator, worker := as(errand.Operator), as(errand.Worker)
	for _, bad := range []string{"a\x00b", "a\xffb", "\xed\xa0\x80"} {
		held := w.submit(redisID, tasks.Submission{Operation: "check"})
		g := w.claim("w", "check")[0]
		steps := func(s errand.Step) error {
			_, err := w.Extend(ctx, worker, project, g.Token, tasks.Beat{Progress: &errand.Progress{Steps: []errand.Step{s}}})
			return err
		}
		submit := func(s tasks.Submission) error {
			s.Operation = "check"
			_, err := w.Submit(ctx, operator, project, redisID, s)
			return err
		}
		claim := func(c tasks.ClaimRequest) error {
			c.Limit = 1
			_, err := w.Claim(ctx, worker, project, c)
			return err
		}
		record := func(change func(*errand.Task)) error {
			x := record(1, errand.Succeeded)
			change(x)
			_, err := w.svc.Import(ctx, operator, project, redisID, []*errand.Task{x})
			return err
		}
		raw := json.RawMessage(`{"x":"` + bad + `"}`)
		for what, err := range map[string]error{
			"step":             steps(errand.Step{Name: bad, Status: errand.StepRunning}),
			"detail":           steps(errand.Step{Name: "s", Detail: bad, Status: errand.StepRunning}),
			"code of sub-step": steps(errand.Step{Name: "s", Status: errand.StepRunning, Steps: []errand.Step{{Name: "x", ErrorCode: bad}}}),
			"reason":           w.finish(g, errand.Outcome{Status: errand.Failed, Reason: bad}),
			"error code":       w.finish(g, errand.Outcome{Status: errand.Failed, ErrorCode: bad}),
			"result":           w.finish(g, errand.Outcome{Status: errand.Succeeded, Result: raw}),
			"params":           submit(tasks.Submission{Params: raw}),
			"details":          submit(tasks.Submission{Details: raw}),
			"key":              submit(tasks.Submission{Key: bad}),
			"worker":           claim(tasks.ClaimRequest{Worker: bad, Operations: []string{"check"}}),
			"operations":       claim(tasks.ClaimRequest{Worker: "w", Operations: []string{bad}}),
			"cancel": func() error {
				_, err := w.Cancel(ctx, operator, project, held.ID, bad)
				return err
			}(),
			"instance": func() error {
				_, err := w.svc.Register(ctx, operator, errand.Instance{Project: project, ID: nobodyID, Name: "n", Engine: errand.Redis, Attributes: map[string]string{"a": bad}})
				return err
			}(),
			"imported params":  record(func(x *errand.Task) { x.Params = bad }),
			"imported details": record(func(x *errand.Task) { x.Details = raw }),
			"imported user":    record(func(x *errand.Task) { x.User.Name = bad }),
			"imported reason":  record(func(x *errand.Task) { x.Reason = bad }),
			"imported steps":   record(func(x *errand.Task) { x.Progress = &errand.Progress{Steps: []errand.Step{{Name: bad}}} }),
		} {
			if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Invalid {
				t.Errorf("%s with %q: %v, want it refused", what, bad, err)
			}
		}
		// A log is bytes, and is kept as it is.
		if _, err := w.Extend(ctx, worker, project, g.Token, tasks.Beat{Log: []byte(bad)}); err != nil {
			t.Error(err)
		}
		if text, _, err := w.Log(ctx, operator, project, held.ID, 0, 100); err != nil || string(text) != bad {
			t.Errorf("log %q, %v; want %q", text, err, bad)
		}
		if err := w.finish(g, errand.Outcome{Status: errand.Succeeded}); err != nil {
			t.Error(err)
		}
		w.now = w.now.Add(time.Second)
	}
}
