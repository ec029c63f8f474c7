package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/errandhq/errand/internal/nativejson"
)

// TestExportRoundTrip exports what was imported and imports it into an instance
// of another project: it is the same there. There are more records than a page,
// and more than a page of one moment.
func TestExportRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, env := serve(t, dir)
	env["D"] = dir
	var records []string
	for i := range 3*pageSize + 7 {
		at := "2026-01-01T00:00:00.000001Z"
		if i%5 == 0 || i > 2*pageSize {
			at = fmt.Sprintf("2026-01-01T00:%02d:%02d.5Z", i/60, i%60)
		}
		more := ""
		switch i % 4 {
		case 0:
			more = `,"details":{"old_capacity":"4","free":[1,2.50,"<>&"]},"job_id":"` + fmt.Sprintf("f%031x", i) + `"`
		case 1:
			more = `,"error_code":"E1","reason":"no room\u2028 left","progress":{"progress":30,"remain_time":5,"step_details":[{"step_name":"one","step_status":"FINISH","begin_time":"2026-01-01T00:00:00.123Z","end_time":"2026-01-01T00:00:01Z","sub_step_details":[{"sub_step_name":"a","sub_step_status":"SUSPEND"}]},{"step_name":"two","step_status":"FAILED","error_code":"E2","detail":"x"}]}`
		case 2:
			more = `,"enable_show":true,"user_id":"u","user_name":"Ünï"`
		}
		status := []string{"SUCCESS", "FAILED", "DELETED", "CANCELLED", "EXECUTING", "CREATED"}[i%6]
		records = append(records, fmt.Sprintf(`{"id":"%032x","name":"op%d","params":"{\"n\":%d}","status":"%s","created_at":"%s","updated_at":"2026-02-01T00:00:00Z"%s}`, i, i%3, i, status, at, more))
	}
	write(t, filepath.Join(dir, "in.json"), `{"tasks":[`+strings.Join(records, ",")+`]}`, 0o600)
	other := "11111111-1111-1111-1111-111111111111"
	runSteps(t, env, []step{
		{args: "instance add --id " + testInstance + " --name one --engine redis", out: `one`},
		{args: "import --instance one $D/in.json", out: fmt.Sprintf(`^%d records: %[1]d added`, len(records))},
		{args: "export --instance one -f $D/out.json", out: fmt.Sprintf(`%d records`, len(records))},
		{args: "import --instance one $D/out.json", out: fmt.Sprintf(`0 added, 0 updated, %d unchanged`, len(records))},
		{args: "project add blue", out: `blue`},
		{args: "user set admin --role blue=operator", out: `admin`},
	})
	key := errandEnv(t, env, "", "key", "add", "--user=admin", "--project=blue")
	write(t, filepath.Join(dir, "blue"), key.stdout, 0o600)
	blue := map[string]string{"ERRAND_CREDENTIALS": filepath.Join(dir, "blue"), "D": dir}
	runSteps(t, blue, []step{
		{args: "instance add --id " + other + " --name two --engine redis", out: `two`},
		{args: "import --instance two $D/out.json", out: fmt.Sprintf(`^%d records: %[1]d added`, len(records))},
		{args: "export --dir $D/all", out: other},
	})
	a, b := readFile(t, filepath.Join(dir, "out.json")), readFile(t, filepath.Join(dir, "all", other+".json"))
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("the second export differs from the first: %s", d)
	}
	one, two := allTasks(t, env, "one"), allTasks(t, blue, "two")
	if d := cmp.Diff(one, two); d != "" || len(one) != len(records) {
		t.Errorf("%d of %d tasks; they differ: %s", len(one), len(records), d)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// allTasks returns the tasks of an instance without what says where they are.
func allTasks(t *testing.T, env map[string]string, instance string) []nativejson.Task {
	t.Helper()
	r := errandEnv(t, env, "", "list", "--instance", instance, "--limit=1000", "-o", "json")
	var page struct{ Tasks []nativejson.Task }
	if err := json.Unmarshal([]byte(r.stdout), &page); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	for i := range page.Tasks {
		page.Tasks[i].Project, page.Tasks[i].Instance = "", ""
	}
	return page.Tasks
}
