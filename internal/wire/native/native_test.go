package native_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/openapitest"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/native"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	projectID = "0123456789abcdef0123456789abcdef"
	redisID   = "11111111-2222-3333-4444-000000000001"
	kafkaID   = "11111111-2222-3333-4444-000000000002"
	requestID = "00000000000000000000000000000001"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// roles takes the X-Auth-Token header for the role of the caller: who signed is
// what the tests of package client are about.
type roles struct{}

func (roles) Authenticate(r *http.Request) (errand.Principal, error) {
	token := r.Header.Get("X-Auth-Token")
	if token == "" {
		return errand.Principal{}, errand.Errorf(errand.Unauthenticated, "credentials", "x-auth-token not found")
	}
	return errand.Principal{User: errand.User{ID: "u1", Name: token}, Project: projectID, Role: errand.Role(token)}, nil
}

// stack is the API over a fresh database in a directory of its own, held against
// the OpenAPI document.
type stack struct {
	http.Handler
	store *sqlite.Store
	dir   string
	svc   *tasks.Service

	made []string // ids and tokens of the answers, in order
}

func newStack(t *testing.T, backup native.Backuper, with ...func(*native.Deps)) *stack {
	t.Helper()
	s := &stack{dir: t.TempDir()}
	var err error
	if s.store, err = sqlite.Open(filepath.Join(s.dir, "errand.db"), sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	clock := func() time.Time { return now }
	sealer, err := auth.NewSealer(bytes.Repeat([]byte{7}, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := auth.OpenDirectory(t.Context(), s.store, sealer, clock)
	if err != nil {
		t.Fatal(err)
	}
	admin := errand.Principal{User: errand.User{ID: "u1", Name: "admin"}, Project: projectID, Role: errand.Admin}
	if _, err := dir.AddProject(t.Context(), admin, "cn-north-4", projectID); err != nil {
		t.Fatal(err)
	}
	if backup == nil {
		backup = s.store
	}
	s.svc = tasks.New(s.store, clock)
	deps := native.Deps{Tasks: s.svc, Directory: dir, Auth: roles{}, Now: clock, Store: backup, BackupDir: s.dir,
		History: tasks.NewRetention(s.store, func(context.Context) ([]string, error) { return []string{projectID}, nil }, clock, tasks.RetentionOptions{}),
	}
	for _, change := range with {
		change(&deps)
	}
	d := native.New(deps)
	s.Handler = openapitest.Wrap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.ServeHTTP(w, wire.Begin(w, r, &wire.Exchange{ID: requestID}))
	}))
	return s
}

// ask sends a request and returns the answer. target is as on the wire.
func (s *stack) ask(t *testing.T, role, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	return s.send(t, role, method, target, body, nil)
}

func (s *stack) send(t *testing.T, role, method, target, body string, headers map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://errand.example/", strings.NewReader(body))
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	r.URL, r.RequestURI = u, target
	if role != "" {
		r.Header.Set("X-Auth-Token", role)
	}
	for name, v := range headers {
		r.Header.Set(name, v)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// TestGolden replays testdata/*.http on a fresh database each: a title, the
// request line, the role of the caller, the body, an empty line, the answer.
// Names in braces stand for ids, {1} for the first id or token that was made
// here; -update rewrites the answers. Files named run-* have tasks that run. A
// line "Name: value" behind the role is a header.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newStack(t, nil)
			if strings.HasPrefix(filepath.Base(file), "run-") {
				s = newStack(t, nil, withRuns(newRuns(t, func() time.Time { return now })))
			}
			var got strings.Builder
			for _, part := range strings.Split("\n"+string(data), "\n### ")[1:] {
				request, _, _ := strings.Cut(part, "\n\n")
				got.WriteString("### " + request + "\n\n" + s.replay(t, request) + "\n")
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(data) {
				t.Errorf("%s\n--- got ---\n%s", file, got.String())
			}
		})
	}
}

