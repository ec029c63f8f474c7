//go:build linux

package runner_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/internal/workertest"
	"github.com/errandhq/errand/worker"
)

func aTask() *errand.Task {
	return &errand.Task{
		ID: "0190a0000000000000000000000000aa", Project: "0190a0000000000000000000000000bb", Instance: "00000000-0000-4000-8000-000000000001",
		Engine: errand.Kafka, Operation: "op", Params: `{"n":7}`, User: errand.User{ID: "u1", Name: "ann"},
		Run: &errand.Run{Attempts: []errand.Attempt{{}, {Worker: "trial"}}},
	}
}

// handler returns the handler of a program and the directory of its attempts.
func handler(t *testing.T, p catalog.Program, grace time.Duration) (worker.Handler, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	r, err := runner.New(nil, nil, runner.Options{Dir: dir, Grace: grace})
	if err != nil {
		t.Fatal(err)
	}
	return r.Handler(catalog.Entry{Program: &p}), dir
}

func shell(script string, args ...string) catalog.Program {
	return catalog.Program{Path: "/bin/sh", Args: append([]string{"-c", script, "sh"}, args...)}
}

// run runs a script to its end and checks that its directory is gone.
func run(t *testing.T, p catalog.Program, secrets map[string]string) workertest.Report {
	t.Helper()
	h, dir := handler(t, p, time.Minute)
	r := workertest.Trial{Handler: h, Task: aTask(), Secrets: secrets}.Run(t)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory of attempts: %v, %v", left, err)
	}
	if !utf8.ValidString(r.Log) {
		t.Error("the log is not UTF-8")
	}
	return r
}

