package native_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire/native"
)

// shelf is a catalog of two operations.
type shelf struct{}

var operations = []errand.Operation{
	{
		Engine: errand.Redis, Name: "EXTEND", Title: "Change specifications", TitleZH: "变更规格",
		Schema:  json.RawMessage(`{"type":"object","required":["new_capacity"]}`),
		Secrets: []string{"password"}, Lane: errand.DefaultLane, Timeout: 90 * time.Second, MaxAttempts: 2,
		Backoff: errand.Backoff{Base: 500 * time.Millisecond, Max: time.Minute}, OnLost: errand.RetryWhenLost, Runner: errand.RemoteRunner,
	},
	{Engine: errand.Kafka, Name: "restart", Title: "Restart", MaxAttempts: 1, OnLost: errand.FailWhenLost, Runner: errand.SimulationRunner, HideRunning: true},
}

func (shelf) Operation(engine errand.Engine, name string) (errand.Operation, bool) {
	for _, o := range operations {
		if o.Engine == engine && o.Name == name {
			return o, true
		}
	}
	return errand.Operation{}, false
}

func (shelf) Details(errand.Operation, json.RawMessage) json.RawMessage { return nil }

func (shelf) Check(o errand.Operation, params json.RawMessage) error {
	if len(o.Schema) > 0 && !bytes.Contains(params, []byte("new_capacity")) {
		return errand.Errorf(errand.Invalid, "params", "params has no new_capacity")
	}
	return nil
}

// running is a service with tasks that run, over a fresh database.
type running struct {
	svc  *tasks.Service
	runs *tasks.Runs
}

func newRuns(t *testing.T, clock func() time.Time) running {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "runs.db"), sqlite.Options{})
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
	svc := tasks.New(store, clock)
	return running{svc, tasks.NewRuns(svc, store, shelf{}, sealer, tasks.RunOptions{})}
}

func withRuns(r running) func(*native.Deps) {
	return func(d *native.Deps) {
		d.Tasks, d.Runs, d.Operations = r.svc, r.runs, func() []errand.Operation { return operations }
	}
}

// TestOnlyRecords checks that a server without tasks that run has none of their
// calls.
func TestOnlyRecords(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil)
	for _, call := range []string{
		"POST /instances/" + redisID + "/tasks", "POST /claims", "GET /watch", "GET /workers",
		"GET /tasks/" + requestID + "/why", "GET /tasks/" + requestID + "/log", "POST /tasks/" + requestID + "/cancel",
	} {
		method, path, _ := strings.Cut(call, " ")
		if w := s.ask(t, "admin", method, "/api/v1/projects/"+projectID+path, "{}"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `"url"`) {
			t.Errorf("%s: %d %s, want no such call", call, w.Code, w.Body)
		}
	}
}

