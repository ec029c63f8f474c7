package native

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/records"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// runRoutes are the calls of those who ask for tasks.
func (a *api) runRoutes(d *wire.Dialect) {
	const project = "/api/v1/projects/{project}"
	wire.Handle(d, "POST "+project+"/instances/{instance}/tasks", decodeSubmission,
		func(ctx context.Context, p errand.Principal, s submission) (*errand.Task, error) {
			return a.runs.Submit(ctx, p, s.project, s.instance, s.Submission)
		}, accepted)
	wire.Handle(d, "POST "+project+"/tasks/{task}/retry", decodeRetry,
		func(ctx context.Context, p errand.Principal, q retryRequest) (*errand.Task, error) {
			return a.runs.Retry(ctx, p, q.project, q.task, q.secrets, q.key)
		}, accepted)
	wire.Handle(d, "POST "+project+"/tasks/{task}/cancel", decodeCancel,
		func(ctx context.Context, p errand.Principal, q cancelRequest) (*errand.Task, error) {
			return a.runs.Cancel(ctx, p, q.project, q.task, q.reason)
		},
		func(r *wire.Reply, t *errand.Task) {
			if !t.Status.Final() {
				r.Status = http.StatusAccepted
			}
			write(r, nativejson.TaskOf(t))
		})
	wire.Handle(d, "PATCH "+project+"/tasks/{task}", decodeReschedule,
		func(ctx context.Context, p errand.Principal, q rescheduleRequest) (*errand.Task, error) {
			return a.runs.Reschedule(ctx, p, q.project, q.task, q.at)
		},
		func(r *wire.Reply, t *errand.Task) { write(r, nativejson.TaskOf(t)) })
	wire.Handle(d, "GET "+project+"/tasks/{task}/why", decodeTask,
		func(ctx context.Context, p errand.Principal, k taskKey) (tasks.Why, error) {
			return a.runs.Why(ctx, p, k.project, k.task)
		},
		func(r *wire.Reply, w tasks.Why) { write(r, whyOf(w)) })
	wire.Handle(d, "GET "+project+"/tasks/{task}/log", decodeLog,
		func(ctx context.Context, p errand.Principal, q logQuery) (logPart, error) {
			text, size, err := a.runs.Log(ctx, p, q.project, q.task, q.offset, q.limit)
			return logPart{q.offset, text, size}, err
		}, encodeLog)
}

// accepted answers with a task that is durable and will run.
func accepted(r *wire.Reply, t *errand.Task) {
	r.Status = http.StatusAccepted
	r.Header = map[string]string{"Location": "/api/v1/projects/" + t.Project + "/tasks/" + t.ID}
	write(r, nativejson.TaskOf(t))
}

type submission struct {
	project, instance string
	tasks.Submission
}

func decodeSubmission(r *http.Request) (submission, error) {
	s := submission{project: r.PathValue("project"), instance: r.PathValue("instance")}
	b, err := decodeUpTo[struct {
		Operation      string            `json:"operation"`
		Params         json.RawMessage   `json:"params"`
		Secrets        map[string]string `json:"secrets"`
		Details        json.RawMessage   `json:"details"`
		RunAt          time.Time         `json:"run_at"`
		Deadline       time.Time         `json:"deadline"`
		TimeoutSeconds float64           `json:"timeout_seconds"`
		Reject         bool              `json:"reject"`
	}](r, MaxRun)
	if err != nil {
		return s, err
	}
	s.Submission = tasks.Submission{
		Operation: b.Operation, Params: b.Params, Secrets: b.Secrets, Details: b.Details,
		RunAt: b.RunAt, Deadline: b.Deadline, Reject: b.Reject,
	}
	if s.Timeout, err = seconds("timeout_seconds", b.TimeoutSeconds); err != nil {
		return s, err
	}
	if err := records.CheckDetails(b.Details); err != nil {
		return s, err
	}
	s.Key, err = idempotencyKey(r)
	return s, err
}

// maxSeconds bounds every duration on the wire, long before it overflows.
const maxSeconds = 1e9

// seconds reads a duration, to the microsecond.
func seconds(name string, v float64) (time.Duration, error) {
	if v < 0 || v > maxSeconds {
		return 0, errand.Errorf(errand.Invalid, name, "%s must be a number of seconds from 0 to %.0f", name, maxSeconds)
	}
	return time.Duration(math.Round(v*1e6)) * time.Microsecond, nil
}

// keyHeader makes a call that creates a task safe to repeat.
const keyHeader = "Idempotency-Key"

