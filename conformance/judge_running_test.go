package conformance

import (
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestJudgeRunning shows that what looks at a task that runs can also say no.
func TestJudgeRunning(t *testing.T) {
	t.Parallel()
	dcs, kafka := services[3], services[0]
	b := &script{w: newWorld("judge")}
	task := record{"id": w32("x"), "name": "EXTEND", "created_at": stamp(base)}
	b.w.of["dcs"].watched = task
	page := func(status string, second int, show bool) string {
		one := maps.Clone(task)
		one["status"], one["enable_show"] = status, show
		one["updated_at"] = stamp(base.Add(time.Duration(second) * time.Second))
		data, err := json.Marshal(record{"task_count": "1", "tasks": []record{one}})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	pages := []string{page("EXECUTING", 0, false), page("EXECUTING", 1, true), page("SUCCESS", 2, true)}
	steps := []string{
		`{"progress_percentage":0,"step_list":[]}`,
		`{"progress_percentage":40,"step_list":[{"name":"pre_check","statue":"COMPLETED","start_time":"1","end_time":"2"},
			{"name":"disk_expansion","statue":"IN_PROGRESS","start_time":"2"},{"name":"rolling_scaling","statue":"WAITING"}]}`,
		`{"progress_percentage":100,"step_list":[{"name":"pre_check","statue":"COMPLETED","start_time":"1","end_time":"2"},
			{"name":"disk_expansion","statue":"COMPLETED","start_time":"2","end_time":"3"},{"name":"rolling_scaling","statue":"COMPLETED","start_time":"3","end_time":"4"}]}`,
	}
	for _, j := range []struct {
		name   string
		judge  func([]map[string]any) error
		good   []string
		faults map[string]func([]string)
	}{
		{"task", func(all []map[string]any) error { return b.moves(dcs, all) }, pages, map[string]func([]string){
			"it never ends":                func(a []string) { a[2] = a[1] },
			"it has ended from the start":  func(a []string) { a[0], a[1] = page("SUCCESS", 0, false), page("SUCCESS", 1, true) },
			"it runs again":                func(a []string) { a[1], a[2] = page("SUCCESS", 1, true), page("EXECUTING", 2, true) },
			"it fails on the way":          func(a []string) { a[1] = page("FAILED", 1, true) },
			"a word of another product":    func(a []string) { a[0] = page("CREATED", 0, false) },
			"it changes before it did":     func(a []string) { a[1] = page("EXECUTING", 3, true) },
			"it shows what is not there":   func(a []string) { a[0] = page("EXECUTING", 0, true) },
			"it stops to show":             func(a []string) { a[2] = page("SUCCESS", 2, false) },
			"it has another name":          func(a []string) { a[1] = strings.Replace(a[1], "EXTEND", "BindEip", 1) },
			"it is not in the list":        func(a []string) { a[1] = `{"task_count":"0","tasks":[]}` },
			"it has no time of its change": func(a []string) { a[1] = strings.Replace(a[1], "updated_at", "changed", 1) },
		}},
		{"progress", func(all []map[string]any) error { return grows(kafka, all) }, steps, map[string]func([]string){
			"it does not end":           func(a []string) { a[2] = a[1] },
			"it begins in the middle":   func(a []string) { a[0] = a[1] },
			"it goes backwards":         func(a []string) { a[2] = strings.Replace(a[2], "100", "39", 1) },
			"more than all":             func(a []string) { a[2] = strings.Replace(a[2], "100", "101", 1) },
			"a text":                    func(a []string) { a[1] = strings.Replace(a[1], "40", `"40"`, 1) },
			"no steps":                  func(a []string) { a[1] = `{"progress_percentage":40,"step_list":[]}` },
			"a step of another name":    func(a []string) { a[1] = strings.Replace(a[1], "disk", "disc", 1) },
			"a word of another product": func(a []string) { a[1] = strings.Replace(a[1], "IN_PROGRESS", "EXECUTING", 1) },
			"a step is undone": func(a []string) {
				a[2] = strings.Replace(a[2], `"COMPLETED","start_time":"1","end_time":"2"`, `"IN_PROGRESS","start_time":"1"`, 1)
			},
			"a step without its end": func(a []string) { a[2] = strings.Replace(a[2], `,"end_time":"4"`, "", 1) },
			"a step before its time": func(a []string) { a[1] = strings.Replace(a[1], `"WAITING"`, `"WAITING","start_time":"3"`, 1) },
		}},
	} {
		say := func(texts []string) error {
			var all []seen
			for _, text := range texts {
				all = append(all, seen{Status: 200, Result: json.RawMessage(text)})
			}
			return everyAnswer(all, j.judge)
		}
		if err := say(j.good); err != nil {
			t.Fatalf("%s: what is right: %v", j.name, err)
		}
		for name, spoil := range j.faults {
			bad := append([]string(nil), j.good...)
			spoil(bad)
			if say(bad) == nil {
				t.Errorf("%s: %s, and nothing was found", j.name, name)
			}
		}
		if say(j.good[2:]) == nil {
			t.Errorf("%s: one answer is taken for a watch", j.name)
		}
		if everyAnswer([]seen{{Crash: "x"}, {Crash: "x"}}, j.judge) == nil {
			t.Errorf("%s: crashes are taken for answers", j.name)
		}
	}
}

// TestSights shows that what every client missed is found, and what one saw is not.
func TestSights(t *testing.T) {
	t.Parallel()
	table := newTable()
	running := check{row: "Kafka: a task that runs: list", sight: regexp.MustCompile(`"status": ?"EXECUTING"`)}
	report := func(c client, words ...string) {
		var all []seen
		for _, w := range words {
			all = append(all, seen{Status: 200, Result: json.RawMessage(`{"status":"` + w + `"}`)})
		}
		table.record(c, running, all, nil)
	}
	report(clients[0], "CREATED", "SUCCESS")
	if got := table.unseen(); len(got) != 1 || got[0].row != running.row {
		t.Errorf("unseen are %v", got)
	}
	report(clients[1], "CREATED", "EXECUTING", "SUCCESS")
	report(clients[2], "SUCCESS")
	if got := table.unseen(); len(got) != 0 {
		t.Errorf("unseen are %v", got)
	}
}
