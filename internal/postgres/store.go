// Package postgres keeps everything in a PostgreSQL database that any number of
// nodes share.
//
// Reads are single statements, or one REPEATABLE READ transaction where several
// must see the same moment. Writes that change tasks take advisory locks in one
// order, see lock.go: instances, then lanes, then the log of events, which is
// held only while the last statements and COMMIT are on their way. docs/adr/0005
// says why it is built this way.
package postgres

import (
	"context"
	"crypto/rand"
	"embed"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

//go:embed migrations/*.sql
var migrations embed.FS

// writers is how many transactions of one node run side by side, and one more
// for Ping. Callers share them, so more would only make each smaller.
const writers = flushers + rare + 1

// Options may all be left at zero.
type Options struct {
	// Log is told of work in the background that failed and will be tried
	// again. Nil drops that.
	Log *slog.Logger

	// MaxConns bounds the connections for reads; writers and the listener have a
	// few of their own. 0: four for each processor, 8 at least.
	MaxConns int
}

// Store implements tasks.Store, tasks.Queue, tasks.Cluster, tasks.History and
// auth.Store.
type Store struct {
	target  target
	readers *pgxpool.Pool
	writers *pgxpool.Pool
	log     *slog.Logger

	// begin starts a transaction that writes, statement by statement. Behind a
	// pooler it also sets what the connections of writers have otherwise.
	begin []string

	node    string // names this Store among all that share the database
	channel string // what its notifications are sent on

	homes    homes
	spots    spots
	group    *group
	rare     chan struct{} // places for transactions outside the groups
	looks    looks
	progress pace // of telling other nodes of progress
	pulse    pulse
	alone    chan struct{} // held by who is in Exclusively

	forgotten chan struct{} // tells that tasks wait to be removed
	quit      chan struct{} // closed by Close
	running   sync.WaitGroup
	once      sync.Once
}

var (
	_ tasks.Store   = (*Store)(nil)
	_ tasks.Queue   = (*Store)(nil)
	_ tasks.Cluster = (*Store)(nil)
	_ auth.Store    = (*Store)(nil)
)

// Open connects to the database at url, a connection string of libpq, and brings
// its schema up to date. With several hosts, the one that takes writes is used,
// unless url says otherwise. Errors name the database, never the password.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return open(ctx, url, o, files)
}

func open(ctx context.Context, url string, o Options, files fs.FS) (*Store, error) {
	steps, err := stored.ReadMigrations(files)
	if err != nil {
		return nil, err
	}
	t, err := parse(url)
	if err != nil {
		return nil, err
	}
	schema, err := prepare(ctx, &t, steps)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxConns == 0 {
		o.MaxConns = max(8, 4*runtime.GOMAXPROCS(0))
	}
	s := &Store{
		target:    t,
		log:       o.Log,
		begin:     t.begin(),
		node:      rand.Text(),
		channel:   channelOf(schema),
		homes:     homes{known: make(map[instanceKey]home)},
		pulse:     pulse{turn: make(chan struct{}, 1)},
		alone:     make(chan struct{}, 1),
		group:     newGroup(),
		rare:      make(chan struct{}, rare),
		forgotten: make(chan struct{}, 1),
		quit:      make(chan struct{}),
	}
	if s.readers, err = t.pool(ctx, readSettings, o.MaxConns); err != nil {
		return nil, err
	}
	if s.writers, err = t.pool(ctx, writeSettings, writers); err != nil {
		s.readers.Close()
		return nil, err
	}
	for range flushers {
		s.running.Go(s.flush)
	}
	s.running.Go(s.forget)
	return s, nil
}

// Close waits for the calls that run, refuses new ones and lets go of the
// connections.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.quit)
		s.group.close()
		s.running.Wait()
		s.writers.Close()
		s.readers.Close()
	})
	return nil
}

// open reports an error once Close has been called.
func (s *Store) open() error {
	select {
	case <-s.quit:
		return closing()
	default:
		return nil
	}
}

// read runs fn on a connection for reading. A single statement is a snapshot by
// itself. fn may be run again if the connection is lost.
func (s *Store) read(ctx context.Context, fn func(ctx context.Context, c *pgx.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return tooLate(err)
	}
	if err := s.open(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := s.readOnce(limited, fn)
	if lost(err) && limited.Err() == nil {
		s.readers.Reset() // what took one connection took others, mostly
		err = s.readOnce(limited, fn)
	}
	if err != nil && ctx.Err() != nil {
		return tooLate(ctx.Err())
	}
	return classify(err)
}

func (s *Store) readOnce(ctx context.Context, fn func(ctx context.Context, c *pgx.Conn) error) error {
	c, err := s.readers.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return fn(ctx, c.Conn())
}

// snapshot is read where several statements must see the same moment.
func (s *Store) snapshot(ctx context.Context, fn func(ctx context.Context, t pgx.Tx) error) error {
	return s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(t pgx.Tx) error {
			return fn(ctx, t)
		})
	})
}
