package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/upkeep"
)

var _ upkeep.Target = (*Dump)(nil)

// Dump is a database that is copied, or copied into, while no server uses it.
type Dump struct {
	path string
	lock *os.File
	c    *conn
}

// notCopied are the tables that belong to the file rather than to what it holds.
func notCopied() []string { return []string{"migrations", "pulse", copyState} }

// copyState is the table that is there as long as a copy into the database is
// not finished; its one row says of what.
const copyState = "copy_state"

// DumpSource opens the database at path to be read. No other process may have it,
// and its schema is brought up to date.
func DumpSource(path string) (*Dump, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, errand.Errorf(errand.NotFound, "database", "database %s does not exist", path)
	}
	d, err := openDump(path)
	if err != nil {
		return nil, err
	}
	if err := unfinishedCopy(d.c, d.path); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	// One moment for all reads, should another program write to the file.
	if err := d.c.script(`PRAGMA query_only = ON; BEGIN; SELECT 1 FROM migrations LIMIT 1`); err != nil {
		return nil, errors.Join(cannotOpen(d.path, err), d.Close())
	}
	return d, nil
}

// DumpTarget opens the database at path to be written, and makes it if there is
// none.
func DumpTarget(path string) (*Dump, error) {
	d, err := openDump(path)
	if err != nil {
		return nil, err
	}
	// What a crash of the machine takes is copied again. The log is emptied now
	// and then, and at the end.
	if err := d.c.script(`PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -65536`); err != nil {
		return nil, errors.Join(cannotOpen(d.path, err), d.Close())
	}
	return d, nil
}

// wholeFile is for connections that read all of a file, once: mapped, all of it
// would seem to be memory of this process.
const wholeFile = `PRAGMA mmap_size = 0; PRAGMA cache_size = -32768; PRAGMA temp_store = FILE`

