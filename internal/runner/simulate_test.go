package runner_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/internal/workertest"
)

// simulate runs a simulation by a clock that does not wait, and returns how much
// time it has passed.
func simulate(t *testing.T, s catalog.Simulation, task *errand.Task) (workertest.Report, time.Duration) {
	t.Helper()
	var passed time.Duration
	r, err := runner.New(nil, nil, runner.Options{Dir: t.TempDir(), Wait: func(_ context.Context, d time.Duration) error { passed += d; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	h := r.Handler(catalog.Entry{Simulation: &s})
	return workertest.Trial{Handler: h, Task: task}.Run(t), passed
}

func TestSimulation(t *testing.T) {
	t.Parallel()
	s := catalog.Simulation{Duration: 10 * time.Second, Steps: []catalog.SimulatedStep{{Name: "a", Duration: 2500 * time.Millisecond}, {Name: "b", Duration: 7500 * time.Millisecond}}}
	r, passed := simulate(t, s, aTask())
	want := workertest.Report{
		Outcome: errand.Outcome{Status: errand.Succeeded}, Log: "step 1 of 2: a\nstep 2 of 2: b\n",
		Progress: &errand.Progress{Percent: 100, Steps: []errand.Step{{Name: "a", Status: errand.StepSucceeded}, {Name: "b", Status: errand.StepSucceeded}}},
	}
	if diff := cmp.Diff(want, r, cmpopts.IgnoreFields(errand.Step{}, "StartedAt", "EndedAt")); diff != "" || passed != s.Duration {
		t.Errorf("after %v (-want +got):\n%s", passed, diff)
	}
}

// TestSimulationFails holds failures to the rate that is declared, and each to
// its task and attempt.
func TestSimulationFails(t *testing.T) {
	t.Parallel()
	s := catalog.Simulation{Duration: 4 * time.Second, FailRate: 0.25, ErrorCode: "E1", Reason: "as declared"}
	const tasks = 400
	var failed []string
	for range 2 {
		var now []string
		for i := range tasks {
			task := aTask()
			task.ID = errand.NewID(time.UnixMilli(int64(i)))[:12] + "00000000000000000000"
			r, passed := simulate(t, s, task)
			if r.Status == errand.Succeeded {
				continue
			}
			if want := (errand.Outcome{Status: errand.Failed, ErrorCode: "E1", Reason: "as declared"}); !cmp.Equal(r.Outcome, want) || passed != 2*time.Second {
				t.Fatalf("outcome %+v after %v", r.Outcome, passed)
			}
			now = append(now, task.ID)
		}
		if failed != nil && !slices.Equal(failed, now) {
			t.Error("the same tasks ended in another way")
		}
		failed = now
	}
	if n := len(failed); n < tasks/8 || n > tasks*3/8 {
		t.Errorf("%d of %d failed", n, tasks)
	}
}

func TestSimulationStops(t *testing.T) {
	t.Parallel()
	boom := errors.New("asked to")
	r, err := runner.New(nil, nil, runner.Options{Dir: t.TempDir(), Wait: func(context.Context, time.Duration) error { return boom }})
	if err != nil {
		t.Fatal(err)
	}
	h := r.Handler(catalog.Entry{Simulation: &catalog.Simulation{Duration: time.Hour}})
	if got := (workertest.Trial{Handler: h, Task: aTask()}).Run(t); got.Status != errand.Failed || got.Reason != "asked to" {
		t.Errorf("outcome %+v", got.Outcome)
	}
}
