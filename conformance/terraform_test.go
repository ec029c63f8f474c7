package conformance

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// terraform asks as the data sources and waiters of the provider's Terraform
// provider do: with a token, often without Content-Type, and in loops that end
// only if the server keeps to certain rules.
type terraform struct {
	t     *testing.T
	srv   *server
	w     *world
	token string
}

// maxRequests is how many requests a loop may make: one that the server does
// not let end must not run for ever.
const maxRequests = 60

func terraformLoops(t *testing.T, srv *server, table *table) {
	w := newWorld("Terraform")
	srv.build(t, w)
	tf := &terraform{t: t, srv: srv, w: w}
	hundred := tf.instanceOf100()
	for _, l := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"token: POST /v3/auth/tokens with a password, project found by name, domains listed", tf.login},
		{"background tasks of Kafka and RabbitMQ: start from 1 in tens until task_count is reached", tf.untilCount},
		{"background tasks of RocketMQ: hundreds until a page is short, on a multiple of 100", func(t *testing.T) { tf.untilShort(t, hundred) }},
		{"background tasks of DCS: offset in tens until a page is empty", tf.untilEmpty},
		{"task centre of DCS: the first page without parameters, then offset alone until a page is empty", tf.pager},
		{"waiters by name: the first task of that name in the first page is the newest", tf.newestOfName},
		{"access key: signed over accept, user-agent and x-sdk-date alone, with X-Project-Id and X-Domain-Id added afterwards", tf.signed},
		{"waiters by id: CREATED, then SUCCESS; an unknown id is an HTTP error", tf.waitByID},
		{"waiters by id: a scheduled task that is moved to now runs, and a cancelled one is CANCELLED", tf.scheduled},
	} {
		if t.Run(l.name, l.run) {
			table.looped(l.name)
		}
	}
	for _, w := range waiters {
		name := "waiters, a task that runs to its end, well or not: " + w.title
		if t.Run(name, func(t *testing.T) { tf.wait(t, w) }) {
			table.looped(name)
		}
	}
}

// instanceOf100 registers a RocketMQ instance with exactly 100 tasks.
func (tf *terraform) instanceOf100() string {
	id := uuid("Terraform", "hundred")
	owner := tf.srv.as(tf.w)
	owner.add(tf.t, services[1], "hundred", id)
	var tasks []record
	for i := range 100 {
		tasks = append(tasks, newTask(services[1], w32("hundred", strconv.Itoa(i)), i, base.Add(time.Duration(i)*time.Second)))
	}
	owner.imports(tf.t, id, tasks)
	return id
}

func (tf *terraform) login(t *testing.T) {
	const password = "correct horse battery staple"
	name := "terraform-" + tf.w.project
	cmd := exec.CommandContext(t.Context(), tf.srv.bin, "user", "add", name, "--role", tf.w.project+"=operator", "--password-stdin")
	cmd.Env, cmd.Stdin = append(cmd.Environ(), tf.srv.env...), strings.NewReader(password+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("errand user add: %v\n%s", err, out)
	}
	type m = map[string]any
	body := m{"auth": m{
		"identity": m{"methods": []string{"password"}, "password": m{"user": m{"name": name, "password": password, "domain": m{"name": "errand"}}}},
		"scope":    m{"project": m{"name": tf.w.region}},
	}}
	header, answer := tf.do(t, "POST", tf.srv.any+"/v3/auth/tokens", body, http.StatusCreated)
	tf.token = header.Get("X-Subject-Token")
	if tf.token == "" {
		t.Fatal("no X-Subject-Token")
	}
	token, _ := answer["token"].(map[string]any)
	project, _ := token["project"].(map[string]any)
	if project["id"] != tf.w.project || project["name"] != tf.w.region {
		t.Errorf("the token is for project %v", project)
	}
	expires, err := time.Parse(time.RFC3339, fmt.Sprint(token["expires_at"]))
	if err != nil || time.Until(expires) < time.Hour {
		t.Errorf("the token expires at %v", token["expires_at"])
	}
	_, answer = tf.do(t, "GET", tf.srv.any+"/v3/projects?name="+tf.w.region, nil, http.StatusOK)
	if list, _ := answer["projects"].([]any); len(list) != 1 || list[0].(map[string]any)["id"] != tf.w.project {
		t.Errorf("projects of that name: %v", answer)
	}
	_, answer = tf.do(t, "GET", tf.srv.any+"/v3/auth/domains", nil, http.StatusOK)
	if list, _ := answer["domains"].([]any); len(list) != 1 {
		t.Errorf("domains: %v", answer)
	}
}

