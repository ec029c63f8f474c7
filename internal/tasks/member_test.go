package tasks

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/errandhq/errand"
)

// cluster is a Cluster whose clock is ahead of this machine's, and whose answers
// take as long as a test wants.
type cluster struct {
	ahead time.Duration
	to    []time.Duration // how long each question for the time takes to arrive
	back  time.Duration   // how long an answer takes

	mu    sync.Mutex
	err   error
	nodes map[string]Node
	rings map[string]func(Ring)
}

// fails makes every call fail from now on, or succeed again.
func (c *cluster) fails(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *cluster) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *cluster) Time(ctx context.Context) (time.Time, error) {
	if err := c.failed(); err != nil {
		return time.Time{}, err
	}
	if len(c.to) > 0 {
		time.Sleep(c.to[0])
		c.to = append(c.to[1:], c.to[0])
	}
	at := time.Now().Add(c.ahead)
	time.Sleep(c.back)
	return at, ctx.Err()
}

func (c *cluster) Meet(_ context.Context, self Node, quiet time.Duration) ([]Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	self.Seen = time.Now().Add(c.ahead)
	if c.nodes == nil {
		c.nodes = map[string]Node{}
	}
	c.nodes[self.ID] = self
	var others []Node
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		if n := c.nodes[id]; id != self.ID && self.Seen.Sub(n.Seen) <= quiet {
			others = append(others, n)
		}
	}
	return others, nil
}

func (c *cluster) Leave(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nodes, id)
	return c.err
}

func (c *cluster) Listen(ctx context.Context, ring func(Ring)) {
	c.mu.Lock()
	if c.rings == nil {
		c.rings = map[string]func(Ring){}
	}
	c.rings["all"] = ring
	c.mu.Unlock()
	<-ctx.Done()
}

func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{ahead: -3 * time.Hour, to: []time.Duration{time.Second, time.Millisecond, 300 * time.Millisecond, time.Second}, back: time.Millisecond}
		clock, err := NewClock(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		off := func() time.Duration { return clock.Now().Sub(time.Now().Round(0).Add(c.ahead)).Abs() }
		if off() != 0 || clock.Skew() != 3*time.Hour {
			t.Errorf("the clock is off by %s, and the machine's said to be ahead by %s", off(), clock.Skew())
		}
		time.Sleep(time.Hour)
		if off() != 0 {
			t.Errorf("an hour later the clock is off by %s", off())
		}

		// What contradicts nothing, and is known less well, changes nothing.
		c.ahead += 40 * time.Millisecond
		c.to = []time.Duration{9 * time.Second}
		for range 2 {
			before := clock.Now().Sub(time.Now().Round(0))
			if err := clock.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if after := clock.Now().Sub(time.Now().Round(0)); after != before {
				t.Errorf("a poor measurement moved the clock by %s", after-before)
			}
		}
		// What is known better is taken.
		c.to = []time.Duration{time.Millisecond}
		if err := clock.Sync(t.Context()); err != nil || off() != 0 {
			t.Errorf("the clock is off by %s, %v", off(), err)
		}
		// A store whose clock was set is followed at once, even if it is slow.
		c.ahead, c.to = 5*time.Minute, []time.Duration{2 * time.Second}
		if err := clock.Sync(t.Context()); err != nil || off() > time.Second {
			t.Errorf("after the store's clock was set, the clock is off by %s, %v", off(), err)
		}
		// One that does not answer leaves the clock as it is.
		c.err = errors.New("gone")
		was := off()
		if err := clock.Sync(t.Context()); !errors.Is(err, c.err) || off() != was {
			t.Errorf("Sync = %v, and the clock is off by %s", err, off())
		}
	})
}

