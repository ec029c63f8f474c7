package dms

import (
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

func TestTablesAreComplete(t *testing.T) {
	for _, k := range errand.Kinds() {
		if _, ok := failures[k][""]; !ok {
			t.Errorf("no row for errors of kind %q", k)
		}
	}
	for kind, rows := range failures {
		for subject, row := range rows {
			if row.Status < 400 || row.Code == "" || row.Msg == "" || !row.Gateway && !strings.HasPrefix(row.Code, "DMS.") {
				t.Errorf("row %v %q: %+v", kind, subject, row)
			}
		}
	}
	for _, s := range errand.Statuses() {
		if statuses[s] == "" {
			t.Errorf("no word for status %q", s)
		}
	}
	for _, s := range errand.StepStatuses() {
		if stepStatuses[s] == "" {
			t.Errorf("no word for step status %q", s)
		}
	}
}

func TestStatusWord(t *testing.T) {
	enc := encoder{hidden: map[string]bool{"bindInstancePublicIp": true}}
	for _, tt := range []struct {
		task errand.Task
		want string
	}{
		{errand.Task{Status: errand.Pending}, "CREATED"},
		{errand.Task{Status: errand.Running}, "EXECUTING"},
		{errand.Task{Status: errand.Running, Operation: "bindInstancePublicIp"}, "CREATED"},
		{errand.Task{Status: errand.Succeeded, Operation: "bindInstancePublicIp"}, "SUCCESS"},
		{errand.Task{Status: errand.Failed}, "FAILED"},
		{errand.Task{Status: errand.Cancelled}, "CANCELLED"},
		{errand.Task{Status: errand.Cancelled, Origin: &errand.Origin{Status: "CANCELLED"}}, "CANCELLED"},
		{errand.Task{Status: errand.Cancelled, Origin: &errand.Origin{Status: "DELETED"}}, "DELETED"},
	} {
		if got := enc.status(&tt.task); got != tt.want {
			t.Errorf("status of %+v = %s, want %s", tt.task, got, tt.want)
		}
	}
}
