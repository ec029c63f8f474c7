package workertest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

// RunSource is the contract of worker.Source towards a real server: store returns
// an empty store, source what workers get its tasks from.
func RunSource(t *testing.T, store func(*testing.T) Store, source func(*testing.T, *Server) worker.Source) {
	for name, check := range map[string]func(*testing.T, *Server, worker.Source){
		"Calls":     calls,
		"Success":   success,
		"Failure":   failure,
		"Retry":     retry,
		"Cancel":    cancelled,
		"LeaseLost": leaseLost,
		"Lane":      lane,
		"Engines":   engines,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewServer(t, store(t))
			check(t, s, source(t, s))
		})
	}
}

var request = worker.ClaimRequest{Worker: "w", Operations: []string{"work", "again"}, Limit: 10}

// calls makes each call of the protocol by hand.
func calls(t *testing.T, s *Server, source worker.Source) {
	if got, err := source.Claim(t.Context(), request); err != nil || len(got) != 0 {
		t.Fatalf("Claim = %v, %v; there is nothing", got, err)
	}
	id := s.Submit(t, "work", `{"n":1}`, map[string]string{"password": "s3cret"})
	got, err := source.Claim(t.Context(), request)
	if err != nil || len(got) != 1 {
		t.Fatalf("Claim = %v, %v", got, err)
	}
	g := got[0]
	if x := g.Task; x.ID != id || x.Project != s.Project || x.Instance != Instance || x.Engine != errand.Redis || x.Operation != "work" || x.Params != `{"n":1}` ||
		x.Run == nil || x.Run.Lane != "instance" || x.Run.Timeout != errand.DefaultTimeout || x.AttemptNumber() != 1 {
		t.Errorf("the task is %+v, %+v", x, x.Run)
	}
	if g.TTL != lease || g.Secrets["password"] != "s3cret" || g.Token == "" {
		t.Errorf("the grant is %+v", g)
	}
	beat := worker.Beat{Progress: &errand.Progress{Percent: 50, Remaining: time.Minute, Steps: []errand.Step{{Name: "a", Status: errand.StepRunning}}}, Log: []byte("one\n")}
	if x, err := source.Extend(t.Context(), g.Token, beat); err != nil || !cmp.Equal(x, worker.Extended{TTL: lease}) {
		t.Errorf("Extend = %+v, %v", x, err)
	}
	if x := s.Await(t, id, func(*errand.Task) bool { return true }); !cmp.Equal(x.Progress, beat.Progress) {
		t.Errorf("progress %+v", x.Progress)
	}
	beat.Progress.Percent = 250
	if _, err := source.Extend(t.Context(), g.Token, beat); kind(err) != errand.Invalid {
		t.Errorf("Extend with 250 %% = %v", err)
	}
	for _, token := range []string{"", "x", g.Token[:len(g.Token)-1] + "x", g.Token + "0"} {
		if _, err := source.Extend(t.Context(), token, worker.Beat{}); kind(err) != errand.LeaseLost && token != "" {
			t.Errorf("Extend with token %q = %v", token, err)
		}
		if err := source.Finish(t.Context(), token, errand.Outcome{Status: errand.Succeeded}, nil); kind(err) != errand.LeaseLost && token != "" {
			t.Errorf("Finish with token %q = %v", token, err)
		}
	}
	if err := source.Finish(t.Context(), g.Token, errand.Outcome{Status: errand.Running}, nil); kind(err) != errand.Invalid {
		t.Errorf("Finish as running = %v", err)
	}
	if err := source.Finish(t.Context(), g.Token, errand.Outcome{Status: errand.Succeeded, Result: []byte(`{"a":1}`)}, []byte("two\n")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := source.Finish(t.Context(), g.Token, errand.Outcome{Status: errand.Failed}, []byte("three\n")); kind(err) != errand.LeaseLost {
			t.Errorf("Finish once more = %v", err)
		}
	}
	x := s.Final(t, id)
	if x.Status != errand.Succeeded || string(x.Run.Result) != `{"a":1}` || x.Run.Attempts[0].Worker != "w" {
		t.Errorf("the task is %+v, %+v", x, x.Run)
	}
	if log := s.Log(t, id); log != "one\ntwo\n" {
		t.Errorf("log %q", log)
	}
}

func kind(err error) errand.Kind {
	if err == nil {
		return 255
	}
	return errand.ErrorOf(err).Kind
}

func success(t *testing.T, s *Server, source worker.Source) {
	s.Work(t, source, func(_ context.Context, j *worker.Job) error {
		var p struct{ N int }
		if err := j.Params(&p); err != nil {
			return err
		}
		j.Plan("a", "b")
		j.Step("a")
		j.Logf("the password is %s", j.Secrets["password"])
		j.Step("b")
		return j.Result(p.N + 1)
	})
	id := s.Submit(t, "work", `{"n":1}`, map[string]string{"password": "s3cret"})
	x := s.Final(t, id)
	want := &errand.Progress{Percent: 100, Steps: []errand.Step{{Name: "a", Status: errand.StepSucceeded}, {Name: "b", Status: errand.StepSucceeded}}}
	if diff := cmp.Diff(want, x.Progress, cmpopts.IgnoreFields(errand.Step{}, "StartedAt", "EndedAt")); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if log := s.Log(t, id); x.Status != errand.Succeeded || string(x.Run.Result) != "2" || log != "the password is ***\n" {
		t.Errorf("task %+v, result %s, log %q", x, x.Run.Result, log)
	}
}

