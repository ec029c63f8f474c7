package tasks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
)

// shelf is a catalogue for these tests: every operation whose name it holds.
type shelf map[string]errand.Operation

func (s shelf) Operation(e errand.Engine, name string) (errand.Operation, bool) {
	o, ok := s[name]
	o.Engine, o.Name = e, name
	return o, ok
}

func (s shelf) Check(_ errand.Operation, params json.RawMessage) error {
	if strings.Contains(string(params), "wrong") {
		return errand.Errorf(errand.Invalid, "params", "wrong is wrong")
	}
	return nil
}

func (s shelf) Details(_ errand.Operation, params json.RawMessage) json.RawMessage {
	if strings.Contains(string(params), "new_port") {
		return json.RawMessage(`{"new_port":1}`)
	}
	return nil
}

var operations = shelf{
	"EXTEND":  {Lane: "instance", Timeout: time.Hour, MaxAttempts: 2, OnLost: errand.RetryWhenLost, Backoff: errand.Backoff{Base: time.Second, Max: time.Minute}},
	"modify":  {Lane: "instance", MaxAttempts: 1, OnLost: errand.FailWhenLost, Secrets: []string{"password"}},
	"check":   {MaxAttempts: 1, OnLost: errand.FailWhenLost},
	"restart": {Lane: "instance", MaxAttempts: 1, OnLost: errand.FailWhenLost, RejectBusy: true},
}

// world is a service whose clock the test moves.
type world struct {
	*tasks.Runs
	t   *testing.T
	svc *tasks.Service
	now time.Time
	dir string

	stop func() // the server goes
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: now.Truncate(time.Second), dir: t.TempDir()}
	w.open()
	for _, i := range []errand.Instance{
		{Project: project, ID: kafkaID, Name: "kafka", Engine: errand.Kafka},
		{Project: project, ID: redisID, Name: "redis", Engine: errand.Redis},
	} {
		if _, err := w.svc.Register(t.Context(), as(errand.Admin), i); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// open starts the server, or what there is of it here.
func (w *world) open() {
	w.t.Helper()
	store, err := sqlite.Open(filepath.Join(w.dir, "errand.db"), sqlite.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = store.Close() })
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		w.t.Fatal(err)
	}
	w.svc = tasks.New(store, func() time.Time { return w.now })
	w.Runs = tasks.NewRuns(w.svc, store, operations, sealer, tasks.RunOptions{})
	w.stop = func() { _ = store.Close() }
}

func (w *world) submit(instance string, s tasks.Submission) *errand.Task {
	w.t.Helper()
	task, err := w.Submit(w.t.Context(), as(errand.Operator), project, instance, s)
	if err != nil {
		w.t.Fatal(err)
	}
	w.now = w.now.Add(time.Millisecond)
	return task
}

func (w *world) claim(worker string, operations ...string) []tasks.Grant {
	w.t.Helper()
	grants, err := w.Claim(w.t.Context(), as(errand.Worker), project, tasks.ClaimRequest{Worker: worker, Operations: operations, Limit: 10})
	if err != nil {
		w.t.Fatal(err)
	}
	return grants
}

func (w *world) finish(g tasks.Grant, o errand.Outcome) error {
	_, err := w.Finish(w.t.Context(), as(errand.Worker), project, g.Token, o, nil)
	return err
}

