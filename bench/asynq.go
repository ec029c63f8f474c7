package main

import (
	"context"
	"errors"
	"time"

	"github.com/hibiken/asynq"

	"github.com/errandhq/errand/bench/drive"
)

// asynqSystem is Asynq on Redis, a library in this process.
type asynqSystem struct {
	about     drive.About
	redis     asynq.RedisClientOpt
	client    *asynq.Client
	inspector *asynq.Inspector
}

// asynqQueue is the queue of owner 0, the only one that is listed.
const asynqQueue = "owner0"

func startAsynq(_ context.Context, address string) (drive.System, error) {
	began := time.Now()
	s := &asynqSystem{redis: asynq.RedisClientOpt{Addr: address, PoolSize: 64}}
	s.client, s.inspector = asynq.NewClient(s.redis), asynq.NewInspector(s.redis)
	if err := s.client.Ping(); err != nil {
		return nil, err
	}
	s.about = drive.About{StartMS: float64(time.Since(began).Microseconds()) / 1000, Deep: true}
	return s, nil
}

func (s *asynqSystem) About() drive.About { return s.about }

func (s *asynqSystem) Submit(ctx context.Context, seq int64) error {
	_, err := s.client.EnqueueContext(ctx, asynq.NewTask("bench", payload(seq)), asynq.Retention(24*time.Hour))
	return err
}

func (s *asynqSystem) Work(n int, ev drive.Events) (func() error, error) {
	server := asynq.NewServer(s.redis, asynq.Config{Concurrency: n, TaskCheckInterval: pollInterval, LogLevel: asynq.FatalLevel})
	mux := asynq.NewServeMux()
	mux.HandleFunc("bench", func(_ context.Context, t *asynq.Task) error {
		seq := seqOf(t.Payload())
		ev.Begun(seq)
		ev.Done(seq) // nothing says when the end is recorded
		return nil
	})
	if err := server.Start(mux); err != nil {
		return nil, err
	}
	return func() error { server.Shutdown(); return nil }, nil
}

// Fill puts tasks into the queue that is listed and leaves the others out: queues
// are keys of their own in Redis.
func (s *asynqSystem) Fill(ctx context.Context, n int) error {
	return drive.Each(n/10, 64, func(i int) error {
		_, err := s.client.EnqueueContext(ctx, asynq.NewTask("bench", payload(int64(i))), asynq.Queue(asynqQueue))
		return err
	})
}

func (s *asynqSystem) List(_ context.Context, offset int, total bool) (drive.Page, error) {
	tasks, err := s.inspector.ListPendingTasks(asynqQueue, asynq.PageSize(10), asynq.Page(offset/10+1))
	p := drive.Page{Rows: len(tasks)}
	if err != nil || !total {
		return p, err
	}
	q, err := s.inspector.GetQueueInfo(asynqQueue)
	if err != nil {
		return p, err
	}
	p.Total = q.Pending
	return p, nil
}

func (s *asynqSystem) Close() error { return errors.Join(s.client.Close(), s.inspector.Close()) }
