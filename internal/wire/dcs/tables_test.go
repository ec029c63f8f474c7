package dcs

import (
	"regexp"
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
			if row.Status < 400 || row.Code == "" || row.Msg == "" || !row.Gateway && !strings.HasPrefix(row.Code, "DCS.") {
				t.Errorf("row %v %q: %+v", kind, subject, row)
			}
		}
	}
	for _, s := range errand.Statuses() {
		if statuses[s] == "" || jobStatuses[s] == "" {
			t.Errorf("status %q: task %q, job %q", s, statuses[s], jobStatuses[s])
		}
	}
	for _, s := range errand.StepStatuses() {
		if stepStatuses[s] == "" || subStepStatuses[s] == "" {
			t.Errorf("step status %q: step %q, sub-step %q", s, stepStatuses[s], subStepStatuses[s])
		}
	}
}

// The pairs of codes that the provider's pages print side by side.
func TestLegacyCodes(t *testing.T) {
	old := legacy(failures)
	for _, tt := range []struct {
		kind    errand.Kind
		subject string
		want    string
	}{
		{errand.Invalid, "instance_id", "111400061"},
		{errand.Invalid, "task_id", "111400070"},
		{errand.Invalid, "job_id", "111400063"},
		{errand.Invalid, "method", "111405001"},
		{errand.NotFound, "instance", "111404022"},
		{errand.NotFound, "", "111404001"},
		{errand.Internal, "", "111500000"},
		{errand.NotFound, "url", "APIGW.0101"},
	} {
		if got := old[tt.kind][tt.subject].Code; got != tt.want {
			t.Errorf("%v %q: %s, want %s", tt.kind, tt.subject, got, tt.want)
		}
	}
	if failures[errand.Internal][""].Code != "DCS.5000" {
		t.Error("the table itself was changed")
	}
	digits := regexp.MustCompile(`^(111[0-9]{6}|APIGW\.[0-9]{4})$`)
	for kind, rows := range old {
		for subject, row := range rows {
			if !digits.MatchString(row.Code) {
				t.Errorf("%v %q: code %q", kind, subject, row.Code)
			}
		}
	}
}