func (w *world) get(id string) *errand.Task {
	w.t.Helper()
	task, err := w.Get(w.t.Context(), as(errand.Viewer), project, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return task
}

// want fails the test unless the task has the status, and explains it so.
func (w *world) want(id string, s errand.Status, code tasks.WhyCode, words ...string) {
	w.t.Helper()
	if got := w.get(id); got.Status != s {
		w.t.Errorf("task is %s (%s), want %s", got.Status, got.Reason, s)
	}
	why, err := w.Why(w.t.Context(), as(errand.Viewer), project, id)
	if err != nil || why.Code != code {
		w.t.Errorf("why: %+v, %v; want %s", why, err, code)
	}
	for _, word := range words {
		if !strings.Contains(why.Text, word) {
			w.t.Errorf("why %q does not say %q", why.Text, word)
		}
	}
}

func (w *world) sweep() int {
	w.t.Helper()
	n, _, err := w.Sweep(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestLifeOfATask(t *testing.T) {
	w := newWorld(t)
	task := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND", Params: json.RawMessage(`{"to":3}`)})
	w.want(task.ID, errand.Pending, tasks.WhyNoWorker, "no worker serves operation EXTEND")
	if page, err := w.svc.List(t.Context(), as(errand.Viewer), errand.Filter{Project: project, Instance: kafkaID, Limit: 10}); err != nil || page.Total != 1 || page.Tasks[0].ID != task.ID || page.Tasks[0].User.Name != "operator" {
		t.Errorf("list: %+v, %v", page, err)
	}
	if g := w.claim("w1", "modify"); len(g) != 0 {
		t.Fatalf("a worker for something else was given %+v", g)
	}
	g := w.claim("w1", "EXTEND")
	if len(g) != 1 || g[0].Task.ID != task.ID || len(g[0].Token) != 64 {
		t.Fatalf("claim: %+v", g)
	}
	w.want(task.ID, errand.Running, tasks.WhyRunning, "worker w1")

	w.now = w.now.Add(3 * time.Second)
	p := &errand.Progress{Percent: 33, Remaining: 20 * time.Second, Steps: []errand.Step{
		{Name: "pre_check", Status: errand.StepSucceeded}, {Name: "disk_expansion", Status: errand.StepRunning}, {Name: "rolling", Status: errand.StepWaiting},
	}}
	x, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, tasks.Beat{Progress: p, Log: []byte("hello\n")})
	if err != nil || x.Stop {
		t.Fatalf("extend: %+v, %v", x, err)
	}
	w.want(task.ID, errand.Running, tasks.WhyRunning, "step 2 of 3 (disk_expansion)", "20 s left")
	if text, size, err := w.Log(t.Context(), as(errand.Viewer), project, task.ID, 0, 100); string(text) != "hello\n" || size != 6 || err != nil {
		t.Errorf("log: %q, %d, %v", text, size, err)
	}
	if err := w.finish(g[0], errand.Outcome{Status: errand.Succeeded, Result: json.RawMessage(`{"ok":true}`)}); err != nil {
		t.Fatal(err)
	}
	w.want(task.ID, errand.Succeeded, tasks.WhyEnded, "succeeded")
	wants(t, w.finish(g[0], errand.Outcome{Status: errand.Failed}), errand.LeaseLost, "lease")

	got := w.get(task.ID)
	if string(got.Run.Result) != `{"ok":true}` || len(got.Run.Attempts) != 1 || got.Run.Attempts[0].Worker != "w1" || got.Run.Attempts[0].EndedAt.IsZero() {
		t.Errorf("run: %+v", got.Run)
	}
	events, err := w.svc.Events(t.Context(), as(errand.Viewer), project, task.ID, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var acts []errand.Act
	for _, e := range events {
		acts = append(acts, e.Act)
	}
	if want := []errand.Act{errand.ActSubmitted, errand.ActClaimed, errand.ActFinished}; !slices.Equal(acts, want) {
		t.Errorf("events %v, want %v", acts, want)
	}
	feed, err := w.Feed(t.Context(), as(errand.Viewer), project, events[0].Seq, 10)
	if err != nil || len(feed) != 2 {
		t.Errorf("feed after the first: %+v, %v", feed, err)
	}
}

func TestLanes(t *testing.T) {
	w := newWorld(t)
	first := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	second := w.submit(kafkaID, tasks.Submission{Operation: "modify"})
	third := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	beside := w.submit(kafkaID, tasks.Submission{Operation: "check"})
	other := w.submit(redisID, tasks.Submission{Operation: "EXTEND"})
	future := w.submit(redisID, tasks.Submission{Operation: "EXTEND", RunAt: w.now.Add(time.Hour)})
	_, err := w.Submit(t.Context(), as(errand.Operator), project, kafkaID, tasks.Submission{Operation: "restart"})
	wants(t, err, errand.Conflict, "instance")
	_, err = w.Submit(t.Context(), as(errand.Operator), project, kafkaID, tasks.Submission{Operation: "EXTEND", Reject: true})
	wants(t, err, errand.Conflict, "instance")

	all := []string{"EXTEND", "modify", "check"}
	ids := func(grants []tasks.Grant) (ids []string) {
		for _, g := range grants {
			ids = append(ids, g.Task.ID)
		}
		return ids
	}
	w.want(second.ID, errand.Pending, tasks.WhyLane, first.ID, "pending", "no worker serves operation EXTEND")
	g := w.claim("w", all...)
	if got, want := ids(g), []string{first.ID, beside.ID, other.ID}; !slices.Equal(got, want) {
		t.Fatalf("claimed %v, want the heads %v", got, want)
	}
	w.want(second.ID, errand.Pending, tasks.WhyLane, first.ID, "EXTEND, running")
	w.want(third.ID, errand.Pending, tasks.WhyLane, "1 more")
	w.want(future.ID, errand.Pending, tasks.WhyTime, "59 min")
	if g := w.claim("w", all...); len(g) != 0 {
		t.Fatalf("claimed %v beside a running task", ids(g))
	}
	// A head that fails lets the next one through.
	if err := w.finish(g[0], errand.Outcome{Status: errand.Failed, Permanent: true, Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	g = w.claim("w", all...)
	if got := ids(g); !slices.Equal(got, []string{second.ID}) {
		t.Fatalf("claimed %v, want the second", got)
	}
	// So does one that is cancelled while it waits.
	if _, err := w.Cancel(t.Context(), as(errand.Operator), project, third.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.want(third.ID, errand.Cancelled, tasks.WhyEnded)
	if err := w.finish(g[0], errand.Outcome{Status: errand.Succeeded}); err != nil {
		t.Fatal(err)
	}
	late := w.submit(kafkaID, tasks.Submission{Operation: "restart"})
	if g = w.claim("w", "restart"); !slices.Equal(ids(g), []string{late.ID}) {
		t.Errorf("claimed %v of an idle lane", ids(g))
	}
}

func TestLostWorkers(t *testing.T) {
	w := newWorld(t)
	again := w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	once := w.submit(redisID, tasks.Submission{Operation: "modify"})
	g := w.claim("w1", "EXTEND", "modify")
	w.now = w.now.Add(9 * time.Second)
	if n := w.sweep(); n != 0 {
		t.Fatalf("swept %d that are held", n)
	}
	w.now = w.now.Add(2 * time.Second)
	w.want(again.ID, errand.Running, tasks.WhySilent, "w1")
	if n := w.sweep(); n != 2 {
		t.Fatalf("swept %d, want both", n)
	}
	w.want(once.ID, errand.Failed, tasks.WhyEnded, "outcome unknown", "worker w1 was last heard of")
	if got := w.get(again.ID); got.Status != errand.Pending || len(got.Run.Attempts) != 1 || got.Run.Attempts[0].Error == "" {
		t.Errorf("after the first loss: %+v", got.Run)
	}
	// What the lost worker still says changes nothing.
	_, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, tasks.Beat{})
	wants(t, err, errand.LeaseLost, "lease")
	wants(t, w.finish(g[0], errand.Outcome{Status: errand.Succeeded}), errand.LeaseLost, "lease")

	w.now = w.now.Add(2 * time.Minute)
	if g = w.claim("w2", "EXTEND"); len(g) != 1 {
		t.Fatalf("the second attempt was not given out: %+v", g)
	}
	w.now = w.now.Add(11 * time.Second)
	w.sweep()
	w.want(again.ID, errand.Failed, tasks.WhyEnded, "outcome unknown")
}

func TestTimeoutDeadlineAndStall(t *testing.T) {
	w := newWorld(t)
	slow := w.submit(kafkaID, tasks.Submission{Operation: "modify", Timeout: time.Minute})
	g := w.claim("w", "modify")
	for range 20 { // it beats, but does not end
		w.now = w.now.Add(5 * time.Second)
		_, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, tasks.Beat{})
		if err != nil {
			break
		}
		w.sweep()
	}
	w.want(slow.ID, errand.Failed, tasks.WhyEnded, "longer than 1m0s")

	late := w.submit(redisID, tasks.Submission{Operation: "check", Deadline: w.now.Add(time.Minute)})
	w.now = w.now.Add(time.Minute)
	w.sweep()
	w.want(late.ID, errand.Failed, tasks.WhyEnded, "deadline")

	stalled := w.submit(redisID, tasks.Submission{Operation: "check"})
	for range 3 {
		w.now = w.now.Add(5 * time.Minute)
		w.sweep()
	}
	w.want(stalled.ID, errand.Pending, tasks.WhyNoWorker)
	events, err := w.svc.Events(t.Context(), as(errand.Viewer), project, stalled.ID, 0, 10)
	if err != nil || len(events) != 2 || events[1].Act != errand.ActStalled || events[1].Actor.ID != "errand" {
		t.Errorf("a task that stalls is put on record once: %+v, %v", events, err)
	}
}

func TestCancelRunning(t *testing.T) {
	w := newWorld(t)
	task := w.submit(kafkaID, tasks.Submission{Operation: "modify"})
	g := w.claim("w", "modify")
	if _, err := w.Cancel(t.Context(), as(errand.Operator), project, task.ID, "wrong instance"); err != nil {
		t.Fatal(err)
	}
	w.want(task.ID, errand.Running, tasks.WhyCancelled, "operator asked it to stop")
	x, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, tasks.Beat{})
	if err != nil || !x.Stop || x.Reason != "wrong instance" {
		t.Fatalf("extend: %+v, %v", x, err)
	}
	for range 8 { // it beats on and does not stop
		w.now = w.now.Add(4 * time.Second)
		_, _ = w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, tasks.Beat{})
		w.sweep()
	}
	w.want(task.ID, errand.Cancelled, tasks.WhyEnded, "wrong instance")
	wants(t, w.finish(g[0], errand.Outcome{Status: errand.Succeeded}), errand.LeaseLost, "lease")
	_, err = w.Cancel(t.Context(), as(errand.Operator), project, task.ID, "")
	wants(t, err, errand.Conflict, "status")
}

func TestIdempotencyKeys(t *testing.T) {
	w := newWorld(t)
	s := tasks.Submission{Operation: "modify", Secrets: map[string]string{"password": "hunter2"}, Key: "k1"}
	first := w.submit(kafkaID, s)
	if again := w.submit(kafkaID, s); again.ID != first.ID {
		t.Errorf("the same submission made a second task")
	}
	other := s
	other.Secrets = map[string]string{"password": "hunter3"}
	_, err := w.Submit(t.Context(), as(errand.Operator), project, kafkaID, other)
	wants(t, err, errand.Conflict, "idempotency_key")
	_, err = w.Submit(t.Context(), as(errand.Operator), project, redisID, s)
	wants(t, err, errand.Conflict, "idempotency_key")
	g := w.claim("w", "modify")
	if err := w.finish(g[0], errand.Outcome{Status: errand.Succeeded}); err != nil {
		t.Fatal(err)
	}
	if again := w.submit(kafkaID, s); again.ID != first.ID || again.Status != errand.Succeeded {
		t.Errorf("the key was forgotten with the end of its task: %+v", again)
	}
	if err := w.svc.Delete(t.Context(), as(errand.Operator), project, first.ID, tasks.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = w.Submit(t.Context(), as(errand.Operator), project, kafkaID, s)
	wants(t, err, errand.Conflict, "idempotency_key")
	w.now = w.now.Add(25 * time.Hour)
	if again := w.submit(kafkaID, s); again.ID == first.ID {
		t.Errorf("the key is remembered for ever")
	}
}

func TestSecrets(t *testing.T) {
	w := newWorld(t)
	const secret = "correct horse battery staple"
	task := w.submit(kafkaID, tasks.Submission{Operation: "modify", Secrets: map[string]string{"password": secret}})
	if got := w.get(task.ID); got.Run.Sealed != nil {
		t.Error("a reader is shown the sealed secrets")
	}
	g := w.claim("w", "modify")
	if g[0].Secrets["password"] != secret {
		t.Fatalf("the worker got %v", g[0].Secrets)
	}
	if err := w.finish(g[0], errand.Outcome{Status: errand.Succeeded}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Submit(t.Context(), as(errand.Operator), project, kafkaID, tasks.Submission{Operation: "EXTEND", Secrets: map[string]string{"password": secret}})
	wants(t, err, errand.Invalid, "secrets")
	if e := errand.ErrorOf(err); strings.Contains(fmt.Sprintf("%+v", e), secret) {
		t.Errorf("the error repeats the secret: %v", e)
	}
	_, err = w.Retry(t.Context(), as(errand.Operator), project, task.ID, map[string]string{"password": "new"}, "")
	if err != nil {
		t.Error(err)
	}
}

func TestRetry(t *testing.T) {
	w := newWorld(t)
	old := w.submit(kafkaID, tasks.Submission{Operation: "modify", Params: json.RawMessage(`{"a":1}`)})
	_, err := w.Retry(t.Context(), as(errand.Operator), project, old.ID, nil, "")
	wants(t, err, errand.Conflict, "task")
	g := w.claim("w", "modify")
	if err := w.finish(g[0], errand.Outcome{Status: errand.Failed, Reason: "boom"}); err != nil {
		t.Fatal(err)
	}
	again, err := w.Retry(t.Context(), as(errand.Operator), project, old.ID, nil, "k")
	if err != nil || again.ID == old.ID || again.Run.RetryOf != old.ID || again.Params != `{"a":1}` || again.Status != errand.Pending {
		t.Errorf("retry: %+v, %v", again, err)
	}
	w.want(old.ID, errand.Failed, tasks.WhyEnded, "boom")
}

// TestChanged checks that who watches is told of everything that leaves an event.
func TestChanged(t *testing.T) {
	w := newWorld(t)
	told := func(what string, do func()) {
		t.Helper()
		c := w.Changed()
		do()
		select {
		case <-c:
		default:
			t.Errorf("nobody is told of %s", what)
		}
	}
	told("an import", func() { load(t, w.svc, kafkaID, record(1, errand.Succeeded)) })
	told("a deletion", func() {
		if err := w.svc.Delete(t.Context(), as(errand.Operator), project, record(1, "").ID, tasks.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	told("a submission", func() { w.submit(kafkaID, tasks.Submission{Operation: "check"}) })
	var g []tasks.Grant
	told("a claim", func() { g = w.claim("w", "check") })
	told("progress", func() {
		b := tasks.Beat{Progress: &errand.Progress{Percent: 1}}
		if _, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, b); err != nil {
			t.Fatal(err)
		}
	})
	told("the end", func() {
		if err := w.finish(g[0], errand.Outcome{Status: errand.Succeeded}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEstimate checks that the progress of a task tells the time left from the
// runs before it, unless its worker says better.
func TestEstimate(t *testing.T) {
	w := newWorld(t)
	for _, took := range []time.Duration{10 * time.Second, 30 * time.Second, 20 * time.Second} {
		w.submit(kafkaID, tasks.Submission{Operation: "modify"})
		g := w.claim("w", "modify")
		for ; took > 0; took -= 5 * time.Second {
			w.now = w.now.Add(5 * time.Second)
			if _, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, tasks.Beat{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.finish(g[0], errand.Outcome{Status: errand.Succeeded}); err != nil {
			t.Fatal(err)
		}
	}
	task := w.submit(kafkaID, tasks.Submission{Operation: "modify"})
	left := func() time.Duration {
		t.Helper()
		got, err := w.svc.Progress(t.Context(), as(errand.Viewer), project, kafkaID, task.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Progress == nil {
			return -1
		}
		return got.Progress.Remaining
	}
	if got := left(); got != -1 {
		t.Errorf("a task that waits has %v left", got)
	}
	g := w.claim("w", "modify")
	w.now = w.now.Add(5 * time.Second)
	if got := left(); got != 15*time.Second {
		t.Errorf("%v left, want 15 s: the runs before took 20 s", got)
	}
	b := tasks.Beat{Progress: &errand.Progress{Percent: 10, Remaining: time.Minute}}
	if _, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, b); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(4 * time.Second)
	if got := left(); got != 56*time.Second {
		t.Errorf("%v left, want 56 s: the worker said a minute 4 s ago", got)
	}
}

func TestDetails(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct{ params, details, want string }{
		{`{"new_port":1}`, ``, `{"new_port":1}`},
		{`{"new_port":1}`, `{"new_port":2}`, `{"new_port":2}`},
		{`{}`, ``, ``},
	} {
		task := w.submit(kafkaID, tasks.Submission{Operation: "check", Params: json.RawMessage(tt.params), Details: json.RawMessage(tt.details)})
		if got := w.get(task.ID); string(got.Details) != tt.want {
			t.Errorf("params %s, details %s: shown %s, want %s", tt.params, tt.details, got.Details, tt.want)
		}
	}
}

func TestSubmitRefuses(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name    string
		s       tasks.Submission
		kind    errand.Kind
		subject string
	}{
		{"unknown operation", tasks.Submission{Operation: "format"}, errand.NotFound, "operation"},
		{"params that the schema refuses", tasks.Submission{Operation: "check", Params: json.RawMessage(`{"wrong":1}`)}, errand.Invalid, "params"},
		{"params that are no object", tasks.Submission{Operation: "check", Params: json.RawMessage(`[1]`)}, errand.Invalid, "params"},
		{"params that are null", tasks.Submission{Operation: "check", Params: json.RawMessage(`null`)}, errand.Invalid, "params"},
		{"large params", tasks.Submission{Operation: "check", Params: json.RawMessage(`{"a":"` + strings.Repeat("x", errand.MaxParamsLen) + `"}`)}, errand.Invalid, "params"},
		{"details that are no object", tasks.Submission{Operation: "check", Details: json.RawMessage(`1`)}, errand.Invalid, "details"},
		{"a deadline in the past", tasks.Submission{Operation: "check", Deadline: w.now}, errand.Invalid, "deadline"},
		{"a deadline before the start", tasks.Submission{Operation: "check", RunAt: w.now.Add(2 * time.Hour), Deadline: w.now.Add(time.Hour)}, errand.Invalid, "deadline"},
		{"in ten years", tasks.Submission{Operation: "check", RunAt: w.now.AddDate(10, 0, 0)}, errand.Invalid, "run_at"},
		{"negative timeout", tasks.Submission{Operation: "check", Timeout: -1}, errand.Invalid, "timeout"},
		{"a long key", tasks.Submission{Operation: "check", Key: strings.Repeat("k", 1000)}, errand.Invalid, "idempotency_key"},
		{"an unknown secret", tasks.Submission{Operation: "check", Secrets: map[string]string{"pin": "1"}}, errand.Invalid, "secrets"},
		{"a secret among the params", tasks.Submission{Operation: "modify", Params: json.RawMessage(`{"pass\u0077ord":"x"}`)}, errand.Invalid, "params"},
		{"a secret among the details", tasks.Submission{Operation: "modify", Details: json.RawMessage(`{"password":"x"}`)}, errand.Invalid, "details"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.Submit(t.Context(), as(errand.Operator), project, kafkaID, tt.s)
			wants(t, err, tt.kind, tt.subject)
		})
	}
	_, err := w.Submit(t.Context(), as(errand.Viewer), project, kafkaID, tasks.Submission{Operation: "check"})
	wants(t, err, errand.Forbidden, "role")
	_, err = w.Submit(t.Context(), as(errand.Operator), project, nobodyID, tasks.Submission{Operation: "check"})
	wants(t, err, errand.NotFound, "instance")
	if page, err := w.svc.List(t.Context(), as(errand.Viewer), errand.Filter{Project: project, Limit: 10}); err != nil || page.Total != 0 {
		t.Errorf("something was kept all the same: %+v, %v", page, err)
	}
}

func TestScheduled(t *testing.T) {
	w := newWorld(t)
	task := w.submit(kafkaID, tasks.Submission{Operation: "check", RunAt: w.now.Add(time.Hour)})
	w.submit(kafkaID, tasks.Submission{Operation: "check"})
	f := errand.Filter{Project: project, Instance: kafkaID, Limit: 10}
	page, err := w.Scheduled(t.Context(), as(errand.Viewer), f)
	if err != nil || page.Total != 1 || page.Tasks[0].ID != task.ID || page.Tasks[0].Run == nil {
		t.Fatalf("scheduled: %+v, %v", page, err)
	}
	if _, err := w.Reschedule(t.Context(), as(errand.Operator), project, task.ID, w.now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if g := w.claim("w", "check"); len(g) != 2 || g[0].Task.ID != task.ID {
		t.Fatalf("claimed %+v", g)
	}
	_, err = w.Reschedule(t.Context(), as(errand.Operator), project, task.ID, w.now)
	wants(t, err, errand.Conflict, "status")
	wants(t, w.Unschedule(t.Context(), as(errand.Operator), project, kafkaID, task.ID), errand.Conflict, "task")

	task = w.submit(kafkaID, tasks.Submission{Operation: "check", RunAt: w.now.Add(time.Hour)})
	if err := w.Unschedule(t.Context(), as(errand.Operator), project, kafkaID, task.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Get(t.Context(), as(errand.Viewer), project, task.ID); err == nil {
		t.Error("an unscheduled task is still there")
	}
}

// TestLongPoll checks that a worker that waits is given a task at once.
func TestLongPoll(t *testing.T) {
	w := newWorld(t)
	got := make(chan []tasks.Grant)
	go func() {
		g, err := w.Claim(t.Context(), as(errand.Worker), project, tasks.ClaimRequest{Worker: "w", Operations: []string{"check"}, Limit: 1, Wait: tasks.MaxWait})
		if err != nil {
			t.Error(err)
		}
		got <- g
	}()
	task, err := w.Submit(t.Context(), as(errand.Operator), project, kafkaID, tasks.Submission{Operation: "check"})
	if err != nil {
		t.Fatal(err)
	}
	if g := <-got; len(g) != 1 || g[0].Task.ID != task.ID {
		t.Errorf("claimed %+v", g)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Claim(ctx, as(errand.Worker), project, tasks.ClaimRequest{Worker: "w", Operations: []string{"check"}, Limit: 1, Wait: tasks.MaxWait})
	if err == nil {
		t.Error("a caller who left is given an answer")
	}
}

// leaver is a store whose caller has gone by the time it has taken something.
type leaver struct {
	*sqlite.Store
	leave func()
}

func (l leaver) Take(ctx context.Context, want tasks.Want, change tasks.Change) ([]*errand.Task, time.Time, error) {
	taken, next, err := l.Store.Take(ctx, want, change)
	l.leave()
	return taken, next, err
}

// TestClaimOfWhoLeft checks that a task is not lost on a worker that was cut off
// while the task was being given to it.
func TestClaimOfWhoLeft(t *testing.T) {
	w := newWorld(t)
	task := w.submit(kafkaID, tasks.Submission{Operation: "modify"})
	ctx, cancel := context.WithCancel(t.Context())
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	runs := tasks.NewRuns(w.svc, leaver{w.svc.Store.(*sqlite.Store), cancel}, operations, sealer, tasks.RunOptions{})
	if g, err := runs.Claim(ctx, as(errand.Worker), project, tasks.ClaimRequest{Worker: "w", Operations: []string{"modify"}, Limit: 1}); err == nil {
		t.Fatalf("a caller who left was given %+v", g)
	}
	if got := w.get(task.ID); got.Status != errand.Pending || len(got.Run.Attempts) != 0 {
		t.Errorf("the task is %s after %d attempts", got.Status, len(got.Run.Attempts))
	}
	if g := w.claim("w2", "modify"); len(g) != 1 {
		t.Errorf("the next worker was given %+v", g)
	}
	w.replaysTo(task.ID, errand.Running)
}

func TestLogIsCutOnce(t *testing.T) {
	w := newWorld(t)
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	w.Runs = tasks.NewRuns(w.svc, w.svc.Store.(*sqlite.Store), operations, sealer, tasks.RunOptions{MaxLog: 10})
	task := w.submit(kafkaID, tasks.Submission{Operation: "modify"})
	g := w.claim("w", "modify")
	for range 3 {
		if _, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, tasks.Beat{Log: []byte("123456")}); err != nil {
			t.Fatal(err)
		}
	}
	text, _, err := w.Log(t.Context(), as(errand.Viewer), project, task.ID, 0, 1000)
	if err != nil || !strings.HasPrefix(string(text), "1234561234\n[") || strings.Count(string(text), "cut here") != 1 {
		t.Errorf("log: %q, %v", text, err)
	}
}

// TestNothingHangs drives random histories with lost workers, clocks that jump
// and restarts, and then lets time pass: every task must reach a final status
// within its bound, no two of a lane may run side by side, and the events of
// each must tell the way from its submission to its status.
func TestNothingHangs(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 7))
			w := newWorld(t)
			var ids []string
			var held []tasks.Grant
			names := []string{"EXTEND", "modify", "check"}
			latest := w.now // what was timed by a clock that was ahead is waited for
			for range 150 {
				w.now = w.now.Add(time.Duration(rnd.Int64N(int64(6 * time.Second))))
				if w.now.After(latest) {
					latest = w.now
				}
				switch n := rnd.IntN(20); {
				case n < 7:
					s := tasks.Submission{Operation: names[rnd.IntN(3)]}
					if rnd.IntN(4) == 0 {
						s.RunAt = w.now.Add(time.Duration(rnd.IntN(60)) * time.Second)
					}
					ids = append(ids, w.submit([]string{kafkaID, redisID}[rnd.IntN(2)], s).ID)
				case n < 11:
					held = append(held, w.claim("w", names...)...)
				case n < 14 && len(held) > 0:
					_, _ = w.Extend(t.Context(), as(errand.Worker), project, held[rnd.IntN(len(held))].Token, tasks.Beat{})
				case n < 16 && len(held) > 0:
					_ = w.finish(held[rnd.IntN(len(held))], errand.Outcome{Status: []errand.Status{errand.Succeeded, errand.Failed}[rnd.IntN(2)]})
				case n == 16 && len(ids) > 0:
					_, _ = w.Cancel(t.Context(), as(errand.Operator), project, ids[rnd.IntN(len(ids))], "")
				case n == 17:
					w.now = w.now.Add(time.Duration(rnd.Int64N(int64(2*time.Hour))) - time.Hour) // somebody sets the clock
				case n == 18:
					w.stop()
					w.open()
				default:
					w.sweep()
				}
				w.lanesHold()
			}
			w.now = latest
			// From here on a worker takes what there is, ends it, and nobody else
			// helps but the sweep.
			for range 100 {
				w.now = w.now.Add(time.Minute)
				w.sweep()
				for _, g := range w.claim("last", names...) {
					if err := w.finish(g, errand.Outcome{Status: errand.Succeeded}); err != nil {
						t.Error(err)
					}
				}
				w.lanesHold()
			}
			for _, id := range ids {
				w.replays(id)
			}
		})
	}
}

// lanesHold checks that no lane has two running tasks.
func (w *world) lanesHold() {
	w.t.Helper()
	for _, i := range []string{kafkaID, redisID} {
		page, err := w.svc.List(w.t.Context(), as(errand.Viewer), errand.Filter{Project: project, Instance: i, Limit: tasks.MaxLimit})
		if err != nil {
			w.t.Fatal(err)
		}
		running := 0
		for _, x := range page.Tasks {
			if x.Status == errand.Running && x.Operation != "check" {
				running++
			}
		}
		if running > 1 {
			w.t.Fatalf("%d tasks run side by side on %s", running, i)
		}
	}
}

// replays checks that a task has ended as its events say.
func (w *world) replays(id string) {
	w.t.Helper()
	task := w.get(id)
	if !task.Status.Final() || !task.Run.Due.IsZero() {
		w.t.Errorf("task %s is %s, due %v", id, task.Status, task.Run.Due)
	}
	w.replaysTo(id, task.Status)
}

// replaysTo checks that the events of a task tell the way to a status.
func (w *world) replaysTo(id string, s errand.Status) {
	w.t.Helper()
	events, err := w.svc.Events(w.t.Context(), as(errand.Viewer), project, id, 0, tasks.MaxLimit)
	if err != nil {
		w.t.Fatal(err)
	}
	var at errand.Status
	for _, e := range events {
		if e.From != at || e.From != e.To && at != "" && !at.CanBecome(e.To) {
			w.t.Errorf("event %+v follows status %q", e, at)
		}
		at = e.To
	}
	if at != s {
		w.t.Errorf("the events of %s end in %s, it is %s", id, at, s)
	}
}
