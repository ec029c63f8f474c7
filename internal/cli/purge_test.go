package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oldRecords is a file to import: one record for each age in days, the one of a
// hundred days not ended.
func oldRecords(t *testing.T, ages ...int) string {
	t.Helper()
	var all []string
	for n, days := range ages {
		at, status := time.Now().UTC().AddDate(0, 0, -days).Format("2006-01-02T15:04:05Z"), "SUCCESS"
		if days == 100 {
			status = "EXECUTING"
		}
		all = append(all, fmt.Sprintf(`{"id":"8abf6e1e72c12e7c0172c15b508500%02x","name":"EXTEND","status":"%s","created_at":"%s","updated_at":"%s"}`, n, status, at, at))
	}
	name := filepath.Join(t.TempDir(), "records.json")
	text := fmt.Sprintf(`{"task_count":"%d","tasks":[%s]}`, len(all), strings.Join(all, ","))
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPurge(t *testing.T) {
	t.Parallel()
	_, env := serve(t, t.TempDir(), "--keep-tasks=300d")
	env["FILE"] = oldRecords(t, 1, 50, 100, 150, 200, 250, 400)
	runSteps(t, env, []step{
		{args: "instance add --id " + testInstance + " --name r1 --engine redis", out: `r1`},
		{args: "import --instance " + testInstance + " $FILE", out: `7 added`},

		{args: "purge --older-than 90d --dry-run", out: `^would remove 4 tasks, 0 logs of 0 bytes, 4 events\n$`},
		{args: "purge --older-than 90d", code: exitUsage, out: `would remove 4 tasks.*nothing was removed.*--yes`},
		{args: "purge --older-than 90d --dry-run --yes -o json", out: `"dry_run": true,\n  "tasks": 4`},
		{args: "purge --dry-run", out: `^would remove 1 tasks`}, // as the settings say
		{args: "purge --yes", out: `^removed 1 tasks, 0 logs of 0 bytes, 1 events\n$`},
		{args: "purge --yes --keep 5", out: `^removed 1 tasks`},
		{args: "purge --yes --all-projects --older-than 90d -o json", out: `"dry_run": false,\n  "tasks": 2`},
		{args: "list", out: `(?s)850000.*850001.*850002`},
		{args: "purge --yes --logs-older-than 30d", out: `^removed 0 tasks, 0 logs`},

		{args: "purge --older-than 90", code: exitUsage, out: `--older-than: "90" is not an age.*90d`},
		{args: "purge --older-than 0d", code: exitUsage, out: `would be nearly everything`},
		{args: "purge --yes --older-than 1m", code: exitUsage, out: `--older-than 1m .* at least 1h; a month is written 30d`},
		{args: "purge --yes --logs-older-than 59m59s", code: exitUsage, out: `--logs-older-than 59m59s .* at least 1h`},
		{args: "purge --dry-run --older-than 1h", out: `^would remove 2 tasks`},
		{args: "purge --logs-older-than x", code: exitUsage, out: `--logs-older-than: "x"`},
		{args: "purge --keep -1", code: exitUsage, out: `1 or more`},
		{args: "purge --yes --keep 0", code: exitUsage, out: `1 or more`}, // and not what the settings say
		{args: "purge --yes --older-than=", code: exitUsage, out: `--older-than: "" is not an age`},
		{args: "purge --yes --logs-older-than=", code: exitUsage, out: `--logs-older-than: "" is not an age`},
		{args: "purge --yes --all-projects --project cn-north-4 --keep 1", code: exitUsage, out: `either --project or --all-projects`},
		{args: "purge --project nowhere --keep 1", code: exitNotFound, out: `nowhere`},
		{args: "purge --project ffffffffffffffffffffffffffffffff --keep 1", code: exitNotFound, out: `does not exist`},
		{args: "purge x", code: exitUsage, out: `.`},

		{args: "user add eve --role cn-north-4=operator", out: `eve`},
	})
	resp, err := http.Get(env["ERRAND_SERVER"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(metrics), "\nerrand_purged_tasks_total 4\n") || !strings.Contains(string(metrics), "\nerrand_purged_events_total 4\n") {
		t.Errorf("metrics, %v, do not count what was removed:\n%s", err, metrics)
	}
	r := errandEnv(t, env, "", "key", "add", "--user=eve", "-o", "json")
	var key struct{ Access, Secret string }
	if err := json.Unmarshal([]byte(r.stdout), &key); err != nil {
		t.Fatalf("key add: %s%s", r.stdout, r.stderr)
	}
	env["HUAWEICLOUD_SDK_AK"], env["HUAWEICLOUD_SDK_SK"] = key.Access, key.Secret
	runSteps(t, env, []step{{args: "purge --keep 1 --yes", code: exitRefused, out: `takes admin`}})
}
