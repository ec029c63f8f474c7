package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

const project = "0123456789abcdef0123456789abcdef"

// answering returns a client of a server that answers as h does, and what it
// has waited between its tries.
func answering(t *testing.T, h http.HandlerFunc) (*Client, *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return to(t, s.URL)
}

func to(t *testing.T, url string) (*Client, *[]time.Duration) {
	t.Helper()
	c, err := New(Options{Server: url, Access: "AK", Secret: "SK"})
	if err != nil {
		t.Fatal(err)
	}
	waits := &[]time.Duration{}
	c.wait = func(ctx context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return ctx.Err()
	}
	return c, waits
}

func TestNew(t *testing.T) {
	for server, ok := range map[string]bool{
		"http://127.0.0.1:8080": true, "https://errand.example.org": true, "https://errand.example.org/": true, "http://[::1]:1": true,
		"": false, "127.0.0.1:8080": false, "errand.example.org": false, "ftp://x": false, "http://": false, "http://x/errand": false,
		"http://u:p@x": false, "http://x?a=b": false, "http://x#y": false, "http://x:y": false, "http:// x": false,
	} {
		_, err := New(Options{Server: server, Access: "AK", Secret: "SK"})
		if (err == nil) != ok || err != nil && (errand.ErrorOf(err).Kind != errand.Invalid || errand.ErrorOf(err).Subject != "server") {
			t.Errorf("New(%q) = %v, want it accepted: %v", server, err, ok)
		}
	}
	for _, o := range []Options{{Access: "AK"}, {Secret: "SK"}} {
		o.Server = "http://x"
		if _, err := New(o); err == nil || errand.ErrorOf(err).Subject != "access_key" {
			t.Errorf("half a key: %v", err)
		}
	}
}

// TestRetry checks which calls are tried again, and how often.
func TestRetry(t *testing.T) {
	t.Parallel()
	calls := map[string]struct {
		do   func(context.Context, *Client) error
		want int // tries while the server is unavailable
	}{
		"list": {func(ctx context.Context, c *Client) error { _, err := c.Projects(ctx); return err }, 3},
		"import": {func(ctx context.Context, c *Client) error {
			_, err := c.Import(ctx, "p", "i", strings.NewReader("{}"))
			return err
		}, 3},
		"add":    {func(ctx context.Context, c *Client) error { _, err := c.AddProject(ctx, "n", ""); return err }, 1},
		"change": {func(ctx context.Context, c *Client) error { _, err := c.SetUser(ctx, "n", UserChange{}); return err }, 1},
		"delete": {func(ctx context.Context, c *Client) error { return c.Forget(ctx, "p", "i") }, 1},
		"submit": {func(ctx context.Context, c *Client) error {
			_, err := c.Submit(ctx, "p", "i", Submission{Operation: "o"})
			return err
		}, 1},
		"submit with a key": {func(ctx context.Context, c *Client) error {
			_, err := c.Submit(ctx, "p", "i", Submission{Operation: "o", Key: "k"})
			return err
		}, 3},
		"retry":            {func(ctx context.Context, c *Client) error { _, err := c.Retry(ctx, "p", "t", nil, ""); return err }, 1},
		"retry with a key": {func(ctx context.Context, c *Client) error { _, err := c.Retry(ctx, "p", "t", nil, "k"); return err }, 3},
		"cancel":           {func(ctx context.Context, c *Client) error { _, err := c.Cancel(ctx, "p", "t", ""); return err }, 1},
		"reschedule": {func(ctx context.Context, c *Client) error {
			_, err := c.Reschedule(ctx, "p", "t", time.Now())
			return err
		}, 1},
		"log": {func(ctx context.Context, c *Client) error { _, err := c.Log(ctx, "p", "t", 0, 0); return err }, 3},
		"claim": {func(ctx context.Context, c *Client) error {
			_, err := c.Claim(ctx, "p", worker.ClaimRequest{})
			return err
		}, 1},
		"extend": {func(ctx context.Context, c *Client) error {
			_, err := c.Extend(ctx, "p", "x", worker.Beat{})
			return err
		}, 3},
		"extend with a log": {func(ctx context.Context, c *Client) error {
			_, err := c.Extend(ctx, "p", "x", worker.Beat{Log: []byte("l")})
			return err
		}, 1},
		"finish": {func(ctx context.Context, c *Client) error {
			_, err := c.Finish(ctx, "p", "x", errand.Outcome{Status: errand.Succeeded}, nil)
			return err
		}, 3},
		"backup": {func(ctx context.Context, c *Client) error { _, err := c.Backup(ctx, io.Discard); return err }, 1},
	}
	for name, tt := range calls {
		for status, want := range map[int]int{503: tt.want, 502: tt.want, 429: tt.want, 500: 1, 404: 1, 400: 1, 302: 1} {
			tries := 0
			var bodies []string
			c, waits := answering(t, func(w http.ResponseWriter, r *http.Request) {
				tries++
				b, _ := io.ReadAll(r.Body)
				bodies = append(bodies, string(b))
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
			})
			err := tt.do(t.Context(), c)
			if err == nil || tries != want || len(*waits) != want-1 {
				t.Errorf("%s, answered %d: %d tries, %d waits, %v; want %d tries", name, status, tries, len(*waits), err, want)
			}
			for i, d := range *waits {
				if d < 0 || d >= firstBackoff<<i {
					t.Errorf("%s: wait %d is %s", name, i+1, d)
				}
			}
			for _, b := range bodies {
				if b != bodies[0] {
					t.Errorf("%s: bodies %q differ", name, bodies)
				}
			}
		}
	}
}

