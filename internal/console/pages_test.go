package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// TestPages visits every page in both languages.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stuck := s.submit("resize", `{"size":2,"mode":"single"}`)
	running := s.submit("beside", "{}")
	g := s.claim()
	for g.Task.ID != running.ID {
		if _, err := s.runs.Finish(t.Context(), s.admin, s.admin.Project, g.Token, errand.Outcome{Status: errand.Failed, Reason: "no room", ErrorCode: "E1", Permanent: true}, []byte("line one\nline two\n")); err != nil {
			t.Fatal(err)
		}
		g = s.claim()
	}
	_ = stuck
	beat := tasks.Beat{Progress: &errand.Progress{Percent: 40, Remaining: time.Minute, Steps: []errand.Step{
		{Name: "one", Status: errand.StepSucceeded, StartedAt: time.Now().Add(-time.Minute), EndedAt: time.Now()}, {Name: "two", Status: errand.StepRunning, StartedAt: time.Now()}}}}
	if _, err := s.runs.Extend(t.Context(), s.admin, s.admin.Project, g.Token, beat); err != nil {
		t.Fatal(err)
	}
	s.submit("resize", `{"size":3,"mode":"single"}`)
	for _, lang := range []string{"en", "zh-CN"} {
		v := s.asAdmin()
		v.lang = lang
		for path, texts := range map[string][]string{
			"/":                           {"resize", "no room"},
			"/instances":                  {"sessions", "orders", "idle"},
			"/instances?q=sess":           {"sessions"},
			"/instances/" + redisID:       {"<svg class=\"timeline\"", "resize", "beside", "6.0"},
			"/tasks":                      {"resize", "beside"},
			"/tasks?status=failed":        {"no room"},
			"/tasks?instance=sessions":    {"resize"},
			"/tasks?user=admin":           {"resize"},
			"/tasks/" + running.ID:        {"40 %", "one", "two", "w1", `data-live="task=` + running.ID},
			"/tasks/" + stuck.ID:          {"no room", "E1", "line two", "&#34;mode&#34;: &#34;single&#34;"},
			"/submit":                     {"sessions"},
			"/submit?instance=" + redisID: {"resize", "beside"},
			"/submit?instance=" + redisID + "&operation=resize": {`name="/size"`, `name="/window/day"`, "64", `type="password"`},
			"/operations":                      {"resize", "Kafka", "kafkaConfigModify"},
			"/operations/redis/resize":         {"window.day", "single | cluster", "password"},
			"/workers":                         {"w1", "beside"},
			"/users":                           {"admin"},
			"/users/admin":                     {s.first.Key.Access},
			"/keys/x/revoke":                   {"x"},
			"/reference":                       {"/v2/{project_id}/instances/{instance_id}/tasks", s.url, kafkaID},
			"/tasks/" + running.ID + "/cancel": {"sessions", redisID},
			"/tasks/" + stuck.ID + "/retry":    {"sessions", "password"},
			"/tasks/" + stuck.ID + "/delete":   {"sessions"},
		} {
			a := v.get(path)
			if lang != "en" {
				texts = texts[:1]
			}
			if lang != "en" && path == "/instances" {
				texts = nil
			}
			a.want(t, http.StatusOK, texts...)
			a.wantNot(t, "%!", "ZgotmplZ", "<no value>", s.first.Key.Secret, g.Token)
			if t.Failed() {
				t.Fatalf("%s in %s", path, lang)
			}
		}
	}
}

// TestErrors checks that errors say what is wrong and carry the request's id.
func TestErrors(t *testing.T) {
	t.Parallel()
	v := newSite(t).asAdmin()
	id := regexp.MustCompile(`<code>[0-9a-f]{32}</code>`)
	for path, status := range map[string]int{
		"/tasks/x": http.StatusBadRequest, "/tasks/" + strings.Repeat("0", 32): http.StatusNotFound, "/instances/x": http.StatusBadRequest,
		"/instances/" + strings.Replace(redisID, "5", "6", 1): http.StatusNotFound, "/operations/redis/none": http.StatusNotFound,
		"/submit?instance=" + redisID + "&operation=none": http.StatusNotFound, "/users/none": http.StatusNotFound, "/static/none": http.StatusNotFound,
		"/tasks/x/none": http.StatusNotFound, "/live?task=x": http.StatusBadRequest, "/tasks/" + strings.Repeat("0", 32) + "/log?from=0": http.StatusNotFound,
	} {
		a := v.get(path)
		a.want(t, status, "To the overview")
		if !id.MatchString(a.body) || t.Failed() {
			t.Fatalf("%s: no request id, or see above", path)
		}
	}
	for _, path := range []string{"/tasks?from=never", "/tasks?status=odd", "/tasks?instance=nope", "/instances/" + redisID + "?from=x", "/tasks?from=2026-01-02&to=2026-01-01", "/tasks?status=failed&cursor=x"} {
		v.get(path).want(t, http.StatusOK, `class="problem"`)
		if t.Failed() {
			t.Fatal(path)
		}
	}
}

// TestPaging compares pages with the service's own.
func TestPaging(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for range 60 {
		s.submit("beside", "{}")
	}
	p, err := s.svc.List(t.Context(), s.admin, errand.Filter{Project: s.admin.Project, Instance: redisID, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`href="\./tasks/([0-9a-f]{32})"`)
	next := regexp.MustCompile(`rel="next" href="([^"#]+)"`)
	v := s.asAdmin()
	var got []string
	for path := "/tasks"; ; {
		a := v.get(path)
		a.want(t, http.StatusOK, " of 60")
		for _, m := range link.FindAllStringSubmatch(a.body, -1) {
			got = append(got, m[1])
		}
		m := next.FindStringSubmatch(a.body)
		if m == nil {
			break
		}
		path = "/tasks" + strings.ReplaceAll(m[1], "&amp;", "&")
	}
	if len(got) != len(p.Tasks) {
		t.Fatalf("%d tasks on all pages, want %d", len(got), len(p.Tasks))
	}
	for i, id := range got {
		if id != p.Tasks[i].ID {
			t.Fatalf("task %d is %s, want %s", i, id, p.Tasks[i].ID)
		}
	}
	v.get("/tasks?offset=1000").want(t, http.StatusOK, "No task", "Show all")
}