// openDump opens the file for this process alone, with the schema up to date.
func openDump(path string) (*Dump, error) {
	steps, err := ownMigrations()
	if err != nil {
		return nil, err
	}
	if path, err = prepare(path); err != nil {
		return nil, err
	}
	d := &Dump{path: path}
	if d.lock, err = lock(path); err != nil {
		return nil, err
	}
	if d.c, err = connect(path, wholeFile); err != nil {
		return nil, errors.Join(cannotOpen(path, err), unlock(d.lock))
	}
	if err := migrate(d.c, path, steps); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// unfinishedCopy refuses a database that a copy has not been finished into.
func unfinishedCopy(c *conn, path string) error {
	n, err := c.number(`SELECT count(*) FROM sqlite_schema WHERE name = ?`, copyState)
	if err != nil {
		return cannotOpen(path, err)
	}
	if n > 0 {
		return errand.Errorf(errand.Conflict, "database", "database %s holds an unfinished copy; run `errand copy` again to finish it, or remove the file", path)
	}
	return nil
}

// Close lets go of the file.
func (d *Dump) Close() error {
	return errors.Join(d.c.Close(), unlock(d.lock))
}

// Name implements upkeep.Reader.
func (d *Dump) Name() string { return "sqlite:" + d.path }

// Tables implements upkeep.Reader.
func (d *Dump) Tables(ctx context.Context) ([]upkeep.Table, error) {
	return tablesOf(d.c)
}

func tablesOf(c *conn) ([]upkeep.Table, error) {
	var all []upkeep.Table
	keys := map[string][]string{} // by table, with the place in the key before the name
	err := c.rows(`SELECT t.name, c.name, c.type, c."notnull", c.pk FROM sqlite_schema t JOIN pragma_table_info(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY t.name, c.name`, func(st *sqlite.Stmt) error {
		table := st.ColumnText(0)
		if slices.Contains(notCopied(), table) {
			return nil
		}
		if len(all) == 0 || all[len(all)-1].Name != table {
			all = append(all, upkeep.Table{Name: table})
		}
		pk := st.ColumnInt64(4)
		c := upkeep.Column{Name: st.ColumnText(1), Null: !st.ColumnBool(3) && pk == 0}
		switch st.ColumnText(2) {
		case "INTEGER":
			c.Type = upkeep.Int
		case "TEXT":
			c.Type = upkeep.Text
		case "BLOB":
			c.Type = upkeep.Bytes
		default:
			return fmt.Errorf("column %s of table %s is of type %s", c.Name, table, st.ColumnText(2))
		}
		if pk > 0 {
			keys[table] = append(keys[table], fmt.Sprintf("%03d%s", pk, c.Name))
		}
		t := &all[len(all)-1]
		t.Columns = append(t.Columns, c)
		return nil
	})
	for i := range all {
		t := &all[i]
		for _, k := range slices.Sorted(slices.Values(keys[t.Name])) {
			t.Key = append(t.Key, slices.Index(t.Names(), k[3:]))
		}
		if len(t.Key) == 0 {
			return nil, fmt.Errorf("table %s has no primary key", t.Name)
		}
	}
	return all, err
}

// Scan implements upkeep.Reader. The event that stands for numbers that were given
// out is none: Numbers tells of it.
func (d *Dump) Scan(ctx context.Context, t upkeep.Table, after []any, row func([]any) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.c.SetInterrupt(ctx.Done())
	defer d.c.SetInterrupt(nil)
	key := strings.Join(t.Names(t.Key...), ", ")
	query := `SELECT ` + strings.Join(t.Names(), ", ") + ` FROM ` + t.Name + ` WHERE 1`
	if t.Name == "events" {
		query += ` AND project <> ''`
	}
	if after != nil {
		query += ` AND (` + key + `) > (` + marks(len(after)) + `)`
	}
	err := d.c.rows(query+` ORDER BY `+key, func(st *sqlite.Stmt) error {
		values := make([]any, len(t.Columns))
		for i := range values {
			values[i] = valueOf(st, i)
		}
		if err := checkTypes(t, values); err != nil {
			return err
		}
		return row(values)
	}, after...)
	if ctx.Err() != nil && sqlite.ErrCode(err) == sqlite.ResultInterrupt {
		return ctx.Err()
	}
	return classify(err)
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func valueOf(st *sqlite.Stmt, i int) any {
	switch st.ColumnType(i) {
	case sqlite.TypeInteger:
		return st.ColumnInt64(i)
	case sqlite.TypeText:
		return st.ColumnText(i)
	case sqlite.TypeBlob:
		return blob(st, i)
	case sqlite.TypeFloat:
		return st.ColumnFloat(i)
	}
	return nil
}

// checkTypes refuses a value that its column is not meant for, which SQLite
// itself would keep.
func checkTypes(t upkeep.Table, row []any) error {
	for i, c := range t.Columns {
		ok := false
		switch row[i].(type) {
		case int64:
			ok = c.Type == upkeep.Int
		case string:
			ok = c.Type == upkeep.Text
		case []byte:
			ok = c.Type == upkeep.Bytes
		case nil:
			ok = c.Null
		}
		if !ok {
			return errand.Errorf(errand.Invalid, "row", "table %s, row with %s, column %s: it holds %s, and only %s can be kept", t.Name, t.KeyText(row), c.Name, typeName(row[i]), c.Type)
		}
	}
	return nil
}

// typeName names the type of a value, which itself may be secret.
func typeName(v any) string {
	switch v.(type) {
	case int64:
		return upkeep.Int.String()
	case string:
		return upkeep.Text.String()
	case []byte:
		return upkeep.Bytes.String()
	case nil:
		return "NULL"
	}
	return "a number that is no integer"
}

// Numbers implements upkeep.Reader.
func (d *Dump) Numbers(ctx context.Context) (map[string]int64, error) {
	scopes, err := d.c.number(`SELECT seq FROM sqlite_sequence WHERE name = 'scopes'`)
	if err != nil {
		return nil, classify(err)
	}
	events, err := d.c.number(`SELECT max(seq) FROM events`)
	return map[string]int64{"scopes.id": scopes, "events.seq": events}, classify(err)
}

// Keeps implements upkeep.Target: SQLite keeps everything.
func (d *Dump) Keeps(any) string { return "" }

// Copying implements upkeep.Target.
func (d *Dump) Copying(context.Context) (string, error) {
	n, err := d.c.number(`SELECT count(*) FROM sqlite_schema WHERE name = ?`, copyState)
	if err != nil || n == 0 {
		return "", classify(err)
	}
	var source string
	err = d.c.rows(`SELECT source FROM `+copyState, func(st *sqlite.Stmt) error {
		source = st.ColumnText(0)
		return nil
	})
	return source, classify(err)
}

// Begin implements upkeep.Target.
func (d *Dump) Begin(_ context.Context, source string) error {
	return d.transact(func() error {
		if err := d.c.script(`CREATE TABLE ` + copyState + ` (source TEXT NOT NULL)`); err != nil {
			return err
		}
		return d.c.exec(`INSERT INTO `+copyState+` VALUES (?)`, source)
	})
}

func (d *Dump) transact(fn func() error) error {
	if err := d.c.exec(`BEGIN IMMEDIATE`); err != nil {
		return classify(err)
	}
	err := fn()
	if err == nil {
		err = d.c.exec(`COMMIT`)
	}
	if err != nil && !d.c.AutocommitEnabled() {
		_ = d.c.exec(`ROLLBACK`)
	}
	return classify(err)
}

// Write implements upkeep.Target.
func (d *Dump) Write(ctx context.Context, t upkeep.Table, rows [][]any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	query := `INSERT INTO ` + t.Name + ` (` + strings.Join(t.Names(), ", ") + `) VALUES (` + marks(len(t.Columns)) + `)`
	return d.transact(func() error {
		for _, row := range rows {
			if err := d.c.exec(query, row...); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// Clear implements upkeep.Target.
func (d *Dump) Clear(_ context.Context, t upkeep.Table) error {
	return d.transact(func() error { return d.c.exec(`DELETE FROM ` + t.Name) })
}

// Finish implements upkeep.Target.
func (d *Dump) Finish(ctx context.Context, numbers map[string]int64) error {
	if err := d.c.script(`PRAGMA synchronous = FULL`); err != nil {
		return classify(err)
	}
	err := d.transact(func() error {
		if err := d.c.raise(numbers); err != nil {
			return err
		}
		return d.c.script(`DROP TABLE ` + copyState)
	})
	if err != nil {
		return err
	}
	if _, err := d.c.checkpoint(); err != nil {
		return classify(err)
	}
	return syncDir(filepath.Dir(d.path))
}

// raise sees to it that no number of a scope or an event up to the given ones is
// given out again.
func (c *conn) raise(numbers map[string]int64) error {
	if n := numbers["events.seq"]; n > 0 {
		at, err := c.number(`SELECT at FROM events ORDER BY seq DESC LIMIT 1`)
		if err == nil {
			err = c.exec(standIn, n, at)
		}
		if err != nil {
			return err
		}
	}
	n := numbers["scopes.id"]
	if err := c.exec(`UPDATE sqlite_sequence SET seq = ? WHERE name = 'scopes' AND seq < ?`, n, n); err != nil {
		return err
	}
	return c.exec(`INSERT INTO sqlite_sequence (name, seq) SELECT 'scopes', ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'scopes')`, n)
}
