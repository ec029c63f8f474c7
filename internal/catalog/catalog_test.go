package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

var _ tasks.Catalog = (*Catalog)(nil)

func TestBuiltin(t *testing.T) {
	t.Parallel()
	c, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	entries := c.Entries()
	if got, want := len(Builtin()), len(entries); got != want || got < 40 {
		t.Errorf("%d built-in operations, %d entries", got, want)
	}
	for i, e := range entries {
		checkEntry(t, e)
		if e.Schema == nil || e.schema == nil || e.Lane != errand.DefaultLane || e.OnLost != errand.FailWhenLost ||
			e.Runner != errand.RemoteRunner || e.File != "" || e.TitleZH == e.Title {
			t.Errorf("%s %s is not as the built-in ones are: %+v", e.Engine, e.Name, e)
		}
		if i > 0 && !(entries[i-1].Engine != e.Engine || entries[i-1].Name < e.Name) {
			t.Errorf("%s is out of order", e.Name)
		}
		if err := c.Check(e.Operation, []byte(`[]`)); errand.ErrorOf(err) == nil || errand.ErrorOf(err).Kind != errand.Invalid {
			t.Errorf("%s takes a list: %v", e.Name, err)
		}
	}
	for _, tt := range []struct {
		engine  errand.Engine
		name    string
		hidden  bool
		secrets []string
	}{
		{errand.Kafka, "bindInstancePublicIp", false, nil},
		{errand.RocketMQ, "bindInstancePublicIp", true, nil},
		{errand.RabbitMQ, "unbindInstancePublicIp", true, nil},
		{errand.RabbitMQ, "rabbitmqPluginModify", true, nil},
		{errand.Redis, "EXTEND", false, nil},
		{errand.Redis, "modify", false, []string{"password"}},
	} {
		got, ok := c.Operation(tt.engine, tt.name)
		if !ok || got.HideRunning != tt.hidden || !slices.Equal(got.Secrets, tt.secrets) {
			t.Errorf("%s %s: known %v, hides running %v, secrets %v; want true, %v, %v", tt.engine, tt.name, ok, got.HideRunning, got.Secrets, tt.hidden, tt.secrets)
		}
	}
}

// TestReferenceParams checks the parameters that the provider's reference pages
// and clients show, as they stand there.
func TestReferenceParams(t *testing.T) {
	t.Parallel()
	c := builtins()
	const ip = `{"public_ip_id":"06a13350-4305-4338-9f0e-6b322bb1413d","public_ip_address":"xx.xx.xx.xx","enable_public_ip":true}`
	const extend = `{"old_cache_mode":"single","new_cache_mode":"single","old_capacity":"0.125","new_capacity":"0.25",
		"old_resource_spec_code":"redis.single.xu1.tiny.125","new_resource_spec_code":"redis.single.xu1.tiny.256",
		"old_replica_num":1,"new_replica_num":1,"old_cache_type":"single","new_cache_type":"single","replica_ip":"192.192.0.1",
		"replica_az":"az01","is_only_adjust_charging":false,"rename_commands":[],"updated_config_length":0}`
	for _, tt := range []struct {
		engine errand.Engine
		name   string
		good   string
		bad    string
		what   string // of the bad one's error
	}{
		{errand.Kafka, "bindInstancePublicIp", ip, `{"enable_public_ip":"true"}`, "at /enable_public_ip: must be a boolean, not a string"},
		{errand.RocketMQ, "bindInstancePublicIp", ip, `{"public_ip_id":7}`, "at /public_ip_id: must be a string, not a number"},
		{errand.RabbitMQ, "unbindInstancePublicIp", `{"enable_public_ip":false}`, `{"enable_public_ip":0}`, "must be a boolean"},
		{errand.Kafka, "modifyAutoTopic", `{"old_auto_status":true,"new_auto_status":false}`, `{}`, `at the top: must have the member "new_auto_status"`},
		{errand.Kafka, "changeRetentionPolicy", `{"new_retention_policy":"produce_reject","origin_retention_policy":"time_base"}`,
			`{"new_retention_policy":"keep"}`, `at /new_retention_policy: must be "produce_reject" or "time_base"`},
		{errand.Kafka, "kafkaConfigModify", `{}`, `{"kafka_configs":[{"name":"x","value":"1"},{"name":"y"}]}`, `at /kafka_configs/1: must have the member "value"`},
		{errand.Kafka, "kafkaClientQuotaCreate", `{"new_kafka_user_client_quota":{"user":"u","client":"","user-default":false,"client-default":false}}`,
			`{"new_kafka_user_client_quota":{"user-default":"no"}}`, "at /new_kafka_user_client_quota/user-default: must be a boolean"},
		{errand.Kafka, "partitionReassignment", `{"reassignment_topics":"[topic-1]"}`, `{"throttle":-2}`, "at /throttle: must be at least -1"},
		{errand.RabbitMQ, "rabbitmqPluginModify", `{"enable":true,"plugins":"rabbitmq_delayed_message_exchange"}` + "\n", `{"enable":true}`, `must have the member "plugins"`},
		{errand.Redis, "EXTEND", extend, `{}`, "at the top: must have at least 1 members"},
		{errand.Redis, "ChangeInstanceSpec", extend, `{"new_replica_num":1.5}`, "at /new_replica_num: must be an integer, not a number"},
		{errand.Redis, "UpdatePort", `{"old_port":6379,"new_port":6380}`, `{"new_port":70000}`, "at /new_port: must be at most 65535"},
		{errand.Redis, "DeleteAcl", `{"account_name":"reader"}`, `{"account_name":null}`, "must be a string, not null"},
		{errand.Redis, "masterStandbySwapJob", `{}`, `{"source_ip":[]}`, "must be a string, not an array"},
	} {
		t.Run(string(tt.engine)+" "+tt.name, func(t *testing.T) {
			t.Parallel()
			o, ok := c.Operation(tt.engine, tt.name)
			if !ok {
				t.Fatal("the operation is not known")
			}
			if err := c.Check(o, []byte(tt.good)); err != nil {
				t.Errorf("%s: %v", tt.good, err)
			}
			e := errand.ErrorOf(c.Check(o, []byte(tt.bad)))
			if e == nil || e.Kind != errand.Invalid || e.Subject != "params" || !strings.Contains(e.Msg, tt.what) {
				t.Errorf("%s: error %v, want Invalid about params that says %q", tt.bad, e, tt.what)
			}
		})
	}
}

