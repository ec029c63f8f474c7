package console_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/api"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/console"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// siteOperations are what the tests submit.
const siteOperations = `
engine: redis
name: resize
title: Resize
title_zh: 调整
params:
  type: object
  required: [size, mode]
  additionalProperties: false
  properties:
    size: {type: integer, minimum: 1, maximum: 64, description: In GB.}
    mode: {enum: [single, cluster]}
    ratio: {type: number}
    force: {type: boolean}
    note: {type: string, maxLength: 20, pattern: "^[a-z ]*$"}
    zones: {type: array, items: {type: string}}
    ports: {type: array, items: {type: integer}}
    labels: {type: array, items: {type: object, properties: {key: {type: string}}}}
    window:
      type: object
      required: [day]
      properties:
        day: {type: string}
        hour: {type: [integer, string]}
secrets: [password]
runner: worker
---
engine: redis
name: beside
lane: none
runner: worker
---
engine: kafka
name: restart
runner: worker
`

const (
	redisID = "5560df16-cebf-4473-95c4-d1b573c16e79"
	kafkaID = "b6d2a1f0-3c47-4e8b-9a15-7f04c2d8e361"
)

// site is a console over real services, on a server of its own.
type site struct {
	t       *testing.T
	url     string
	svc     *tasks.Service
	runs    *tasks.Runs
	dir     *auth.Directory
	first   auth.First
	admin   errand.Principal
	stop    context.CancelFunc // tells the server to stop
	console *console.Console
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "operations.yaml"), []byte(siteOperations), 0o600); err != nil {
		t.Fatal(err)
	}
	operations, err := catalog.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "errand.db"), sqlite.Options{})
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
	s := &site{t: t}
	if s.dir, err = auth.OpenDirectory(t.Context(), store, sealer, time.Now); err != nil {
		t.Fatal(err)
	}
	if err := s.dir.Bootstrap(t.Context(), "cn-north-4", func(f auth.First) error { s.first = f; return nil }); err != nil {
		t.Fatal(err)
	}
	s.admin = errand.Principal{User: errand.User{ID: s.first.User.ID, Name: "admin"}, Project: s.first.Project.ID, Role: errand.Admin}
	s.svc = tasks.New(store, time.Now)
	s.runs = tasks.NewRuns(s.svc, store, operations, sealer, tasks.RunOptions{})
	for _, i := range []errand.Instance{
		{ID: redisID, Name: "sessions", Engine: errand.Redis, Attributes: map[string]string{"version": "6.0"}}, {ID: kafkaID, Name: "orders", Engine: errand.Kafka},
	} {
		i.Project = s.admin.Project
		if _, err := s.svc.Register(t.Context(), s.admin, i); err != nil {
			t.Fatal(err)
		}
	}
	s.console = console.New(console.Deps{
		Tasks: s.svc, Runs: s.runs, Directory: s.dir, Find: s.svc.Instance, Operations: operations.Operations, OpenAPI: api.OpenAPI, Now: time.Now, Version: "v-test",
	})
	var stopping context.Context
	stopping, s.stop = context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &wire.Exchange{ID: errand.NewID(time.Now()), Stopping: stopping}
		s.console.ServeHTTP(w, wire.Begin(w, r, x))
	}))
	s.url = server.URL
	t.Cleanup(func() { s.stop(); server.Close() })
	return s
}

// user adds a user with a role in the first project, and a password that is the
// name three times.
func (s *site) user(name string, role errand.Role) {
	s.t.Helper()
	_, err := s.dir.AddUser(s.t.Context(), s.admin, auth.NewUser{Name: name, Password: strings.Repeat(name, 3), Roles: map[string]errand.Role{s.admin.Project: role}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// submit submits a task as the admin.
func (s *site) submit(operation, params string) *errand.Task {
	s.t.Helper()
	task, err := s.runs.Submit(s.t.Context(), s.admin, s.admin.Project, redisID, tasks.Submission{Operation: operation, Params: []byte(params)})
	if err != nil {
		s.t.Fatal(err)
	}
	return task
}

// claim takes the next task as a worker.
func (s *site) claim() tasks.Grant {
	s.t.Helper()
	grants, err := s.runs.Claim(s.t.Context(), s.admin, s.admin.Project, tasks.ClaimRequest{Worker: "w1", Operations: []string{"resize", "beside"}, Limit: 1})
	if err != nil || len(grants) != 1 {
		s.t.Fatalf("claim: %d, %v", len(grants), err)
	}
	return grants[0]
}

// person is a browser with its cookies.
type person struct {
	*site
	client *http.Client
	lang   string
}

func (s *site) visitor() *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &person{site: s, lang: "en", client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as signs a user in.
func (s *site) as(name, password string) *person {
	s.t.Helper()
	p := s.visitor()
	if a := p.post("/signin", "user", name, "password", password); a.status != http.StatusSeeOther {
		s.t.Fatalf("%s cannot sign in: %d %s", name, a.status, a.text())
	}
	return p
}

func (s *site) asAdmin() *person { return s.as("admin", s.first.Password) }

// answer is what a browser gets.
type answer struct {
	status int
	body   string
	header http.Header
}

// text is the body without tags and their attributes.
func (a answer) text() string {
	var b strings.Builder
	rest := a.body
	for {
		before, after, ok := strings.Cut(rest, "<")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		_, rest, _ = strings.Cut(after, ">")
	}
}

// to is where a browser is sent, without the steps up.
func (a answer) to() string {
	return strings.TrimLeft(a.header.Get("Location"), "./")
}

func (p *person) do(method, path string, form url.Values, header ...string) answer {
	p.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Accept-Language", p.lang)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", p.url)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{w.StatusCode, string(b), w.Header}
}

func (p *person) get(path string, header ...string) answer {
	p.t.Helper()
	return p.do(http.MethodGet, path, nil, header...)
}

// post sends a form of pairs.
func (p *person) post(path string, pairs ...string) answer {
	p.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return p.do(http.MethodPost, path, form)
}

// want checks a status and what a body holds.
func (a answer) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %.400s", a.status, status, a.text())
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

func (a answer) wantNot(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			t.Errorf("the page has %q", text)
		}
	}
}
