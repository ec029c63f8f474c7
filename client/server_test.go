package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/openapitest"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/iam"
	"github.com/errandhq/errand/internal/wire/native"
)

const (
	redisID = "11111111-2222-3333-4444-000000000001"
	kafkaID = "11111111-2222-3333-4444-000000000002"
	taskID  = "8abf6e1e72c12e7c0172c15b508500aa"
	jobID   = "ff80808272dcc90f0172df1e490f41b0"
)

const record = `{"task_count":"3","tasks":[{"id":"` + taskID + `","job_id":"` + jobID + `","name":"EXTEND","user_name":"ops","user_id":"u9",
	"params":"{\"a\": 1}","details":{"old_capacity":"0.125","node_name":"<a&b>"},"status":"FAILED","error_code":"E1","reason":"no room","enable_show":true,
	"progress":{"progress":40,"remain_time":120,"step_details":[{"step_name":"resize","step_status":"FAILED","begin_time":"2020-06-17T08:18:06.597123Z","end_time":"2020-06-17T08:18:10Z","error_code":"E1",
		"sub_step_details":[{"sub_step_name":"copy","sub_step_status":"CANCELED","detail":"1 of 2"}]}]},
	"created_at":"2020-06-17T08:18:06.597Z","updated_at":"2020-06-17T08:18:10.106Z"}]}`

// server is the native API as it runs, over a database of its own and held
// against the OpenAPI document.
type server struct {
	url   string
	first auth.First
	store *sqlite.Store
}

