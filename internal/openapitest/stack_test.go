package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/api"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/server"
	"github.com/errandhq/errand/internal/signature"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/dcs"
	"github.com/errandhq/errand/internal/wire/dms"
	"github.com/errandhq/errand/internal/wire/iam"
	"github.com/errandhq/errand/internal/wire/native"
)

const (
	kafkaID = "11111111-2222-3333-4444-555555555555"
	redisID = "22222222-2222-3333-4444-555555555555"
)

// stack is the whole server over a fresh database, without its listeners.
type stack struct {
	h     http.Handler
	first auth.First
	token string
	ready error // what the store answers to the question whether it is ready

	seen map[string]bool // "operationId status" of every exchange
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{seen: map[string]bool{}}
	path := filepath.Join(t.TempDir(), "errand.db")
	store, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	sealer, err := auth.NewSealer(bytes.Repeat([]byte{7}, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := auth.OpenDirectory(t.Context(), store, sealer, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Bootstrap(t.Context(), "cn-north-4", func(f auth.First) error { s.first = f; return nil }); err != nil {
		t.Fatal(err)
	}
	svc, who := tasks.New(store, time.Now), auth.NewAuthenticator(dir)
	router := &wire.Router{
		Auth: who, Instance: svc.Instance, Default: dms.Name, Identity: iam.New(dir, who),
		Families: []*wire.Family{dms.NewFamily(svc, catalog.Builtin(), dms.Options{}, who), dcs.NewFamily(svc, dcs.Options{}, who)},
		Native: native.New(native.Deps{Tasks: svc, Directory: dir, Auth: who, Now: time.Now, Store: store, BackupDir: filepath.Dir(path),
			History: tasks.NewRetention(store, func(context.Context) ([]string, error) { return []string{s.first.Project.ID}, nil }, time.Now, tasks.RetentionOptions{})}),
	}
	h := server.New(server.Options{
		Handler: router, Fail: router.Fail, OpenAPI: api.OpenAPI, Log: slog.New(slog.DiscardHandler),
		Ready: func(context.Context) error { return s.ready },
	}).Bound("")
	s.h = s.noting(t, h)
	return s
}

// noting holds what h answers against the document, and keeps what was answered.
func (s *stack) noting(t *testing.T, h http.Handler) http.Handler {
	doc := document31(t)
	wrapped := Wrap(t, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, _ := doc.find(r.Method, r.URL)
		rec := httptest.NewRecorder()
		wrapped.ServeHTTP(rec, r)
		if op != nil {
			s.seen[fmt.Sprint(op.id, " ", rec.Code)] = true
		}
		for name, v := range rec.Header() {
			w.Header()[name] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
}

// ask sends a request with the token, checks the status and returns the answer.
// Names in braces in the target stand for ids.
func (s *stack) ask(t *testing.T, want int, request string, body string) *httptest.ResponseRecorder {
	t.Helper()
	method, target, _ := strings.Cut(request, " ")
	target = strings.NewReplacer("{p}", s.first.Project.ID, "{kafka}", kafkaID, "{redis}", redisID).Replace(target)
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if s.token != "" {
		r.Header.Set("X-Auth-Token", s.token)
		r.Header.Set("X-Subject-Token", s.token)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	if w.Code != want {
		t.Fatalf("%s: %d, want %d: %s", request, w.Code, want, w.Body)
	}
	return w
}

// fill registers two instances and imports what the golden tests of the
// compatible API import.
func (s *stack) fill(t *testing.T) {
	t.Helper()
	for id, engine := range map[string]string{"{kafka}": "kafka", "{redis}": "redis"} {
		body := strings.NewReplacer("{kafka}", kafkaID, "{redis}", redisID).Replace(`{"id":"` + id + `","name":"n","engine":"` + engine + `","attributes":{"a":"b"}}`)
		s.ask(t, 201, "POST /api/v1/projects/{p}/instances", body)
	}
	for file, id := range map[string]string{"kafka-list": "{kafka}", "kafka-progress": "{kafka}", "redis": "{redis}", "redis-centre": "{redis}"} {
		data, err := os.ReadFile(filepath.Join("..", "wire", "testdata", "records", file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		s.ask(t, 200, "POST /api/v1/projects/{p}/instances/"+id+"/records", string(data))
	}
}

type record struct {
	ID, Status string
	JobID      string `json:"job_id"`
	Progress   *struct{}
}

func (s *stack) records(t *testing.T, instance string) []record {
	t.Helper()
	var page struct{ Tasks []record }
	w := s.ask(t, 200, "GET /api/v1/projects/{p}/tasks?limit=1000&instance="+instance, "")
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	return page.Tasks
}

// finished returns an imported task of an instance that may be deleted, and one
// that has progress to show.
func (s *stack) finished(t *testing.T, instance string) (done, shown string) {
	t.Helper()
	for _, r := range s.records(t, instance) {
		if r.Status == "succeeded" {
			done = r.ID
		}
		if r.Progress != nil {
			shown = r.ID
		}
	}
	if done == "" || shown == "" {
		t.Fatalf("%s: finished %q, with progress %q", instance, done, shown)
	}
	return done, shown
}

// TestStack asks the whole server for every success that the document names,
// with real credentials and a real store.
func TestStack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.public(t)
	s.identity(t)
	s.fill(t)
	s.native(t)
	s.compatible(t)
	s.ask(t, 204, "DELETE /api/v1/projects/{p}/instances/{redis}", "")
	s.running(t)
	for _, op := range document31(t).operations {
		for status := range op.answers {
			if status/100 == 2 && !s.seen[fmt.Sprint(op.id, " ", status)] {
				t.Errorf("%s never answered %d", op.id, status)
			}
		}
	}
}

// public asks what needs no credentials, and what is refused without them.
func (s *stack) public(t *testing.T) {
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml"} {
		s.ask(t, 200, "GET "+path, "")
		s.ask(t, 200, "HEAD "+path, "")
		s.ask(t, 405, "POST "+path, "")
	}
	for _, s.ready = range []error{errors.New("secret"), errand.Errorf(errand.Unavailable, "store", "the database is locked")} {
		s.ask(t, 503, "GET /readyz", "")
	}
	s.ready = nil
	for _, path := range []string{"/v2/{p}/instances/{kafka}/tasks", "/v2/{p}/tasks", "/v3/projects", "/v5/caller-identity", "/api/v1/whoami", "/api/v1/backup"} {
		s.ask(t, 401, "GET "+path, "")
	}
	for _, path := range []string{"/", "/v2/{p}/nothing", "/v3/nothing", "/api/v1/nothing", "/v7/x"} {
		s.ask(t, map[bool]int{true: 401, false: 404}[strings.HasPrefix(path, "/v2/")], "GET "+path, "")
	}
	long := strings.Repeat("x", server.MaxURI)
	for _, path := range []string{"/healthz?", "/v2/{p}/tasks?x=", "/v3/projects?x=", "/api/v1/whoami?x="} {
		s.ask(t, 414, "GET "+path+long, "")
	}
}

// identity gets a token and asks about it.
func (s *stack) identity(t *testing.T) {
	grant := func(password, scope string) string {
		return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","password":"` + password + `","domain":{"name":"errand"}}}},"scope":` + scope + `}}`
	}
	s.ask(t, 401, "POST /v3/auth/tokens", grant("wrong", "{}"))
	s.ask(t, 400, "POST /v3/auth/tokens", "{}")
	s.ask(t, 400, "POST /v3/auth/tokens", "{")
	s.ask(t, 403, "POST /v3/auth/tokens", grant(s.first.Password, `{"project":{"name":"nowhere"}}`))
	s.ask(t, 201, "POST /v3/auth/tokens?nocatalog=true", grant(s.first.Password, "{}"))
	w := s.ask(t, 201, "POST /v3/auth/tokens", grant(s.first.Password, `{"project":{"name":"cn-north-4"}}`))
	s.token = w.Header().Get("X-Subject-Token")
	for _, path := range []string{"/v3/auth/tokens", "/v3/projects", "/v3/projects?name=cn-north-4", "/v3/projects?name=none", "/v3/auth/domains", "/v5/caller-identity"} {
		s.ask(t, 200, "GET "+path, "")
	}
	s.ask(t, 405, "PUT /v3/projects", "")
	s.ask(t, 400, "GET /v3/projects?name=a&name=b", "")
}

func (s *stack) native(t *testing.T) {
	task, _ := s.finished(t, "{redis}")
	for _, path := range []string{
		"/projects", "/users", "/users/admin/keys", "/whoami", "/backup", "/projects/{p}/instances?limit=1", "/projects/{p}/instances/{redis}",
		"/projects/{p}/tasks?engine=redis&begin_time=2020-01-01T00:00:00Z&end_time=20991231235959&offset=1", "/projects/{p}/tasks/" + task, "/projects/{p}/tasks/" + task + "/events?after=0&limit=5",
	} {
		s.ask(t, 200, "GET /api/v1"+path, "")
	}
	s.ask(t, 200, "POST /api/v1/purge", `{"before":"2001-01-01T00:00:00Z","keep":1000,"logs_older_than_seconds":3600}`)
	s.ask(t, 200, "POST /api/v1/purge", `{"older_than_seconds":3600,"dry_run":true}`)
	s.ask(t, 400, "POST /api/v1/purge", "")
	s.ask(t, 404, "POST /api/v1/purge", `{"project":"ffffffffffffffffffffffffffffffff","keep":1}`)
	s.ask(t, 201, "POST /api/v1/projects", `{"name":"other"}`)
	s.ask(t, 409, "POST /api/v1/projects", `{"name":"other"}`)
	s.ask(t, 201, "POST /api/v1/users", `{"name":"ci","password":"long enough","roles":{"other":"viewer"}}`)
	s.ask(t, 200, "PATCH /api/v1/users/ci", `{"roles":{"cn-north-4":"operator","other":""},"disabled":false}`)
	s.ask(t, 404, "PATCH /api/v1/users/nobody", `{}`)
	s.ask(t, 409, "PATCH /api/v1/users/admin", `{"disabled":true}`)
	w := s.ask(t, 201, "POST /api/v1/users/ci/keys", `{"lifetime_seconds":60,"note":"n"}`)
	var key struct {
		Access, Secret string
		SecurityToken  string `json:"security_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &key); err != nil {
		t.Fatal(err)
	}
	s.signed(t, key.Access, key.Secret, key.SecurityToken)
	s.ask(t, 200, "GET /api/v1/users/ci/keys", "")
	s.ask(t, 204, "DELETE /api/v1/keys/"+key.Access, "")
	s.ask(t, 404, "DELETE /api/v1/keys/"+key.Access, "")
	s.ask(t, 400, "GET /api/v1/projects/{p}/tasks?limit=0", "")
	s.ask(t, 400, "GET /api/v1/projects/{p}/tasks?colour=red", "")
	s.ask(t, 401, "GET /api/v1/projects/ffffffffffffffffffffffffffffffff/tasks", "")
	s.ask(t, 400, "POST /api/v1/projects/{p}/instances", "")
}

// signed asks with the signature of a temporary key.
func (s *stack) signed(t *testing.T, access, secret, token string) {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/whoami", nil)
	r.Header.Set("X-Security-Token", token)
	if err := signature.Sign(r, access, secret, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if s.h.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("signed with a temporary key: %d %s", w.Code, w.Body)
	}
}

func (s *stack) compatible(t *testing.T) {
	for _, instance := range []string{"{kafka}", "{redis}"} {
		done, shown := s.finished(t, instance)
		path := "/v2/{p}/instances/" + instance + "/tasks"
		s.ask(t, 200, "GET "+path+"?limit=100", "")
		s.ask(t, 200, "HEAD "+path, "")
		s.ask(t, 200, "GET "+path+"?offset=1000", "")
		s.ask(t, 200, "GET "+path+"/"+shown, "")
		s.ask(t, 200, "GET "+path+"/"+shown+"/progress", "")
		s.ask(t, 400, "DELETE "+path+"/"+shown, "")
		s.ask(t, 400, "GET "+path+"?limit=1001", "")
		s.ask(t, 404, "GET "+path+"/ffffffffffffffffffffffffffffffff", "")
		s.ask(t, 405, "PUT "+path, "")
		if instance == "{kafka}" {
			s.ask(t, 204, "DELETE "+path+"/"+done, "")
			continue
		}
		s.ask(t, 200, "GET /v2/{p}/tasks", "")
		for _, r := range s.records(t, instance) { // each status has words of its own
			s.ask(t, 200, "GET /v2/{p}/jobs/"+r.JobID, "")
			s.ask(t, 200, "GET "+path+"/"+r.ID, "")
		}
		s.ask(t, 200, "DELETE "+path+"/"+done, "")
		done, _ = s.finished(t, instance)
		s.ask(t, 200, "DELETE /v2/{p}/tasks/"+done, `{"message":"anything"}`)
		s.ask(t, 404, "DELETE /v2/{p}/tasks/"+done, "")
	}
}
