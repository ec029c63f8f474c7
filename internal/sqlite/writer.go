package sqlite

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// maxGroup bounds how many callers share a transaction, and so how long the
// first of them waits for the others.
const maxGroup = 256

// writer is the only one who writes. Its goroutine takes all callers that wait,
// runs each in a savepoint of one transaction, makes that durable with one
// fsync, and answers them together.
type writer struct {
	c       *conn
	queue   chan *request // unbuffered: who has been taken will be answered
	restart chan struct{} // the checkpointer asks for the second phase
	quit    chan struct{}

	wrote   chan struct{} // tells the checkpointer that there is something to do
	stopped atomic.Bool   // the last write failed because of the disk

	counts   []delta // of the group
	changed  []int64 // scopes whose tasks it changes
	after    []func()
	versions *versions
}

// request is one caller's part of a group.
type request struct {
	ctx  context.Context
	fn   func(*tx) error
	err  error
	done chan struct{}
}

// tx is one caller's view of the transaction. What it collects counts only if
// the caller succeeds.
type tx struct {
	*conn
	counts  []delta
	changed []int64  // scopes
	after   []func() // run once the transaction is durable
	wrote   bool
}

// exec runs a statement that writes.
func (t *tx) exec(query string, args ...any) error {
	t.wrote = true
	return t.conn.exec(query, args...)
}

func newWriter(c *conn, v *versions, quit chan struct{}) *writer {
	return &writer{
		versions: v,
		c:        c,
		queue:    make(chan *request),
		restart:  make(chan struct{}),
		quit:     quit,
		wrote:    make(chan struct{}, 1),
	}
}

// do runs fn in a transaction and returns once that is durable. An error of fn
// undoes what fn did and is returned as it is.
func (w *writer) do(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return tooLate(err)
	}
	r := &request{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case w.queue <- r:
	case <-ctx.Done():
		return tooLate(ctx.Err())
	case <-w.quit:
		return closing()
	}
	<-r.done
	return classify(r.err)
}

// run serves callers until quit is closed.
func (w *writer) run() {
	group := make([]*request, 0, maxGroup)
	for {
		select {
		case <-w.quit:
			return
		case <-w.restart:
			w.checkpoint()
		case r := <-w.queue:
			group = w.gather(append(group[:0], r))
			w.commit(group)
			clear(group)
		}
	}
}

// gather adds the callers that wait already. It lets others run first: the
// callers of the last group have just been answered and may be about to ask
// again, and without that each second group would be the first of them alone.
func (w *writer) gather(group []*request) []*request {
	runtime.Gosched()
	for len(group) < maxGroup {
		select {
		case r := <-w.queue:
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

// commit runs a group and answers every caller in it.
func (w *writer) commit(group []*request) {
	w.counts, w.changed, w.after = w.counts[:0], w.changed[:0], w.after[:0]
	wrote, err := w.transact(group)
	if err != nil {
		w.rollback()
		w.stopped.Store(w.stopped.Load() || stops(err))
		for _, r := range group {
			if r.err == nil {
				r.err = fmt.Errorf("commit: %w", err)
			}
		}
	} else {
		for _, f := range w.after {
			f()
		}
		if wrote {
			w.stopped.Store(false)
			notify(w.wrote)
		}
	}
	clear(w.after)
	for _, r := range group {
		close(r.done)
	}
}

// transact runs a group up to its commit. An error concerns the whole group;
// one caller's own error is in its request.
func (w *writer) transact(group []*request) (wrote bool, err error) {
	if err := w.c.exec(`BEGIN IMMEDIATE`); err != nil {
		return false, err
	}
	for _, r := range group {
		t := &tx{conn: w.c}
		r.err = w.one(t, r)
		if w.c.AutocommitEnabled() {
			// On some errors (a full disk, a failing one) SQLite undoes the
			// whole transaction: nobody's changes are left to commit.
			err := r.err
			r.err = nil
			return false, fmt.Errorf("the transaction was undone: %w", err)
		}
		if r.err == nil {
			wrote = wrote || t.wrote
			w.counts = append(w.counts, t.counts...)
			w.changed = append(w.changed, t.changed...)
			w.after = append(w.after, t.after...)
		}
	}
	if err := w.c.applyCounts(w.counts); err != nil {
		return false, err
	}
	for _, scope := range w.changed {
		w.versions.begin(scope)
	}
	defer w.versions.end()
	return wrote, w.c.exec(`COMMIT`)
}

// one runs a caller in its savepoint.
func (w *writer) one(t *tx, r *request) error {
	if err := r.ctx.Err(); err != nil {
		return tooLate(err)
	}
	if err := w.c.exec(`SAVEPOINT caller`); err != nil {
		return err
	}
	err := call(r.fn, t)
	if err != nil && !w.c.AutocommitEnabled() {
		if stops(err) {
			w.stopped.Store(true)
		}
		if uerr := w.c.exec(`ROLLBACK TO caller`); uerr != nil {
			w.rollback() // what this caller did must not be committed with the others
			return uerr
		}
	}
	if w.c.AutocommitEnabled() {
		return err
	}
	if rerr := w.c.exec(`RELEASE caller`); err == nil {
		err = rerr
	}
	return err
}

// call keeps a panic of one caller from ending the writer that all share.
func call(fn func(*tx) error, t *tx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", v, debug.Stack())
		}
	}()
	return fn(t)
}

func (w *writer) rollback() {
	if !w.c.AutocommitEnabled() {
		_ = w.c.exec(`ROLLBACK`)
	}
}

// notify wakes who waits on c, now or next time, without blocking.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
