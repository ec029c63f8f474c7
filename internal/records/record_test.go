package records

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func TestRecord(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		want        func(*errand.Task)
	}{
		{"least", record(``), func(*errand.Task) {}},
		{"nulls", record(`"user_name":null,"user_id":null,"params":null,"details":null,"enable_show":null,"error_code":null,"job_id":null,"reason":null,"progress":null,`), func(*errand.Task) {}},
		{"user and params", record(`"user_name":"名","user_id":"u","params":"{\"a\": 1}",`), func(x *errand.Task) {
			x.User = errand.User{ID: "u", Name: "名"}
			x.Params = `{"a": 1}`
		}},
		{"escapes", record(`"params":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude80",`), func(x *errand.Task) { x.Params = "\"\\/\b\f\n\r\té🚀" }},
		{"task centre", record(`"error_code":"DCS.5000","job_id":"` + id2 + `",`), func(x *errand.Task) { x.ErrorCode, x.JobID = "DCS.5000", id2 }},
		{"reason", record(`"reason":"disk full",`), func(x *errand.Task) { x.Reason = "disk full" }},
		{"details are kept as they are", record(`"details":{ "z" : [ 1.50 , {"a" : "\u00e9"} ] , "old_port":6379,"rename_commands":["GET", "SET"],"enable_ssl" : true, "node_name":null },`), func(x *errand.Task) {
			x.Details = []byte(`{"z":[1.50,{"a":"\u00e9"}],"old_port":6379,"rename_commands":["GET","SET"],"enable_ssl":true,"node_name":null}`)
		}},
		{"no details", record(`"details":{},`), func(x *errand.Task) { x.Details = []byte(`{}`) }},
		{"enable_show", record(`"enable_show":true,`), func(x *errand.Task) { x.Progress = &errand.Progress{} }},
		{"not enable_show", record(`"enable_show":false,`), func(*errand.Task) {}},
		{"DCS progress", record(`"enable_show":true,"progress":{"progress":60,"remain_time":120,"step_details":[
			{"step_id":"1","step_name":"check","step_status":"FINISH","begin_time":"2020-06-17T08:18:06Z","end_time":"2020-06-17T08:18:07.5Z","error_code":null,"sub_step_details":[]},
			{"step_id":"2","step_name":"move","step_status":"EXECUTING","begin_time":"2020-06-17T08:18:07.5Z","end_time":"","error_code":"","sub_step_details":[
				{"sub_step_id":"1","sub_step_name":"copy","sub_step_status":"SUSPEND","begin_time":null,"detail":"slot 3","error_code":"E1"},
				{"sub_step_name":"drop","sub_step_status":"CANCELED"}]}]},`), func(x *errand.Task) {
			x.Progress = &errand.Progress{Percent: 60, Remaining: 2 * time.Minute, Steps: []errand.Step{
				{Name: "check", Status: errand.StepSucceeded, StartedAt: at("2020-06-17T08:18:06Z"), EndedAt: at("2020-06-17T08:18:07.5Z")},
				{Name: "move", Status: errand.StepRunning, StartedAt: at("2020-06-17T08:18:07.5Z"), Steps: []errand.Step{
					{Name: "copy", Status: errand.StepSuspended, Detail: "slot 3", ErrorCode: "E1"},
					{Name: "drop", Status: errand.StepCancelled},
				}},
			}}
		}},
		{"DMS progress", record(`"progress":{"progress_percentage":33,"remain_time":300,"step_list":[
			{"name":"pre_check","statue":"COMPLETED","status":"COMPLETED","start_time":"1763350067752","end_time":1763350069752},
			{"name":"disk_expansion","status":"IN_PROGRESS","start_time":"1763350069752"},
			{"name":"rolling_scaling","statue":"WAITING"},{"name":"end","statue":"FAILED"}]},`), func(x *errand.Task) {
			x.Progress = &errand.Progress{Percent: 33, Remaining: 5 * time.Minute, Steps: []errand.Step{
				{Name: "pre_check", Status: errand.StepSucceeded, StartedAt: at("2025-11-17T03:27:47.752Z"), EndedAt: at("2025-11-17T03:27:49.752Z")},
				{Name: "disk_expansion", Status: errand.StepRunning, StartedAt: at("2025-11-17T03:27:49.752Z")},
				{Name: "rolling_scaling", Status: errand.StepWaiting},
				{Name: "end", Status: errand.StepFailed},
			}}
		}},
		{"progress without steps", record(`"progress":{"progress":0},`), func(x *errand.Task) { x.Progress = &errand.Progress{} }},
		{"times elsewhere and finer", strings.NewReplacer("08:18:06.597Z", "16:18:06.123456789+08:00", "08:18:10.106Z", "08:18:10Z").Replace(record("")), func(x *errand.Task) {
			x.CreatedAt, x.UpdatedAt = at("2020-06-17T08:18:06.123456Z"), at("2020-06-17T08:18:10Z")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := one(t, document(tt.input))
			want := &errand.Task{
				ID: id1, JobID: id1, Operation: "EXTEND", Status: errand.Succeeded, Origin: &errand.Origin{Status: "SUCCESS"},
				CreatedAt: at("2020-06-17T08:18:06.597Z"), UpdatedAt: at("2020-06-17T08:18:10.106Z"),
			}
			tt.want(want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\n got %+v %+v\nwant %+v %+v", got, got.Progress, want, want.Progress)
			}
		})
	}
}