var (
	short = strings.NewReplacer("{project}", projectID, "{redis}", redisID, "{kafka}", kafkaID)
	// What differs from run to run: ids made by the clock of the tests, secrets.
	made   = regexp.MustCompile(`(` + errand.NewID(now)[:12] + `[0-9a-f]{20})+`)
	nth    = regexp.MustCompile(`\{([0-9]+)\}`)
	secret = regexp.MustCompile(`"(access|secret|security_token)": "[^"]+"`)
)

func (s *stack) replay(t *testing.T, request string) string {
	t.Helper()
	request = nth.ReplaceAllStringFunc(short.Replace(request), func(name string) string {
		n, err := strconv.Atoi(strings.Trim(name, "{}"))
		if err != nil || n < 1 || n > len(s.made) {
			t.Fatalf("%s: %s is none of %d", request, name, len(s.made))
		}
		return s.made[n-1]
	})
	lines := strings.Split(request, "\n")[1:]
	method, target, _ := strings.Cut(lines[0], " ")
	headers := map[string]string{}
	body := lines[2:]
	for ; len(body) > 0 && !strings.HasPrefix(body[0], "{"); body = body[1:] {
		name, value, found := strings.Cut(body[0], ": ")
		if !found {
			break
		}
		headers[name] = value
	}
	w := s.send(t, strings.Trim(strings.TrimPrefix(lines[1], "as "), "-"), method, target, strings.Join(body, "\n"), headers)
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", w.Code, w.Header().Get("Content-Type"))
	for _, name := range []string{"Allow", "Location", "Cache-Control", "X-Log-Next", "X-Log-Size"} {
		if v := w.Header().Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, s.name(v))
		}
	}
	switch {
	case w.Header().Get("Content-Type") != "application/json":
		b.WriteString(s.name(w.Body.String()))
	case w.Body.Len() > 0:
		var out bytes.Buffer
		if err := json.Indent(&out, w.Body.Bytes(), "", "  "); err != nil {
			t.Fatalf("%s: answer is not JSON: %v: %s", lines[0], err, w.Body)
		}
		fmt.Fprintf(&b, "%s\n", secret.ReplaceAllString(s.name(out.String()), `"$1": "{secret}"`))
	}
	return b.String()
}

// name puts names in place of what was made here.
func (s *stack) name(text string) string {
	return made.ReplaceAllStringFunc(text, func(id string) string {
		n := slices.Index(s.made, id) + 1
		if n == 0 {
			s.made = append(s.made, id)
			n = len(s.made)
		}
		return fmt.Sprintf("{%d}", n)
	})
}

