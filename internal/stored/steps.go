package stored

import (
	"encoding/json"
	"time"

	"github.com/errandhq/errand"
)

// EncodeSteps returns the text that the steps of a progress are kept as.
func EncodeSteps(in []errand.Step) (string, error) {
	b, err := json.Marshal(encodeSteps(in))
	return string(b), err
}

// DecodeSteps reads what EncodeSteps wrote.
func DecodeSteps(b []byte) ([]errand.Step, error) {
	var kept []step
	err := json.Unmarshal(b, &kept)
	return decodeSteps(kept), err
}

// step is how a step is kept, in JSON.
type step struct {
	Name      string `json:"name,omitempty"`
	Status    string `json:"status,omitempty"`
	StartedAt *int64 `json:"started_at,omitempty"` // microseconds
	EndedAt   *int64 `json:"ended_at,omitempty"`
	ErrorCode string `json:"error_code,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Steps     []step `json:"steps,omitempty"`
}

func encodeSteps(in []errand.Step) []step {
	var out []step
	for _, s := range in {
		out = append(out, step{s.Name, string(s.Status), stepTime(s.StartedAt), stepTime(s.EndedAt), s.ErrorCode, s.Detail, encodeSteps(s.Steps)})
	}
	return out
}

func decodeSteps(in []step) []errand.Step {
	var out []errand.Step
	for _, s := range in {
		out = append(out, errand.Step{
			Name:      s.Name,
			Status:    errand.StepStatus(s.Status),
			StartedAt: fromStepTime(s.StartedAt),
			EndedAt:   fromStepTime(s.EndedAt),
			ErrorCode: s.ErrorCode,
			Detail:    s.Detail,
			Steps:     decodeSteps(s.Steps),
		})
	}
	return out
}

func stepTime(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func fromStepTime(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return time.UnixMicro(*us).UTC()
}
