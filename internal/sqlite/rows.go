package sqlite

import (
	"encoding/json"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
)

// taskColumns come first in every statement that reads tasks; the texts first,
// so that their places in the page's text can be counted through.
const taskColumns = `t.id, t.operation, t.user_id, t.user_name, t.params, t.status, t.error_code, t.reason, t.job_id, t.origin, t.details,
	t.percent, t.remaining, t.created_at, t.updated_at`

// The columns of taskColumns that are not among the plain texts, and what may
// follow them.
const (
	colJobID = 8 + iota
	colOrigin
	colDetails
	colPercent
	colRemaining
	colCreatedAt
	colUpdatedAt
	colInstance // of the instance that the task belongs to: id and engine
	colEngine
	colSteps // where a whole task is read, then its place
	colScope
	colGroup
	colProject

	texts = colDetails // plain ones, job id and origin
)

// span is where a text of the page ends; it begins where the one before ends.
type span int

// readTasks reads what st gives. All text of a page is gathered in one buffer
// and becomes one string, of which the tasks hold parts: two allocations for a
// page, whatever its length. of is what the rows do not name: the project, and
// where no instance is joined, the instance and its engine.
func (c *conn) readTasks(st *sqlite.Stmt, limit int, of errand.Task) ([]errand.Task, error) {
	return c.readTasksAnd(st, limit, of, nil)
}

// readTasksAnd calls also, if it is set, for each row.
func (c *conn) readTasksAnd(st *sqlite.Stmt, limit int, of errand.Task, also func(*errand.Task) error) ([]errand.Task, error) {
	c.text, c.spans = c.text[:0], c.spans[:0]
	joined := st.ColumnCount() > colInstance
	page := make([]errand.Task, 0, limit)
	for {
		more, err := st.Step()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		page = append(page, of)
		t := &page[len(page)-1]
		for col := range texts {
			c.readText(st, col)
		}
		if joined {
			c.readText(st, colInstance)
			t.Engine = engineOf(st)
		}
		if !st.ColumnIsNull(colOrigin) {
			t.Origin = &errand.Origin{}
		}
		if n := st.ColumnLen(colDetails); n > 0 {
			t.Details = make(json.RawMessage, n)
			st.ColumnBytes(colDetails, t.Details)
		}
		if !st.ColumnIsNull(colPercent) {
			t.Progress = &errand.Progress{
				Percent:   st.ColumnInt(colPercent),
				Remaining: time.Duration(st.ColumnInt64(colRemaining)) * time.Microsecond,
			}
		}
		t.CreatedAt, t.UpdatedAt = at(st.ColumnInt64(colCreatedAt)), at(st.ColumnInt64(colUpdatedAt))
		if also != nil {
			if err := also(t); err != nil {
				_ = st.Reset()
				return nil, err
			}
		}
	}
	c.handOut(page, joined)
	return page, nil
}

// readText appends a column to the text of the page.
func (c *conn) readText(st *sqlite.Stmt, col int) {
	for {
		free := c.text[len(c.text):cap(c.text)]
		n := st.ColumnBytes(col, free)
		if n < len(free) {
			c.text = c.text[:len(c.text)+n]
			break
		}
		// All is full: the text may be longer than that.
		more := make([]byte, len(c.text), 2*cap(c.text)+st.ColumnLen(col)+4096)
		copy(more, c.text)
		c.text = more
	}
	c.spans = append(c.spans, span(len(c.text)))
}

// maxKept is how much of a page's buffer stays for the next one.
const maxKept = 1 << 20

// handOut gives the tasks of a page their texts, in the order of readTasks.
func (c *conn) handOut(page []errand.Task, joined bool) {
	text, from, k := string(c.text), 0, 0
	next := func() string {
		to := int(c.spans[k])
		part := text[from:to]
		from, k = to, k+1
		return part
	}
	for i := range page {
		t := &page[i]
		t.ID = next()
		t.Operation = next()
		t.User.ID = next()
		t.User.Name = next()
		t.Params = next()
		t.Status = errand.Status(next())
		t.ErrorCode = next()
		t.Reason = next()
		if t.JobID = next(); t.JobID == "" {
			t.JobID = t.ID
		}
		if origin := next(); t.Origin != nil {
			t.Origin.Status = origin
		}
		if joined {
			t.Instance = next()
		}
	}
	if cap(c.text) > maxKept {
		c.text, c.spans = nil, nil
	}
}

func engineOf(st *sqlite.Stmt) errand.Engine {
	var b [16]byte
	name := b[:st.ColumnBytes(colEngine, b[:])]
	for _, e := range [...]errand.Engine{errand.Kafka, errand.RocketMQ, errand.RabbitMQ, errand.Redis} {
		if string(name) == string(e) {
			return e
		}
	}
	return errand.Engine(st.ColumnText(colEngine))
}
