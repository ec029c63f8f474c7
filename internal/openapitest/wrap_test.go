package openapitest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// failures stands in for the testing.TB of a test that fails.
type failures struct {
	testing.TB
	lines []string
}

func (f *failures) Helper()                   {}
func (f *failures) Errorf(s string, a ...any) { f.lines = append(f.lines, fmt.Sprintf(s, a...)) }

const (
	tasksPath = "/v2/0123456789abcdef0123456789abcdef/instances/11111111-2222-3333-4444-555555555555/tasks"
	taskPath  = tasksPath + "/ff80808200000000000000000000000a"
	apiPath   = "/api/v1/projects/0123456789abcdef0123456789abcdef"

	emptyPage = `{"task_count":"0","tasks":[]}`
	dmsTask   = `{"id":"ff80808200000000000000000000000a","name":"n","user_name":"u","user_id":"i","params":"","status":"SUCCESS","created_at":"2026-01-02T03:04:05.006Z","updated_at":"2026-01-02T03:04:05.006Z"}`
	dcsTask   = `{"id":"ff80808200000000000000000000000a","name":"n","user_name":"u","user_id":"i","details":{"old_port":6379,"mine":{"any":1}},"enable_show":true,"status":"EXECUTING","created_at":"2026-01-02T03:04:05.006Z","updated_at":"2026-01-02T03:04:05.006Z"}`
	gateway   = `{"error_msg":"m","error_code":"APIGW.0101","request_id":"0123456789abcdef0123456789abcdef"}`
)

func page(count, task string) string { return `{"task_count":` + count + `,"tasks":[` + task + `]}` }

