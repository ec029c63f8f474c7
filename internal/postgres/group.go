package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

const (
	flushers  = 2   // groups of one node that are under way side by side
	maxGroup  = 128 // callers in a group
	maxWeight = 512 // tasks in a group, about
)

// weigh is the weight of a task that brings so many bytes: 8 MiB fill a group.
func weigh(bytes int) int { return 1 + bytes>>14 }

// op is what one caller has done in a group.
type op struct {
	scopes []int64           // instances that it is about
	keys   []int64           // locks that it waits for
	try    []int64           // locks that it tries, but for those that are busy in this node
	alone  bool              // it may wait long for a lock: nobody is to share that
	weight int               // tasks that it is about, about
	needs  func(*needs)      // says what is to be read
	decide func(*flow) error // looks at that, and says what is to be written; it may run again

	// first is asked before an op that is alone waits for its locks: it may settle
	// the matter without.
	first func(context.Context) (done bool, err error)

	tried []int64
	err   error
	done  chan struct{}
}

// group has the callers of this node share transactions.
type group struct {
	mu      sync.Mutex
	wake    *sync.Cond
	waiting []*op
	busy    map[int64]bool // locks of the groups that are under way
	closed  bool
}

func newGroup() *group {
	g := &group{busy: make(map[int64]bool)}
	g.wake = sync.NewCond(&g.mu)
	return g
}

// do runs o in a transaction, together with what others want at the moment, and
// returns once that is durable. Who leaves while o waits takes it back; once it
// has been taken it is answered.
func (s *Store) do(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return tooLate(err)
	}
	o.err, o.done = nil, make(chan struct{})
	if o.alone {
		return s.doAlone(ctx, o)
	}
	if !s.group.enter(o) {
		return closing()
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		if s.group.leave(o) {
			return tooLate(ctx.Err())
		}
		<-o.done
	}
	return o.err
}

// doAlone runs o in a transaction of its own.
func (s *Store) doAlone(ctx context.Context, o *op) error {
	if o.first != nil {
		if done, err := o.first(ctx); done || err != nil {
			return err
		}
	}
	end, err := s.begins(ctx)
	if err != nil {
		return err
	}
	defer end()
	o.tried = o.try
	s.serve([]*op{o})
	return o.err
}

func (g *group) enter(o *op) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.waiting = append(g.waiting, o)
	g.wake.Signal()
	return true
}

// leave takes o back, unless it has been taken.
func (g *group) leave(o *op) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, o)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	g.wake.Broadcast() // it may have been in another's way
	return true
}

// close refuses new callers. Those who wait are still served.
func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.wake.Broadcast()
}

// flush serves callers until the group is closed and none waits.
func (s *Store) flush() {
	for {
		ops := s.group.next()
		if ops == nil {
			return
		}
		s.serve(ops)
	}
}

// next returns callers who can share a transaction, the first of those who wait
// among them: no two are about the same lock, nor about one that is busy.
func (g *group) next() []*op {
	runtime.Gosched() // who has just been answered may be about to ask again
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		if ops := g.pick(); len(ops) > 0 {
			return ops
		}
		if g.closed && len(g.waiting) == 0 {
			return nil
		}
		g.wake.Wait()
	}
}

func (g *group) pick() []*op {
	var ops []*op
	var passed map[int64]bool // locks of those who are left for later, in their order
	weight := 0
	left := g.waiting[:0]
	for i, o := range g.waiting {
		if len(ops) == maxGroup || weight >= maxWeight {
			left = append(left, g.waiting[i:]...)
			break
		}
		blocked := func(k int64) bool { return g.busy[k] || passed[k] }
		o.tried = slices.DeleteFunc(slices.Clone(o.try), blocked)
		if slices.ContainsFunc(o.keys, blocked) || len(o.try) > 0 && len(o.tried) == 0 {
			if passed == nil {
				passed = make(map[int64]bool)
			}
			for _, ks := range [...][]int64{o.keys, o.try} {
				for _, k := range ks {
					passed[k] = true
				}
			}
			left = append(left, o)
			continue
		}
		g.mark(o, true)
		ops = append(ops, o)
		weight += max(1, o.weight)
	}
	clear(g.waiting[len(left):])
	g.waiting = left
	return ops
}

func (g *group) mark(o *op, busy bool) {
	for _, ks := range [...][]int64{o.keys, o.tried} {
		for _, k := range ks {
			if busy {
				g.busy[k] = true
			} else {
				delete(g.busy, k)
			}
		}
	}
}

// free lets go of the locks of a group that has ended.
func (g *group) free(ops []*op) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range ops {
		g.mark(o, false)
	}
	if len(g.waiting) > 0 || g.closed {
		g.wake.Broadcast()
	}
}

// serve runs a group and answers everybody in it. What the database refuses it
// refuses to all; then they are tried one by one, so that each has an error of
// his own, or none.
func (s *Store) serve(ops []*op) {
	ctx, cancel := context.WithTimeout(context.Background(), groupTimeout)
	defer cancel()
	err := again(ctx, func() (bool, error) { return s.tryGroup(ctx, ops) })
	if err != nil && len(ops) > 1 && errand.ErrorOf(classify(err)).Kind != errand.Unavailable {
		for i := range ops {
			s.serve(ops[i : i+1])
		}
		return
	}
	if !ops[0].alone { // before anybody is answered: who asks next must not be passed over
		s.group.free(ops)
	}
	for _, o := range ops {
		if err != nil {
			o.err = classify(err)
		}
		close(o.done)
	}
}

// tryGroup runs a group once, and reports whether nothing was committed and
// another try may fare better.
func (s *Store) tryGroup(ctx context.Context, ops []*op) (retry bool, err error) {
	c, err := s.writers.Acquire(ctx)
	if err != nil {
		return true, err
	}
	defer c.Release()
	f := newFlow(c.Conn())
	err = s.runGroup(ctx, f, ops)
	if err != nil || f.idle() {
		retry = err != nil && retriable(c.Conn(), err)
		rollback(ctx, c.Conn())
		return retry, err
	}
	for _, call := range f.after {
		call()
	}
	return false, nil
}

func (s *Store) runGroup(ctx context.Context, f *flow, ops []*op) error {
	b := &pgx.Batch{}
	s.queueBegin(b)
	var shared, keys, try []int64
	var n needs
	for _, o := range ops {
		for _, scope := range o.scopes {
			shared = append(shared, instanceLock(scope))
		}
		keys, try = append(keys, o.keys...), append(try, o.tried...)
		o.needs(&n)
	}
	queueLocks(b, shared, keys)
	f.queueTry(b, sorted(try))
	f.queueLoads(b, &n)
	if err := f.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	for _, o := range ops {
		o.err = call(o.decide, f)
		if errors.Is(o.err, errPanic) { // it may have left half of what it was to write
			return o.err
		}
	}
	if f.idle() {
		return nil
	}
	b = &pgx.Batch{}
	f.queueWrites(b)
	return s.commit(ctx, b, &f.tx)
}

// call keeps a panic of one caller from ending all.
func call(decide func(*flow) error, f *flow) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, v, debug.Stack())
		}
	}()
	return decide(f)
}

var errPanic = errors.New("panic in a transaction")

// errMoved says that a task is not where it was thought to be: its caller looks
// for it again.
var errMoved = errors.New("the task has moved")
