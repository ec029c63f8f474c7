package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const twoProfiles = `current = "lab"

[profiles.lab]
server = "http://lab:1"
project = "p-lab"
access_key = "ak-lab"
secret_key = "sk-lab"

[profiles.live]
server = "http://live:1"
access_key = "ak-live"
secret_key = "sk-live"
security_token = "st-live"
ca_file = "/ca.pem"
`

// TestProfiles checks what goes over what.
func TestProfiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "errand", "config.toml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	put(file, twoProfiles, 0o600)
	credentials := filepath.Join(dir, "credentials")
	put(credentials, "ERRAND_SERVER=http://cred:1\nHUAWEICLOUD_SDK_AK=ak-cred\nHUAWEICLOUD_SDK_SK=sk-cred\n", 0o600)
	env := func(more ...string) map[string]string {
		m := map[string]string{"XDG_CONFIG_HOME": dir, "ERRAND_DB": "sqlite:" + filepath.Join(dir, "errand.db")}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for _, tt := range []struct {
		what string
		env  map[string]string
		args []string
		want string // server, access key, project; or an error
	}{
		{"the current one", env(), nil, "http://lab:1 ak-lab p-lab"},
		{"of the environment", env("ERRAND_PROFILE", "live"), nil, "http://live:1 ak-live "},
		{"of a flag", env("ERRAND_PROFILE", "lab"), []string{"--profile=live"}, "http://live:1 ak-live "},
		{"environment over it", env("HUAWEICLOUD_SDK_AK", "ak", "HUAWEICLOUD_SDK_SK", "sk"), nil, "http://lab:1 ak "},
		{"flag over the environment", env("HUAWEICLOUD_SDK_AK", "ak", "HUAWEICLOUD_SDK_SK", "sk", "ERRAND_SERVER", "http://env:1", "HUAWEICLOUD_SDK_PROJECT_ID", "p"), []string{"--profile=live"}, "http://live:1 ak-live "},
		{"flags over all", env(), []string{"--profile=live", "--server=http://flag:1", "--project=p"}, "http://flag:1 ak-live p"},
		{"named credentials over the current one", env("ERRAND_CREDENTIALS", credentials), nil, "http://cred:1 ak-cred "},
		{"named credentials and profile", env("ERRAND_CREDENTIALS", credentials, "ERRAND_PROFILE", "lab"), nil, "http://cred:1 ak-cred "},
		{"both as flags", env(), []string{"--profile=live", "--credentials=" + credentials}, "not both"},
		{"none, and the credentials file", map[string]string{"ERRAND_DB": env()["ERRAND_DB"]}, nil, "http://cred:1 ak-cred "},
		{"home", map[string]string{"HOME": dir, "ERRAND_DB": env()["ERRAND_DB"]}, nil, "http://cred:1 ak-cred "},
		{"unknown", env("ERRAND_PROFILE", "lob"), nil, `no profile "lob"`},
	} {
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		AddFlags(fs, "profile", "server", "credentials", "project")
		if err := fs.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		getenv := func(k string) string { return tt.env[k] }
		c, err := Load(fs, getenv)
		if err == nil {
			err = c.ReadClient(getenv)
		}
		var got string
		if err != nil {
			got = "error: " + err.Error()
		} else {
			got = strings.Join([]string{c.Server, c.AccessKey, c.Project}, " ")
		}
		if !strings.Contains(got, tt.want) || err == nil && got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}

	put(file, twoProfiles, 0o640)
	if _, err := ReadProfiles(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
	put(file, "current = 1\n", 0o600)
	if _, err := ReadProfiles(file); err == nil || !strings.Contains(err.Error(), "config.toml:1") {
		t.Errorf("a broken file: %v", err)
	}
	put(file, "[profiles.x]\nsecret = \"s\"\n", 0o600)
	if _, err := ReadProfiles(file); err == nil || !strings.Contains(err.Error(), "config.toml:2") {
		t.Errorf("a key that is not known: %v", err)
	}
}

func TestProfilesText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &Profiles{Current: "a.b", Profiles: map[string]Profile{"a.b": {Server: "http://x", AccessKey: "A", SecretKey: "\"\n"}}}
	text, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := ReadProfiles(file)
	if err != nil || again.Profiles["a.b"] != p.Profiles["a.b"] || again.Current != "a.b" {
		t.Errorf("%v: %s", err, text)
	}
	if _, err := ReadProfiles(filepath.Join(dir, "missing", "c.toml")); err != nil {
		t.Errorf("no file is no profiles: %v", err)
	}
	if e, ok := errors.AsType[*UnknownProfile](error(&UnknownProfile{Name: "x", File: "f"})); !ok || e.Error() == "" {
		t.Error("the error about a profile says nothing")
	}
	for name, want := range map[string]bool{"a": true, "a.B-9_": true, "": false, "a b": false, "a/b": false, strings.Repeat("x", 65): false} {
		if ValidProfile(name) != want {
			t.Errorf("ValidProfile(%q) is not %t", name, want)
		}
	}
}