// TestWrap feeds the harness exchanges, right and wrong ones. An empty want is
// an exchange with nothing wrong; what is wrong must be reported, and once.
func TestWrap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		request string // method, target, and a body
		status  int
		body    string
		header  string // of the answer, in place of its content type; or of the request, after ">"
		want    string
	}{
		{"empty page", "GET " + tasksPath, 200, emptyPage, "", ""},
		{"every parameter", "GET " + tasksPath + "?start=1&limit=10&offset=0&begin_time=20260101000000&start_time=20260101000000&end_time=20260131235959", 200, emptyPage, "", ""},
		{"empty and unknown parameters", "GET " + tasksPath + "?limit=&start_time&future=1", 200, emptyPage, "", ""},
		{"DMS task", "GET " + tasksPath, 200, page(`"1"`, dmsTask), "", ""},
		{"DCS task", "GET " + tasksPath, 200, page(`"1"`, dcsTask), "", ""},
		{"charset", "GET " + tasksPath, 200, emptyPage, "Content-Type: application/json; charset=utf-8", ""},
		{"doubled slashes", "GET /" + strings.ReplaceAll(tasksPath, "/", "//"), 200, emptyPage, "", ""},
		{"HEAD is GET without its body", "HEAD " + tasksPath, 200, "", "", ""},
		{"DMS deleted", "DELETE " + taskPath, 204, "", "", ""},
		{"DCS deleted", "DELETE " + taskPath, 200, `{"message":""}`, "", ""},
		{"bad parameter, refused", "GET " + tasksPath + "?limit=x", 400, `{"error_code":"DMS.00400062","error_msg":"m"}`, "", ""},
		{"unknown address, refused", "GET /nowhere", 404, gateway, "", ""},
		{"other method, refused", "POST " + tasksPath, 405, `{"error_msg":"m","error_code":"DCS.5001","error_ext_msg":null}`, "Allow: GET", ""},
		{"nobody, refused", "GET " + tasksPath + "?limit=x", 401, gateway, ">X-Auth-Token: ", ""},
		{"nobody, with an address that is too long", "GET " + tasksPath, 414, gateway, ">X-Auth-Token: ", ""},

		{"a number for task_count", "GET " + tasksPath, 200, `{"task_count":1,"tasks":[` + dmsTask + `]}`, "", "/task_count"},
		{"task_count left out", "GET " + tasksPath, 200, `{"tasks":[]}`, "", "task_count"},
		{"null for tasks", "GET " + tasksPath, 200, `{"task_count":"0","tasks":null}`, "", "/tasks"},
		{"a member that is not documented", "GET " + tasksPath, 200, page(`"1"`, strings.Replace(dmsTask, `{`, `{"extra":1,`, 1)), "", "extra"},
		{"a DCS member in a DMS task", "GET " + tasksPath, 200, page(`"1"`, strings.Replace(dmsTask, `{`, `{"enable_show":true,`, 1)), "", "oneOf|anyOf"},
		{"a status of the other product", "GET " + tasksPath, 200, page(`"1"`, strings.Replace(dcsTask, "EXECUTING", "CREATED", 1)), "", "status"},
		{"a string for a port", "GET " + tasksPath, 200, page(`"1"`, strings.Replace(dcsTask, "6379", `"6379"`, 1)), "", "old_port"},
		{"a time in seconds", "GET " + tasksPath, 200, page(`"1"`, strings.Replace(dmsTask, ".006Z", "Z", 1)), "", "created_at"},
		{"a day that is none", "GET " + tasksPath, 200, page(`"1"`, strings.Replace(dmsTask, "01-02T", "02-30T", 1)), "", "created_at"},
		{"two tasks for one", "GET " + taskPath, 200, page(`"1"`, dmsTask+","+dmsTask), "", "/tasks"},
		{"a constant that is another", "DELETE " + taskPath, 200, `{"message":"done"}`, "", "/message"},
		{"a status that is not documented", "GET " + tasksPath, 418, gateway, "", "has no answer 418"},
		{"a redirect", "GET " + tasksPath, 302, "", "", "has no answer 302"},
		{"another content type", "GET " + tasksPath, 200, emptyPage, "Content-Type: text/html", "text/html"},
		{"no content type", "GET " + tasksPath, 200, emptyPage, "Content-Type: ", "content type"},
		{"no JSON", "GET " + tasksPath, 200, emptyPage[1:], "", "not JSON"},
		{"an empty body", "GET " + tasksPath, 200, "", "", "not JSON"},
		{"a body where there is none", "DELETE " + strings.Replace(taskPath, "/instances/11111111-2222-3333-4444-555555555555", "", 1), 200, "{}", "", "no body"},
		{"no request id", "GET " + tasksPath, 200, emptyPage, "X-Request-Id: ", "X-Request-Id is missing"},
		{"a request id of another form", "GET " + tasksPath, 200, emptyPage, "X-Request-Id: r1", "X-Request-Id"},
		{"an error that is none of ours", "GET " + tasksPath, 404, `{"error":"x"}`, "", "oneOf"},
		{"null for an error's message", "GET " + tasksPath, 404, `{"error_code":"DMS.00404022","error_msg":null}`, "", "error_msg"},
		{"a DMS error on a path of DCS", "GET /v2/0123456789abcdef0123456789abcdef/tasks", 404, `{"error_code":"DMS.00404022","error_msg":"m"}`, "", "oneOf"},
		{"a success that is not documented", "GET /nowhere", 200, "{}", "", "no such operation"},
		{"a success for a method that is not", "PUT " + tasksPath, 204, "", "", "no such operation"},
		{"a slash too many", "GET " + tasksPath + "/", 200, emptyPage, "", "no such operation"},
		{"an error there that is none of ours", "GET /nowhere", 404, "404 page not found", "Content-Type: text/plain", "no documented error"},
		{"an error there without a request id", "GET /nowhere", 404, gateway, "X-Request-Id: ", "X-Request-Id is missing"},
		{"a method that is not allowed, and no other", "POST " + tasksPath, 405, gateway, "", "which methods"},
		{"retry without a time", "GET " + tasksPath, 503, strings.Replace(gateway, "0101", "0613", 1), "", "Retry-After is missing"},

		{"a parameter out of range", "GET " + tasksPath + "?limit=1001", 200, emptyPage, "", "query limit"},
		{"below it", "GET " + tasksPath + "?start=-1", 200, emptyPage, "", "query start"},
		{"no number", "GET " + tasksPath + "?offset=1e3", 200, emptyPage, "", "query offset"},
		{"no time", "GET " + tasksPath + "?end_time=2026", 200, emptyPage, "", "query end_time"},
		{"twice", "GET " + tasksPath + "?limit=1&limit=1", 200, emptyPage, "", "given 2 times"},
		{"a broken escape", "GET " + tasksPath + "?limit=%zz", 200, emptyPage, "", "query cannot be read"},
		{"a bad id", "GET " + taskPath[:len(taskPath)-1], 200, page(`"1"`, dmsTask), "", "path task_id"},
		{"a bad parameter that breaks the server", "GET " + tasksPath + "?limit=x", 500, `{"error_code":"DMS.00500000","error_msg":"m"}`, "", "query limit"},
		{"nobody", "GET " + tasksPath, 200, emptyPage, ">X-Auth-Token: ", "no credentials"},
		{"nobody, told what there is", "GET " + taskPath, 404, gateway, ">X-Auth-Token: ", "no credentials"},
		{"half of a temporary key", "GET " + tasksPath, 200, emptyPage, ">X-Auth-Token: \nX-Security-Token: t", "no credentials"},
		{"no engine", "POST " + apiPath + "/instances {\"id\":\"11111111-2222-3333-4444-555555555555\",\"name\":\"n\",\"engine\":\"mysql\"}", 400, nativeError("invalid"), "", ""},
		{"no engine, refused for another reason", "POST " + apiPath + "/instances {\"id\":\"11111111-2222-3333-4444-555555555555\",\"name\":\"n\",\"engine\":\"mysql\"}", 409, nativeError("conflict"), "", "/engine"},
		{"no engine, accepted", "POST " + apiPath + "/instances {\"id\":\"11111111-2222-3333-4444-555555555555\",\"name\":\"n\",\"engine\":\"mysql\"}", 500, nativeError("internal"), "", "/engine"},
		{"a member too many", "POST " + apiPath[:8] + "projects {\"name\":\"n\",\"nom\":1}", 500, nativeError("internal"), "", "nom"},
		{"no body", "POST " + apiPath[:8] + "projects", 500, nativeError("internal"), "", "request body: it is missing"},
		{"body of another type", "POST " + apiPath[:8] + "projects {\"name\":\"n\"}", 500, nativeError("internal"), ">Content-Type: text/csv", "text/csv"},
		{"one document", "POST " + apiPath + "/instances/11111111-2222-3333-4444-555555555555/records {\"tasks\":[]}", 500, nativeError("internal"), "", ""},
		{"one behind the other", "POST " + apiPath + "/instances/11111111-2222-3333-4444-555555555555/records {\"tasks\":[]}\n{\"tasks\":[]}", 500, nativeError("internal"), "", ""},
		{"the second is bad", "POST " + apiPath + "/instances/11111111-2222-3333-4444-555555555555/records {\"tasks\":[]}{\"tasks\":1}", 500, nativeError("internal"), "", "value 2"},
		{"the second is cut", "POST " + apiPath + "/instances/11111111-2222-3333-4444-555555555555/records {\"tasks\":[]}{\"tasks\"", 500, nativeError("internal"), "", "value 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asked, request, _ := strings.Cut(tt.header, ">")
			f := &failures{TB: t}
			h := Wrap(f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("X-Request-Id", "0123456789abcdef0123456789abcdef")
				set(w.Header(), asked)
				w.WriteHeader(tt.status)
				if tt.body == "" {
					return
				}
				if _, err := io.WriteString(w, tt.body); err != nil {
					t.Error(err)
				}
			}))
			method, rest, _ := strings.Cut(tt.request, " ")
			target, body, _ := strings.Cut(rest, " ")
			r := httptest.NewRequest(method, "http://errand.example/", strings.NewReader(body))
			path, query, _ := strings.Cut(target, "?")
			r.URL.Path, r.URL.RawQuery = path, query
			r.Header.Set("X-Auth-Token", "t")
			set(r.Header, request)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("the answer was changed: %d %s", w.Code, w.Body)
			}
			switch {
			case tt.want == "" && len(f.lines) > 0:
				t.Errorf("reported: %s", f.lines)
			case tt.want != "" && (len(f.lines) != 1 || !containsAny(f.lines[0], tt.want)):
				t.Errorf("reported %q, want one line with %q", f.lines, tt.want)
			}
		})
	}
}

