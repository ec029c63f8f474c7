package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// peer is one of those that are compared, with what has to be said of it.
type peer struct {
	id, name string
	durable  string // what a submission that was answered survives
	unsynced bool   // that is less than a power cut
	lanes    string // whether it keeps the tasks of one owner apart
	lists    string // what its nearest call to a page with a total is
	met      string // how it is called
	tuned    string // what is not its default
	clients  []int  // with which else to submit
	drain    int    // tasks that wait for the workers at the most; 0: as the others

	// prepare builds or installs what it needs and returns its version.
	prepare func(ctx context.Context, e *environment) (string, error)
	// open starts it on what is in dir, which is empty where fresh is set.
	open func(ctx context.Context, e *environment, dir string, fresh bool) (*instance, error)
}

// environment is what peers share.
type environment struct {
	dir      string // temporary
	bin      string // in it, what was built
	self     string // this binary
	errand   string
	revision string // of the tree that it was built from
	temporal string
	river    string // its driver on SQLite
	bullmq   string // directory of its driver
	pg       *postgres
}

// instance is a peer that runs.
type instance struct {
	*process
	databasePIDs func() []int                             // nil: it has no database process
	queries      func(ctx context.Context) (int64, error) // that its database has answered; nil: nobody counts
	late         time.Duration                            // that queries are counted
	settle       func(ctx context.Context) error          // after a history was stored; nil: nothing to do
	stopDatabase func() error
}

func (i *instance) close() error {
	err := i.stop()
	if i.stopDatabase != nil {
		err = errors.Join(err, i.stopDatabase())
	}
	return err
}

const (
	noLanes   = "none: the tasks of one owner run side by side"
	library   = "library calls in the process that submits and works; no HTTP, no authentication"
	pgDurable = "synced before the answer (synchronous_commit on)"
	polling   = "polls every 50 ms (default 1 s)"
)

// allPeers returns every peer, in the order of the tables.
func allPeers() []*peer {
	return []*peer{
		{
			id: "errand-sqlite", name: "Errand, SQLite", durable: "synced before the answer (synchronous=FULL)", tuned: "nothing",
			lanes: "one running task per instance and lane", lists: "one call: page, exact total, any offset", met: overHTTP,
			prepare: buildErrand, open: openErrand(false),
		},
		{
			id: "errand-pg", name: "Errand, PostgreSQL", durable: pgDurable, tuned: "nothing", clients: []int{256},
			lanes: "one running task per instance and lane", lists: "one call: page, exact total, any offset", met: overHTTP,
			prepare: buildErrandOnPostgres, open: openErrand(true),
		},
		{
			id: "river-pg", name: "River, PostgreSQL", durable: pgDurable, tuned: fmt.Sprintf("FetchCooldown 1 ms (default 100 ms), %s; %d connections", polling, riverConns), clients: []int{256},
			lanes: noLanes, lists: "JobList by metadata, and a count(*) of our own; no offset", met: library,
			prepare: versionOf("github.com/riverqueue/river", needsPostgres), open: openRiver,
		},
		{
			id: "river-sqlite", name: "River, SQLite", durable: "synced before the answer (synchronous=FULL)", tuned: "FetchCooldown 1 ms (default 100 ms), " + polling + "; one connection, as its documentation says",
			lanes: noLanes, lists: "JobList with a condition, and a count(*) of our own; no offset", met: library,
			prepare: buildRiverSQLite, open: openRiverSQLite,
		},
		redisPeer("asynq", "Asynq", "always"),
		redisPeer("asynq", "Asynq", "everysec"),
		redisPeer("bullmq", "BullMQ", "always"),
		redisPeer("bullmq", "BullMQ", "everysec"),
		{
			id: "temporal", name: "Temporal dev server", durable: "synced before the answer (SQLite, synchronous=FULL)", tuned: "a file of SQLite, WAL (default in memory)", drain: 300,
			lanes:   "one run per workflow id at a time; others are refused or end the first, none waits in line",
			lists:   fmt.Sprintf("ListWorkflow and CountWorkflow by a search attribute; no offset; a history of %d at the most", temporalHistory),
			met:     "the server's binary over gRPC, without authentication; a task is a workflow of one activity. It is what a developer runs, not its production set-up",
			prepare: buildTemporal, open: openTemporal,
		},
	}
}

const overHTTP = "the binary, over HTTP, every request signed and checked; the worker is a process of its own"

