package wire

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

const (
	project  = "0123456789abcdef0123456789abcdef"
	kafkaID  = "11111111-2222-3333-4444-555555555555"
	rabbitID = "22222222-2222-3333-4444-555555555555"
	redisID  = "33333333-2222-3333-4444-555555555555"
)

// bearer takes the Authorization header for the name of the caller.
type bearer struct{}

func (bearer) Authenticate(r *http.Request) (errand.Principal, error) {
	name := r.Header.Get("Authorization")
	if name == "" {
		return errand.Principal{}, errand.Errorf(errand.Unauthenticated, "credentials", "x-auth-token not found")
	}
	return errand.Principal{User: errand.User{Name: name}, Project: project, Role: errand.Viewer}, nil
}

// named returns a dialect that answers its routes with its name.
func named(name string, patterns ...string) *Dialect {
	table := Gateway.With(Failures{
		errand.Internal: {"": {Status: 500, Code: name + ".500", Msg: "Internal."}},
		errand.Invalid:  {"": {Status: 400, Code: name + ".400", Msg: "Invalid {0}: {msg}"}, "method": {Status: 405, Code: name + ".405", Msg: "Not allowed."}},
		errand.NotFound: {"instance": {Status: 404, Code: name + ".404", Msg: "No such instance."}},
	})
	appendError := func(b []byte, row Failure, _ *errand.Error, _ string) []byte {
		b = AppendMember(append(b, '{'), "error_code", row.Code)
		return append(AppendMember(b, "error_msg", row.Msg), '}')
	}
	d := New(name, table, appendError, bearer{})
	for _, p := range patterns {
		Handle(d, p, func(r *http.Request) (string, error) {
			if v := NewQuery(r).String("fail"); v != "" {
				return "", errand.Errorf(errand.Invalid, v, "as asked")
			}
			return r.PathValue("instance_id"), nil
		}, func(_ context.Context, p errand.Principal, in string) (string, error) {
			if in == "boom" {
				return "", errors.New("secret: /etc/passwd")
			}
			return name + " " + p.User.Name + " " + in, nil
		}, func(r *Reply, out string) { r.Body = AppendString(r.Body, out) })
	}
	return d
}

func testRouter() *Router {
	const list = "GET /v2/{project_id}/instances/{instance_id}/tasks"
	kafka, rabbit := named("kafka", list, list+"/{task_id}/progress"), named("rabbitmq", list)
	redis := named("dcs", list, "GET /v2/{project_id}/tasks")
	identity := named("iam", "GET /v3/projects")
	HandlePublic(identity, "POST /v3/auth/tokens", func(*http.Request) (string, error) { return "", nil },
		func(context.Context, string) (string, error) { return "token", nil }, func(r *Reply, out string) { r.Body = AppendString(r.Body, out) })
	return &Router{
		Auth: bearer{},
		Instance: func(_ context.Context, p errand.Principal, project, id string) (errand.Instance, error) {
			engine := map[string]errand.Engine{kafkaID: errand.Kafka, rabbitID: errand.RabbitMQ, redisID: errand.Redis}[id]
			if engine == "" || p.Project != project {
				return errand.Instance{}, errand.Errorf(errand.NotFound, "instance", "no")
			}
			return errand.Instance{Engine: engine}, nil
		},
		Families: []*Family{
			{Name: "dms", Base: kafka, ByEngine: map[errand.Engine]*Dialect{errand.Kafka: kafka, errand.RabbitMQ: rabbit}},
			{Name: "dcs", Base: redis, ByEngine: map[errand.Engine]*Dialect{errand.Redis: redis}},
		},
		Default:  "dms",
		Hosts:    map[string]string{"dcs.example": "dcs", "h:81": "dcs", "dms.example": "dms"},
		Native:   named("native", "GET /api/v1/x"),
		Identity: identity,
	}
}