func nativeError(code string) string {
	return `{"error_code":"` + code + `","error_msg":"m","subject":"s","request_id":"0123456789abcdef0123456789abcdef"}`
}

// set sets headers from lines; one without a value is removed.
func set(h http.Header, lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		if h.Del(name); value != "" {
			h.Set(name, value)
		}
	}
}

func containsAny(s, alternatives string) bool {
	for a := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}

// A handler that stops reading has its request's body left alone.
func TestUnreadBody(t *testing.T) {
	t.Parallel()
	f := &failures{TB: t}
	h := Wrap(f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", "0123456789abcdef0123456789abcdef")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, nativeError("internal"))
	}))
	r := httptest.NewRequest("POST", "/api/v1/projects", strings.NewReader("no JSON at all"))
	r.Header.Set("X-Auth-Token", "t")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if len(f.lines) > 0 {
		t.Errorf("reported: %s", f.lines)
	}
}

// What a broken document is refused for, so that a slip in it is found.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	const head = "openapi: 3.1.1\ninfo: {title: t, version: '1'}\n"
	for name, tt := range map[string]struct{ doc, want string }{
		"no YAML":         {"openapi: [", "cannot be read"},
		"3.0":             {"openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths: {}\n", "not 3.1"},
		"no title":        {"openapi: 3.1.1\ninfo: {version: '1'}\npaths: {}\n", "title"},
		"unknown type":    {head + "paths: {}\ncomponents: {schemas: {AnyError: {type: text}}}\n", "text"},
		"bad example":     {head + "paths: {/a: {get: {responses: {'200': {description: d, content: {application/json: {schema: {type: string}, example: 1}}}}}}}\ncomponents: {schemas: {AnyError: {}}}\n", "example"},
		"range of status": {head + "paths: {/a: {get: {responses: {2XX: {description: d}}}}}\ncomponents: {schemas: {AnyError: {}}}\n", "2XX"},
	} {
		if _, err := load([]byte(tt.doc)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, tt.want)
		}
	}
}
