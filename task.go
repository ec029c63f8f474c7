package errand

import (
	"encoding/json"
	"time"
)

// Task is one durable run of an operation on one instance, or the record of
// one that ran elsewhere and was imported.
type Task struct {
	ID        string // 32 hex digits, unique in its project
	Project   string
	Instance  string
	Engine    Engine // of the instance; set by the store
	Operation string // machine name, such as "EXTEND"
	JobID     string // second identity that DCS clients poll at /jobs; equals ID unless imported otherwise

	User   User   // who asked for it
	Params string // the parameters, kept byte for byte; JSON as a rule, never with secrets

	// Details is a JSON object of before-and-after values (the DCS "details"
	// member), or nil.
	Details json.RawMessage

	Status    Status
	ErrorCode string // of the failure, in the operation's own words; "" if none
	Reason    string // why it failed or was cancelled; "" if it did not

	// Progress is nil where there is nothing to show.
	Progress *Progress

	// Run is set on tasks that run here, Origin on records of tasks that ran
	// elsewhere: exactly one of the two. Listings leave Run out.
	Run    *Run
	Origin *Origin

	CreatedAt time.Time // microseconds; listings are ordered by it
	UpdatedAt time.Time // last change, or the end once Status is final
}

// User is who asked for a task.
type User struct {
	ID   string
	Name string
}

// Origin marks a task as imported: Errand keeps its record and does not run it.
type Origin struct {
	// Status is the word that the provider used. It is kept because the
	// provider has words (DELETED) that our five statuses do not tell apart.
	Status string
}

// Progress is how far a task's current or last attempt has come.
type Progress struct {
	Percent   int           // 0 to 100
	Remaining time.Duration // whole seconds; 0 when done or unknown
	Steps     []Step
}

// Step is a named part of an attempt.
type Step struct {
	Name      string
	Status    StepStatus
	StartedAt time.Time // zero: not started, or unknown
	EndedAt   time.Time // zero: not ended, or unknown
	ErrorCode string
	Detail    string
	Steps     []Step // one level of sub-steps
}

// StepStatus says where a step is in its life.
type StepStatus string

// The statuses of a step. Only sub-steps are ever suspended or cancelled.
const (
	StepWaiting   StepStatus = "waiting"
	StepRunning   StepStatus = "running"
	StepSuspended StepStatus = "suspended"
	StepSucceeded StepStatus = "succeeded"
	StepFailed    StepStatus = "failed"
	StepCancelled StepStatus = "cancelled"
)

// StepStatuses lists every status of a step.
func StepStatuses() []StepStatus {
	return []StepStatus{StepWaiting, StepRunning, StepSuspended, StepSucceeded, StepFailed, StepCancelled}
}

// Validate reports the first thing that is wrong with t as a record to keep, as
// an Invalid Error whose Subject is the member.
func (t *Task) Validate() error {
	switch {
	case !ValidID(t.ID):
		return Errorf(Invalid, "id", "id %.64q is not 32 lower-case hex digits", t.ID)
	case !ValidID(t.JobID):
		return Errorf(Invalid, "job_id", "job id %.64q is not 32 lower-case hex digits", t.JobID)
	case t.Operation == "" || !ValidText(t.Operation, MaxNameLen):
		return Errorf(Invalid, "name", "the operation's name must be 1 to %d bytes of UTF-8", MaxNameLen)
	case !ValidText(t.User.ID, MaxNameLen):
		return Errorf(Invalid, "user_id", "user id must be at most %d bytes of UTF-8", MaxNameLen)
	case !ValidText(t.User.Name, MaxNameLen):
		return Errorf(Invalid, "user_name", "user name must be at most %d bytes of UTF-8", MaxNameLen)
	case !ValidText(t.Params, MaxParamsLen):
		return Errorf(Invalid, "params", "params must be at most %d bytes of UTF-8", MaxParamsLen)
	case !ValidText(string(t.Details), MaxDetailsLen):
		return Errorf(Invalid, "details", "details must be at most %d bytes of UTF-8", MaxDetailsLen)
	case !t.Status.Valid():
		return Errorf(Invalid, "status", "status %.64q is not one of %v", string(t.Status), Statuses())
	case !ValidText(t.ErrorCode, MaxNameLen):
		return Errorf(Invalid, "error_code", "error code must be at most %d bytes of UTF-8", MaxNameLen)
	case !ValidText(t.Reason, MaxAttributeLen):
		return Errorf(Invalid, "reason", "reason must be at most %d bytes of UTF-8", MaxAttributeLen)
	case !validTime(t.CreatedAt):
		return Errorf(Invalid, "created_at", "created_at must be between the years 1970 and 9999")
	case !validTime(t.UpdatedAt):
		return Errorf(Invalid, "updated_at", "updated_at must be between the years 1970 and 9999")
	}
	return t.Progress.validate()
}

func (p *Progress) validate() error {
	if p == nil {
		return nil
	}
	if p.Percent < 0 || p.Percent > 100 {
		return Errorf(Invalid, "progress", "progress must be 0 to 100, not %d", p.Percent)
	}
	if p.Remaining < 0 {
		return Errorf(Invalid, "remain_time", "the remaining time must not be negative")
	}
	n := 0
	for _, s := range p.Steps {
		n += 1 + len(s.Steps)
	}
	if n > MaxProgressSteps {
		return Errorf(Invalid, "steps", "a task has at most %d steps, not %d", MaxProgressSteps, n)
	}
	return checkSteps(p.Steps)
}

// checkSteps refuses what no store can keep. How long texts may be is up to who
// takes them in.
func checkSteps(steps []Step) error {
	for _, s := range steps {
		for _, text := range []string{s.Name, s.ErrorCode, s.Detail} {
			if !ValidText(text, len(text)) {
				return Errorf(Invalid, "steps", "the texts of steps must be UTF-8 without NUL, unlike %.64q", text)
			}
		}
		if err := checkSteps(s.Steps); err != nil {
			return err
		}
	}
	return nil
}

// validTime bounds times to what the wire formats can write.
func validTime(t time.Time) bool {
	return !t.Before(time.Unix(0, 0)) && t.UTC().Year() <= 9999
}
