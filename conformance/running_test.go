package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// watchedSteps are the steps of every simulation that is watched.
var watchedSteps = []string{"pre_check", "disk_expansion", "rolling_scaling"}

// watchedOperation is what is watched on an instance of each service.
var watchedOperation = map[string]struct {
	name   string
	params []string // as the command line takes them
	want   string   // as they must be shown
	words  []string // the statuses that may be seen, in their order
	more   string   // of its declaration
}{
	"kafka":    {"expandStorage", []string{"size=300", "note=größe 主题"}, `{"note":"größe 主题","size":300}`, []string{"CREATED", "EXECUTING", "SUCCESS"}, "params: {properties: {size: {type: integer}}}\n"},
	"rocketmq": {"bindInstancePublicIp", []string{"public_ip_id=a"}, `{"public_ip_id":"a"}`, []string{"CREATED", "SUCCESS"}, ""},
	"rabbitmq": {"unbindInstancePublicIp", []string{"enable_public_ip=false"}, `{"enable_public_ip":false}`, []string{"CREATED", "SUCCESS"}, ""},
	"dcs":      {"EXTEND", []string{"old_capacity=0.125", "new_capacity=0.25"}, `{"new_capacity":"0.25","old_capacity":"0.125"}`, []string{"EXECUTING", "SUCCESS"}, ""},
}