// TestSecrets plants a secret and looks for it, and for the lease's token, in
// every answer but the one that hands them to the worker.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const planted = "correct-horse-battery"
	s := newStack(t, nil, withRuns(newRuns(t, func() time.Time { return now })))
	const p = "/api/v1/projects/" + projectID
	var token string
	ask := func(want int, role, method, target, body string) map[string]any {
		t.Helper()
		w := s.ask(t, role, method, target, body)
		if w.Code != want {
			t.Fatalf("%s %s: %d, want %d: %s", method, target, w.Code, want, w.Body)
		}
		out := w.Body.String()
		if strings.Contains(out, planted) != strings.HasSuffix(target, "/claims") {
			t.Errorf("%s %s: the secret is in the wrong place: %s", method, target, out)
		}
		if token != "" && strings.Contains(out, token) || strings.Contains(strings.ToLower(out), "sealed") {
			t.Errorf("%s %s shows the token or what is sealed: %s", method, target, out)
		}
		var v map[string]any
		_ = json.Unmarshal(w.Body.Bytes(), &v)
		return v
	}
	ask(201, "operator", "POST", p+"/instances", `{"id":"`+redisID+`","name":"cache","engine":"redis"}`)
	submission := `{"operation":"EXTEND","params":{"new_capacity":1},"secrets":{"password":"` + planted + `"}}`
	id, _ := ask(202, "operator", "POST", p+"/instances/"+redisID+"/tasks", submission)["id"].(string)
	ask(400, "operator", "POST", p+"/instances/"+redisID+"/tasks", strings.Replace(submission, "password", "passwort", 1))
	ask(400, "operator", "POST", p+"/instances/"+redisID+"/tasks", strings.Replace(submission, "new_capacity", "x", 1))
	ask(400, "operator", "POST", p+"/instances/"+redisID+"/tasks", strings.Replace(submission, `"secrets"`, `"secretz"`, 1))
	ask(400, "operator", "POST", p+"/instances/"+redisID+"/tasks", strings.Replace(submission, `{"password":`, `[`, 1))
	look := func() {
		t.Helper()
		for _, path := range []string{"/tasks", "/tasks/" + id, "/tasks/" + id + "/events", "/tasks/" + id + "/why", "/tasks/" + id + "/log", "/workers"} {
			ask(200, "viewer", "GET", p+path, "")
		}
		if w := s.watchFor(t, p+"/watch?after=0"); strings.Contains(w, planted) || token != "" && strings.Contains(w, token) || !strings.Contains(w, id) {
			t.Errorf("watch: %s", w)
		}
	}
	look()
	grants, _ := ask(200, "worker", "POST", p+"/claims", `{"worker":"w","operations":["EXTEND"]}`)["grants"].([]any)
	if len(grants) != 1 {
		t.Fatalf("%d grants", len(grants))
	}
	token, _ = grants[0].(map[string]any)["token"].(string)
	if len(token) != 64 {
		t.Fatalf("token %q", token)
	}
	look()
	ask(200, "worker", "POST", p+"/leases/"+token+"/extend", `{"progress":{"percent":10},"log":"hello\n"}`)
	look()
	ask(202, "operator", "POST", p+"/tasks/"+id+"/cancel", `{"reason":"no"}`)
	ask(200, "worker", "POST", p+"/leases/"+token+"/finish", `{"status":"cancelled"}`)
	look()
	ask(400, "operator", "POST", p+"/tasks/"+id+"/retry", `{"secrets":{"passwort":"`+planted+`"}}`)
	ask(202, "operator", "POST", p+"/tasks/"+id+"/retry", `{"secrets":{"password":"`+planted+`"}}`)
}

