package sqlite

import (
	"cmp"
	"math"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand/internal/stored"
)

type delta = stored.Delta

// count notes that n tasks of r's place came or went.
func (t *tx) count(p place, createdAt, n int64) {
	b := createdAt >> stored.Finest
	t.counts = append(t.counts, delta{Scope: p.scope, Bucket: b, N: n}, delta{Scope: p.grp, Bucket: b, N: n})
}

// applyCounts saves what a group of callers changed, each count once.
func (c *conn) applyCounts(ds []delta) error {
	return stored.Rollup(ds, func(level int, ds []delta) error {
		for _, d := range ds {
			if err := c.applyCount(level, d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *conn) applyCount(level int, d delta) error {
	if d.N > 0 {
		return c.exec(`INSERT INTO counts (scope, level, bucket, n) VALUES (?, ?, ?, ?)
			ON CONFLICT (scope, level, bucket) DO UPDATE SET n = n + excluded.N`, d.Scope, level, d.Bucket, d.N)
	}
	err := c.exec(`DELETE FROM counts WHERE scope = ? AND level = ? AND bucket = ? AND n = ?`, d.Scope, level, d.Bucket, -d.N)
	if err != nil || c.Changes() > 0 {
		return err
	}
	return c.exec(`UPDATE counts SET n = n + ? WHERE scope = ? AND level = ? AND bucket = ?`, d.N, d.Scope, level, d.Bucket)
}

// part is one of the scopes whose tasks a listing adds up. Instances that were
// forgotten are subtracted from their group until their tasks are removed.
type part struct {
	scope int64
	group bool
	minus bool
}

func (p part) sign() int64 {
	if p.minus {
		return -1
	}
	return 1
}

const totalOf = `SELECT coalesce(sum(n), 0) FROM counts WHERE scope = ?1 AND level = 41`

// total counts the tasks of parts.
func (c *conn) total(parts []part) (int64, error) {
	var sum int64
	for _, p := range parts {
		n, err := c.int64s(totalOf, p.scope)
		if err != nil {
			return 0, err
		}
		sum += p.sign() * n
	}
	return sum, nil
}

// The later buckets of each size up to the end of the next larger one, and at
// last the rows of the bucket that from is in.
const (
	countedSince = `SELECT (SELECT coalesce(sum(n), 0) FROM counts WHERE scope = ?1 AND level = 41 AND bucket > ?2)
		+ (SELECT coalesce(sum(n), 0) FROM counts WHERE scope = ?1 AND level = 35 AND bucket > ?3 AND bucket < ?4)
		+ (SELECT coalesce(sum(n), 0) FROM counts WHERE scope = ?1 AND level = 29 AND bucket > ?5 AND bucket < ?6)
		+ (SELECT coalesce(sum(n), 0) FROM counts WHERE scope = ?1 AND level = 23 AND bucket > ?7 AND bucket < ?8)
		+ (SELECT count(*) FROM tasks WHERE `
	instanceSince = countedSince + `scope = ?1 AND created_at >= ?9 AND created_at < ?10)`
	groupSince    = countedSince + `grp = ?1 AND created_at >= ?9 AND created_at < ?10)`
)

// since counts the tasks of parts that were created at from or later.
func (c *conn) since(parts []part, from int64) (int64, error) {
	var sum int64
	for _, p := range parts {
		query := instanceSince
		if p.group {
			query = groupSince
		}
		n, err := c.int64s(query, p.scope,
			from>>41,
			from>>35, (from>>41+1)<<stored.Fanout,
			from>>29, (from>>35+1)<<stored.Fanout,
			from>>23, (from>>29+1)<<stored.Fanout,
			from, (from>>23+1)<<stored.Finest)
		if err != nil {
			return 0, err
		}
		sum += p.sign() * n
	}
	return sum, nil
}

// int64s is number without the cost of boxing its arguments.
func (c *conn) int64s(query string, args ...int64) (int64, error) {
	st, err := c.Prepare(query)
	if err != nil {
		return 0, err
	}
	for i, a := range args {
		st.BindInt64(i+1, a)
	}
	if _, err := st.Step(); err != nil {
		return 0, err
	}
	n := st.ColumnInt64(0)
	return n, st.Reset()
}

// cell is one bucket with what is in it.
type cell struct {
	bucket, n int64
}

// seek finds the task that has skip newer ones among all of parts: it is the
// one after rest tasks, newest first, of those created before end.
func (c *conn) seek(parts []part, skip int64) (end, rest int64, err error) {
	lo, hi, rest := int64(math.MinInt64), int64(math.MaxInt64), skip
	for level := stored.Coarsest; level >= stored.Finest; level -= stored.Fanout {
		if err := c.readCells(parts, level, lo, hi, rest); err != nil {
			return 0, 0, err
		}
		found := false
		for _, b := range c.cells {
			if rest < b.n {
				lo, hi, found = b.bucket<<stored.Fanout, (b.bucket+1)<<stored.Fanout, true
				end = (b.bucket + 1) << level
				break
			}
			rest -= b.n
		}
		if !found {
			return math.MinInt64, 0, nil // past the end
		}
	}
	return end, rest, nil
}

const bucketsOf = `SELECT bucket, n FROM counts WHERE scope = ?1 AND level = ?2 AND bucket >= ?3 AND bucket < ?4 ORDER BY bucket DESC`

// readCells reads the buckets from lo up to, not including, hi, newest first.
// It may stop once they hold more than enough.
func (c *conn) readCells(parts []part, level int, lo, hi, enough int64) error {
	c.cells = c.cells[:0]
	for _, p := range parts {
		st, err := c.Prepare(bucketsOf)
		if err != nil {
			return err
		}
		for i, a := range [...]int64{p.scope, int64(level), lo, hi} {
			st.BindInt64(i+1, a)
		}
		left := enough
		if err := c.readCellsOf(st, p, func(n int64) bool {
			left -= n
			return len(parts) == 1 && left < 0
		}); err != nil {
			return err
		}
	}
	if len(parts) > 1 {
		c.cells = addUp(c.cells)
	}
	return nil
}

func (c *conn) readCellsOf(st *sqlite.Stmt, p part, enough func(int64) bool) error {
	for {
		more, err := st.Step()
		if err != nil || !more {
			return err
		}
		n := st.ColumnInt64(1)
		c.cells = append(c.cells, cell{st.ColumnInt64(0), p.sign() * n})
		if enough(n) {
			return st.Reset()
		}
	}
}

// addUp merges cells of the same bucket, newest first.
func addUp(cells []cell) []cell {
	slices.SortFunc(cells, func(a, b cell) int { return cmp.Compare(b.bucket, a.bucket) })
	out := cells[:0]
	for _, b := range cells {
		if n := len(out); n > 0 && out[n-1].bucket == b.bucket {
			out[n-1].n += b.n
			continue
		}
		out = append(out, b)
	}
	return out
}
