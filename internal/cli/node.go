package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/errandhq/errand/api"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/config"
	"github.com/errandhq/errand/internal/console"
	"github.com/errandhq/errand/internal/postgres"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/internal/server"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/dcs"
	"github.com/errandhq/errand/internal/wire/dms"
	"github.com/errandhq/errand/internal/wire/iam"
	"github.com/errandhq/errand/internal/wire/native"
)

// store is what a node keeps everything in.
type store interface {
	tasks.Store
	tasks.Queue
	tasks.History
	auth.Store
	Close() error
}

// node is a whole server in this process: a store, the rules over it, what runs
// tasks and what listens.
type node struct {
	store   store
	backup  native.Backuper
	member  *tasks.Member    // among the nodes that share the store; nil: nobody does
	now     func() time.Time // what all parts take for the time
	tasks   *tasks.Service
	find    wire.Finder // instances, for the router
	catalog *catalog.Catalog
	runs    *tasks.Runs
	history *tasks.Retention
	runner  *runner.Runner // nil: nothing is run here
	workDir *os.File       // of the runner, locked
	dir     *auth.Directory
	srv     *server.Server
	certs   *server.Certs // nil without TLS
	log     *slog.Logger
	urls    []string // of the listeners
}

// openNode puts a server together and binds its listeners. Nothing is answered
// before run.
func openNode(ctx context.Context, c *config.Config, log *slog.Logger) (*node, error) {
	n := &node{log: log, now: time.Now}
	var shared tasks.Cluster
	if c.Postgres() {
		db, err := postgres.Open(ctx, c.DB, postgres.Options{Log: log, MaxConns: c.DBConns})
		if err != nil {
			return nil, err
		}
		n.store, n.backup, shared = db, noBackup{}, db
	} else {
		db, err := sqlite.Open(c.SQLitePath(), sqlite.Options{Log: log})
		if err != nil {
			return nil, err
		}
		n.store, n.backup = db, db
	}
	if err := n.build(ctx, c, shared); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// build puts a node together over its store, which others may share.
func (n *node) build(ctx context.Context, c *config.Config, shared tasks.Cluster) error {
	sealer, err := auth.OpenSealer(c.MasterKey, c.KeyFile)
	if err != nil {
		return err
	}
	var clock *tasks.Clock
	if shared != nil {
		if clock, err = tasks.NewClock(ctx, shared); err != nil {
			return err
		}
		n.now = clock.Now
	}
	if n.dir, err = auth.OpenDirectory(ctx, n.store, sealer, n.now); err != nil {
		return err
	}
	if c.TLSCert != "" {
		if n.certs, err = server.NewCerts(c.TLSCert, c.TLSKey, n.log); err != nil {
			return err
		}
	}
	n.tasks = tasks.New(n.store, n.now)
	n.find = n.tasks.Instance
	if shared != nil {
		n.find = wire.Remember(n.find, n.now)
	}
	n.history = newRetention(c, n.store, n.now, n.log)
	if err := n.buildRuns(c, sealer); err != nil {
		return err
	}
	if err := n.listen(ctx, c); err != nil {
		return err
	}
	purgeCounters(n.srv.Registry(), n.history)
	n.srv.Registry().MustRegister(newBacklogGauges(n.runs))
	if shared != nil {
		n.join(c, shared, clock)
	}
	return n.buildRunner(c)
}

// listen binds the listeners. Nothing is answered before run.
func (n *node) listen(ctx context.Context, c *config.Config) error {
	router := n.router(c)
	n.srv = server.New(server.Options{
		Handler: router, Fail: router.Fail, MaxBody: maxBody, Ready: n.store.Ping, Certs: n.certs,
		OpenAPI: api.OpenAPI, Log: n.log, Version: Version(), StopTimeout: time.Duration(c.StopTimeout),
	})
	var listeners []server.Listener
	for _, l := range c.Listen {
		listeners = append(listeners, server.Listener{Addr: l.Addr, Dialect: l.Dialect})
	}
	var err error
	if n.urls, err = n.srv.Listen(ctx, listeners...); err != nil {
		return err
	}
	for _, l := range c.Listen {
		if n.certs == nil && !loopback(l.Addr) {
			n.log.Warn("this address answers without TLS: tokens and what tasks are about can be read on the way; name --tls-cert and --tls-key, or let a proxy in front of it speak TLS", "address", l.Addr)
		}
	}
	return nil
}

// loopback reports whether an address can be reached from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// router returns the dialects behind the choice between them.
func (n *node) router(c *config.Config) *wire.Router {
	who, importers := auth.NewAuthenticator(n.dir), auth.NewAuthenticator(n.dir)
	importers.MaxBody = native.MaxImport
	hosts := map[string]string{}
	for _, h := range c.Hosts {
		hosts[h.Name] = h.Dialect
	}
	return &wire.Router{
		Auth:     who,
		Instance: n.find,
		Families: []*wire.Family{
			dms.NewFamily(n.tasks, n.catalog.Operations(), dms.Options{NumericStepTimes: c.NumericStepTimes, Runs: n.runs}, who),
			dcs.NewFamily(n.tasks, dcs.Options{LegacyCodes: c.LegacyDCSCodes}, who),
		},
		Default:  c.DefaultDialect,
		Hosts:    hosts,
		Identity: iam.New(n.dir, who),
		Pages: console.New(console.Deps{
			Tasks: n.tasks, Runs: n.runs, Directory: n.dir, Find: n.find, Operations: n.catalog.Operations,
			OpenAPI: api.OpenAPI, Now: n.now, Version: Version(),
		}),
		Native: native.New(native.Deps{
			Tasks: n.tasks, Directory: n.dir, Auth: importers, Now: n.now,
			Store: n.backup, BackupDir: backupDir(c),
			Runs: n.runs, History: n.history, Operations: n.catalog.Operations,
		}),
	}
}

// maxBody is how long the body of a request may be: only imports are long, and
// only what the provider's products answer is as long as they allow.
func maxBody(r *http.Request) int64 {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/api/") && strings.HasSuffix(path, "/records"):
		return native.MaxImport
	case strings.HasPrefix(path, "/api/"):
		return native.MaxRun
	case strings.HasPrefix(path, "/v3/"), strings.HasPrefix(path, "/v5/"):
		return iam.MaxBody
	}
	return server.MaxBody
}

// reload takes up what can change without a restart.
func (n *node) reload() {
	if n.certs == nil {
		n.log.Info("SIGHUP: there is nothing to reload without TLS")
		return
	}
	if err := n.certs.Reload(); err != nil {
		n.log.Error("SIGHUP: certificate not reloaded; the one in use stays", "error", err)
		return
	}
	n.log.Info("SIGHUP: certificate reloaded")
}

// close gives up a node that never ran.
func (n *node) close() error {
	if n.srv != nil {
		n.srv.Close()
	}
	return n.closeStore()
}

// newLog returns the log that the settings ask for.
func newLog(c *config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// announce prints where the server listens, in lines that programs can read.
func (n *node) announce(w io.Writer, c *config.Config) {
	for i, url := range n.urls {
		fmt.Fprintf(w, "listening on %s", url)
		if d := c.Listen[i].Dialect; d != "" {
			fmt.Fprintf(w, " (%s)", d)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "ready")
}
