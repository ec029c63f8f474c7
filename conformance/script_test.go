package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A call is one line of a client's script: what to call, as whom and where.
// Clients get it as JSON and know nothing of what is expected.
type call struct {
	ID       string
	Service  string
	Method   string
	Args     map[string]any
	Skip     *int // sent as start, which counts from 1, or as offset, as the release has it
	Headers  map[string]string
	Endpoint string

	AK, SK, Token, Project string
	Region, IAM            string

	// After a call with Back the client pauses and begins again so many calls
	// earlier. Once the file Until is there it does so for the last time.
	Back  int
	Until string
	Pause int // in milliseconds
}

// A check is a call with the cell of the table that it counts for, and what
// must come of it.
type check struct {
	call
	row  string
	want func(c client, s seen) error

	// wantAll, in the place of want, judges a call that is made again and again.
	wantAll func(c client, all []seen) error

	// sight, if set, must be in what came of the check for one client at least:
	// something that each may miss, since it does not last.
	sight *regexp.Regexp
}

// judge says what is wrong with what came of a check.
func (k check) judge(c client, all []seen) error {
	switch {
	case k.wantAll != nil:
		return k.wantAll(c, all)
	case len(all) != 1:
		return fmt.Errorf("the call was made %d times", len(all))
	}
	return k.want(c, all[0])
}

// script builds the checks of one client.
type script struct {
	w      *world
	ep     endpoints
	checks []check
}

// endpoints are the addresses of the server under test.
type endpoints struct{ any, dms, dcs string }

// newScript returns every check, in the order in which they must run: deletions
// change what later ones find.
func newScript(w *world, ep endpoints) []check {
	b := &script{w: w, ep: ep}
	b.watches()
	for _, s := range services {
		b.lists(s)
		if s.name != "rabbitmq" { // has no such call
			b.progress(s)
		}
		if s.name == "dcs" {
			b.centre(s)
			b.jobs(s)
		} else {
			b.shows(s)
			b.schedules(s)
		}
		b.badRequests(s)
		b.credentials(s)
		b.deletes(s)
	}
	return b.checks
}

func listMethod(s service) string {
	if s.name == "dcs" {
		return "ListBackgroundTask"
	}
	return "ListBackgroundTasks"
}

// add appends a call with the operator's key to the product's own listener.
func (b *script) add(s service, row, method string, args map[string]any, want func(client, seen) error) *check {
	k := b.w.keys.operator
	c := call{
		ID: strconv.Itoa(len(b.checks)), Service: s.name, Method: method, Args: args,
		Endpoint: b.ep.dms, AK: k.ak, SK: k.sk, Project: b.w.project,
	}
	if s.name == "dcs" {
		c.Endpoint = b.ep.dcs
	}
	b.checks = append(b.checks, check{call: c, row: s.title + ": " + row, want: want})
	return &b.checks[len(b.checks)-1]
}

func (b *script) page(s service, g *ground, from, to int) func(client, seen) error {
	return wantPage(s, len(g.tasks), g.tasks[min(from, len(g.tasks)):min(to, len(g.tasks))], shown)
}

func (b *script) lists(s service) {
	g := b.w.of[s.name]
	in := func(more ...any) map[string]any { return args(append([]any{"instance_id", g.list}, more...)...) }
	list := listMethod(s)

	b.add(s, "list", list, in(), b.page(s, g, 0, 10))
	b.add(s, "list", list, args("instance_id", g.empty), wantPage(s, 0, nil, shown))
	any := b.add(s, "list through the listener of all products", list, in(), b.page(s, g, 0, 10))
	any.Endpoint = b.ep.any

	// Page by page with a length that divides the total and one that does not,
	// to the end and past it.
	for _, length := range []int{5, 7} {
		for skip := 0; skip < listed+2*length; skip += length {
			c := b.add(s, "list page by page to the end and past it", list, in("limit", length), b.page(s, g, skip, skip+length))
			c.Skip = &skip
		}
	}
	b.add(s, "list page by page to the end and past it", list, in("limit", 100), b.page(s, g, 0, listed))

	begin := lower(s)
	at := func(hour int) string { return base.Add(time.Duration(hour) * time.Hour).Format("20060102150405") }
	// Tasks are created 123 ms after the hour: the second of the end counts whole.
	between := func(from, to int) []record { return created(g.tasks, from, to) }
	b.add(s, "list by time", list, in(begin, at(15)), wantFiltered(s, between(15, 19)))
	b.add(s, "list by time", list, in("end_time", at(6)), wantFiltered(s, between(0, 6)))
	b.add(s, "list by time", list, in("end_time", base.Add(-time.Second).Format("20060102150405")), wantFiltered(s, nil))
	all := between(4, 12)
	one := 1
	c := b.add(s, "list with every parameter", list, in(begin, at(4), "end_time", at(12), "limit", 4), wantPage(s, len(all), all[1:5], shown))
	c.Skip = &one
}

