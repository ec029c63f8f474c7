package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// record is a task in the provider's words: what is imported, and member by
// member what a client must get back.
type record = map[string]any

// service is one product as the SDKs divide them.
type service struct {
	name   string // as in the packages' names
	title  string
	engine string
}

var services = []service{
	{"kafka", "Kafka", "kafka"},
	{"rocketmq", "RocketMQ", "rocketmq"},
	{"rabbitmq", "RabbitMQ", "rabbitmq"},
	{"dcs", "DCS", "redis"},
}

// listed is how many tasks the instance that is listed has: a multiple of the
// pages' lengths, since clients that stop at a short page then ask for one more.
const listed = 20

// base is when the first of the listed tasks was created; each next one follows
// an hour later, but for two of the same moment.
var base = time.Date(2026, 1, 1, 0, 0, 0, 123e6, time.UTC)

// world is what one client works on. Nobody else touches it.
type world struct {
	client  string
	project string // id
	region  string // name of the project, which SDKs look up as the region's id
	of      map[string]*ground
	keys    keys
	strange string // a project that the client's keys are not bound to
}

// ground is what one client works on in one service.
type ground struct {
	list, del, empty string   // instances
	tasks            []record // of list, newest first
	done, running    record   // of del, which also has one waiting
	waiting          record
	progress         map[string]record // answers to the progress call by task

	busy, plan string   // instances whose tasks run
	held       string   // the task that runs on busy until it is cancelled
	watched    record   // the one that waits behind it
	jobs       []record // of plan: tasks that are to run later, newest first
}

type key struct{ ak, sk, token string }

type keys struct{ operator, viewer, temporary key }

func newWorld(client string) *world {
	w := &world{client: client, project: w32(client, "project"), strange: w32(client, "strange"), of: map[string]*ground{}}
	w.region = "cn-" + w.project[:8] + "-1"
	for _, s := range services {
		w.of[s.name] = newGround(client, s)
	}
	return w
}

func newGround(client string, s service) *ground {
	g := &ground{
		list: uuid(client, s.name, "list"), del: uuid(client, s.name, "del"), empty: uuid(client, s.name, "empty"),
		busy: uuid(client, s.name, "busy"), plan: uuid(client, s.name, "plan"),
		progress: map[string]record{}, watched: record{"id": ""},
	}
	for range planned {
		g.jobs = append(g.jobs, record{"id": "", "schedule_at": ""})
	}
	for i := range listed {
		at := base.Add(time.Duration(i) * time.Hour)
		if i == 7 {
			at = base.Add(6 * time.Hour) // two of one moment: ties go by id
		}
		g.tasks = append(g.tasks, newTask(s, w32(client, s.name, strconv.Itoa(i)), i, at))
	}
	slices.SortFunc(g.tasks, newestFirst)
	g.addProgress(s)
	g.done = newTask(s, w32(client, s.name, "done"), 0, base)
	g.running = newTask(s, w32(client, s.name, "running"), 0, base.Add(time.Minute))
	g.waiting = newTask(s, w32(client, s.name, "waiting"), 0, base.Add(2*time.Minute))
	g.running["status"], g.waiting["status"] = "EXECUTING", "CREATED"
	if s.name == "dcs" {
		g.waiting["status"] = "EXECUTING"
	}
	return g
}

func newestFirst(a, b record) int {
	at := func(r record) string { return r["created_at"].(string) + r["id"].(string) }
	switch {
	case at(a) > at(b):
		return -1
	case at(a) < at(b):
		return 1
	}
	return 0
}

// The words of each service, so that every status and every kind of text that a
// record can hold passes through every SDK.
var (
	statuses = map[string][]string{
		"dms": {"SUCCESS", "FAILED", "CANCELLED", "EXECUTING", "CREATED", "DELETED"},
		"dcs": {"SUCCESS", "FAILED", "EXECUTING"},
	}
	params = []string{
		`{"public_ip_id":"06a13350-4305-4338-9f0e-6b322bb1413d","enable_public_ip":true}`,
		"{\"enable\":true,\"plugins\":\"rabbitmq_delayed_message_exchange\"}\n",
		`{"old_auto_status":false,"n":1.0,"big":9007199254740993,"list":[1,2,{}]}`,
		"{\"topic\":\"größe \\\"x\\\" \\\\ / <a&b> 主题 😀 \u2028\t\"}",
		`{}`,
	}
	users = []string{"dms_test", `用户 é "q" <&>`, "a+b%20c"}
	names = map[string][]string{
		"kafka":    {"kafkaConfigModify", "modifyAutoTopic", "changeRetentionPolicy"},
		"rocketmq": {"bindInstancePublicIp", "createMigrationTask"},
		"rabbitmq": {"rabbitmqPluginModify", "restartInstance"},
		"dcs":      {"EXTEND", "BindEip", "UpdatePort", "modify"},
	}
)

// hides names the operations that show CREATED while they run, because that is
// the only word that Terraform's waiters for them accept before SUCCESS.
var hides = map[string][]string{
	"rocketmq": {"bindInstancePublicIp"},
	"rabbitmq": {"bindInstancePublicIp", "rabbitmqPluginModify"},
}

func family(s service) string {
	if s.name == "dcs" {
		return "dcs"
	}
	return "dms"
}

