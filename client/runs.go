package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// Submission asks for an operation on an instance.
type Submission struct {
	Operation string            // machine name, as in Operations
	Params    json.RawMessage   // a JSON object that meets the operation's schema; nil: {}
	Secrets   map[string]string // by the names that the operation declares
	Details   json.RawMessage   // before-and-after values to show, a JSON object, or nil
	RunAt     time.Time         // not before; zero: now
	Deadline  time.Time         // to be started by, or it fails; zero: whenever
	Timeout   time.Duration     // of one attempt; 0: as the operation says
	Reject    bool              // refuse it if the instance is busy, instead of waiting in line

	// Key makes it safe to submit again after an answer that was lost: within a
	// day the same key with the same submission is the same task. It is 1 to
	// 255 printable ASCII characters, or "" for none.
	Key string
}

// keyHeader carries an idempotency key.
const keyHeader = "Idempotency-Key"

// Submit asks for a task and returns it, pending. It is repeated by itself only
// if it has a Key. Errors: NotFound about "instance" or "operation"; Invalid
// about the member that is wrong; Conflict about "idempotency_key" (it was used
// for something else) or "instance" (it is busy, and Reject was asked for).
func (c *Client) Submit(ctx context.Context, project, instance string, s Submission) (*errand.Task, error) {
	in := struct {
		Operation string            `json:"operation"`
		Params    json.RawMessage   `json:"params,omitempty"`
		Secrets   map[string]string `json:"secrets,omitempty"`
		Details   json.RawMessage   `json:"details,omitempty"`
		RunAt     time.Time         `json:"run_at,omitzero"`
		Deadline  time.Time         `json:"deadline,omitzero"`
		Timeout   float64           `json:"timeout_seconds,omitempty"`
		Reject    bool              `json:"reject,omitempty"`
	}{s.Operation, s.Params, s.Secrets, s.Details, s.RunAt, s.Deadline, s.Timeout.Seconds(), s.Reject}
	return c.keyed(ctx, s.Key, in, "projects", project, "instances", instance, "tasks")
}

// Retry asks for what a task that has ended did once more, as a new task that
// names it. Secrets are not kept beyond a task's end and must be given anew. key
// is as in a Submission. Errors: NotFound about "task", Conflict about "task"
// while it has not ended, and those of Submit.
func (c *Client) Retry(ctx context.Context, project, task string, secrets map[string]string, key string) (*errand.Task, error) {
	in := struct {
		Secrets map[string]string `json:"secrets,omitempty"`
	}{secrets}
	return c.keyed(ctx, key, in, "projects", project, "tasks", task, "retry")
}

// keyed makes a call that creates a task.
func (c *Client) keyed(ctx context.Context, key string, in any, path ...string) (*errand.Task, error) {
	k := call{method: http.MethodPost, path: path, in: in}
	if key != "" {
		k.repeat, k.header = true, map[string]string{keyHeader: key}
	}
	return c.oneTask(ctx, k)
}

// Cancel asks a task to stop. The answer is cancelled already if it waited, and
// still running if its worker is being asked. Errors: NotFound about "task";
// Conflict about "task" if it has ended or is only a record.
func (c *Client) Cancel(ctx context.Context, project, task, reason string) (*errand.Task, error) {
	in := struct {
		Reason string `json:"reason,omitempty"`
	}{reason}
	return c.oneTask(ctx, call{method: http.MethodPost, path: []string{"projects", project, "tasks", task, "cancel"}, in: in})
}

// Reschedule moves the start of a task that has not started to at, which may be
// in the past for as soon as possible. Errors: Invalid about "run_at" if at is
// zero, more than a year ahead or after the task's deadline; NotFound about
// "task"; Conflict about "status" if it has started, has ended or is only a
// record.
func (c *Client) Reschedule(ctx context.Context, project, task string, at time.Time) (*errand.Task, error) {
	in := struct {
		RunAt time.Time `json:"run_at"`
	}{at}
	return c.oneTask(ctx, call{method: http.MethodPatch, path: []string{"projects", project, "tasks", task}, in: in})
}

// oneTask makes a call that answers with a task.
func (c *Client) oneTask(ctx context.Context, k call) (*errand.Task, error) {
	var body nativejson.Task
	if err := c.do(ctx, k, &body); err != nil {
		return nil, err
	}
	return body.Task(), nil
}

