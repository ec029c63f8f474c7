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
	"embed"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrations embed.FS

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
	pool *pgxpool.Pool
	log  *slog.Logger
}

// Open connects to the database at url, a connection string of libpq, and brings
// its schema up to date.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	panic("not written yet")
}
