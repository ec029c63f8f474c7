package native

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// workerRoutes are the calls of those who run tasks, and the one about them.
func (a *api) workerRoutes(d *wire.Dialect) {
	const project = "/api/v1/projects/{project}"
	wire.HandleWaiting(d, "POST "+project+"/claims", tasks.MaxWait, decodeClaim, a.claim,
		func(r *wire.Reply, grants []tasks.Grant) {
			r.Header = map[string]string{"Cache-Control": "no-store"} // they may hold secrets
			write(r, struct {
				Grants []nativejson.Grant `json:"grants"`
			}{each(grants, grantOf)})
		})
	wire.Handle(d, "POST "+project+"/leases/{token}/extend", decodeBeat,
		func(ctx context.Context, p errand.Principal, q beatRequest) (tasks.Extended, error) {
			return a.runs.Extend(ctx, p, q.project, q.token, q.beat)
		},
		func(r *wire.Reply, x tasks.Extended) {
			write(r, struct {
				TTLSeconds   nativejson.Span `json:"ttl_seconds"`
				Stop         bool            `json:"stop"`
				Reason       string          `json:"reason,omitempty"`
				LogTruncated bool            `json:"log_truncated"`
			}{nativejson.Span(x.TTL), x.Stop, x.Reason, x.LogTruncated})
		})
	wire.Handle(d, "POST "+project+"/leases/{token}/finish", decodeFinish,
		func(ctx context.Context, p errand.Principal, q finishRequest) (*errand.Task, error) {
			return a.runs.Finish(ctx, p, q.project, q.token, q.outcome, q.log)
		},
		func(r *wire.Reply, t *errand.Task) { write(r, nativejson.TaskOf(t)) })
	wire.Handle(d, "GET "+project+"/workers",
		func(r *http.Request) (string, error) {
			_, err := query(r)
			return r.PathValue("project"), err
		},
		func(_ context.Context, p errand.Principal, project string) ([]tasks.Worker, error) {
			return a.runs.Workers(p, project)
		},
		func(r *wire.Reply, list []tasks.Worker) {
			write(r, struct {
				Workers []workerBody `json:"workers"`
			}{each(list, workerOf)})
		})
}

// maxWaiting is how many calls may wait at a time, so that they leave room for
// those that do not.
const maxWaiting = 2048

// waitingRoom counts the calls that wait.
type waitingRoom struct{ n atomic.Int64 }

func (w *waitingRoom) enter() error {
	if w.n.Add(1) > maxWaiting {
		w.n.Add(-1)
		return errand.Errorf(errand.Unavailable, "load", "%d claims and watchers wait already; try again later", maxWaiting)
	}
	return nil
}

func (w *waitingRoom) leave() { w.n.Add(-1) }

type claimRequest struct {
	project string
	tasks.ClaimRequest
}

func decodeClaim(r *http.Request) (claimRequest, error) {
	q := claimRequest{project: r.PathValue("project")}
	b, err := decodeBody[struct {
		Worker      string          `json:"worker"`
		Operations  []string        `json:"operations"`
		Engines     []errand.Engine `json:"engines"`
		Limit       *int            `json:"limit"`
		WaitSeconds float64         `json:"wait_seconds"`
	}](r)
	if err != nil {
		return q, err
	}
	q.ClaimRequest = tasks.ClaimRequest{Worker: b.Worker, Operations: b.Operations, Engines: b.Engines, Limit: 1}
	if b.Limit != nil {
		q.Limit = *b.Limit
	}
	if q.Wait, err = seconds("wait_seconds", b.WaitSeconds); err != nil {
		return q, err
	}
	if q.Wait > tasks.MaxWait {
		return q, errand.Errorf(errand.Invalid, "wait_seconds", "wait_seconds must be at most %.0f", tasks.MaxWait.Seconds())
	}
	for _, o := range q.Operations {
		if err := checkText("operations", o, errand.MaxNameLen); err != nil {
			return q, err
		}
	}
	return q, checkText("worker", b.Worker, errand.MaxNameLen)
}

// claim answers with nothing when the server stops or the worker has gone.
func (a *api) claim(ctx context.Context, p errand.Principal, q claimRequest) ([]tasks.Grant, error) {
	if q.Wait > 0 {
		if err := a.waiting.enter(); err != nil {
			return nil, err
		}
		defer a.waiting.leave()
	}
	grants, err := a.runs.Claim(ctx, p, q.project, q.ClaimRequest)
	if err != nil && ctx.Err() != nil {
		return nil, nil
	}
	return grants, err
}

type leaseKey struct{ project, token string }

func leaseOf(r *http.Request) leaseKey { return leaseKey{r.PathValue("project"), r.PathValue("token")} }

type beatRequest struct {
	leaseKey
	beat tasks.Beat
}

