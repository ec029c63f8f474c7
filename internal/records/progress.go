package records

import (
	"fmt"
	"strconv"
	"time"

	"github.com/errandhq/errand"
)

// maxStepName is the longest name that the provider documents for a step.
const maxStepName = 1024

// stepStatuses are the words of DCS and, where DMS has its own, of DMS.
var stepStatuses = map[string]errand.StepStatus{
	"WAITING":     errand.StepWaiting,
	"EXECUTING":   errand.StepRunning,
	"IN_PROGRESS": errand.StepRunning,
	"SUSPEND":     errand.StepSuspended,
	"FINISH":      errand.StepSucceeded,
	"COMPLETED":   errand.StepSucceeded,
	"FAILED":      errand.StepFailed,
	"CANCELED":    errand.StepCancelled,
}

// readProgress reads the provider's answer to a progress call: ShowBackgroundTaskProgress
// of DMS (progress_percentage, step_list) or of DCS (progress, step_details).
// The ids of DCS steps are their places and are not kept.
func readProgress(v value) (*errand.Progress, error) {
	if v.raw[0] != '{' {
		return nil, v.wrongType("progress", "an object")
	}
	p := &errand.Progress{}
	percents := 0
	err := v.members(func(name string, m value) (err error) {
		if m.isNull() {
			return nil
		}
		member := "progress." + name
		switch name {
		case "progress", "progress_percentage":
			percents++
			p.Percent, err = m.int(member)
		case "remain_time":
			var seconds int
			seconds, err = m.int(member)
			p.Remaining = time.Duration(seconds) * time.Second
		case "step_list", "step_details":
			var steps []errand.Step
			steps, err = readSteps(m, member, true)
			p.Steps = append(p.Steps, steps...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if percents != 1 {
		return nil, faultf(v.at, "progress", "progress has %d of the members progress (DCS) and progress_percentage (DMS); expected one", percents)
	}
	return p, nil
}

// readSteps reads an array of steps; outer ones may hold sub-steps.
func readSteps(v value, member string, outer bool) ([]errand.Step, error) {
	if v.raw[0] != '[' {
		return nil, v.wrongType(member, "an array of steps")
	}
	var steps []errand.Step
	err := v.elements(func(n int, e value) error {
		s, err := readStep(e, fmt.Sprintf("%s[%d]", member, n), outer)
		if err == nil {
			steps = append(steps, s)
		}
		return err
	})
	return steps, err
}

func readStep(v value, path string, outer bool) (errand.Step, error) {
	var s errand.Step
	if v.raw[0] != '{' {
		return s, v.wrongType(path, "an object")
	}
	err := v.members(func(name string, m value) (err error) {
		if m.isNull() {
			return nil
		}
		member := path + "." + name
		switch name {
		case "name", "step_name", "sub_step_name":
			s.Name, err = m.textUpTo(member, maxStepName)
		case "statue", "status", "step_status", "sub_step_status":
			s.Status, err = readStepStatus(m, member, s.Status)
		case "start_time", "begin_time":
			s.StartedAt, err = readStepTime(m, member)
		case "end_time":
			s.EndedAt, err = readStepTime(m, member)
		case "error_code":
			s.ErrorCode, err = m.textUpTo(member, errand.MaxNameLen)
		case "detail":
			s.Detail, err = m.textUpTo(member, errand.MaxAttributeLen)
		case "sub_step_details":
			if !outer {
				return faultf(m.at, member, "%s: a sub-step has no steps of its own", member)
			}
			s.Steps, err = readSteps(m, member, false)
		}
		return err
	})
	if err == nil && s.Status == "" {
		err = faultf(v.at, path, "%s has no status; expected one of %v", path, oneOf(stepStatuses))
	}
	return s, err
}

// readStepStatus reads one spelling of a step's status. DMS sends it twice, as
// "statue" and as "status"; the two must agree.
func readStepStatus(v value, member string, before errand.StepStatus) (errand.StepStatus, error) {
	word, err := v.string(member)
	if err != nil {
		return "", err
	}
	s, ok := stepStatuses[word]
	switch {
	case !ok:
		return "", faultf(v.at, member, "%s %.64q is unknown; expected one of %v", member, word, oneOf(stepStatuses))
	case before != "" && s != before:
		return "", faultf(v.at, member, "%s %.64q contradicts the step's other status", member, word)
	}
	return s, nil
}

// readStepTime reads milliseconds since 1970, as a number or in a string (DMS),
// or an RFC 3339 time (DCS). "" is a time that is not known.
func readStepTime(v value, member string) (time.Time, error) {
	s := string(v.raw)
	if v.raw[0] == '"' {
		if s = v.text(); s == "" {
			return time.Time{}, nil
		}
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 && ms <= maxMillis {
		return time.UnixMilli(ms).UTC(), nil
	}
	if t, ok := parseTime(s); ok && v.raw[0] == '"' && t.Unix() >= 0 && t.UnixMilli() <= maxMillis {
		return t, nil
	}
	return time.Time{}, faultf(v.at, member, "%s %.64s is not a time such as \"1763350067752\" (milliseconds since 1970) or \"2020-06-17T08:18:06.597Z\"", member, v.raw)
}

// maxMillis is the last millisecond of the year 9999.
const maxMillis = 253402300799999

func (v value) textUpTo(member string, limit int) (string, error) {
	s, err := v.string(member)
	if err == nil && len(s) > limit {
		return "", faultf(v.at, member, "%s is longer than %d bytes", member, limit)
	}
	return s, err
}