func TestProgram(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100<<10)
	for _, tt := range []struct {
		name   string
		script string
		want   errand.Outcome
		log    string
	}{
		{name: "success", script: `exit 0`, want: errand.Outcome{Status: errand.Succeeded}},
		{
			name: "input", script: `cat; cat <&3`, want: errand.Outcome{Status: errand.Succeeded},
			log: `{"task":{"id":"0190a0000000000000000000000000aa","project_id":"0190a0000000000000000000000000bb","instance_id":"00000000-0000-4000-8000-000000000001",` +
				`"engine":"kafka","operation":"op","attempt":2,"user_id":"u1","user_name":"ann"},"params":{"n":7}}` + "\n{}\n",
		},
		{
			name:   "environment",
			script: `cd "$HOME" && [ "$PWD" = "$TMPDIR" ] && [ "$PWD" = "$ERRAND_WORKDIR" ] && echo x > file && env | sed "/^PATH=/d; /^_=/d; /^PWD=/d; /^OLDPWD=/d; /^SHLVL=/d; s:=$PWD:=dir:" | sort`,
			want:   errand.Outcome{Status: errand.Succeeded},
			log: "ERRAND_ATTEMPT=2\nERRAND_ENGINE=kafka\nERRAND_INSTANCE_ID=00000000-0000-4000-8000-000000000001\nERRAND_OPERATION=op\n" +
				"ERRAND_PROJECT_ID=0190a0000000000000000000000000bb\nERRAND_TASK_ID=0190a0000000000000000000000000aa\nERRAND_WORKDIR=dir\nHOME=dir\nLANG=C.UTF-8\nTMPDIR=dir\n",
		},
		{name: "result", script: `echo '{"result":{"id":[1,2]}}'`, want: errand.Outcome{Status: errand.Succeeded, Result: []byte(`{"id":[1,2]}`)}},
		{
			name: "result that is too long", script: `printf '{"result":"'; head -c 70000 /dev/zero | tr '\0' x; echo '"}'`, want: errand.Outcome{Status: errand.Succeeded},
			log: "[the result is left out: it has 70002 bytes as JSON, more than 65536]\n",
		},
		{name: "log", script: `printf '{"log":"one\\ntwo"}\nthree\nfour'`, want: errand.Outcome{Status: errand.Succeeded}, log: "one\ntwo\nthree\nfour\n"},
		{
			name: "exit status", script: `echo first >&2; echo "no route" >&2; echo >&2; exit 3`, log: "first\nno route\n\n",
			want: errand.Outcome{Status: errand.Failed, ErrorCode: "ExitStatus", Reason: "the program ended with exit status 3: no route"},
		},
		{
			name: "reason that would be cut", script: "echo " + long + " >&2; exit 3", log: long[:64<<10] + " [the line is cut here: it had 102400 bytes]\n",
			want: errand.Outcome{Status: errand.Failed, ErrorCode: "ExitStatus", Reason: "the program ended with exit status 3"},
		},
		{
			name: "signal", script: `kill -SEGV $$`,
			want: errand.Outcome{Status: errand.Failed, ErrorCode: "Signal", Reason: "the program was ended by signal 11 (segmentation fault)"},
		},
		{
			name: "error of its own", script: `echo '{"error":{"code":"E7","message":"disk full","permanent":true}}'; exit 0`,
			want: errand.Outcome{Status: errand.Failed, ErrorCode: "E7", Reason: "disk full", Permanent: true},
		},
		{
			name: "error without words", script: `echo '{"error":{}}'; echo no >&2; exit 9`, log: "no\n",
			want: errand.Outcome{Status: errand.Failed, Reason: "the program reported an error without a message"},
		},
		{
			name: "garbage", script: `printf '\377\376{\n{"step":7}\n{"level":"info","error":"text"}\n{"step":\n{}\n[1]\n{"step":{"name":"a","status":"odd"}}\nno\000zero\n'`,
			want: errand.Outcome{Status: errand.Succeeded},
			log:  "\uFFFD{\n{\"step\":7}\n{\"level\":\"info\",\"error\":\"text\"}\n{\"step\":\n{}\n[1]\n{\"step\":{\"name\":\"a\",\"status\":\"odd\"}}\nno\x00zero\n",
		},
		{
			name: "a message that is too long is log", script: `printf '{"log":"'; head -c 200000 /dev/zero | tr '\0' x; echo '"}'; echo '{"log":"next"}'`,
			want: errand.Outcome{Status: errand.Succeeded}, log: `{"log":"` + strings.Repeat("x", 64<<10-8) + " [the line is cut here: it had 200010 bytes]\nnext\n",
		},
		{
			name: "a line of 10 MB", script: `head -c 10000000 /dev/zero | tr '\0' x; echo; echo end`,
			want: errand.Outcome{Status: errand.Succeeded}, log: strings.Repeat("x", 64<<10) + " [the line is cut here: it had 10000000 bytes]\nend\n",
		},
		{name: "closes its output early", script: `exec >&- 2>&-; cat >/dev/null; exit 4`, want: errand.Outcome{Status: errand.Failed, ErrorCode: "ExitStatus", Reason: "the program ended with exit status 4"}},
		{name: "closes its input", script: `exec <&- 3<&-; echo done`, want: errand.Outcome{Status: errand.Succeeded}, log: "done\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, shell(tt.script), nil)
			if diff := cmp.Diff(tt.want, r.Outcome); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if r.Log != tt.log {
				t.Errorf("log %s\nwant %s", brief(r.Log), brief(tt.log))
			}
		})
	}
}

