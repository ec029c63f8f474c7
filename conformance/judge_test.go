package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// seen is what a client reports of a call: what the SDK returned, or the error
// that it raised, or why it cannot make the call.
type seen struct {
	ID     string
	Absent string
	Status int
	Result json.RawMessage
	Error  *sdkError
	Crash  string // an error that is not the answer of a server
}

type sdkError struct {
	Status    int
	Code      string
	Message   string
	RequestID string `json:"request_id"`
}

func (s seen) String() string {
	switch {
	case s.Crash != "":
		return "crash: " + s.Crash
	case s.Error != nil:
		return fmt.Sprintf("error %d %s %q (request %s)", s.Error.Status, s.Error.Code, s.Error.Message, s.Error.RequestID)
	}
	return fmt.Sprintf("%d %s", s.Status, s.Result)
}

// failure is an error that a client must raise. A * in message stands for
// anything.
type failure struct {
	status  int
	code    string
	message string
}

var requestID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func wantError(f failure) func(client, seen) error {
	message := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(f.message), `\*`, ".*") + "$")
	return func(_ client, s seen) error {
		switch e := s.Error; {
		case e == nil || e.Status != f.status || e.Code != f.code || !message.MatchString(e.Message):
			return fmt.Errorf("got %s\nwant error %d %s %q", s, f.status, f.code, f.message)
		case !requestID.MatchString(e.RequestID):
			return fmt.Errorf("got %s\nwant a request id of 32 hex digits", s)
		}
		return nil
	}
}

func wantEmpty(status int, body record) func(client, seen) error {
	return func(_ client, s seen) error {
		if s.Error != nil || s.Crash != "" || s.Status != status {
			return fmt.Errorf("got %s\nwant %d", s, status)
		}
		got, err := object(s.Result)
		if err != nil {
			return err
		}
		for k, v := range got {
			if !reflect.DeepEqual(v, body[k]) {
				return fmt.Errorf("got %s\nwant %v", s, body)
			}
		}
		return nil
	}
}

// wantPage wants a page of tasks, each member of each as show makes it.
func wantPage(s service, total int, tasks []record, show func(service, record) record) func(client, seen) error {
	return func(c client, got seen) error {
		answer, err := ok(got)
		if err != nil {
			return err
		}
		if answer["task_count"] != strconv.Itoa(total) {
			return fmt.Errorf("task_count is %v, want %q", answer["task_count"], strconv.Itoa(total))
		}
		list, isList := answer["tasks"].([]any)
		if !isList {
			return fmt.Errorf("tasks is %v, want a list", answer["tasks"])
		}
		ids := func(id func(int) any, n int) (out []any) {
			for i := range n {
				out = append(out, id(i))
			}
			return out
		}
		have := ids(func(i int) any { return list[i].(map[string]any)["id"] }, len(list))
		want := ids(func(i int) any { return tasks[i]["id"] }, len(tasks))
		if !slices.Equal(have, want) {
			return fmt.Errorf("ids are %v, want %v", have, want)
		}
		for i := range list {
			if err := c.same(list[i].(map[string]any), normal(show(s, tasks[i]))); err != nil {
				return fmt.Errorf("task %d: %w", i, err)
			}
		}
		return nil
	}
}

// same compares a task. A release that does not know a member of details yet
// drops it; everything else must be there.
func (c client) same(got, want map[string]any) error {
	if d, _ := want["details"].(map[string]any); d != nil && c.fewDetails {
		maps.DeleteFunc(d, func(k string, _ any) bool { return !slices.Contains(firstDetails, k) })
	}
	for _, t := range []map[string]any{got, want} {
		if d, _ := t["details"].(map[string]any); len(d) == 0 {
			delete(t, "details")
		}
	}
	return diff(got, want)
}

// firstDetails are the members of details in releases before v0.1.92.
var firstDetails = []string{
	"old_capacity", "new_capacity", "enable_public_ip", "public_ip_id", "public_ip_address", "enable_ssl", "old_cache_mode", "new_cache_mode",
}

// wantObject wants an answer with exactly these members.
func wantObject(want record) func(client, seen) error {
	return func(_ client, s seen) error {
		got, err := ok(s)
		if err != nil {
			return err
		}
		w := normal(want)
		for _, steps := range []any{got["step_list"], w["step_list"]} {
			list, _ := steps.([]any)
			for _, step := range list {
				unifyStep(step.(map[string]any))
			}
		}
		return diff(got, w)
	}
}

// unifyStep evens out where releases of the SDKs differ by contract: a step's
// status was first called status, then statue, and its times were first strings,
// then numbers.
func unifyStep(step map[string]any) {
	if step["statue"] == nil {
		step["statue"] = step["status"]
	}
	delete(step, "status")
	for _, name := range []string{"start_time", "end_time"} {
		if n, isNumber := step[name].(json.Number); isNumber {
			step[name] = n.String()
		}
	}
}

func ok(s seen) (map[string]any, error) {
	if s.Error != nil || s.Crash != "" || s.Status != 200 {
		return nil, fmt.Errorf("got %s\nwant 200", s)
	}
	return object(s.Result)
}

func object(raw json.RawMessage) (map[string]any, error) {
	out := map[string]any{}
	if len(raw) == 0 {
		return out, nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("result %s: %w", raw, err)
	}
	dropNulls(out)
	return out, nil
}

// normal turns a record into what JSON makes of it.
func normal(r record) map[string]any {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // only values that JSON has are in there
	}
	out, err := object(data)
	if err != nil {
		panic(err)
	}
	return out
}

// dropNulls removes members without a value: every SDK takes null for absent,
// and some write out what they do not have as null.
func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, m := range v {
			if m == nil {
				delete(v, k)
				continue
			}
			dropNulls(m)
		}
	case []any:
		for _, m := range v {
			dropNulls(m)
		}
	}
}

// diff names the first member in which got and want differ, types included.
func diff(got, want map[string]any) error {
	names := slices.Sorted(maps.Keys(want))
	for k := range got {
		if _, known := want[k]; !known {
			names = append(names, k)
		}
	}
	for _, k := range names {
		if !reflect.DeepEqual(got[k], want[k]) {
			return fmt.Errorf("%s is %#v, want %#v", k, got[k], want[k])
		}
	}
	return nil
}
