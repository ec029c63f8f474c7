// Package stored is what the stores have in common of how they keep things, so
// that rows can be copied from one to another as they are.
package stored

import (
	"encoding/json"
	"time"

	"github.com/errandhq/errand"
)

// run is how an errand.Run is kept, in JSON and without its secrets; times are microseconds, 0 is none.
type run struct {
	Lane        string        `json:"lane,omitempty"`
	RunAt       int64         `json:"run_at"`
	Deadline    int64         `json:"deadline,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"` // nanoseconds, like the two of the backoff
	MaxAttempts int           `json:"max_attempts"`
	OnLost      string        `json:"on_lost,omitempty"`
	BackoffBase time.Duration `json:"backoff_base,omitempty"`
	BackoffMax  time.Duration `json:"backoff_max,omitempty"`
	RetryOf     string        `json:"retry_of,omitempty"`
	Scheduled   bool          `json:"scheduled,omitempty"`
	Due         int64         `json:"due,omitempty"`
	Token       string        `json:"token,omitempty"`
	Worker      string        `json:"worker,omitempty"`
	Beat        int64         `json:"beat,omitempty"`
	Expires     int64         `json:"expires,omitempty"`
	Cancel      *cancel       `json:"cancel,omitempty"`
	Attempts    []attempt     `json:"attempts,omitempty"`
	Stalled     bool          `json:"stalled,omitempty"`
	Result      []byte        `json:"result,omitempty"` // kept byte for byte, so not as JSON
}

type cancel struct {
	ByID   string `json:"by_id"`
	ByName string `json:"by_name"`
	At     int64  `json:"at"`
	Force  int64  `json:"force"`
	Reason string `json:"reason,omitempty"`
}

type attempt struct {
	Worker    string `json:"worker"`
	StartedAt int64  `json:"started_at"`
	EndedAt   int64  `json:"ended_at,omitempty"`
	Error     string `json:"error,omitempty"`
}

// EncodeRun returns the text that a run is kept as, without its secrets.
func EncodeRun(r *errand.Run) (string, error) {
	k := run{
		Lane: r.Lane, RunAt: zeroOrMicro(r.RunAt), Deadline: zeroOrMicro(r.Deadline), Timeout: r.Timeout, MaxAttempts: r.MaxAttempts,
		OnLost: string(r.OnLost), BackoffBase: r.Backoff.Base, BackoffMax: r.Backoff.Max, RetryOf: r.RetryOf, Scheduled: r.Scheduled,
		Due: zeroOrMicro(r.Due), Token: r.Lease.Token, Worker: r.Lease.Worker, Beat: zeroOrMicro(r.Lease.Beat), Expires: zeroOrMicro(r.Lease.Expires),
		Stalled: r.Stalled, Result: r.Result,
	}
	if c := r.Cancel; c != nil {
		k.Cancel = &cancel{c.By.ID, c.By.Name, zeroOrMicro(c.At), zeroOrMicro(c.Force), c.Reason}
	}
	for _, a := range r.Attempts {
		k.Attempts = append(k.Attempts, attempt{a.Worker, zeroOrMicro(a.StartedAt), zeroOrMicro(a.EndedAt), a.Error})
	}
	b, err := json.Marshal(k)
	return string(b), err
}

// DecodeRun reads what EncodeRun wrote.
func DecodeRun(b []byte) (*errand.Run, error) {
	var k run
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, err
	}
	r := &errand.Run{
		Lane: k.Lane, RunAt: zeroOrAt(k.RunAt), Deadline: zeroOrAt(k.Deadline), Timeout: k.Timeout, MaxAttempts: k.MaxAttempts,
		OnLost: errand.LostPolicy(k.OnLost), Backoff: errand.Backoff{Base: k.BackoffBase, Max: k.BackoffMax}, RetryOf: k.RetryOf, Scheduled: k.Scheduled,
		Due:     zeroOrAt(k.Due),
		Lease:   errand.Lease{Token: k.Token, Worker: k.Worker, Beat: zeroOrAt(k.Beat), Expires: zeroOrAt(k.Expires)},
		Stalled: k.Stalled, Result: k.Result,
	}
	if c := k.Cancel; c != nil {
		r.Cancel = &errand.Cancel{By: errand.User{ID: c.ByID, Name: c.ByName}, At: zeroOrAt(c.At), Force: zeroOrAt(c.Force), Reason: c.Reason}
	}
	for _, a := range k.Attempts {
		r.Attempts = append(r.Attempts, errand.Attempt{Worker: a.Worker, StartedAt: zeroOrAt(a.StartedAt), EndedAt: zeroOrAt(a.EndedAt), Error: a.Error})
	}
	return r, nil
}

func zeroOrMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func zeroOrAt(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