// declare writes the operations that run while the clients look on, and their
// program, to a directory. Where the provider has the name, what is built in
// about it stays: its parameters, and whether it shows CREATED while it runs.
// "hold" keeps an instance busy until it is cancelled.
func declare(t *testing.T, dir string) {
	t.Helper()
	var b strings.Builder
	all := "[kafka, rocketmq, rabbitmq, redis]"
	fmt.Fprintf(&b, "engine: %s\nname: hold\nrunner: {simulate: {duration: 1h}}\n", all)
	for _, s := range services {
		o := watchedOperation[s.name]
		fmt.Fprintf(&b, "---\nengine: %s\nname: %s\n%srunner:\n  simulate:\n    steps:\n", s.engine, o.name, o.more)
		for _, name := range watchedSteps {
			fmt.Fprintf(&b, "      - {name: %s, duration: 700ms}\n", name)
		}
	}
	for _, w := range waiters {
		fmt.Fprintf(&b, "---\nengine: %s\nname: %s\nrunner: {program: {path: work.sh}}\n", w.service.engine, w.operation)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"all.yaml": b.String(), "work.sh": work} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// work is a program that fails if it finds the word in what it is given.
const work = `#!/bin/sh
read -r input
echo '{"steps":["first","second"]}'
echo '{"step":"first"}'
sleep 0.3
case $input in *please-fail*)
	echo '{"error":{"code":"E7","message":"as asked"}}'
	exit 1
esac
echo '{"step":"second"}'
sleep 0.3
`

// planned is how many tasks of an instance are to run later.
const planned = 3

// submitted is what the command line prints of a task.
type submitted struct {
	ID        string
	Operation string
	Params    string
	Status    string
	User      struct{ ID, Name string }
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Run       struct {
		RunAt time.Time `json:"run_at"`
	}
}

// record returns the task in the provider's words, as it was accepted.
func (s submitted) record() record {
	return record{
		"id": s.ID, "name": s.Operation, "params": s.Params, "user_name": s.User.Name, "user_id": s.User.ID,
		"created_at": stamp(s.CreatedAt), "updated_at": stamp(s.UpdatedAt), "status": "CREATED",
	}
}

// submit submits an operation with the command line.
func (s *server) submit(ctx context.Context, operation, instance string, more ...string) (submitted, error) {
	out, err := s.cli(ctx, append([]string{"submit", operation, "--instance", instance, "-o", "json"}, more...)...)
	var t submitted
	if err == nil {
		err = json.Unmarshal([]byte(out), &t)
	}
	return t, err
}

// watched submits what is watched on an instance. It can be submitted again: it
// has a key of its own, and so is the same task.
func (s *server) watched(ctx context.Context, svc service, g *ground, more ...string) (submitted, error) {
	o := watchedOperation[svc.name]
	for _, p := range o.params {
		more = append(more, "--param", p)
	}
	return s.submit(ctx, o.name, g.busy, append(more, "--key", "watched-"+g.busy)...)
}

// submits submits on every service a task that keeps an instance busy, one
// behind it, and some that are to run later.
func (s *server) submits(t *testing.T, w *world) {
	for _, svc := range services {
		s.submitsOn(t, svc, w.of[svc.name])
	}
}

func (s *server) submitsOn(t *testing.T, svc service, g *ground) {
	t.Helper()
	hold, err := s.submit(t.Context(), "hold", g.busy)
	if err != nil {
		t.Fatal(err)
	}
	g.held = hold.ID
	task, err := s.watched(t.Context(), svc, g)
	if err != nil {
		t.Fatal(err)
	}
	o := watchedOperation[svc.name]
	if task.Status != "pending" || task.Operation != o.name || task.Params != o.want || !strings.HasPrefix(task.User.Name, "operator-") {
		t.Errorf("%s was submitted as %+v", o.name, task)
	}
	g.watched = task.record()
	if svc.name == "dcs" {
		return // has no calls for scheduled tasks
	}
	for i := range planned {
		at := time.Now().UTC().Truncate(time.Second).Add(time.Duration(i+1) * 24 * time.Hour)
		task, err := s.submit(t.Context(), "hold", g.plan, "--run-at", at.Format(time.RFC3339), "--param", fmt.Sprintf("n:=%d", i))
		if err != nil {
			t.Fatal(err)
		}
		job := task.record()
		job["schedule_at"] = stamp(at)
		g.jobs[planned-1-i] = job
	}
}

// conduct lets the watched tasks run once the client has seen them wait, and
// ends the watch when they have ended.
func (s *server) conduct(ctx context.Context, w *world, checks []check, results, stop string) (err error) {
	defer func() { // however it ends, the client must end too
		if e := os.WriteFile(stop, nil, 0o600); err == nil {
			err = e
		}
	}()
	round := 1 + slices.IndexFunc(checks, func(k check) bool { return k.Back > 0 })
	for {
		if data, _ := os.ReadFile(results); bytes.Count(data, []byte("\n")) >= round {
			break
		}
		select {
		case <-ctx.Done():
			return nil // the client has ended, and is judged by what it wrote
		case <-time.After(50 * time.Millisecond):
		}
	}
	for _, svc := range services {
		if _, err := s.cli(ctx, "cancel", w.of[svc.name].held, "--reason", "the client looks on"); err != nil {
			return err
		}
	}
	for _, svc := range services {
		g := w.of[svc.name]
		task, err := s.watched(ctx, svc, g, "--wait")
		if err != nil {
			return err
		}
		if task.ID != g.watched["id"] {
			return fmt.Errorf("%s: the same key made another task, %s", svc.title, task.ID)
		}
	}
	return nil
}

// watches adds the loop in which the client looks at the tasks that run, and
// what it must find when they have ended.
func (b *script) watches() {
	from := len(b.checks)
	for _, s := range services {
		g := b.w.of[s.name]
		id := g.watched["id"]
		add := func(row, method string, args map[string]any, sight string, judge func([]map[string]any) error) {
			c := b.add(s, row, method, args, nil)
			c.wantAll = func(_ client, all []seen) error { return everyAnswer(all, judge) }
			if sight != "" {
				c.sight = regexp.MustCompile(sight)
			}
		}
		status := ""
		if words := watchedOperation[s.name].words; len(words) == 3 {
			status = `"status": ?"` + words[1] + `"`
		}
		of := args("instance_id", g.busy, "task_id", id)
		if s.name != "rabbitmq" {
			add("a task that runs: progress", "ShowBackgroundTaskProgress", of, `"(progress|progress_percentage)": ?[1-9][0-9]?[,}]`, func(all []map[string]any) error { return grows(s, all) })
		}
		if s.name == "dcs" {
			add("a task that runs: job", "ShowJobInfo", args("job_id", id), `"RUNNING"`, func(all []map[string]any) error {
				return inOrder(all, "status", []string{"INIT", "RUNNING", "SUCCESS"})
			})
			add("a task that runs: task centre list", "ListCenterTask", nil, `"enable_show": ?true`, func(all []map[string]any) error { return b.moves(s, all) })
		} else {
			add("a task that runs: show", "ShowBackgroundTask", of, status, func(all []map[string]any) error { return b.moves(s, all) })
		}
		add("a task that runs: list", listMethod(s), args("instance_id", g.busy, "limit", 10), status, func(all []map[string]any) error { return b.moves(s, all) })
	}
	last := &b.checks[len(b.checks)-1]
	last.Back, last.Pause = len(b.checks)-1-from, 100
	for _, s := range services {
		b.deletesRun(s)
	}
}

// deletesRun removes what has run: the task that was watched, and the one before
// it, which was cancelled.
func (b *script) deletesRun(s service) {
	const row = "a task that ran or was cancelled: delete"
	g := b.w.of[s.name]
	gone := wantEmpty(204, nil)
	if s.name == "dcs" {
		gone = wantEmpty(200, record{"message": ""})
	}
	for _, id := range []any{g.held, g.watched["id"]} {
		b.add(s, row, "DeleteBackgroundTask", args("instance_id", g.busy, "task_id", id), gone)
	}
	b.add(s, row, listMethod(s), args("instance_id", g.busy), wantPage(s, 0, nil, shown))
}

// everyAnswer hands the answers to a call to judge: all must be good ones.
func everyAnswer(all []seen, judge func([]map[string]any) error) error {
	if all[0].Absent != "" {
		return nil
	}
	var answers []map[string]any
	for _, s := range all {
		answer, err := ok(s)
		if err != nil {
			return err
		}
		answers = append(answers, answer)
	}
	if len(answers) < 2 {
		return fmt.Errorf("the call was made %d times", len(answers))
	}
	return judge(answers)
}

// inOrder wants a member to begin with the first of words, to end with the last,
// and never to go backwards between.
func inOrder(all []map[string]any, member string, words []string) error {
	at := 0
	for i, answer := range all {
		word, _ := answer[member].(string)
		now := slices.Index(words, word)
		switch {
		case now < at:
			return fmt.Errorf("answer %d of %d: %s is %q after %q, of %v", i+1, len(all), member, word, words[at], words)
		case i == 0 && now != 0:
			return fmt.Errorf("the first %s is %q, want %q", member, word, words[0])
		}
		at = now
	}
	if at != len(words)-1 {
		return fmt.Errorf("the last %s is %q, want %q", member, words[at], words[len(words)-1])
	}
	return nil
}

// moves wants the watched task in every page: the same, but for its status, which
// moves on, the time of its last change, and that there is progress to show.
func (b *script) moves(s service, pages []map[string]any) error {
	want := b.w.of[s.name].watched
	var all []map[string]any
	changed, show := want["created_at"].(string), false
	for i, page := range pages {
		list, _ := page["tasks"].([]any)
		at := slices.IndexFunc(list, func(t any) bool { return t.(map[string]any)["id"] == want["id"] })
		if at < 0 {
			return fmt.Errorf("answer %d of %d: the task is not in %v", i+1, len(pages), list)
		}
		task := list[at].(map[string]any)
		all = append(all, task)
		for name, v := range normal(want) {
			if name == "status" || name == "updated_at" || fmt.Sprint(task[name]) == fmt.Sprint(v) {
				continue
			}
			return fmt.Errorf("answer %d of %d: %s is %v, want %v", i+1, len(pages), name, task[name], v)
		}
		when, _ := task["updated_at"].(string)
		if _, err := time.Parse("2006-01-02T15:04:05.000Z", when); err != nil || when < changed {
			return fmt.Errorf("answer %d of %d: updated_at is %q after %q", i+1, len(pages), when, changed)
		}
		changed = when
		if s.name == "dcs" {
			now, _ := task["enable_show"].(bool)
			if i == 0 && now || show && !now || i == len(pages)-1 && !now {
				return fmt.Errorf("answer %d of %d: enable_show is %v", i+1, len(pages), task["enable_show"])
			}
			show = now
		}
	}
	return inOrder(all, "status", watchedOperation[s.name].words)
}

// names of the members of progress in the two families, and the words of steps.
type progressNames struct {
	percent, steps, name, status, start, end string
	words                                    []string
}

var progressOf = map[string]progressNames{
	"dms": {"progress_percentage", "step_list", "name", "statue", "start_time", "end_time", []string{"WAITING", "IN_PROGRESS", "COMPLETED"}},
	"dcs": {"progress", "step_details", "step_name", "step_status", "begin_time", "end_time", []string{"WAITING", "EXECUTING", "FINISH"}},
}

// grows wants the progress of a task to begin with nothing, to grow, and to end
// with every step done.
func grows(s service, all []map[string]any) error {
	m := progressOf[family(s)]
	percent, before := int64(0), []int{0, 0, 0}
	for i, answer := range all {
		fail := func(format string, a ...any) error {
			return fmt.Errorf("answer %d of %d: "+format+": %v", append(append([]any{i + 1, len(all)}, a...), answer)...)
		}
		n, isNumber := answer[m.percent].(json.Number)
		now, err := n.Int64()
		if !isNumber || err != nil || now < percent || now > 100 {
			return fail("%s after %d", m.percent, percent)
		}
		percent = now
		steps, _ := answer[m.steps].([]any)
		if len(steps) == 0 && slices.Max(before) == 0 && now == 0 {
			continue // it has not begun
		}
		if i == 0 || len(steps) != len(watchedSteps) {
			return fail("%d steps", len(steps))
		}
		for j, v := range steps {
			step := v.(map[string]any)
			unifyStep(step)
			word, _ := step[m.status].(string)
			at := slices.Index(m.words, word)
			if at < before[j] || step[m.name] != watchedSteps[j] {
				return fail("step %d after %q", j+1, m.words[before[j]])
			}
			if (step[m.start] != nil) != (at > 0) || (step[m.end] != nil) != (at == 2) {
				return fail("the times of step %d", j+1)
			}
			before[j] = at
		}
	}
	if percent != 100 || slices.Min(before) != 2 {
		return fmt.Errorf("at the end it is %d %%, and the steps are %v", percent, before)
	}
	return nil
}
