package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// TestMain lets scripts also run the program as a process of its own, with
// `exec errand-process`, which has a terminal after `ttyin`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"errand-process": func() { os.Exit(Main(os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script/*.txtar: sessions at the command line with what
// they print. GOLDEN=update go test -run TestScripts ./internal/cli writes that anew.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("GOLDEN") == "update",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"errand": scriptErrand, "serve": scriptServe, "code": scriptCode, "steady": scriptSteady, "save": scriptSave, "until": scriptUntil,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Values[codeKey{}] = new(int)
			return nil
		},
	})
}

// codeKey is that of the exit code of the last command.
type codeKey struct{}

// scriptErrand runs a command line in this process. `< FILE` at its end is its
// standard input.
func scriptErrand(ts *testscript.TestScript, neg bool, args []string) {
	var stdin io.Reader = strings.NewReader("")
	if n := len(args); n >= 2 && args[n-2] == "<" {
		stdin, args = strings.NewReader(ts.ReadFile(args[n-1])), args[:n-2]
	}
	for i, a := range args { // files are where the script is
		if dir, ok := strings.CutPrefix(a, "./"); ok {
			args[i] = ts.MkAbs(dir)
		}
	}
	code := run(context.Background(), args, ts.Getenv, stdin, ts.Stdout(), ts.Stderr())
	*ts.Value(codeKey{}).(*int) = code
	if (code != exitOK) != neg {
		ts.Fatalf("exit code %d", code)
	}
}

// scriptCode checks the exit code of the last command that failed.
func scriptCode(ts *testscript.TestScript, _ bool, args []string) {
	if got := *ts.Value(codeKey{}).(*int); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, not %s", got, args[0])
	}
}

// scriptServe starts a server with the operations of the tests, one instance of
// redis called sessions and one of kafka called orders. The environment names it,
// with the key of its admin.
func scriptServe(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs("server")
	operations := filepath.Join(dir, "operations.d")
	ts.Check(os.MkdirAll(operations, 0o700))
	ts.Check(os.WriteFile(filepath.Join(operations, "test.yaml"), []byte(testOperations), 0o600))
	ts.Check(os.WriteFile(filepath.Join(operations, "greet"), []byte(testProgram), 0o700))
	ctx, stop := context.WithCancel(context.Background())
	out := newOutput()
	done := make(chan int, 1)
	args = append([]string{"serve", "--db=sqlite:" + filepath.Join(dir, "errand.db"), "--listen=127.0.0.1:0", "--operations=" + operations, "--drain-timeout=0s"}, args...)
	go func() {
		done <- run(ctx, args, func(string) string { return "" }, strings.NewReader(""), out, out)
		out.end()
	}()
	ts.Defer(func() { stop(); <-done })
	text, ended := out.until("\nready\n")
	if ended {
		ts.Fatalf("the server does not start: %s", text)
	}
	env, err := os.ReadFile(filepath.Join(dir, "credentials"))
	ts.Check(err)
	for _, line := range strings.Split(strings.TrimSpace(string(env)), "\n") {
		name, value, _ := strings.Cut(line, "=")
		ts.Setenv(name, value)
	}
	ts.Setenv("ERRAND_SERVER", listening.FindStringSubmatch(text)[1])
	ts.Setenv("REDIS", testInstance)
	ts.Setenv("KAFKA", "b6d2a1f0-3c47-4e8b-9a15-7f04c2d8e361")
	for _, i := range [][]string{{testInstance, "sessions", "redis"}, {"b6d2a1f0-3c47-4e8b-9a15-7f04c2d8e361", "orders", "kafka"}} {
		if code := run(ctx, []string{"instance", "add", "--id", i[0], "--name", i[1], "--engine", i[2]}, ts.Getenv, strings.NewReader(""), io.Discard, io.Discard); code != exitOK {
			ts.Fatalf("instance add %s: exit code %d", i, code)
		}
	}
}

// scriptSteady puts what the last command printed, or a file, into the file
// "steady", without what is new in each run. It is compared with `cmp`.
func scriptSteady(ts *testscript.TestScript, _ bool, args []string) {
	text := steady(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs("steady"), []byte(text), 0o600))
}

// steady replaces what is new in each run.
func steady(text string, getenv func(string) string) string {
	for name, word := range map[string]string{"ERRAND_SERVER": "http://SERVER", "WORK": "WORK", "HUAWEICLOUD_SDK_AK": "AK__________________"} {
		if v := getenv(name); v != "" {
			text = strings.ReplaceAll(text, v, word)
		}
	}
	for _, r := range []struct{ pattern, with string }{
		{`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`, "2026-01-31T00:00:00.000000Z"},
		{`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "2026-01-31T00:00:00Z"},
		{`\b01[0-9a-f]{30}\b`, "0123456789abcdef0123456789abcdef"},
		{`http://127\.0\.0\.1:\d+`, "http://SERVER"},
		{`(HUAWEICLOUD_SDK_(?:AK|SK|SECURITY_TOKEN)=)\S+`, "${1}KEY"},
		{`\b[A-Z2-7]{20}\b`, "ACCESSKEYACCESSKEYAC"},
		{`go1\.\d+(\.\d+)?`, "go1.0"},
		{`(?m)^errand \S+ \(`, "errand VERSION ("},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

// scriptSave keeps the first word that the last command printed in a variable.
func scriptSave(ts *testscript.TestScript, _ bool, args []string) {
	words := strings.Fields(ts.ReadFile("stdout"))
	if len(words) == 0 {
		ts.Fatalf("nothing was printed")
	}
	ts.Setenv(args[0], words[0])
}

// scriptUntil repeats a command line until its output matches a pattern.
func scriptUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(time.Minute); ; {
		var out strings.Builder
		if run(context.Background(), args[1:], ts.Getenv, strings.NewReader(""), &out, io.Discard) == exitOK && want.MatchString(out.String()) {
			fmt.Fprint(ts.Stdout(), out.String())
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("never %s; the last was %s", args[0], &out)
		}
		stormWait(context.Background(), 20*time.Millisecond)
	}
}

// TestScriptsRunEverything fails for a command that no script runs.
func TestScriptsRunEverything(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.HasSubCommands() {
				check(sub)
			}
			ran := regexp.MustCompile(`(?m)^(! )?(exec |until \S+ )?` + regexp.QuoteMeta(sub.CommandPath()) + `( |$)`)
			if !ran.MatchString(all.String()) {
				t.Errorf("no script runs `%s`", sub.CommandPath())
			}
		}
	}
	check((&app{getenv: func(string) string { return "" }}).root())
}
