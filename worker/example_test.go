package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/errandhq/errand/worker"
)

// A worker is a Mux of handlers and a Pool that runs them until it is told to
// stop.
func Example() {
	m := &worker.Mux{}
	m.Handle("UpdatePort", func(ctx context.Context, j *worker.Job) error {
		var p struct {
			Port int `json:"port"`
		}
		if err := j.Params(&p); err != nil {
			return err
		}
		j.Plan("change the configuration", "restart")
		j.Step("change the configuration")
		j.Logf("the port of instance %s becomes %d", j.Task.Instance, p.Port)
		j.Step("restart")
		j.Progress(50, 30*time.Second)
		if err := restart(ctx, j.Task.Instance); err != nil {
			return err
		}
		return j.Result(map[string]int{"port": p.Port})
	})

	var source worker.Source // a client of a server, say
	pool := &worker.Pool{Source: source, Mux: m, Name: "rack 7", Size: 8, Log: slog.Default()}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := pool.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: worker: a pool needs a source and a mux with at least one handler
}

func restart(context.Context, string) error { return nil }

// What a handler does when it is to stop depends on why.
func ExampleHandler() {
	var h worker.Handler = func(ctx context.Context, j *worker.Job) error {
		select {
		case <-time.After(time.Minute): // the work
			return nil
		case <-ctx.Done():
		}
		if errors.Is(context.Cause(ctx), worker.ErrLeaseLost) {
			return context.Cause(ctx) // touch nothing: another worker may be at it
		}
		j.Logf("undoing what was done, because of: %v", context.Cause(ctx))
		return context.Cause(ctx)
	}
	_ = h
}

// A failure that another attempt would meet too ends the task at once.
func ExamplePermanent() {
	err := worker.Permanent(worker.WithCode("DCS.4923", errors.New("the instance has no such flavour")))
	fmt.Println(err)
	// Output: the instance has no such flavour
}
