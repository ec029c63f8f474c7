package upkeep

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
)

// levels are the sizes of the buckets that tasks are counted in: 2^level
// microseconds each, every one 64 of the one before.
var levels = [...]int{23, 29, 35, 41}

const fanout = 6 // as a shift

// cell is one count.
type cell struct {
	scope, bucket, n int64
}

func (a cell) compare(b cell) int {
	return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.bucket, b.bucket))
}

// wrongCell is a count that is not what it should be; 0 is none.
type wrongCell struct {
	level         int
	scope, bucket int64
	want, have    int64
}

// countStreams reads what counts are made from, in their order, and the counts.
func countStreams() []string {
	queries := []string{
		`SELECT scope, created_at FROM tasks ORDER BY scope, created_at`,
		`SELECT grp, created_at FROM tasks ORDER BY grp, created_at`,
	}
	for _, l := range levels {
		// Written like this, the order is plainly that of the primary key.
		queries = append(queries, fmt.Sprintf(`SELECT scope, bucket, n FROM counts WHERE level + 0 = %d ORDER BY scope, level, bucket`, l))
	}
	return queries
}

// countReader compares the counts of one level with the tasks, in one pass over
// both. Memory does not grow with either.
type countReader struct {
	level int
	next  Stream
	head  cell // of the stream
	more  bool
	run   cell // what the tasks seen last add up to
	wrong func(wrongCell) error
	finer *countReader // of the next smaller buckets; nil for the smallest
}

// report tells of a wrong count, after those of the buckets in it.
func (c *countReader) report(at cell, want, have int64) error {
	if c.finer != nil {
		if err := c.finer.skip(cell{at.scope, (at.bucket + 1) << fanout, 0}); err != nil {
			return err
		}
	}
	return c.wrong(wrongCell{c.level, at.scope, at.bucket, want, have})
}

func (c *countReader) advance() error {
	row, err := c.next()
	if c.more = row != nil; err != nil || !c.more {
		return err
	}
	c.head = cell{number(row[0]), number(row[1]), number(row[2])}
	return nil
}

func number(v any) int64 {
	n, _ := v.(int64)
	return n
}

// add counts a task.
func (c *countReader) add(scope, createdAt int64) error {
	bucket := createdAt >> c.level
	if c.run.n > 0 && c.run.scope == scope && c.run.bucket == bucket {
		c.run.n++
		return nil
	}
	err := c.flush()
	c.run = cell{scope, bucket, 1}
	return err
}

// flush compares the bucket that is complete.
func (c *countReader) flush() error {
	if c.run.n == 0 {
		return nil
	}
	if err := c.skip(c.run); err != nil {
		return err
	}
	var have int64
	if c.more && c.head.compare(c.run) == 0 {
		have = c.head.n
		if err := c.advance(); err != nil {
			return err
		}
	}
	if have == c.run.n {
		return nil
	}
	return c.report(c.run, c.run.n, have)
}

// skip passes over counts before a cell: no task is in them.
func (c *countReader) skip(to cell) error {
	for c.more && c.head.compare(to) < 0 {
		if err := c.report(c.head, 0, c.head.n); err != nil {
			return err
		}
		if err := c.advance(); err != nil {
			return err
		}
	}
	return nil
}

// end compares what is left.
func (c *countReader) end() error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.skip(cell{math.MaxInt64, math.MaxInt64, 0})
}

// eachWrongCount finds every count that is wrong; the smaller buckets of one come
// before it.
func (v *visit) eachWrongCount(ctx context.Context, wrong func(wrongCell) error) error {
	return v.Streams(ctx, countStreams(), func(all []Stream) error {
		var readers []*countReader
		for i, l := range levels {
			r := &countReader{level: l, next: all[2+i], wrong: wrong}
			if i > 0 {
				r.finer = readers[i-1]
			}
			if err := r.advance(); err != nil {
				return err
			}
			readers = append(readers, r)
		}
		err := merge(all[0], all[1], func(scope, createdAt int64) error {
			for _, r := range readers {
				if err := r.add(scope, createdAt); err != nil {
					return err
				}
			}
			return nil
		})
		for i := 0; i < len(readers) && err == nil; i++ {
			err = readers[i].end()
		}
		return err
	})
}

