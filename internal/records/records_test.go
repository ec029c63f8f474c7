package records

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/errandhq/errand"
)

const (
	id1  = "8abf6e1e72c12e7c0172c15b508500aa"
	id2  = "ff80808272dcc90f0172df1e490f41b0"
	user = "3df5acbc24a54fadb62a043c9000a307"
)

// record returns the text of a record with more put in front of its members.
func record(more string) string {
	return `{` + more + `"id":"` + id1 + `","name":"EXTEND","status":"SUCCESS","created_at":"2020-06-17T08:18:06.597Z","updated_at":"2020-06-17T08:18:10.106Z"}`
}

// document returns the text of a document with the given records.
func document(records ...string) string {
	return `{"task_count":"1","tasks":[` + strings.Join(records, ",") + `]}`
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// one reads input that must hold one record.
func one(t *testing.T, input string) *errand.Task {
	t.Helper()
	tasks, _, err := Read(strings.NewReader(input), Limits{})
	if err != nil {
		t.Fatalf("Read(%.300s) = %v", input, err)
	}
	if len(tasks) != 1 {
		t.Fatalf("Read(%.300s) gave %d records, want 1", input, len(tasks))
	}
	return tasks[0]
}

// TestReference reads the examples of the provider's reference pages.
func TestReference(t *testing.T) {
	publicIP := func(id, ip string) string {
		return `{"public_ip_id":"` + id + `","public_ip_address":"` + ip + `","enable_public_ip":true}`
	}
	rocket := &errand.Task{
		ID: id2, JobID: id2, Operation: "bindInstancePublicIp",
		User:      errand.User{ID: "xxxxxxxx93ff484a828144c6xxxxxxxx", Name: "dms_test"},
		Params:    publicIP("06a13350-4305-4338-9f0e-6b322bb1413d", "xx.xx.xx.xx"),
		Status:    errand.Succeeded,
		Origin:    &errand.Origin{Status: "SUCCESS"},
		CreatedAt: at("2020-06-23T03:00:03.471Z"), UpdatedAt: at("2020-06-23T03:00:08.13Z"),
	}
	dms := errand.User{ID: user, Name: "paas_dms"}
	for _, tt := range []struct {
		file      string
		announced int
		want      []*errand.Task
	}{
		{"rocketmq_list", 1, []*errand.Task{rocket}},
		{"rocketmq_show", 1, []*errand.Task{rocket}},
		{"kafka_show", 1, []*errand.Task{{
			ID: "8abfa7b272adc5b40172b73130065ae7", JobID: "8abfa7b272adc5b40172b73130065ae7",
			Operation: "bindInstancePublicIp", User: dms,
			Params: publicIP("1aea7aed-e7d8-40ea-b3de-6f3ee9d5db9f", "100.93.2.18"),
			Status: errand.Succeeded, Origin: &errand.Origin{Status: "SUCCESS"},
			CreatedAt: at("2020-06-15T08:55:53.606Z"), UpdatedAt: at("2020-06-15T08:55:56.6Z"),
		}}},
		{"kafka_list", 4, []*errand.Task{{
			ID: "8abfa7b372160bfd0172165864064079", JobID: "8abfa7b372160bfd0172165864064079",
			Operation: "modifyAutoTopic", User: dms, Params: `{"old_auto_status":true,"new_auto_status":false}`,
			Status: errand.Running, Origin: &errand.Origin{Status: "EXECUTING"},
			CreatedAt: at("2020-05-15T03:19:51.046Z"), UpdatedAt: at("2020-05-15T03:19:51.065Z"),
		}, {
			ID: "8abfa7b372160bfd017216560af83e6e", JobID: "8abfa7b372160bfd017216560af83e6e",
			Operation: "changeRetentionPolicy", User: dms,
			Params: `{"new_retention_policy":"produce_reject","origin_retention_policy":"time_base"}`,
			Status: errand.Succeeded, Origin: &errand.Origin{Status: "SUCCESS"},
			CreatedAt: at("2020-05-15T03:17:17.176Z"), UpdatedAt: at("2020-05-15T03:17:22.162Z"),
		}}},
		{"dcs_list", 1, []*errand.Task{{
			ID: id1, JobID: id1, Operation: "EXTEND",
			User: errand.User{ID: "d53977d1adfb49c5b025ba7d33a13fd7", Name: "dcs_000_02"},
			Details: []byte(`{"old_cache_mode":"single","new_cache_mode":"single","old_capacity":"0.125","new_capacity":"0.25",` +
				`"old_resource_spec_code":"redis.single.xu1.tiny.125","new_resource_spec_code":"redis.single.xu1.tiny.256",` +
				`"old_replica_num":1,"new_replica_num":1,"old_cache_type":"single","new_cache_type":"single",` +
				`"replica_ip":"192.192.0.1","replica_az":"az01","group_name":"group1","old_port":6379,"new_port":6379,` +
				`"is_only_adjust_charging":false,"account_name":"account1","source_ip":"192.192.0.0","target_ip":"192.192.0.1",` +
				`"node_name":"node1","rename_commands":[],"updated_config_length":0}`),
			Status: errand.Succeeded, Origin: &errand.Origin{Status: "SUCCESS"},
			CreatedAt: at("2020-06-17T08:18:06.597Z"), UpdatedAt: at("2020-06-17T08:18:10.106Z"),
		}}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			f, err := os.Open(filepath.Join("testdata", "reference", tt.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, sum, err := Read(f, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if want := (Summary{Documents: 1, Records: len(tt.want), Announced: tt.announced}); sum != want {
				t.Errorf("summary = %+v, want %+v", sum, want)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d records, want %d", len(got), len(tt.want))
			}
			for i := range got {
				if !reflect.DeepEqual(got[i], tt.want[i]) {
					t.Errorf("record %d\n got %+v\nwant %+v", i+1, got[i], tt.want[i])
				}
			}
		})
	}
}

func TestDocuments(t *testing.T) {
	second := strings.ReplaceAll(record(""), id1, id2)
	for _, tt := range []struct {
		name, input string
		want        Summary
	}{
		{"empty list", `{"task_count":"0","tasks":[]}`, Summary{Documents: 1}},
		{"task_count is a number", `{"tasks":[],"task_count":3}`, Summary{Documents: 1, Announced: 3}},
		{"task_count is null", `{"tasks":[],"task_count":null}`, Summary{Documents: 1}},
		{"no task_count", `{"tasks":[` + record("") + `]}`, Summary{Documents: 1, Records: 1}},
		{"two documents, no space", document(record("")) + document(second), Summary{Documents: 2, Records: 2, Announced: 1}},
		{"lines, and white space around", "\r\n\t " + document(record("")) + "\n\n" + document() + " \n", Summary{Documents: 2, Records: 1, Announced: 1}},
		{"byte order mark", "\ufeff" + document(record("")), Summary{Documents: 1, Records: 1, Announced: 1}},
		{"unknown members", `{"x":{"tasks":[1]},"tasks":[` + record(`"y":[{}],"z":null,`) + `],"w":"é"}`, Summary{Documents: 1, Records: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// However the input arrives, it reads the same.
			for name, r := range map[string]io.Reader{
				"whole":     strings.NewReader(tt.input),
				"bytewise":  iotest.OneByteReader(strings.NewReader(tt.input)),
				"with EOF":  iotest.DataErrReader(strings.NewReader(tt.input)),
				"in halves": iotest.HalfReader(strings.NewReader(tt.input)),
			} {
				tasks, sum, err := Read(r, Limits{})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if sum != tt.want || len(tasks) != sum.Records {
					t.Errorf("%s: %d tasks, summary %+v; want %+v", name, len(tasks), sum, tt.want)
				}
			}
		})
	}
}

func TestReaderError(t *testing.T) {
	broken := errors.New("connection reset")
	for _, before := range []string{"", document(record("")), document(record("")) + "{\"tasks\":[{\"id\":\"\xc3"} {
		tasks, _, err := Read(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken)), Limits{})
		if !errors.Is(err, broken) || tasks != nil || errand.ErrorOf(err).Kind != errand.Internal {
			t.Errorf("Read after %q = %d tasks, %v; want none and the reader's own error", before, len(tasks), err)
		}
	}
}
