package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand/internal/stored"
)

// oldest is the oldest PostgreSQL that is supported, as server_version_num.
const oldest = 130000

// prepare connects once, makes sure that the database can be used, and brings
// its schema up to date.
func prepare(ctx context.Context, t *target, steps []stored.Migration) (schema string, err error) {
	c, err := t.connect(ctx)
	if err != nil {
		return "", t.refused(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if schema, err = examine(ctx, c); err == nil {
		err = migrate(ctx, c, steps)
	}
	if err == nil {
		err = unfinishedCopy(ctx, c)
	}
	if err != nil {
		return "", t.refused(err)
	}
	return schema, nil
}

// examine looks at what a server and a database are like, and returns the schema
// that tables are in.
func examine(ctx context.Context, c *pgx.Conn) (schema string, err error) {
	var version int
	var number, encoding string
	var standby, readOnly bool
	err = c.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding'),
		pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', coalesce(current_schema(), '')`).
		Scan(&version, &number, &encoding, &standby, &readOnly, &schema)
	switch {
	case err != nil:
		return "", err
	case version < oldest:
		return "", fmt.Errorf("the server is PostgreSQL %s; %d or newer is supported", number, oldest/10000)
	case encoding != "UTF8":
		return "", fmt.Errorf("its encoding is %s; create one with ENCODING 'UTF8' TEMPLATE template0", encoding)
	case standby:
		return "", errors.New("the server is a standby; name the primary, or all servers with commas between")
	case readOnly:
		return "", errors.New("it was set to read-only; see default_transaction_read_only")
	case schema == "":
		return "", errors.New("search_path names no schema that exists and that the user may use; CREATE SCHEMA makes one")
	}
	return schema, nil
}

// migrate brings the schema up to date in one transaction, one node at a time. A
// database that cannot be used stays as it is.
//
// Nodes of two releases share a database while they are replaced one by one: one
// that runs goes on, one that starts refuses a schema that is newer than itself.
// So a migration must leave the statements of the release before working: it adds
// tables, indexes and columns that may be NULL or have a default, and takes away
// only what that release did not use any more. It must also be quick, because it
// holds up what the old nodes do: what takes long is done in steps by the program.
func migrate(ctx context.Context, c *pgx.Conn, steps []stored.Migration) error {
	return pgx.BeginFunc(ctx, c, func(t pgx.Tx) error {
		// Who waits for another node's migration waits as long as it takes; who
		// waits for a table holds up those behind.
		if _, err := t.Exec(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(%d); SET LOCAL lock_timeout = '15s'`, lockMigrate)); err != nil {
			return err
		}
		done, err := applied(ctx, t)
		if err != nil {
			return err
		}
		pending, err := stored.Pending(steps, done)
		if err != nil {
			return fmt.Errorf("it %w", err)
		}
		for _, m := range pending {
			if err := apply(ctx, t, m); err != nil {
				return fmt.Errorf("migration %s: %w", m.Name, err)
			}
		}
		return complete(ctx, t, steps)
	})
}

// applied returns the checksums of the migrations that the schema has seen. They
// are also what says that it is ours.
func applied(ctx context.Context, t pgx.Tx) ([]string, error) {
	var there bool
	err := t.QueryRow(ctx, `SELECT to_regclass(quote_ident(current_schema()) || '.migrations') IS NOT NULL`).Scan(&there)
	if err != nil || !there {
		return nil, err
	}
	rows, err := t.Query(ctx, `SELECT version, checksum FROM migrations ORDER BY version`)
	if err != nil {
		return nil, foreign(err)
	}
	var sums []string
	var version int64
	var sum string
	_, err = pgx.ForEachRow(rows, []any{&version, &sum}, func() error {
		if sums = append(sums, sum); version != int64(len(sums)) {
			return fmt.Errorf("migration %d is missing from the record", len(sums))
		}
		return nil
	})
	return sums, foreign(err)
}

// apply runs a step. It needs no prepared statements: there are many in one text.
func apply(ctx context.Context, t pgx.Tx, m stored.Migration) error {
	_, err := t.Exec(ctx, `CREATE TABLE IF NOT EXISTS migrations (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)`)
	if err == nil {
		_, err = t.Exec(ctx, m.Text)
	}
	if err == nil {
		_, err = t.Exec(ctx, `INSERT INTO migrations (version, name, checksum) VALUES ($1, $2, $3)`, m.Version, m.Name, m.Checksum)
	}
	return foreign(err)
}

// foreign explains what comes of tables that others have made.
func foreign(err error) error {
	switch code(err) {
	case "42P07", "42701", "42703", "42883", "42804", "42P16":
		return fmt.Errorf("its schema holds tables that these migrations have not made: it was changed by hand, or belongs to another program; "+
			"name an empty database, or a schema of its own with search_path: %w", err)
	}
	return err
}

var createTable = regexp.MustCompile(`(?m)^CREATE (?:UNLOGGED )?TABLE (\w+)`)

// complete makes sure that what the migrations have made is there.
func complete(ctx context.Context, t pgx.Tx, steps []stored.Migration) error {
	var tables []string
	for _, m := range steps {
		for _, found := range createTable.FindAllStringSubmatch(m.Text, -1) {
			tables = append(tables, found[1])
		}
	}
	var missing *string
	err := t.QueryRow(ctx, `SELECT min(n) FROM unnest($1::text[]) AS n WHERE to_regclass(quote_ident(current_schema()) || '.' || n) IS NULL`, tables).Scan(&missing)
	if err == nil && missing != nil {
		err = fmt.Errorf("its table %s is missing, although the record of migrations says that it was made; restore it from a backup", *missing)
	}
	return err
}

// ownMigrations are those of this program.
func ownMigrations() ([]stored.Migration, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return stored.ReadMigrations(files)
}