func TestStatusWords(t *testing.T) {
	for word, want := range map[string]errand.Status{
		"CREATED": errand.Pending, "EXECUTING": errand.Running, "SUCCESS": errand.Succeeded,
		"FAILED": errand.Failed, "CANCELLED": errand.Cancelled, "DELETED": errand.Cancelled,
	} {
		got := one(t, document(strings.Replace(record(""), "SUCCESS", word, 1)))
		if got.Status != want || got.Origin == nil || got.Origin.Status != word {
			t.Errorf("%s: status %s, origin %+v; want %s and the word", word, got.Status, got.Origin, want)
		}
	}
}

// TestDetailMembers gives every documented member its own type and all others.
func TestDetailMembers(t *testing.T) {
	values := map[string]string{"string": `"x"`, "int": `7`, "bool": `true`, "strings": `["a"]`, "object": `{}`, "fraction": `1.0`, "exponent": `1e3`, "wide": `2147483648`, "mixed": `["a",1]`}
	types := map[string]string{}
	for kind, names := range map[string]string{
		"string":  "old_capacity new_capacity public_ip_id public_ip_address old_cache_mode new_cache_mode old_resource_spec_code new_resource_spec_code old_cache_type new_cache_type replica_ip replica_az group_name account_name source_ip target_ip node_name",
		"int":     "old_replica_num new_replica_num old_port new_port updated_config_length",
		"bool":    "enable_public_ip enable_ssl is_only_adjust_charging",
		"strings": "rename_commands",
	} {
		for _, n := range strings.Fields(names) {
			types[n] = kind
		}
	}
	if len(types) != 26 || len(detailMembers) != 26 {
		t.Fatalf("%d members here and %d known; the provider documents 26", len(types), len(detailMembers))
	}
	for name, kind := range types {
		for k, v := range values {
			_, _, err := Read(strings.NewReader(document(record(`"details":{"`+name+`":`+v+`},`))), Limits{})
			if (err == nil) != (k == kind) {
				t.Errorf("details.%s of type %s: %v; its type is %s", name, k, err, kind)
			}
			if err != nil && errand.ErrorOf(err).Subject != "details."+name {
				t.Errorf("details.%s of type %s: error is about %q", name, k, errand.ErrorOf(err).Subject)
			}
		}
	}
}