// TestRetryHelps checks that a try that succeeds ends it, and is signed anew.
func TestRetryHelps(t *testing.T) {
	t.Parallel()
	var dates []string
	c, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		dates = append(dates, r.Header.Get("X-Sdk-Date"))
		if len(dates) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"projects":[{"id":"1","name":"n"}]}`)
	})
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	list, err := c.Projects(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "n" || len(dates) != 2 || dates[0] == dates[1] {
		t.Errorf("projects %+v, %v, signed at %v", list, err, dates)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c, waits := to(t, s.URL)
	_, err := c.Whoami(t.Context())
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Unavailable || e.Subject != "server" || !strings.Contains(e.Msg, s.URL) || e.Err == nil || len(*waits) != 2 {
		t.Errorf("%v after %d waits; want unavailable, with the cause, after 2", err, len(*waits))
	}
	// Who gives up while waiting is told what the server's trouble was.
	ctx, cancel := context.WithCancel(t.Context())
	c.wait = func(context.Context, time.Duration) error { cancel(); return ctx.Err() }
	if _, err := c.Whoami(ctx); errand.ErrorOf(err).Subject != "server" {
		t.Errorf("given up: %v", err)
	}
}

// TestAnswers checks what becomes of answers that are not as they should be.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const id = "0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		kind    errand.Kind
		subject string
		says    string
	}{
		{"native error", 409, `{"error_code":"conflict","error_msg":"taken","subject":"user","request_id":"x"}`, errand.Conflict, "user", "taken"},
		{"code before status", 409, `{"error_code":"lease_lost","error_msg":"m"}`, errand.LeaseLost, "", "m"},
		{"code that is not known", 403, `{"error_code":"APIGW.0302","error_msg":"m"}`, errand.Forbidden, "", "m"},
		{"page of a proxy", 502, `<html>Bad gateway</html>`, errand.Unavailable, "answer", "502 Bad Gateway"},
		{"empty error", 401, ``, errand.Unauthenticated, "answer", "401"},
		{"unknown client error", 418, `{}`, errand.Invalid, "answer", "418"},
		{"redirect", 301, ``, errand.Internal, "answer", "301"},
		{"success that is no JSON", 200, `<html>`, errand.Unavailable, "answer", "broken"},
		{"success cut off", 200, `{"projects":[`, errand.Unavailable, "answer", "cut off"},
		{"success of another type", 200, `{"projects":7}`, errand.Unavailable, "answer", "broken"},
		{"endless error", 400, `{"error_msg":"` + strings.Repeat("x", maxError) + `"}`, errand.Invalid, "answer", "400"},
	} {
		c, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", id)
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})
		_, err := c.Projects(t.Context())
		answer, ok := errors.AsType[*Error](err)
		e := errand.ErrorOf(err)
		if !ok || answer.Status != tt.status || answer.RequestID != id || e.Kind != tt.kind || e.Subject != tt.subject || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v (%+v); want %s about %q that says %q", tt.name, err, e, tt.kind, tt.subject, tt.says)
		}
	}
}

func TestBackupCutOff(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"connection broken": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		"length unknown": func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "half")
		},
	} {
		c, _ := answering(t, h)
		n, err := c.Backup(t.Context(), io.Discard)
		if e := errand.ErrorOf(err); n != 4 || e == nil || e.Kind != errand.Unavailable || e.Subject != "answer" {
			t.Errorf("%s: %d bytes, %v; want 4 and an error about the answer", name, n, err)
		}
	}
}

// TestRequest checks what is refused before anything is sent, and what is sent.
func TestRequest(t *testing.T) {
	t.Parallel()
	var got []string
	c, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.RequestURI+" "+r.Header.Get("User-Agent")+" "+r.Header.Get("Content-Type"))
		fmt.Fprint(w, "{}")
	})
	ctx := t.Context()
	for name, err := range map[string]error{
		"empty id":         func() error { _, err := c.Task(ctx, project, ""); return err }(),
		"empty project":    func() error { _, err := c.Tasks(ctx, errand.Filter{}); return err }(),
		"id of dots":       c.Forget(ctx, project, ".."),
		"half a second":    func() error { _, err := c.AddKey(ctx, NewKey{User: "u", Lifetime: time.Second / 2}); return err }(),
		"import too large": func() error { _, err := c.Import(ctx, project, "i", io.LimitReader(zeros{}, MaxImport+1)); return err }(),
	} {
		if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Invalid {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	if got != nil {
		t.Fatalf("sent: %v", got)
	}
	if err := c.RevokeKey(ctx, "a/b?c#d%e"); err != nil {
		t.Error(err)
	}
	if _, err := c.AddKey(ctx, NewKey{User: "u v", Lifetime: time.Minute}); err != nil {
		t.Error(err)
	}
	from := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	if _, err := c.Tasks(ctx, errand.Filter{Project: project, From: from, Offset: 3, Limit: 4}); err != nil {
		t.Error(err)
	}
	want := []string{
		"DELETE /api/v1/keys/a%2Fb%3Fc%23d%25e errand-client ",
		"POST /api/v1/users/u%20v/keys errand-client application/json",
		"GET /api/v1/projects/" + project + "/tasks?begin_time=2026-01-02T02%3A04%3A05.000006Z&limit=4&offset=3 errand-client ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	broken := errors.New("broken")
	if _, err := c.Import(ctx, project, "i", io.MultiReader(strings.NewReader("{"), failingReader{broken})); !errors.Is(err, broken) {
		t.Errorf("import of a reader that fails: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }
