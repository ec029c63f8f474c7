package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const testInstance = "5560df16-cebf-4473-95c4-d1b573c16e79"

// step is one command line and what must come of it.
type step struct {
	args  string // split at spaces
	stdin string
	code  int
	out   string // pattern in stdout, or in stderr of a command that fails
}

func runSteps(t *testing.T, env map[string]string, steps []step) {
	t.Helper()
	for _, s := range steps {
		r := errandEnv(t, env, s.stdin, strings.Fields(os.Expand(s.args, func(k string) string { return env[k] }))...)
		text, other := r.stdout, r.stderr
		if s.code != exitOK {
			text, other = r.stderr, r.stdout
		}
		if r.code != s.code || !regexp.MustCompile(s.out).MatchString(text) || s.code != exitOK && other != "" {
			t.Fatalf("errand %s: exit code %d, want %d; this should match %s:\n%s\nand this is beside it:\n%s", s.args, r.code, s.code, s.out, text, other)
		}
	}
}

func TestClientCommands(t *testing.T) {
	t.Parallel()
	_, env := serve(t, t.TempDir())
	id := testInstance
	runSteps(t, env, []step{
		{args: "instance list", out: `^ID +NAME +ENGINE +REGISTERED +ATTRIBUTES\n$`},
		{args: "instance list -o json", out: `^\[\]\n$`},
		{args: "instance add --id " + id + " --name r1 --engine redis --attr version=6.0 --attr zone=a", out: id + ` +r1 +redis +\S+Z +version=6.0 zone=a\n`},
		{args: "instance add --id " + id + " --name r1 --engine redis", code: exitRefused, out: id},
		{args: "instance add --id X --name r1 --engine redis", code: exitUsage, out: `"X" is not a UUID`},
		{args: "instance add --id " + id + " --name r1 --engine mysql", code: exitUsage, out: `"mysql" is not one of`},
		{args: "instance add --name r1 --engine redis", code: exitUsage, out: `"id" not set`},
		{args: "instance add --id " + id + " --name r1 --engine redis --attr x", code: exitUsage, out: `NAME=VALUE`},
		{args: "instance show " + id + " -o json", out: `"engine": "redis"`},
		{args: "instance show 5560df16-cebf-4473-95c4-000000000000", code: exitNotFound, out: `does not exist`},
		{args: "instance", code: exitUsage, out: `needs one of: add, forget, list, show`},
		{args: "instance list --project cn-north-4", out: id},
		{args: "instance list --project nowhere", code: exitNotFound, out: `"nowhere"`},
		{args: "instance list --project 00000000000000000000000000000000", code: exitRefused, out: `another project`},

		{args: "project add blue", out: `blue`},
		{args: "project add blue", code: exitRefused, out: `blue`},
		{args: "project add a/b", code: exitUsage, out: `a/b`},
		{args: "project list", out: `(?s)blue.*cn-north-4`},
		{args: "project list -o json", out: `"name": "blue"`},

		{args: "user add eve --role blue=viewer --password-stdin", stdin: "correct horse\n", out: `eve +\S+ +enabled +\S+=viewer`},
		{args: "user add eve", code: exitRefused, out: `eve`},
		{args: "user add bob --role blue=king", code: exitUsage, out: `"king"`},
		{args: "user add bob --role blue", code: exitUsage, out: `NAME=VALUE`},
		{args: "user add bob --password-stdin", stdin: "", code: exitUsage, out: `one line`},
		{args: "user add bob --password-stdin", stdin: "short\n", code: exitUsage, out: `8 to 1024`},
		{args: "user set eve --role cn-north-4=operator --disable", out: `eve +\S+ +disabled +\S+=(operator|viewer) \S+=(operator|viewer)`},
		{args: "user set eve --enable", out: `enabled`},
		{args: "user set eve --enable --disable", code: exitUsage, out: `disable enable`},
		{args: "user set eve", code: exitUsage, out: `nothing to change`},
		{args: "user set nobody --enable", code: exitNotFound, out: `nobody`},
		{args: "user set admin --disable", code: exitRefused, out: `last admin`},
		{args: "user list", out: `(?s)admin .*eve`},

		{args: "key add --user eve --project blue --note laptop", out: `(?m)^HUAWEICLOUD_SDK_SK=\S{40}$`},
		{args: "key add --user eve --project blue --temporary 1h", out: `(?m)^HUAWEICLOUD_SDK_SECURITY_TOKEN=\S+$`},
		{args: "key add --user eve --project blue --temporary 1s", code: exitUsage, out: `1m0s`},
		{args: "key add --user nobody", code: exitNotFound, out: `nobody`},
		{args: "key list --user eve", out: `laptop`},
		{args: "key list --user nobody", code: exitNotFound, out: `nobody`},
		{args: "key revoke AAAAAAAAAAAAAAAAAAAA", code: exitNotFound, out: `AAAAAAAAAAAAAAAAAAAA`},

		{args: "instance forget " + id, out: `forgot instance ` + id},
		{args: "instance forget " + id, code: exitNotFound, out: id},
	})
}

