package console_test

import (
	"bufio"
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func TestSubmit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.asAdmin()
	form := func(pairs ...string) []string {
		return append([]string{"instance", redisID, "operation", "resize", "key", "k1"}, pairs...)
	}
	// What the form itself knows to be wrong.
	a := v.post("/submit", form("/size", "two", "/ratio", "x", "/ports", "1\nx", "/labels", "{", "/window/hour", "3", "secret.password", "hunter2-planted", "timeout", "soon", "run_at", "later")...)
	a.want(t, http.StatusBadRequest, "Nothing was submitted yet", "This must be a number.", "This is needed.", "Line 2: This must be a number.", "This is not JSON.",
		`value="two"`, "Write a number with its unit", "later is not a time", `aria-invalid="true"`)
	a.wantNot(t, "hunter2")
	// What only the service finds.
	a = v.post("/submit", form("/size", "65", "/mode", `"single"`, "/note", "NO!")...)
	a.want(t, http.StatusBadRequest, "must be", "must match", `value="65"`, "Nothing was submitted yet")
	v.post("/submit", form("/size", "1", "/mode", `"wrong"`)...).want(t, http.StatusBadRequest, "Choose one of the values.")
	v.post("/submit", form("/size", "1", "/mode", `"single"`, "deadline", "2020-01-01T00:00")...).want(t, http.StatusBadRequest, `id="deadline-problem"`)

	good := form("/size", "8", "/mode", `"cluster"`, "/ratio", "0.5", "/force", "false", "/note", "a b", "/zones", "az1\n\n az2 ", "/ports", "1\n2", "/labels", `[{"key":"a"}]`,
		"/window/day", "mon", "/window/hour", "3", "secret.password", "hunter2-planted", "timeout", "90s")
	a = v.post("/submit", good...)
	if a.status != http.StatusSeeOther || !strings.HasSuffix(a.to(), "?done=submitted") {
		t.Fatalf("submit: %d, to %q: %.600s", a.status, a.to(), a.text())
	}
	if again := v.post("/submit", good...); again.to() != a.to() {
		t.Errorf("the same form once more leads to %q, want %q", again.to(), a.to())
	}
	id := strings.TrimSuffix(strings.TrimPrefix(a.to(), "tasks/"), "?done=submitted")
	task, err := s.runs.Get(t.Context(), s.admin, s.admin.Project, id)
	if err != nil {
		t.Fatal(err)
	}
	const params = `{"size":8,"mode":"cluster","ratio":0.5,"force":false,"note":"a b","zones":["az1","az2"],"ports":[1,2],"labels":[{"key":"a"}],"window":{"day":"mon","hour":3}}`
	if task.Params != params || task.Run.Timeout != 90*time.Second || task.User.Name != "admin" {
		t.Errorf("submitted %s by %s, %v, want %s", task.Params, task.User.Name, task.Run.Timeout, params)
	}
	a = v.get("/" + a.to())
	a.want(t, http.StatusOK, "The task is submitted.")
	a.wantNot(t, "hunter2")

	// The same key with another form is a conflict, and the next try has a new key.
	a = v.post("/submit", form("/size", "9", "/mode", `"single"`)...)
	a.want(t, http.StatusConflict, "was used for another submission")
	a.wantNot(t, `value="k1"`)

	// Where a lane is taken, it can be refused.
	a = v.post("/submit", "instance", redisID, "operation", "resize", "/size", "9", "/mode", `"single"`, "reject", "1")
	a.want(t, http.StatusConflict, "is busy")

	// An operation whose schema lets others through takes them as JSON.
	for _, tt := range []struct {
		other string
		want  int
	}{{`{"a":1}`, http.StatusSeeOther}, {`[1]`, http.StatusBadRequest}, {`{`, http.StatusBadRequest}, {"", http.StatusSeeOther}} {
		v.post("/submit", "instance", redisID, "operation", "beside", "other", tt.other).want(t, tt.want)
	}
	v.post("/submit", "instance", redisID, "operation", "none").want(t, http.StatusNotFound)
}

