package sqlite

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"
)

// applicationID marks a file as ours in its header ("ErrD").
const applicationID = 0x45727244

// migration is one step of the schema. Steps go forward only, and one that has
// been released never changes.
type migration struct {
	version  int64
	name     string
	text     string
	checksum string
}

// readMigrations reads NNNN_name.sql files, which must be numbered from 1.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, name := range names { // in the order of their names
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i+1) {
			return nil, fmt.Errorf("migration %s is not number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{version, name, string(text), hex.EncodeToString(sum[:])})
	}
	return all, nil
}

// migrate brings the schema up to date, one transaction for each step. The
// caller holds the lock of the file. A file that cannot be used stays as it is.
func migrate(c *conn, path string, steps []migration) error {
	done, err := applied(c, path)
	if err != nil {
		return err
	}
	if len(done) > len(steps) {
		return fmt.Errorf("database %s has schema version %d, this program knows versions up to %d; use the version of errand that wrote it, or a newer one", path, len(done), len(steps))
	}
	for i := range done {
		if done[i] != steps[i].checksum {
			return fmt.Errorf("database %s was made by another build: its migration %s differs from the one in this program; use the build that wrote it", path, steps[i].name)
		}
	}
	if err := c.script(`PRAGMA journal_mode = WAL`); err != nil {
		return cannotOpen(path, err)
	}
	for _, m := range steps[len(done):] {
		if err := apply(c, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, cannotOpen(path, err))
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

func apply(c *conn, m migration) error {
	if err := c.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	err := c.script(fmt.Sprintf(`PRAGMA application_id = %d;
		CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL);`, applicationID))
	if err == nil {
		err = c.script(m.text)
	}
	if err == nil {
		err = c.exec(`INSERT INTO migrations VALUES (?, ?, ?)`, m.version, m.name, m.checksum)
	}
	if err == nil {
		err = c.exec(`COMMIT`)
	}
	if err != nil && !c.AutocommitEnabled() {
		_ = c.exec(`ROLLBACK`)
	}
	return err
}
