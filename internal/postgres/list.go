package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
)

// shortSkip is how many rows are passed over faster than the buckets that hold
// them are looked up.
const shortSkip = 100

// The planner does not know a LIMIT that is a parameter, and prepares for a tenth
// of all history. So pages up to a few sizes have that size in their statement,
// too; larger ones are planned each time. Sizes count what is passed over.
var pageSizes = [...]int64{20, 200, 2000}

// listing is the statements of one kind of list. They give up to $limit tasks after
// passing over $skip; within a range, those created from $from and before $end, and
// count those before $until.
type listing struct {
	whole, within [len(pageSizes) + 1]string // by size; within a range of time
	seek          string
}

// A listing is one statement, and so of one moment: one row at least, with the
// total and whether the instance is known, and tasks beside it, if there are any.
var (
	instanceListing = listingOf(ofScope, `(SELECT count(*) FROM instances WHERE scope = $scope::bigint)`, taskColumns,
		`FROM tasks t WHERE t.scope = $scope::bigint%[1]s ORDER BY t.created_at DESC, t.id DESC%[2]s`)

	// The instances leave out the tasks of those that were forgotten.
	groupListing = listingOf(ofGroups, `1::bigint`, joinedColumns,
		`FROM g CROSS JOIN LATERAL (SELECT * FROM (SELECT `+taskColumns+`, i.id AS instance, i.engine FROM tasks t JOIN instances i ON i.scope = t.scope
			WHERE t.grp = g.id%[1]s ORDER BY t.created_at DESC, t.id DESC%[2]s) t LIMIT $limit::bigint + $skip::bigint) t
			ORDER BY t.created_at DESC, t.id DESC`)
)

const joinedColumns = taskColumns + `, t.instance, t.engine`

func listingOf(p parts, known, columns, rows string) (l listing) {
	with := ``
	if p.with != "" {
		with = `WITH ` + p.with + ` `
	}
	page := func(total, in, fence string, names ...string) string {
		return p.numbered(fmt.Sprintf(`%sSELECT %s, h.known, h.total FROM (SELECT %s AS known, %s AS total OFFSET 0) h
			LEFT JOIN LATERAL (SELECT * FROM (SELECT %s %s) t LIMIT $limit::bigint OFFSET $skip::bigint) t ON true`,
			with, columns, known, total, columns, fmt.Sprintf(rows, in, fence)), names...)
	}
	for i := range l.whole {
		fence := ``
		if i < len(pageSizes) {
			fence = fmt.Sprintf(` LIMIT %d`, pageSizes[i])
		}
		l.whole[i] = page(p.total(), ``, fence, `$limit`, `$skip`)
		l.within[i] = page(p.since(`$from::bigint`)+` - `+p.since(`$until::bigint`), ` AND t.created_at >= $from::bigint AND t.created_at < $end::bigint`,
			fence, `$limit`, `$skip`, `$from`, `$end`, `$until`)
	}
	l.seek = p.seek()
	return l
}

// List implements tasks.Store.
func (s *Store) List(ctx context.Context, f errand.Filter) (errand.Page, error) {
	if f.Instance == "" {
		p, _, err := s.list(ctx, &groupListing, f, errand.Task{Project: f.Project}, f.Project, string(f.Engine))
		return p, err
	}
	for {
		at, remembered, err := s.home(ctx, f.Project, f.Instance)
		if err != nil {
			return errand.Page{}, err
		}
		p, known, err := s.list(ctx, &instanceListing, f, errand.Task{Project: f.Project, Instance: f.Instance, Engine: at.engine}, at.scope)
		if err != nil || known {
			return p, err
		}
		s.homes.drop(f.Project, f.Instance)
		if !remembered { // otherwise it may have been registered again, elsewhere
			return errand.Page{}, noInstance(f.Instance)
		}
	}
}

// list reads a page of l, which is about what parts says, and reports whether
// there is such a thing.
func (s *Store) list(ctx context.Context, l *listing, f errand.Filter, of errand.Task, parts ...any) (errand.Page, bool, error) {
	r := stored.ReachOf(f)
	r.Until = max(r.Until, r.From) // the wrong way round selects nothing
	q := pageQuery{limit: min(int64(max(f.Limit, 0)), stored.Forever), skip: min(int64(f.Offset), stored.Forever), reach: r, end: r.Until, parts: parts}
	var page errand.Page
	var known bool
	err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) (err error) {
		query, args, sized := q.statement(l)
		if q.skip > shortSkip || !sized {
			page, known, err = deepPage(ctx, c, l, q, of)
			return err
		}
		rows, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		page, known, err = readPage(rows, of)
		return err
	})
	return page, known, err
}

// pageQuery is what a page is to hold.
type pageQuery struct {
	limit, skip int64
	reach       stored.Reach
	end         int64 // no later task is on the page; at most reach.Until
	parts       []any
}

// statement returns what reads the page, and whether the planner knows its size.
func (q *pageQuery) statement(l *listing) (query string, args []any, sized bool) {
	of := &l.whole
	args = append(make([]any, 0, 8), q.limit, q.skip)
	if q.reach != (stored.Reach{From: stored.Always, Until: stored.Forever}) || q.end != stored.Forever {
		of, args = &l.within, append(args, q.reach.From, q.end, q.reach.Until)
	}
	args = append(args, q.parts...)
	for i, size := range pageSizes {
		if q.limit+q.skip <= size {
			return of[i], args, true
		}
	}
	return of[len(pageSizes)], args, false
}

const beginSnapshot = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`

// deepPage looks up where a page begins, unless that is near, and reads it, from
// one snapshot.
func deepPage(ctx context.Context, c *pgx.Conn, l *listing, q pageQuery, of errand.Task) (page errand.Page, known bool, err error) {
	defer func() {
		if err != nil {
			rollback(ctx, c)
		}
	}()
	b := &pgx.Batch{}
	b.Queue(beginSnapshot)
	if q.skip > shortSkip {
		b.Queue(l.seek, append([]any{q.skip, q.reach.Until}, q.parts...)...).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&q.end, &q.skip)
			if err == pgx.ErrNoRows { //nolint:errorlint // it is documented to be this very error
				q.limit, q.skip, err = 0, 0, nil // past the end: the total is all there is
			}
			return err
		})
	}
	if err := c.SendBatch(ctx, b).Close(); err != nil {
		return page, false, err
	}
	q.end = min(q.end, q.reach.Until)
	b = &pgx.Batch{}
	query, args, sized := q.statement(l)
	if !sized {
		b.Queue(`SET LOCAL plan_cache_mode = force_custom_plan`)
	}
	b.Queue(query, args...).Query(func(rows pgx.Rows) (err error) {
		page, known, err = readPage(rows, of)
		return err
	})
	b.Queue(`COMMIT`)
	err = c.SendBatch(ctx, b).Close()
	return page, known, err
}
