package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/upkeep"
)

var _ upkeep.Patient = (*Patient)(nil)

// Patient is a database that is checked, beside the nodes that use it.
type Patient struct {
	name  string
	steps []stored.Migration
	c     *pgx.Conn // mends
	other *pgx.Conn // reads, also what c mends
}

// OpenPatient opens the database at url as it is: nothing in it changes unless
// it is mended.
func OpenPatient(ctx context.Context, url string) (*Patient, error) {
	steps, err := ownMigrations()
	if err != nil {
		return nil, err
	}
	t, err := parse(url)
	if err != nil {
		return nil, err
	}
	p := &Patient{name: nameOf(&t), steps: steps}
	if p.c, err = t.connect(ctx); err != nil {
		return nil, t.refused(err)
	}
	if p.other, err = t.connect(ctx); err != nil {
		return nil, errors.Join(t.refused(err), p.c.Close(ctx))
	}
	return p, nil
}

// Close lets go of the database.
func (p *Patient) Close() error {
	return errors.Join(p.other.Close(context.Background()), p.c.Close(context.Background()))
}

// Name implements upkeep.Patient.
func (p *Patient) Name() string { return p.name }

// Now implements upkeep.Patient.
func (p *Patient) Now(ctx context.Context) (now time.Time, err error) {
	err = p.other.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	return now, unfit(err)
}

// Examine implements upkeep.Patient.
func (p *Patient) Examine(ctx context.Context, _ upkeep.CheckOptions) ([]upkeep.Finding, bool, error) {
	var all []upkeep.Finding
	for _, look := range []func(context.Context) (upkeep.Finding, bool, error){
		p.server, p.durability, p.version, p.schema, p.copying, p.clock, p.nodes, p.nodeClocks,
	} {
		f, usable, err := look(ctx)
		if err != nil {
			return all, false, unfit(err)
		}
		if all = append(all, f); !usable {
			return all, false, nil
		}
	}
	return all, true, nil
}

// server checks what a node would refuse to start with.
func (p *Patient) server(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "server", What: "reasons for which a node would not start on this database"}
	if _, err := examine(ctx, p.other); err != nil {
		if code(err) != "" || lost(err) {
			return f, false, err
		}
		f.Severity, f.Count, f.Example, f.Act = upkeep.Bad, 1, err.Error(), "see to that first"
	}
	return f, f.Count == 0, nil
}

// durability warns of settings with which a crash may take what was acknowledged.
func (p *Patient) durability(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "durability", What: "settings of PostgreSQL with which a crash loses what was acknowledged, or tables grow"}
	rows, err := p.other.Query(ctx, `SELECT name || ' = ' || setting FROM pg_settings
		WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum') AND setting = 'off' ORDER BY name`)
	if err != nil {
		return f, false, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(found) > 0 {
		f.Severity, f.Count, f.Example = upkeep.Warn, int64(len(found)), strings.Join(found, ", ")
		f.Act = "switch them on in postgresql.conf, or with ALTER DATABASE or ROLE, and reload"
	}
	return f, true, err
}

// version compares the migrations that the database has seen with those of this
// program.
func (p *Patient) version(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "version", What: "migrations that are missing, or are not of this program"}
	var pending []stored.Migration
	var strange string
	err := pgx.BeginTxFunc(ctx, p.other, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(t pgx.Tx) error {
		done, err := applied(ctx, t)
		if err == nil {
			pending, err = stored.Pending(p.steps, done)
		}
		if err == nil && len(done) == 0 {
			strange, err = p.strange(ctx, t)
		}
		return err
	})
	switch {
	case err != nil && (lost(err) || ctx.Err() != nil || code(err) == "42501"):
		return f, false, err
	case err != nil:
		f.Severity, f.Count, f.Example, f.Act = upkeep.Bad, 1, "the schema "+err.Error(), "use the version of errand that wrote it"
		if code(err) != "" {
			f.Act = "name a database of errand, or a schema of its own with search_path"
		}
	case len(pending) == len(p.steps) && strange != "":
		f.Severity, f.Count, f.Example = upkeep.Bad, 1, "there is a table "+strange+", and no record of the migrations that make it"
		f.Act = "restore a backup if errand made it; else name an empty database, or a schema of its own with search_path"
	case len(pending) > 0:
		f.Severity, f.Count, f.Example = upkeep.Warn, int64(len(pending)), pending[0].Name
		f.Act = "start a node of this version, which brings the schema up to date, and check again"
	}
	return f, f.Count == 0, nil
}

