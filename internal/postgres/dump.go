package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/upkeep"
)

var _ upkeep.Target = (*Dump)(nil)

// lockCopy is held, by its session, by the one copy that writes to a database.
const lockCopy = 0x45727244_00000010

// copyState is the table that is there as long as a copy into the database is
// not finished; its one row says of what.
const copyState = "copy_state"

// notCopied are the tables that belong to the database rather than to what it
// holds.
func notCopied() []string { return []string{"migrations", "pulse", "nodes", copyState} }

// Dump is a database that is copied, or copied into, while no node uses it.
type Dump struct {
	name string
	c    *pgx.Conn
	tx   pgx.Tx // of a source: all that is read is of one moment

	pooled bool // a pooler is between
}

// DumpSource opens the database at url to be read as of now, with its schema up
// to date. Unless it is forced it refuses with Conflict about "nodes" while nodes
// use the database: what they change meanwhile would be missing from a copy.
func DumpSource(ctx context.Context, url string, force bool) (*Dump, error) {
	d, err := openDump(ctx, url, force)
	if err != nil {
		return nil, err
	}
	if err = unfinishedCopy(ctx, d.c); err == nil {
		d.tx, err = d.c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	}
	if err == nil {
		_, err = d.tx.Exec(ctx, inOrder)
	}
	if err != nil {
		return nil, errors.Join(classify(err), d.Close())
	}
	return d, nil
}