func failure(t *testing.T, s *Server, source worker.Source) {
	s.Work(t, source, func(context.Context, *worker.Job) error {
		return worker.Permanent(worker.WithCode("E7", errors.New("disk full")))
	})
	x := s.Final(t, s.Submit(t, "again", `{}`, nil))
	if x.Status != errand.Failed || x.ErrorCode != "E7" || x.Reason != "disk full" || x.AttemptNumber() != 1 {
		t.Errorf("task %+v after %d attempts", x, x.AttemptNumber())
	}
}

func retry(t *testing.T, s *Server, source worker.Source) {
	s.Work(t, source, func(_ context.Context, j *worker.Job) error {
		if n := j.Task.AttemptNumber(); n < 3 {
			return errors.New("attempt " + string(rune('0'+n)))
		}
		return nil
	})
	id := s.Submit(t, "again", `{}`, nil)
	for n := 1; n < 3; n++ {
		s.Await(t, id, func(x *errand.Task) bool {
			return x.Status == errand.Pending && x.AttemptNumber() == n || x.AttemptNumber() > n
		})
		s.Pass(t, time.Second) // the longest wait
	}
	x := s.Final(t, id)
	var said []string
	for _, a := range x.Run.Attempts {
		said = append(said, a.Error)
	}
	if x.Status != errand.Succeeded || strings.Join(said, ",") != "attempt 1,attempt 2," {
		t.Errorf("task %s, attempts %q", x.Status, said)
	}
}

func cancelled(t *testing.T, s *Server, source worker.Source) {
	causes := make(chan error, 1)
	s.Work(t, source, func(ctx context.Context, _ *worker.Job) error {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	})
	id := s.Submit(t, "work", `{}`, nil)
	s.Await(t, id, func(x *errand.Task) bool { return x.Status == errand.Running })
	if _, err := s.Runs.Cancel(t.Context(), s.Admin(), s.Project, id, "wrong one"); err != nil {
		t.Fatal(err)
	}
	x := s.Final(t, id)
	if cause := <-causes; x.Status != errand.Cancelled || x.Reason != "wrong one" || !errors.Is(cause, worker.ErrStopped) || !strings.Contains(cause.Error(), "wrong one") {
		t.Errorf("task %s (%s), the handler was told %v", x.Status, x.Reason, cause)
	}
}

func leaseLost(t *testing.T, s *Server, source worker.Source) {
	causes := make(chan error, 1)
	s.Work(t, source, func(ctx context.Context, j *worker.Job) error {
		j.Logf("late words")
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil
	})
	id := s.Submit(t, "work", `{}`, nil)
	s.Await(t, id, func(x *errand.Task) bool { return x.Status == errand.Running })
	s.Pass(t, time.Hour)
	x := s.Final(t, id)
	if x.Status != errand.Failed || x.ErrorCode != "OutcomeUnknown" {
		t.Fatalf("task %s (%s)", x.Status, x.ErrorCode)
	}
	if cause := <-causes; !errors.Is(cause, worker.ErrLeaseLost) {
		t.Errorf("the handler was told %v", cause)
	}
	if after := s.Final(t, id); !cmp.Equal(x, after) {
		t.Errorf("a late worker changed the task: %s", cmp.Diff(x, after))
	}
}

// lane never has two handlers of one lane at a time, though there is room.
func lane(t *testing.T, s *Server, source worker.Source) {
	var running, together atomic.Int32
	s.Work(t, source, func(context.Context, *worker.Job) error {
		if running.Add(1) > 1 {
			together.Add(1)
		}
		defer running.Add(-1)
		return nil
	})
	var ids []string
	for range 20 {
		ids = append(ids, s.Submit(t, "work", `{}`, nil))
	}
	for _, id := range ids {
		if x := s.Final(t, id); x.Status != errand.Succeeded {
			t.Errorf("task %s: %s", x.Status, x.Reason)
		}
	}
	if n := together.Load(); n > 0 {
		t.Errorf("%d handlers began while another one ran", n)
	}
}

// engines gives nothing of an engine that was not asked for.
func engines(t *testing.T, s *Server, source worker.Source) {
	id := s.Submit(t, "work", `{}`, nil)
	c := request
	c.Engines = []errand.Engine{errand.Kafka}
	if got, err := source.Claim(t.Context(), c); err != nil || len(got) > 0 {
		t.Errorf("Claim = %v, %v", got, err)
	}
	c.Engines = []errand.Engine{"odd"}
	if _, err := source.Claim(t.Context(), c); kind(err) != errand.Invalid {
		t.Errorf("Claim of engine odd = %v", err)
	}
	c.Engines = []errand.Engine{errand.Kafka, errand.Redis}
	if got, err := source.Claim(t.Context(), c); err != nil || len(got) != 1 || got[0].Task.ID != id {
		t.Errorf("Claim = %v, %v", got, err)
	}
}
