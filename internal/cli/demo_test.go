package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/catalog"
)

// demoDoc is a file of the demo.
type demoDoc struct {
	Tasks []map[string]any
}

func readDemoDoc(t *testing.T, name string) demoDoc {
	t.Helper()
	b, err := demoRecords.ReadFile("demo/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var d demoDoc
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// TestDemoShowsEverything holds the demo's records to the catalog: all are of
// operations that it knows, and every status that a product has is there.
func TestDemoShowsEverything(t *testing.T) {
	t.Parallel()
	dms := []string{"CREATED", "EXECUTING", "SUCCESS", "FAILED", "CANCELLED", "DELETED"}
	statuses := map[errand.Engine][]string{errand.Kafka: dms, errand.RocketMQ: dms, errand.RabbitMQ: dms, errand.Redis: {"EXECUTING", "SUCCESS", "FAILED"}}
	for _, i := range demoInstances("p") {
		names, words, progress := map[any]bool{}, map[any]bool{}, 0
		for _, f := range i.files {
			for _, r := range readDemoDoc(t, f).Tasks {
				names[r["name"]], words[r["status"]] = true, true
				if r["progress"] != nil {
					progress++
				}
			}
		}
		for _, op := range catalog.Builtin() {
			if op.Engine == i.Engine {
				delete(names, op.Name)
			}
		}
		for name := range names {
			t.Errorf("%s: records of %s, which is in no catalog", i.Engine, name)
		}
		for _, word := range statuses[i.Engine] {
			if !words[word] {
				t.Errorf("%s: no record that is %s", i.Engine, word)
			}
		}
		if progress == 0 && i.Engine != errand.RabbitMQ {
			t.Errorf("%s: no record with progress", i.Engine)
		}
	}
}

// TestDemoDay makes sure that what the demo says of the last day may have been: of
// operations that there are, and one after another on each instance.
func TestDemoDay(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, o := range catalog.Builtin() {
		names[string(o.Engine)+" "+o.Name] = true
	}
	for _, e := range errand.Engines() {
		before := 24 * time.Hour
		for _, p := range slices.Backward(demoDay(e)) {
			if !names[string(e)+" "+p.operation] {
				t.Errorf("%s: no catalog has %s", e, p.operation)
			}
			if p.ago > before || p.took >= p.ago || !p.status.Final() {
				t.Errorf("%s: %s, %v ago, begins before the one before has ended, or goes on", e, p.operation, p.ago)
			}
			before = p.ago - p.took
		}
	}
}

// TestDemoPlan makes sure that the demo runs what it submits.
func TestDemoPlan(t *testing.T) {
	t.Parallel()
	dir, err := writeDemoOperations(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	all, err := catalog.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	engines := map[errand.Engine]bool{}
	for _, x := range demoPlan() {
		e, ok := all.Entry(x.engine, x.operation)
		if !ok || e.Program == nil && e.Simulation == nil {
			t.Errorf("%s %s is not run here", x.engine, x.operation)
			continue
		}
		if err := all.Check(e.Operation, json.RawMessage(x.params)); err != nil {
			t.Error(err)
		}
		engines[x.engine] = true
	}
	if len(engines) != len(errand.Engines()) {
		t.Errorf("tasks are submitted on %v only", engines)
	}
}

// TestDemoReferences holds the copies of the reference pages' examples to the
// ones that the reader of records is tested with.
func TestDemoReferences(t *testing.T) {
	t.Parallel()
	for demo, reference := range map[string]string{
		"reference-kafka-list.json": "kafka_list.json", "reference-kafka-show.json": "kafka_show.json",
		"reference-rocketmq-list.json": "rocketmq_list.json", "reference-rocketmq-show.json": "rocketmq_show.json",
		"reference-redis-list.json": "dcs_list.json",
	} {
		b, err := os.ReadFile(filepath.Join("..", "records", "testdata", "reference", reference))
		if err != nil {
			t.Fatal(err)
		}
		var want demoDoc
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if got := readDemoDoc(t, demo); len(want.Tasks) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s differs from the reference page: %v", demo, got)
		}
	}
}

func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp) // so that what is left behind shows
	b := start(t, nil, "demo", "--listen=127.0.0.1:0")
	text := b.stdout.waitFor(t, "ready")
	if left, _ := filepath.Glob(filepath.Join(tmp, "errand-demo-*")); len(left) != 1 {
		t.Errorf("the demo works in %v", left)
	}
	for _, want := range []string{`(?m)^  access key   [A-Z0-9]{20}$`, `(?m)^  secret key   \S{40}$`, `(?m)^  project id   [0-9a-f]{32}  \(cn-north-4\)$`} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no line %s in:\n%s", want, text)
		}
	}
	for _, i := range demoInstances("p") {
		if !strings.Contains(text, i.ID) {
			t.Errorf("the id of the %s instance is not printed", i.Engine)
		}
	}

	t.Run("curl", func(t *testing.T) {
		for _, tool := range []string{"bash", "curl", "sed", "tr"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skip(err)
			}
		}
		_, lines, _ := strings.Cut(text, "curl, with a token:\n\n")
		lines, _, _ = strings.Cut(lines, "\n\n")
		if n := strings.Count(lines, "\n"); n != 1 {
			t.Fatalf("%d lines to paste: %s", n+1, lines)
		}
		out, err := exec.CommandContext(t.Context(), "bash", "-c", lines).Output()
		var list demoDoc
		if err != nil || json.Unmarshal(out, &list) != nil || len(list.Tasks) != 3 {
			t.Errorf("pasted into bash: %v\n%s", err, out)
		}
	})

	t.Run("running", func(t *testing.T) {
		line := regexp.MustCompile(`(?m)^export (.*)$`).FindStringSubmatch(text)
		if line == nil {
			t.Fatalf("no line with the environment in:\n%s", text)
		}
		env := map[string]string{}
		for _, pair := range strings.Fields(line[1]) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		until(t, env, "list --engine redis --limit 1", `EXTEND +running +\d+ %`)
		kafka := demoInstances("p")[0].ID
		runSteps(t, env, []step{
			{args: "submit reportTopics --instance " + kafka + " --param prefix=orders --param topics=2", out: `status +pending`},
			{args: "operation list --engine rocketmq", out: `bindInstancePublicIp +simulate`},
		})
	})

	if code := b.stop(); code != exitOK {
		t.Errorf("stop: exit code %d: %s", code, b.stderr)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("the demo leaves %v behind", left)
	}
}

func TestDemoFallsBack(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	dir := t.TempDir()
	_, env := serve(t, dir) // holds a port
	addr := strings.TrimPrefix(env["ERRAND_SERVER"], "http://")
	if r := errandEnv(t, nil, "", "demo", "--listen="+addr); r.code != exitFailure || !strings.Contains(r.stderr, addr) {
		t.Errorf("an address that was asked for and is taken: %+v", r)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("a demo that cannot start leaves %v behind", left)
	}
}
