package native

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// write makes v the body of r. v is one of our own types, so that it cannot
// fail; if it does, the server's recovery answers.
func write(r *wire.Reply, v any) {
	b := bytes.NewBuffer(r.Body)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false) // details stay as they are
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	r.Body = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// created makes v the answer to a call that made it.
func created(r *wire.Reply, v any) {
	r.Status = http.StatusCreated
	write(r, v)
}

// timeLayout is RFC 3339 with microseconds, which is what is kept.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// moment is a time on the wire; the zero time is left out by omitzero.
type moment struct{ time.Time }

func (m moment) MarshalJSON() ([]byte, error) {
	return []byte(m.UTC().Format(`"` + timeLayout + `"`)), nil
}

type userBody struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type taskBody struct {
	ID        string          `json:"id"`
	Project   string          `json:"project"`
	Instance  string          `json:"instance"`
	Engine    errand.Engine   `json:"engine"`
	Operation string          `json:"operation"`
	JobID     string          `json:"job_id"`
	User      userBody        `json:"user"`
	Params    string          `json:"params"`
	Details   json.RawMessage `json:"details,omitempty"`
	Status    errand.Status   `json:"status"`
	ErrorCode string          `json:"error_code,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Progress  *progressBody   `json:"progress,omitempty"`
	Origin    *originBody     `json:"origin,omitempty"`
	Run       *runBody        `json:"run,omitempty"`
	CreatedAt moment          `json:"created_at"`
	UpdatedAt moment          `json:"updated_at"`
}

type originBody struct {
	Status string `json:"status"`
}

type progressBody struct {
	Percent          int        `json:"percent"`
	RemainingSeconds int64      `json:"remaining_seconds"`
	Steps            []stepBody `json:"steps,omitempty"`
}

type stepBody struct {
	Name      string            `json:"name"`
	Status    errand.StepStatus `json:"status"`
	StartedAt moment            `json:"started_at,omitzero"`
	EndedAt   moment            `json:"ended_at,omitzero"`
	ErrorCode string            `json:"error_code,omitempty"`
	Detail    string            `json:"detail,omitempty"`
	Steps     []stepBody        `json:"steps,omitempty"`
}

func taskOf(t *errand.Task) taskBody {
	b := taskBody{
		ID: t.ID, Project: t.Project, Instance: t.Instance, Engine: t.Engine, Operation: t.Operation, JobID: t.JobID,
		User: userBody(t.User), Params: t.Params, Details: t.Details,
		Status: t.Status, ErrorCode: t.ErrorCode, Reason: t.Reason,
		CreatedAt: moment{t.CreatedAt}, UpdatedAt: moment{t.UpdatedAt},
	}
	if p := t.Progress; p != nil {
		b.Progress = &progressBody{Percent: p.Percent, RemainingSeconds: int64(p.Remaining / time.Second), Steps: stepsOf(p.Steps)}
	}
	if t.Run != nil {
		b.Run = runOf(t.Run)
	}
	if t.Origin != nil {
		b.Origin = &originBody{Status: t.Origin.Status}
	}
	return b
}

func stepsOf(steps []errand.Step) []stepBody {
	var list []stepBody
	for _, s := range steps {
		list = append(list, stepBody{
			Name: s.Name, Status: s.Status, StartedAt: moment{s.StartedAt}, EndedAt: moment{s.EndedAt},
			ErrorCode: s.ErrorCode, Detail: s.Detail, Steps: stepsOf(s.Steps),
		})
	}
	return list
}

type instanceBody struct {
	Project    string            `json:"project"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Engine     errand.Engine     `json:"engine"`
	Attributes map[string]string `json:"attributes,omitempty"`
	CreatedAt  moment            `json:"created_at"`
}

func instanceOf(i errand.Instance) instanceBody {
	return instanceBody{Project: i.Project, ID: i.ID, Name: i.Name, Engine: i.Engine, Attributes: i.Attributes, CreatedAt: moment{i.CreatedAt}}
}

type eventBody struct {
	Seq      int64         `json:"seq"`
	Project  string        `json:"project"`
	Instance string        `json:"instance"`
	Task     string        `json:"task"`
	At       moment        `json:"at"`
	Act      errand.Act    `json:"act"`
	Actor    userBody      `json:"actor"`
	From     errand.Status `json:"from,omitempty"`
	To       errand.Status `json:"to,omitempty"`
	Request  string        `json:"request_id,omitempty"`
	Remote   string        `json:"remote,omitempty"`
	Reason   string        `json:"reason,omitempty"`
}

func eventOf(e errand.Event) eventBody {
	return eventBody{
		Seq: e.Seq, Project: e.Project, Instance: e.Instance, Task: e.Task, At: moment{e.At}, Act: e.Act,
		Actor: userBody(e.Actor), From: e.From, To: e.To, Request: e.Request, Remote: e.Remote, Reason: e.Reason,
	}
}

// each maps a list; the result is never nil, so that it is written as [].
func each[A, B any](list []A, of func(A) B) []B {
	out := make([]B, 0, len(list))
	for _, a := range list {
		out = append(out, of(a))
	}
	return out
}