// idempotencyKey returns the key that r is sent with, or "".
func idempotencyKey(r *http.Request) (string, error) {
	all := r.Header.Values(keyHeader)
	if len(all) > 1 {
		return "", errand.Errorf(errand.Invalid, "idempotency_key", "%s is sent more than once", keyHeader)
	}
	key := strings.Join(all, "")
	if len(key) > tasks.MaxKeyLen || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", errand.Errorf(errand.Invalid, "idempotency_key", "%s is 1 to %d printable ASCII characters", keyHeader, tasks.MaxKeyLen)
	}
	return key, nil
}

type retryRequest struct {
	taskKey
	secrets map[string]string
	key     string
}

func decodeRetry(r *http.Request) (retryRequest, error) {
	q := retryRequest{taskKey: taskKey{r.PathValue("project"), r.PathValue("task")}}
	b, err := decodeOptional[struct {
		Secrets map[string]string `json:"secrets"`
	}](r, MaxRun)
	if err != nil {
		return q, err
	}
	q.secrets = b.Secrets
	q.key, err = idempotencyKey(r)
	return q, err
}

type cancelRequest struct {
	taskKey
	reason string
}

func decodeCancel(r *http.Request) (cancelRequest, error) {
	b, err := decodeOptional[struct {
		Reason string `json:"reason"`
	}](r, MaxBody)
	if err == nil {
		err = checkText("reason", b.Reason, errand.MaxAttributeLen)
	}
	return cancelRequest{taskKey{r.PathValue("project"), r.PathValue("task")}, b.Reason}, err
}

type rescheduleRequest struct {
	taskKey
	at time.Time
}

func decodeReschedule(r *http.Request) (rescheduleRequest, error) {
	b, err := decodeBody[struct {
		RunAt time.Time `json:"run_at"`
	}](r)
	if err == nil && b.RunAt.IsZero() {
		err = errand.Errorf(errand.Invalid, "run_at", "run_at is needed: when to start the task, like 2026-01-31T18:00:00Z")
	}
	return rescheduleRequest{taskKey{r.PathValue("project"), r.PathValue("task")}, b.RunAt}, err
}

// checkText refuses text that is longer than limit bytes or holds a NUL. That a
// body is UTF-8 has been checked.
func checkText(name, text string, limit int) error {
	if len(text) > limit || strings.ContainsRune(text, 0) {
		return errand.Errorf(errand.Invalid, name, "%s is at most %d bytes of UTF-8 without NUL", name, limit)
	}
	return nil
}

type logQuery struct {
	taskKey
	offset int64
	limit  int
}

// defaultLogRead is how much of a log is returned where nothing is said.
const defaultLogRead = 64 << 10

func decodeLog(r *http.Request) (logQuery, error) {
	q, err := query(r, "offset", "limit")
	if err != nil {
		return logQuery{}, err
	}
	l := logQuery{
		taskKey: taskKey{r.PathValue("project"), r.PathValue("task")},
		offset:  int64(q.Int("offset", 0, 0, 1<<62)),
		limit:   q.Int("limit", defaultLogRead, 1, tasks.MaxLogRead),
	}
	return l, q.Err()
}

type logPart struct {
	offset int64
	text   []byte
	size   int64
}

// encodeLog sends a log as it is: it may be anything that a program prints, and
// is cut wherever the limit falls.
func encodeLog(r *wire.Reply, l logPart) {
	r.Type = "text/plain; charset=utf-8"
	r.Header = map[string]string{
		"X-Content-Type-Options": "nosniff",
		"X-Log-Next":             strconv.FormatInt(l.offset+int64(len(l.text)), 10),
		"X-Log-Size":             strconv.FormatInt(l.size, 10),
	}
	r.Body = append(r.Body, l.text...)
}

func operationsRoute(d *wire.Dialect, operations func() []errand.Operation) {
	wire.Handle(d, "GET /api/v1/operations", decodeEngine,
		func(_ context.Context, _ errand.Principal, engine errand.Engine) ([]nativejson.Operation, error) {
			list := []nativejson.Operation{}
			for _, o := range operations() {
				if engine == "" || o.Engine == engine {
					list = append(list, nativejson.OperationOf(o))
				}
			}
			return list, nil
		},
		func(r *wire.Reply, list []nativejson.Operation) {
			write(r, struct {
				Operations []nativejson.Operation `json:"operations"`
			}{list})
		})
}

func decodeEngine(r *http.Request) (errand.Engine, error) {
	q, err := query(r, "engine")
	if err != nil {
		return "", err
	}
	e := errand.Engine(q.String("engine"))
	if e != "" && !e.Valid() {
		return "", errand.Errorf(errand.Invalid, "engine", "engine %.64q is not one of %v", string(e), errand.Engines())
	}
	return e, q.Err()
}
