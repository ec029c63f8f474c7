package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/pgtest"
)

// The shape of the storm. ERRAND_STORM_TIME and ERRAND_STORM_SEED change its
// length and replay its choices; what the machine makes of them differs. With
// ERRAND_STORM_FREEZE some workers are frozen for a while instead of killed.
const (
	stormTime      = 60 * time.Second
	stormInstances = 50
	stormClients   = 16
	stormWorkers   = 3
	stormPace      = 200 * time.Millisecond // between two tasks of a client
	stormLease     = 2 * time.Second
	stormEnd       = 3 * time.Minute // by which everything must be final
)

// stormProgram is the operation: it notes on record when it begins and ends.
const stormProgram = `#!/bin/sh
read -r input
f="$1/$ERRAND_INSTANCE_ID"
echo "begin $ERRAND_TASK_ID $ERRAND_ATTEMPT" >>"$f"
case $input in *'"slow":true'*) sleep 0.2 ;; esac
echo "end $ERRAND_TASK_ID $ERRAND_ATTEMPT" >>"$f"
case $input in *'"fail":true'*) exit 1 ;; esac
`

// stormServerFile declares the operations for workers, stormWorkerFile says how
// these run them.
const stormServerFile = `
engine: kafka
name: again
on_lost: retry
attempts: 100
backoff: {base: 50ms, max: 500ms}
---
engine: kafka
name: once
on_lost: fail
---
engine: kafka
name: held
lane: none
on_lost: retry
attempts: 100
backoff: {base: 50ms, max: 500ms}
`

const stormWorkerFile = `
engine: kafka
name: again
runner: {program: {path: %[1]s, args: [%[2]s]}}
---
engine: kafka
name: once
runner: {program: {path: %[1]s, args: [%[2]s]}}
`

// storm is servers and workers that are killed again and again while clients
// submit.
type storm struct {
	*fleet
	workers [stormWorkers]*process
	random  *rand.Rand // of the killer
	seed    uint64

	mu    sync.Mutex
	tasks map[string]string // that were acknowledged: id, instance
	times []time.Time       // when each was
}

// TestStorm kills real servers and real workers at random while clients submit
// thousands of tasks, and on PostgreSQL the database too. Afterwards every
// acknowledged task has ended, no two of a lane ran side by side, and the history
// of each explains how it ended.
func TestStorm(t *testing.T) {
	length := stormLength(t, stormTime)
	for name, open := range map[string]func(*testing.T) (*pgtest.Server, string){
		"SQLite":     func(*testing.T) (*pgtest.Server, string) { return nil, "" },
		"PostgreSQL": database,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg, url := open(t)
			s := newStorm(t, pg, url)
			s.rage(t, func() string { return s.kill(t, length) })
			s.check(t, s.settle(t))
		})
	}
}