func brief(s string) string {
	if len(s) > 2000 {
		return fmt.Sprintf("%q … %q (%d bytes)", s[:200], s[len(s)-200:], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// TestProgramReadsNothing gives a program more than a pipe holds.
func TestProgramReadsNothing(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, shell(`exit 0`), time.Minute)
	task := aTask()
	task.Params = `{"x":"` + strings.Repeat("x", 64<<10) + `"}`
	secrets := map[string]string{"key": strings.Repeat("y", 100<<10)}
	if r := (workertest.Trial{Handler: h, Task: task, Secrets: secrets}).Run(t); r.Status != errand.Succeeded {
		t.Errorf("outcome %+v", r.Outcome)
	}
}

func TestProgramSteps(t *testing.T) {
	t.Parallel()
	r := run(t, shell(`
		echo '{"steps":["copy","switch","check"]}'
		echo '{"step":"copy"}'; echo '{"substep":"part 1"}'; echo '{"substep":"part 2"}'
		echo '{"progress":33.4,"remaining":120}'
		echo '{"step":"switch"}'
		echo '{"step":{"name":"check","status":"failed","detail":"cold","error_code":"E1"}}'
		echo '{"progress":250,"remaining":-5}'
		exit 1`), nil)
	want := &errand.Progress{Percent: 100, Steps: []errand.Step{
		{Name: "copy", Status: errand.StepSucceeded, Steps: []errand.Step{{Name: "part 1", Status: errand.StepSucceeded}, {Name: "part 2", Status: errand.StepSucceeded}}},
		{Name: "switch", Status: errand.StepFailed, ErrorCode: "ExitStatus"},
		{Name: "check", Status: errand.StepFailed, ErrorCode: "E1", Detail: "cold"},
	}}
	if diff := cmp.Diff(want, r.Progress, cmpopts.IgnoreFields(errand.Step{}, "StartedAt", "EndedAt")); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

// TestProgramSecrets looks for a secret where others could see it.
func TestProgramSecrets(t *testing.T) {
	t.Parallel()
	r := run(t, shell(`
		s=$(sed 's/.*:"//; s/".*//' <&3)
		[ "$s" = 'p&ss/w0rd' ] || exit 1
		tr '\0' '\n' < /proc/$$/environ; tr '\0' '\n' < /proc/$$/cmdline
		echo "with $s in it"; printf %s "$s" | base64; echo "$s" | base64
		printf '{"log":"%s"}\n{"result":{"url":"https://x/?p=p%%26ss%%2Fw0rd"}}\n{"step":"try %s"}\n' "$s" "$s"
		echo "cannot log in with $s" >&2
		exit 1`), map[string]string{"password": "p&ss/w0rd"})
	if !strings.HasPrefix(r.Reason, "the program ended with exit status 1: cannot log in with ***") {
		t.Fatalf("reason %q, log %s", r.Reason, r.Log)
	}
	if strings.Count(r.Log, "***\n") != 4 || !strings.Contains(r.Log, "with *** in it\n") {
		t.Errorf("log %s", r.Log)
	}
	all := fmt.Sprintf("%+v %s %+v", r.Outcome, r.Result, r.Progress) + r.Log
	for _, secret := range []string{"p&ss/w0rd", "p%26ss%2Fw0rd", "cCZzcy93MHJk"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is in %s", secret, all)
		}
	}
}

func TestProgramNotStarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name       string
		program    catalog.Program
		code, says string
	}{
		{"missing", catalog.Program{Path: dir + "/none"}, "ProgramMissing", dir + "/none cannot be started: no such file or directory (it, its"},
		{"interpreter missing", catalog.Program{Path: write("script", "#!"+dir+"/none\n", 0o755)}, "ProgramMissing", "interpreter"},
		{"directory missing", catalog.Program{Path: "/bin/sh", Dir: dir + "/none"}, "ProgramMissing", "directory"},
		{"not executable", catalog.Program{Path: write("text", "exit 0", 0o644)}, "ProgramNotExecutable", "permission denied"},
		{"no program", catalog.Program{Path: write("data", "\x00\x01", 0o755)}, "ProgramNotExecutable", "exec format error"},
		{"a directory", catalog.Program{Path: dir}, "ProgramNotExecutable", "permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, tt.program, nil)
			if r.Status != errand.Failed || !r.Permanent || r.ErrorCode != tt.code || !strings.Contains(r.Reason, tt.says) {
				t.Errorf("outcome %+v", r.Outcome)
			}
		})
	}
}

// TestProgramFloods writes 1 GB of log, and a message without an end, and looks
// at what that takes.
func TestProgramFloods(t *testing.T) {
	const most = 4<<20 - 256
	cut := fmt.Sprintf("[the log is cut here: an attempt may write %d bytes]\n", most)
	for _, tt := range []struct {
		name, script, ends string
		least              int
	}{
		{"log", `yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 1000000000; echo`, cut, most - 100},
		{"message", `printf '{"log":"'; head -c 200000000 /dev/zero | tr '\0' x; echo`, "[the line is cut here: it had 200000008 bytes]\n", 64 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			r := run(t, shell(tt.script+`; echo '{"result":"all"}'`), nil)
			runtime.ReadMemStats(&after)
			if r.Status != errand.Succeeded || string(r.Result) != `"all"` {
				t.Errorf("outcome %+v", r.Outcome)
			}
			if !strings.HasSuffix(r.Log, tt.ends) || len(r.Log) > most+len(cut) || len(r.Log) < tt.least {
				t.Errorf("the log has %d bytes and ends with %q", len(r.Log), r.Log[max(0, len(r.Log)-100):])
			}
			grown := (int64(after.HeapSys) - int64(before.HeapSys)) >> 20
			if t.Logf("the heap has grown by %d MiB, %d MiB allocated in all", grown, (after.TotalAlloc-before.TotalAlloc)>>20); grown > 64 {
				t.Error("that is more than 64")
			}
		})
	}
}

