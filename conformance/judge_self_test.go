package conformance

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

// TestJudge shows that what decides can also say no: one fault at a time in an
// answer that is right.
func TestJudge(t *testing.T) {
	t.Parallel()
	dcs := services[3]
	g := newWorld("judge").of["dcs"]
	var task record
	for _, x := range g.tasks {
		if x["name"] == "EXTEND" {
			task = x
		}
	}
	id := task["id"].(string)
	good, err := json.Marshal(map[string]any{"task_count": "1", "tasks": []record{shown(dcs, task)}})
	if err != nil {
		t.Fatal(err)
	}
	right := seen{Status: 200, Result: good}
	page := wantPage(dcs, 1, []record{task}, shown)
	if err := page(client{}, right); err != nil {
		t.Fatalf("the right answer: %v", err)
	}
	for _, f := range []struct{ name, old, new string }{
		{"count a number", `"task_count":"1"`, `"task_count":1`},
		{"count of another total", `"task_count":"1"`, `"task_count":"2"`},
		{"another id", id, w32("nobody")},
		{"no status", `"status"`, `"state"`},
		{"a member more", `"status"`, `"extra":"x","status"`},
		{"enable_show a string", `"enable_show":false`, `"enable_show":"false"`},
		{"a detail missing", `"old_capacity":"0.125",`, ``},
		{"a detail a number", `"old_capacity":"0.125"`, `"old_capacity":0.125`},
		{"a detail a string", `"old_replica_num":1`, `"old_replica_num":"1"`},
		{"a detail in a list", `"flushdb"`, `"flushall"`},
		{"another time", task["created_at"].(string), stamp(base.Add(-1))},
	} {
		bad := strings.Replace(string(good), f.old, f.new, 1)
		if bad == string(good) {
			t.Fatalf("%s: %s is not in %s", f.name, f.old, good)
		}
		if page(client{}, seen{Status: 200, Result: json.RawMessage(bad)}) == nil {
			t.Errorf("%s: nothing was found in %s", f.name, bad)
		}
	}
	for name, s := range map[string]seen{
		"another status": {Status: 202, Result: good},
		"an error":       {Error: &sdkError{Status: 404}},
		"a crash":        {Crash: "the client ended before this call"},
	} {
		if page(client{}, s) == nil {
			t.Errorf("%s is taken for a page", name)
		}
	}
}

func TestJudgeErrors(t *testing.T) {
	t.Parallel()
	want := wantError(failure{401, "APIGW.0301", "signature expired, time:*"})
	right := sdkError{Status: 401, Code: "APIGW.0301", Message: "signature expired, time:1", RequestID: strings.Repeat("0a", 16)}
	if err := want(client{}, seen{Error: &right}); err != nil {
		t.Fatalf("the right error: %v", err)
	}
	for name, spoil := range map[string]func(*sdkError){
		"status":  func(e *sdkError) { e.Status = 403 },
		"code":    func(e *sdkError) { e.Code = "APIGW.0302" },
		"message": func(e *sdkError) { e.Message = "an expired signature" },
		"no id":   func(e *sdkError) { e.RequestID = "" },
	} {
		bad := right
		spoil(&bad)
		if want(client{}, seen{Error: &bad}) == nil {
			t.Errorf("another %s is not found", name)
		}
	}
	if want(client{}, seen{Status: 200}) == nil {
		t.Error("an answer is taken for an error")
	}
}

func TestJudgeObjects(t *testing.T) {
	t.Parallel()
	g := newWorld("judge").of["kafka"]
	steps := g.tasks[0]["progress"].(record)
	want := wantObject(steps)
	answer := func(r record) seen {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return seen{Status: 200, Result: data}
	}
	if err := want(client{}, answer(steps)); err != nil {
		t.Fatalf("the right answer: %v", err)
	}
	less := maps.Clone(steps)
	less["step_list"] = steps["step_list"].([]any)[:2]
	if want(client{}, answer(less)) == nil {
		t.Error("a missing step is not found")
	}
	if want(client{}, seen{Status: 200, Result: json.RawMessage(`{}`)}) == nil {
		t.Error("an empty answer is taken for progress")
	}
	if wantEmpty(204, nil)(client{}, seen{Status: 200}) == nil || wantEmpty(200, nil)(client{}, answer(record{"x": 1})) == nil {
		t.Error("an answer that is not empty is taken for one")
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table, node := newTable(), clients[len(clients)-1]
	row := "Kafka: malformed instance id that needs escaping"
	known := map[cellKey]string{{row, node.String()}: nodeEscapes}
	if len(table.mended(known)) != 1 {
		t.Error("a cell without a failure counts as red")
	}
	if cause := table.record(node, check{row: row}, []seen{{Error: &sdkError{}}}, errors.New("x")); cause != nodeEscapes {
		t.Errorf("the cause of a known fault is %q", cause)
	}
	if cause := table.record(node, check{row: "Kafka: list"}, []seen{{}}, errors.New("x")); cause != "" {
		t.Errorf("a fault that nobody knows has cause %q", cause)
	}
	table.record(node, check{row: "Kafka: show"}, []seen{{Absent: "no ShowBackgroundTask"}}, errors.New("x"))
	table.record(node, check{row: "Kafka: delete"}, []seen{{}}, nil)
	if len(table.mended(known)) != 0 {
		t.Error("a red cell counts as mended")
	}
	for row, want := range map[string]string{"list": "✗", "show": "–", "delete": "✓"} {
		if got := table.cells[cellKey{"Kafka: " + row, node.String()}].String(); got != want {
			t.Errorf("the cell of %s shows %s, want %s", row, got, want)
		}
	}
}