func TestCheckUnknownOperation(t *testing.T) {
	t.Parallel()
	e := errand.ErrorOf(builtins().Check(errand.Operation{Engine: errand.Kafka, Name: "EXTEND"}, []byte(`{}`)))
	if e == nil || e.Kind != errand.NotFound || e.Subject != "operation" {
		t.Errorf("Check = %v, want NotFound about operation", e)
	}
}

// TestCheckWords is every word that a refusal can use.
func TestCheckWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ schema, params, want string }{
		{`{a: {type: [string, "null"]}}`, `{"a":1}`, "at /a: must be null or a string, not a number"},
		{`{a: {const: on}}`, `{"a":"secret"}`, `at /a: must be "on"`},
		{`{a: {enum: [1,2,3,4,5,6,7,8,9,10]}}`, `{"a":"secret"}`, "at /a: must be 1 or 2 or 3 or 4 or 5 or 6 or 7 or 8 or one of 2 more"},
		{`{a: {format: ipv4}}`, `{"a":"secret"}`, "at /a: must have the format ipv4"},
		{`{a: {pattern: "^[a-z]$"}}`, `{"a":"secret"}`, "at /a: must match the pattern ^[a-z]$"},
		{`{a: {additionalProperties: false}}`, `{"a":{"y":"secret","x":2}}`, `at /a: must not have the member "x" or "y"`},
		{`{a: {unevaluatedProperties: false}}`, `{"a":{"y":"secret"}}`, "at /a/y: must not be there"},
		{`{a: {dependentRequired: {x: [y]}}}`, `{"a":{"x":"secret"}}`, `at /a: must have the member "y", because it has "x"`},
		{`{a: {propertyNames: {maxLength: 1}}}`, `{"a":{"xy":"secret"}}`, `at /a: a member must not have the name "xy"`},
		{`{a: {uniqueItems: true}}`, `{"a":["secret","secret"]}`, "at /a: must not have the same item twice, as at 0 and 1"},
		{`{a: {contains: {const: 1}}}`, `{"a":["secret"]}`, "at /a: must have an item of the kind"},
		{`{a: {contains: {const: 1}, minContains: 2}}`, `{"a":["secret", 1]}`, "at /a: must have at least 2 items of the kind"},
		{`{a: {contains: {const: 1}, maxContains: 1}}`, `{"a":["secret", 1, 1]}`, "at /a: must have at most 1 items of the kind"},
		{`{a: {not: {type: string}}}`, `{"a":"secret"}`, "at /a: must not fit what the schema excludes"},
		{`{a: {exclusiveMinimum: 5}}`, `{"a":5}`, "at /a: must be more than 5"},
		{`{a: {exclusiveMaximum: 5.5}}`, `{"a":77}`, "at /a: must be less than 5.5"},
		{`{a: {multipleOf: 3}}`, `{"a":77}`, "at /a: must be a multiple of 3"},
		{`{a: {minLength: 10}}`, `{"a":"secret"}`, "at /a: must have at least 10 characters"},
		{`{a: {maxLength: 2}}`, `{"a":"secret"}`, "at /a: must have at most 2 characters"},
		{`{a: {minItems: 2}}`, `{"a":["secret"]}`, "at /a: must have at least 2 items"},
		{`{a: {maxItems: 0}}`, `{"a":["secret"]}`, "at /a: must have at most 0 items"},
		{`{a: {maxProperties: 0}}`, `{"a":{"b":"secret"}}`, "at /a: must have at most 0 members"},
		{`{a: {anyOf: [{type: number}, {type: object, required: [x]}]}}`, `{"a":"secret"}`, "at /a: must be a number, not a string, or must be an object, not a string"},
		{`{a: {oneOf: [{type: string}, {maxLength: 10}]}}`, `{"a":"secret"}`, "at /a: must fit one of the alternatives, and fits several"},
		{`{a: {oneOf: [{properties: {b: {type: number}}}, {type: number}]}}`, `{"a":{"b":"secret"}}`, "at /a: /b must be a number, not a string, or must be a number, not an object"},
		{`{a: {if: {type: string}, then: {maxLength: 1}}}`, `{"a":"secret"}`, "at /a: must have at most 1 characters"},
		{`{a: {type: number}, b: {type: number}, c: {type: number}, d: {type: number}}`, `{"d":"secret","c":"","b":"","a":""}`,
			"at /a: must be a number, not a string; at /b: must be a number, not a string; at /c: must be a number, not a string; and 1 more"},
		{`{"a/b~c": {items: {type: number}}}`, `{"a/b~c":[1,"secret"]}`, "at /a~1b~0c/1: must be a number"},
		{`{a: {$ref: "#/$defs/x"}}, $defs: {x: {type: number}}`, `{"a":"secret"}`, "at /a: must be a number"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			c, s := &Catalog{entries: map[key]*Entry{}}, &source{}
			s.add(c, []byte("engine: redis\nname: x\nparams: {properties: "+tt.schema+"}\n"))
			if len(s.problems) > 0 {
				t.Fatal(s.problems)
			}
			e := errand.ErrorOf(c.Check(errand.Operation{Engine: errand.Redis, Name: "x"}, []byte(tt.params)))
			if e == nil || !strings.Contains(e.Msg, tt.want) {
				t.Fatalf("error %v\nwant      %s", e, tt.want)
			}
			for _, value := range []string{"secret", "77"} {
				if strings.Contains(e.Msg, value) {
					t.Errorf("a value is in the error: %s", e.Msg)
				}
			}
		})
	}
}

