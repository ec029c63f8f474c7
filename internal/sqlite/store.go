// Package sqlite keeps everything in one SQLite file.
//
// One goroutine writes and commits what waits as a group; a few connections
// read, each listing from one snapshot. The file is used by one process at a
// time. docs/adr/0002 and 0003 say why it is built this way.
package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many reads run side by side; more would only queue for the
// processors.
const readers = 4

// Options may all be left at zero.
type Options struct {
	// Log is told of work in the background that failed and will be tried
	// again. Nil drops that.
	Log *slog.Logger
}

// Store implements tasks.Store and auth.Store.
type Store struct {
	path     string
	lock     *os.File
	log      *slog.Logger
	cache    cache
	versions versions
	alone    sync.Mutex // of Exclusively

	w       *writer
	readers chan *conn
	conns   []*conn // all, for Close

	forgotten chan struct{} // tells that tasks wait to be removed
	quit      chan struct{}
	running   sync.WaitGroup
	once      sync.Once
	closeErr  error
}

var (
	_ tasks.Store = (*Store)(nil)
	_ auth.Store  = (*Store)(nil)
)

// Open opens the database at path, makes it if there is none (mode 0600; its
// directory must exist), and brings its schema up to date. It fails at once if
// another process, or another Store, has the file.
func Open(path string, o Options) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return open(path, o, files)
}

func open(path string, o Options, files fs.FS) (*Store, error) {
	steps, err := stored.ReadMigrations(files)
	if err != nil {
		return nil, err
	}
	if path, err = prepare(path); err != nil {
		return nil, err
	}
	s := &Store{
		path:      path,
		log:       o.Log,
		cache:     cache{entries: make(map[instanceKey]*entry)},
		readers:   make(chan *conn, readers),
		forgotten: make(chan struct{}, 1),
		quit:      make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.lock, err = lock(path); err != nil {
		return nil, err
	}
	if err := s.start(steps); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// prepare checks path and makes the file, so that SQLite finds it with the right
// mode. It returns the path without symbolic links: whatever name a file is
// opened by, its lock is the same.
func prepare(path string) (string, error) {
	if path == "" {
		return "", errors.New("the database needs a path, such as sqlite:errand.db")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("database %s: its directory %s does not exist or cannot be read; create it first: %w", path, dir, err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("database %s: %s is not a directory", path, dir)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("database %s cannot be written; the server needs to read and write the file and its directory: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// start opens the connections and starts the goroutines; on failure the caller
// releases what there is.
func (s *Store) start(steps []stored.Migration) error {
	w, err := s.connect()
	if err != nil {
		return cannotOpen(s.path, err)
	}
	if err := migrate(w, s.path, steps); err != nil {
		return err
	}
	if err := unfinishedCopy(w, s.path); err != nil {
		return err
	}
	check, err := s.connect()
	if err != nil {
		return cannotOpen(s.path, err)
	}
	for range readers {
		c, err := s.connect(`PRAGMA query_only = ON;`)
		if err != nil {
			return cannotOpen(s.path, err)
		}
		s.readers <- c
	}
	s.w = newWriter(w, &s.versions, s.quit)
	notify(s.w.wrote) // what an earlier run left in the log
	s.running.Go(s.w.run)
	s.running.Go(func() { s.checkpoints(check) })
	s.running.Go(s.forget)
	return nil
}

func (s *Store) connect(more ...string) (*conn, error) {
	c, err := connect(s.path, more...)
	if err == nil {
		s.conns = append(s.conns, c)
	}
	return c, err
}

// Close waits for the calls that run, refuses new ones and closes the file.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.quit)
		s.running.Wait()
		for range readers {
			<-s.readers
		}
		s.closeErr = s.release()
	})
	return s.closeErr
}

func (s *Store) release() error {
	var errs []error
	for _, c := range s.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, unlock(s.lock))...)
}

// read runs fn on a connection for reading. A single statement is a snapshot by
// itself.
func (s *Store) read(ctx context.Context, fn func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return tooLate(err)
	}
	select {
	case <-s.quit:
		return closing()
	default:
	}
	select {
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		return classify(fn(c))
	case <-ctx.Done():
		return tooLate(ctx.Err())
	case <-s.quit:
		return closing()
	}
}

// snapshot is read where several statements must see the same moment.
func (s *Store) snapshot(ctx context.Context, fn func(*conn) error) error {
	return s.read(ctx, func(c *conn) error {
		if err := c.exec(`BEGIN`); err != nil {
			return err
		}
		defer func() { _ = c.exec(`ROLLBACK`) }() // nothing was written
		return fn(c)
	})
}

// Ping implements tasks.Store. The writer must answer and the file must be
// readable; after a write that the disk refused, it must take one again.
func (s *Store) Ping(ctx context.Context) error {
	err := s.w.do(ctx, func(t *tx) error {
		if s.w.stopped.Load() {
			return t.exec(`UPDATE pulse SET n = n + 1`)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.read(ctx, func(c *conn) error {
		_, err := c.number(`SELECT n FROM pulse`)
		return err
	})
}
