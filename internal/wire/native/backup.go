package native

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// A Backuper makes a consistent copy of what it keeps while it is in use.
type Backuper interface {
	// Backup writes the copy to the file at path, which it creates.
	Backup(ctx context.Context, path string) error
}

// copyDir is the pattern of the directories in which copies are made.
const copyDir = ".errand-download-*"

// backups makes one copy at a time: each takes as much room as the database.
type backups struct {
	store Backuper
	dir   string // beside the database: there is room for what the store holds
	now   func() time.Time
	busy  sync.Mutex
}

func (b *backups) route(d *wire.Dialect) {
	wire.Handle(d, "GET /api/v1/backup", decodeNothing, b.make, func(r *wire.Reply, c *backup) {
		r.Type = "application/vnd.sqlite3"
		r.Header = map[string]string{"Content-Disposition": `attachment; filename="` + c.name + `"`, "Cache-Control": "no-store"}
		r.Stream, r.Size = c, c.size
	})
}

func (b *backups) make(ctx context.Context, p errand.Principal, _ struct{}) (*backup, error) {
	if !p.Can(errand.Admin) {
		return nil, errand.Errorf(errand.Forbidden, "role", "role %s may not copy the database; it takes %s", p.Role, errand.Admin)
	}
	if !b.busy.TryLock() {
		return nil, errand.Errorf(errand.Unavailable, "backup", "another backup is being made; try again when it is done")
	}
	defer b.busy.Unlock()
	b.sweep()
	dir, err := os.MkdirTemp(b.dir, copyDir)
	if err != nil {
		return nil, err
	}
	c, err := b.copyTo(ctx, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return c, nil
}

func (b *backups) copyTo(ctx context.Context, dir string) (*backup, error) {
	path := filepath.Join(dir, "copy.db")
	if err := b.store.Backup(ctx, path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	// Where open files can be removed, nothing is left behind even by a crash
	// while the copy is sent. Elsewhere Close does it.
	_ = os.RemoveAll(dir)
	return &backup{File: f, dir: dir, size: fi.Size(), name: "errand-" + b.now().UTC().Format("20060102T150405Z") + ".db"}, nil
}

// sweep removes what a crash in the middle of a copy has left.
func (b *backups) sweep() {
	left, _ := filepath.Glob(filepath.Join(b.dir, copyDir))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}

// backup is a copy on its way to a client.
type backup struct {
	*os.File
	dir  string
	size int64
	name string
}

// Close closes the copy and removes it.
func (c *backup) Close() error {
	err := c.File.Close()
	_ = os.RemoveAll(c.dir)
	return err
}