// DumpTarget opens the database at url to be written, with its schema up to
// date. No node may use it, and no other copy.
func DumpTarget(ctx context.Context, url string) (*Dump, error) {
	d, err := openDump(ctx, url, false)
	if err != nil {
		return nil, err
	}
	if d.pooled { // a session's lock would stay with the pooler
		err := errand.Errorf(errand.Invalid, "target", "%s is a pooler that hands connections from transaction to transaction; copy to the address of the database itself", d.name)
		return nil, errors.Join(err, d.Close())
	}
	// One that was killed holds the lock until the database has noticed.
	err = pgx.BeginFunc(ctx, d.c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '5s'`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(lockCopy))
		return err
	})
	if code(err) == "55P03" {
		err = errand.Errorf(errand.Conflict, "target", "another copy is writing to %s", d.name)
	}
	if err != nil {
		return nil, errors.Join(classify(err), d.Close())
	}
	return d, nil
}

func openDump(ctx context.Context, url string, force bool) (*Dump, error) {
	steps, err := ownMigrations()
	if err != nil {
		return nil, err
	}
	t, err := parse(url)
	if err != nil {
		return nil, err
	}
	c, err := t.connect(ctx)
	if err != nil {
		return nil, t.refused(err)
	}
	d := &Dump{name: nameOf(&t), c: c, pooled: t.pooled}
	if _, err = examine(ctx, c); err == nil {
		err = migrate(ctx, c, steps)
	}
	if err != nil {
		return nil, errors.Join(t.refused(err), d.Close())
	}
	if !force {
		if err := noNodes(ctx, c, d.name); err != nil {
			return nil, errors.Join(classify(err), d.Close())
		}
	}
	return d, nil
}

// nameOf is what people are told of the address.
func nameOf(t *target) string {
	c := t.config.ConnConfig
	return fmt.Sprintf("postgres://%s@%s/%s", c.User, strings.Join(hosts(c), ","), c.Database)
}

// noNodes refuses a database that is in use.
func noNodes(ctx context.Context, c *pgx.Conn, name string) error {
	var n int
	if err := c.QueryRow(ctx, `SELECT count(*) FROM nodes WHERE seen > clock_timestamp() - interval '1 minute'`).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return errand.Errorf(errand.Conflict, "nodes", "%s is in use: %d nodes were seen within the last minute; stop them first", name, n)
	}
	return nil
}

// unfinishedCopy refuses a database that a copy has not been finished into.
func unfinishedCopy(ctx context.Context, c *pgx.Conn) error {
	there, err := hasTable(ctx, c, copyState)
	if err == nil && there {
		err = errand.Errorf(errand.Conflict, "database", "it holds an unfinished copy; run `errand copy` again to finish it, or make an empty database")
	}
	return err
}

// hasTable reports whether the schema has a table of that name.
func hasTable(ctx context.Context, c querier, name string) (there bool, err error) {
	err = c.QueryRow(ctx, `SELECT to_regclass(quote_ident(current_schema()) || '.' || $1) IS NOT NULL`, name).Scan(&there)
	return there, err
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Close lets go of the database.
func (d *Dump) Close() error { return d.c.Close(context.Background()) }

// Name implements upkeep.Reader.
func (d *Dump) Name() string { return d.name }

func (d *Dump) querier() querier {
	if d.tx != nil {
		return d.tx
	}
	return d.c
}

const columnsOf = `SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attnotnull,
		coalesce(array_position(string_to_array(i.indkey::text, ' ')::int[], a.attnum::int), 0)
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
	WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> ALL ($1)
	ORDER BY c.relname COLLATE "C", a.attname COLLATE "C"`

// Tables implements upkeep.Reader.
func (d *Dump) Tables(ctx context.Context) ([]upkeep.Table, error) {
	rows, err := d.querier().Query(ctx, columnsOf, notCopied())
	if err != nil {
		return nil, classify(err)
	}
	var all []upkeep.Table
	keys := map[string]map[int]int{} // columns by their place in the key, by table
	var table, column, kind string
	var notNull bool
	var pk int
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &kind, &notNull, &pk}, func() error {
		if len(all) == 0 || all[len(all)-1].Name != table {
			all, keys[table] = append(all, upkeep.Table{Name: table}), map[int]int{}
		}
		t := &all[len(all)-1]
		c := upkeep.Column{Name: column, Type: typesOf[kind], Null: !notNull}
		if c.Type == 0 {
			return fmt.Errorf("column %s of table %s is of type %s", column, table, kind)
		}
		if pk > 0 {
			keys[table][pk] = len(t.Columns)
		}
		t.Columns = append(t.Columns, c)
		return nil
	})
	for i := range all {
		key := keys[all[i].Name]
		if len(key) == 0 && err == nil {
			return nil, fmt.Errorf("table %s has no primary key", all[i].Name)
		}
		for n := 1; n <= len(key); n++ {
			all[i].Key = append(all[i].Key, key[n])
		}
	}
	return all, classify(err)
}

var typesOf = map[string]upkeep.Type{"bigint": upkeep.Int, "text": upkeep.Text, "bytea": upkeep.Bytes}

// inOrder makes the database read a table along its key instead of sorting all
// of it first, in a transaction that may have to wait for another database.
const inOrder = `SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL max_parallel_workers_per_gather = 0`

// Scan implements upkeep.Reader.
func (d *Dump) Scan(ctx context.Context, t upkeep.Table, after []any, row func([]any) error) error {
	if d.tx != nil {
		return d.scan(ctx, d.tx, t, after, row)
	}
	// The rows of a target may change between two scans, and in none.
	err := pgx.BeginTxFunc(ctx, d.c, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, inOrder); err != nil {
			return err
		}
		return d.scan(ctx, tx, t, after, row)
	})
	return classify(err)
}

func (d *Dump) scan(ctx context.Context, tx pgx.Tx, t upkeep.Table, after []any, row func([]any) error) error {
	key := list(t.Names(t.Key...))
	query := `SELECT ` + list(t.Names()) + ` FROM ` + pgx.Identifier{t.Name}.Sanitize()
	if after != nil {
		var marks []string
		for i := range after {
			marks = append(marks, fmt.Sprintf("$%d", i+1))
		}
		query += ` WHERE (` + key + `) > (` + strings.Join(marks, ", ") + `)`
	}
	rows, err := tx.Query(ctx, query+` ORDER BY `+key, after...)
	if err != nil {
		return classify(err)
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
	return classify(rows.Err())
}

// list quotes names of columns.
func list(names []string) string {
	quoted := slices.Clone(names)
	for i, n := range names {
		quoted[i] = pgx.Identifier{n}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// Numbers implements upkeep.Reader.
func (d *Dump) Numbers(ctx context.Context) (map[string]int64, error) {
	rows, err := d.querier().Query(ctx, `SELECT c.relname || '.' || a.attname, coalesce(pg_sequence_last_value(pg_get_serial_sequence(quote_ident(c.relname), a.attname)::regclass), 0)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND a.attidentity <> ''`)
	if err != nil {
		return nil, classify(err)
	}
	numbers := map[string]int64{}
	var name string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&name, &n}, func() error {
		numbers[name] = n
		return nil
	})
	return numbers, classify(err)
}

// Keeps implements upkeep.Target.
func (d *Dump) Keeps(v any) string {
	s, ok := v.(string)
	switch {
	case !ok:
		return ""
	case strings.IndexByte(s, 0) >= 0:
		return "it holds a NUL character, which PostgreSQL keeps in no text"
	case !utf8.ValidString(s):
		return "it is not UTF-8"
	}
	return ""
}

// Copying implements upkeep.Target.
func (d *Dump) Copying(ctx context.Context) (source string, err error) {
	there, err := hasTable(ctx, d.c, copyState)
	if err == nil && there {
		err = d.c.QueryRow(ctx, `SELECT source FROM copy_state`).Scan(&source)
	}
	return source, classify(err)
}

// Begin implements upkeep.Target.
func (d *Dump) Begin(ctx context.Context, source string) error {
	return classify(pgx.BeginFunc(ctx, d.c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, takeLock, int64(lockMigrate)); err != nil { // nodes start before or after, and not meanwhile
			return err
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE copy_state (source text NOT NULL)`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO copy_state (source) VALUES ($1)`, source)
		return err
	}))
}

// Write implements upkeep.Target.
func (d *Dump) Write(ctx context.Context, t upkeep.Table, rows [][]any) error {
	return classify(pgx.BeginFunc(ctx, d.c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil { // what a crash takes is copied again
			return err
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{t.Name}, t.Names(), pgx.CopyFromRows(rows))
		return err
	}))
}

// Clear implements upkeep.Target.
func (d *Dump) Clear(ctx context.Context, t upkeep.Table) error {
	_, err := d.c.Exec(ctx, `TRUNCATE `+pgx.Identifier{t.Name}.Sanitize())
	return classify(err)
}

// Finish implements upkeep.Target.
func (d *Dump) Finish(ctx context.Context, numbers map[string]int64) error {
	tables, err := d.Tables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables { // nodes plan well from the first call on
		if _, err := d.c.Exec(ctx, `ANALYZE `+pgx.Identifier{t.Name}.Sanitize()); err != nil {
			return classify(err)
		}
	}
	return classify(pgx.BeginFunc(ctx, d.c, func(tx pgx.Tx) error {
		for column, n := range numbers {
			if err := raise(ctx, tx, column, n); err != nil {
				return err
			}
		}
		// What was written before is durable with this.
		if _, err := tx.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DROP TABLE copy_state`)
		return err
	}))
}

// raise sees to it that the numbers of a column, as "table.column", go on beyond
// n, beyond those that are there, and never begin again. Nobody draws one
// meanwhile.
func raise(ctx context.Context, tx pgx.Tx, tableColumn string, n int64) error {
	table, column, _ := strings.Cut(tableColumn, ".")
	name := pgx.Identifier{table}.Sanitize()
	if _, err := tx.Exec(ctx, `LOCK TABLE `+name+` IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`SELECT setval(seq, m) FROM (SELECT seq, greatest($3, pg_sequence_last_value(seq), (SELECT max(%s) FROM %s)) AS m
		FROM (SELECT pg_get_serial_sequence($1, $2)::regclass AS seq) s) x WHERE m > 0`, pgx.Identifier{column}.Sanitize(), name), table, column, n)
	return err
}
