package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/worker"
)

// hostile is what somebody may put wherever he may write. Each is to be shown
// escaped and cut, and never obeyed.
func hostile() []string {
	return []string{
		"\x1b[31mred\x1b[0m\x1b]0;title\a", "\u009b31mc1", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
		"\u202eesrever\u2066\u2067\u200f\u200e\u061c", "line\nbreak\r\tand \b\btab", "\ufeff\u200b\u2028\U000e0041",
		"e" + strings.Repeat("\u0301", 100), "主题 订单 👩\u200d👩\u200d👧", "-o json; rm -rf /", "null", "",
	}
}

// TestHostile plants them in everything that a client can write to, and looks at
// everything that prints it.
func TestHostile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, env := serveOperations(t, dir)
	env["D"] = dir
	words := append(hostile(), strings.Repeat("x", 10_000), strings.Repeat("主", 3_000))
	all, n := []string{}, 0
	for _, w := range words {
		short, long := upTo(w, errand.MaxNameLen), upTo(w, errand.MaxAttributeLen)
		details, err := plainJSON(map[string]string{"free": w})
		if err != nil {
			t.Fatal(err)
		}
		n++
		record, err := plainJSON(map[string]any{
			"id": fmt.Sprintf("%032x", n), "name": "op" + upTo(w, 200), "user_id": short, "user_name": short, "params": w, "details": json.RawMessage(details),
			"status": "FAILED", "error_code": short, "reason": long, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:01Z",
			"progress": map[string]any{"progress": 50, "step_details": []any{map[string]string{
				"step_name": long, "step_status": "FAILED", "error_code": short, "detail": long,
			}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(record))
	}
	write(t, filepath.Join(dir, "records.json"), `{"tasks":[`+strings.Join(all, ",")+`]}`, 0o600)
	runSteps(t, env, []step{{args: "import --instance $I $D/records.json", out: `added`}})
	plant(t, env, words)

	commands := [][]string{{"list", "--limit=100"}, {"instance", "list"}, {"worker", "list"}, {"key", "list", "--user=admin"}, {"project", "list"}, {"user", "list"}, {"operation", "list"}, {"watch"}}
	for i := range n {
		id := fmt.Sprintf("%032x", i+1)
		commands = append(commands, []string{"show", id}, []string{"why", id}, []string{"events", id})
	}
	for _, args := range commands {
		if args[0] == "watch" {
			b := start(t, env, "watch", "--all")
			b.stdout.waitForText(t, fmt.Sprintf("%032x", n))
			harmless(t, "watch", b.stdout.String(), true)
			b.stop()
			continue
		}
		for _, form := range []string{formText, formWide, formJSON, formYAML, formName} {
			if args[0] == "why" && (form == formWide || form == formName) {
				continue
			}
			r := errandEnv(t, env, "", append(args, "-o", form)...)
			if r.code != exitOK {
				t.Fatalf("%v -o %s: %+v", args, form, r)
			}
			harmless(t, fmt.Sprint(args, form), r.stdout, form == formText)
			same(t, args, form, r.stdout, words)
		}
	}
	// What is given on the command line comes back in errors.
	for _, w := range words {
		for _, args := range [][]string{{"show", w}, {"list", "--instance", w}, {w}, {"user", "set", w, "--enable"}, {"list", "--" + w}, {"list", "--from", w}, {"submit", w, "--instance", testInstance}} {
			r := errandEnv(t, env, "", args...)
			harmless(t, fmt.Sprintf("%.40q", args), r.stderr, true)
		}
	}
}

// plant puts words where instances, keys, projects, workers and their errors have texts.
func plant(t *testing.T, env map[string]string, words []string) {
	t.Helper()
	cl, err := client.New(client.Options{Server: env["ERRAND_SERVER"], Access: env["HUAWEICLOUD_SDK_AK"], Secret: env["HUAWEICLOUD_SDK_SK"]})
	if err != nil {
		t.Fatal(err)
	}
	project := env["HUAWEICLOUD_SDK_PROJECT_ID"]
	taken := map[string]int{}
	for i, w := range words {
		// What the server refuses cannot be shown; what it takes must be harmless.
		for what, err := range map[string]error{
			"attributes": second(cl.Register(t.Context(), errand.Instance{Project: project, ID: fmt.Sprintf("00000000-0000-0000-0000-%012x", i), Name: "i", Engine: errand.Kafka, Attributes: map[string]string{"k" + upTo(w, 200): upTo(w, errand.MaxAttributeLen)}})),
			"names":      second(cl.Register(t.Context(), errand.Instance{Project: project, ID: fmt.Sprintf("00000000-0000-0000-0001-%012x", i), Name: upTo(w, errand.MaxNameLen), Engine: errand.Kafka})),
			"notes":      second(cl.AddKey(t.Context(), client.NewKey{User: "admin", Note: upTo(w, 200)})),
			"projects":   second(cl.AddProject(t.Context(), upTo(w, 60), "")),
			"users":      second(cl.AddUser(t.Context(), client.NewUser{Name: upTo(w, 60)})),
			"workers":    second(cl.Claim(t.Context(), project, worker.ClaimRequest{Worker: upTo(w, 200), Operations: []string{"x" + upTo(w, 200)}})),
		} {
			if err == nil {
				taken[what]++
			}
		}
	}
	if taken["attributes"] == 0 || taken["names"] == 0 || taken["notes"] == 0 {
		t.Errorf("nearly nothing was planted: %v", taken)
	}
}

func second[T any](_ T, err error) error { return err }

// upTo cuts a text to a number of bytes, at a character.
func upTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// harmless fails if a terminal would obey any of a text.
func harmless(t *testing.T, what, text string, short bool) {
	t.Helper()
	for _, r := range text {
		if hidden(r) {
			t.Fatalf("%s prints %U: %.2000q", what, r, text)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if short && len([]rune(line)) > 4*maxLine+200 {
			t.Fatalf("%s prints a line of %d characters: %.200q", what, len(line), line)
		}
	}
}

// same checks that programs get what was planted.
func same(t *testing.T, args []string, form, text string, words []string) {
	t.Helper()
	if args[0] != "show" || form != formJSON && form != formYAML {
		return
	}
	var task struct {
		Params string `json:"params" yaml:"params"`
		Reason string `json:"reason" yaml:"reason"`
	}
	read := json.Unmarshal
	if form == formYAML {
		read = func(b []byte, v any) error { return yaml.Unmarshal(b, v) }
	}
	if err := read([]byte(text), &task); err != nil {
		t.Fatalf("%v -o %s: %v: %.500s", args, form, err, text)
	}
	var n int
	if _, err := fmt.Sscanf(args[1], "%x", &n); err != nil {
		t.Fatal(err)
	}
	if w := words[n-1]; task.Params != w || task.Reason != upTo(w, errand.MaxAttributeLen) {
		t.Errorf("%v -o %s: params %.100q, reason %.100q instead of %.100q", args, form, task.Params, task.Reason, w)
	}
}