func (tf *terraform) untilCount(t *testing.T) {
	for _, s := range []service{services[0], services[2]} {
		var got []any
		for start := 1; ; {
			answer := tf.get(t, s, tf.w.of[s.name].list, url.Values{"limit": {"10"}, "start": {strconv.Itoa(start)}})
			list := answer["tasks"].([]any)
			got, start = append(got, list...), start+len(list)
			count, err := strconv.Atoi(answer["task_count"].(string))
			if err != nil {
				t.Fatal(err)
			}
			if count <= start-1 {
				break
			}
			if len(got) > maxRequests*10 || len(list) == 0 {
				t.Fatalf("the loop does not end: %d of %d", len(got), count)
			}
		}
		wantAll(t, got, tf.w.of[s.name].tasks)
	}
}

func (tf *terraform) untilShort(t *testing.T, instance string) {
	total := 0
	for start, n := 1, 100; n == 100; start += n {
		answer := tf.get(t, services[1], instance, url.Values{"limit": {"100"}, "start": {strconv.Itoa(start)}})
		n = len(answer["tasks"].([]any))
		if total += n; total > 100 {
			t.Fatal("the loop does not end")
		}
	}
	if total != 100 {
		t.Errorf("%d tasks, want 100", total)
	}
}

func (tf *terraform) untilEmpty(t *testing.T) {
	s := services[3]
	var got []any
	for range maxRequests {
		answer := tf.get(t, s, tf.w.of[s.name].list, url.Values{"limit": {"10"}, "offset": {strconv.Itoa(len(got))}})
		list := answer["tasks"].([]any)
		if len(list) == 0 {
			wantAll(t, got, tf.w.of[s.name].tasks)
			return
		}
		got = append(got, list...)
	}
	t.Fatal("the loop does not end")
}

func (tf *terraform) pager(t *testing.T) {
	query, n := "", 0
	for range maxRequests {
		header, answer := tf.do(t, "GET", tf.srv.dcs+"/v2/"+tf.w.project+"/tasks"+query, nil, http.StatusOK)
		if ct := header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
			t.Errorf("Content-Type is %q", ct)
		}
		arrays := 0
		for _, v := range answer {
			if _, isArray := v.([]any); isArray {
				arrays++
			}
		}
		list, isArray := answer["tasks"].([]any)
		if arrays != 1 || !isArray {
			t.Fatalf("the answer must have one array, tasks: %v", answer)
		}
		if len(list) == 0 {
			if want := listed + 3; n != want {
				t.Errorf("%d tasks, want %d", n, want)
			}
			return
		}
		n += len(list)
		query = "?offset=" + strconv.Itoa(n)
	}
	t.Fatal("the loop does not end")
}

func (tf *terraform) newestOfName(t *testing.T) {
	s := services[1]
	g := tf.w.of[s.name]
	name := g.tasks[1]["name"]
	answer := tf.get(t, s, g.list, nil)
	for _, v := range answer["tasks"].([]any) {
		if task := v.(map[string]any); task["name"] == name {
			for _, want := range g.tasks {
				if want["name"] == name {
					if task["id"] != want["id"] {
						t.Errorf("the first %s is %v, want %v", name, task["id"], want["id"])
					}
					return
				}
			}
		}
	}
	t.Errorf("no %s in the first page", name)
}

