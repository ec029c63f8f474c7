package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire/native"
	"github.com/errandhq/errand/worker"
)

// extend is the one operation of these tests.
var extend = errand.Operation{
	Engine: errand.Redis, Name: "EXTEND", Title: "Change specifications", TitleZH: "变更规格", Schema: []byte(`{"type":"object"}`),
	Secrets: []string{"password"}, Lane: errand.DefaultLane, Timeout: 90 * time.Second, MaxAttempts: 2,
	Backoff: errand.Backoff{Base: time.Millisecond, Max: 2500 * time.Millisecond}, OnLost: errand.RetryWhenLost, Runner: errand.RemoteRunner, HideRunning: true,
}

type oneOperation struct{}

func (oneOperation) Operation(_ errand.Engine, name string) (errand.Operation, bool) {
	return extend, name == extend.Name
}

func (oneOperation) Check(errand.Operation, json.RawMessage) error { return nil }

func (oneOperation) Details(errand.Operation, json.RawMessage) json.RawMessage { return nil }

// withRuns gives a server tasks that run, over its store.
func withRuns(t *testing.T, o tasks.RunOptions) func(*native.Deps) {
	t.Helper()
	sealer, err := auth.NewSealer(bytes.Repeat([]byte{7}, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return func(d *native.Deps) {
		d.Runs = tasks.NewRuns(d.Tasks, d.Store.(*sqlite.Store), oneOperation{}, sealer, o)
		d.Operations = func() []errand.Operation { return []errand.Operation{extend} }
	}
}

func newRunServer(t *testing.T) (*client.Client, string) {
	t.Helper()
	s := newServer(t, withRuns(t, tasks.RunOptions{}))
	c, p := s.admin(t), s.first.Project.ID
	if _, err := c.Register(t.Context(), errand.Instance{Project: p, ID: redisID, Name: "cache", Engine: errand.Redis}); err != nil {
		t.Fatal(err)
	}
	return c, p
}

// TestRun takes a task from its submission to its end, on both sides.
func TestRun(t *testing.T) {
	t.Parallel()
	c, p := newRunServer(t)
	ctx := t.Context()
	if list, err := c.Operations(ctx, errand.Redis); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], extend) {
		t.Errorf("operations %+v, %v", list, err)
	}
	if list, err := c.Operations(ctx, errand.Kafka); err != nil || len(list) != 0 {
		t.Errorf("operations of kafka: %+v, %v", list, err)
	}
	deadline := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	s := client.Submission{
		Operation: "EXTEND", Params: json.RawMessage(`{"n":1}`), Details: json.RawMessage(`{"new_capacity":"1"}`),
		Secrets: map[string]string{"password": "hush"}, Deadline: deadline, Timeout: 1500 * time.Millisecond, Key: "k",
	}
	task, err := c.Submit(ctx, p, redisID, s)
	if err != nil {
		t.Fatal(err)
	}
	if r := task.Run; task.Status != errand.Pending || task.Params != `{"n":1}` || r == nil || r.Timeout != s.Timeout || !r.Deadline.Equal(deadline) ||
		r.MaxAttempts != 2 || r.OnLost != errand.RetryWhenLost || r.Lane != errand.DefaultLane || r.Due.IsZero() || r.Scheduled || r.Sealed != nil {
		t.Errorf("submitted %+v %+v", task, task.Run)
	}
	if again, err := c.Submit(ctx, p, redisID, s); err != nil || !reflect.DeepEqual(again, task) {
		t.Errorf("submitted again: %+v, %v", again, err)
	}
	s.Params = nil
	_, err = c.Submit(ctx, p, redisID, s)
	wantError(t, "another submission with the key", err, errand.Conflict, "idempotency_key")
	_, err = c.Submit(ctx, p, redisID, client.Submission{Operation: "x"})
	wantError(t, "unknown operation", err, errand.NotFound, "operation")
	_, err = c.Submit(ctx, p, redisID, client.Submission{Operation: "EXTEND", Reject: true})
	wantError(t, "busy instance", err, errand.Conflict, "instance")
	second, err := c.Submit(ctx, p, redisID, client.Submission{Operation: "EXTEND"})
	if err != nil {
		t.Fatal(err)
	}
	if why, err := c.Why(ctx, p, second.ID); err != nil || why.Code != "lane" || why.Behind == nil || why.Behind.ID != task.ID || why.Ahead != 1 || why.Text == "" {
		t.Errorf("why: %+v, %v", why, err)
	}
	later, err := c.Submit(ctx, p, redisID, client.Submission{Operation: "EXTEND", RunAt: deadline})
	if err != nil || !later.Run.Scheduled || !later.Run.RunAt.Equal(deadline) {
		t.Errorf("for later: %+v, %v", later, err)
	}
	if why, err := c.Why(ctx, p, later.ID); err != nil || why.Code != "time" || !why.Until.Equal(deadline) {
		t.Errorf("why: %+v, %v", why, err)
	}

	source := c.Source(p)
	claim := worker.ClaimRequest{Worker: "w", Operations: []string{"EXTEND"}, Engines: []errand.Engine{errand.Redis}, Limit: 5, Wait: 10 * time.Millisecond}
	grants, err := source.Claim(ctx, claim)
	if err != nil || len(grants) != 1 || grants[0].Task.ID != task.ID || grants[0].TTL != 10*time.Second || grants[0].Secrets["password"] != "hush" {
		t.Fatalf("claimed %+v, %v", grants, err)
	}
	if more, err := source.Claim(ctx, claim); err != nil || len(more) != 0 {
		t.Errorf("claimed %+v, %v", more, err)
	}
	token := grants[0].Token
	began := time.Now().UTC().Truncate(time.Microsecond)
	progress := &errand.Progress{Percent: 40, Remaining: 2 * time.Second, Steps: []errand.Step{
		{Name: "a", Status: errand.StepSucceeded, StartedAt: began, EndedAt: began, Detail: "d"},
		{Name: "b", Status: errand.StepRunning, StartedAt: began, Steps: []errand.Step{{Name: "c", Status: errand.StepCancelled, ErrorCode: "E"}}},
	}}
	if x, err := source.Extend(ctx, token, worker.Beat{Progress: progress, Log: []byte("one\n\xff")}); err != nil || x != (worker.Extended{TTL: 10 * time.Second}) {
		t.Errorf("extended %+v, %v", x, err)
	}
	got, err := c.Task(ctx, p, task.ID)
	if err != nil || got.Status != errand.Running || !reflect.DeepEqual(got.Progress, progress) || got.Run.Lease.Worker != "w" || got.Run.Lease.Token != "" ||
		len(got.Run.Attempts) != 1 || got.Run.Attempts[0].Worker != "w" || got.Run.Attempts[0].StartedAt.IsZero() {
		t.Errorf("running %+v %+v %+v, %v", got, got.Progress, got.Run, err)
	}
	if got, err = c.Cancel(ctx, p, task.ID, "enough"); err != nil || got.Status != errand.Running || got.Run.Cancel == nil || got.Run.Cancel.Reason != "enough" || got.Run.Cancel.By.Name != "admin" {
		t.Errorf("cancelled %+v, %v", got, err)
	}
	if why, err := c.Why(ctx, p, task.ID); err != nil || why.Code != "stopping" || why.Worker != "w" || why.Step != "b" || why.StepIndex != 2 || why.Steps != 2 || why.Remaining != 2*time.Second {
		t.Errorf("why: %+v, %v", why, err)
	}
	if x, err := source.Extend(ctx, token, worker.Beat{}); err != nil || !x.Stop || x.Reason != "enough" {
		t.Errorf("extended %+v, %v", x, err)
	}
	o := errand.Outcome{Status: errand.Cancelled, Reason: "as asked", Result: json.RawMessage(`{"x": [1]}`)}
	if err := source.Finish(ctx, token, o, []byte("two\n")); err != nil {
		t.Error(err)
	}
	wantError(t, "finished twice", source.Finish(ctx, token, o, nil), errand.LeaseLost, "lease")
	_, err = source.Extend(ctx, token, worker.Beat{})
	wantError(t, "extended after the end", err, errand.LeaseLost, "lease")
	got, err = c.Task(ctx, p, task.ID)
	if err != nil || got.Status != errand.Cancelled || got.Reason != "as asked" || string(got.Run.Result) != `{"x":[1]}` || !got.Run.Due.IsZero() || got.Run.Attempts[0].Error != "as asked" {
		t.Errorf("ended %+v %+v, %v", got, got.Run, err)
	}
	_, err = c.Cancel(ctx, p, task.ID, "")
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Conflict {
		t.Errorf("cancelled after the end: %v", err)
	}
	if again, err := c.Retry(ctx, p, task.ID, map[string]string{"password": "hush"}, "k2"); err != nil || again.Run.RetryOf != task.ID || again.Params != `{"n":1}` {
		t.Errorf("run again: %+v, %v", again, err)
	}
	at := time.Now().UTC().Truncate(time.Microsecond).Add(time.Hour)
	if got, err = c.Reschedule(ctx, p, second.ID, at); err != nil || got.ID != second.ID || got.Status != errand.Pending || !got.Run.RunAt.Equal(at) {
		t.Errorf("rescheduled %+v, %v", got, err)
	}
	_, err = c.Reschedule(ctx, p, second.ID, time.Time{})
	wantError(t, "rescheduled to no time", err, errand.Invalid, "run_at")
	_, err = c.Reschedule(ctx, p, task.ID, time.Now())
	wantError(t, "rescheduled after the end", err, errand.Conflict, "status")
	_, err = c.Reschedule(ctx, p, errand.NewID(at), at)
	wantError(t, "rescheduled nothing", err, errand.NotFound, "task")
	if got, err = c.Cancel(ctx, p, second.ID, ""); err != nil || got.Status != errand.Cancelled {
		t.Errorf("cancelled %+v, %v", got, err)
	}
	if list, err := c.Workers(ctx, p); err != nil || len(list) != 1 || list[0].Name != "w" || !slices.Equal(list[0].Operations, claim.Operations) || !slices.Equal(list[0].Engines, claim.Engines) || list[0].Seen.IsZero() {
		t.Errorf("workers %+v, %v", list, err)
	}
	part, err := c.Log(ctx, p, task.ID, 4, 4)
	if err != nil || string(part.Text) != "\ufffdt" || part.Next != 8 || part.Size != 11 {
		t.Errorf("log %q %+v, %v", part.Text, part, err)
	}
	var log strings.Builder
	if n, err := c.FollowLog(ctx, p, task.ID, 0, &log); err != nil || n != 11 || log.String() != "one\n\ufffdtwo\n" {
		t.Errorf("followed log %q to %d, %v", log.String(), n, err)
	}
}

// TestFollowLog follows a log from before its first line to its end.
func TestFollowLog(t *testing.T) {
	t.Parallel()
	c, p := newRunServer(t)
	ctx := t.Context()
	task, err := c.Submit(ctx, p, redisID, client.Submission{Operation: "EXTEND"})
	if err != nil {
		t.Fatal(err)
	}
	grants, err := c.Claim(ctx, p, worker.ClaimRequest{Worker: "w", Operations: []string{"EXTEND"}})
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := c.FollowLog(ctx, p, task.ID, 0, w)
		w.Close()
		ended <- err
	}()
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := c.Extend(ctx, p, grants[0].Token, worker.Beat{Log: []byte(line)}); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(line))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != line {
			t.Fatalf("%q, %v; want %q", got, err, line)
		}
	}
	if _, err := c.Finish(ctx, p, grants[0].Token, errand.Outcome{Status: errand.Succeeded}, []byte("bye")); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || string(rest) != "bye" {
		t.Errorf("%q, %v", rest, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	c, p := newRunServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, err := c.Submit(ctx, p, redisID, client.Submission{Operation: "EXTEND"})
	if err != nil {
		t.Fatal(err)
	}
	var acts []errand.Act
	var token string
	for change, err := range c.Watch(ctx, p, client.WatchOptions{All: true, Instance: redisID}) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Task != first.ID || change.Instance != redisID {
			t.Errorf("%+v", change)
		}
		if change.Event == nil {
			if change.Status != errand.Running || change.Progress == nil || change.Progress.Percent != 7 || change.Progress.Remaining != 3*time.Second {
				t.Errorf("progress: %+v", change)
			}
			if _, err := c.Finish(ctx, p, token, errand.Outcome{Status: errand.Succeeded}, nil); err != nil {
				t.Fatal(err)
			}
			continue
		}
		acts = append(acts, change.Event.Act)
		switch change.Event.Act {
		case errand.ActSubmitted:
			grants, err := c.Claim(ctx, p, worker.ClaimRequest{Worker: "w", Operations: []string{"EXTEND"}})
			if err != nil || len(grants) != 1 {
				t.Fatalf("%d grants, %v", len(grants), err)
			}
			token = grants[0].Token
		case errand.ActClaimed:
			if _, err := c.Extend(ctx, p, token, worker.Beat{Progress: &errand.Progress{Percent: 7, Remaining: 3 * time.Second}}); err != nil {
				t.Fatal(err)
			}
		}
		if change.Event.Act == errand.ActFinished {
			if change.Status != errand.Succeeded {
				t.Errorf("%+v", change)
			}
			break
		}
	}
	if want := []errand.Act{errand.ActSubmitted, errand.ActClaimed, errand.ActFinished}; !slices.Equal(acts, want) {
		t.Errorf("acts %v, want %v", acts, want)
	}
	for change, err := range c.Watch(ctx, p, client.WatchOptions{Task: taskID}) {
		wantError(t, fmt.Sprintf("watch of nothing (%+v)", change), err, errand.NotFound, "task")
	}
	cancel()
	n := 0
	for _, err := range c.Watch(ctx, p, client.WatchOptions{}) {
		if n++; !errors.Is(err, context.Canceled) || n > 1 {
			t.Errorf("cancelled watch, %d times: %v", n, err)
		}
	}
}

