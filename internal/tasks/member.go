package tasks

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// The times of a node among others.
const (
	meetEvery = 5 * time.Second
	meetQuiet = 4 * meetEvery // who has said nothing for so long is not there
	leaveTime = 2 * time.Second
)

// What bounds how many of its workers a node tells the others of, at every
// meeting: their number, and that of the operations that they name.
const (
	maxToldWorkers    = 1000
	maxToldOperations = 20_000
)

// Member is this process among the nodes that share its store. It tells the
// others of its workers, hears of theirs, keeps the clock right, and wakes who
// waits here when something has changed elsewhere. Nothing that it does has to
// succeed for tasks to run as they should.
type Member struct {
	cluster Cluster
	clock   *Clock
	runs    *Runs
	forget  func()
	log     *slog.Logger

	mu    sync.Mutex
	self  Node
	nodes []Node
	met   time.Time // when it last met the others, with its monotonic reading
	lost  bool      // that it cannot has been logged
	skewd bool      // and that its machine's clock is off
}

// Join returns this process as a node among others. self has an ID and what
// people want to know; forget is called when credentials have changed elsewhere.
// The node is known to the others, and they to it, once Run runs.
func (r *Runs) Join(cluster Cluster, clock *Clock, self Node, forget func(), log *slog.Logger) *Member {
	self.StartedAt = clock.Now()
	r.spread, r.shared = sweepSpread, true
	return &Member{cluster: cluster, clock: clock, runs: r, forget: forget, log: log, self: self}
}

// Meet measures the time, and tells and hears of workers, once.
func (m *Member) Meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetEvery)
	defer cancel()
	err := m.clock.Sync(ctx)
	var others []Node
	if err == nil {
		m.mu.Lock()
		self := m.self
		m.mu.Unlock()
		self.Skew, self.Workers = m.clock.Skew(), m.runs.seen.lately(m.clock.Now())
		others, err = m.cluster.Meet(ctx, self, meetQuiet)
	}
	if err == nil {
		for _, n := range others {
			m.runs.seen.hear(n.Workers, m.clock.Now())
		}
	}
	m.note(ctx, others, err)
	return err
}

// note remembers how a meeting went, and says what is new about it.
func (m *Member) note(ctx context.Context, others []Node, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return // the node stops
	case err != nil && !m.lost:
		m.lost = true
		m.log.Warn("this node cannot meet the others; it goes on trying", "error", err)
	case err == nil && m.lost:
		m.lost = false
		m.log.Info("this node meets the others again")
	}
	if err != nil {
		return
	}
	m.nodes, m.met = others, time.Now()
	switch skew := m.clock.Skew(); {
	case skew.Abs() <= MaxSkew/2:
		m.skewd = false
	case skew.Abs() > MaxSkew && !m.skewd:
		m.skewd = true
		m.log.Warn("the clock of this machine is off; the database's is used", "ahead", skew.Round(time.Millisecond))
	}
}

// Run is a node's life among the others, until ctx is done.
func (m *Member) Run(ctx context.Context) error {
	var listening sync.WaitGroup
	listening.Go(func() { m.cluster.Listen(ctx, m.ring) })
	for ctx.Err() == nil {
		_ = m.Meet(ctx) // which has said so
		pause(ctx, meetEvery-meetEvery/10+rand.N(meetEvery/5), nil)
	}
	listening.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := m.cluster.Leave(last, m.self.ID); err != nil {
		m.log.Info("this node could not tell the others that it stops; they will notice", "error", err)
	}
	return nil
}

// ring wakes who waits for what another node has changed.
func (m *Member) ring(what Ring) {
	switch {
	case what&RingChanged != 0:
		m.runs.changed()
	case what&RingProgress != 0:
		m.runs.news.ring()
	}
	if what&RingCredentials != 0 {
		m.forget()
	}
}

// Meeting is what a node knows of the others.
type Meeting struct {
	Self  Node
	Nodes []Node        // the others that were there when it last met them
	Age   time.Duration // since then; -1 s: it never has
	Skew  time.Duration // how far this machine's clock is ahead of the store's
}

// Meeting returns what the node knows of the others.
func (m *Member) Meeting() Meeting {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := Meeting{Self: m.self, Nodes: m.nodes, Age: -time.Second, Skew: m.clock.Skew()}
	if !m.met.IsZero() {
		k.Age = time.Since(m.met)
	}
	return k
}