// strange returns a table that has the name of one of ours, where no migration is
// on record, or "".
func (p *Patient) strange(ctx context.Context, t pgx.Tx) (name string, err error) {
	names := []string{"migrations"}
	for _, s := range p.steps {
		for _, found := range createTable.FindAllStringSubmatch(s.Text, -1) {
			names = append(names, found[1])
		}
	}
	err = t.QueryRow(ctx, `SELECT coalesce(min(n), '') FROM unnest($1::text[]) AS n
		WHERE to_regclass(quote_ident(current_schema()) || '.' || n) IS NOT NULL`, names).Scan(&name)
	return name, err
}

// unfit is classify for the doctor: what is wrong with rights and schema is a
// finding.
func unfit(err error) error {
	f := upkeep.Finding{Severity: upkeep.Bad, Count: 1}
	switch code(err) {
	case "42501":
		f.Check, f.What = "rights", "things that the user may not do in this database"
		f.Act = "use the user that owns the tables, or have the owner GRANT ALL ON ALL TABLES IN SCHEMA and ALL SEQUENCES IN SCHEMA to this one"
	case "42P01", "42703", "42883", "42804":
		f.Check, f.What = "schema", "difference at least: the schema is not as the migrations made it"
		f.Act = "a table or column that is gone has taken its content along: restore a backup"
	default:
		return classify(err)
	}
	pg, _ := errors.AsType[*pgconn.PgError](err)
	f.Example = pg.Message
	return &upkeep.Unfit{Finding: f, Err: err}
}

var (
	createIndex = regexp.MustCompile(`(?m)^CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(\w+)`)
	dropped     = regexp.MustCompile(`(?m)^DROP (?:TABLE|INDEX) (?:CONCURRENTLY )?(?:IF EXISTS )?(\w+)`)
)

// schema looks for the tables and indexes that the migrations have made.
func (p *Patient) schema(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "schema", What: "tables and indexes that are missing, or not valid"}
	kinds := map[string]string{}
	for _, s := range p.steps {
		for kind, made := range map[string]*regexp.Regexp{"table": createTable, "index": createIndex} {
			for _, found := range made.FindAllStringSubmatch(s.Text, -1) {
				kinds[found[1]] = kind
			}
		}
		for _, found := range dropped.FindAllStringSubmatch(s.Text, -1) {
			delete(kinds, found[1])
		}
	}
	rows, err := p.other.Query(ctx, `SELECT c.relname FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
		WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND coalesce(i.indisvalid, true)`)
	if err != nil {
		return f, false, err
	}
	have, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return f, false, err
	}
	for _, name := range have {
		delete(kinds, name)
	}
	usable := true
	var missing []string
	for name, kind := range kinds {
		missing = append(missing, kind+" "+name)
		usable = usable && kind != "table"
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		f.Severity, f.Count, f.Example = upkeep.Bad, int64(len(missing)), strings.Join(missing, ", ")
		f.Act = "make them again as the migrations do, or restore a backup"
	}
	return f, usable, nil
}

func (p *Patient) copying(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "copy", What: "unfinished copies into this database"}
	there, err := hasTable(ctx, p.other, copyState)
	if there {
		f.Severity, f.Count, f.Act = upkeep.Bad, 1, "run `errand copy` again to finish it, or make an empty database"
	}
	return f, !there, err
}

// fast is how far a clock may be off without a word.
const fast = 2 * time.Second

// clock compares this machine's with the database's.
func (p *Patient) clock(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "clock", What: "clocks (this machine's) that are not the database's"}
	before := time.Now()
	theirs, err := p.Now(ctx)
	if err != nil {
		return f, false, err
	}
	trip := time.Since(before)
	if ahead := before.Add(trip / 2).Sub(theirs); ahead.Abs() > fast+trip {
		f.Severity, f.Count, f.Example = upkeep.Warn, 1, fmt.Sprintf("it is %s ahead", ahead.Round(time.Millisecond))
		f.Act = "set it: nodes go by the database's time, but their logs and what others sign are of their own"
	}
	return f, true, nil
}

// seenNodes are the nodes that said something within the last minute.
func (p *Patient) seenNodes(ctx context.Context) ([]tasks.Node, error) {
	rows, err := p.other.Query(ctx, `SELECT id, node FROM nodes WHERE seen > clock_timestamp() - interval '1 minute' ORDER BY id LIMIT $1`, maxNodes)
	if err != nil {
		return nil, err
	}
	var all []tasks.Node
	var id, text string
	_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() error {
		n := tasks.Node{}
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			return fmt.Errorf("node %s: %w", id, err)
		}
		n.ID = id
		all = append(all, n)
		return nil
	})
	return all, err
}

