package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/errandhq/errand"
)

// Backup writes a copy of the database, as of one moment, to a new file at dest
// (mode 0600). Reads and writes go on meanwhile. The copy appears there whole or
// not at all; a file that exists is Conflict about "backup".
func (s *Store) Backup(ctx context.Context, dest string) error {
	select {
	case <-s.quit:
		return closing()
	default:
	}
	// The empty file takes the name until the copy replaces it.
	f, err := os.OpenFile(dest, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errand.Errorf(errand.Conflict, "backup", "%s exists; name a new file for the backup", dest)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_ = f.Close()
	if err := s.copyTo(ctx, dest); err != nil {
		_ = os.Remove(dest)
		if stops(err) || errors.Is(err, syscall.ENOSPC) {
			return unavailable("the backup could not be written: its disk is full, read-only or failed", err)
		}
		return fmt.Errorf("backup to %s: %w", dest, classify(err))
	}
	return nil
}

// copyTo replaces dest by a copy of the database.
func (s *Store) copyTo(ctx context.Context, dest string) error {
	part, err := os.CreateTemp(filepath.Dir(dest), ".errand-backup-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }() // fails once it has been renamed
	defer func() { _ = part.Close() }()
	c, err := connect(s.path)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.SetInterrupt(ctx.Done())
	err = c.exec(`VACUUM INTO ?`, part.Name())
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = part.Sync()
	}
	if err == nil {
		err = os.Rename(part.Name(), dest)
	}
	if err == nil {
		err = syncDir(filepath.Dir(dest))
	}
	return err
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
