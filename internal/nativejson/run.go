package nativejson

import (
	"encoding/json"
	"time"

	"github.com/errandhq/errand"
)

// Run is what anybody who may see a task may know of its errand.Run.
type Run struct {
	Lane        string            `json:"lane"`
	RunAt       Moment            `json:"run_at"`
	Deadline    Moment            `json:"deadline,omitzero"`
	Timeout     Span              `json:"timeout_seconds,omitzero"`
	MaxAttempts int               `json:"max_attempts"`
	OnLost      errand.LostPolicy `json:"on_lost,omitempty"`
	Due         Moment            `json:"due,omitzero"`
	Attempts    []Attempt         `json:"attempts"`
	Lease       *Lease            `json:"lease,omitempty"`
	Cancel      *Cancel           `json:"cancel,omitempty"`
	RetryOf     string            `json:"retry_of,omitempty"`
	Scheduled   bool              `json:"scheduled"`
	Stalled     bool              `json:"stalled"`
	Result      json.RawMessage   `json:"result,omitempty"`
}

// Attempt is an errand.Attempt with its number, counted from 1.
type Attempt struct {
	Number    int    `json:"number"`
	Worker    string `json:"worker"`
	StartedAt Moment `json:"started_at"`
	EndedAt   Moment `json:"ended_at,omitzero"`
	Error     string `json:"error,omitempty"`
}

// Lease is an errand.Lease without its token.
type Lease struct {
	Worker  string `json:"worker"`
	Beat    Moment `json:"beat"`
	Expires Moment `json:"expires"`
}

// Cancel is an errand.Cancel.
type Cancel struct {
	By     User   `json:"by"`
	At     Moment `json:"at"`
	Force  Moment `json:"force"`
	Reason string `json:"reason,omitempty"`
}

func runOf(r *errand.Run) *Run {
	b := &Run{
		Lane: r.Lane, RunAt: Moment{r.RunAt}, Deadline: Moment{r.Deadline}, Timeout: Span(r.Timeout), MaxAttempts: r.MaxAttempts,
		OnLost: r.OnLost, Due: Moment{r.Due}, Attempts: make([]Attempt, 0, len(r.Attempts)), RetryOf: r.RetryOf,
		Scheduled: r.Scheduled, Stalled: r.Stalled, Result: r.Result,
	}
	for i, a := range r.Attempts {
		b.Attempts = append(b.Attempts, Attempt{i + 1, a.Worker, Moment{a.StartedAt}, Moment{a.EndedAt}, a.Error})
	}
	if l := r.Lease; l.Worker != "" {
		b.Lease = &Lease{l.Worker, Moment{l.Beat}, Moment{l.Expires}}
	}
	if c := r.Cancel; c != nil {
		b.Cancel = &Cancel{User(c.By), Moment{c.At}, Moment{c.Force}, c.Reason}
	}
	return b
}

func (b *Run) run() *errand.Run {
	r := &errand.Run{
		Lane: b.Lane, RunAt: b.RunAt.Time, Deadline: b.Deadline.Time, Timeout: time.Duration(b.Timeout), MaxAttempts: b.MaxAttempts,
		OnLost: b.OnLost, Due: b.Due.Time, RetryOf: b.RetryOf, Scheduled: b.Scheduled, Stalled: b.Stalled, Result: b.Result,
	}
	for _, a := range b.Attempts {
		r.Attempts = append(r.Attempts, errand.Attempt{Worker: a.Worker, StartedAt: a.StartedAt.Time, EndedAt: a.EndedAt.Time, Error: a.Error})
	}
	if l := b.Lease; l != nil {
		r.Lease = errand.Lease{Worker: l.Worker, Beat: l.Beat.Time, Expires: l.Expires.Time}
	}
	if c := b.Cancel; c != nil {
		r.Cancel = &errand.Cancel{By: errand.User(c.By), At: c.At.Time, Force: c.Force.Time, Reason: c.Reason}
	}
	return r
}

// Operation is an errand.Operation.
type Operation struct {
	Engine      errand.Engine     `json:"engine"`
	Name        string            `json:"name"`
	Title       string            `json:"title"`
	TitleZH     string            `json:"title_zh,omitempty"`
	Schema      json.RawMessage   `json:"schema,omitempty"`
	Secrets     []string          `json:"secrets"`
	Lane        string            `json:"lane"`
	RejectBusy  bool              `json:"reject_busy"`
	Timeout     Span              `json:"timeout_seconds,omitzero"`
	MaxAttempts int               `json:"max_attempts"`
	Backoff     Backoff           `json:"backoff"`
	OnLost      errand.LostPolicy `json:"on_lost,omitempty"`
	Runner      errand.RunnerKind `json:"runner"`
	HideRunning bool              `json:"hide_running"`
}

// Backoff is an errand.Backoff.
type Backoff struct {
	Base Span `json:"base_seconds"`
	Max  Span `json:"max_seconds"`
}

// OperationOf returns the body of o.
func OperationOf(o errand.Operation) Operation {
	return Operation{
		Engine: o.Engine, Name: o.Name, Title: o.Title, TitleZH: o.TitleZH, Schema: o.Schema,
		Secrets: append([]string{}, o.Secrets...), Lane: o.Lane, RejectBusy: o.RejectBusy, Timeout: Span(o.Timeout),
		MaxAttempts: max(1, o.MaxAttempts), Backoff: Backoff{Span(o.Backoff.Base), Span(o.Backoff.Max)},
		OnLost: o.OnLost, Runner: o.Runner, HideRunning: o.HideRunning,
	}
}

// Operation returns what b is the body of.
func (b Operation) Operation() errand.Operation {
	return errand.Operation{
		Engine: b.Engine, Name: b.Name, Title: b.Title, TitleZH: b.TitleZH, Schema: b.Schema, Secrets: b.Secrets,
		Lane: b.Lane, RejectBusy: b.RejectBusy, Timeout: time.Duration(b.Timeout), MaxAttempts: b.MaxAttempts,
		Backoff: errand.Backoff{Base: time.Duration(b.Backoff.Base), Max: time.Duration(b.Backoff.Max)},
		OnLost:  b.OnLost, Runner: b.Runner, HideRunning: b.HideRunning,
	}
}

// Why says what a task waits for.
type Why struct {
	Code      string `json:"code"`
	Text      string `json:"text"`
	Until     Moment `json:"until,omitzero"`
	Behind    *Task  `json:"behind,omitempty"`
	Ahead     int    `json:"ahead,omitempty"`
	Remaining Span   `json:"remaining_seconds,omitzero"`
	Worker    string `json:"worker,omitempty"`
	LastSeen  Moment `json:"last_seen,omitzero"`
	Step      string `json:"step,omitempty"`
	StepIndex int    `json:"step_index,omitempty"`
	Steps     int    `json:"steps,omitempty"`
}

// Grant is a task with what only its worker is told.
type Grant struct {
	Token   string            `json:"token"`
	TTL     Span              `json:"ttl_seconds"`
	Secrets map[string]string `json:"secrets,omitempty"`
	Task    Task              `json:"task"`
}
