package records

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// statuses are the provider's words. DELETED is a record that was removed from
// the provider's list: what became of the task is not known, only that it ended.
var statuses = map[string]errand.Status{
	"CREATED":   errand.Pending,
	"EXECUTING": errand.Running,
	"SUCCESS":   errand.Succeeded,
	"FAILED":    errand.Failed,
	"CANCELLED": errand.Cancelled,
	"DELETED":   errand.Cancelled,
}

// required are the members that every shape of a record has.
var required = []string{"id", "name", "status", "created_at", "updated_at"}

// readRecord reads one element of "tasks". Members that are not known are passed
// over, so that a record of a newer version of the provider's API can be read.
func readRecord(v value) (*errand.Task, error) {
	if v.raw[0] != '{' {
		return nil, faultf(v.at, "tasks", "a record is an object, not %s", v.what())
	}
	t := &errand.Task{}
	expandable := false
	have := map[string]bool{}
	err := v.members(func(name string, m value) (err error) {
		if m.isNull() {
			return nil
		}
		have[name] = true
		switch name {
		case "id":
			t.ID, err = m.string(name)
		case "job_id":
			t.JobID, err = m.string(name)
		case "name":
			t.Operation, err = m.string(name)
		case "user_id":
			t.User.ID, err = m.string(name)
		case "user_name":
			t.User.Name, err = m.string(name)
		case "params":
			t.Params, err = readParams(m)
		case "details":
			t.Details, err = readDetails(m)
		case "status":
			t.Status, t.Origin, err = readStatus(m)
		case "error_code":
			t.ErrorCode, err = m.string(name)
		case "reason":
			t.Reason, err = m.string(name)
		case "progress":
			t.Progress, err = readProgress(m)
		case "enable_show":
			expandable, err = m.bool(name)
		case "created_at":
			t.CreatedAt, err = m.time(name)
		case "updated_at":
			t.UpdatedAt, err = m.time(name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if expandable && t.Progress == nil {
		t.Progress = &errand.Progress{} // so that it is served as true again
	}
	return t, complete(v, t, have)
}

// complete checks what v has become as a whole.
func complete(v value, t *errand.Task, have map[string]bool) error {
	for _, name := range required {
		if !have[name] {
			return faultf(v.at, name, "the record has no %s; it takes at least %v", name, required)
		}
	}
	if t.JobID == "" {
		t.JobID = t.ID
	}
	if err := t.Validate(); err != nil {
		e := errand.ErrorOf(err)
		return faultf(v.member(e.Subject).at, e.Subject, "%s", e.Msg)
	}
	return nil
}

func readStatus(v value) (errand.Status, *errand.Origin, error) {
	word, err := v.string("status")
	if err != nil {
		return "", nil, err
	}
	s, ok := statuses[word]
	if !ok {
		return "", nil, faultf(v.at, "status", "status %.64q is unknown; expected one of %v", word, oneOf(statuses))
	}
	return s, &errand.Origin{Status: word}, nil
}

func readParams(v value) (string, error) {
	if v.raw[0] == '{' || v.raw[0] == '[' {
		return "", faultf(v.at, "params", "params is %s; expected a string that holds the JSON", v.what())
	}
	return v.string("params")
}

// Scalars. Each names the member in its error.

func (v value) string(member string) (string, error) {
	if v.raw[0] != '"' {
		return "", v.wrongType(member, "a string")
	}
	return v.text(), nil
}

func (v value) bool(member string) (bool, error) {
	if v.raw[0] != 't' && v.raw[0] != 'f' {
		return false, v.wrongType(member, "true or false")
	}
	return v.raw[0] == 't', nil
}

// int reads an integer of 32 bits: the SDKs know no wider ones, and refuse a
// fraction or an exponent even where the number is whole.
func (v value) int(member string) (int, error) {
	n, err := strconv.ParseInt(string(v.raw), 10, 32)
	if err != nil {
		if v.what() == "a number" {
			return 0, faultf(v.at, member, "%s is %.64s; expected a whole number of 32 bits", member, v.raw)
		}
		return 0, v.wrongType(member, "a whole number")
	}
	return int(n), nil
}

func (v value) time(member string) (time.Time, error) {
	s, err := v.string(member)
	if err != nil {
		return time.Time{}, err
	}
	t, ok := parseTime(s)
	if !ok {
		return time.Time{}, faultf(v.at, member, "%s %.64q is not a time such as 2020-06-17T08:18:06.597Z (RFC 3339, at most 9 fraction digits)", member, s)
	}
	return t, nil
}

func (v value) wrongType(member, want string) error {
	return faultf(v.at, member, "%s is %s; expected %s", member, v.what(), want)
}

// parseTime reads an RFC 3339 time of at most nine fraction digits and cuts it to
// microseconds. The time package alone would also take hours of one digit, a
// comma before the fraction, and any number of digits.
func parseTime(s string) (time.Time, bool) {
	const seconds = len("2006-01-02T15:04:05")
	if len(s) <= seconds || s[len("2006-01-02T15")] != ':' || s[seconds] == ',' || s[seconds] == '.' && digits(s[seconds+1:]) > 9 {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC().Truncate(time.Microsecond), err == nil
}

// digits counts the digits that s begins with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

// compact returns v without insignificant white space: members, their order and
// the spelling of their values stay.
func (v value) compact() json.RawMessage {
	var b bytes.Buffer
	_ = json.Compact(&b, v.raw) // the syntax is right, so it cannot fail
	return b.Bytes()
}