func TestActs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.asAdmin()
	waiting := s.submit("beside", "{}")
	v.get("/tasks/"+waiting.ID+"/move").want(t, http.StatusOK, `name="run_at"`)
	v.post("/tasks/"+waiting.ID+"/move", "run_at", "soon").want(t, http.StatusBadRequest, "is not a time")
	tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format("2006-01-02T15:04")
	v.post("/tasks/"+waiting.ID+"/move", "run_at", tomorrow).want(t, http.StatusSeeOther)
	v.get("/tasks/"+waiting.ID).want(t, http.StatusOK, "it is to be started at "+strings.Replace(tomorrow, "T", " ", 1))
	v.get("/tasks/"+waiting.ID+"/cancel").want(t, http.StatusOK, "sessions", redisID, "Cancel this task?")
	if a := v.post("/tasks/"+waiting.ID+"/cancel", "reason", "not today"); a.to() != "tasks/"+waiting.ID+"?done=cancelled" {
		t.Fatalf("cancel leads to %q", a.to())
	}
	v.get("/tasks/"+waiting.ID+"?done=cancelled").want(t, http.StatusOK, "The task is cancelled.", "not today", "/retry", "/delete")
	v.post("/tasks/"+waiting.ID+"/cancel").want(t, http.StatusConflict, `role="alert"`)

	a := v.post("/tasks/"+waiting.ID+"/retry", "key", "again")
	again := strings.TrimSuffix(strings.TrimPrefix(a.to(), "tasks/"), "?done=submitted")
	v.get("/tasks/"+again).want(t, http.StatusOK, "Runs again", waiting.ID)
	v.post("/tasks/"+again+"/retry").want(t, http.StatusConflict)
	v.post("/tasks/"+again+"/delete").want(t, http.StatusConflict)

	g := s.claim()
	if a := v.post("/tasks/"+g.Task.ID+"/cancel", "reason", "stop it"); a.to() != "tasks/"+g.Task.ID+"?done=stopping" {
		t.Errorf("cancel of a running task leads to %q", a.to())
	}
	if a := v.post("/tasks/" + waiting.ID + "/delete"); a.to() != "instances/"+redisID+"?done=deleted" {
		t.Errorf("delete leads to %q", a.to())
	}
	v.get("/tasks/"+waiting.ID).want(t, http.StatusNotFound)
}

func TestUsersAndInstances(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.asAdmin()
	const id = "00000000-0000-4000-8000-000000000001"
	v.post("/instances", "id", "x", "name", "n", "engine", "redis").want(t, http.StatusBadRequest, "is not a UUID", `value="n"`, " open>")
	v.post("/instances", "id", id, "name", "third", "engine", "rabbitmq").want(t, http.StatusSeeOther)
	v.get("/instances?q=THIRD").want(t, http.StatusOK, "RabbitMQ")
	v.get("/instances?q=nothing-like-it").want(t, http.StatusOK, "No instance has this")

	v.post("/users", "name", "ann", "password", "short").want(t, http.StatusBadRequest, "a password must have", `value="ann"`)
	v.post("/users", "name", "ann", "password", "long-enough", "role", "operator").want(t, http.StatusSeeOther)
	v.get("/users/ann").want(t, http.StatusOK, `<option value="operator" selected>`)
	v.post("/users/ann", "change", "role", "project", s.admin.Project, "role", "viewer").want(t, http.StatusSeeOther)
	v.post("/users/ann", "change", "password", "password", "").want(t, http.StatusBadRequest, "Type the new password.")
	v.post("/users/ann", "change", "nothing").want(t, http.StatusBadRequest)
	v.post("/users/admin", "change", "disabled", "disabled", "true").want(t, http.StatusConflict, "last admin")
	a := v.post("/users/ann/keys", "project", s.admin.Project, "note", "ci", "lifetime", "12h")
	a.want(t, http.StatusOK, "only time that its secret is shown", "Security token")
	if !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
		t.Error("a page with a secret may be stored")
	}
	secret := regexp.MustCompile(`<code>([A-Z2-7]{40})</code>`).FindStringSubmatch(a.body)
	if secret == nil {
		t.Fatal("the new secret is not shown")
	}
	a = v.get("/users/ann")
	a.want(t, http.StatusOK, "ci")
	a.wantNot(t, secret[1])
	v.post("/users/ann/keys", "project", s.admin.Project, "lifetime", "soon").want(t, http.StatusBadRequest, "Write a number with its unit")
	access := regexp.MustCompile(`keys/([A-Z2-7]{20})/revoke`).FindStringSubmatch(a.body)[1]
	if a := v.post("/keys/"+access+"/revoke", "back", "users/ann"); a.to() != "users/ann?done=revoked" {
		t.Errorf("revoke leads to %q", a.to())
	}
	v.get("/users/ann").want(t, http.StatusOK, "The user has none.")
}

func TestLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.asAdmin()
	task := s.submit("beside", "{}")
	v.get("/tasks/"+task.ID).want(t, http.StatusOK, `data-from="0"`)
	g := s.claim()
	long := strings.Repeat("a line of the log\n", 6000)
	for _, text := range []string{"\x1b[31mred\x1b[0m <b>bold</b>\n", long, "the end\n"} {
		if _, err := s.runs.Extend(t.Context(), s.admin, s.admin.Project, g.Token, tasks.Beat{Log: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	a := v.get("/tasks/" + task.ID)
	a.want(t, http.StatusOK, "the end", "Only the end is shown.")
	a.wantNot(t, "\x1b", "<b>bold")
	a = v.get("/tasks/" + task.ID + "/log?from=0")
	a.want(t, http.StatusOK, `\u001b[31mred`, "<b>bold</b>")
	if a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.header.Get("X-Log-Next") != "65536" {
		t.Errorf("headers %v", a.header)
	}
	v.get("/tasks/"+task.ID+"/log?from=-1").want(t, http.StatusBadRequest)
	a = v.get("/tasks/" + task.ID + "/log?download")
	if a.body != "\x1b[31mred\x1b[0m <b>bold</b>\n"+long+"the end\n" || !strings.Contains(a.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the download has %d bytes, %v", len(a.body), a.header)
	}
}

// TestLive watches a task through its life.
func TestLive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.asAdmin()
	task := s.submit("beside", "{}")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/live?task="+task.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if w.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", w.StatusCode, w.Header)
	}
	lines := bufio.NewScanner(w.Body)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == want {
				return
			}
		}
		t.Fatalf("the stream ended without %q: %v", want, lines.Err())
	}
	until("event: hello")
	g := s.claim()
	until("event: change")
	beat := tasks.Beat{Progress: &errand.Progress{Percent: 10}}
	if _, err := s.runs.Extend(t.Context(), s.admin, s.admin.Project, g.Token, beat); err != nil {
		t.Fatal(err)
	}
	until("event: change")
	if _, err := s.runs.Finish(t.Context(), s.admin, s.admin.Project, g.Token, errand.Outcome{Status: errand.Succeeded}, nil); err != nil {
		t.Fatal(err)
	}
	until("event: change")
	s.stop() // nobody who watches holds up a server that stops
	for lines.Scan() {
	}
}

// TestHostileTexts plants what must never be executed, wherever a user can write.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	long := strings.Repeat("x", 900)
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>` + "\u202egnp\x1b[31m"
	plain := strings.ReplaceAll(strings.ReplaceAll(evil, "\u202e", ""), "\x1b", "")
	const id = "00000000-0000-4000-8000-000000000002"
	if _, err := s.svc.Register(t.Context(), s.admin, errand.Instance{Project: s.admin.Project, ID: id, Name: plain, Engine: errand.Redis, Attributes: map[string]string{evil: evil + long}}); err != nil {
		t.Fatal(err)
	}
	task, err := s.runs.Submit(t.Context(), s.admin, s.admin.Project, id, tasks.Submission{Operation: "beside", Params: []byte(`{"p":"<script>alert(3)</script>` + strings.Repeat("y", 30_000) + `"}`), Details: []byte(`{"old_x":"<script>","new_x":"</pre><script>","other":"\u202e"}`)})
	if err != nil {
		t.Fatal(err)
	}
	g := s.claim()
	steps := []errand.Step{{Name: evil, Status: errand.StepRunning, Detail: evil, ErrorCode: evil}}
	if _, err := s.runs.Extend(t.Context(), s.admin, s.admin.Project, g.Token, tasks.Beat{Progress: &errand.Progress{Steps: steps}, Log: []byte("</pre>" + evil + "\n")}); err != nil {
		t.Fatal(err)
	}
	v := s.asAdmin()
	look := func() {
		t.Helper()
		for _, path := range []string{"/", "/instances", "/instances/" + id, "/tasks", "/tasks/" + task.ID, "/submit", "/submit?instance=" + id, "/tasks/" + task.ID + "/delete", "/tasks?user=" + "%3Cscript%3E", "/instances?q=%3Cscript%3E", "/signin?next=%22%3E%3Cscript%3E"} {
			a := v.get(path)
			a.wantNot(t, "<script>alert", "<img", "\u202e", "\x1b", "onerror=alert(2)>", strings.Repeat("y", 25_000))
			if strings.Count(a.body, "<script") > 1 {
				t.Errorf("%s: more scripts than our own", path)
			}
			if t.Failed() {
				t.Fatal(path)
			}
		}
	}
	look()
	if _, err := s.runs.Finish(t.Context(), s.admin, s.admin.Project, g.Token, errand.Outcome{Status: errand.Failed, ErrorCode: evil, Reason: evil + long, Permanent: true, Result: []byte(`"</pre><script>alert(4)"`)}, nil); err != nil {
		t.Fatal(err)
	}
	look()
	v.get("/tasks/"+task.ID).want(t, http.StatusOK, "&lt;script&gt;alert(1)", `\u202e`, `\u001b`, "… (")
}