// TestRoles checks who may call what. Each call is well-formed but about
// nothing that exists, so that one that is let through changes nothing.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, withRuns(newRuns(t, func() time.Time { return now })))
	const id = "/00000000000000000000000000000001"
	const p = "/api/v1/projects/" + projectID
	for _, tt := range []struct {
		call  string
		least errand.Role
	}{
		{"GET /api/v1/whoami", errand.Viewer},
		{"GET " + p + "/tasks", errand.Viewer},
		{"GET " + p + "/tasks" + id, errand.Viewer},
		{"GET " + p + "/tasks" + id + "/events", errand.Viewer},
		{"GET " + p + "/instances", errand.Viewer},
		{"GET " + p + "/instances/" + redisID, errand.Viewer},
		{"POST " + p + "/instances", errand.Operator},
		{"POST " + p + "/instances/" + redisID + "/records", errand.Operator},
		{"DELETE " + p + "/instances/" + redisID, errand.Admin},
		{"POST /api/v1/projects", errand.Admin},
		{"GET /api/v1/projects", errand.Admin},
		{"POST /api/v1/users", errand.Admin},
		{"GET /api/v1/users", errand.Admin},
		{"PATCH /api/v1/users/nobody", errand.Admin},
		{"POST /api/v1/users/nobody/keys", errand.Admin},
		{"GET /api/v1/users/nobody/keys", errand.Admin},
		{"DELETE /api/v1/keys/NOBODY", errand.Admin},
		{"GET /api/v1/backup", errand.Admin},
		{"POST /api/v1/purge", errand.Admin},
		{"GET /api/v1/operations", errand.Viewer},
		{"GET " + p + "/workers", errand.Viewer},
		{"GET " + p + "/watch?task=" + id[1:], errand.Viewer},
		{"GET " + p + "/tasks" + id + "/why", errand.Viewer},
		{"GET " + p + "/tasks" + id + "/log", errand.Viewer},
		{"POST " + p + "/instances/" + redisID + "/tasks", errand.Operator},
		{"POST " + p + "/tasks" + id + "/cancel", errand.Operator},
		{"POST " + p + "/tasks" + id + "/retry", errand.Operator},
		{"PATCH " + p + "/tasks" + id, errand.Operator},
		{"POST " + p + "/claims", errand.Worker},
		{"POST " + p + "/leases/x/extend", errand.Worker},
		{"POST " + p + "/leases/x/finish", errand.Worker},
	} {
		method, target, _ := strings.Cut(tt.call, " ")
		body := ""
		switch {
		case strings.HasSuffix(target, "/finish"):
			body = `{"status":"failed"}`
		case method == http.MethodPatch && strings.HasSuffix(target, id):
			body = `{"run_at":"2026-01-02T03:04:05Z"}`
		case method == http.MethodPost || method == http.MethodPatch:
			body = "{}"
		}
		for _, role := range append(errand.Roles(), "") {
			code := s.ask(t, string(role), method, target, body).Code
			allowed := errand.Principal{Role: role}.Can(tt.least)
			switch {
			case role == "" && code != http.StatusUnauthorized:
				t.Errorf("%s without credentials: %d, want 401", tt.call, code)
			case role != "" && allowed && (code == http.StatusForbidden || code == http.StatusUnauthorized || code >= 500):
				t.Errorf("%s as %s: %d, want it let through", tt.call, role, code)
			case role != "" && !allowed && code != http.StatusForbidden:
				t.Errorf("%s as %s: %d, want 403", tt.call, role, code)
			}
		}
	}
}

// TestEveryKind checks that every kind of error has an answer of its own.
func TestEveryKind(t *testing.T) {
	t.Parallel()
	d := native.New(native.Deps{Tasks: &tasks.Service{}})
	for _, k := range errand.Kinds() {
		w := httptest.NewRecorder()
		d.Fail(w, httptest.NewRequest(http.MethodGet, "/", nil), &errand.Error{Kind: k, Subject: "x", Msg: "what is wrong"})
		var body struct{ Code, Msg, Subject string }
		if err := json.Unmarshal(bytes.ReplaceAll(w.Body.Bytes(), []byte("error_"), nil), &body); err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(k.String(), " ", "_"); body.Code != want || w.Code < 400 {
			t.Errorf("%s: %d %+v, want code %s", k, w.Code, body, want)
		}
		if hidden := k == errand.Internal; strings.Contains(body.Msg, "what is wrong") == hidden || (body.Subject == "x") == hidden {
			t.Errorf("%s: %+v; internal errors are hidden, and no others", k, body)
		}
	}
}

// TestSizes checks the answers about what is too large.
func TestSizes(t *testing.T) {
	t.Parallel()
	d := native.New(native.Deps{Tasks: &tasks.Service{}})
	for subject, want := range map[string]int{"body_size": 413, "size": 413, "uri_size": 414, "header_size": 431} {
		w := httptest.NewRecorder()
		d.Fail(w, httptest.NewRequest(http.MethodGet, "/", nil), errand.Errorf(errand.Invalid, subject, "too much"))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", subject, w.Code, want)
		}
	}
	s := newStack(t, nil)
	w := s.ask(t, "admin", http.MethodPost, "/api/v1/users", `{"name":"`+strings.Repeat("x", native.MaxBody)+`"}`)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("body of more than %d bytes: %d, want 413", native.MaxBody, w.Code)
	}
}

// TestImportAsksFirst checks that a caller who may not import makes the server
// read nothing.
func TestImportAsksFirst(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil)
	r := httptest.NewRequest(http.MethodPost, "/api/v1/projects/"+projectID+"/instances/"+redisID+"/records", unread{t})
	r.Header.Set("X-Auth-Token", "viewer")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("import as viewer: %d, want 403", w.Code)
	}
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}