// TestWatchComesBack cuts a stream off in every place.
func TestWatchComesBack(t *testing.T) {
	t.Parallel()
	frame := func(seq int) string {
		return fmt.Sprintf("id: %d\nevent: submitted\ndata: {\"seq\":%d,\"task\":\"t%d\",\"now\":{\"status\":\"pending\"}}\n\n", seq, seq, seq)
	}
	whole := "retry: 2000\nid: 4\n\n: still here\nid: 4\n\n" + frame(5) + frame(6)
	for cut := range len(whole) + 1 {
		var asked []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Header.Get("Last-Event-ID"))
			switch len(asked) {
			case 1:
				_, _ = io.WriteString(w, whole[:cut])
			case 2:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				after := 4
				_, _ = fmt.Sscan(asked[2], &after)
				for seq := after + 1; seq <= 7; seq++ {
					_, _ = io.WriteString(w, frame(seq))
				}
			}
		}))
		c, err := client.New(client.Options{Server: s.URL, Access: "AK", Secret: "SK"})
		if err != nil {
			t.Fatal(err)
		}
		client.WithoutWaiting(c)
		var seen []int64
		for change, err := range c.Watch(t.Context(), "p", client.WatchOptions{After: 4}) {
			if err != nil {
				t.Fatal(err)
			}
			if seen = append(seen, change.Event.Seq); change.Event.Seq == 7 {
				break
			}
		}
		s.Close()
		if !slices.Equal(seen, []int64{5, 6, 7}) || asked[0] != "4" || asked[1] != asked[2] {
			t.Errorf("cut after %d bytes: %v, asked %q", cut, seen, asked)
		}
	}
}
