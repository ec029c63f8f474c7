package cli

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/pgtest"
)

// fleet is real servers that share a database, one or several, which a test
// kills and starts again.
type fleet struct {
	bin, dir string
	args     []string // of every server
	nodes    []*fleetNode
	front    string // where clients and workers turn to
	env      map[string]string
	http     *http.Client
	open     atomic.Int64   // connections of http of which a server may still read
	db       string         // URL of the database, "": SQLite
	pg       *pgtest.Server // nil: SQLite
}

// fleetNode is one server, on an address that stays.
type fleetNode struct {
	addr string
	name string // of its connections to PostgreSQL, another one after each start
	*process
}

// newFleet builds the binary and starts servers: on SQLite one, on PostgreSQL
// three behind a balancer. db is the URL of the database, or "".
func newFleet(t *testing.T, dir, db string, args ...string) *fleet {
	t.Helper()
	f := &fleet{bin: build(t, dir), dir: dir, db: db}
	f.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DialContext: f.dial}}
	t.Cleanup(f.http.CloseIdleConnections)
	n := 3
	if db == "" {
		n = 1
	}
	f.args = append([]string{"serve", "--key-file=" + filepath.Join(dir, "errand.key"), "--credentials=" + filepath.Join(dir, "credentials"), "--log-level=warn"}, args...)
	var addrs []string
	for range n {
		free, err := net.Listen("tcp", "127.0.0.1:0") // all at once, so that they differ
		if err != nil {
			t.Fatal(err)
		}
		defer free.Close()
		addrs = append(addrs, free.Addr().String())
		f.nodes = append(f.nodes, &fleetNode{addr: free.Addr().String()})
	}
	f.front = "http://" + addrs[0]
	if n > 1 {
		f.front = "http://" + balance(t, addrs)
	}
	return f
}

// startAll starts every server; the first one makes the credentials.
func (f *fleet) startAll(t *testing.T) {
	t.Helper()
	for n := range f.nodes {
		f.start(t, n)
	}
	f.env = readEnv(t, filepath.Join(f.dir, "credentials"))
}

func (f *fleet) start(t *testing.T, n int) {
	t.Helper()
	node, db := f.nodes[n], "sqlite:"+filepath.Join(f.dir, "errand.db")
	if f.db != "" {
		node.name = "errand-" + errand.NewID(time.Now())
		db = f.db + "&application_name=" + node.name
	}
	node.process = startProcess(t, f.bin, append(slices.Clone(f.args), "--db="+db, "--listen="+node.addr)...)
}

// dial connects clients.
func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.open.Add(1)
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		f.open.Add(-1)
		return nil, err
	}
	return &clientConn{TCPConn: c.(*net.TCPConn), open: &f.open}, nil
}

// clientConn is a connection of a client that goes away: the server sees its
// end, as always, but how far the server is with what it had been sent is known,
// for it closes its side only after that, or dies.
type clientConn struct {
	*net.TCPConn
	open *atomic.Int64
	once sync.Once
}

func (c *clientConn) Close() (err error) {
	c.once.Do(func() {
		err = c.CloseWrite()
		go func() {
			_, _ = io.Copy(io.Discard, c.TCPConn)
			_ = c.TCPConn.Close()
			c.open.Add(-1)
		}()
	})
	return err
}

// quiet waits until nothing is on its way any more that clients had sent: it has
// left them, the servers, and PostgreSQL. A server that lives on finishes what
// its clients have gone away from, and tries it again after PostgreSQL was
// killed; and PostgreSQL finishes what it was sent by servers that were.
func (f *fleet) quiet(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		f.http.CloseIdleConnections() // also those that were still being made
		n := f.open.Load()
		if n == 0 {
			break
		}
		if stormWait(ctx, 5*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("the servers are not done with %d connections", n)
		}
	}
	if f.db == "" {
		return
	}
	var names []string
	for _, n := range f.nodes {
		names = append(names, n.name)
	}
	c, err := pgx.Connect(ctx, f.db)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	for {
		var busy, orphans int
		if err := c.QueryRow(ctx, `SELECT count(*) FILTER (WHERE state IS DISTINCT FROM 'idle'), count(*) FILTER (WHERE application_name <> ALL ($1))
			FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
			names).Scan(&busy, &orphans); err != nil {
			t.Fatal(err)
		}
		if busy == 0 && orphans == 0 {
			return
		}
		if stormWait(ctx, 5*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("%d connections of PostgreSQL are busy, and %d are of servers that are gone", busy, orphans)
		}
	}
}

func (f *fleet) project() string { return f.env["HUAWEICLOUD_SDK_PROJECT_ID"] }

func (f *fleet) client(t *testing.T) *client.Client {
	cl, err := client.New(client.Options{Server: f.front, Access: f.env["HUAWEICLOUD_SDK_AK"], Secret: f.env["HUAWEICLOUD_SDK_SK"], HTTP: f.http})
	if err != nil {
		t.Error(err)
	}
	return cl
}

// balance stands before servers, as an operator's balancer does: it passes each
// connection on to the next one that takes it.
func balance(t *testing.T, to []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	var next atomic.Uint64
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				for range to {
					s, err := net.DialTimeout("tcp", to[next.Add(1)%uint64(len(to))], time.Second)
					if err == nil {
						join(c.(*net.TCPConn), s.(*net.TCPConn))
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close() }) // connections end with the servers and their clients
	return l.Addr().String()
}

// join passes on what client and server send, and that the client has ended,
// until the server has.
func join(client, server *net.TCPConn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
		_ = server.Close()
	})
	both.Wait()
}

// durable are the settings of a PostgreSQL that is killed.
var durable = []string{"fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=64MB"}

// database starts a PostgreSQL that keeps what it acknowledges, and returns it
// with the URL of a database.
func database(t *testing.T) (*pgtest.Server, string) {
	t.Helper()
	pg := pgtest.Start(t, durable...)
	return pg, pg.URL(pg.Database(t, ""))
}