// member returns a node of c that is not running yet.
func member(t *testing.T, c *cluster, id string, log *bytes.Buffer, forget func()) (*Member, *Runs) {
	t.Helper()
	clock, err := NewClock(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r := NewRuns(New(nil, clock.Now), nil, nil, nil, RunOptions{})
	return r.Join(c, clock, Node{ID: id, Name: "host " + id}, forget, slog.New(slog.NewTextHandler(log, nil))), r
}

func TestMembersKnowEachOthersWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, log := &cluster{ahead: time.Hour}, &bytes.Buffer{}
		a, ra := member(t, c, "a", log, nil)
		b, rb := member(t, c, "b", log, nil)
		const project = "0123456789abcdef0123456789abcdef"
		task := &errand.Task{Project: project, Engine: errand.Redis, Operation: "EXTEND"}
		enter := func(r *Runs, project, name string, operations ...string) {
			r.seen.enter(project, ClaimRequest{Worker: name, Operations: operations}, r.now())
			r.seen.leave(project, name, r.now())
		}
		enter(ra, project, "remote", "EXTEND")
		enter(ra, "ffffffffffffffffffffffffffffffff", "elsewhere", "EXTEND")
		enter(ra, "", "host a/redis", "BACKUP")
		meet := func() {
			t.Helper()
			for _, m := range []*Member{a, b, a} {
				if err := m.Meet(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if rb.seen.serves(task, rb.now()) {
			t.Error("a node knows a worker that nobody has told it of")
		}
		meet()
		if !rb.seen.serves(task, rb.now()) {
			t.Error("a node does not know a worker of another")
		}
		names := func(r *Runs) (names []string) {
			list, err := r.Workers(errand.Principal{Project: project, Role: errand.Viewer}, project)
			if err != nil {
				t.Error(err)
			}
			for _, w := range list {
				names = append(names, w.Name)
			}
			return names
		}
		if got := names(rb); !slices.Equal(got, []string{"host a/redis", "remote"}) {
			t.Errorf("workers %v", got)
		}
		// A worker that turns to another node is one worker, seen first and last
		// wherever that was.
		since := ra.now()
		time.Sleep(Absent)
		enter(rb, project, "remote", "EXTEND", "BACKUP")
		meet()
		for _, r := range []*Runs{ra, rb} {
			list := r.seen.list(project, r.now())
			if i := slices.IndexFunc(list, func(w Worker) bool { return w.Name == "remote" }); len(list) != 2 || i < 0 ||
				!list[i].Since.Equal(since) || !list[i].Seen.Equal(r.now()) || len(list[i].Operations) != 2 {
				t.Errorf("workers %+v", list)
			}
		}
		// Those that have not been seen for long are told of no more, and known
		// by when they were.
		time.Sleep(2 * Absent)
		if told := rb.seen.lately(rb.now()); len(told) != 0 {
			t.Errorf("told of %+v", told)
		}
		meet()
		if ra.seen.serves(task, ra.now()) || ra.seen.lastSeen(task, ra.now()).IsZero() {
			t.Error("a worker that has gone is still there, or was never")
		}
		if got := names(ra); len(got) != 2 {
			t.Errorf("workers of a while ago: %v", got)
		}
		if k := a.Meeting(); len(k.Nodes) != 1 || k.Nodes[0].Name != "host b" || k.Age != 0 || k.Skew != -time.Hour {
			t.Errorf("meeting %+v", k)
		}
		time.Sleep(forgotten)
		meet()
		if got := names(ra); len(got) != 0 || len(ra.seen.told) != 0 || !ra.seen.lastSeen(task, ra.now()).IsZero() {
			t.Errorf("a day later, workers %v, %d that were told of", got, len(ra.seen.told))
		}
		if n := strings.Count(log.String(), "is off"); n != 2 || strings.Count(log.String(), "\n") != 2 {
			t.Errorf("each node says once that its clock is off: %s", log)
		}
	})
}

func TestToldWorkersAreBounded(t *testing.T) {
	t.Parallel()
	var w workers
	at := time.Unix(1e9, 0)
	for i := range maxToldWorkers + 10 {
		w.enter("p", ClaimRequest{Worker: time.Duration(i).String()}, at.Add(time.Duration(i)))
		w.leave("p", time.Duration(i).String(), at.Add(time.Duration(i)))
	}
	told := w.lately(at.Add(time.Second))
	if len(told) != maxToldWorkers || told[0].Name != time.Duration(maxToldWorkers+9).String() {
		t.Errorf("%d are told of, the first is %s", len(told), told[0].Name)
	}
	var wide workers
	for i := range 30 {
		wide.enter("p", ClaimRequest{Worker: time.Duration(i).String(), Operations: make([]string, MaxLimit)}, at)
	}
	if n := len(wide.lately(at)); n != maxToldOperations/MaxLimit {
		t.Errorf("%d workers that name %d operations each are told of", n, MaxLimit)
	}
	for i := range maxWorkers + 10 {
		w.hear([]Worker{{Project: "p", Name: time.Duration(i).String()}}, time.Time{})
		if len(w.told) > maxWorkers {
			t.Fatalf("%d are remembered", len(w.told))
		}
	}
}

func TestMemberRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, log := &cluster{}, &bytes.Buffer{}
		forgotten := 0
		m, r := member(t, c, "a", log, func() { forgotten++ })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		synctest.Wait()
		rang := func(what Ring) (changed, news bool) {
			cs, ns := r.changes.next(), r.news.next()
			c.rings["all"](what)
			select {
			case <-cs:
				changed = true
			default:
			}
			select {
			case <-ns:
				news = true
			default:
			}
			return changed, news
		}
		for what, want := range map[Ring][2]bool{RingChanged: {true, true}, RingProgress: {false, true}, RingCredentials: {}} {
			if changed, news := rang(what); changed != want[0] || news != want[1] {
				t.Errorf("ring %b: %v, %v", what, changed, news)
			}
		}
		if forgotten != 1 {
			t.Errorf("credentials were forgotten %d times", forgotten)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if k := m.Meeting(); k.Age > 2*meetEvery {
			t.Errorf("the last meeting was %s ago", k.Age)
		}
		// An outage is said once, and that it is over.
		c.fails(errors.New("the house is on fire"))
		time.Sleep(time.Minute)
		synctest.Wait()
		c.fails(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if text := log.String(); strings.Count(text, "on fire") != 1 || strings.Count(text, "meets the others again") != 1 {
			t.Errorf("log %s", text)
		}
		cancel()
		if err := <-ended; err != nil || len(c.nodes) != 0 {
			t.Errorf("Run = %v, and these are left: %v", err, c.nodes)
		}
	})
}
