package cli

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	pg       *pgtest.Server // nil: SQLite
}

// fleetNode is one server, on an address that stays.
type fleetNode struct {
	addr string
	*process
}

// newFleet builds the binary and starts servers: on SQLite one, on PostgreSQL
// three behind a balancer. db is the URL of the database, or "".
func newFleet(t *testing.T, dir, db string, args ...string) *fleet {
	t.Helper()
	f := &fleet{bin: build(t, dir), dir: dir, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
	t.Cleanup(f.http.CloseIdleConnections)
	n := 3
	if db == "" {
		db, n = "sqlite:"+filepath.Join(dir, "errand.db"), 1
	}
	f.args = append([]string{"serve", "--db=" + db, "--key-file=" + filepath.Join(dir, "errand.key"), "--credentials=" + filepath.Join(dir, "credentials"), "--log-level=warn"}, args...)
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
	f.nodes[n].process = startProcess(t, f.bin, append(f.args, "--listen="+f.nodes[n].addr)...)
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
						join(c, s)
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close() }) // connections end with the servers and their clients
	return l.Addr().String()
}

// join passes on what either side sends until one has ended.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	for _, d := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(d[0], d[1])
			_ = a.Close()
			_ = b.Close()
		})
	}
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