// stormLength returns how long a storm lasts, unless the test is to be short.
func stormLength(t *testing.T, usual time.Duration) time.Duration {
	t.Helper()
	if testing.Short() {
		t.Skip("runs and kills real servers and workers")
	}
	if text := os.Getenv("ERRAND_STORM_TIME"); text != "" {
		var err error
		if usual, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	return usual
}

// rage has clients submit while kill does its work.
func (s *storm) rage(t *testing.T, kill func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for n := range stormClients {
		random := rand.New(rand.NewPCG(s.seed, uint64(n)+1))
		clients.Go(func() { s.submit(ctx, t, random) })
	}
	killed := kill()
	cancel()
	clients.Wait()
	t.Logf("%d tasks acknowledged, %s", len(s.tasks), killed)
	if len(s.tasks) < 100 {
		t.Fatalf("only %d tasks were acknowledged: this proves nothing", len(s.tasks))
	}
}

// newStorm starts servers on the database at url, or on SQLite if that is "", and
// workers.
func newStorm(t *testing.T, pg *pgtest.Server, url string) *storm {
	t.Helper()
	dir := t.TempDir()
	s := &storm{seed: uint64(time.Now().UnixNano()), tasks: map[string]string{}}
	if text := os.Getenv("ERRAND_STORM_SEED"); text != "" {
		var err error
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ERRAND_STORM_SEED=%d", s.seed)
	s.random = rand.New(rand.NewPCG(s.seed, 0))
	program, records := filepath.Join(dir, "program"), filepath.Join(dir, "records")
	for name, text := range map[string]string{
		"server.d/storm.yaml": stormServerFile, "worker.d/storm.yaml": fmt.Sprintf(stormWorkerFile, program, records),
		"program": stormProgram, "records/.keep": "",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.fleet = newFleet(t, dir, url, "--operations="+filepath.Join(dir, "server.d"), "--lease="+stormLease.String(), "--cancel-grace=2s")
	s.pg = pg
	s.startAll(t)
	for i := range stormInstances {
		id := stormInstance(i)
		if _, err := s.client(t).Register(t.Context(), errand.Instance{Project: s.project(), ID: id, Name: id, Engine: errand.Kafka}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range s.workers {
		s.startWorker(t, n)
	}
	return s
}

func stormInstance(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (s *storm) startWorker(t *testing.T, n int) {
	name := fmt.Sprintf("w%d", n)
	s.workers[n] = startProcess(t, s.bin, "worker", "--operations="+filepath.Join(s.dir, "worker.d"), "--work-dir="+filepath.Join(s.dir, name),
		"--credentials="+filepath.Join(s.dir, "credentials"), "--server="+s.front, "--name="+name, "--log-level=error")
}

// submit is one client. What it has begun to submit it submits until it is
// answered, with the same key.
func (s *storm) submit(ctx context.Context, t *testing.T, random *rand.Rand) {
	cl := s.client(t)
	for ctx.Err() == nil {
		operation := "again"
		if random.IntN(4) == 0 {
			operation = "once"
		}
		instance := stormInstance(random.IntN(stormInstances))
		params := fmt.Sprintf(`{"slow":%t,"fail":%t}`, random.IntN(5) == 0, operation == "once" && random.IntN(5) == 0)
		cancels := random.IntN(20) == 0
		sub := client.Submission{Operation: operation, Params: json.RawMessage(params), Key: errand.NewID(time.Now())}
		var id string
		for id == "" {
			task, err := cl.Submit(t.Context(), s.project(), instance, sub)
			if err == nil {
				id = task.ID
			} else if errand.ErrorOf(err).Kind != errand.Unavailable {
				t.Errorf("submit: %v", err)
				return
			}
		}
		s.mu.Lock()
		s.tasks[id] = instance
		s.times = append(s.times, time.Now())
		s.mu.Unlock()
		if cancels { // its answer may be lost, and the task may have ended
			_, _ = cl.Cancel(t.Context(), s.project(), id, "changed my mind")
		}
		stormWait(ctx, stormPace/2+time.Duration(random.Int64N(int64(stormPace))))
	}
}

func (s *storm) acknowledged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks)
}

// longestPause returns for how long no task was acknowledged since then.
func (s *storm) longestPause(since time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.times {
		if at.After(since) {
			longest, since = max(longest, at.Sub(since)), at
		}
	}
	return longest
}

func stormWait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// kill kills until the time is over, and starts what it has killed again. Some
// workers it only freezes, for longer than their leases live: what these say
// afterwards is stale. On PostgreSQL it freezes servers too, and kills it twice.
func (s *storm) kill(t *testing.T, length time.Duration) string {
	servers, stopped, workers, frozen, databases := 0, 0, 0, 0, 0
	begin := time.Now()
	for time.Since(begin) < length {
		s.wait(t, 300, 1800)
		if s.pg != nil && time.Since(begin) > length*time.Duration(databases+1)/3 && databases < 2 {
			s.killDatabase(t)
			databases++
			continue
		}
		what := s.random.IntN(5)
		if what == 1 && s.pg != nil && s.random.IntN(2) == 0 {
			s.freezeServer(t)
			stopped++
			continue
		}
		if what == 1 && os.Getenv("ERRAND_STORM_FREEZE") == "" {
			what = 0
		}
		switch n := s.random.IntN(stormWorkers); what {
		case 0:
			servers += s.killServers(t)
		case 1:
			s.workers[n].signal(t, syscall.SIGSTOP)
			stormWait(t.Context(), stormLease+time.Duration(s.random.IntN(2000))*time.Millisecond)
			s.workers[n].signal(t, syscall.SIGCONT)
			frozen++
		default:
			s.workers[n].killed(t)
			s.startWorker(t, n)
			workers++
		}
	}
	return fmt.Sprintf("servers were killed %d times and frozen %d times, workers killed %d times and frozen %d times, PostgreSQL was killed %d times", servers, stopped, workers, frozen, databases)
}

// wait waits for some milliseconds.
func (s *storm) wait(t *testing.T, least, most int) {
	stormWait(t.Context(), time.Duration(least+s.random.IntN(most-least))*time.Millisecond)
}

// killServers kills one server, or now and then all but one.
func (s *storm) killServers(t *testing.T) int {
	all := s.random.Perm(len(s.nodes))
	if s.random.IntN(3) > 0 || len(all) == 1 {
		all = all[:1]
	} else {
		all = all[1:]
	}
	for _, n := range all {
		s.nodes[n].killed(t)
	}
	s.wait(t, 0, 3000)
	for _, n := range all {
		s.start(t, n)
	}
	return len(all)
}

// freezeServer stops a server for longer than leases live. Whatever it was about
// to do it does afterwards, or finds that others have done it.
func (s *storm) freezeServer(t *testing.T) {
	n := s.nodes[s.random.IntN(len(s.nodes))]
	n.signal(t, syscall.SIGSTOP)
	s.wait(t, 500, 5000)
	n.signal(t, syscall.SIGCONT)
}

func (s *storm) killDatabase(t *testing.T) {
	t.Helper()
	if err := s.pg.Kill(); err != nil {
		t.Fatal(err)
	}
	s.wait(t, 0, 3000)
	if err := s.pg.Recover(); err != nil {
		t.Fatal(err)
	}
}

func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// killed kills a process that should still be there.
func (p *process) killed(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.ended:
		t.Fatalf("a process ended by itself: %v: %s", err, p.stderr)
	default:
	}
	_ = p.Process.Kill()
	<-p.ended
}

// settle waits until every task has ended and returns what is known of each.
func (s *storm) settle(t *testing.T) map[string]*taskHistory {
	t.Helper()
	end, ids := time.Now().Add(stormEnd), make(chan string)
	all := map[string]*taskHistory{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for range stormClients {
		asking.Go(func() {
			for id := range ids {
				h, err := s.ended(t, id, end)
				if err != nil {
					t.Errorf("task %s: %v", id, err)
				}
				mu.Lock()
				all[id] = h
				mu.Unlock()
			}
		})
	}
	for id := range s.tasks {
		ids <- id
	}
	close(ids)
	asking.Wait()
	if t.Failed() {
		t.FailNow()
	}
	page, err := s.client(t).Tasks(t.Context(), errand.Filter{Project: s.project(), Limit: 1})
	if err != nil || page.Total != len(s.tasks) {
		t.Errorf("%d tasks are listed and %d were acknowledged: %v", page.Total, len(s.tasks), err)
	}
	return all
}

// ended waits for the end of one task, and returns it with its events.
func (s *storm) ended(t *testing.T, id string, end time.Time) (*taskHistory, error) {
	cl, h := s.client(t), &taskHistory{instance: s.tasks[id]}
	for {
		var err error
		if h.task, err = cl.Task(t.Context(), s.project(), id); err != nil {
			return nil, err
		}
		if h.task.Status.Final() {
			break
		}
		if time.Now().After(end) {
			why, err := cl.Why(t.Context(), s.project(), id)
			return nil, fmt.Errorf("it is %s for too long: %s (%v)", h.task.Status, why.Text, err)
		}
		stormWait(t.Context(), 100*time.Millisecond)
	}
	for after := int64(0); ; after = h.events[len(h.events)-1].Seq {
		list, err := cl.Events(t.Context(), s.project(), id, after, 100)
		if err != nil {
			return nil, err
		}
		if h.events = append(h.events, list...); len(list) < 100 {
			return h, nil
		}
	}
}

func (s *storm) check(t *testing.T, all map[string]*taskHistory) {
	t.Helper()
	ended, attempts := map[errand.Status]int{}, 0
	for _, h := range all {
		ended[h.task.Status]++
		attempts += h.task.AttemptNumber()
	}
	t.Logf("ended as %v, in %d attempts", ended, attempts)
	for _, status := range []errand.Status{errand.Succeeded, errand.Failed, errand.Cancelled} {
		if ended[status] == 0 {
			t.Errorf("no task %s: this proves less than it should", status)
		}
	}
	records := map[string][]string{}
	for i := range stormInstances {
		id := stormInstance(i)
		b, err := os.ReadFile(filepath.Join(s.dir, "records", id))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		records[id] = strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	for i, v := range violations(all, records) {
		if i == 20 {
			t.Fatal("and more")
		}
		t.Error(v)
	}
}