// TestBad checks what is refused, and that the error says what and where.
func TestBad(t *testing.T) {
	swap := func(old, with string) string { return document(strings.Replace(record(""), old, with, 1)) }
	const head = `{"task_count":"1","tasks":[` // as document writes it
	begin := strconv.Itoa(len(head))
	for _, tt := range []struct {
		name, input string
		subject     string
		says        string // in the message
	}{
		{"nothing", "", "records", "empty"},
		{"white space", " \n", "records", "empty"},
		{"white space without end", strings.Repeat(" \n", maxGap/2) + " ", "records", "white space in a row"},
		{"a number", "7", "records", `document 1 (byte 0): expected an object with a "tasks" array`},
		{"an array", "[]", "records", "expected an object"},
		{"a bare record", record(""), "tasks", `no "tasks" array`},
		{"an error answer", `{"error_code":"APIGW.0301","error_msg":"x"}`, "tasks", "error answer"},
		{"tasks null", `{"tasks":null}`, "tasks", "not an array"},
		{"tasks an object", `{"tasks":{}}`, "tasks", "not an array"},
		{"tasks twice", `{"tasks":[],"tasks":[]}`, "tasks", "twice"},
		{"tasks twice, escaped", `{"tasks":[],"\u0074asks":[]}`, "tasks", "twice"},
		{"task_count a word", `{"task_count":"many","tasks":[]}`, "task_count", `"many" is not a whole number`},
		{"task_count negative", `{"task_count":-1,"tasks":[]}`, "task_count", "-1"},
		{"task_count a boolean", `{"task_count":true,"tasks":[]}`, "task_count", "true"},
		{"text after a document", document() + "x", "records", "document 2"},
		{"comma between documents", document() + "," + document(), "records", "document 2"},
		{"number after a document", document() + " 1", "records", "document 2 (byte "},
		{"trailing comma", `{"tasks":[` + record("") + `,]}`, "records", "document 1, record 2"},
		{"comma missing", `{"tasks":[` + record("") + record("") + `]}`, "records", "document 1"},
		{"wrong bracket", `{"tasks":[}`, "records", "not JSON"},
		{"single quotes", `{'tasks':[]}`, "records", "not JSON"},
		{"cut off in a string", document(record(""))[:60], "records", "ends in the middle"},
		{"cut off between members", `{"tasks":[]`, "records", "ends in the middle"},
		{"cut off after a comma", `{"tasks":[],`, "records", "ends in the middle"},
		{"second document cut off", document() + "{", "records", "document 2 (after byte "},
		{"a raw control character", swap("EXTEND", "EX\nTEND"), "records", "not JSON"},
		{"bad UTF-8", swap("EXTEND", "EX\xffTEND"), "records", "0xff"},
		{"bad UTF-8 in an unknown member", `{"x":"` + "\xc3\x28" + `","tasks":[]}`, "records", "(byte 6): byte 0xc3"},
		{"half a character at the end", document() + "\xe4\xb8", "records", "0xe4"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "records", "(byte 0): byte 0xff"},
		{"NUL", swap("EXTEND", `EX\u0000TEND`), "records", "NUL"},
		{"NUL in details", document(record(`"details":{"x":["\u0000"]},`)), "records", "NUL"},
		{"NUL in a name", document(record(`"\u0000":1,`)), "records", "NUL"},
		{"half a pair", swap("EXTEND", `\ud83d`), "records", "surrogate"},
		{"pair in the wrong order", swap("EXTEND", `\ude80\ud83d`), "records", "surrogate"},
		{"high half before text", swap("EXTEND", `\ud83dabcdef`), "records", "surrogate"},
		{"too deep", document(record(`"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `,`)), "records", "nested too deep"},
		{"far too deep", document(record(`"x":` + strings.Repeat("[", 1<<20))), "records", "depth"},
		{"too deep outside of records", `{"x":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40) + `,"tasks":[]}`, "records", "nested too deep"},

		{"record a string", `{"tasks":["x"]}`, "tasks", "a record is an object, not a string"},
		{"record null", `{"tasks":[null]}`, "tasks", "not null"},
		{"third record", document(record(""), record(""), strings.Replace(record(""), "SUCCESS", "DONE", 1)), "status", `document 1, record 3 (byte `},
		{"record in second document", document(record("")) + document(record(`"id":1,`)), "id", "document 2, record 1"},
		{"unknown status", swap("SUCCESS", "DONE"), "status", `status "DONE" is unknown; expected one of [CANCELLED CREATED DELETED EXECUTING FAILED SUCCESS]`},
		{"status in lower case", swap("SUCCESS", "success"), "status", "unknown"},
		{"status empty", swap("SUCCESS", ""), "status", "unknown"},
		{"status a number", swap(`"SUCCESS"`, "3"), "status", "status is a number; expected a string"},
		{"no id", swap(`"id"`, `"ID"`), "id", "has no id"},
		{"id null", swap(`"`+id1+`"`, "null"), "id", "record 1 (byte " + begin + "): the record has no id"},
		{"id in upper case", swap(id1, strings.ToUpper(id1)), "id", "32 lower-case hex"},
		{"id with dashes", swap(id1, "8abf6e1e-72c1-2e7c-0172-c15b508500aa"), "id", "32 lower-case hex"},
		{"id a number", swap(`"`+id1+`"`, "12"), "id", "id is a number; expected a string"},
		{"job_id a word", document(record(`"job_id":"x",`)), "job_id", "32 lower-case hex"},
		{"no name", swap(`"name"`, `"nome"`), "name", "has no name"},
		{"name empty", swap("EXTEND", ""), "name", "1 to 256 bytes"},
		{"name long", swap("EXTEND", strings.Repeat("x", 257)), "name", "1 to 256 bytes"},
		{"no status", swap(`"status"`, `"statue"`), "status", "has no status"},
		{"no created_at", swap(`"created_at"`, `"x"`), "created_at", "has no created_at"},
		{"no updated_at", swap(`"updated_at"`, `"x"`), "updated_at", "has no updated_at"},
		{"updated_at empty", swap("2020-06-17T08:18:10.106Z", ""), "updated_at", "RFC 3339"},
		{"time without zone", swap("06.597Z", "06.597"), "created_at", "RFC 3339"},
		{"time of ten digits", swap("06.597Z", "06.1234567890Z"), "created_at", "RFC 3339"},
		{"time with a comma", swap("06.597Z", "06,597Z"), "created_at", "RFC 3339"},
		{"time with a short hour", swap("T08:18:06.597Z", "T8:18:06Z"), "created_at", "RFC 3339"},
		{"time with a space", swap("17T08:18:06", "17 08:18:06"), "created_at", "RFC 3339"},
		{"thirtieth of February", swap("2020-06-17T08:18:06", "2020-02-30T08:18:06"), "created_at", "RFC 3339"},
		{"leap second", swap("08:18:06.597Z", "08:18:60Z"), "created_at", "RFC 3339"},
		{"time as a number", swap(`"2020-06-17T08:18:06.597Z"`, "1592381886597"), "created_at", "is a number"},
		{"time before 1970", swap("2020-06-17T08:18:06.597Z", "1969-12-31T23:59:59Z"), "created_at", "1970"},
		{"time after 9999", swap("2020-06-17T08:18:06.597Z", "9999-12-31T23:59:59-01:00"), "created_at", "9999"},
		{"params an object", document(record(`"params":{"a":1},`)), "params", "params is an object; expected a string that holds the JSON"},
		{"params a number", document(record(`"params":1,`)), "params", "expected a string"},
		{"params long", document(record(`"params":"` + strings.Repeat("x", errand.MaxParamsLen+1) + `",`)), "params", "at most 65536 bytes"},
		{"user_name a number", document(record(`"user_name":1,`)), "user_name", "expected a string"},
		{"user_id an array", document(record(`"user_id":[],`)), "user_id", "user_id is an array"},
		{"error_code a number", document(record(`"error_code":1,`)), "error_code", "expected a string"},
		{"enable_show a word", document(record(`"enable_show":"true",`)), "enable_show", "expected true or false"},
		{"details a string", document(record(`"details":"{}",`)), "details", "details is a string; expected an object"},
		{"details too long", document(record(`"details":{"x":"` + strings.Repeat("x", errand.MaxDetailsLen) + `"},`)), "details", "at most 65536 bytes"},
		{"details member twice", document(record(`"details":{"old_port":1,"old_port":2},`)), "old_port", "twice"},
		{"record member twice", document(record(`"name":"x",`)), "name", "twice"},
		{"unknown member twice", document(record(`"x":1,"x":1,`)), "x", "twice"},
		{"progress an array", document(record(`"progress":[],`)), "progress", "expected an object"},
		{"progress empty", document(record(`"progress":{},`)), "progress", "expected one"},
		{"progress of both shapes", document(record(`"progress":{"progress":1,"progress_percentage":1},`)), "progress", "expected one"},
		{"progress of 101", document(record(`"progress":{"progress":101},`)), "progress", "0 to 100"},
		{"progress of a fraction", document(record(`"progress":{"progress":50.5},`)), "progress.progress", "whole number"},
		{"progress a string", document(record(`"progress":{"progress":"50"},`)), "progress.progress", "is a string"},
		{"remain_time negative", document(record(`"progress":{"progress":1,"remain_time":-1},`)), "remain_time", "negative"},
		{"steps an object", document(record(`"progress":{"progress":1,"step_list":{}},`)), "progress.step_list", "array of steps"},
		{"step a string", document(record(`"progress":{"progress":1,"step_list":["x"]},`)), "progress.step_list[0]", "expected an object"},
		{"step without status", document(record(`"progress":{"progress":1,"step_list":[{"name":"x"}]},`)), "progress.step_list[0]", "has no status"},
		{"step of unknown status", document(record(`"progress":{"progress":1,"step_list":[{"status":"WAITING"},{"status":"DONE"}]},`)), "progress.step_list[1].status", "unknown"},
		{"step statuses differ", document(record(`"progress":{"progress":1,"step_list":[{"status":"WAITING","statue":"FAILED"}]},`)), "progress.step_list[0].statue", "contradicts"},
		{"step time a word", document(record(`"progress":{"progress":1,"step_list":[{"status":"WAITING","start_time":"soon"}]},`)), "progress.step_list[0].start_time", "milliseconds"},
		{"step time negative", document(record(`"progress":{"progress":1,"step_list":[{"status":"WAITING","start_time":-1}]},`)), "progress.step_list[0].start_time", "milliseconds"},
		{"step time too late", document(record(`"progress":{"progress":1,"step_list":[{"status":"WAITING","start_time":253402300800000}]},`)), "progress.step_list[0].start_time", "milliseconds"},
		{"step name long", document(record(`"progress":{"progress":1,"step_list":[{"name":"` + strings.Repeat("x", 1025) + `"}]},`)), "progress.step_list[0].name", "longer than 1024"},
		{"steps three deep", document(record(`"progress":{"progress":1,"step_details":[{"step_status":"WAITING","sub_step_details":[{"sub_step_status":"WAITING","sub_step_details":[]}]}]},`)), "progress.step_details[0].sub_step_details[0].sub_step_details", "no steps of its own"},
		{"too many steps", document(record(`"progress":{"progress":1,"step_list":[` + strings.Repeat(`{"status":"WAITING"},`, 1000) + `{"status":"WAITING"}]},`)), "steps", "at most 1000"},
		{"a name too long to repeat", document(record(`"` + strings.Repeat("x", 1<<16) + `":1,"` + strings.Repeat("x", 1<<16) + `":1,`)), "records", "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tasks, sum, err := Read(strings.NewReader(tt.input), Limits{})
			e := errand.ErrorOf(err)
			if e == nil || e.Kind != errand.Invalid || tasks != nil || sum != (Summary{}) {
				t.Fatalf("Read = %d tasks, %+v, %v; want nothing but an Invalid error", len(tasks), sum, err)
			}
			if e.Subject != tt.subject || !strings.Contains(e.Msg, tt.says) || !strings.Contains(e.Msg, "document ") || len(e.Msg) > 500 {
				t.Errorf("error about %q: %.600s\nwant one about %q that says %q", e.Subject, e.Msg, tt.subject, tt.says)
			}
		})
	}
}

// TestPlace checks the offset of an error against the input.
func TestPlace(t *testing.T) {
	bad := "\n " + document(record("")) + "\n{ \"tasks\" : [\n" + record("") + " ,\n" + record(`"details" : { "a": "é", "old_port" : "x" },`) + "]}"
	_, _, err := Read(strings.NewReader(bad), Limits{})
	want := "document 2, record 2 (byte " + strconv.Itoa(strings.Index(bad, `"x" }`)) + "): details.old_port is a string; expected a whole number"
	if e := errand.ErrorOf(err); e == nil || e.Msg != want {
		t.Errorf("error = %v\nwant    %s", e, want)
	}
}

func TestLimits(t *testing.T) {
	two := document(record(""), record(""))
	for _, tt := range []struct {
		name    string
		limits  Limits
		subject string // "" for no error
	}{
		{"size just right", Limits{Bytes: int64(len(two))}, ""},
		{"size", Limits{Bytes: int64(len(two)) - 1}, "size"},
		{"records just right", Limits{Records: 2}, ""},
		{"records", Limits{Records: 1}, "records"},
		{"depth just right", Limits{Depth: 3}, ""},
		{"depth", Limits{Depth: 2}, "records"},
	} {
		tasks, _, err := Read(strings.NewReader(two), tt.limits)
		if e := errand.ErrorOf(err); (e == nil) != (tt.subject == "") || e != nil && (e.Kind != errand.Invalid || e.Subject != tt.subject || tasks != nil) {
			t.Errorf("%s: %v; want an error about %q", tt.name, err, tt.subject)
		}
	}
	// The limit on records counts across documents.
	if _, _, err := Read(strings.NewReader(document(record(""))+document(record(""))), Limits{Records: 1}); err == nil {
		t.Error("two documents of one record passed a limit of one record")
	}
}
