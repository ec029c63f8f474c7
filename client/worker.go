package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// MaxClaimWait is how long a claim may wait for work.
const MaxClaimWait = time.Minute

// ClaimRequest says what a worker can run.
type ClaimRequest struct {
	Worker     string          // its name, for people
	Operations []string        // machine names
	Engines    []errand.Engine // none: every engine
	Limit      int             // how many tasks at the most; 0: one
	Wait       time.Duration   // how long to wait for the first one, at most MaxClaimWait
}

// Grant is a task to run, together with what only its worker may know.
type Grant struct {
	Task    *errand.Task
	Token   string // names the lease in Extend and Finish
	Secrets map[string]string
	TTL     time.Duration // the lease is lost after so long a silence
}

// Claim takes tasks to run, and waits until there is one; it returns none if
// there was none in time. It is not repeated by itself: tasks that were granted
// in an answer that was lost are lost with their leases. It takes role worker.
func (c *Client) Claim(ctx context.Context, project string, q ClaimRequest) ([]Grant, error) {
	in := struct {
		Worker      string          `json:"worker"`
		Operations  []string        `json:"operations"`
		Engines     []errand.Engine `json:"engines,omitempty"`
		Limit       int             `json:"limit,omitempty"`
		WaitSeconds float64         `json:"wait_seconds,omitempty"`
	}{q.Worker, q.Operations, q.Engines, q.Limit, q.Wait.Seconds()}
	var body struct {
		Grants []struct {
			Token      string            `json:"token"`
			TTLSeconds float64           `json:"ttl_seconds"`
			Secrets    map[string]string `json:"secrets"`
			Task       taskBody          `json:"task"`
		} `json:"grants"`
	}
	if err := c.post(ctx, in, &body, "projects", project, "claims"); err != nil {
		return nil, err
	}
	var grants []Grant
	for _, g := range body.Grants {
		t := g.Task.task()
		grants = append(grants, Grant{Task: &t, Token: g.Token, Secrets: g.Secrets, TTL: duration(g.TTLSeconds)})
	}
	return grants, nil
}

// Extended answers Extend.
type Extended struct {
	TTL          time.Duration // from now
	Stop         bool          // somebody asked the task to stop: end it as cancelled
	Reason       string        // why
	LogTruncated bool          // the log is full; more of it is thrown away
}

// Extend keeps a lease, and reports progress (nil: as before) and more output.
// Errors: LeaseLost about "lease" if it is no longer held: the worker must stop,
// and nothing that it says counts.
func (c *Client) Extend(ctx context.Context, project, token string, p *errand.Progress, log []byte) (Extended, error) {
	in := struct {
		Progress *progressOut `json:"progress,omitempty"`
		Log      string       `json:"log,omitempty"`
	}{progressOf(p), text(log)}
	var body struct {
		TTLSeconds   float64 `json:"ttl_seconds"`
		Stop         bool    `json:"stop"`
		Reason       string  `json:"reason"`
		LogTruncated bool    `json:"log_truncated"`
	}
	err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"projects", project, "leases", token, "extend"}, in: in, repeat: len(log) == 0,
	}, &body)
	return Extended{duration(body.TTLSeconds), body.Stop, body.Reason, body.LogTruncated}, err
}

// Finish ends an attempt. Where its answer is lost it is repeated, and may then
// be told LeaseLost about "lease" although the first try was heard.
func (c *Client) Finish(ctx context.Context, project, token string, o errand.Outcome, log []byte) (*errand.Task, error) {
	in := struct {
		Status    errand.Status   `json:"status"`
		ErrorCode string          `json:"error_code,omitempty"`
		Reason    string          `json:"reason,omitempty"`
		Permanent bool            `json:"permanent,omitempty"`
		Result    json.RawMessage `json:"result,omitempty"`
		Log       string          `json:"log,omitempty"`
	}{o.Status, o.ErrorCode, o.Reason, o.Permanent, o.Result, text(log)}
	return c.oneTask(ctx, call{
		method: http.MethodPost, path: []string{"projects", project, "leases", token, "finish"}, in: in, repeat: true,
	})
}

// Worker is who asked for work lately.
type Worker struct {
	Name       string          `json:"name"`
	Operations []string        `json:"operations"`
	Engines    []errand.Engine `json:"engines"`
	Since      time.Time       `json:"since"` // when it was first seen
	Seen       time.Time       `json:"seen"`  // when it last asked for work, or now while it waits
}

// Workers returns the workers that the server has seen since its start, by name.
func (c *Client) Workers(ctx context.Context, project string) ([]Worker, error) {
	var body struct {
		Workers []Worker `json:"workers"`
	}
	err := c.get(ctx, &body, nil, "projects", project, "workers")
	return body.Workers, err
}

// text is output as JSON can carry it: bytes that are not UTF-8 become U+FFFD.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\ufffd") }

type progressOut struct {
	Percent          int       `json:"percent"`
	RemainingSeconds float64   `json:"remaining_seconds,omitempty"`
	Steps            []stepOut `json:"steps,omitempty"`
}

type stepOut struct {
	Name      string            `json:"name"`
	Status    errand.StepStatus `json:"status"`
	StartedAt time.Time         `json:"started_at,omitzero"`
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	ErrorCode string            `json:"error_code,omitempty"`
	Detail    string            `json:"detail,omitempty"`
	Steps     []stepOut         `json:"steps,omitempty"`
}

func progressOf(p *errand.Progress) *progressOut {
	if p == nil {
		return nil
	}
	return &progressOut{Percent: p.Percent, RemainingSeconds: p.Remaining.Seconds(), Steps: stepsOut(p.Steps)}
}

func stepsOut(steps []errand.Step) []stepOut {
	var list []stepOut
	for _, s := range steps {
		list = append(list, stepOut{s.Name, s.Status, s.StartedAt, s.EndedAt, s.ErrorCode, s.Detail, stepsOut(s.Steps)})
	}
	return list
}