// Why says what a task waits for. Text is a sentence for people, Code one of
// ended, record, time, lane, no_worker, worker, running, silent and stopping.
// The other members hold the same for programs, where they apply.
type Why struct {
	Code string
	Text string

	Until     time.Time     // when it is over at the latest, or looked at again
	Behind    *errand.Task  // the task that is in the way
	Ahead     int           // tasks that come first in its lane, Behind included
	Remaining time.Duration // of Behind or of the task itself, estimated; 0: unknown
	Worker    string
	LastSeen  time.Time // of the worker, or of any that serves the operation
	Step      string    // the step that is running
	StepIndex int       // its number, counted from 1
	Steps     int
}

// Why explains what a task waits for, or why it ended. Errors: NotFound about
// "task".
func (c *Client) Why(ctx context.Context, project, task string) (Why, error) {
	var b nativejson.Why
	if err := c.get(ctx, &b, nil, "projects", project, "tasks", task, "why"); err != nil {
		return Why{}, err
	}
	return whyOf(b), nil
}

func whyOf(b nativejson.Why) Why {
	w := Why{
		Code: b.Code, Text: b.Text, Until: b.Until.Time, Ahead: b.Ahead, Remaining: time.Duration(b.Remaining),
		Worker: b.Worker, LastSeen: b.LastSeen.Time, Step: b.Step, StepIndex: b.StepIndex, Steps: b.Steps,
	}
	if b.Behind != nil {
		w.Behind = b.Behind.Task()
	}
	return w
}

// MaxLog is how many bytes of a log one call returns at the most.
const MaxLog = 1 << 20

// LogPart is a piece of what a task's attempts wrote. It is cut wherever the
// limit fell, and may be anything that a program prints.
type LogPart struct {
	Text []byte
	Next int64 // offset of what follows
	Size int64 // of the whole log, as it is now
}

// Log returns up to limit bytes of a task's log from offset. A limit of 0 stands
// for the server's default. Errors: NotFound about "task".
func (c *Client) Log(ctx context.Context, project, task string, offset int64, limit int) (LogPart, error) {
	q := url.Values{}
	if offset != 0 {
		q.Set("offset", strconv.FormatInt(offset, 10))
	}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	resp, err := c.send(ctx, call{method: http.MethodGet, path: []string{"projects", project, "tasks", task, "log"}, query: q, repeat: true})
	if err != nil {
		return LogPart{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, MaxLog))
	if err != nil {
		return LogPart{}, answerError(resp, errand.Errorf(errand.Unavailable, "answer", "the answer was cut off").WithCause(err))
	}
	p := LogPart{Text: text, Next: offset + int64(len(text))}
	if p.Size, err = strconv.ParseInt(resp.Header.Get("X-Log-Size"), 10, 64); err != nil {
		return LogPart{}, answerError(resp, errand.Errorf(errand.Internal, "answer", "the answer does not say how long the log is"))
	}
	return p, nil
}

// pollLog is how often a log that is followed is asked for.
const pollLog = 500 * time.Millisecond

// FollowLog writes a task's log to w as it grows, from offset, until the task
// has ended. It returns the offset that it has come to, from which it can be
// called again after an error.
func (c *Client) FollowLog(ctx context.Context, project, task string, offset int64, w io.Writer) (int64, error) {
	for ended := false; ; {
		p, err := c.Log(ctx, project, task, offset, MaxLog)
		if err != nil {
			return offset, err
		}
		if len(p.Text) > 0 {
			n, err := w.Write(p.Text)
			if offset += int64(n); err != nil {
				return offset, err
			}
			if offset < p.Size {
				continue
			}
		}
		if ended {
			return offset, nil
		}
		t, err := c.Task(ctx, project, task)
		if err != nil {
			return offset, err
		}
		// The last lines may be written a moment after the end.
		ended = t.Status.Final()
		if err := c.wait(ctx, pollLog); err != nil {
			return offset, err
		}
	}
}

// Operations returns what may be submitted on instances of an engine, or of all
// if that is "".
func (c *Client) Operations(ctx context.Context, engine errand.Engine) ([]errand.Operation, error) {
	q := url.Values{}
	set(q, "engine", string(engine))
	var body struct {
		Operations []nativejson.Operation `json:"operations"`
	}
	if err := c.get(ctx, &body, q, "operations"); err != nil {
		return nil, err
	}
	list := make([]errand.Operation, 0, len(body.Operations))
	for _, o := range body.Operations {
		list = append(list, o.Operation())
	}
	return list, nil
}