// TestCheckBounds gives parameters that are meant to cost much, or to be read in
// two ways.
func TestCheckBounds(t *testing.T) {
	t.Parallel()
	c := load(t, map[string]string{"x.yaml": "engine: redis\nname: x\nparams: {properties: {n: {minimum: 1, multipleOf: 3}}}\n---\nengine: redis\nname: free\n"})
	long := strings.Repeat(`k\u001b`, 200)
	for _, tt := range []struct{ params, want string }{
		{`{"n":1e999999999}`, "at /n: a number must have at most"},
		{`{"n":1e-999999999}`, "at /n: a number must have at most"},
		{`{"n":` + strings.Repeat("9", 101) + `}`, "at /n: a number must have at most"},
		{`{"n":3,"n":4}`, "at /n: the member is there twice"},
		{`{"a":[{"b":1,"b":2}]}`, "at /a/0/b: the member is there twice"},
		{`{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "nested at most 64 deep"},
		{`{"a":` + strings.Repeat("[", 50000) + strings.Repeat("]", 50000) + `}`, "must be one JSON object"},
		{``, "must be one JSON object"},
		{`{}{}`, "must be one JSON object"},
		{`{"a":}`, "must be one JSON object"},
		{`null`, "must be one JSON object"},
		{`"text"`, "must be one JSON object"},
		{fmt.Sprintf(`{"%s":[{"%[1]s":1e999}]}`, long), "a number must have"},
	} {
		for _, name := range []string{"x", "free"} {
			e := errand.ErrorOf(c.Check(errand.Operation{Engine: errand.Redis, Name: name}, []byte(tt.params)))
			if e == nil || e.Kind != errand.Invalid || !strings.Contains(e.Msg, tt.want) {
				t.Errorf("%.40s: error %v, want %s", tt.params, e, tt.want)
			} else if len(e.Msg) > 2000 || strings.ContainsRune(e.Msg, 0x1b) {
				t.Errorf("%.40s: error of %d bytes: %q", tt.params, len(e.Msg), e.Msg)
			}
		}
	}
	for _, params := range []string{`{}`, ` {"n":3e2,"o":{"n":1}}` + "\n"} {
		if err := c.Check(errand.Operation{Engine: errand.Redis, Name: "x"}, []byte(params)); err != nil {
			t.Errorf("%s: %v", params, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	c := builtins()
	o, _ := c.Operation(errand.Redis, "EXTEND")
	params := []byte(`{"old_capacity":"0.125","new_capacity":"0.25","old_replica_num":1,"new_replica_num":2,"new_resource_spec_code":"redis.ha.xu1.tiny.r2.256"}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Check(o, params); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadBuiltin(b *testing.B) {
	for b.Loop() {
		builtins()
	}
}
