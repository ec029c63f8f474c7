package upkeep

import (
	"context"
	"slices"
	"time"

	"github.com/errandhq/errand"
)

// The bounds of one transaction of a copy, and so of the memory that it takes.
const (
	batchRows  = 10_000
	batchBytes = 8 << 20
)

// The phases of a copy, as Progress tells them.
const (
	PhaseResume = "reading what an earlier run left in the target"
	PhaseSource = "reading the source"
	PhaseWrite  = "copying"
	PhaseVerify = "verifying"
)

// Progress is how far a copy has come.
type Progress struct {
	Phase   string
	Table   string
	Rows    int64         // of this phase
	Total   int64         // of this phase; 0: not known yet
	Elapsed time.Duration // in this phase
}

// Options may be left at zero.
type Options struct {
	// Progress is called every few thousand rows.
	Progress func(Progress)

	// Batch bounds the rows of one transaction. 0: 10000.
	Batch int
}

// TableResult is what became of one table.
type TableResult struct {
	Sum
	Target *Sum `json:"target,omitempty"` // where it differs
}

// Result is what a copy, or a comparison, found.
type Result struct {
	From    string        `json:"from"`
	To      string        `json:"to"`
	Equal   bool          `json:"equal"`
	Resumed bool          `json:"resumed,omitempty"`
	Rows    int64         `json:"rows"`
	Tables  []TableResult `json:"tables"`
}

// copier is one copy, or comparison, under way.
type copier struct {
	from   Reader
	to     Reader
	tables []Table
	report func(Progress)
	batch  int

	phase Progress
	start time.Time
}

func newCopier(ctx context.Context, from, to Reader, o Options) (*copier, error) {
	c := &copier{from: from, to: to, report: o.Progress, batch: o.Batch}
	if c.batch == 0 {
		c.batch = batchRows
	}
	if c.report == nil {
		c.report = func(Progress) {}
	}
	var err error
	if c.tables, err = from.Tables(ctx); err != nil {
		return nil, err
	}
	others, err := to.Tables(ctx)
	if err != nil {
		return nil, err
	}
	return c, sameTables(from.Name(), c.tables, to.Name(), others)
}

// Copy copies every row of from into to, which must be empty or hold what an
// earlier copy of the same database left when it was cut off: that one is
// continued. Both are read again and compared at the end; only then may a server
// use the target. An error leaves the target to be continued, or untouched.
//
// Errors: Conflict about "target" (it is not empty, or is of another source) or
// "schema", Invalid about "row" (rows that the target cannot keep; nothing has
// been written), Internal if the two differ in the end.
func Copy(ctx context.Context, from Reader, to Target, o Options) (Result, error) {
	c, err := newCopier(ctx, from, to, o)
	if err != nil {
		return Result{}, err
	}
	r := Result{From: from.Name(), To: to.Name()}
	source, err := c.identity(ctx)
	if err != nil {
		return r, err
	}
	begun, err := c.admit(ctx, to, source)
	if err != nil {
		return r, err
	}
	r.Resumed = begun
	var have []part
	if have, err = c.present(ctx, begun); err != nil {
		return r, err
	}
	sums, err := c.examine(ctx, to, have)
	if err != nil {
		return r, err
	}
	if !begun {
		if err := to.Begin(ctx, source); err != nil {
			return r, err
		}
	}
	for i := range have {
		r.Rows += sums[i].Rows
	}
	if err := c.write(ctx, to, have, r.Rows); err != nil {
		return r, err
	}
	if err := c.compare(ctx, &r, sums); err != nil {
		return r, err
	}
	if !r.Equal {
		return r, &errand.Error{Subject: "copy", Msg: "the target differs from the source after the copy, and must not be used; " +
			"remove what is in it and copy again, and report this with the table above"}
	}
	numbers, err := from.Numbers(ctx)
	if err != nil {
		return r, err
	}
	return r, to.Finish(ctx, numbers)
}

// Verify compares two databases and changes nothing.
func Verify(ctx context.Context, from, to Reader, o Options) (Result, error) {
	c, err := newCopier(ctx, from, to, o)
	if err != nil {
		return Result{}, err
	}
	r := Result{From: from.Name(), To: to.Name()}
	sums, err := c.examine(ctx, nil, make([]part, len(c.tables)))
	if err != nil {
		return r, err
	}
	for _, s := range sums {
		r.Rows += s.Rows
	}
	return r, c.compare(ctx, &r, sums)
}

// identity tells databases apart, not what they hold: an hour later a source is
// still the same. Each has check values of its own, made at its first start.
func (c *copier) identity(ctx context.Context) (string, error) {
	i := slices.IndexFunc(c.tables, func(t Table) bool { return t.Name == "checks" })
	if i < 0 {
		return "", errand.Errorf(errand.Conflict, "schema", "%s has no table checks", c.from.Name())
	}
	s, err := c.sum(ctx, c.from, c.tables[i], nil)
	return s.SHA256, err
}

