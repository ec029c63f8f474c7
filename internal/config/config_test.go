package config

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// load parses args as flags of every setting that has one.
func load(t *testing.T, file string, env map[string]string, args ...string) (*Config, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "errand.toml")
	if file != "" {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	var names []string
	for _, s := range settings() {
		if s.from == "" {
			names = append(names, s.name)
		}
	}
	AddFlags(fs, names...)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, err := Load(fs, func(name string) string { return env[name] })
	return c, path, err
}

// value returns what Settings shows of the named setting.
func value(t *testing.T, c *Config, name string) Setting {
	t.Helper()
	for _, s := range c.Settings() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no setting %q", name)
	return Setting{}
}

// examples holds for each setting of file, environment and flag one value per
// source, as it is written in the file, and as it is shown.
var examples = map[string][3][2]string{
	"db":                     {{`"sqlite:f.db"`, "sqlite:f.db"}, {"", "sqlite:e.db"}, {"", "sqlite:a.db"}},
	"db-conns":               {{`5`, "5"}, {"", "6"}, {"", "7"}},
	"node":                   {{`"f"`, "f"}, {"", "e"}, {"", "a"}},
	"listen":                 {{`["[::1]:1", "127.0.0.1:2=dcs"]`, "[::1]:1,127.0.0.1:2=dcs"}, {"", "127.0.0.1:3,127.0.0.1:4=dms"}, {"", "127.0.0.1:5"}},
	"host":                   {{`["f.example=dcs"]`, "f.example=dcs"}, {"", "e.example:80=dms,x.example=dcs"}, {"", "a.example=dms"}},
	"default-dialect":        {{`"dcs"`, "dcs"}, {"", "dms"}, {"", "dcs"}},
	"region":                 {{`"f-1"`, "f-1"}, {"", "e-1"}, {"", "a-1"}},
	"key-file":               {{`"f.key"`, "f.key"}, {"", "e.key"}, {"", "a.key"}},
	"credentials":            {{`"f.cred"`, "f.cred"}, {"", "e.cred"}, {"", "a.cred"}},
	"tls-cert":               {{`"f.pem"`, "f.pem"}, {"", "e.pem"}, {"", "a.pem"}},
	"tls-key":                {{`"f.key"`, "f.key"}, {"", "e.key"}, {"", "a.key"}},
	"dms-numeric-step-times": {{`true`, "true"}, {"", "false"}, {"", "true"}},
	"dcs-legacy-codes":       {{`true`, "true"}, {"", "false"}, {"", "true"}},
	"operations":             {{`"f.d"`, "f.d"}, {"", "e.d"}, {"", "a.d"}},
	"lease":                  {{`"5s"`, "5s"}, {"", "6s"}, {"", "1m30s"}},
	"cancel-grace":           {{`"5s"`, "5s"}, {"", "6s"}, {"", "1m30s"}},
	"runners":                {{`0`, "0"}, {"", "1"}, {"", "2"}},
	"work-dir":               {{`"f"`, "f"}, {"", "e"}, {"", "a"}},
	"keep-tasks":             {{`"90d"`, "90d"}, {"", "1d12h0m0s"}, {"", "1h0m0s"}},
	"keep-count":             {{`1000`, "1000"}, {"", "1"}, {"", "0"}},
	"keep-logs":              {{`"30d"`, "30d"}, {"", "2h0m0s"}, {"", "7d"}},
	"drain-timeout":          {{`"5s"`, "5s"}, {"", "0s"}, {"", "1m30s"}},
	"stop-timeout":           {{`"5s"`, "5s"}, {"", "6s"}, {"", "1m30s"}},
	"log-format":             {{`"json"`, "json"}, {"", "text"}, {"", "json"}},
	"log-level":              {{`"debug"`, "debug"}, {"", "warn"}, {"", "error"}},
	"profile":                {{`"f"`, "f"}, {"", "e"}, {"", "a"}},
	"server":                 {{`"http://f:1"`, "http://f:1"}, {"", "http://e:1"}, {"", "https://a:1"}},
	"ca-file":                {{`"f.pem"`, "f.pem"}, {"", "e.pem"}, {"", "a.pem"}},
	"project":                {{`"f"`, "f"}, {"", "e"}, {"", "a"}},
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	for _, s := range settings() {
		if s.from != "" {
			continue
		}
		x, ok := examples[s.name]
		if !ok {
			t.Errorf("setting %s has no row in this test", s.name)
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			file := s.key() + " = " + x[0][0] + "\n"
			env := map[string]string{s.env: x[1][1]}
			flag := "--" + s.name + "=" + x[2][1]
			var other []string // tls-cert and tls-key go together
			switch s.name {
			case "tls-cert":
				other = []string{"--tls-key=x"}
			case "tls-key":
				other = []string{"--tls-cert=x"}
			}
			check := func(step, file string, env map[string]string, args []string, want, source string) {
				c, path, err := load(t, file, env, append(args, other...)...)
				if err != nil {
					t.Fatalf("%s: %v", step, err)
				}
				if got := value(t, c, s.name); got.Value != want || got.Source != strings.ReplaceAll(source, "PATH", path) {
					t.Errorf("%s: %+v, want value %q from %q", step, got, want, source)
				}
			}
			check("file", file, nil, nil, x[0][1], "file PATH")
			check("environment over file", file, env, nil, x[1][1], "environment "+s.env)
			check("flag over both", file, env, []string{flag}, x[2][1], "flag --"+s.name)
			check("flag over default", "", nil, []string{flag}, x[2][1], "flag --"+s.name)
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		if s.Source != "default" {
			t.Errorf("%s comes from %q with nothing set", s.Name, s.Source)
		}
	}
	c, _, err = load(t, "region = \"x\"\n", nil, "--db=sqlite:/var/lib/errand/e.db")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"key-file": "/var/lib/errand/errand.key", "credentials": "/var/lib/errand/credentials", "work-dir": "/var/lib/errand/work", "listen": "127.0.0.1:8080",
	} {
		if got := value(t, c, name); got.Value != want || got.Source != "default" {
			t.Errorf("%s is %+v, want the default %q", name, got, want)
		}
	}
}