// lower is what the SDKs of a service call the lower bound of time.
func lower(s service) string {
	if s.name == "dcs" {
		return "start_time"
	}
	return "begin_time"
}

// created returns the tasks created from hour from to hour to, both included.
func created(tasks []record, from, to int) []record {
	lo, hi := stamp(base.Add(time.Duration(from)*time.Hour)), stamp(base.Add(time.Duration(to)*time.Hour))
	return slices.DeleteFunc(slices.Clone(tasks), func(t record) bool {
		at := t["created_at"].(string)
		return at < lo || at > hi
	})
}

func wantFiltered(s service, tasks []record) func(client, seen) error {
	return wantPage(s, len(tasks), tasks[:min(10, len(tasks))], shown)
}

func (b *script) shows(s service) {
	g := b.w.of[s.name]
	for _, t := range g.tasks[:6] {
		b.add(s, "show", "ShowBackgroundTask", args("instance_id", g.list, "task_id", t["id"]), wantPage(s, 1, []record{t}, shown))
	}
	b.add(s, "show of an unknown task", "ShowBackgroundTask", args("instance_id", g.list, "task_id", w32("nobody")), wantError(noTask(s)))
	b.add(s, "show of an unknown task", "ShowBackgroundTask", args("instance_id", g.empty, "task_id", g.tasks[0]["id"]), wantError(noTask(s)))
}

func (b *script) progress(s service) {
	g := b.w.of[s.name]
	for _, t := range g.tasks[:3] {
		id := t["id"].(string)
		want := g.progress[id]
		if want == nil {
			want = record{"progress_percentage": 0, "remain_time": 0, "step_list": []any{}}
			if s.name == "dcs" {
				want = record{"progress": 0, "remain_time": 0, "step_details": []any{}}
			}
		}
		b.add(s, "progress", "ShowBackgroundTaskProgress", args("instance_id", g.list, "task_id", id), wantObject(want))
	}
	b.add(s, "progress of an unknown task", "ShowBackgroundTaskProgress", args("instance_id", g.list, "task_id", w32("nobody")), wantError(noTask(s)))
}

// centre checks the task centre, which lists the tasks of all instances.
func (b *script) centre(s service) {
	g := b.w.of[s.name]
	all := append(slices.Clone(g.tasks), g.done, g.running, g.waiting)
	slices.SortFunc(all, newestFirst)
	page := func(from, to int) func(client, seen) error {
		return wantPage(s, len(all), all[min(from, len(all)):min(to, len(all))], func(_ service, t record) record { return shownInCentre(t) })
	}
	b.add(s, "task centre list", "ListCenterTask", nil, page(0, 10))
	for skip := 0; skip <= 30; skip += 10 {
		b.add(s, "task centre page by page", "ListCenterTask", args("offset", skip), page(skip, skip+10))
	}
	some := created(all, 4, 12)
	b.add(s, "task centre list with every parameter", "ListCenterTask", args("offset", 1, "limit", 4,
		"start_time", base.Add(4*time.Hour).Format("20060102150405"), "end_time", base.Add(12*time.Hour).Format("20060102150405")),
		wantPage(s, len(some), some[1:5], func(_ service, t record) record { return shownInCentre(t) }))
}

