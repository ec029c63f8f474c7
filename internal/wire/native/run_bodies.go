package native

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// span is a duration on the wire: seconds, with decimals where there are some.
type span time.Duration

func (s span) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// runBody is what anybody who may see a task may know of its run: neither its
// secrets nor the token of its lease.
type runBody struct {
	Lane           string            `json:"lane"`
	RunAt          moment            `json:"run_at"`
	Deadline       moment            `json:"deadline,omitzero"`
	TimeoutSeconds span              `json:"timeout_seconds,omitzero"`
	MaxAttempts    int               `json:"max_attempts"`
	OnLost         errand.LostPolicy `json:"on_lost,omitempty"`
	Due            moment            `json:"due,omitzero"`
	Attempts       []attemptBody     `json:"attempts"`
	Lease          *leaseBody        `json:"lease,omitempty"`
	Cancel         *cancelBody       `json:"cancel,omitempty"`
	RetryOf        string            `json:"retry_of,omitempty"`
	Scheduled      bool              `json:"scheduled"`
	Stalled        bool              `json:"stalled"`
	Result         json.RawMessage   `json:"result,omitempty"`
}

type attemptBody struct {
	Number    int    `json:"number"`
	Worker    string `json:"worker"`
	StartedAt moment `json:"started_at"`
	EndedAt   moment `json:"ended_at,omitzero"`
	Error     string `json:"error,omitempty"`
}

type leaseBody struct {
	Worker  string `json:"worker"`
	Beat    moment `json:"beat"`
	Expires moment `json:"expires"`
}

type cancelBody struct {
	By     userBody `json:"by"`
	At     moment   `json:"at"`
	Force  moment   `json:"force"`
	Reason string   `json:"reason,omitempty"`
}

func runOf(r *errand.Run) *runBody {
	b := &runBody{
		Lane: r.Lane, RunAt: moment{r.RunAt}, Deadline: moment{r.Deadline}, TimeoutSeconds: span(r.Timeout),
		MaxAttempts: r.MaxAttempts, OnLost: r.OnLost, Due: moment{r.Due}, Attempts: make([]attemptBody, 0, len(r.Attempts)),
		RetryOf: r.RetryOf, Scheduled: r.Scheduled, Stalled: r.Stalled, Result: r.Result,
	}
	for i, a := range r.Attempts {
		b.Attempts = append(b.Attempts, attemptBody{i + 1, a.Worker, moment{a.StartedAt}, moment{a.EndedAt}, a.Error})
	}
	if l := r.Lease; l.Worker != "" {
		b.Lease = &leaseBody{l.Worker, moment{l.Beat}, moment{l.Expires}}
	}
	if c := r.Cancel; c != nil {
		b.Cancel = &cancelBody{userBody(c.By), moment{c.At}, moment{c.Force}, c.Reason}
	}
	return b
}

type whyBody struct {
	Code             tasks.WhyCode `json:"code"`
	Text             string        `json:"text"`
	Until            moment        `json:"until,omitzero"`
	Behind           *taskBody     `json:"behind,omitempty"`
	Ahead            int           `json:"ahead,omitempty"`
	RemainingSeconds span          `json:"remaining_seconds,omitzero"`
	Worker           string        `json:"worker,omitempty"`
	LastSeen         moment        `json:"last_seen,omitzero"`
	Step             string        `json:"step,omitempty"`
	StepIndex        int           `json:"step_index,omitempty"`
	Steps            int           `json:"steps,omitempty"`
}

func whyOf(w tasks.Why) whyBody {
	b := whyBody{
		Code: w.Code, Text: w.Text, Until: moment{w.Until}, Ahead: w.Ahead, RemainingSeconds: span(w.Remaining),
		Worker: w.Worker, LastSeen: moment{w.LastSeen}, Step: w.Step, StepIndex: w.StepIndex, Steps: w.Steps,
	}
	if w.Behind != nil {
		t := taskOf(w.Behind)
		b.Behind = &t
	}
	return b
}

type operationBody struct {
	Engine         errand.Engine     `json:"engine"`
	Name           string            `json:"name"`
	Title          string            `json:"title"`
	TitleZH        string            `json:"title_zh,omitempty"`
	Schema         json.RawMessage   `json:"schema,omitempty"`
	Secrets        []string          `json:"secrets"`
	Lane           string            `json:"lane"`
	RejectBusy     bool              `json:"reject_busy"`
	TimeoutSeconds span              `json:"timeout_seconds,omitzero"`
	MaxAttempts    int               `json:"max_attempts"`
	Backoff        backoffBody       `json:"backoff"`
	OnLost         errand.LostPolicy `json:"on_lost,omitempty"`
	Runner         errand.RunnerKind `json:"runner"`
	HideRunning    bool              `json:"hide_running"`
}

type backoffBody struct {
	BaseSeconds span `json:"base_seconds"`
	MaxSeconds  span `json:"max_seconds"`
}

func operationOf(o errand.Operation) operationBody {
	return operationBody{
		Engine: o.Engine, Name: o.Name, Title: o.Title, TitleZH: o.TitleZH, Schema: o.Schema,
		Secrets: append([]string{}, o.Secrets...), Lane: o.Lane, RejectBusy: o.RejectBusy, TimeoutSeconds: span(o.Timeout),
		MaxAttempts: max(1, o.MaxAttempts), Backoff: backoffBody{span(o.Backoff.Base), span(o.Backoff.Max)},
		OnLost: o.OnLost, Runner: o.Runner, HideRunning: o.HideRunning,
	}
}

type workerBody struct {
	Name       string          `json:"name"`
	Operations []string        `json:"operations"`
	Engines    []errand.Engine `json:"engines,omitempty"`
	Since      moment          `json:"since"`
	Seen       moment          `json:"seen"`
}

func workerOf(w tasks.Worker) workerBody {
	return workerBody{w.Name, w.Operations, w.Engines, moment{w.Since}, moment{w.Seen}}
}

type grantBody struct {
	Token      string            `json:"token"`
	TTLSeconds span              `json:"ttl_seconds"`
	Secrets    map[string]string `json:"secrets,omitempty"`
	Task       taskBody          `json:"task"`
}

func grantOf(g tasks.Grant) grantBody {
	return grantBody{Token: g.Token, TTLSeconds: span(g.TTL), Secrets: g.Secrets, Task: taskOf(g.Task)}
}
