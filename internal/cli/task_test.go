package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand/internal/nativejson"
)

// testOperations declares what the tests submit.
const testOperations = `
engine: redis
name: greet
title: Greet somebody
params:
  type: object
  required: [who]
  additionalProperties: false
  properties:
    who: {type: string}
    times: {type: integer, maximum: 9}
    loud: {type: boolean}
secrets: [password]
timeout: 1m
runner: {program: {path: greet}}
---
engine: redis
name: hold
lane: none
runner: {simulate: {steps: [{name: first, duration: 1ms}, {name: second, duration: 1h}]}}
---
engine: redis
name: fail
lane: none
runner: {simulate: {duration: 1ms, fail_rate: 1, error_code: E7, error: out of luck}}
---
engine: redis
name: elsewhere
lane: none
runner: worker
`

// testProgram says what it was given, and of the secret only how long it is.
const testProgram = `#!/bin/sh
read -r input
read -r secrets <&3 || :
echo "got $input"
echo "and a secret of ${#secrets} bytes: $secrets"
echo '{"step":"greet"}'
echo '{"result":{"greeted":true}}'
`

// serveOperations starts a server with the operations of the tests, and an
// instance to submit them on.
func serveOperations(t *testing.T, dir string, args ...string) (*background, map[string]string) {
	t.Helper()
	operations := filepath.Join(dir, "operations.d")
	if err := os.Mkdir(operations, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(operations, "test.yaml"), testOperations, 0o600)
	write(t, filepath.Join(operations, "greet"), testProgram, 0o700)
	b, env := serve(t, dir, append([]string{"--operations=" + operations, "--drain-timeout=0s", "--lease=1s"}, args...)...)
	env["I"] = testInstance
	runSteps(t, env, []step{{args: "instance add --id $I --name r1 --engine redis", out: `r1`}})
	return b, env
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// submitted runs a command that prints a task in JSON, and returns it.
func submitted(t *testing.T, env map[string]string, stdin, args string) nativejson.Task {
	t.Helper()
	r := errandEnv(t, env, stdin, strings.Fields(os.Expand(args, func(k string) string { return env[k] }))...)
	var out nativejson.Task
	if err := json.Unmarshal([]byte(r.stdout), &out); r.code != exitOK || err != nil {
		t.Fatalf("errand %s: exit code %d, %v: %s%s", args, r.code, err, r.stdout, r.stderr)
	}
	return out
}

func TestSubmitCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, env := serveOperations(t, dir)
	write(t, filepath.Join(dir, "secret"), "hunter2-in-a-file\n", 0o600)
	write(t, filepath.Join(dir, "params.json"), `{"who":"file"}`, 0o600)
	env["D"] = dir
	const on = "submit --instance $I "
	runSteps(t, env, []step{
		{args: on + "greet --param who=Ann --param times=3 --param loud=true --wait", out: `(?s)status +succeeded\n.*params +\S*"loud":true,"times":3,"who":"Ann".*result +\{"greeted":true\}\n.*1 of 1 .*greet +succeeded`},
		{args: on + "greet --param who=7 --wait -o json", out: `(?s)"params": "\{\\"who\\":\\"7\\"\}".*"status": "succeeded".*"number": 1`},
		{args: on + "greet --param who:=\"quoted\" --wait", out: `"who":"quoted"`},
		{args: on + "greet --params $D/params.json --wait", out: `"who":"file"`},
		{args: on + "greet --params - --wait", stdin: `{"who":"stdin"}`, out: `"who":"stdin"`},
		{args: on + "fail --run-at 1h --deadline 2h --timeout 5s", out: `(?s)status +pending\n.*run at +\S+Z\ndeadline +\S+Z\ntimeout +5s\n`},

		// What is refused, before anything is submitted and by the server.
		{args: on + "greet --param times=3", code: exitUsage, out: `params do not fit greet.*who.*errand operation show greet`},
		{args: on + "greet --param who=x --param times=many", code: exitUsage, out: `/times: must be an integer, not a string`},
		{args: on + "greet --param who:=x", code: exitUsage, out: `must be JSON`},
		{args: on + "greet --param who", code: exitUsage, out: `NAME=VALUE or NAME:=JSON`},
		{args: on + "greet --param who=a --param who=b", code: exitUsage, out: `"who" twice`},
		{args: on + "greet --param who=a --params -", code: exitUsage, out: `params`},
		{args: on + "greet --params -", stdin: `who`, code: exitUsage, out: `not JSON`},
		{args: on + "greet --params $D/missing", code: exitUsage, out: `missing`},
		{args: on + "greet --secret password=hunter2", code: exitUsage, out: `password=- .*password=@FILE`},
		{args: on + "greet --params - --secret password=-", code: exitUsage, out: `both read standard input`},
		{args: on + "greet --param who=x --secret other=@$D/secret", code: exitUsage, out: `no secret "other"`},
		{args: on + "greet --run-at tomorrow", code: exitUsage, out: `2026-01-31T18:00:00Z.*90m`},
		{args: on + "greet --param who=x --run-at 2h --deadline 1h", code: exitUsage, out: `deadline is before run_at`},
		{args: on + "greet --timeout -1s", code: exitUsage, out: `negative`},
		{args: on + "nothing --param who=x", code: exitNotFound, out: `no operation "nothing".*errand operation list`},
		{args: "submit greet", code: exitUsage, out: `"instance" not set`},
		{args: "submit --instance 5560df16-cebf-4473-95c4-000000000000 fail", code: exitNotFound, out: `does not exist`},
	})

	// How it ended is the exit code, and the task is printed all the same.
	r := errandEnv(t, env, "", "submit", "--instance="+testInstance, "fail", "--wait")
	if r.code != exitTaskFailed || !strings.Contains(r.stderr, "failed: out of luck") || !strings.Contains(r.stdout, "E7") {
		t.Errorf("submit --wait of a task that fails: %+v", r)
	}

	// A key makes a task of its own only once.
	first := submitted(t, env, "", on+"fail --key k1 -o json")
	if again := submitted(t, env, "", on+"fail --key k1 -o json"); again.ID != first.ID {
		t.Errorf("one key, two tasks: %s and %s", first.ID, again.ID)
	}
	runSteps(t, env, []step{{args: on + "hold --key k1", code: exitRefused, out: `"k1" was used for another`}})

	// A secret reaches the program and nobody else.
	for source, stdin := range map[string]string{"-": "hunter2-on-stdin", "@" + filepath.Join(dir, "secret"): ""} {
		task := submitted(t, env, stdin, on+"greet --param who=x --secret password="+source+" --wait -o json")
		log := errandEnv(t, env, "", "log", task.ID)
		if task.Status != "succeeded" || strings.Contains(log.stdout, "hunter2") || !strings.Contains(log.stdout, `"password":"***"`) {
			t.Errorf("--secret from %s: %s, log %s", source, task.Status, log.stdout)
		}
	}
}

