package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/errandhq/errand"
)

// maxBad is how many values that cannot be kept are named.
const maxBad = 20

// sameTables refuses databases of different versions.
func sameTables(a string, as []Table, b string, bs []Table) error {
	describe := func(t Table) string { return fmt.Sprint(t.Name, t.Columns, t.Key) }
	for _, p := range []struct {
		name, other string
		ours        []Table
		theirs      []Table
	}{{a, b, as, bs}, {b, a, bs, as}} {
		for _, t := range p.ours {
			i := slices.IndexFunc(p.theirs, func(o Table) bool { return o.Name == t.Name })
			if i < 0 {
				return errand.Errorf(errand.Conflict, "schema", "%s has a table %s that %s has not: bring both to the same version of errand first", p.name, t.Name, p.other)
			}
			if o := p.theirs[i]; describe(o) != describe(t) {
				return errand.Errorf(errand.Conflict, "schema", "table %s has other columns in %s than in %s: bring both to the same version of errand first", t.Name, p.name, p.other)
			}
		}
	}
	return nil
}

// admit reports whether a copy of source into to has begun already, and refuses
// a target that holds anything else.
func (c *copier) admit(ctx context.Context, to Target, source string) (begun bool, err error) {
	was, err := to.Copying(ctx)
	if err != nil {
		return false, err
	}
	if was != "" {
		if was != source {
			return false, errand.Errorf(errand.Conflict, "target", "%s holds an unfinished copy of another database; finish that, or use an empty target", to.Name())
		}
		return true, nil
	}
	var full []string
	for _, t := range c.tables {
		n, err := atLeast(ctx, to, t, 1000)
		if err != nil {
			return false, err
		}
		switch {
		case n >= 1000:
			full = append(full, t.Name+" (1000 rows or more)")
		case n > 0:
			full = append(full, fmt.Sprintf("%s (%d)", t.Name, n))
		}
	}
	if len(full) > 0 {
		return false, errand.Errorf(errand.Conflict, "target", "%s is not empty: it has rows in %s; copy into a new database, or see with --verify-only whether a copy came to its end", to.Name(), strings.Join(full, ", "))
	}
	return false, nil
}

var errEnough = errors.New("enough rows")

// atLeast counts the rows of a table up to limit.
func atLeast(ctx context.Context, r Reader, t Table, limit int) (int, error) {
	n := 0
	err := r.Scan(ctx, t, nil, func([]any) error {
		if n++; n == limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return n, err
}

// badValues are those that a target cannot keep.
type badValues struct {
	n     int
	first []string
}

func (b *badValues) check(to Target, t Table, row []any) {
	for i, v := range row {
		why := to.Keeps(v)
		if why == "" {
			continue
		}
		if b.n++; b.n <= maxBad {
			b.first = append(b.first, fmt.Sprintf("table %s, row with %s, column %s: %s", t.Name, t.KeyText(row), t.Columns[i].Name, why))
		}
	}
}

func (b *badValues) err(name string) error {
	if b.n == 0 {
		return nil
	}
	more := ""
	if b.n > maxBad {
		more = fmt.Sprintf("\nand %d more", b.n-maxBad)
	}
	return errand.Errorf(errand.Invalid, "row", "%s cannot keep %d values of the source; nothing was written now:\n%s%s", name, b.n, strings.Join(b.first, "\n"), more)
}