func TestRepeatedFlags(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, "", nil, "--listen=127.0.0.1:1", "--listen", "127.0.0.1:2=dcs", "--dcs-legacy-codes")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listen) != 2 || c.Listen[1] != (Listen{"127.0.0.1:2", "dcs"}) {
		t.Errorf("listen is %v", c.Listen)
	}
	if !c.LegacyDCSCodes {
		t.Error("a flag without a value does not switch on")
	}
}

func TestBadValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       []string // in the message
	}{
		{name: "unknown key", file: "region = \"a\"\n\nregoin = \"b\"\n", want: []string{"errand.toml:3:", `"regoin"`}},
		{name: "unknown table", file: "[server]\nport = 1\n", want: []string{"errand.toml:1:"}},
		{name: "secret in the file", file: "master_key = \"x\"\n", want: []string{"errand.toml:1:", "master_key"}},
		{name: "syntax", file: "region = \n", want: []string{"errand.toml:1:"}},
		{name: "wrong type", file: "\nregion = 4\n", want: []string{"errand.toml:2:"}},
		{name: "value in the file", file: "\n\nlisten = [\"nowhere\"]\n", want: []string{"errand.toml:3:", "HOST:PORT"}},
		{name: "db", args: []string{"--db=mysql:x"}, want: []string{"db", `"mysql"`, "sqlite:PATH", "postgres://"}},
		{name: "db in keys and values", args: []string{"--db=host=x password=hidden"}, want: []string{"libpq", "postgres://"}},
		{name: "db without a host", args: []string{"--db=postgres://"}, want: []string{"postgres://errand@"}},
		{name: "db connections", args: []string{"--db-conns=-1"}, want: []string{"db-conns", "0 to 1000"}},
		{name: "node", args: []string{"--node=a\nb"}, want: []string{"node", "64"}},
		{name: "db without a path", args: []string{"--db=sqlite:"}, want: []string{"sqlite:PATH"}},
		{name: "listen", args: []string{"--listen=8080"}, want: []string{"flag --listen", `"8080"`, "127.0.0.1:8080"}},
		{name: "listen port", args: []string{"--listen=:99999"}, want: []string{"HOST:PORT"}},
		{name: "listen dialect", env: map[string]string{"ERRAND_LISTEN": ":1=iam"}, want: []string{"environment ERRAND_LISTEN", `"iam"`, "dms, dcs"}},
		{name: "no listener", env: map[string]string{"ERRAND_LISTEN": " , "}, want: []string{"127.0.0.1:8080"}},
		{name: "host", args: []string{"--host=example.com"}, want: []string{"HOST=DIALECT"}},
		{name: "host with a scheme", args: []string{"--host=http://example.com=dcs"}, want: []string{"HOST=DIALECT"}},
		{name: "lease", args: []string{"--lease=10ms"}, want: []string{"lease", `"10ms"`, "1s to 1h"}},
		{name: "long lease", args: []string{"--lease=2h"}, want: []string{"1s to 1h"}},
		{name: "cancel grace", args: []string{"--cancel-grace=0s"}, want: []string{"cancel-grace", "more than 0"}},
		{name: "runners", args: []string{"--runners=-1"}, want: []string{"runners", "0 to 1000"}},
		{name: "many runners", env: map[string]string{"ERRAND_RUNNERS": "1001"}, want: []string{"0 to 1000"}},
		{name: "runners in words", args: []string{"--runners=four"}, want: []string{"flag --runners", `"four"`, "whole number"}},
		{name: "drain timeout", args: []string{"--drain-timeout=-1s"}, want: []string{"drain-timeout"}},
		{name: "age", args: []string{"--keep-tasks=90"}, want: []string{"flag --keep-tasks", `"90"`, "90d"}},
		{name: "age of words", args: []string{"--keep-tasks=ad"}, want: []string{`"ad"`, "90d"}},
		{name: "age below zero", args: []string{"--keep-logs=-1d"}, want: []string{"flag --keep-logs", "90d"}},
		{name: "age in months", args: []string{"--keep-tasks=3m"}, want: []string{"keep-tasks", "3m", "at least 1h"}},
		{name: "age of logs in months", args: []string{"--keep-logs=3m"}, want: []string{"keep-logs", "3m", "at least 1h"}},
		{name: "keep less than none", args: []string{"--keep-count=-1"}, want: []string{"keep-count", "0 for any number"}},
		{name: "retention of a name", file: "[retention.orders]\nkeep_count = 1\n", want: []string{"retention", `"orders"`, "32 lower-case hex digits"}},
		{name: "retention of something else", file: "[retention.0123456789abcdef0123456789abcdef]\nkeep_tsaks = 1\n", want: []string{"errand.toml:2:", "keep_tsaks"}},
		{name: "retention of one project", file: "[retention.0123456789abcdef0123456789abcdef]\nkeep_count = -1\n", want: []string{"retention.0123456789abcdef0123456789abcdef.keep-count"}},
		{name: "dialect", args: []string{"--default-dialect=x"}, want: []string{"dms, dcs"}},
		{name: "log format", args: []string{"--log-format=xml"}, want: []string{"text or json"}},
		{name: "log level", env: map[string]string{"ERRAND_LOG_LEVEL": "loud"}, want: []string{"ERRAND_LOG_LEVEL", "debug, info, warn or error"}},
		{name: "duration", args: []string{"--stop-timeout=20"}, want: []string{"such as 20s"}},
		{name: "negative duration", args: []string{"--stop-timeout=-1s"}, want: []string{"more than 0"}},
		{name: "half of TLS", args: []string{"--tls-cert=x"}, want: []string{"together"}},
		{name: "bool", args: []string{"--dcs-legacy-codes=perhaps"}, want: []string{"true nor false"}},
		{name: "server", args: []string{"--server=localhost"}, want: []string{"http://"}},
		{name: "no such file", args: []string{"--config=/nonexistent/errand.toml"}, want: []string{"/nonexistent/errand.toml"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := load(t, tt.file, tt.env, tt.args...)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("error %q shows a password", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	c, _, err := load(t, "", map[string]string{
		"ERRAND_MASTER_KEY": key, "HUAWEICLOUD_SDK_AK": "AKVALUE", "HUAWEICLOUD_SDK_SK": "sk-value",
		"HUAWEICLOUD_SDK_SECURITY_TOKEN": "token-value", "ERRAND_SERVER": "https://me:pw-value@example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		for _, secret := range []string{key, "sk-value", "token-value", "pw-value"} {
			if strings.Contains(s.Value, secret) {
				t.Errorf("%s shows a secret: %q", s.Name, s.Value)
			}
		}
	}
	for _, name := range []string{"master-key", "secret-key", "security-token"} {
		if got := value(t, c, name); got.Value != "(redacted)" || !strings.HasPrefix(got.Source, "environment ") {
			t.Errorf("%s is shown as %+v", name, got)
		}
	}
	if got := value(t, c, "access-key").Value; got != "AKVALUE" {
		t.Errorf("the access key, which is no secret, is shown as %q", got)
	}
}

func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "credentials")
	text := "# a comment\nERRAND_SERVER=http://file:1\nexport HUAWEICLOUD_SDK_AK=FILEAK\nHUAWEICLOUD_SDK_SK='filesk'\nHUAWEICLOUD_SDK_PROJECT_ID=filep\nERRAND_USER=admin\nERRAND_PASSWORD=x\nERRAND_MASTER_KEY=evil\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HUAWEICLOUD_SDK_AK": "ENVAK", "HUAWEICLOUD_SDK_SK": "envsk", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "envtoken"}
	with := func(extra map[string]string) map[string]string {
		m := map[string]string{"ERRAND_CREDENTIALS": file}
		for k, v := range extra {
			m[k] = v
		}
		return m
	}
	for _, tt := range []struct {
		name                                string
		env                                 map[string]string
		args                                []string
		server, access, secret, token, proj string
	}{
		{name: "file alone", env: with(nil), server: "http://file:1", access: "FILEAK", secret: "filesk", proj: "filep"},
		{name: "environment over a file named there", env: with(env), server: "http://file:1", access: "ENVAK", secret: "envsk", token: "envtoken", proj: "filep"},
		{name: "half a key in the environment", env: with(map[string]string{"HUAWEICLOUD_SDK_AK": "ENVAK"}), server: "http://file:1", access: "ENVAK", secret: "", proj: "filep"},
		{name: "file named by a flag over environment", env: env, args: []string{"--credentials=" + file}, server: "http://file:1", access: "FILEAK", secret: "filesk", proj: "filep"},
		{name: "flags over all", env: env, args: []string{"--credentials=" + file, "--server=http://flag:1", "--project=flagp"}, server: "http://flag:1", access: "FILEAK", secret: "filesk", proj: "flagp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _, err := load(t, "", tt.env, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.ReadCredentials(); err != nil {
				t.Fatal(err)
			}
			got := [5]string{c.Server, c.AccessKey, c.SecretKey, c.SecurityToken, c.Project}
			if want := [5]string{tt.server, tt.access, tt.secret, tt.token, tt.proj}; got != want {
				t.Errorf("server, access, secret, token, project = %q, want %q", got, want)
			}
			if c.MasterKey != "" {
				t.Error("a credentials file sets the master key")
			}
		})
	}

	c, _, err := load(t, "", nil, "--credentials=/nonexistent/credentials")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ReadCredentials(); err == nil || !strings.Contains(err.Error(), "/nonexistent/credentials") {
		t.Errorf("a named file that is missing gives %v", err)
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	c, _, err := load(t, "", map[string]string{"ERRAND_DB": "postgres://errand:pw-value@a:5432,b:5433/errand?target_session_attrs=read-write"}, "--listen=0.0.0.0:8081")
	if err != nil {
		t.Fatal(err)
	}
	if !c.Postgres() || c.SQLitePath() != "" {
		t.Errorf("%+v is not taken for PostgreSQL", c)
	}
	for name, want := range map[string]string{
		"key-file": "errand.key", "credentials": "credentials", "work-dir": "work-8081",
		"db": "postgres://errand:xxxxx@a:5432,b:5433/errand?target_session_attrs=read-write",
	} {
		if got := value(t, c, name); got.Value != want {
			t.Errorf("%s is %+v, want %q", name, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"sqlite:errand.db":                              "sqlite:errand.db",
		"postgres://host/db":                            "postgres://host/db",
		"postgres://me@host/db":                         "postgres://me@host/db",
		"postgres://me:secret@host/db":                  "postgres://me:xxxxx@host/db",
		"postgresql://me:secret@a:1,b:2/db?sslmode=off": "postgresql://me:xxxxx@a:1,b:2/db?sslmode=off",
		"postgres://me:sec@ret@host/db":                 "postgres://me:xxxxx@host/db",
		"postgres://me:sec/ret@host/db":                 "postgres://me:xxxxx@host/db",
		"postgres://me:sec?ret@host/db":                 "postgres://xxxxx",
		"postgres://me:p@sec?ret@host/db":               "postgres://xxxxx",
		"postgres://me:p#w@host/db?sslpassword=secret":  "postgres://xxxxx",
		"postgres://host/db?password=p@secret":          "postgres://xxxxx",
		"postgres://host/db?user=a@b&password=secret":   "postgres://xxxxx",
		"postgres://host/db?user=me&password=secret":    "postgres://host/db?user=me&password=xxxxx",
		"postgres://host/db?sslpassword=secret&x=1":     "postgres://host/db?sslpassword=xxxxx&x=1",
		"postgres://host/db?pass%77ord=secret":          "postgres://host/db?pass%77ord=xxxxx",
		"postgres://:secret@/db":                        "postgres://:xxxxx@/db",
		"https://me:secret@example.com":                 "https://me:xxxxx@example.com",
		"postgres://me:100%secret@host/db":              "postgres://me:xxxxx@host/db",
	} {
		got := Redact(in)
		if got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
		if strings.Contains(got, "secret") || strings.Contains(got, "ret@") {
			t.Errorf("Redact(%q) = %q shows a password", in, got)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	const one, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	c, path, err := load(t, "keep_tasks = \"90d\"\nkeep_logs = \"30d\"\n\n[retention."+one+"]\nkeep_tasks = \"0\"\nkeep_count = 500\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	for project, want := range map[string]string{one: "0s 500 720h0m0s", other: "2160h0m0s 0 720h0m0s"} {
		tasks, count, logs := c.For(project)
		if got := fmt.Sprint(tasks, count, logs); got != want {
			t.Errorf("of project %s is kept %s, want %s", project, got, want)
		}
	}
	for name, want := range map[string]string{"retention." + one + ".keep-tasks": "0", "retention." + one + ".keep-count": "500"} {
		if got := value(t, c, name); got.Value != want || got.Source != "file "+path {
			t.Errorf("%s is %+v, want %s", name, got, want)
		}
	}
}