func newTask(s service, id string, i int, at time.Time) record {
	all := statuses[family(s)]
	t := record{
		"id":         id,
		"name":       names[s.name][i%len(names[s.name])],
		"user_name":  users[i%len(users)],
		"user_id":    w32("user", strconv.Itoa(i%len(users))),
		"params":     params[i%len(params)],
		"status":     all[i%len(all)],
		"created_at": stamp(at),
		"updated_at": stamp(at.Add(time.Duration(i) * 1234 * time.Millisecond)),
	}
	if s.name == "dcs" {
		t["enable_show"] = false
		t["error_code"] = ""
		t["job_id"] = w32(id, "job")
		if d := details[t["name"].(string)]; d != nil {
			t["details"] = d
		}
		if t["status"] == "FAILED" {
			t["error_code"] = "DCS.5000"
		}
	}
	return t
}

// details holds all 26 members, each where it means something.
var details = map[string]record{
	"EXTEND": {
		"old_capacity": "0.125", "new_capacity": "0.25", "old_cache_mode": "single", "new_cache_mode": "ha",
		"old_resource_spec_code": "redis.single.xu1.tiny.125", "new_resource_spec_code": "redis.ha.xu1.tiny.r2.256",
		"old_replica_num": 1, "new_replica_num": 2, "old_cache_type": "single", "new_cache_type": "ha",
		"replica_ip": "192.0.2.1", "replica_az": "az01", "group_name": "group1", "is_only_adjust_charging": false,
		"source_ip": "192.0.2.2", "target_ip": "192.0.2.3", "node_name": "node1",
		"rename_commands": []any{"keys", "flushdb"}, "updated_config_length": 3, "account_name": "account1",
	},
	"BindEip":    {"enable_public_ip": true, "public_ip_id": "06a13350-4305-4338-9f0e-6b322bb1413d", "public_ip_address": "192.0.2.9", "enable_ssl": true},
	"UpdatePort": {"old_port": 6379, "new_port": 6380, "rename_commands": []any{}},
}

// addProgress gives the three newest tasks progress: with steps under way,
// finished, and none at all.
func (g *ground) addProgress(s service) {
	g.progress[g.tasks[2]["id"].(string)] = nil
	step := func(name, status string, start, end int64) record { // DMS: milliseconds in strings
		r := record{"name": name, "statue": status, "status": status}
		if start > 0 {
			r["start_time"] = strconv.FormatInt(start, 10)
		}
		if end > 0 {
			r["end_time"] = strconv.FormatInt(end, 10)
		}
		return r
	}
	under := record{"progress_percentage": 33, "remain_time": 300, "step_list": []any{
		step("pre_check", "COMPLETED", 1763350067752, 1763350069752),
		step("disk_expansion", "IN_PROGRESS", 1763350069752, 0),
		step("rolling_scaling", "WAITING", 0, 0),
	}}
	over := record{"progress_percentage": 100, "remain_time": 0, "step_list": []any{step("pre_check", "FAILED", 1763350067752, 1763350069752)}}
	if s.name == "dcs" {
		under, over = dcsProgress()
	}
	for i, p := range []record{under, over} {
		g.tasks[i]["progress"] = p
		if s.name == "dcs" {
			g.tasks[i]["enable_show"] = true
		}
		g.progress[g.tasks[i]["id"].(string)] = p
	}
}

func dcsProgress() (under, over record) {
	under = record{"progress": 60, "remain_time": 120, "step_details": []any{
		record{"step_id": "1", "step_name": "检查 check", "step_status": "FINISH", "begin_time": "2026-01-01T00:00:00.123Z", "end_time": "2026-01-01T00:00:01.000Z", "sub_step_details": []any{}},
		record{"step_id": "2", "step_name": "move", "step_status": "EXECUTING", "begin_time": "2026-01-01T00:00:01.000Z", "sub_step_details": []any{
			record{"sub_step_id": "2.1", "sub_step_name": "copy", "sub_step_status": "SUSPEND", "begin_time": "2026-01-01T00:00:01.000Z", "detail": "slot 3", "error_code": "E1"},
			record{"sub_step_id": "2.2", "sub_step_name": "drop", "sub_step_status": "CANCELED", "detail": ""},
		}},
		record{"step_id": "3", "step_name": "end", "step_status": "WAITING", "sub_step_details": []any{}},
	}}
	over = record{"progress": 100, "remain_time": 0, "step_details": []any{
		record{"step_id": "1", "step_name": "end", "step_status": "FAILED", "error_code": "DCS.5000", "sub_step_details": []any{}},
	}}
	return under, over
}

// shown is how a record must come back from a list of its instance.
func shown(s service, t record) record {
	out := record{}
	for k, v := range t {
		out[k] = v
	}
	delete(out, "progress")
	if s.name != "dcs" {
		if t["status"] == "EXECUTING" && slices.Contains(hides[s.name], t["name"].(string)) {
			out["status"] = "CREATED"
		}
		return out
	}
	delete(out, "error_code")
	delete(out, "job_id")
	return out
}

// shownInCentre is how a DCS record must come back from the task centre.
func shownInCentre(t record) record {
	out := shown(service{name: "dcs"}, t)
	out["error_code"], out["job_id"] = t["error_code"], t["job_id"]
	return out
}

// document is the import file of records: an answer to the list call.
func document(tasks []record) []byte {
	data, err := json.Marshal(map[string]any{"task_count": strconv.Itoa(len(tasks)), "tasks": tasks})
	if err != nil {
		panic(err) // only values that JSON has are in there
	}
	return data
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// w32 makes a stable id of 32 hex digits.
func w32(parts ...string) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%q", parts)))
	return hex.EncodeToString(sum[:16])
}

func uuid(parts ...string) string {
	h := w32(parts...)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