func TestCredentialsOfClients(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, env := serve(t, dir)
	alone := map[string]string{"ERRAND_SERVER": env["ERRAND_SERVER"], "ERRAND_DB": "sqlite:" + filepath.Join(t.TempDir(), "x.db")}
	runSteps(t, alone, []step{
		{args: "instance list", code: exitUsage, out: `HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK .*credentials has one.*--credentials`},
		{args: "instance list --credentials " + filepath.Join(dir, "credentials") + " --server " + env["ERRAND_SERVER"], out: `^ID`},
		{args: "instance list --server http://127.0.0.1:1/path --credentials " + filepath.Join(dir, "credentials"), code: exitUsage, out: `without a path`},
	})

	wrong := maps.Clone(env)
	wrong["HUAWEICLOUD_SDK_SK"] = "not it"
	runSteps(t, wrong, []step{{args: "instance list", code: exitRefused, out: `verify aksk signature fail.*is from environment HUAWEICLOUD_SDK_AK`}})

	// A key of a viewer, as `key add` prints it.
	runSteps(t, env, []step{
		{args: "user add eve --role cn-north-4=viewer", out: `eve`},
		{args: "instance add --id " + testInstance + " --name r1 --engine redis", out: `r1`},
	})
	r := errandEnv(t, env, "", "key", "add", "--user=eve", "--temporary=1h")
	file := filepath.Join(dir, "eve")
	if err := os.WriteFile(file, []byte(r.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	access := readEnv(t, filepath.Join(dir, "credentials"))["HUAWEICLOUD_SDK_AK"]
	runSteps(t, map[string]string{"ERRAND_CREDENTIALS": file}, []step{
		{args: "instance list", out: `r1`},
		{args: "instance forget " + testInstance, code: exitRefused, out: `viewer`},
		{args: "user list", code: exitRefused, out: `admin`},
		{args: "backup " + filepath.Join(dir, "b.db"), code: exitRefused, out: `admin`},
		{args: "key revoke " + access, code: exitRefused, out: `admin`},
	})
	if left, _ := filepath.Glob(filepath.Join(dir, "b.db*")); left != nil {
		t.Errorf("a backup that was refused leaves %v", left)
	}

	b.stop()
	runSteps(t, env, []step{{args: "instance list", code: exitUnreachable,
		out: regexp.QuoteMeta(env["ERRAND_SERVER"]) + ` cannot be reached.*connection refused.*environment ERRAND_SERVER.*--server`}})
}

func TestImportCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, env := serve(t, dir)
	record := func(id, more string) string {
		return `{"id":"` + strings.Repeat(id, 32) + `","name":"EXTEND","status":"SUCCESS","created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:01.000Z"` + more + `}`
	}
	doc := func(records ...string) string {
		return `{"task_count":"1","tasks":[` + strings.Join(records, ",") + `]}`
	}
	for name, text := range map[string]string{
		"a.json":       doc(record("a", ""), record("b", "")),
		"two.json":     doc(record("c", "")) + "\n" + doc(record("d", "")),
		"changed.json": doc(record("e", ""), record("a", `,"user_name":"x"`)),
		"bad.json":     doc() + " " + doc(record("e", ""), record("f", `,"params":1`)),
		"word.json":    doc(record("e", `,"job_id":1`)),
		"broken.json":  doc(record("e", ""))[:60],
		"nojson.json":  "tasks: []",
		"empty.json":   " \n",
		"error.json":   `{"error_code":"DMS.00404022","error_msg":"This DMS instance does not exist."}`,
		"short.json":   `{"task_count":"9","tasks":[` + record("a", "") + `]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env["D"] = dir
	const to = "import --instance " + testInstance + " "
	runSteps(t, env, []step{
		{args: to + "$D/a.json", code: exitNotFound, out: `instance`},
		{args: "instance add --id " + testInstance + " --name r1 --engine redis", out: `r1`},
		{args: to + "$D/a.json $D/two.json", out: `^4 records: 4 added, 0 updated, 0 unchanged\n$`},
		{args: to + "$D/a.json -", stdin: doc(record("1", "")), out: `^3 records: 1 added, 0 updated, 2 unchanged\n$`},
		{args: to + "-o json $D/a.json", out: `"unchanged": 2`},

		// What is wrong, by file.
		{args: to + "$D/two.json $D/bad.json", code: exitUsage, out: `bad\.json: document 2, record 2 \(byte \d+\): .*params`},
		{args: to + "$D/two.json $D/changed.json", code: exitRefused, out: `changed\.json: document 1, record 2: id a{32}`},
		{args: to + "- $D/word.json", stdin: doc(), code: exitUsage, out: `word\.json: document 1, record 1 .*job_id`},
		{args: to + "$D/a.json $D/broken.json $D/two.json", code: exitUsage, out: `broken\.json ends in the middle`},
		{args: to + "$D/nojson.json", code: exitUsage, out: `nojson\.json is not JSON`},
		{args: to + "$D/empty.json", code: exitUsage, out: `empty\.json is empty`},
		{args: to + "$D/error.json", code: exitUsage, out: `error\.json: document 1.*error answer`},
		{args: to + "$D/missing.json", code: exitUsage, out: `missing\.json`},
		{args: "import --instance " + testInstance, code: exitUsage, out: `requires at least 1 arg`},
		{args: "import $D/a.json", code: exitUsage, out: `"instance" not set`},

		// Nothing of those was stored.
		{args: to + "$D/a.json $D/two.json", out: `^4 records: 0 added, 0 updated, 4 unchanged\n$`},
	})
	r := errandEnv(t, env, "", "import", "--instance="+testInstance, filepath.Join(dir, "short.json"))
	if r.code != exitOK || !strings.Contains(r.stderr, "announces 9 records and holds 1") {
		t.Errorf("an import with pages missing: %+v", r)
	}
	// The place in bytes is counted from the start of the file.
	bad, err := os.ReadFile(filepath.Join(dir, "bad.json"))
	if err != nil {
		t.Fatal(err)
	}
	r = errandEnv(t, env, "", "import", "--instance="+testInstance, filepath.Join(dir, "two.json"), filepath.Join(dir, "bad.json"))
	m := regexp.MustCompile(`\(byte (\d+)\)`).FindStringSubmatch(r.stderr)
	if m == nil {
		t.Fatalf("no place in %s", r.stderr)
	}
	var at int
	if err := json.Unmarshal([]byte(m[1]), &at); err != nil || at < 0 || at > len(bad) || !strings.HasPrefix(string(bad[at:]), "1}") {
		t.Errorf("byte %s of %s is not the value that is wrong", m[1], bad)
	}
}

func TestBackupCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, env := serve(t, dir)
	env["D"] = dir
	runSteps(t, env, []step{
		{args: "instance add --id " + testInstance + " --name before --engine redis", out: `before`},
		{args: "backup $D/copy.db", out: `wrote \S+copy\.db, \d+ bytes`},
		{args: "backup $D/copy.db", code: exitUsage, out: `exists already`},
		{args: "backup /nonexistent/copy.db", code: exitFailure, out: `/nonexistent`},
		{args: "instance forget " + testInstance, out: `forgot`},
	})
	if m := mode(t, filepath.Join(dir, "copy.db")); m != 0o600 {
		t.Errorf("the copy has mode %o", m)
	}
	b.stop()
	// The copy is a database as of its moment.
	for _, name := range []string{"errand.db", "errand.db-wal", "errand.db-shm"} {
		_ = os.Remove(filepath.Join(dir, name))
	}
	if err := os.Rename(filepath.Join(dir, "copy.db"), filepath.Join(dir, "errand.db")); err != nil {
		t.Fatal(err)
	}
	_, env = serve(t, dir)
	runSteps(t, env, []step{{args: "instance list", out: `before`}})
}

func TestCell(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "-", "plain": "plain", "中文": "中文", "a\tb": `"a\tb"`, "\x1b[31mred": `"\x1b[31mred"`, "two\nlines": `"two\nlines"`,
	} {
		if got := cell(in); got != want {
			t.Errorf("cell(%q) = %q, want %q", in, got, want)
		}
	}
}