// TestBadBodies checks what is refused of what workers and submitters send, and
// what it is said to be about.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, withRuns(newRuns(t, func() time.Time { return now })))
	const p = "/api/v1/projects/" + projectID
	s.ask(t, "operator", "POST", p+"/instances", `{"id":"`+redisID+`","name":"cache","engine":"redis"}`)
	steps := func(step string) string { return `{"progress":{"percent":1,"steps":[` + step + `]}}` }
	token := "/leases/" + strings.Repeat("0", 64)
	long := strings.Repeat("x", errand.MaxAttributeLen+1)
	for _, tt := range []struct{ path, body, subject string }{
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","timeout_seconds":-1}`, "timeout_seconds"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","timeout_seconds":1e300}`, "timeout_seconds"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","timeout_seconds":1e8,"params":{}}`, "timeout"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","params":[]}`, "params"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","params":null}`, "params"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","run_at":"tomorrow"}`, "body"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","run_at":"2036-01-01T00:00:00Z"}`, "run_at"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","deadline":"2020-01-01T00:00:00Z"}`, "deadline"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","details":7}`, "details"},
		{"/instances/" + redisID + "/tasks", `{"operation":"EXTEND","user":"me"}`, "body"},
		{"/instances/" + redisID + "/tasks", ``, "body_empty"},
		{"/tasks/" + requestID + "/cancel", `{"reason":"` + long + `"}`, "reason"},
		{"/tasks/" + requestID + "/cancel", `{"reason":"a\u0000b"}`, "reason"},
		{"/claims", `{"worker":"w"}`, "operations"},
		{"/claims", `{"operations":["EXTEND"]}`, "worker"},
		{"/claims", `{"worker":"w","operations":["EXTEND"],"limit":0}`, "limit"},
		{"/claims", `{"worker":"w","operations":["EXTEND"],"limit":101}`, "limit"},
		{"/claims", `{"worker":"w","operations":["EXTEND"],"wait_seconds":60.5}`, "wait_seconds"},
		{"/claims", `{"worker":"w","operations":["EXTEND"],"engines":["mysql"]}`, "engines"},
		{"/claims", `{"worker":"w\u0000","operations":["EXTEND"]}`, "worker"},
		{token + "/extend", `{"progress":{"percent":250}}`, "percent"},
		{token + "/extend", `{"progress":{"percent":-1}}`, "percent"},
		{token + "/extend", `{"progress":{"percent":33.3}}`, "body"},
		{token + "/extend", `{"progress":{"remaining_seconds":-1}}`, "remaining_seconds"},
		{token + "/extend", `{"progress":{"done":true}}`, "body"},
		{token + "/extend", steps(`{"name":"a"}`), "steps"},
		{token + "/extend", steps(`{"status":"running"}`), "steps"},
		{token + "/extend", steps(`{"name":"a","status":"done"}`), "steps"},
		{token + "/extend", steps(`{"name":"a","status":"cancelled"}`), "steps"},
		{token + "/extend", steps(`{"name":"a","status":"running","detail":"` + long + `"}`), "steps"},
		{token + "/extend", steps(`{"name":"` + long + `","status":"running"}`), "steps"},
		{token + "/extend", steps(`{"name":"a","status":"running","started_at":"1969-01-01T00:00:00Z"}`), "steps"},
		{token + "/extend", steps(`{"name":"a","status":"running","steps":[{"name":"b","status":"running","steps":[{"name":"c","status":"running"}]}]}`), "steps"},
		{token + "/extend", steps(strings.Repeat(`{"name":"a","status":"running"},`, errand.MaxProgressSteps) + `{"name":"a","status":"running"}`), "steps"},
		{token + "/finish", `{"status":"running"}`, "status"},
		{token + "/finish", `{"status":"failed","reason":"` + long + `"}`, "reason"},
		{token + "/finish", ``, "body_empty"},
	} {
		role := "worker"
		if strings.HasPrefix(tt.path, "/instances") || strings.HasPrefix(tt.path, "/tasks") {
			role = "operator"
		}
		w := s.ask(t, role, "POST", p+tt.path, tt.body)
		var body struct{ Subject string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusBadRequest || body.Subject != tt.subject {
			t.Errorf("%s %.120s: %d %s, want 400 about %s", tt.path, tt.body, w.Code, w.Body, tt.subject)
		}
	}
	for _, key := range []string{strings.Repeat("k", 256), "caf\u00e9", "tab\there"} {
		w := s.send(t, "operator", "POST", p+"/instances/"+redisID+"/tasks", `{"operation":"EXTEND"}`, map[string]string{"Idempotency-Key": key})
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "idempotency_key") {
			t.Errorf("key %.20q: %d %s", key, w.Code, w.Body)
		}
	}
	w := s.send(t, "viewer", "GET", p+"/watch", "", map[string]string{"Last-Event-ID": "x"})
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "last_event_id") {
		t.Errorf("watch after nothing: %d %s", w.Code, w.Body)
	}
	large := `{"log":"` + strings.Repeat("x", native.MaxRun) + `"}`
	if w := s.ask(t, "worker", "POST", p+token+"/extend", large); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a great deal of log: %d, want 413", w.Code)
	}
	if w := s.ask(t, "worker", "POST", p+token+"/extend", `{"log":"`+strings.Repeat("x", tasks.MaxLogWrite+1)+`"}`); w.Code != http.StatusBadRequest {
		t.Errorf("too much log: %d, want 400", w.Code)
	}
}
