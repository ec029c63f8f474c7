package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// result is what a command that ended left behind.
type result struct {
	code           int
	stdout, stderr string
}

// errandEnv runs one command line with an environment of its own.
func errandEnv(t *testing.T, env map[string]string, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, func(k string) string { return env[k] }, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// output collects what a running command prints and tells when a line is there.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	more  chan struct{} // closed and replaced by every Write
	ended bool
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	close(o.more)
	o.more = make(chan struct{})
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// end tells those who wait that nothing follows.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	close(o.more)
	o.more = make(chan struct{})
}

// waitFor waits for a line and returns all of the text.
func (o *output) waitFor(t *testing.T, line string) string {
	t.Helper()
	return strings.TrimPrefix(o.waitForText(t, "\n"+line+"\n"), "\n")
}

// waitForText waits for a text; the output counts as beginning on a new line.
func (o *output) waitForText(t *testing.T, want string) string {
	t.Helper()
	text, ended := o.until(want)
	if ended {
		t.Fatalf("the command ended without %q: %s", want, text)
	}
	return text
}

// until waits for a text or the end, and says which it was.
func (o *output) until(want string) (text string, ended bool) {
	for {
		o.mu.Lock()
		text, more, ended := "\n"+o.text.String(), o.more, o.ended
		o.mu.Unlock()
		if strings.Contains(text, want) {
			return text, false
		}
		if ended {
			return text, true
		}
		<-more
	}
}

// background is a command that runs until stop.
type background struct {
	stdout, stderr *output
	stop           func() int // asks it to end, as SIGTERM does, and returns its exit code
	wait           func() int // returns its exit code once it has ended by itself
}

func start(t *testing.T, env map[string]string, args ...string) *background {
	t.Helper()
	b := &background{stdout: newOutput(), stderr: newOutput()}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, args, func(k string) string { return env[k] }, strings.NewReader(""), b.stdout, b.stderr)
		if s := b.stderr.String(); s != "" {
			_, _ = io.WriteString(b.stdout, "standard error: "+s)
		}
		b.stdout.end()
	}()
	b.wait = sync.OnceValue(func() int { return <-code })
	b.stop = func() int { cancel(); return b.wait() }
	t.Cleanup(func() { b.stop() })
	return b
}

// serve starts `errand serve` in dir on a free port and returns it with its
// credentials as an environment.
func serve(t *testing.T, dir string, args ...string) (*background, map[string]string) {
	t.Helper()
	b := start(t, nil, append([]string{"serve", "--db=sqlite:" + filepath.Join(dir, "errand.db"), "--listen=127.0.0.1:0"}, args...)...)
	text := b.stdout.waitFor(t, "ready")
	env := readEnv(t, filepath.Join(dir, "credentials"))
	env["ERRAND_SERVER"] = listening.FindStringSubmatch(text)[1]
	return b, env
}

var listening = regexp.MustCompile(`(?m)^listening on (http\S+)$`)

// readEnv reads lines of NAME=VALUE.
func readEnv(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%s holds the line %q", file, line)
		}
		env[name] = value
	}
	return env
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		code int
		out  string // in stdout, or in stderr of a command that failed
	}{
		{"", exitOK, "Every command exits with"},
		{"--help", exitOK, "Every command exits with"},
		{"help serve", exitOK, "--listen"},
		{"version", exitOK, "errand "},
		{"nonsense", exitUsage, "nonsense"},
		{"serve extra", exitUsage, "see `errand serve --help`"},
		{"serve --nonsense", exitUsage, "see `errand serve --help`"},
		{"version -o xml", exitUsage, "text, json"},
		{"serve --db=mysql://x", exitUsage, "sqlite:PATH"},
		{"serve --db=sqlite:/nonexistent/dir/errand.db", exitFailure, "/nonexistent/dir"},
		{"serve --listen=nowhere", exitUsage, "HOST:PORT"},
		{"config --log-level=loud", exitUsage, "debug, info, warn or error"},
		{"config --config=/nonexistent/errand.toml", exitUsage, "/nonexistent/errand.toml"},
		{"config --credentials=/nonexistent/credentials", exitUsage, "/nonexistent/credentials"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			r := errandEnv(t, nil, "", strings.Fields(tt.args)...)
			text := r.stdout
			if tt.code != exitOK {
				text = r.stderr
				if !strings.HasPrefix(r.stderr, "errand: ") || strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
					t.Errorf("a failure prints stdout %q, stderr %q", r.stdout, r.stderr)
				}
			}
			if r.code != tt.code || !strings.Contains(text, tt.out) {
				t.Errorf("exit code %d, want %d; %q should say %q", r.code, tt.code, text, tt.out)
			}
		})
	}
}

func TestConfigCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "errand.toml")
	if err := os.WriteFile(file, []byte("region = \"eu-1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"ERRAND_CONFIG": file, "ERRAND_MASTER_KEY": "master-value", "HUAWEICLOUD_SDK_AK": "ak-value", "HUAWEICLOUD_SDK_SK": "sk-value"}
	r := errandEnv(t, env, "", "config", "--log-format=json", "--db=sqlite:"+filepath.Join(dir, "e.db"))
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{
		`(?m)^region +eu-1 +file \S+errand\.toml$`, `(?m)^log-format +json +flag --log-format$`,
		`(?m)^master-key +\(redacted\) +environment ERRAND_MASTER_KEY$`, `(?m)^secret-key +\(redacted\) +environment HUAWEICLOUD_SDK_SK$`,
		`(?m)^access-key +ak-value +environment HUAWEICLOUD_SDK_AK$`, `(?m)^log-level +info +default$`,
	} {
		if !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("no line %s in:\n%s", want, r.stdout)
		}
	}
	j := errandEnv(t, env, "", "config", "-o", "json", "--db=sqlite:"+filepath.Join(dir, "e.db"))
	var list []struct{ Name, Value, Source string }
	if err := json.Unmarshal([]byte(j.stdout), &list); err != nil || len(list) < 15 {
		t.Errorf("config -o json: %v: %s", err, j.stdout)
	}
	for _, text := range []string{r.stdout, r.stderr, j.stdout, j.stderr} {
		if strings.Contains(text, "master-value") || strings.Contains(text, "sk-value") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}