func TestRouter(t *testing.T) {
	base := "/v2/" + project
	list := func(id string) string { return base + "/instances/" + id + "/tasks" }
	for _, tt := range []struct {
		name, method, host, listener, path, user string
		status                                   int
		want                                     string // the answer, or the error code
	}{
		{"kafka by engine", "GET", "h", "", list(kafkaID), "u", 200, "kafka u " + kafkaID},
		{"rabbitmq by engine", "GET", "h", "", list(rabbitID), "u", 200, "rabbitmq u " + rabbitID},
		{"redis by engine", "GET", "h", "", list(redisID), "u", 200, "dcs u " + redisID},
		{"redis by host", "GET", "DCS.example:8080", "", list(redisID), "u", 200, "dcs u " + redisID},
		{"redis by host and port", "GET", "h:81", "", list(redisID), "u", 200, "dcs u " + redisID},
		{"redis by listener", "GET", "h", "dcs", list(redisID), "u", 200, "dcs u " + redisID},
		{"the listener wins over the host", "GET", "dms.example", "dcs", list(redisID), "u", 200, "dcs u " + redisID},
		{"a kafka instance on the dcs host", "GET", "dcs.example", "", list(kafkaID), "u", 404, "dcs.404"},
		{"a redis instance on the dms host", "GET", "dms.example", "", list(redisID), "u", 404, "kafka.404"},
		{"an unknown call for it there", "GET", "dms.example", "", list(redisID) + "/x/y", "u", 404, "APIGW.0101"},
		{"a method that is not allowed there", "POST", "dms.example", "", list(redisID), "u", 405, "kafka.405"},
		{"a call that the engine lacks", "GET", "h", "", list(rabbitID) + "/t/progress", "u", 404, "APIGW.0101"},
		{"and one that has it", "GET", "h", "", list(kafkaID) + "/t/progress", "u", 200, "kafka u " + kafkaID},
		{"unknown instance, default family", "GET", "h", "", list("x"), "u", 200, "kafka u x"},
		{"unknown instance on the dcs host", "GET", "dcs.example", "", list("x"), "u", 200, "dcs u x"},
		{"task centre without a host", "GET", "h", "", base + "/tasks", "u", 200, "dcs u "},
		{"task centre on the dcs host", "GET", "dcs.example", "", base + "/tasks", "u", 200, "dcs u "},
		{"task centre on the dms host", "GET", "dms.example", "", base + "/tasks", "u", 404, "APIGW.0101"},
		{"doubled slashes", "GET", "h", "", "//v2//" + project + "/instances//" + kafkaID + "/tasks", "u", 200, "kafka u " + kafkaID},
		{"nobody", "GET", "h", "", list(kafkaID), "", 401, "APIGW.0301"},
		{"nobody on the task centre", "GET", "h", "", base + "/tasks", "", 401, "APIGW.0301"},
		{"unknown address", "GET", "h", "", "/", "", 404, "APIGW.0101"},
		{"unknown version", "GET", "h", "", "/v7/x", "", 404, "APIGW.0101"},
		{"dot segments", "GET", "h", "", base + "/../x", "u", 404, "APIGW.0101"},
		{"other method", "PUT", "h", "", list(kafkaID), "u", 405, "kafka.405"},
		{"native", "GET", "dcs.example", "", "/api/v1/x", "u", 200, "native u "},
		{"native, nobody", "GET", "h", "", "/api/v1/x", "", 401, "APIGW.0301"},
		{"native, unknown", "GET", "h", "", "/api/v2", "u", 404, "APIGW.0101"},
		{"identity", "GET", "h", "", "/v3/projects", "u", 200, "iam u "},
		{"identity, doubled slash", "GET", "h", "", "//v3/projects", "u", 200, "iam u "},
		{"identity for anybody", "POST", "h", "", "/v3/auth/tokens", "", 200, "token"},
		{"an error of the decoder", "GET", "h", "", list(kafkaID) + "?fail=limit", "u", 400, "kafka.400"},
		{"an error that nobody classified", "GET", "h", "", list("boom"), "u", 500, "kafka.500"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "http://"+tt.host+"/", nil)
			r.URL.Path, r.URL.RawQuery, _ = strings.Cut(tt.path, "?")
			if tt.user != "" {
				r.Header.Set("Authorization", tt.user)
			}
			w := httptest.NewRecorder()
			x := &Exchange{ID: "r1", Listener: tt.listener}
			testRouter().ServeHTTP(w, Begin(w, r, x))
			if w.Code != tt.status || w.Header().Get("X-Request-Id") != "r1" || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, headers %v: %s", w.Code, w.Header(), w.Body)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the cause leaks: %s", w.Body)
			}
			got := w.Body.String()
			if w.Code >= 400 {
				var e struct {
					Code string `json:"error_code"`
					Msg  string `json:"error_msg"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Msg == "" || x.Err == nil {
					t.Fatalf("error body %s: %v; logged %v", w.Body, err, x.Err)
				}
				got = e.Code
			} else if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || x.Route == "" || x.Dialect == "" {
				t.Errorf("body %s: %v; exchange %+v", w.Body, err, x)
			}
			if got != tt.want {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
			if tt.status == 405 && !strings.Contains(w.Header().Get("Allow"), "GET") {
				t.Errorf("Allow = %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestFailuresOf(t *testing.T) {
	table := Failures{errand.Invalid: {"": {Code: "any", Msg: "{0}: {msg}"}, "limit": {Code: "limit", Msg: "bad {0}"}}}
	if got := table.Of(errand.Errorf(errand.Invalid, "limit", "x")); got.Code != "limit" || got.Msg != "bad limit" {
		t.Errorf("own row: %+v", got)
	}
	if got := table.Of(errand.Errorf(errand.Invalid, "other", "why {0}")); got.Code != "any" || got.Msg != "other: why {0}" {
		t.Errorf("row of the kind: %+v", got)
	}
	more := table.With(Failures{errand.Invalid: {"limit": {Code: "new"}}, errand.Internal: {"": {Code: "in"}}})
	if more[errand.Invalid]["limit"].Code != "new" || more[errand.Internal][""].Code != "in" || more[errand.Invalid][""].Code != "any" || table[errand.Invalid]["limit"].Code != "limit" {
		t.Errorf("With: %+v; table %+v", more, table)
	}
}

func TestRoutes(t *testing.T) {
	d := named("d", "GET /b", "DELETE /a/{id}")
	HandlePublic(d, "POST /c", func(*http.Request) (string, error) { return "", nil },
		func(context.Context, string) (string, error) { return "", nil }, func(*Reply, string) {})
	want := []string{"GET /b", "DELETE /a/{id}", "POST /c"}
	got := d.Routes()
	if !slices.Equal(got, want) {
		t.Fatalf("routes %q, want %q", got, want)
	}
	got[0] = "changed"
	if !slices.Equal(d.Routes(), want) {
		t.Error("a caller can change the routes")
	}
}

// TestRemote: where a request came from is what its connection says.
func TestRemote(t *testing.T) {
	t.Parallel()
	d := named("native")
	Handle(d, "GET /from", func(*http.Request) (struct{}, error) { return struct{}{}, nil },
		func(_ context.Context, p errand.Principal, _ struct{}) (string, error) { return p.Remote, nil },
		func(r *Reply, out string) { r.Body = append(r.Body, out...) })
	for addr, want := range map[string]string{
		"192.0.2.7:4711":      "192.0.2.7",
		"[2001:db8::7]:4711":  "2001:db8::7",
		"[fe80::1%eth0]:4711": "fe80::1%eth0",
		"@":                   "", // a Unix socket
	} {
		r := httptest.NewRequest(http.MethodGet, "/from", nil)
		r.RemoteAddr = addr
		r.Header.Set("Authorization", "u")
		for _, h := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
			r.Header.Set(h, "203.0.113.1")
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if got := w.Body.String(); w.Code != http.StatusOK || got != want {
			t.Errorf("from %s: %d %q, want %q", addr, w.Code, got, want)
		}
	}
}

// brochure answers pages with its name.
type brochure struct{}

func (brochure) Owns(path string) bool { return path == "/" || path == "/tasks" }
func (brochure) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("page"))
}
func (brochure) Fail(w http.ResponseWriter, _ *http.Request, _ error) {
	w.WriteHeader(http.StatusTeapot)
}

// TestPages checks that pages answer what they own, and never where clients of one
// product are expected.
func TestPages(t *testing.T) {
	t.Parallel()
	dms, dcs := named("dms"), named("dcs")
	rt := &Router{
		Auth: bearer{}, Families: []*Family{{Name: "dms", Base: dms}, {Name: "dcs", Base: dcs}}, Default: "dms",
		Hosts: map[string]string{"dcs.example": "dcs"}, Native: named("native"), Identity: named("iam"), Pages: brochure{},
	}
	for _, tt := range []struct {
		path, host, listener string
		page                 bool
	}{
		{"/", "", "", true}, {"/tasks", "", "", true}, {"/other", "", "", false}, {"//", "", "", false}, {"/api/tasks", "", "", false},
		{"/", "dcs.example", "", false}, {"/tasks", "", "dms", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://errand.example"+tt.path, nil)
		if tt.host != "" {
			r.Host = tt.host
		}
		w := httptest.NewRecorder()
		r = Begin(w, r, &Exchange{ID: "x", Listener: tt.listener})
		rt.ServeHTTP(w, r)
		if got := w.Body.String() == "page"; got != tt.page {
			t.Errorf("%+v: %d %s", tt, w.Code, w.Body)
		}
		w = httptest.NewRecorder()
		rt.Fail(w, r, errand.Errorf(errand.Unavailable, "load", "busy"))
		if got := w.Code == http.StatusTeapot; got != tt.page {
			t.Errorf("Fail of %+v: %d", tt, w.Code)
		}
	}
}