func TestTaskCommands(t *testing.T) {
	t.Parallel()
	_, env := serveOperations(t, t.TempDir())
	const on = "submit --instance $I "
	done := submitted(t, env, "", on+"greet --param who=Ann --wait -o json")
	held := submitted(t, env, "", on+"hold -o json")
	later := submitted(t, env, "", on+"hold --run-at 1h -o json")
	alone := submitted(t, env, "", on+"elsewhere -o json")
	env["DONE"], env["HELD"], env["LATER"], env["ALONE"] = done.ID, held.ID, later.ID, alone.ID
	until(t, env, "why $HELD", `at step 2 of 2 \(second\)`)
	runSteps(t, env, []step{
		{args: "list", out: `(?s)^ID +OPERATION +STATUS +DONE +SUBMITTED +USER +INSTANCE\n` + alone.ID},
		{args: "list --instance $I --limit 1", out: `(?s)^ID +OPERATION +STATUS +DONE +SUBMITTED +USER\n\S+ +elsewhere .*\n1 of 4; the next ones: --offset 1\n$`},
		{args: "list --limit 1 --offset 3 -o json", out: `(?s)"total": 4.*"operation": "greet"`},
		{args: "list --engine kafka -o json", out: `(?s)"total": 0,\s+"tasks": \[\]`},
		{args: "list --from 2020-01-30 --to 2020-01-31", out: `^ID.*\n$`},
		{args: "list --from 1h", out: `greet`},
		{args: "list --from 1h --to 2020-01-31", code: exitUsage, out: `end of the time range`},
		{args: "list --from never", code: exitUsage, out: `before now`},
		{args: "list --engine mysql", code: exitUsage, out: `mysql`},

		{args: "show $DONE", out: `(?s)operation +greet\n.*status +succeeded\n.*user +admin\n.*ATTEMPT +WORKER`},
		{args: "show 00000000000000000000000000000000", code: exitNotFound, out: `does not exist`},
		{args: "show x", code: exitUsage, out: `"x"`},

		{args: "why $DONE", out: `succeeded at`},
		{args: "why $HELD -o json", out: `(?s)"code": "running".*"step_index": 2`},
		{args: "why $LATER", out: `to be started at`},
		{args: "why $ALONE -o json", out: `"code": "no_worker"`},

		{args: "log $DONE", out: `got \{"task":.*"who":"Ann"`},
		{args: "log $DONE -f", out: `got \{"task":`},
		{args: "log $DONE -o json", out: `"text": "got `},
		{args: "log $DONE -f -o json", code: exitUsage, out: `--follow`},

		{args: "events $DONE", out: `(?s)submitted +pending +admin +127\.0\.0\.1.*claimed +pending > running +errand.*finished +running > succeeded`},
		{args: "events $DONE -o json", out: `(?s)"act": "submitted".*"request_id".*"remote": "127\.0\.0\.1"`},

		{args: "reschedule $LATER --run-at 2120-01-01T00:00:00Z", code: exitUsage, out: `within a year`},
		{args: "reschedule $LATER --run-at never", code: exitUsage, out: `--run-at "never" is no time`},
		{args: "reschedule $LATER --run-at=", code: exitUsage, out: `must say when`},
		{args: "reschedule $LATER", code: exitUsage, out: `"run-at" not set`},
		{args: "reschedule 00000000000000000000000000000000 --run-at 3h", code: exitNotFound, out: `does not exist`},
		{args: "reschedule $DONE --run-at 3h", code: exitRefused, out: `only a task that has not started`},
		{args: "reschedule $LATER --run-at 3h", out: `task \S+ is not to start before \S+Z`},
		{args: "why $LATER", out: `to be started at \S+, in [23] h`},
		{args: "reschedule $LATER --run-at 2h -o json", out: `(?s)"status": "pending".*"run_at": "`},
		{args: "events $LATER", out: `rescheduled +pending +admin`},

		{args: "cancel $LATER --reason mistaken", out: `task \S+ is cancelled`},
		{args: "cancel $LATER", code: exitRefused, out: `cancelled already`},
		{args: "why $LATER", out: `was cancelled at .*: mistaken`},
		{args: "cancel $HELD -o json", out: `(?s)"cancel": \{`},
		{args: "retry $ALONE", code: exitRefused, out: `only a task that has ended`},
		{args: "retry $DONE --wait", out: `(?s)status +succeeded.*retry of +` + done.ID},

		{args: "operation list", out: `(?s)redis +greet +program +instance +Greet somebody.*redis +hold +simulate +-`},
		{args: "operation list --engine kafka -o json", out: `"engine": "kafka"`},
		{args: "operation show greet", out: `(?s)runner +program\nlane +instance\ntimeout +1m0s\nattempts +1\n.*secrets +password\nparams\n\{.*"who": \{`},
		{args: "operation show extendInstance -o json", out: `(?s)"engine": "kafka".*"engine": "rocketmq"`},
		{args: "operation show bindInstancePublicIp -o json", out: `"hide_running": true`},
		{args: "operation show nothing", code: exitNotFound, out: `errand operation list`},
		{args: "worker list", out: `local/redis +fail,greet,hold +redis`},
		{args: "worker list -o json", out: `"name": "local/redis"`},
	})
	until(t, env, "why $HELD", `was cancelled at`)

	// A wait ends with the task, however that ends.
	again := start(t, env, "retry", held.ID, "--wait", "-o", "json")
	until(t, env, "list --instance $I --limit 1", `hold +running`)
	page := errandEnv(t, env, "", "list", "--limit=1", "-o", "json")
	var list struct{ Tasks []nativejson.Task }
	if err := json.Unmarshal([]byte(page.stdout), &list); err != nil || len(list.Tasks) != 1 {
		t.Fatalf("list: %v: %s", err, page.stdout)
	}
	env["AGAIN"] = list.Tasks[0].ID
	runSteps(t, env, []step{{args: "cancel $AGAIN", out: `is asked to stop; its worker has until \S+Z`}})
	if code := again.wait(); code != exitTaskCancelled {
		t.Errorf("retry --wait of a task that is cancelled: exit code %d: %s", code, again.stderr)
	}
}

