package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/config"
)

func (a *app) backupCmd() *cobra.Command {
	cmd := a.clientCmd("backup FILE", "Copy the server's database while it runs", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		size, err := saveBackup(args[0], func(f *os.File) (int64, error) { return s.Backup(ctx, f) })
		if err != nil {
			return err
		}
		if a.structured() {
			return a.data(map[string]any{"file": args[0], "bytes": size})
		}
		return a.done("wrote %s, %d bytes", args[0], size)
	})
	cmd.Long = `Write a consistent copy of the server's database to a new file, while the server
goes on working. The secrets in it are sealed: to use the copy, keep the key file too.
A server on PostgreSQL refuses: use pg_dump, or what archives your database.`
	return cmd
}

// backupDir is where copies are made: beside the database, where there is room.
func backupDir(c *config.Config) string {
	if path := c.SQLitePath(); path != "" {
		return filepath.Dir(path)
	}
	return os.TempDir()
}

// noBackup is what copies a database that has tools of its own for that.
type noBackup struct{}

// Backup refuses, and says what to do.
func (noBackup) Backup(context.Context, string) error {
	return errand.Errorf(errand.Conflict, "backup", "this server keeps its records in PostgreSQL: copy them with pg_dump or with what archives your database, or into an SQLite file with `errand copy`")
}

// saveBackup makes a file appear with its whole content or not at all, and never
// in place of another.
func saveBackup(name string, fill func(*os.File) (int64, error)) (int64, error) {
	if _, err := os.Lstat(name); err == nil {
		return 0, usage("%s exists already; a backup goes into a new file", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return 0, err
	}
	size, err := fill(f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), name) // unlike a rename, it replaces nothing
	}
	err = errors.Join(err, os.Remove(f.Name()))
	if err != nil {
		return 0, err
	}
	return size, syncDir(filepath.Dir(name))
}
