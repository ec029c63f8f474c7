package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/worker"
)

// MaxClaimWait is how long a claim may wait for work.
const MaxClaimWait = time.Minute

// Source returns where the pool of a worker gets the tasks of a project.
func (c *Client) Source(project string) worker.Source { return source{c, project} }

type source struct {
	client  *Client
	project string
}

func (s source) Claim(ctx context.Context, q worker.ClaimRequest) ([]worker.Grant, error) {
	return s.client.Claim(ctx, s.project, q)
}

func (s source) Extend(ctx context.Context, token string, b worker.Beat) (worker.Extended, error) {
	return s.client.Extend(ctx, s.project, token, b)
}

func (s source) Finish(ctx context.Context, token string, o errand.Outcome, log []byte) error {
	_, err := s.client.Finish(ctx, s.project, token, o, log)
	return err
}

// Claim takes tasks to run, one where q.Limit is 0. It waits for the first one for
// q.Wait, at most MaxClaimWait, and returns none if none came. It is not repeated by itself: tasks that were granted
// in an answer that was lost are lost with their leases. It takes role worker.
func (c *Client) Claim(ctx context.Context, project string, q worker.ClaimRequest) ([]worker.Grant, error) {
	in := struct {
		Worker      string          `json:"worker"`
		Operations  []string        `json:"operations"`
		Engines     []errand.Engine `json:"engines,omitempty"`
		Limit       int             `json:"limit,omitempty"`
		WaitSeconds float64         `json:"wait_seconds,omitempty"`
	}{q.Worker, q.Operations, q.Engines, q.Limit, q.Wait.Seconds()}
	var body struct {
		Grants []nativejson.Grant `json:"grants"`
	}
	if err := c.post(ctx, in, &body, "projects", project, "claims"); err != nil {
		return nil, err
	}
	var grants []worker.Grant
	for _, g := range body.Grants {
		grants = append(grants, worker.Grant{Task: g.Task.Task(), Token: g.Token, Secrets: g.Secrets, TTL: time.Duration(g.TTL)})
	}
	return grants, nil
}

// Extend keeps a lease, and reports progress and more output.
// Errors: LeaseLost about "lease" if it is no longer held: the worker must stop,
// and nothing that it says counts.
func (c *Client) Extend(ctx context.Context, project, token string, b worker.Beat) (worker.Extended, error) {
	in := struct {
		Progress *nativejson.Progress `json:"progress,omitempty"`
		Log      string               `json:"log,omitempty"`
	}{nativejson.ProgressOf(b.Progress), text(b.Log)}
	var body struct {
		TTL          nativejson.Span `json:"ttl_seconds"`
		Stop         bool            `json:"stop"`
		Reason       string          `json:"reason"`
		LogTruncated bool            `json:"log_truncated"`
	}
	err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"projects", project, "leases", token, "extend"}, in: in, repeat: len(b.Log) == 0,
	}, &body)
	return worker.Extended{TTL: time.Duration(body.TTL), Stop: body.Stop, Reason: body.Reason, LogTruncated: body.LogTruncated}, err
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
