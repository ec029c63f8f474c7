// Command riversqlite is the driver of River on SQLite.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the driver that River's documentation uses

	"github.com/errandhq/errand/bench/drive"
)

// The same as in the module above.
const (
	owners       = 256
	pollInterval = 50 * time.Millisecond
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(drive.About{Error: err.Error()})
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) error {
	s, err := start(ctx, file)
	if err != nil {
		return err
	}
	defer s.Close()
	return drive.Serve(ctx, s, os.Stdin, os.Stdout)
}

// system is River on SQLite, a library in this process.
type system struct {
	about  drive.About
	db     *sql.DB
	client *river.Client[*sql.Tx] // which only inserts
}

// start opens a file as durable as Errand's: every commit is synced. One
// connection, as River's documentation says.
func start(ctx context.Context, file string) (*system, error) {
	began := time.Now()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &system{db: db}
	m, err := rivermigrate.New(riversqlite.New(db), nil)
	if err != nil {
		return nil, err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	if s.client, err = river.NewClient(riversqlite.New(db), &river.Config{Logger: silent()}); err != nil {
		return nil, err
	}
	s.about.StartMS = float64(time.Since(began).Microseconds()) / 1000
	return s, nil
}

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

type args struct {
	Seq   int64  `json:"seq"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Kind implements river.JobArgs.
func (args) Kind() string { return "bench" }

func argsOf(seq int64) args { return args{seq, "log.retention.hours", "72"} }

func options(seq int64) *river.InsertOpts {
	return &river.InsertOpts{Metadata: fmt.Appendf(nil, `{"owner":"o%d"}`, seq%owners)}
}

func (s *system) About() drive.About { return s.about }

func (s *system) Submit(ctx context.Context, seq int64) error {
	_, err := s.client.Insert(ctx, argsOf(seq), options(seq))
	return err
}

// SubmitMany implements drive.Bulk.
func (s *system) SubmitMany(ctx context.Context, first int64, n int) error {
	const most = 500
	for from := 0; from < n; from += most {
		var many []river.InsertManyParams
		for i := from; i < min(n, from+most); i++ {
			many = append(many, river.InsertManyParams{Args: argsOf(first + int64(i)), InsertOpts: options(first + int64(i))})
		}
		if _, err := s.client.InsertMany(ctx, many); err != nil {
			return err
		}
	}
	return nil
}

type worker struct {
	river.WorkerDefaults[args]
	ev drive.Events
}

// Work implements river.Worker.
func (w *worker) Work(_ context.Context, j *river.Job[args]) error {
	w.ev.Begun(j.Args.Seq)
	return nil
}

func (s *system) Work(n int, ev drive.Events) (func() error, error) {
	ctx := context.Background()
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{ev: ev})
	c, err := river.NewClient(riversqlite.New(s.db), &river.Config{
		Logger: silent(), Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: n}},
		FetchCooldown: time.Millisecond, FetchPollInterval: pollInterval,
	})
	if err != nil {
		return nil, err
	}
	events, unsubscribe := c.SubscribeConfig(&river.SubscribeConfig{ChanSize: 100_000, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	told := make(chan struct{})
	go func() {
		defer close(told)
		for e := range events {
			var a args
			_ = json.Unmarshal(e.Job.EncodedArgs, &a)
			ev.Done(a.Seq)
		}
	}()
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	return func() error {
		err := c.Stop(ctx)
		unsubscribe()
		<-told
		return err
	}, nil
}

// Fill writes what River would have left behind.
func (s *system) Fill(ctx context.Context, n int) error {
	for owner := range owners {
		size := n / 10
		if owner > 0 {
			size = n * 9 / 10 / (owners - 1)
		}
		_, err := s.db.ExecContext(ctx, `
			WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < ?2)
			INSERT INTO river_job (state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at, args, kind, metadata)
			SELECT 'completed', 1, 25, t, t, t, t, '{"seq":0,"name":"log.retention.hours","value":"72"}', 'bench', json_object('owner', 'o' || ?1)
			FROM (SELECT datetime('now', '-' || i || ' seconds') AS t FROM g)`, owner, size)
		if err != nil {
			return err
		}
	}
	_, err := s.db.ExecContext(ctx, `ANALYZE`)
	return err
}

// List has to count by itself: River has no call for that.
func (s *system) List(ctx context.Context, _ int, total bool) (drive.Page, error) {
	r, err := s.client.JobList(ctx, river.NewJobListParams().Where(`json_extract(metadata, '$.owner') = @owner`, river.NamedArgs{"owner": "o0"}).
		OrderBy(river.JobListOrderByID, river.SortOrderDesc).First(10))
	if err != nil {
		return drive.Page{}, err
	}
	p := drive.Page{Rows: len(r.Jobs)}
	if !total {
		return p, nil
	}
	return p, s.db.QueryRowContext(ctx, `SELECT count(*) FROM river_job WHERE json_extract(metadata, '$.owner') = 'o0'`).Scan(&p.Total)
}

func (s *system) Close() error { return s.db.Close() }
