package tasks_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
)

// TestSecretsAreMasked has a worker that masks nothing say its secret wherever
// it can say anything.
func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	twice := shelf{"modify": {MaxAttempts: 2, OnLost: errand.FailWhenLost, Secrets: []string{"password"}}}
	w.Runs = tasks.NewRuns(w.svc, w.svc.Store.(*sqlite.Store), twice, sealer, tasks.RunOptions{})
	const secret = `correct "horse" <battery> staple`
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	task := w.submit(kafkaID, tasks.Submission{Operation: "modify", Secrets: map[string]string{"password": secret}})
	says := func(when string, places int) {
		t.Helper()
		why, err1 := w.Why(t.Context(), as(errand.Viewer), project, task.ID)
		events, err2 := w.svc.Events(t.Context(), as(errand.Viewer), project, task.ID, 0, tasks.MaxLimit)
		log, _, err3 := w.Log(t.Context(), as(errand.Viewer), project, task.ID, 0, tasks.MaxLogWrite)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		got := w.get(task.ID)
		all := fmt.Sprintf("%+v\n%+v\n%s\n%s\n%+v\n", got, got.Progress, log, got.Run.Result, got.Run.Attempts) + fmt.Sprintf("%+v\n", why)
		for _, e := range events {
			all += fmt.Sprintf("%+v\n", e)
		}
		for _, form := range []string{secret, strings.Trim(string(quoted), `"`), encoded, "horse"} {
			if strings.Contains(all, form) {
				t.Errorf("%s: %q is shown in\n%s", when, form, all)
			}
		}
		if n := strings.Count(all, "***"); n < places {
			t.Errorf("%s: %d places are masked, want at least %d:\n%s", when, n, places, all)
		}
	}
	echo := errand.Outcome{Status: errand.Failed, ErrorCode: "E " + secret, Reason: "said " + secret, Result: json.RawMessage(`{"is ` + encoded + `":[` + string(quoted) + `,1.50]}`)}
	for attempt := range 2 {
		g := w.claim("w", "modify")
		if len(g) != 1 {
			t.Fatalf("attempt %d: claimed %v", attempt, g)
		}
		steps := []errand.Step{{Name: "n " + secret, Detail: "d " + encoded, ErrorCode: secret, Status: errand.StepRunning,
			Steps: []errand.Step{{Name: secret, Detail: secret, ErrorCode: secret, Status: errand.StepRunning}}}}
		b := tasks.Beat{Progress: &errand.Progress{Percent: 1, Steps: steps}, Log: []byte("log " + secret + "\n")}
		if _, err := w.Extend(t.Context(), as(errand.Worker), project, g[0].Token, b); err != nil {
			t.Fatal(err)
		}
		if steps[0].Name != "n "+secret || steps[0].Steps[0].Name != secret {
			t.Error("what the worker holds was changed")
		}
		says("running", 7)
		if _, err := w.Finish(t.Context(), as(errand.Worker), project, g[0].Token, echo, []byte("last "+encoded)); err != nil {
			t.Fatal(err)
		}
		says("after an attempt", 3)
		if next := w.get(task.ID).Run.RunAt; next.After(w.now) {
			w.now = next
		}
	}
	got := w.get(task.ID)
	if got.Status != errand.Failed || got.ErrorCode != "E ***" || got.Reason != "said ***" || string(got.Run.Result) != `{"is ***":["***",1.50]}` {
		t.Errorf("the task ended as %s, %q, %q, %s", got.Status, got.ErrorCode, got.Reason, got.Run.Result)
	}
	log, _, err := w.Log(t.Context(), as(errand.Viewer), project, task.ID, 0, tasks.MaxLogWrite)
	if want := strings.Repeat("log ***\nlast ***", 2); err != nil || string(log) != want {
		t.Errorf("the log is %q, %v; want %q", log, err, want)
	}
}

// TestMaskedResultTooLong gives a result that masking makes longer than what is
// kept of one.
func TestMaskedResultTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.submit(kafkaID, tasks.Submission{Operation: "modify", Secrets: map[string]string{"password": "s3cret"}})
	g := w.claim("w", "modify")
	long := `"` + strings.Repeat("\u2028", (errand.MaxDetailsLen-2)/3) + `"`
	if err := w.finish(g[0], errand.Outcome{Status: errand.Succeeded, Result: json.RawMessage(long)}); err != nil {
		t.Fatal(err)
	}
	if got := w.get(task.ID); string(got.Run.Result) != "null" {
		t.Errorf("the result is %.40s", got.Run.Result)
	}
}
