package cli

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/worker"
)

const (
	rollingRounds = 2 // of restarts of every server
	failoverCalm  = 5 * time.Second
	failoverAfter = 10 * time.Second
)

// follower watches a project from its first event on, and remembers what it was
// told.
type follower struct {
	told map[string][]int64 // numbers of events, by task
	err  error
	done chan struct{}
}

func (s *storm) follow(ctx context.Context, t *testing.T) *follower {
	f := &follower{told: map[string][]int64{}, done: make(chan struct{})}
	cl := s.client(t)
	go func() {
		defer close(f.done)
		last := int64(0)
		for c, err := range cl.Watch(ctx, s.project(), client.WatchOptions{All: true}) {
			switch {
			case err != nil:
				f.err = err
			case c.Event != nil && c.Event.Seq <= last:
				f.err = fmt.Errorf("event %d came after event %d", c.Event.Seq, last)
				return
			case c.Event != nil:
				last = c.Event.Seq
				f.told[c.Task] = append(f.told[c.Task], last)
			}
		}
	}()
	return f
}

// check compares what a watcher was told with what is on record.
func (f *follower) check(t *testing.T, all map[string]*taskHistory) {
	t.Helper()
	<-f.done
	if f.err != nil && f.err != context.Canceled {
		t.Errorf("watch: %v", f.err)
	}
	missed := 0
	for id, h := range all {
		var want []int64
		for _, e := range h.events {
			want = append(want, e.Seq)
		}
		if !slices.Equal(f.told[id], want) {
			if missed++; missed <= 5 {
				t.Errorf("of task %s a watcher was told of events %v; there are %v", id, f.told[id], want)
			}
		}
	}
	if missed > 5 {
		t.Errorf("and of %d tasks more not what is on record", missed-5)
	}
}

// settled ends followers once they have had the time to hear of everything.
func settled(t *testing.T, s *storm, all map[string]*taskHistory, cancel context.CancelFunc, followers []*follower) {
	t.Helper()
	stormWait(t.Context(), 3*time.Second)
	cancel()
	for _, f := range followers {
		f.check(t, all)
	}
}

// TestRollingRestart stops one server after the other in order, and starts it
// again, while clients submit and others watch. No client is told anything that
// it would not try again, and no watcher misses an event.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real servers")
	}
	t.Parallel()
	pg, url := database(t)
	s := newStorm(t, pg, url)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var followers []*follower
	for range len(s.nodes) {
		followers = append(followers, s.follow(ctx, t))
	}
	s.rage(t, func() string {
		for range rollingRounds {
			for n := range s.nodes {
				s.wait(t, 2000, 3000)
				s.stopInOrder(t, n)
				s.start(t, n)
			}
		}
		s.wait(t, 1000, 2000)
		return fmt.Sprintf("each of %d servers was restarted %d times", len(s.nodes), rollingRounds)
	})
	all := s.settle(t)
	settled(t, s, all, cancel, followers)
	s.check(t, all)
	for id, h := range all {
		for _, e := range h.events {
			if e.Act == errand.ActLost {
				t.Errorf("task %s was lost, though nothing was killed: %s", id, e.Reason)
			}
		}
	}
}

func (s *storm) stopInOrder(t *testing.T, n int) {
	t.Helper()
	s.nodes[n].signal(t, syscall.SIGTERM)
	if err := <-s.nodes[n].ended; err != nil {
		t.Errorf("SIGTERM: %v: %s", err, s.nodes[n].stderr)
	}
}

// TestFailover kills the primary of two PostgreSQL servers under load and
// promotes its synchronous standby. The servers find it by themselves, and what
// was acknowledged is there.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real servers")
	}
	t.Parallel()
	primary := pgtest.Start(t, durable...)
	db := primary.Database(t, "")
	standby := primary.Standby(t)
	s := newStorm(t, primary, pgtest.URLs(db, primary, standby))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	followers := []*follower{s.follow(ctx, t), s.follow(ctx, t)}
	var down time.Duration
	s.rage(t, func() string {
		stormWait(t.Context(), failoverCalm)
		stale := s.hold(t, "first")
		before := s.acknowledged()
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		s.wait(t, 500, 1500) // somebody must notice first
		standby.Promote(t)
		stormWait(t.Context(), failoverAfter)
		s.fenced(t, stale)
		if s.acknowledged() <= before {
			t.Errorf("nothing was acknowledged after the failover")
		}
		down = s.longestPause(killed)
		return fmt.Sprintf("the primary was killed after %d of them; nothing was acknowledged for %s", before, down.Round(time.Millisecond))
	})
	all := s.settle(t)
	settled(t, s, all, cancel, followers)
	s.check(t, all)
	for _, n := range s.nodes { // none had to be started again
		select {
		case err := <-n.ended:
			t.Errorf("a server ended: %v: %s", err, n.stderr)
		default:
		}
	}
}

// hold submits a task that only the test works on, if there is none yet, and
// claims it.
func (s *storm) hold(t *testing.T, name string) worker.Grant {
	t.Helper()
	cl := s.client(t)
	task, err := cl.Submit(t.Context(), s.project(), stormInstance(0), client.Submission{Operation: "held", Key: "held"})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.tasks[task.ID] = task.Instance
	s.mu.Unlock()
	grants, err := cl.Claim(t.Context(), s.project(), worker.ClaimRequest{Worker: name, Operations: []string{"held"}, Wait: 30 * time.Second})
	if err != nil || len(grants) != 1 {
		t.Fatalf("claim: %v, %v", grants, err)
	}
	return grants[0]
}

// fenced has a worker come back that was silent over the failover: its lease is
// another's, and it can change nothing.
func (s *storm) fenced(t *testing.T, stale worker.Grant) {
	t.Helper()
	cl, now := s.client(t), s.hold(t, "second")
	if now.Task.ID != stale.Task.ID || now.Token == stale.Token {
		t.Errorf("the second worker was given task %s, not %s", now.Task.ID, stale.Task.ID)
	}
	_, err := cl.Extend(t.Context(), s.project(), stale.Token, worker.Beat{Progress: &errand.Progress{Percent: 99}})
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.LeaseLost {
		t.Errorf("a stale worker's beat: %v", err)
	}
	_, err = cl.Finish(t.Context(), s.project(), stale.Token, errand.Outcome{Status: errand.Succeeded}, nil)
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.LeaseLost {
		t.Errorf("a stale worker's end: %v", err)
	}
	task, err := cl.Finish(t.Context(), s.project(), now.Token, errand.Outcome{Status: errand.Failed, Reason: "on purpose", Permanent: true}, nil)
	if err != nil || task.Status != errand.Failed || task.Reason != "on purpose" {
		t.Errorf("the end of the worker that holds the lease: %+v, %v", task, err)
	}
}
