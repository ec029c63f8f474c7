package sqlite

import (
	"fmt"
	"io/fs"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand/internal/stored"
)

// applicationID marks a file as ours in its header ("ErrD").
const applicationID = 0x45727244

// migrate brings the schema up to date, one transaction for each step. The
// caller holds the lock of the file. A file that cannot be used stays as it is.
func migrate(c *conn, path string, steps []stored.Migration) error {
	done, err := applied(c, path)
	if err != nil {
		return err
	}
	pending, err := stored.Pending(steps, done)
	if err != nil {
		return fmt.Errorf("database %s %w", path, err)
	}
	if err := c.script(`PRAGMA journal_mode = WAL`); err != nil {
		return cannotOpen(path, err)
	}
	for _, m := range pending {
		if err := apply(c, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.Name, cannotOpen(path, err))
		}
	}
	return nil
}

// applied returns the checksums of the migrations that the file has seen, after
// making sure that it is empty or ours.
func applied(c *conn, path string) ([]string, error) {
	tables, err := c.number(`SELECT count(*) FROM sqlite_schema`)
	if err != nil {
		return nil, cannotOpen(path, err)
	}
	id, err := c.number(`PRAGMA application_id`)
	if err != nil {
		return nil, cannotOpen(path, err)
	}
	if tables == 0 {
		return nil, nil
	}
	if id != applicationID {
		return nil, fmt.Errorf("database %s belongs to another program; name another file", path)
	}
	var sums []string
	err = c.rows(`SELECT version, checksum FROM migrations ORDER BY version`, func(st *sqlite.Stmt) error {
		sums = append(sums, st.ColumnText(1))
		if v := st.ColumnInt64(0); v != int64(len(sums)) {
			return fmt.Errorf("migration %d is missing from the record", len(sums))
		}
		return nil
	})
	if err != nil {
		return nil, cannotOpen(path, err)
	}
	return sums, nil
}

func apply(c *conn, m stored.Migration) error {
	if err := c.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	err := c.script(fmt.Sprintf(`PRAGMA application_id = %d;
		CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL);`, applicationID))
	if err == nil {
		err = c.script(m.Text)
	}
	if err == nil {
		err = c.exec(`INSERT INTO migrations VALUES (?, ?, ?)`, m.Version, m.Name, m.Checksum)
	}
	if err == nil {
		err = c.exec(`COMMIT`)
	}
	if err != nil && !c.AutocommitEnabled() {
		_ = c.exec(`ROLLBACK`)
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
