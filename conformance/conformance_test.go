package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/errandhq/errand/internal/pgtest"
)

// TestSDKs measures every client against both stores, on PostgreSQL with two
// nodes: the same page must come of both.
func TestSDKs(t *testing.T) {
	if testing.Short() {
		t.Skip("installs SDKs")
	}
	t.Run("SQLite", func(t *testing.T) { measureAll(t, []*server{startServer(t)}) })
	t.Run("PostgreSQL", func(t *testing.T) {
		pg := pgtest.Start(t)
		measureAll(t, startNodes(t, pg.URL(pg.Database(t, "")), 2))
	})
}

// measureAll measures every client, each against one of the nodes.
func measureAll(t *testing.T, nodes []*server) {
	table := newTable()
	t.Run("clients", func(t *testing.T) { // returns when every client is done
		for i, c := range clients {
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				measure(t, nodes[i%len(nodes)], c, table)
			})
		}
		t.Run("Terraform loops", func(t *testing.T) {
			t.Parallel()
			terraformLoops(t, nodes[len(nodes)-1], table)
		})
	})
	var log string
	for _, n := range nodes {
		n.stop()
		log += n.log.String()
	}
	for _, id := range table.requests {
		if !strings.Contains(log, id) {
			t.Errorf("request id %s, which a client was given, is not in the server's log", id)
		}
	}
	if !t.Failed() {
		table.compare(t)
	}
}

// measure runs the script of one client and fills in its column of the table.
func measure(t *testing.T, srv *server, c client, table *table) {
	argv := c.ready(t)
	w := newWorld(c.String())
	srv.build(t, w)
	srv.as(w).submits(t, w)
	checks := newScript(w, srv.endpoints)
	reports := runScript(t, argv, checks, func(ctx context.Context, results, stop string) error {
		return srv.as(w).conduct(ctx, w, checks, results, stop)
	})
	defer table.finished()
	for i, k := range checks {
		all := reports[k.ID]
		err := k.judge(c, all)
		cause := table.record(c, k, all, err)
		if all[0].Absent == "" && err != nil && cause == "" {
			t.Errorf("%s (call %d, %s.%s %v): %v", k.row, i, k.Service, k.Method, k.Args, err)
		}
	}
}

// runScript has a client make its calls and returns its reports by call.
// Meanwhile conduct is given the file of reports, and the file that ends the
// calls that are made again and again.
func runScript(t *testing.T, argv []string, checks []check, conduct func(ctx context.Context, results, stop string) error) map[string][]seen {
	t.Helper()
	dir := t.TempDir()
	script, results, stop := filepath.Join(dir, "script.json"), filepath.Join(dir, "results.jsonl"), filepath.Join(dir, "stop")
	calls := make([]call, len(checks))
	for i, k := range checks {
		calls[i] = k.call
		calls[i].Until = stop
	}
	data, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	conducted := make(chan error, 1)
	go func() { conducted <- conduct(ctx, results, stop) }()
	if _, err := command(t.Context(), dir, nil, argv[0], append(argv[1:], script, results)...); err != nil {
		t.Errorf("the client did not come to its end: %v", err)
	}
	cancel()
	if err := <-conducted; err != nil {
		t.Error(err)
	}
	f, err := os.Open(results)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reports := map[string][]seen{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s seen
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("report %s: %v", lines.Bytes(), err)
		}
		reports[s.ID] = append(reports[s.ID], s)
	}
	for _, k := range checks {
		if _, there := reports[k.ID]; !there {
			reports[k.ID] = []seen{{ID: k.ID, Crash: "the client ended before this call"}}
		}
	}
	return reports
}