func (b *script) jobs(s service) {
	g := b.w.of[s.name]
	words := map[string]string{"SUCCESS": "SUCCESS", "FAILED": "FAIL", "EXECUTING": "RUNNING"}
	for _, t := range g.tasks[:3] { // one of each status
		want := record{"job_id": t["job_id"], "job_type": t["name"], "status": words[t["status"].(string)], "begin_time": millis(t["created_at"])}
		if t["status"] != "EXECUTING" {
			want["end_time"] = millis(t["updated_at"])
		}
		if t["status"] == "FAILED" {
			want["fail_reason"] = t["error_code"]
		}
		b.add(s, "job", "ShowJobInfo", args("job_id", t["job_id"]), wantObject(want))
	}
	b.add(s, "job that is unknown", "ShowJobInfo", args("job_id", w32("nobody")), wantError(failure{404, "DCS.4001", "This job does not exist."}))
}

func millis(stamped any) string {
	t, err := time.Parse(time.RFC3339, stamped.(string))
	if err != nil {
		panic(err) // made by stamp
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

func (b *script) badRequests(s service) {
	g, list, unit := b.w.of[s.name], listMethod(s), "DMS.00400062"
	tooLong, limits, badTime := "DMS.10240042", []int{0, -1, 101}, failure{400, "DMS.00400142", "Timestamp is invalid."}
	badRange := failure{400, unit, "Invalid end_time parameter in the request."}
	format := failure{400, "DMS.00400061", "Invalid instance ID format."}
	task := failure{400, "DMS.00400070", "Invalid task ID format."}
	if s.name == "dcs" {
		unit, tooLong, limits = "DCS.4062", "DCS.4062", []int{0, -1, 1001}
		badTime = failure{400, "DCS.4800", "Invalid " + lower(s) + " in the request."}
		badRange = failure{400, "DCS.4025", "The end time must be after the start time."}
		format = failure{400, "DCS.4061", "Invalid instance ID format."}
		task = failure{400, "DCS.4070", "Invalid task ID format."}
	}
	for _, limit := range limits {
		code := unit
		if limit > 0 {
			code = tooLong
		}
		b.add(s, "bad parameters", list, args("instance_id", g.list, "limit", limit), wantError(failure{400, code, "Invalid limit parameter in the request."}))
	}
	minus := -2 // -1 as start, -2 as offset
	b.add(s, "bad parameters", list, args("instance_id", g.list), wantError(failure{400, unit, "* parameter in the request."})).Skip = &minus
	b.add(s, "bad parameters", list, args("instance_id", g.list, lower(s), "yesterday"), wantError(badTime))
	b.add(s, "bad parameters", list, args("instance_id", g.list, lower(s), "20261301000000"), wantError(badTime))
	b.add(s, "bad parameters", list, args("instance_id", g.list, lower(s), "20260102000000", "end_time", "20260101000000"), wantError(badRange))

	for _, id := range []string{"5560df16", "in+valid", strings.ToUpper(g.list)} {
		b.add(s, "malformed instance id", list, args("instance_id", id), wantError(format))
	}
	b.add(s, "malformed instance id that needs escaping", list, args("instance_id", "bad id, größe"), wantError(format))
	b.add(s, "malformed task id", "DeleteBackgroundTask", args("instance_id", g.list, "task_id", "42"), wantError(task))
	b.add(s, "unknown instance", list, args("instance_id", uuid("nobody")), wantError(noInstance(s)))
	b.add(s, "unknown instance", "DeleteBackgroundTask", args("instance_id", uuid("nobody"), "task_id", w32("nobody")), wantError(noInstance(s)))
}

func (b *script) credentials(s service) {
	g, list := b.w.of[s.name], listMethod(s)
	try := func(row string, want func(client, seen) error) *check {
		return b.add(s, row, list, args("instance_id", g.list), want)
	}
	denied := func(text string) func(client, seen) error {
		return wantError(failure{401, "APIGW.0301", "Incorrect IAM authentication information: " + text})
	}
	try("unknown access key", denied("ak NOSUCHACCESSKEY00000 not exist")).AK = "NOSUCHACCESSKEY00000"
	try("wrong secret key", denied("verify aksk signature fail")).SK = "wrong"

	mismatch := failure{401, "DMS.10240104", "The project ID and token do not match."}
	forbidden := failure{403, "DMS.00403003", "This role does not have the permissions to perform this operation."}
	if s.name == "dcs" {
		mismatch = failure{401, "DCS.1004", "Project ID does not match the token."}
		forbidden.code = "DCS.2003"
	}
	try("another project", wantError(mismatch)).Project = b.w.strange
	try("a project that does not exist", wantError(mismatch)).Project = w32("nobody")

	v := b.w.keys.viewer
	c := try("a viewer reads", b.page(s, g, 0, 10))
	c.AK, c.SK = v.ak, v.sk
	c = b.add(s, "a viewer may not delete", "DeleteBackgroundTask", args("instance_id", g.list, "task_id", g.tasks[0]["id"]), wantError(forbidden))
	c.AK, c.SK = v.ak, v.sk

	t := b.w.keys.temporary
	c = try("a temporary key with its token", b.page(s, g, 0, 10))
	c.AK, c.SK, c.Token = t.ak, t.sk, t.token
	c = try("a temporary key without its token", denied("*"))
	c.AK, c.SK = t.ak, t.sk
	c = try("a temporary key with another token", denied("*"))
	c.AK, c.SK, c.Token = t.ak, t.sk, t.token+"x"

	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		c = try("a clock an hour off", denied("signature expired, signature time:*"))
		c.Headers = map[string]string{"X-Sdk-Date": time.Now().UTC().Add(skew).Format("20060102T150405Z")}
	}
	c = try("the project looked up by region", b.page(s, g, 0, 10))
	c.Project, c.Region, c.IAM = "", b.w.region, b.ep.any
}

func (b *script) deletes(s service) {
	g := b.w.of[s.name]
	remove := func(row string, t any, want func(client, seen) error) {
		b.add(s, row, "DeleteBackgroundTask", args("instance_id", g.del, "task_id", t), want)
	}
	left := func(row string, tasks ...record) {
		b.add(s, row, listMethod(s), args("instance_id", g.del), wantPage(s, len(tasks), tasks, shown))
	}
	busy, gone := failure{400, "DMS.00400017", "This DMS instance job task is still running."}, wantEmpty(204, nil)
	if s.name == "dcs" {
		busy = failure{400, "DCS.4957", "This operation is not allowed when the task is in the current state."}
		gone = wantEmpty(200, record{"message": ""})
	}
	remove("delete of an unknown task", w32("nobody"), wantError(noTask(s)))
	remove("delete of a running task", g.running["id"], wantError(busy))
	remove("delete of a running task", g.waiting["id"], wantError(busy))
	left("delete of a running task", g.waiting, g.running, g.done)
	remove("delete", g.done["id"], gone)
	left("delete", g.waiting, g.running)
	remove("delete", g.done["id"], wantError(noTask(s)))
	if s.name != "dcs" {
		b.add(s, "delete", "ShowBackgroundTask", args("instance_id", g.del, "task_id", g.done["id"]), wantError(noTask(s)))
		return
	}
	centre := func(t any, want func(client, seen) error) {
		b.add(s, "task centre delete", "DeleteCenterTask", args("task_id", t), want)
	}
	last := g.tasks[len(g.tasks)-1]
	centre(w32("nobody"), wantError(noTask(s)))
	centre(g.running["id"], wantError(busy))
	centre(last["id"], wantEmpty(200, nil))
	centre(last["id"], wantError(noTask(s)))
	b.add(s, "task centre delete", "ListCenterTask", args("offset", listed, "limit", 10), wantPage(s, listed+1, []record{g.running}, func(_ service, t record) record { return shownInCentre(t) }))
}

func noTask(s service) failure {
	if s.name == "dcs" {
		return failure{404, "DCS.4001", "This background task does not exist."}
	}
	return failure{404, "DMS.00404001", "This background task does not exist."}
}

func noInstance(s service) failure {
	if s.name == "dcs" {
		return failure{404, "DCS.3022", "This DCS instance does not exist."}
	}
	return failure{404, "DMS.00404022", "This DMS instance does not exist."}
}

// args makes the arguments of a call of names and values in turn.
func args(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}