func redisPeer(id, name, sync string) *peer {
	p := &peer{
		id: id + "-" + sync, name: name + ", Redis " + sync, lanes: noLanes, met: library, unsynced: sync != "always",
		durable: map[string]string{"always": "synced before the answer (appendfsync always)", "everysec": "not synced: up to a second is lost (appendfsync everysec)"}[sync],
	}
	driver := []string{id}
	switch id {
	case "asynq":
		p.tuned, p.lists = polling+"; keeps ended tasks for a day (default not at all)", "ListPendingTasks and GetQueueInfo of a queue per owner; no filter"
		p.prepare = versionOf("github.com/hibiken/asynq", needsRedis)
	case "bullmq":
		p.tuned, p.lists = "nothing", "getJobs and getWaitingCount of a queue per owner; no filter"
		p.prepare = installBullMQ
	}
	p.open = func(ctx context.Context, e *environment, dir string, _ bool) (*instance, error) {
		r, err := startRedis(ctx, dir, sync)
		if err != nil {
			return nil, err
		}
		binary, args := e.self, append([]string{"-driver"}, append(driver, r.client.Options().Addr)...)
		if id == "bullmq" {
			binary, args = "node", []string{filepath.Join(e.bullmq, "peer.mjs"), r.client.Options().Addr}
		}
		proc, err := startProcess(dir, binary, args...)
		if err != nil {
			return nil, errors.Join(err, r.stop())
		}
		return &instance{process: proc, databasePIDs: func() []int { return []int{r.cmd.Process.Pid} }, queries: r.commands, stopDatabase: r.stop}, nil
	}
	return p
}

// openErrand starts the binary on SQLite or on PostgreSQL.
func openErrand(onPostgres bool) func(context.Context, *environment, string, bool) (*instance, error) {
	return func(ctx context.Context, e *environment, dir string, fresh bool) (*instance, error) {
		if !onPostgres {
			return started(startProcess(dir, e.self, "-driver", "errand", e.errand, "sqlite:"+filepath.Join(dir, "errand.db"), dir))
		}
		return onDatabase(ctx, e, dir, fresh, func(url string) (*process, error) {
			return startProcess(dir, e.self, "-driver", "errand", e.errand, url, dir)
		})
	}
}

func openRiver(ctx context.Context, e *environment, dir string, fresh bool) (*instance, error) {
	return onDatabase(ctx, e, dir, fresh, func(url string) (*process, error) {
		return startProcess(dir, e.self, "-driver", "river", url)
	})
}

func openRiverSQLite(_ context.Context, e *environment, dir string, _ bool) (*instance, error) {
	return started(startProcess(dir, e.river, filepath.Join(dir, "river.db")))
}

func openTemporal(_ context.Context, e *environment, dir string, _ bool) (*instance, error) {
	return started(startProcess(dir, e.self, "-driver", "temporal", e.temporal, dir))
}

func started(p *process, err error) (*instance, error) {
	if err != nil {
		return nil, err
	}
	return &instance{process: p}, nil
}

// onDatabase starts a driver on a database of its own, named like its directory.
func onDatabase(ctx context.Context, e *environment, dir string, fresh bool, start func(url string) (*process, error)) (*instance, error) {
	name := strings.ReplaceAll(filepath.Base(dir), "-", "_")
	if fresh {
		if err := e.pg.fresh(ctx, name); err != nil {
			return nil, err
		}
	}
	p, err := start(e.pg.url(name))
	if err != nil {
		return nil, err
	}
	return &instance{
		process:      p,
		databasePIDs: func() []int { return family(e.pg.cmd.Process.Pid) },
		queries:      func(ctx context.Context) (int64, error) { return e.pg.transactions(ctx, name) },
		late:         11 * time.Second, // connections that are idle hand in what they counted every ten seconds
		settle:       func(ctx context.Context) error { return e.pg.query(ctx, name, "VACUUM ANALYZE", nil) },
	}, nil
}

// versionOf returns the version of a module that is built in.
func versionOf(module string, needs func(context.Context, *environment) error) func(context.Context, *environment) (string, error) {
	return func(ctx context.Context, e *environment) (string, error) {
		if err := needs(ctx, e); err != nil {
			return "", err
		}
		if b, ok := debug.ReadBuildInfo(); ok {
			for _, d := range b.Deps {
				if d.Path == module {
					return strings.TrimPrefix(d.Version, "v"), nil
				}
			}
		}
		return "unknown", nil
	}
}

func needsPostgres(ctx context.Context, e *environment) (err error) {
	if e.pg == nil {
		e.pg, err = startPostgres(ctx, filepath.Join(e.dir, "postgres"))
	}
	return err
}

func needsRedis(context.Context, *environment) error {
	_, err := exec.LookPath("redis-server")
	return err
}

// tool runs a program of the tool chain, with low priority, and returns what it
// printed.
func tool(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", name}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		last := text[max(0, len(text)-500):]
		return text, fmt.Errorf("%s %s: %w: %s", name, args[0], err, last)
	}
	return text, nil
}
