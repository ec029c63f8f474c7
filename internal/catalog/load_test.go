package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBroken reads every file of testdata/broken by itself and holds what is said
// about it against testdata/broken.golden.
func TestBroken(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/broken/*")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d broken files, %v", len(files), err)
	}
	here, err := filepath.Abs("testdata/broken")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, file := range files {
		entries, err := CheckFile(file)
		problems, ok := errors.AsType[Problems](err)
		if !ok || len(problems) == 0 || entries != nil {
			t.Errorf("%s: entries %v, error %v; want none and problems", file, entries, err)
		}
		fmt.Fprintf(&got, "%s\n", strings.NewReplacer("testdata/broken/", "", filepath.Dir(here), "DIR").Replace(problems.Error()))
	}
	const golden = "testdata/broken.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")
	for i := range max(len(wantLines), len(gotLines)) {
		var w, g string
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if w != g {
			t.Fatalf("line %d:\n got %s\nwant %s\n(-update rewrites %s)", i+1, g, w, golden)
		}
	}
}

// dir writes files and returns their directory.
func dir(t *testing.T, files map[string]string) string {
	t.Helper()
	d := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(d, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func load(t *testing.T, files map[string]string) *Catalog {
	t.Helper()
	c, err := Load(dir(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, map[string]string{"x.yaml": "engine: [redis, kafka]\nname: x\ntitle: Do x\n"})
	for _, engine := range []errand.Engine{errand.Redis, errand.Kafka} {
		got, ok := c.Operation(engine, "x")
		want := errand.Operation{
			Engine: engine, Name: "x", Title: "Do x", TitleZH: "Do x", Lane: errand.DefaultLane,
			Timeout: time.Hour, MaxAttempts: 1, Backoff: errand.Backoff{Base: 5 * time.Second, Max: 5 * time.Minute},
			OnLost: errand.FailWhenLost, Runner: errand.RemoteRunner,
		}
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", engine, got, ok, want)
		}
	}
	if _, ok := c.Operation(errand.RabbitMQ, "x"); ok {
		t.Error("an engine has it that was not named")
	}
}

func TestEveryMember(t *testing.T) {
	t.Parallel()
	d := dir(t, map[string]string{"run.sh": "#!/bin/sh\n", "x.yaml": `
engine: kafka
name: x
title: Do x
title_zh: 做x
params:
  properties: {b: {minimum: 0x10}, a: {enum: [1.50, null, true, "t<", 2026-01-01]}}
secrets: [token]
lane: network
busy: reject
timeout: 1h30m
attempts: 4
backoff: {base: 2s, max: 1m}
on_lost: retry
hide_running: true
runner:
  program: {path: run.sh, args: ["", "-v"], dir: /}
`})
	c, err := Load(d)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := c.Entry(errand.Kafka, "x")
	want := errand.Operation{
		Engine: errand.Kafka, Name: "x", Title: "Do x", TitleZH: "做x",
		Schema:  []byte(`{"properties":{"b":{"minimum":16},"a":{"enum":[1.50,null,true,"t<","2026-01-01"]}}}`),
		Secrets: []string{"token"}, Lane: "network", RejectBusy: true, Timeout: 90 * time.Minute, MaxAttempts: 4,
		Backoff: errand.Backoff{Base: 2 * time.Second, Max: time.Minute}, OnLost: errand.RetryWhenLost,
		Runner: errand.ProgramRunner, HideRunning: true,
	}
	if !reflect.DeepEqual(got.Operation, want) {
		t.Errorf("operation\n got %+v\nwant %+v", got.Operation, want)
	}
	if want := (&Program{Path: filepath.Join(d, "run.sh"), Args: []string{"", "-v"}, Dir: "/"}); !reflect.DeepEqual(got.Program, want) || got.Simulation != nil {
		t.Errorf("program %+v, simulation %v; want %+v and none", got.Program, got.Simulation, want)
	}
	if want := filepath.Join(d, "x.yaml") + ":2"; got.File != want {
		t.Errorf("declared at %q, want %q", got.File, want)
	}
}

// TestOverride gives a built-in operation another runner and leaves the rest.
func TestOverride(t *testing.T) {
	t.Parallel()
	c := load(t, map[string]string{"x.yaml": `
engine: rocketmq
name: bindInstancePublicIp
title: Bind
runner:
  simulate: {duration: 3s, steps: [{name: a}, {name: b}, {name: c}], fail_rate: 1}
`})
	plain, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := plain.Entry(errand.RocketMQ, "bindInstancePublicIp")
	got, _ := c.Entry(errand.RocketMQ, "bindInstancePublicIp")
	sim := &Simulation{
		Duration: 3 * time.Second, Steps: []SimulatedStep{{"a", time.Second}, {"b", time.Second}, {"c", time.Second}},
		FailRate: 1, Reason: "the simulation failed, as declared",
	}
	if !reflect.DeepEqual(got.Simulation, sim) {
		t.Errorf("simulation %+v, want %+v", got.Simulation, sim)
	}
	want.Title, want.Runner = "Bind", errand.SimulationRunner
	if !reflect.DeepEqual(got.Operation, want.Operation) || !got.HideRunning || got.TitleZH == "Bind" {
		t.Errorf("operation\n got %+v\nwant %+v", got.Operation, want.Operation)
	}
	if err := c.Check(got.Operation, []byte(`{"enable_public_ip":"yes"}`)); err == nil {
		t.Error("the built-in schema is lost")
	}
	if a, b := len(c.Entries()), len(plain.Entries()); a != b {
		t.Errorf("%d entries, want %d as without it", a, b)
	}
}

func TestSimulatedStepsAddUp(t *testing.T) {
	t.Parallel()
	c := load(t, map[string]string{"x.yml": "engine: redis\nname: x\nrunner: {simulate: {steps: [{name: a, duration: 0s}, {name: b, duration: 1500ms}]}}\n"})
	got, _ := c.Entry(errand.Redis, "x")
	if s := got.Simulation; s == nil || s.Duration != 1500*time.Millisecond || s.Steps[0].Duration != 0 || s.FailRate != 0 || s.Reason != "" {
		t.Errorf("simulation %+v", s)
	}
}

// TestDirectory says which files count.
func TestDirectory(t *testing.T) {
	t.Parallel()
	const bad = "name: without engine\n"
	d := dir(t, map[string]string{
		"a.yaml": "engine: redis\nname: a\n", "b.yml": "---\nengine: redis\nname: b\n---\n---\nengine: redis\nname: c\n...\n",
		".hidden.yaml": bad, "README.md": bad, "c.yaml.bak": bad,
	})
	if err := os.Mkdir(filepath.Join(d, "d.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.yaml", filepath.Join(d, "..data")); err != nil {
		t.Fatal(err)
	}
	c, err := Load(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, ok := c.Operation(errand.Redis, name); !ok {
			t.Errorf("%s is not there", name)
		}
	}
	if entries, err := CheckFile(filepath.Join(d, "b.yml")); err != nil || len(entries) != 2 || entries[0].Name != "b" {
		t.Errorf("CheckFile = %v, %v; want b and c", entries, err)
	}
}

// TestDirectoryProblems are those of files as such, and of several files.
func TestDirectoryProblems(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range maxFiles + 1 {
		many[fmt.Sprintf("%d.yaml", i)] = ""
	}
	var crowd strings.Builder
	for range 30 {
		crowd.WriteString("---\nname: x\n")
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string // in the error, in this order
	}{
		"all files are told of": {
			map[string]string{"a.yaml": "engine: redis\n", "b.yaml": "engine: redis\nname: ok\n", "c.yaml": "name: x\n"},
			[]string{"a.yaml:1:1: expected the member name", "c.yaml:1:1: expected the member engine"},
		},
		"the same operation in two files": {
			map[string]string{"a.yaml": "engine: redis\nname: x\n", "b.yaml": "\nengine: redis\nname: x\n"},
			[]string{"b.yaml:2:1: expected each operation once, found redis x, which is declared at ", "a.yaml:1 already"},
		},
		"a large file":   {map[string]string{"a.yaml": strings.Repeat("#", maxFile+1)}, []string{"a.yaml: expected at most 1048576 bytes, found more"}},
		"too many files": {many, []string{": expected at most 1000 files of operations, found 1001"}},
		"too much to say": {
			map[string]string{"a.yaml": crowd.String()}, []string{"a.yaml:2:1:", "a.yaml:40:1:", "\nand 10 more"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Load(dir(t, tt.files))
			if c != nil || err == nil {
				t.Fatalf("Load = %v, %v; want an error", c, err)
			}
			rest := err.Error()
			for _, want := range tt.want {
				var ok bool
				if _, rest, ok = strings.Cut(rest, want); !ok {
					t.Errorf("%q is not, or not in its place, in:\n%s", want, err)
				}
			}
			if n := strings.Count(err.Error(), "\n"); n > maxProblems {
				t.Errorf("%d lines of problems", n)
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	t.Parallel()
	d := t.TempDir()
	pipe := filepath.Join(d, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	missing := filepath.Join(d, "missing")
	for path, want := range map[string]string{
		pipe:    pipe + ": expected a file, found a pipe",
		missing: missing + ": no such file or directory",
		d:       d + ": expected a file, found a directory",
	} {
		if _, err := CheckFile(path); err == nil || err.Error() != want {
			t.Errorf("CheckFile = %v, want %s", err, want)
		}
	}
	if _, err := Load(d); err == nil || !strings.Contains(err.Error(), "found a pipe") {
		t.Errorf("Load = %v", err)
	}
	if _, err := Load(missing); err == nil || err.Error() != missing+": no such file or directory" {
		t.Errorf("Load = %v", err)
	}
}

// TestExamples loads the operations that the documentation shows, and holds
// what it prints against the file.
func TestExamples(t *testing.T) {
	t.Parallel()
	const examples = "../../examples/operations.d"
	c, err := Load(examples)
	if err != nil {
		t.Fatal(err)
	}
	for name, runner := range map[string]errand.RunnerKind{
		"scanBigKeys": errand.ProgramRunner, "EXTEND": errand.SimulationRunner,
		"upgradeMinorVersion": errand.SimulationRunner, "failOver": errand.RemoteRunner,
	} {
		i := slices.IndexFunc(c.Entries(), func(e Entry) bool { return e.Name == name && e.File != "" })
		if i < 0 || c.Entries()[i].Runner != runner {
			t.Errorf("%s is not declared for %s", name, runner)
		}
	}
	shown, err := os.ReadFile(examples + "/scan-big-keys.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, append([]byte("```yaml\n"), append(shown, "```"...)...)) {
		t.Error("docs/operations.md does not show scan-big-keys.yaml as it is")
	}
	scan, _ := c.Operation(errand.Redis, "scanBigKeys")
	if err := c.Check(scan, []byte(`{"limit_bytes":"1 MiB","databases":[300]}`)); err == nil || !bytes.Contains(page, []byte("\n    "+errand.ErrorOf(err).Msg+"\n")) {
		t.Errorf("docs/operations.md does not show this refusal: %v", err)
	}
}

// FuzzLoad holds that any file is either refused with places in it or declares
// operations that can be used.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/broken/*", "../../examples/operations.d/*.yaml", "builtin.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Catalog{entries: map[key]*Entry{}}
		s := &source{file: "f.yaml", dir: t.TempDir()}
		s.add(c, data)
		if len(s.problems) == 0 && len(c.entries) == 0 {
			t.Fatal("neither a problem nor an operation")
		}
		lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u0085")) +
			bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029")) + 1
		for _, p := range s.problems {
			if p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Msg == "" || len(p.Msg) > 2000 {
				t.Errorf("problem without a place or of no use: %+v (%d lines)", p, lines)
			}
		}
		for _, e := range c.Entries() {
			checkEntry(t, e)
			if err := c.Check(e.Operation, []byte(`{"a":1}`)); err != nil && errand.ErrorOf(err).Kind != errand.Invalid {
				t.Errorf("Check = %v", err)
			}
		}
	})
}

// checkEntry holds what everybody may rely on.
func checkEntry(t *testing.T, e Entry) {
	t.Helper()
	switch {
	case !e.Engine.Valid() || e.Name == "" || e.Title == "" || e.TitleZH == "":
		t.Errorf("%s %s is not complete", e.Engine, e.Name)
	case e.Timeout <= 0 || e.MaxAttempts < 1 || e.Backoff.Base <= 0 || e.Backoff.Max < e.Backoff.Base || !e.OnLost.Valid():
		t.Errorf("%s: limits %+v", e.Name, e.Operation)
	case (e.Program != nil) != (e.Runner == errand.ProgramRunner) || (e.Simulation != nil) != (e.Runner == errand.SimulationRunner):
		t.Errorf("%s: runner %s, program %v, simulation %v", e.Name, e.Runner, e.Program, e.Simulation)
	case e.Schema != nil && !json.Valid(e.Schema):
		t.Errorf("%s: schema %s", e.Name, e.Schema)
	}
	if e.Simulation != nil {
		sum := time.Duration(0)
		for _, s := range e.Simulation.Steps {
			sum += s.Duration
		}
		if sum > e.Simulation.Duration {
			t.Errorf("%s: steps take %v of %v", e.Name, sum, e.Simulation.Duration)
		}
	}
}
