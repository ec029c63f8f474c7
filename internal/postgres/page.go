package postgres

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

// The columns of taskColumns that are not among the plain texts, and what follows
// them in a listing: the instance where it is joined, and then known and total.
const (
	colJobID = 8 + iota
	colOrigin
	colDetails
	colPercent
	colRemaining
	colCreatedAt
	colUpdatedAt
	colInstance
	colEngine

	pageTexts = colDetails // plain ones, job id and origin
)

// pageScan gathers all text of a page in one buffer, of which the tasks hold
// parts: a few allocations for a page, whatever its length.
type pageScan struct {
	text   strings.Builder
	ends   []int // of each text, in order
	format int16 // of numbers
	joined bool
	page   []errand.Task
	err    error
}

// readPage reads the rows of a listing. of is what they do not name: the project,
// and where no instance is joined, the instance and its engine.
func readPage(rows pgx.Rows, of errand.Task) (p errand.Page, known bool, err error) {
	defer rows.Close()
	var s pageScan
	last := 0 // column
	for rows.Next() {
		raw := rows.RawValues()
		if last == 0 {
			fields := rows.FieldDescriptions()
			last = len(fields) - 1
			s.format, s.joined = fields[last].Format, last > colEngine
			known, p.Total = s.number(raw[last-1]) > 0, int(max(s.number(raw[last]), 0))
		}
		if raw[0] != nil {
			s.add(raw, of)
		}
	}
	if err := rows.Err(); err != nil {
		return errand.Page{}, false, err
	}
	if last == 0 {
		return errand.Page{}, false, fmt.Errorf("a listing gave no row")
	}
	s.handOut()
	p.Tasks = s.page
	return p, known, s.err
}

// number reads an integer, which comes as text where the address asks for that.
func (s *pageScan) number(raw []byte) int64 {
	if s.format == pgx.BinaryFormatCode && len(raw) == 8 {
		return int64(binary.BigEndian.Uint64(raw))
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		s.err = err
	}
	return n
}

func (s *pageScan) add(raw [][]byte, of errand.Task) {
	s.page = append(s.page, of)
	t := &s.page[len(s.page)-1]
	for col := range pageTexts {
		s.put(raw[col])
	}
	if s.joined {
		s.put(raw[colInstance])
		t.Engine = engineOf(raw[colEngine])
	}
	if raw[colOrigin] != nil {
		t.Origin = &errand.Origin{}
	}
	if d := raw[colDetails]; len(d) > 0 {
		t.Details = append(json.RawMessage(nil), d...)
	}
	if raw[colPercent] != nil {
		t.Progress = &errand.Progress{Percent: int(s.number(raw[colPercent]))}
		if raw[colRemaining] != nil {
			t.Progress.Remaining = time.Duration(s.number(raw[colRemaining])) * time.Microsecond
		}
	}
	t.CreatedAt, t.UpdatedAt = at(s.number(raw[colCreatedAt])), at(s.number(raw[colUpdatedAt]))
}

func (s *pageScan) put(text []byte) {
	_, _ = s.text.Write(text)
	s.ends = append(s.ends, s.text.Len())
}

// handOut gives the tasks of a page their texts, in the order of add.
func (s *pageScan) handOut() {
	text, from, k := s.text.String(), 0, 0
	next := func() string {
		part := text[from:s.ends[k]]
		from, k = s.ends[k], k+1
		return part
	}
	for i := range s.page {
		t := &s.page[i]
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
		if s.joined {
			t.Instance = next()
		}
	}
}

func engineOf(name []byte) errand.Engine {
	for _, e := range [...]errand.Engine{errand.Kafka, errand.RocketMQ, errand.RabbitMQ, errand.Redis} {
		if string(name) == string(e) {
			return e
		}
	}
	return errand.Engine(name)
}