// merge calls each for the rows of two ordered streams, in order.
func merge(a, b Stream, each func(x, y int64) error) error {
	var heads [2]cell
	var more [2]bool
	advance := func(i int, s Stream) error {
		row, err := s()
		if more[i] = row != nil; more[i] && err == nil {
			heads[i] = cell{number(row[0]), number(row[1]), 0}
		}
		return err
	}
	streams := [2]Stream{a, b}
	for i, s := range streams {
		if err := advance(i, s); err != nil {
			return err
		}
	}
	for more[0] || more[1] {
		i := 0
		if !more[0] || more[1] && heads[1].compare(heads[0]) < 0 {
			i = 1
		}
		if err := each(heads[i].scope, heads[i].bucket); err != nil {
			return err
		}
		if err := advance(i, streams[i]); err != nil {
			return err
		}
	}
	return nil
}

func findCounts(ctx context.Context, v *visit) (n int64, example string, err error) {
	err = v.eachWrongCount(ctx, func(w wrongCell) error {
		if n++; n == 1 {
			example = fmt.Sprintf("scope %d, level %d, bucket %d: %d, and there are %d tasks", w.scope, w.level, w.bucket, w.have, w.want)
		}
		return nil
	})
	return n, example, err
}

// countsAtOnce is how many counts one transaction mends: while it does, no task
// comes or goes.
const countsAtOnce = 100

// mendCounts counts again where a count is wrong, from what is there then: the
// tasks of a smallest bucket, or the counts of the next smaller ones.
func mendCounts(ctx context.Context, v *visit) error {
	var batch []Statement
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := v.Mend(ctx, Lock{Counts: true}, batch...)
		batch = batch[:0]
		return err
	}
	err := v.eachWrongCount(ctx, func(w wrongCell) error {
		if batch = append(batch, recount(w)...); len(batch) < 2*countsAtOnce {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return err
}

func recount(w wrongCell) []Statement {
	n := `(SELECT count(*) FROM tasks WHERE scope = $1 AND created_at BETWEEN $4 AND $5) + (SELECT count(*) FROM tasks WHERE grp = $1 AND created_at BETWEEN $4 AND $5)`
	shift := w.level
	if w.level != levels[0] {
		n = fmt.Sprintf(`(SELECT CAST(coalesce(sum(n), 0) AS bigint) FROM counts WHERE scope = $1 AND level = %d AND bucket BETWEEN $4 AND $5)`, w.level-fanout)
		shift = fanout
	}
	first := w.bucket << shift
	cell := []any{w.scope, int64(w.level), w.bucket}
	return []Statement{
		{`DELETE FROM counts WHERE scope = $1 AND level = $2 AND bucket = $3`, cell},
		{`INSERT INTO counts (scope, level, bucket, n) SELECT CAST($1 AS bigint), CAST($2 AS bigint), CAST($3 AS bigint), n FROM (SELECT ` + n + ` AS n) x WHERE n > 0`,
			append(cell, first, first|(1<<shift-1))},
	}
}

// used are the columns that hold numbers that were given out.
var used = map[string]string{
	"scopes.id": `SELECT max(n) FROM (SELECT max(id) AS n FROM scopes UNION ALL SELECT max(scope) FROM instances UNION ALL SELECT max(scope) FROM forgotten
		UNION ALL SELECT max(scope) FROM tasks UNION ALL SELECT max(scope) FROM counts) x`,
	"events.seq": `SELECT max(seq) FROM events`,
}

// behind returns the columns whose next number was used, with the greatest that
// was.
func (v *visit) behind(ctx context.Context) (map[string]int64, string, error) {
	greatest := map[string]int64{}
	for column, sql := range used {
		err := v.Rows(ctx, Statement{SQL: sql}, func(row []any) error {
			greatest[column] = number(row[0])
			return nil
		})
		if err != nil {
			return nil, "", err
		}
	}
	// Only now: meanwhile more may have been given out.
	given, err := v.Numbers(ctx)
	if err != nil {
		return nil, "", err
	}
	late := map[string]int64{}
	var examples []string
	for column, n := range greatest {
		if n > given[column] {
			late[column] = n
			examples = append(examples, fmt.Sprintf("%s goes on after %d, and %d is there", column, given[column], n))
		}
	}
	return late, strings.Join(examples, "; "), nil
}

func findNumbers(ctx context.Context, v *visit) (int64, string, error) {
	late, example, err := v.behind(ctx)
	return int64(len(late)), example, err
}

func mendNumbers(ctx context.Context, v *visit) error {
	late, _, err := v.behind(ctx)
	if err != nil {
		return err
	}
	return v.Raise(ctx, late)
}
