package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/config"
)

func mode(t *testing.T, name string) os.FileMode {
	t.Helper()
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode().Perm()
}

// body gets a page that needs no credentials.
func body(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, env := serve(t, dir, "--region=eu-1")
	for _, name := range []string{"credentials", "errand.key", "errand.db"} {
		if m := mode(t, filepath.Join(dir, name)); m != 0o600 {
			t.Errorf("%s has mode %o", name, m)
		}
	}
	text := b.stdout.String()
	for _, name := range credentialNames {
		if env[name] == "" {
			t.Errorf("the file has no %s", name)
		}
	}
	// What is not a terminal may be a log.
	if strings.Contains(text, env["HUAWEICLOUD_SDK_SK"]) || strings.Contains(text, env["ERRAND_PASSWORD"]) {
		t.Errorf("secrets are printed to what is not a terminal: %s", text)
	}
	if !strings.Contains(text, "credentials are in "+filepath.Join(dir, "credentials")+"\n") {
		t.Errorf("nothing says where the credentials are: %s", text)
	}
	if env["ERRAND_USER"] != "admin" || len(env["HUAWEICLOUD_SDK_PROJECT_ID"]) != 32 || !strings.Contains(text, "project eu-1") {
		t.Errorf("first start made %v: %s", env, text)
	}
	if status, text := body(t, env["ERRAND_SERVER"]+"/readyz"); status != 200 {
		t.Errorf("readyz: %d %s", status, text)
	}
	if code := b.stop(); code != exitOK {
		t.Errorf("stop: exit code %d: %s", code, b.stderr)
	}
	if log := b.stderr.String(); strings.Contains(log, env["HUAWEICLOUD_SDK_SK"]) || strings.Contains(log, env["ERRAND_PASSWORD"]) {
		t.Errorf("the log holds a secret: %s", log)
	}

	// The second start makes nothing and shows nothing.
	before, err := os.ReadFile(filepath.Join(dir, "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := serve(t, dir, "--region=eu-1")
	if text := again.stdout.String(); strings.Contains(text, env["HUAWEICLOUD_SDK_SK"]) || strings.Contains(text, "first start") {
		t.Errorf("the second start prints %s", text)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "credentials")); err != nil || string(after) != string(before) {
		t.Errorf("the second start changed the credentials file: %v", err)
	}
}

var credentialNames = []string{"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_PROJECT_ID", "ERRAND_USER", "ERRAND_PASSWORD", "ERRAND_SERVER"}

// TestDeliverToATerminal holds that a person at a terminal is shown what is in
// the file, once.
func TestDeliverToATerminal(t *testing.T) {
	t.Parallel()
	c := &config.Config{Credentials: filepath.Join(t.TempDir(), "credentials")}
	var shown strings.Builder
	first := auth.First{Password: "a password"}
	if err := deliver(&shown, true, c, "http://localhost", first); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(c.Credentials)
	if err != nil || !strings.HasSuffix(shown.String(), "not shown again:\n\n"+string(written)+"\n") {
		t.Errorf("%v: shown %q, written %q", err, shown.String(), written)
	}
	for _, name := range credentialNames {
		if strings.Count(shown.String(), name+"=") != 1 {
			t.Errorf("%s is not shown once: %s", name, shown.String())
		}
	}
}

func TestCredentialsThatAreThereAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials")
	if err := os.WriteFile(file, []byte("of another server\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, env := serve(t, dir)
	if env["HUAWEICLOUD_SDK_AK"] == "" || mode(t, file) != 0o600 {
		t.Errorf("the file holds %v with mode %o", env, mode(t, file))
	}
	if old, err := os.ReadFile(file + ".old"); err != nil || string(old) != "of another server\n" {
		t.Errorf("the old file: %q, %v", old, err)
	}
	if !strings.Contains(b.stdout.String(), file+".old") {
		t.Errorf("nothing says where the old file is: %s", b.stdout)
	}
}

// TestFirstStartIsRepeated covers a first start that could not hand over its
// credentials: it must not leave a server that nobody can sign in to.
func TestFirstStartIsRepeated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"serve", "--db=sqlite:" + filepath.Join(dir, "errand.db"), "--listen=127.0.0.1:0", "--credentials=/nonexistent/credentials"}
	if r := errandEnv(t, nil, "", args...); r.code != exitFailure || !strings.Contains(r.stderr, "/nonexistent/credentials") {
		t.Fatalf("%+v", r)
	}
	_, env := serve(t, dir)
	if env["HUAWEICLOUD_SDK_AK"] == "" {
		t.Error("the second try made no credentials")
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, env := serve(t, dir)
	db := "--db=sqlite:" + filepath.Join(dir, "errand.db")
	addr := strings.TrimPrefix(env["ERRAND_SERVER"], "http://")

	if r := errandEnv(t, nil, "", "serve", db, "--listen=127.0.0.1:0"); r.code == exitOK || !strings.Contains(r.stderr, "errand.db") {
		t.Errorf("a second server on the same file: %+v", r)
	}
	if r := errandEnv(t, nil, "", "serve", "--db=sqlite:"+filepath.Join(t.TempDir(), "x.db"), "--listen="+addr); r.code == exitOK || !strings.Contains(r.stderr, addr) {
		t.Errorf("a second server on the same address: %+v", r)
	}
	b.stop()
	other := map[string]string{"ERRAND_MASTER_KEY": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="}
	if r := errandEnv(t, other, "", "serve", db, "--listen=127.0.0.1:0"); r.code != exitUsage || strings.Contains(r.stderr, "QUJDR") {
		t.Errorf("another master key: %+v", r)
	}
	if r := errandEnv(t, nil, "", "serve", db, "--listen=127.0.0.1:0", "--tls-cert=/nonexistent/c.pem", "--tls-key=/nonexistent/k.pem"); r.code != exitFailure || !strings.Contains(r.stderr, "/nonexistent/c.pem") {
		t.Errorf("a certificate that is not there: %+v", r)
	}
	// None of these may have harmed what is there.
	if _, again := serve(t, dir); again["HUAWEICLOUD_SDK_AK"] != env["HUAWEICLOUD_SDK_AK"] {
		t.Error("the server lost its credentials")
	}
}
