package cli

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

// TestWatchOutlivesServer restarts the server under everything that waits.
func TestWatchOutlivesServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, env := serveOperations(t, dir)
	task := submitted(t, env, "", "submit --instance $I elsewhere -o json")
	all := []*background{
		start(t, env, "show", task.ID, "-w"),
		start(t, env, "list", "-w", "--instance=r1"),
		start(t, env, "list", "-w", "-o", "json"),
		start(t, env, "log", "-f", task.ID),
		start(t, env, "watch"),
	}
	all[0].stdout.waitForText(t, task.ID+"  elsewhere  pending")
	all[1].stdout.waitForText(t, task.ID+"  elsewhere  pending")
	all[2].stdout.waitForText(t, `"status":"pending"`)
	address := strings.TrimPrefix(env["ERRAND_SERVER"], "http://")
	server.stop()
	for _, b := range all {
		b.stderr.waitForText(t, "\nerrand: connection lost, trying again: ")
	}
	again := start(t, nil, "serve", "--db=sqlite:"+dir+"/errand.db", "--listen="+address, "--operations="+dir+"/operations.d", "--drain-timeout=0s")
	again.stdout.waitFor(t, "ready")
	for _, b := range all {
		b.stderr.waitForText(t, "\nerrand: connected again\n")
	}
	runSteps(t, env, []step{{args: "cancel " + task.ID, out: `cancelled`}})
	all[1].stdout.waitForText(t, task.ID+"  elsewhere  cancelled")
	all[2].stdout.waitForText(t, `"status":"cancelled"`)
	all[4].stdout.waitForText(t, task.ID+"  cancelled  pending > cancelled")
	for i, b := range all {
		if i == 0 || i == 3 { // which end with the task
			if code := b.wait(); code != exitOK {
				t.Errorf("%d: exit code %d: %s", i, code, b.stderr)
			}
		} else if code := b.stop(); code != exitOK {
			t.Errorf("%d: exit code %d: %s", i, code, b.stderr)
		}
	}
	if out := all[0].stdout.String(); !regexp.MustCompile(`(?m)^status +cancelled$`).MatchString(out) {
		t.Errorf("show -w does not show the end: %s", out)
	}
}

// TestWatchRevoked takes the key away from what waits.
func TestWatchRevoked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, env := serveOperations(t, dir)
	key := errandEnv(t, env, "", "key", "add", "--user=admin")
	write(t, dir+"/key", key.stdout, 0o600)
	access := readEnv(t, dir+"/key")["HUAWEICLOUD_SDK_AK"]
	mine := map[string]string{"ERRAND_CREDENTIALS": dir + "/key"}
	task := submitted(t, env, "", "submit --instance $I elsewhere -o json")
	all := []*background{start(t, mine, "show", task.ID, "-w"), start(t, mine, "list", "-w"), start(t, mine, "log", "-f", task.ID)}
	all[0].stdout.waitForText(t, "elsewhere  pending")
	all[1].stdout.waitForText(t, "elsewhere  pending")
	runSteps(t, env, []step{{args: "key revoke " + access, out: `revoked`}})
	for i, b := range all {
		if code := b.wait(); code != exitRefused || !strings.Contains(b.stderr.String(), "may have been revoked") {
			t.Errorf("%d: exit code %d: %s", i, code, b.stderr)
		}
	}
}

// TestBars draws bars where there is no terminal.
func TestBars(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	v := newBars(&out, false, 100)
	running := func(id string, percent int) *errand.Task {
		return &errand.Task{ID: id, Operation: "EXTEND\x1b[31m", Status: errand.Running, Progress: &errand.Progress{
			Percent: percent, Remaining: time.Hour, Steps: []errand.Step{{Name: "one", Status: errand.StepSucceeded}, {Name: "two\x1b[2J", Status: errand.StepRunning}},
		}}
	}
	v.show(&errand.Task{ID: "1", Operation: "first", Status: errand.Pending})
	v.show(running("2", 40))
	v.say("something else")
	v.show(&errand.Task{ID: "1", Operation: "first", Status: errand.Failed, Reason: "no room\x1b[31m"})
	v.show(&errand.Task{ID: "2", Operation: "first", Status: errand.Succeeded})
	v.show(running("3", 70))
	v.end()
	text := out.String()
	for _, want := range []string{"first", "failed", `no room\x1b[31m`, "succeeded", "70 %", "1h0m0s left", "2/2", `"two\x1b[2J"`, "errand: something else"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	if strings.Contains(text, "\x1b[31m") || strings.Contains(text, "\x1b[2J") {
		t.Errorf("a terminal would obey %q", text)
	}
}