func decodeBeat(r *http.Request) (beatRequest, error) {
	q := beatRequest{leaseKey: leaseOf(r)}
	b, err := decodeOptional[struct {
		Progress *progressIn `json:"progress"`
		Log      string      `json:"log"`
	}](r, MaxRun)
	if err != nil {
		return q, err
	}
	q.beat.Log = []byte(b.Log)
	if b.Progress != nil {
		q.beat.Progress, err = b.Progress.progress()
	}
	return q, err
}

type finishRequest struct {
	leaseKey
	outcome errand.Outcome
	log     []byte
}

func decodeFinish(r *http.Request) (finishRequest, error) {
	b, err := decodeUpTo[struct {
		Status    errand.Status   `json:"status"`
		ErrorCode string          `json:"error_code"`
		Reason    string          `json:"reason"`
		Permanent bool            `json:"permanent"`
		Result    json.RawMessage `json:"result"`
		Log       string          `json:"log"`
	}](r, MaxRun)
	q := finishRequest{leaseKey: leaseOf(r), log: []byte(b.Log)}
	if string(b.Result) == "null" {
		b.Result = nil
	}
	q.outcome = errand.Outcome{Status: b.Status, ErrorCode: b.ErrorCode, Reason: b.Reason, Permanent: b.Permanent, Result: b.Result}
	return q, err
}

// progressIn is progress as a worker reports it: the whole of it each time.
type progressIn struct {
	Percent          int      `json:"percent"`
	RemainingSeconds float64  `json:"remaining_seconds"`
	Steps            []stepIn `json:"steps"`
}

type stepIn struct {
	Name      string            `json:"name"`
	Status    errand.StepStatus `json:"status"`
	StartedAt time.Time         `json:"started_at"`
	EndedAt   time.Time         `json:"ended_at"`
	ErrorCode string            `json:"error_code"`
	Detail    string            `json:"detail"`
	Steps     []stepIn          `json:"steps"`
}

func (b *progressIn) progress() (*errand.Progress, error) {
	if b.Percent < 0 || b.Percent > 100 {
		return nil, errand.Errorf(errand.Invalid, "percent", "percent must be 0 to 100, not %d", b.Percent)
	}
	left, err := seconds("remaining_seconds", b.RemainingSeconds)
	if err != nil {
		return nil, err
	}
	p := &errand.Progress{Percent: b.Percent, Remaining: time.Duration(math.Ceil(left.Seconds())) * time.Second}
	p.Steps, err = stepsIn(b.Steps, true)
	return p, err
}

// stepsIn checks steps and brings them into our form. How many there may be is
// a rule of tasks, which is checked with it.
func stepsIn(list []stepIn, top bool) ([]errand.Step, error) {
	if len(list) > errand.MaxProgressSteps {
		return nil, errand.Errorf(errand.Invalid, "steps", "a task has at most %d steps, not %d", errand.MaxProgressSteps, len(list))
	}
	var steps []errand.Step
	for _, b := range list {
		if err := b.check(top); err != nil {
			return nil, err
		}
		s := errand.Step{
			Name: b.Name, Status: b.Status, StartedAt: micros(b.StartedAt), EndedAt: micros(b.EndedAt),
			ErrorCode: b.ErrorCode, Detail: b.Detail,
		}
		var err error
		if s.Steps, err = stepsIn(b.Steps, false); err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func (b *stepIn) check(top bool) error {
	switch b.Status {
	case errand.StepWaiting, errand.StepRunning, errand.StepSucceeded, errand.StepFailed:
	case errand.StepSuspended, errand.StepCancelled:
		if top {
			return errand.Errorf(errand.Invalid, "steps", "only a sub-step can be %s", b.Status)
		}
	default:
		return errand.Errorf(errand.Invalid, "steps", "the status %.32q of a step is not one of %v", string(b.Status), errand.StepStatuses())
	}
	switch {
	case b.Name == "":
		return errand.Errorf(errand.Invalid, "steps", "a step has no name")
	case !top && len(b.Steps) > 0:
		return errand.Errorf(errand.Invalid, "steps", "step %.64q is a sub-step and has sub-steps; there is one level of them", b.Name)
	case badTime(b.StartedAt) || badTime(b.EndedAt):
		return errand.Errorf(errand.Invalid, "steps", "the times of step %.64q must be between the years 1970 and 9999", b.Name)
	}
	if err := checkText("steps", b.Name, errand.MaxNameLen); err != nil {
		return err
	}
	if err := checkText("steps", b.ErrorCode, errand.MaxNameLen); err != nil {
		return err
	}
	return checkText("steps", b.Detail, errand.MaxAttributeLen)
}

func badTime(t time.Time) bool {
	return !t.IsZero() && (t.Before(time.Unix(0, 0)) || t.UTC().Year() > 9999)
}

func micros(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