func (tf *terraform) waitByID(t *testing.T) {
	s := services[2]
	g := tf.w.of[s.name]
	path := tf.srv.dms + "/v2/" + tf.w.project + "/instances/" + g.del + "/tasks/"
	status := func() any {
		_, answer := tf.do(t, "GET", path+g.running["id"].(string), nil, http.StatusOK)
		return answer["tasks"].([]any)[0].(map[string]any)["status"]
	}
	if got := status(); got != "CREATED" { // a plug-in's waiter takes nothing else for running
		t.Errorf("while running the status is %v, want CREATED", got)
	}
	owner := tf.srv.as(tf.w)
	g.running["status"], g.running["updated_at"] = "SUCCESS", stamp(base.Add(time.Hour))
	owner.imports(t, g.del, []record{g.running})
	if got := status(); got != "SUCCESS" {
		t.Errorf("at the end the status is %v, want SUCCESS", got)
	}
	tf.do(t, "GET", path+w32("nobody"), nil, http.StatusNotFound)
}

// signed signs as the client library under Terraform does. The canonical request
// is written out here, apart from the server's own code.
func (tf *terraform) signed(t *testing.T) {
	k, s := tf.w.keys.operator, services[0]
	path := "/v2/" + tf.w.project + "/instances/" + tf.w.of[s.name].list + "/tasks"
	req, err := http.NewRequestWithContext(t.Context(), "GET", tf.srv.dms+path+"?start=1&limit=100", nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Format("20060102T150405Z")
	canonical := strings.Join([]string{
		"GET", path + "/", "limit=100&start=1",
		"accept:application/json", "user-agent:terraform", "x-sdk-date:" + now, "",
		"accept;user-agent;x-sdk-date", fmt.Sprintf("%x", sha256.Sum256(nil)),
	}, "\n")
	mac := hmac.New(sha256.New, []byte(k.sk))
	fmt.Fprintf(mac, "SDK-HMAC-SHA256\n%s\n%x", now, sha256.Sum256([]byte(canonical)))
	for name, value := range map[string]string{
		"Accept": "application/json", "User-Agent": "terraform", "X-Sdk-Date": now,
		"Authorization": fmt.Sprintf("SDK-HMAC-SHA256 Access=%s, SignedHeaders=accept;user-agent;x-sdk-date, Signature=%x", k.ak, mac.Sum(nil)),
		"X-Project-Id":  tf.w.project, "X-Domain-Id": w32("domain"),
	} {
		req.Header.Set(name, value)
	}
	_, answer := tf.send(t, req, http.StatusOK)
	wantAll(t, answer["tasks"].([]any), tf.w.of[s.name].tasks)
}

func wantAll(t *testing.T, got []any, want []record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d tasks, want %d", len(got), len(want))
	}
	for i := range got {
		if id := got[i].(map[string]any)["id"]; id != want[i]["id"] {
			t.Errorf("task %d is %v, want %v", i, id, want[i]["id"])
		}
	}
}

// get lists the tasks of an instance.
func (tf *terraform) get(t *testing.T, s service, instance string, query url.Values) map[string]any {
	t.Helper()
	endpoint := tf.srv.dms
	if s.name == "dcs" {
		endpoint = tf.srv.dcs
	}
	_, answer := tf.do(t, "GET", endpoint+"/v2/"+tf.w.project+"/instances/"+instance+"/tasks?"+query.Encode(), nil, http.StatusOK)
	return answer
}

func (tf *terraform) do(t *testing.T, method, url string, body any, want int) (http.Header, map[string]any) {
	t.Helper()
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if tf.token != "" {
		req.Header.Set("X-Auth-Token", tf.token)
	}
	return tf.send(t, req, want)
}

func (tf *terraform) send(t *testing.T, req *http.Request, want int) (http.Header, map[string]any) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %d %s, want %d", req.Method, req.URL, resp.StatusCode, data, want)
	}
	var answer map[string]any
	if resp.StatusCode == http.StatusNoContent {
		return resp.Header, nil
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("%s %s: %s: %v", req.Method, req.URL, data, err)
	}
	return resp.Header, answer
}
