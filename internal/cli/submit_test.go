package cli

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
)

// TestInterrupted covers Ctrl-C while a server does not answer: nobody knows
// whether it has done what it was asked for.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	project := "0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		name, method, want string
		args               []string
	}{
		{"submit", "POST", `interrupted before the server answered; .*may have been done, or not.*; repeat the command with --key [0-9a-f]{32}, which makes no second task`,
			[]string{"submit", "restart", "--instance", testInstance}},
		{"submit with a key", "POST", `repeat the command with --key mine, which`, []string{"submit", "restart", "--instance", testInstance, "--key", "mine"}},
		{"retry", "POST", `repeat the command with --key mine, which`, []string{"retry", "t1", "--key", "mine"}},
		{"list", "GET", `^errand: interrupted before the server answered: context canceled\n$`, []string{"list"}},
		{"purge", "POST", `^errand: interrupted before the server answered; what it was asked for may have been done, or not: context canceled\n$`, []string{"purge", "--keep=1", "--yes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asked, release := make(chan string, 9), make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				asked <- r.Method
				<-release
			}))
			t.Cleanup(srv.Close)
			t.Cleanup(func() { close(release) })
			env := map[string]string{"ERRAND_SERVER": srv.URL, "HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s"}
			b := start(t, env, append(tt.args, "--project", project)...)
			if method := <-asked; method != tt.method {
				t.Errorf("asked with %s", method)
			}
			if code := b.stop(); code != exitFailure || !regexp.MustCompile(tt.want).MatchString(b.stderr.String()) {
				t.Errorf("exit code %d: %s", code, b.stderr)
			}
		})
	}
}
