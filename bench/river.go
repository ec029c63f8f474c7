package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/errandhq/errand/bench/drive"
)

// riverSystem is River on PostgreSQL, a library in this process.
type riverSystem struct {
	about  drive.About
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx] // which only inserts
}

// riverConns is how many connections River may use, workers and callers together.
const riverConns = 32

func startRiver(ctx context.Context, url string) (drive.System, error) {
	began := time.Now()
	conf, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	conf.MaxConns = riverConns
	s := &riverSystem{}
	if s.pool, err = pgxpool.NewWithConfig(ctx, conf); err != nil {
		return nil, err
	}
	m, err := rivermigrate.New(riverpgxv5.New(s.pool), nil)
	if err != nil {
		return nil, err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	if s.client, err = river.NewClient(riverpgxv5.New(s.pool), &river.Config{Logger: silent()}); err != nil {
		return nil, err
	}
	s.about.StartMS = float64(time.Since(began).Microseconds()) / 1000
	return s, nil
}

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// riverArgs are a job's arguments.
type riverArgs struct {
	Seq   int64  `json:"seq"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Kind implements river.JobArgs.
func (riverArgs) Kind() string { return "bench" }

func newRiverArgs(seq int64) riverArgs {
	var a riverArgs
	_ = json.Unmarshal(payload(seq), &a)
	return a
}

// riverOptions say whose a job is, in the place that River has for it.
func riverOptions(seq int64) *river.InsertOpts {
	return &river.InsertOpts{Metadata: fmt.Appendf(nil, `{"owner":"o%d"}`, seq%owners)}
}

func (s *riverSystem) About() drive.About { return s.about }

func (s *riverSystem) Submit(ctx context.Context, seq int64) error {
	_, err := s.client.Insert(ctx, newRiverArgs(seq), riverOptions(seq))
	return err
}

// SubmitMany implements drive.Bulk.
func (s *riverSystem) SubmitMany(ctx context.Context, first int64, n int) error {
	const most = 1000
	for from := 0; from < n; from += most {
		var many []river.InsertManyParams
		for i := from; i < min(n, from+most); i++ {
			many = append(many, river.InsertManyParams{Args: newRiverArgs(first + int64(i)), InsertOpts: riverOptions(first + int64(i))})
		}
		if _, err := s.client.InsertMany(ctx, many); err != nil {
			return err
		}
	}
	return nil
}

// riverWorker does nothing.
type riverWorker struct {
	river.WorkerDefaults[riverArgs]
	ev drive.Events
}

// Work implements river.Worker.
func (w *riverWorker) Work(_ context.Context, j *river.Job[riverArgs]) error {
	w.ev.Begun(j.Args.Seq)
	return nil
}

func (s *riverSystem) Work(n int, ev drive.Events) (func() error, error) {
	ctx := context.Background()
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{ev: ev})
	c, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{
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
			ev.Done(seqOf(e.Job.EncodedArgs))
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
func (s *riverSystem) Fill(ctx context.Context, n int) error {
	for owner := range owners {
		size := n / 10
		if owner > 0 {
			size = n * 9 / 10 / (owners - 1)
		}
		_, err := s.pool.Exec(ctx, `
			INSERT INTO river_job (state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at, args, kind, metadata)
			SELECT 'completed', 1, 25, t, t, t, t, '{"seq":0,"name":"log.retention.hours","value":"72"}', 'bench', jsonb_build_object('owner', 'o' || $1::int)
			FROM (SELECT now() - g * interval '1 second' AS t FROM generate_series(1, $2::int) g) g`, owner, size)
		if err != nil {
			return err
		}
	}
	return nil
}

// List has to count by itself: River has no call for that.
func (s *riverSystem) List(ctx context.Context, _ int, total bool) (drive.Page, error) {
	const owner = `{"owner":"o0"}`
	r, err := s.client.JobList(ctx, river.NewJobListParams().Metadata(owner).OrderBy(river.JobListOrderByID, river.SortOrderDesc).First(10))
	if err != nil || !total {
		return drive.Page{Rows: rowsOf(r)}, err
	}
	p := drive.Page{Rows: rowsOf(r)}
	return p, s.pool.QueryRow(ctx, `SELECT count(*) FROM river_job WHERE metadata @> $1::jsonb`, owner).Scan(&p.Total)
}

func rowsOf(r *river.JobListResult) int {
	if r == nil {
		return 0
	}
	return len(r.Jobs)
}

func (s *riverSystem) Close() error {
	if s.pool == nil {
		return errors.New("not started")
	}
	s.pool.Close()
	return nil
}