// fifo is how a test sees processes come and go: it opens when one opens it, and
// ends when none has it open.
type fifo struct {
	path string
	file chan *os.File
}

func newFifo(t *testing.T) *fifo {
	t.Helper()
	f := &fifo{filepath.Join(t.TempDir(), "fifo"), make(chan *os.File, 1)}
	if err := syscall.Mkfifo(f.path, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		r, err := os.Open(f.path)
		if err == nil {
			f.file <- r
		}
	}()
	return f
}

// line waits for a process to write one.
func (f *fifo) line(t *testing.T) string {
	t.Helper()
	r := <-f.file
	var b [100]byte
	n, err := r.Read(b[:])
	if err != nil {
		t.Fatal(err)
	}
	f.file <- r
	return strings.TrimSpace(string(b[:n]))
}

// end waits until no process has it open, and returns what was written till then.
func (f *fifo) end(t *testing.T) string {
	t.Helper()
	r := <-f.file
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(b))
}

// stopped runs a script, ends its context once it has written to the fifo, and
// returns what was reported.
func stopped(t *testing.T, f *fifo, script string, grace time.Duration, cause error) workertest.Report {
	t.Helper()
	h, dir := handler(t, shell(script, f.path), grace)
	r := workertest.Trial{Task: aTask(), Handler: func(ctx context.Context, j *worker.Job) error {
		ctx, cancel := context.WithCancelCause(ctx)
		go func() {
			f.line(t)
			cancel(cause)
		}()
		return h(ctx, j)
	}}.Run(t)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory of attempts: %v, %v", left, err)
	}
	return r
}

func TestProgramStops(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		grace        time.Duration
		cause        error
		log, said    string
	}{
		{
			name: "on TERM", grace: time.Hour, cause: worker.ErrStopped, log: "cleaning up\n",
			script: `exec 9>"$1"; trap 'echo cleaning up; echo {}; exit 0' TERM; echo ready >&9; while :; do sleep 1000 & wait $!; done`,
		},
		{
			name: "ignores TERM", grace: time.Millisecond, cause: worker.ErrTimeout,
			script: `exec 9>"$1"; trap '' TERM; (trap '' TERM; while :; do sleep 1000; done) & echo ready >&9; while :; do sleep 1000; done`,
		},
		{
			name: "lease lost", grace: time.Hour, cause: worker.ErrLeaseLost,
			script: `exec 9>"$1"; trap 'echo on TERM >&9' TERM; echo ready >&9; while :; do sleep 1000 & wait $!; done`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFifo(t)
			r := stopped(t, f, tt.script, tt.grace, tt.cause)
			if r.Status != errand.Failed || r.Reason != tt.cause.Error() || !strings.Contains(r.Log, tt.log) {
				t.Errorf("outcome %+v, log %q", r.Outcome, r.Log)
			}
			if said := f.end(t); said != "" { // and nobody is left
				t.Errorf("said after the end: %q", said)
			}
		})
	}
}

// TestProgramLeavesChildren starts processes that outlive their program: in its
// group, and in a session of their own.
func TestProgramLeavesChildren(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, script string }{
		{"in the group", `exec 9>"$1"; (trap '' TERM HUP; sleep 1000) & exit 0`},
		{"in a session of its own", `exec 9>"$1"; setsid sh -c 'trap "" TERM HUP; sleep 1000' >/dev/null 2>&1 & exit 0`},
		{"holding the output", `exec 9>"$1"; setsid sleep 1000 & exit 0`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFifo(t)
			if r := run(t, shell(tt.script, f.path), nil); r.Status != errand.Succeeded || r.Log != "" {
				t.Errorf("outcome %+v, log %q", r.Outcome, r.Log)
			}
			f.end(t)
		})
	}
}