func newServer(t *testing.T, with ...func(*native.Deps)) *server {
	t.Helper()
	s := &server{}
	dir := t.TempDir()
	var err error
	if s.store, err = sqlite.Open(filepath.Join(dir, "errand.db"), sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	sealer, err := auth.NewSealer(bytes.Repeat([]byte{7}, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	d, err := auth.OpenDirectory(t.Context(), s.store, sealer, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Bootstrap(t.Context(), "cn-north-4", func(f auth.First) error { s.first = f; return nil }); err != nil {
		t.Fatal(err)
	}
	deps := native.Deps{
		Tasks: tasks.New(s.store, time.Now), Directory: d, Auth: auth.NewAuthenticator(d), Now: time.Now, Store: s.store, BackupDir: dir,
	}
	for _, change := range with {
		change(&deps)
	}
	api, identity := native.New(deps), iam.New(d, auth.NewAuthenticator(d))
	h := httptest.NewServer(openapitest.Wrap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = wire.Begin(w, r, &wire.Exchange{ID: errand.NewID(time.Now())})
		if strings.HasPrefix(r.URL.Path, "/v3/") {
			identity.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})))
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

// as returns a client with the given key.
func (s *server) as(t *testing.T, access, secret, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Server: s.url, Access: access, Secret: secret, SecurityToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *server) admin(t *testing.T) *client.Client {
	t.Helper()
	return s.as(t, s.first.Key.Access, s.first.Key.Secret, "")
}

// wantError checks that err is an answer of the server of the given kind.
func wantError(t *testing.T, what string, err error, kind errand.Kind, subject string) {
	t.Helper()
	answer, ok := errors.AsType[*client.Error](err)
	if !ok {
		t.Errorf("%s: %v, want an answer of the server", what, err)
		return
	}
	if e := errand.ErrorOf(err); e.Kind != kind || e.Subject != subject || e.Msg == "" {
		t.Errorf("%s: %+v, want %s about %s", what, e, kind, subject)
	}
	if !errand.ValidID(answer.RequestID) || answer.Status < 400 || !strings.Contains(err.Error(), answer.RequestID) {
		t.Errorf("%s: status %d, request %q, text %q; want an id, also in the text", what, answer.Status, answer.RequestID, err)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, ctx, p := s.admin(t), t.Context(), s.first.Project.ID

	in := errand.Instance{Project: p, ID: redisID, Name: "cache 缓存", Engine: errand.Redis, Attributes: map[string]string{"version": "7"}}
	made, err := c.Register(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if made.CreatedAt.IsZero() {
		t.Error("the instance has no time of registration")
	}
	in.CreatedAt = made.CreatedAt
	if !reflect.DeepEqual(made, in) {
		t.Errorf("registered %+v, want %+v", made, in)
	}
	_, err = c.Register(ctx, in)
	wantError(t, "register again", err, errand.Conflict, "instance")
	if _, err := c.Register(ctx, errand.Instance{Project: p, ID: kafkaID, Name: "q", Engine: errand.Kafka}); err != nil {
		t.Fatal(err)
	}

	for i, want := range []client.Imported{
		{Documents: 1, Records: 1, Announced: 3, Added: 1}, {Documents: 1, Records: 1, Announced: 3, Unchanged: 1},
	} {
		got, err := c.Import(ctx, p, redisID, strings.NewReader(record))
		if err != nil || got != want {
			t.Fatalf("import %d: %+v, %v; want %+v", i+1, got, err, want)
		}
	}
	_, err = c.Import(ctx, p, redisID, strings.NewReader(strings.Replace(record, "FAILED", "DONE", 1)))
	wantError(t, "import of a bad record", err, errand.Invalid, "status")
	_, err = c.Import(ctx, p, "11111111-2222-3333-4444-999999999999", strings.NewReader(record))
	wantError(t, "import into nothing", err, errand.NotFound, "instance")

	at := func(s string) time.Time { x, _ := time.Parse(time.RFC3339, s); return x }
	want := errand.Task{
		ID: taskID, Project: p, Instance: redisID, Engine: errand.Redis, Operation: "EXTEND", JobID: jobID,
		User: errand.User{ID: "u9", Name: "ops"}, Params: `{"a": 1}`, Details: []byte(`{"old_capacity":"0.125","node_name":"<a&b>"}`),
		Status: errand.Failed, ErrorCode: "E1", Reason: "no room", Origin: &errand.Origin{Status: "FAILED"},
		Progress: &errand.Progress{Percent: 40, Remaining: 2 * time.Minute, Steps: []errand.Step{{
			Name: "resize", Status: errand.StepFailed, StartedAt: at("2020-06-17T08:18:06.597123Z"), EndedAt: at("2020-06-17T08:18:10Z"), ErrorCode: "E1",
			Steps: []errand.Step{{Name: "copy", Status: errand.StepCancelled, Detail: "1 of 2"}},
		}}},
		CreatedAt: at("2020-06-17T08:18:06.597Z"), UpdatedAt: at("2020-06-17T08:18:10.106Z"),
	}
	got, err := c.Task(ctx, p, taskID)
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("task, %v\n got %+v %+v\nwant %+v %+v", err, got, got.Progress, want, want.Progress)
	}
	_, err = c.Task(ctx, p, jobID)
	wantError(t, "unknown task", err, errand.NotFound, "task")

	want.Progress = &errand.Progress{Percent: 40, Remaining: 2 * time.Minute} // a listing has no steps
	for name, tt := range map[string]struct {
		f     errand.Filter
		total int
		tasks []errand.Task
	}{
		"all":                {errand.Filter{}, 1, []errand.Task{want}},
		"instance":           {errand.Filter{Instance: redisID}, 1, []errand.Task{want}},
		"other instance":     {errand.Filter{Instance: kafkaID}, 0, []errand.Task{}},
		"engine":             {errand.Filter{Engine: errand.Redis, Limit: 5}, 1, []errand.Task{want}},
		"other engine":       {errand.Filter{Engine: errand.Kafka}, 0, []errand.Task{}},
		"past the end":       {errand.Filter{Offset: 1}, 1, []errand.Task{}},
		"exact time":         {errand.Filter{From: want.CreatedAt.In(time.FixedZone("", 8*3600)), To: want.CreatedAt}, 1, []errand.Task{want}},
		"a microsecond late": {errand.Filter{From: want.CreatedAt.Add(time.Microsecond)}, 0, []errand.Task{}},
		"one before":         {errand.Filter{To: want.CreatedAt.Add(-time.Microsecond)}, 0, []errand.Task{}},
	} {
		tt.f.Project = p
		page, err := c.Tasks(ctx, tt.f)
		if err != nil || page.Total != tt.total || !reflect.DeepEqual(page.Tasks, tt.tasks) {
			t.Errorf("%s: %+v, %v; want %d and %+v", name, page, err, tt.total, tt.tasks)
		}
	}
	_, err = c.Tasks(ctx, errand.Filter{Project: p, Limit: 1001})
	wantError(t, "page too long", err, errand.Invalid, "limit")

	events, err := c.Events(ctx, p, taskID, 0, 10)
	if err != nil || len(events) != 1 {
		t.Fatalf("events: %+v, %v; want one", events, err)
	}
	e := events[0]
	if e.Act != errand.ActImported || e.To != errand.Failed || e.From != "" || e.Task != taskID || e.Instance != redisID || e.Project != p ||
		e.Actor != (errand.User{ID: s.first.User.ID, Name: "admin"}) || !errand.ValidID(e.Request) || e.Remote != "127.0.0.1" || e.At.IsZero() || e.Seq < 1 {
		t.Errorf("event %+v", e)
	}
	if events, err = c.Events(ctx, p, taskID, e.Seq, 0); err != nil || len(events) != 0 {
		t.Errorf("events after the last: %+v, %v", events, err)
	}

	list, total, err := c.Instances(ctx, p, 1, 1)
	if err != nil || total != 2 || len(list) != 1 || list[0].ID != kafkaID {
		t.Errorf("second page of instances: %+v of %d, %v", list, total, err)
	}
	if err := c.Forget(ctx, p, kafkaID); err != nil {
		t.Error(err)
	}
	_, err = c.Instance(ctx, p, kafkaID)
	wantError(t, "forgotten instance", err, errand.NotFound, "instance")
	if i, err := c.Instance(ctx, p, redisID); err != nil || !reflect.DeepEqual(i, in) {
		t.Errorf("instance %+v, %v; want %+v", i, err, in)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, ctx := s.admin(t), t.Context()

	if who, err := c.Whoami(ctx); err != nil || who.User.Name != "admin" || who.Project != s.first.Project.ID || who.Role != errand.Admin {
		t.Errorf("whoami: %+v, %v", who, err)
	}
	p, err := c.AddProject(ctx, "test", "00000000000000000000000000000002")
	if err != nil || p.ID != "00000000000000000000000000000002" || p.Name != "test" || p.CreatedAt.IsZero() {
		t.Fatalf("project %+v, %v", p, err)
	}
	_, err = c.AddProject(ctx, "test", "")
	wantError(t, "project again", err, errand.Conflict, "project")
	if list, err := c.Projects(ctx); err != nil || len(list) != 2 || list[1] != p {
		t.Errorf("projects %+v, %v", list, err)
	}

	const name = "Bob Ölmez 王"
	u, err := c.AddUser(ctx, client.NewUser{Name: name, Password: "correct horse", Roles: map[string]errand.Role{"test": errand.Operator}})
	if err != nil || u.Name != name || u.Admin || u.Disabled || u.Roles[p.ID] != errand.Operator || u.ID == "" {
		t.Fatalf("user %+v, %v", u, err)
	}
	_, err = c.AddUser(ctx, client.NewUser{Name: "x", Password: "short"})
	wantError(t, "short password", err, errand.Invalid, "password")
	if list, err := c.Users(ctx); err != nil || len(list) != 2 || !reflect.DeepEqual(list[0], u) {
		t.Errorf("users %+v, %v; want %+v first", list, err, u)
	}

	k, err := c.AddKey(ctx, client.NewKey{User: name, Project: "test", Lifetime: time.Hour, Note: "trial"})
	if err != nil || k.Project != p.ID || k.User != name || k.SecurityToken == "" || k.ExpiresAt.IsZero() {
		t.Fatalf("key %+v, %v", k, err)
	}
	keys, err := c.Keys(ctx, name)
	if err != nil || len(keys) != 1 || keys[0].Access != k.Access || keys[0].Note != "trial" || !keys[0].ExpiresAt.Equal(k.ExpiresAt) || keys[0].Project != p.ID {
		t.Errorf("keys %+v, %v", keys, err)
	}

	bob := s.as(t, k.Access, k.Secret, k.SecurityToken)
	if who, err := bob.Whoami(ctx); err != nil || who.User.Name != name || who.Project != p.ID || who.Role != errand.Operator {
		t.Errorf("whoami: %+v, %v", who, err)
	}
	_, err = bob.Users(ctx)
	wantError(t, "users as operator", err, errand.Forbidden, "role")
	_, err = bob.Tasks(ctx, errand.Filter{Project: s.first.Project.ID})
	wantError(t, "another project", err, errand.Unauthenticated, "project_id")
	_, err = s.as(t, k.Access, k.Secret, "").Whoami(ctx)
	wantError(t, "temporary key without its token", err, errand.Unauthenticated, "token")
	_, err = s.as(t, k.Access, "wrong", k.SecurityToken).Whoami(ctx)
	wantError(t, "wrong secret", err, errand.Unauthenticated, "signature")

	yes := true
	if u, err = c.SetUser(ctx, name, client.UserChange{Disabled: &yes, Roles: map[string]errand.Role{"test": ""}}); err != nil || !u.Disabled || len(u.Roles) != 0 {
		t.Errorf("changed user %+v, %v", u, err)
	}
	_, err = bob.Whoami(ctx)
	wantError(t, "disabled user", err, errand.Unauthenticated, "access_key")
	_, err = c.SetUser(ctx, "admin", client.UserChange{Disabled: &yes})
	wantError(t, "last admin", err, errand.Conflict, "user")

	if err := c.RevokeKey(ctx, k.Access); err != nil {
		t.Error(err)
	}
	wantError(t, "revoke again", c.RevokeKey(ctx, k.Access), errand.NotFound, "access_key")
}

func TestBackup(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var b bytes.Buffer
	n, err := s.admin(t).Backup(t.Context(), &b)
	if err != nil || n != int64(b.Len()) || !bytes.HasPrefix(b.Bytes(), []byte("SQLite format 3\x00")) {
		t.Errorf("backup of %d bytes (%d), %v", n, b.Len(), err)
	}
	full := errors.New("disk full")
	if _, err := s.admin(t).Backup(t.Context(), failing{full}); !errors.Is(err, full) {
		t.Errorf("backup to a full disk: %v, want the writer's error", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestCancelled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.admin(t).Whoami(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
}
