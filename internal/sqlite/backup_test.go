package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/errandhq/errand"
)

func TestBackup(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2)
	const batch = 5
	next := 0
	add := func() {
		var tasks []*errand.Task
		for range batch {
			tasks = append(tasks, testTask(1+next/batch%2, next))
			next++
		}
		put(t, s, tasks...)
	}
	for range 100 {
		add()
	}
	before := next

	// Writes go on while the copy is made.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			add()
		}
	})
	dir := t.TempDir()
	dest := filepath.Join(dir, "copy.db")
	err := s.Backup(t.Context(), dest)
	cancel()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dest); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("copy has mode %v (%v), want 600", info.Mode(), err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("the backup left %v (%v)", files, err)
	}
	copied := openAt(t, dest)
	checkCounts(t, copied)
	if n := total(t, copied, 0); n < before || n > next || n%batch != 0 {
		t.Errorf("the copy has %d tasks; there were %d before and %d after, in batches of %d", n, before, next, batch)
	}
	put(t, copied, testTask(1, 1<<30)) // it is a database like any other
}

func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.Backup(t.Context(), taken)
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Conflict || e.Subject != "backup" {
		t.Errorf("backup over a file gives %v", err)
	}
	if b, err := os.ReadFile(taken); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q (%v)", b, err)
	}
	if err := s.Backup(t.Context(), s.path); err == nil {
		t.Error("backup over the database itself succeeded")
	}
	if err := s.Backup(t.Context(), filepath.Join(dir, "no", "such")); err == nil {
		t.Error("backup into a directory that does not exist succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, filepath.Join(dir, "late")); err == nil {
		t.Error("backup of a caller who has gone succeeded")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("failed backups left %v (%v)", files, err)
	}
}

func TestBackupToFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "64k")
	s := openNew(t)
	register(t, s, 1)
	for n := range 100 {
		put(t, s, testTask(1, n))
	}
	wantUnavailable(t, s.Backup(t.Context(), filepath.Join(dir, "copy.db")))
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("the failed backup left %v (%v)", files, err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("a backup that failed makes the store unavailable: %v", err)
	}
}
