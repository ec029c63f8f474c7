package records

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/errandhq/errand"
)

// Writer writes records in the format that [Read] reads, as documents of a bounded
// size, so that no more than one record is held at a time. What the format has no
// member for is left out: how a task that ran here was run, its log, its result.
type Writer struct {
	w io.Writer

	// The limits of one document; zero members are those of an import, less some
	// room.
	maxRecords int
	maxBytes   int

	records, bytes int // of the document that is open
	total          int
	err            error
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, maxRecords: 50_000, maxBytes: 32 << 20}
}

// Records returns how many were written.
func (w *Writer) Records() int { return w.total }

// Write adds a record.
func (w *Writer) Write(t *errand.Task) error {
	text, err := recordOf(t)
	if err != nil {
		return err
	}
	if w.records > 0 && (w.records == w.maxRecords || w.bytes+len(text) > w.maxBytes) {
		w.endDocument()
	}
	if w.records == 0 {
		w.put([]byte(`{"tasks":[`))
	} else {
		w.put([]byte(","))
	}
	w.put([]byte("\n"))
	w.put(text)
	w.records++
	w.total++
	return w.err
}

// Close ends the last document. A writer that was given no record writes one that
// holds none, which an import takes as well.
func (w *Writer) Close() error {
	if w.total == 0 {
		w.put([]byte(`{"tasks":[`))
	}
	if w.records > 0 || w.total == 0 {
		w.endDocument()
	}
	return w.err
}

// endDocument says at the end how many records there are: only then it is known.
func (w *Writer) endDocument() {
	w.put([]byte("\n],\"task_count\":\"" + strconv.Itoa(w.records) + "\"}\n"))
	w.records, w.bytes = 0, 0
}

func (w *Writer) put(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
		w.bytes += len(b)
	}
}

// words are the provider's for our statuses.
func words() map[errand.Status]string {
	return map[errand.Status]string{
		errand.Pending: "CREATED", errand.Running: "EXECUTING", errand.Succeeded: "SUCCESS", errand.Failed: "FAILED", errand.Cancelled: "CANCELLED",
	}
}

func stepWords() map[errand.StepStatus]string {
	return map[errand.StepStatus]string{
		errand.StepWaiting: "WAITING", errand.StepRunning: "EXECUTING", errand.StepSuspended: "SUSPEND",
		errand.StepSucceeded: "FINISH", errand.StepFailed: "FAILED", errand.StepCancelled: "CANCELED",
	}
}

// moment is a time to the microsecond, which is what is kept.
const momentLayout = "2006-01-02T15:04:05.000000Z"

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(momentLayout)
}

type recordJSON struct {
	ID        string          `json:"id"`
	JobID     string          `json:"job_id"`
	Name      string          `json:"name"`
	UserID    string          `json:"user_id,omitempty"`
	UserName  string          `json:"user_name,omitempty"`
	Params    string          `json:"params,omitempty"`
	Details   json.RawMessage `json:"details,omitempty"`
	Status    string          `json:"status"`
	ErrorCode string          `json:"error_code,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Show      bool            `json:"enable_show,omitempty"`
	CreatedAt string          `json:"created_at"`
	UpdatedAt string          `json:"updated_at"`
	Progress  *progressJSON   `json:"progress,omitempty"`
}

type progressJSON struct {
	Progress int        `json:"progress"`
	Remain   int64      `json:"remain_time,omitempty"`
	Steps    []stepJSON `json:"step_details,omitempty"`
}

type stepJSON struct {
	Name      string     `json:"step_name,omitempty"`
	Status    string     `json:"step_status"`
	BeginTime string     `json:"begin_time,omitempty"`
	EndTime   string     `json:"end_time,omitempty"`
	ErrorCode string     `json:"error_code,omitempty"`
	Detail    string     `json:"detail,omitempty"`
	Steps     []stepJSON `json:"sub_step_details,omitempty"`
}

func recordOf(t *errand.Task) ([]byte, error) {
	r := recordJSON{
		ID: t.ID, JobID: t.JobID, Name: t.Operation, UserID: t.User.ID, UserName: t.User.Name, Params: t.Params, Details: t.Details,
		Status: words()[t.Status], ErrorCode: t.ErrorCode, Reason: t.Reason, CreatedAt: moment(t.CreatedAt), UpdatedAt: moment(t.UpdatedAt),
	}
	if t.Origin != nil {
		r.Status = t.Origin.Status
	}
	if p := t.Progress; p != nil {
		r.Show = true
		r.Progress = &progressJSON{p.Percent, int64(p.Remaining / time.Second), stepsJSON(p.Steps)}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return bytes.TrimSpace(b.Bytes()), err
}

func stepsJSON(steps []errand.Step) []stepJSON {
	var out []stepJSON
	for _, s := range steps {
		out = append(out, stepJSON{s.Name, stepWords()[s.Status], moment(s.StartedAt), moment(s.EndedAt), s.ErrorCode, s.Detail, stepsJSON(s.Steps)})
	}
	return out
}
