package sqlite

import (
	"cmp"
	"math"
	"slices"

	"zombiezen.com/go/sqlite"
)

// Tasks are counted per scope in buckets of four sizes: 2^23 µs (8.4 s), 2^29
// (8.9 min), 2^35 (9.5 h) and 2^41 (25 d). A bucket of one size holds 64 of the
// next smaller one, so a total, a range or an offset reads a few dozen counts
// at each level and the rows of one smallest bucket, whatever the history.
const (
	finest   = 23
	fanout   = 6 // as a shift
	coarsest = 41
)

// delta says that n tasks of an instance and of its group came (or went, below
// zero) in a smallest bucket.
type delta struct {
	scope, bucket, n int64
}

// count notes that n tasks of r's place came or went.
func (t *tx) count(p place, createdAt, n int64) {
	b := createdAt >> finest
	t.counts = append(t.counts, delta{p.scope, b, n}, delta{p.grp, b, n})
}

// applyCounts saves what a group of callers changed, each count once.
func (c *conn) applyCounts(ds []delta) error {
	slices.SortFunc(ds, func(a, b delta) int {
		return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.bucket, b.bucket))
	})
	for level := finest; level <= coarsest; level += fanout {
		ds = merge(ds)
		for i := range ds {
			if err := c.applyCount(level, ds[i]); err != nil {
				return err
			}
			ds[i].bucket >>= fanout // the order stays
		}
	}
	return nil
}

// merge adds up neighbours of the same bucket and drops what cancels out.
func merge(ds []delta) []delta {
	out := ds[:0]
	for i := 0; i < len(ds); {
		d := ds[i]
		for i++; i < len(ds) && ds[i].scope == d.scope && ds[i].bucket == d.bucket; i++ {
			d.n += ds[i].n
		}
		if d.n != 0 {
			out = append(out, d)
		}
	}
	return out
}

func (c *conn) applyCount(level int, d delta) error {
	if d.n > 0 {
		return c.exec(`INSERT INTO counts (scope, level, bucket, n) VALUES (?, ?, ?, ?)
			ON CONFLICT (scope, level, bucket) DO UPDATE SET n = n + excluded.n`, d.scope, level, d.bucket, d.n)
	}
	err := c.exec(`DELETE FROM counts WHERE scope = ? AND level = ? AND bucket = ? AND n = ?`, d.scope, level, d.bucket, -d.n)
	if err != nil || c.Changes() > 0 {
		return err
	}
	return c.exec(`UPDATE counts SET n = n + ? WHERE scope = ? AND level = ? AND bucket = ?`, d.n, d.scope, level, d.bucket)
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
			from>>35, (from>>41+1)<<fanout,
			from>>29, (from>>35+1)<<fanout,
			from>>23, (from>>29+1)<<fanout,
			from, (from>>23+1)<<finest)
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
	for level := coarsest; level >= finest; level -= fanout {
		if err := c.readCells(parts, level, lo, hi, rest); err != nil {
			return 0, 0, err
		}
		found := false
		for _, b := range c.cells {
			if rest < b.n {
				lo, hi, found = b.bucket<<fanout, (b.bucket+1)<<fanout, true
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
