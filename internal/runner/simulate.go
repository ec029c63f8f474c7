package runner

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/worker"
)

// simulation passes the time that is declared. Whether an attempt fails, and
// where, depends on the task's id and the attempt's number alone.
type simulation struct {
	catalog.Simulation
	wait func(context.Context, time.Duration) error
}

// tick is how often a simulation says how far it is.
const tick = time.Second

func (s *simulation) run(ctx context.Context, j *worker.Job) error {
	steps := s.Steps
	if len(steps) == 0 {
		steps = []catalog.SimulatedStep{{Duration: s.Duration}}
	}
	failAt := s.failAt(j, len(steps))
	var names []string
	for _, step := range s.Steps {
		names = append(names, step.Name)
	}
	j.Plan(names...)

	var done time.Duration
	for i, step := range steps {
		if step.Name != "" {
			j.Step(step.Name)
			j.Logf("step %d of %d: %s", i+1, len(steps), step.Name)
		}
		end := done + step.Duration
		if i == failAt {
			end -= step.Duration / 2
		}
		for done < end {
			s.report(j, done)
			d := min(tick, end-done)
			if err := s.wait(ctx, d); err != nil {
				return err
			}
			done += d
		}
		if i == failAt {
			return worker.WithCode(s.ErrorCode, errors.New(s.Reason))
		}
	}
	return nil
}

func (s *simulation) report(j *worker.Job, done time.Duration) {
	if s.Duration > 0 {
		j.Progress(int(100*done.Seconds()/s.Duration.Seconds()), s.Duration-done)
	}
}

// failAt returns the step in which an attempt fails, or -1.
func (s *simulation) failAt(j *worker.Job, steps int) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(j.Task.ID + "/" + strconv.Itoa(j.Task.AttemptNumber())))
	rnd := rand.New(rand.NewPCG(h.Sum64(), 0))
	if rnd.Float64() >= s.FailRate {
		return -1
	}
	return rnd.IntN(steps)
}