func (p *Patient) nodes(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "nodes", What: "nodes that were seen within the last minute"}
	all, err := p.seenNodes(ctx)
	var names []string
	for _, n := range all {
		names = append(names, strings.TrimSpace(n.Name+" "+n.Version))
	}
	f.Count, f.Example = int64(len(all)), strings.Join(names[:min(5, len(names))], ", ")
	return f, true, err
}

func (p *Patient) nodeClocks(ctx context.Context) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "node-clocks", What: "nodes whose clock is not the database's"}
	all, err := p.seenNodes(ctx)
	for _, n := range all {
		if n.Skew.Abs() <= fast {
			continue
		}
		if f.Count++; f.Count == 1 {
			f.Example = fmt.Sprintf("%s is %s ahead", n.Name, n.Skew.Round(time.Millisecond))
		}
		f.Severity, f.Act = upkeep.Warn, "set them: nodes go by the database's time, but their logs and what others sign are of their own"
	}
	return f, true, err
}

// Rows implements upkeep.Patient.
func (p *Patient) Rows(ctx context.Context, s upkeep.Statement, row func([]any) error) error {
	rows, err := p.other.Query(ctx, s.SQL, s.Args...)
	if err != nil {
		return unfit(err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return unfit(rows.Err())
}

// fetch is how many rows a stream reads at once.
const fetch = 2000

// Streams implements upkeep.Patient, with a cursor for each query.
func (p *Patient) Streams(ctx context.Context, queries []string, fn func([]upkeep.Stream) error) error {
	return unfit(pgx.BeginTxFunc(ctx, p.other, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(t pgx.Tx) error {
		if _, err := t.Exec(ctx, inOrder); err != nil {
			return err
		}
		var all []upkeep.Stream
		for i, q := range queries {
			name := fmt.Sprintf("stream_%d", i)
			if _, err := t.Exec(ctx, `DECLARE `+name+` NO SCROLL CURSOR FOR `+q); err != nil {
				return err
			}
			all = append(all, cursor(ctx, t, name))
		}
		return fn(all)
	}))
}

func cursor(ctx context.Context, t pgx.Tx, name string) upkeep.Stream {
	query := fmt.Sprintf(`FETCH FORWARD %d FROM %s`, fetch, name)
	var page [][]any
	next, ended := 0, false
	return func() ([]any, error) {
		if next == len(page) && !ended {
			rows, err := t.Query(ctx, query)
			if err != nil {
				return nil, err
			}
			page, err = pgx.AppendRows(page[:0], rows, func(r pgx.CollectableRow) ([]any, error) { return r.Values() })
			if err != nil {
				return nil, err
			}
			next, ended = 0, len(page) < fetch
		}
		if next == len(page) {
			return nil, nil
		}
		next++
		return page[next-1], nil
	}
}

// Mend implements upkeep.Patient.
func (p *Patient) Mend(ctx context.Context, lock upkeep.Lock, all ...upkeep.Statement) (sum int64, err error) {
	b := &pgx.Batch{}
	switch {
	case lock.Counts:
		b.Queue(takeLock, int64(lockCommit))
	case lock.Lane != "":
		queueLocks(b, []int64{instanceLock(lock.Scope)}, []int64{laneLock(lock.Scope, lock.Lane)})
	case lock.ID != "":
		queueLocks(b, []int64{instanceLock(lock.Scope)}, []int64{taskLock(lock.Project, lock.ID)})
	}
	locks := b.Len()
	for _, s := range all {
		b.Queue(s.SQL, s.Args...)
	}
	// What is locked is read as it is once the lock is held.
	err = pgx.BeginTxFunc(ctx, p.c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(t pgx.Tx) error {
		br := t.SendBatch(ctx, b)
		for i := range b.Len() {
			tag, err := br.Exec()
			if err != nil {
				return errors.Join(err, br.Close())
			}
			if i >= locks {
				sum += tag.RowsAffected()
			}
		}
		return br.Close()
	})
	return sum, unfit(err)
}

// Numbers implements upkeep.Patient.
func (p *Patient) Numbers(ctx context.Context) (map[string]int64, error) {
	return (&Dump{c: p.other}).Numbers(ctx)
}

// Raise implements upkeep.Patient.
func (p *Patient) Raise(ctx context.Context, numbers map[string]int64) error {
	return unfit(pgx.BeginFunc(ctx, p.c, func(tx pgx.Tx) error {
		for column, n := range numbers {
			if err := raise(ctx, tx, column, n); err != nil {
				return err
			}
		}
		return nil
	}))
}
