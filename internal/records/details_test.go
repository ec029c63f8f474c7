package records

import (
	"encoding/json"
	"testing"

	"github.com/errandhq/errand"
)

func TestDetailsOfParams(t *testing.T) {
	for _, tt := range []struct{ params, want string }{
		{`{"new_capacity": "4", "old_capacity":"2", "execute_immediately":true}`, `{"new_capacity":"4","old_capacity":"2"}`},
		{`{"old_port":"6379","new_port":6380}`, `{"new_port":6380}`}, // SDKs cannot read the first
		{`{"rename_commands":["keys"],"enable_ssl":false,"group_name":null}`, `{"enable_ssl":false,"rename_commands":["keys"]}`},
		{`{"old_replica_num":1.5,"rename_commands":[1]}`, ``},
		{`{}`, ``},
		{`[]`, ``},
		{``, ``},
	} {
		got := Details(json.RawMessage(tt.params))
		if string(got) != tt.want {
			t.Errorf("Details(%s) = %s, want %s", tt.params, got, tt.want)
		}
		if err := CheckDetails(got); err != nil {
			t.Error(err)
		}
	}
	for details, ok := range map[string]bool{
		`{"old_port":6379,"mine":"x"}`: true,
		`{"old_port":null}`:            true,
		`{"old_port":"6379"}`:          false,
		`{"enable_ssl":"false"}`:       false,
		``:                             true,
	} {
		if e := errand.ErrorOf(CheckDetails(json.RawMessage(details))); (e == nil) != ok || e != nil && (e.Kind != errand.Invalid || e.Subject != "details") {
			t.Errorf("CheckDetails(%s) = %v", details, e)
		}
	}
}