// until repeats a command until its output matches: what it waits for has no
// command of its own.
func until(t *testing.T, env map[string]string, args, want string) {
	t.Helper()
	re := regexp.MustCompile(want)
	for end := time.Now().Add(time.Minute); ; {
		r := errandEnv(t, env, "", strings.Fields(os.Expand(args, func(k string) string { return env[k] }))...)
		if r.code == exitOK && re.MatchString(r.stdout) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("errand %s: never %s; the last was %s%s", args, want, r.stdout, r.stderr)
		}
		stormWait(t.Context(), 20*time.Millisecond)
	}
}

func TestWatchCommand(t *testing.T) {
	t.Parallel()
	_, env := serveOperations(t, t.TempDir())
	first := submitted(t, env, "", "submit --instance $I greet --param who=Ann --wait -o json")
	all := start(t, env, "watch", "--all")
	all.stdout.waitForText(t, first.ID+"  finished  running > succeeded  by errand  ")
	lines := start(t, env, "watch", "--instance="+testInstance, "--all", "-o", "json")
	second := submitted(t, env, "", "submit --instance $I fail --wait=false -o json")
	all.stdout.waitForText(t, second.ID+"  finished  running > failed  by errand  ")
	lines.stdout.waitForText(t, `"to":"failed"`)
	for _, line := range strings.Split(strings.TrimSpace(lines.stdout.String()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("watch -o json prints %s", line)
		}
	}
	for _, b := range []*background{all, lines} {
		if code := b.stop(); code != exitOK {
			t.Errorf("watch ends with %d: %s", code, b.stderr)
		}
	}
	runSteps(t, env, []step{{args: "watch --instance 5560df16-cebf-4473-95c4-000000000000", code: exitNotFound, out: `does not exist`}})
}

func TestWorkerCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, env := serveOperations(t, dir, "--runners=0")
	here := filepath.Join(dir, "here")
	if err := os.MkdirAll(filepath.Join(here, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	env["HERE"], env["D"] = here, dir
	task := submitted(t, env, "", "submit --instance $I elsewhere -o json")
	env["T"] = task.ID
	runSteps(t, env, []step{
		{args: "worker", code: exitUsage, out: `--operations DIR`},
		{args: "worker --operations $HERE/empty", code: exitUsage, out: `no operation in`},
		{args: "worker --operations $D/operations.d --runners 0", code: exitUsage, out: `runs nothing`},
		{args: "why $T", out: `no worker serves operation elsewhere`},
	})
	write(t, filepath.Join(here, "elsewhere.yaml"), "engine: redis\nname: elsewhere\nrunner: {program: {path: run}}\n", 0o600)
	write(t, filepath.Join(here, "run"), "#!/bin/sh\necho \"here: $ERRAND_OPERATION\"\n", 0o700)
	w := start(t, env, "worker", "--operations="+here, "--name=far", "--work-dir="+filepath.Join(dir, "far"))
	w.stdout.waitFor(t, "ready")
	until(t, env, "show $T", `status +succeeded`)
	runSteps(t, env, []step{
		{args: "log $T", out: `^here: elsewhere\n$`},
		{args: "show $T", out: `1 of 1 +far/redis`},
		{args: "worker list", out: `far/redis +elsewhere +redis`},
		{args: "worker --operations $HERE --work-dir $D/far", code: exitFailure, out: `in use by another process.*--work-dir`},
	})
	viewer := maps.Clone(env)
	runSteps(t, env, []step{{args: "user add eve --role cn-north-4=viewer", out: `eve`}})
	key := errandEnv(t, env, "", "key", "add", "--user=eve")
	write(t, filepath.Join(dir, "eve"), key.stdout, 0o600)
	viewer["EVE"] = filepath.Join(dir, "eve")
	refused := errandEnv(t, viewer, "", "worker", "--operations="+here, "--work-dir="+filepath.Join(dir, "eve.d"), "--credentials="+viewer["EVE"])
	if refused.code != exitRefused || !strings.Contains(refused.stderr, "role viewer") {
		t.Errorf("a worker with the key of a viewer: %+v", refused)
	}
	if code := w.stop(); code != exitOK {
		t.Errorf("the worker ends with %d: %s", code, w.stderr)
	}
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good.yaml"), "engine: redis\nname: one\n---\nengine: [kafka, redis]\nname: two\n", 0o600)
	write(t, filepath.Join(dir, "bad.yaml"), "engine: redis\nname: one\ntimeout: 90\nlanes: x\n", 0o600)
	env := map[string]string{"D": dir}
	runSteps(t, env, []step{
		{args: "check $D/good.yaml", out: `(?s)kafka +two +worker +\S+good\.yaml:4\nredis +one +worker +\S+good\.yaml:1\nredis +two`},
		{args: "check -o json $D/good.yaml", out: `(?s)"name": "two".*"problems": \[\]`},
		{args: "check", code: exitUsage, out: `requires at least 1 arg`},
	})
	for _, args := range []string{"check $D/good.yaml $D/bad.yaml", "check $D", "check $D/missing.yaml"} {
		r := errandEnv(t, env, "", strings.Fields(os.Expand(args, func(k string) string { return env[k] }))...)
		if r.code != exitUsage || !strings.Contains(r.stderr, "problems found: ") || !regexp.MustCompile(`(?m)^\S+(bad\.yaml:3:10: .*90|missing.yaml: )`).MatchString(r.stdout) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	j := errandEnv(t, env, "", "check", "-o", "json", filepath.Join(dir, "bad.yaml"))
	var out struct{ Problems []struct{ Line int } }
	if err := json.Unmarshal([]byte(j.stdout), &out); err != nil || len(out.Problems) != 2 || out.Problems[0].Line != 3 {
		t.Errorf("check -o json: %v: %s", err, j.stdout)
	}
	// A server does not start with them, and says the same.
	r := errandEnv(t, nil, "", "serve", "--db=sqlite:"+filepath.Join(dir, "e.db"), "--listen=127.0.0.1:0", "--operations="+dir)
	if r.code != exitUsage || !strings.Contains(r.stderr, "bad.yaml:3:10: ") || !strings.Contains(r.stderr, "errand check "+dir) {
		t.Errorf("serve: %+v", r)
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\tb\n\x1b[31mred\x00\r\n é 主题": "a\tb\n\\x1b[31mred\\x00\n é 主题",
		"\u202eabc\u2066\u200f\u009b31m": `\u202eabc\u2066\u200f\u009b31m`,
		"\xff":                           "\ufffd",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q): %q, want %q", in, got, want)
		}
	}
	var out strings.Builder
	w := &plainWriter{w: &out}
	for _, b := range []byte("主\x1b题") { // cut in the middle of characters
		if n, err := w.Write([]byte{b}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if out.String() != `主\x1b题` {
		t.Errorf("in pieces: %q", out.String())
	}
}
