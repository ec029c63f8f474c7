package client_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/tasks"
)

// TestPythonWorker runs examples/worker.py as a user with role worker and gives
// it one task to do and one to stop.
func TestPythonWorker(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 to run the example with")
	}
	// Nobody sweeps here, so that a slow machine loses no lease.
	s := newServer(t, withRuns(t, tasks.RunOptions{Lease: 600 * time.Millisecond}))
	c, p, ctx := s.admin(t), s.first.Project.ID, t.Context()
	if _, err := c.Register(ctx, errand.Instance{Project: p, ID: redisID, Name: "cache", Engine: errand.Redis}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddUser(ctx, client.NewUser{Name: "py", Password: "correct horse", Roles: map[string]errand.Role{p: errand.Worker}}); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(python, "../examples/worker.py", "EXTEND")
	cmd.Env = append(os.Environ(), "ERRAND_SERVER="+s.url, "HUAWEICLOUD_SDK_PROJECT_ID="+p, "ERRAND_USER=py", "ERRAND_PASSWORD=correct horse",
		"STEP_SECONDS=0.1", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		if _ = cmd.Wait(); t.Failed() {
			t.Logf("the worker said: %s", &said)
		}
	}()
	run := func(stop bool) *errand.Task {
		task, err := c.Submit(ctx, p, redisID, client.Submission{Operation: "EXTEND", Params: []byte(`{"n":[1]}`)})
		if err != nil {
			t.Fatal(err)
		}
		for change, err := range c.Watch(ctx, p, client.WatchOptions{All: true, Task: task.ID}) {
			switch {
			case err != nil:
				t.Fatal(err)
			case stop && change.Status == errand.Running:
				stop = false
				if _, err := c.Cancel(ctx, p, task.ID, "enough"); err != nil {
					t.Fatal(err)
				}
			}
			if change.Status.Final() {
				break
			}
		}
		if task, err = c.Task(ctx, p, task.ID); err != nil {
			t.Fatal(err)
		}
		return task
	}
	done := run(false)
	if done.Status != errand.Succeeded || string(done.Run.Result) != `{"n":[1]}` || len(done.Run.Attempts) != 1 {
		t.Errorf("%+v %+v", done, done.Run)
	}
	if p := done.Progress; p == nil || p.Percent == 0 || len(p.Steps) != 1 || p.Steps[0].Name != "working" {
		t.Errorf("progress %+v", p)
	}
	if log, err := c.Log(ctx, p, done.ID, 0, 0); err != nil || string(log.Text) != "done\n" {
		t.Errorf("log %q, %v", log.Text, err)
	}
	if stopped := run(true); stopped.Status != errand.Cancelled || stopped.Run.Cancel == nil || stopped.Run.Attempts[0].Error != "cancelled" {
		t.Errorf("%+v %+v", stopped, stopped.Run)
	}
}