// part is what a target has of a table already: its first rows.
type part struct {
	Sum
	last []any // the key of the last row
	good bool  // the source begins with the same rows
}

// present reads what an earlier run has written.
func (c *copier) present(ctx context.Context, begun bool) ([]part, error) {
	all := make([]part, len(c.tables))
	if !begun {
		return all, nil
	}
	c.begin(PhaseResume, 0)
	for i, t := range c.tables {
		var err error
		all[i].Sum, err = c.sum(ctx, c.to, t, func(row []any, _ *summer) error {
			all[i].last = row
			return nil
		})
		if err != nil {
			return nil, err
		}
		if all[i].last != nil {
			all[i].last = t.KeyOf(all[i].last)
		}
	}
	return all, nil
}

// examine reads the whole source: its sums, whether to can keep every value, and
// whether it begins with what is there already.
func (c *copier) examine(ctx context.Context, to Target, have []part) ([]Sum, error) {
	c.begin(PhaseSource, 0)
	var bad badValues
	var sums []Sum
	for i, t := range c.tables {
		s, err := c.sum(ctx, c.from, t, func(row []any, so *summer) error {
			if to != nil {
				bad.check(to, t, row)
			}
			if so.rows == have[i].Rows {
				have[i].good = so.sum(t).SHA256 == have[i].SHA256
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		sums = append(sums, s)
	}
	return sums, bad.err(c.to.Name())
}

// write copies what is missing.
func (c *copier) write(ctx context.Context, to Target, have []part, total int64) error {
	c.begin(PhaseWrite, total)
	for i, t := range c.tables {
		var after []any
		switch h := have[i]; {
		case h.Rows == 0:
		case h.good:
			after = h.last
			c.phase.Rows += h.Rows
		default: // the source has changed since
			if err := to.Clear(ctx, t); err != nil {
				return err
			}
		}
		if err := c.copyTable(ctx, to, t, after); err != nil {
			return err
		}
	}
	return nil
}

// copyTable reads one batch while the one before it is being written.
func (c *copier) copyTable(ctx context.Context, to Target, t Table, after []any) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	batches := make(chan [][]any)
	read := make(chan error, 1)
	go func() {
		defer close(batches)
		read <- c.batches(ctx, t, after, batches)
	}()
	var err error
	for rows := range batches {
		if err != nil {
			continue // the reader has been told to stop
		}
		if err = to.Write(ctx, t, rows); err != nil {
			stop(err)
			continue
		}
		c.note(t, int64(len(rows)))
	}
	if rerr := <-read; err == nil {
		err = rerr
	}
	return err
}

func (c *copier) batches(ctx context.Context, t Table, after []any, out chan<- [][]any) error {
	var rows [][]any
	size := 0
	send := func() error {
		if len(rows) == 0 {
			return nil
		}
		select {
		case out <- rows:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		rows, size = make([][]any, 0, len(rows)), 0
		return nil
	}
	err := c.from.Scan(ctx, t, after, func(row []any) error {
		rows, size = append(rows, row), size+sizeOf(row)
		if len(rows) < c.batch && size < batchBytes {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	return send()
}

// compare reads the target and holds it against the sums of the source.
func (c *copier) compare(ctx context.Context, r *Result, sums []Sum) error {
	c.begin(PhaseVerify, r.Rows)
	r.Equal = true
	for i, t := range c.tables {
		s, err := c.sum(ctx, c.to, t, nil)
		if err != nil {
			return err
		}
		found := TableResult{Sum: sums[i]}
		if s != sums[i] {
			found.Target, r.Equal = &s, false
		}
		r.Tables = append(r.Tables, found)
	}
	return nil
}

// sum reads a table. each, which may be nil, is told of every row after it was
// added.
func (c *copier) sum(ctx context.Context, r Reader, t Table, each func([]any, *summer) error) (Sum, error) {
	s := newSummer(t)
	err := r.Scan(ctx, t, nil, func(row []any) error {
		s.add(row)
		if s.rows%batchRows == 0 {
			c.note(t, batchRows)
		}
		if each == nil {
			return nil
		}
		return each(row, s)
	})
	c.note(t, s.rows%batchRows)
	return s.sum(t), err
}

func (c *copier) begin(phase string, total int64) {
	c.start, c.phase = time.Now(), Progress{Phase: phase, Total: total}
}

func (c *copier) note(t Table, rows int64) {
	c.phase.Table, c.phase.Elapsed = t.Name, time.Since(c.start)
	c.phase.Rows += rows
	if c.phase.Phase != "" {
		c.report(c.phase)
	}
}
