package tasks

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/errandhq/errand"
)

// A Catalog knows the operations that may be submitted.
type Catalog interface {
	// Operation returns what is declared under a name for an engine.
	Operation(engine errand.Engine, name string) (errand.Operation, bool)

	// Check holds parameters against an operation's schema. Its error is
	// Invalid about "params" and says where they are wrong.
	Check(o errand.Operation, params json.RawMessage) error

	// Details returns the before-and-after values that parameters tell, as a
	// JSON object, or nil: what a task shows that was submitted without any.
	Details(o errand.Operation, params json.RawMessage) json.RawMessage
}

// A Sealer encrypts what must not be readable where it is kept. what names the
// thing that is sealed, and must be the same to open it.
type Sealer interface {
	Seal(what string, plain []byte) []byte
	Open(what string, sealed []byte) ([]byte, error)

	// Digest returns a digest that only who holds the key can compute.
	Digest(text string) string
}

// RunOptions are the times and limits of tasks that run here. Zero members
// stand for their defaults.
type RunOptions struct {
	Lease       time.Duration // how long a worker may be silent; 10 s
	CancelGrace time.Duration // how long a worker may take to stop; 30 s
	KeyWindow   time.Duration // how long an idempotency key is remembered; 24 h
	MaxLog      int64         // bytes of log kept for a task; 4 MiB
}

func (o RunOptions) orDefault() RunOptions {
	o.Lease = cmp.Or(o.Lease, 10*time.Second)
	o.CancelGrace = cmp.Or(o.CancelGrace, 30*time.Second)
	o.KeyWindow = cmp.Or(o.KeyWindow, 24*time.Hour)
	o.MaxLog = cmp.Or(o.MaxLog, 4<<20)
	return o
}

// Runs holds the rules of tasks that run here: submit, claim, extend, finish,
// cancel, retry, sweep, why.
type Runs struct {
	svc     *Service
	queue   Queue
	catalog Catalog
	sealer  Sealer
	opt     RunOptions
	newID   func(time.Time) string
	jitter  func(time.Duration) time.Duration // a random part of it

	spread  time.Duration // of sweeps, where other nodes sweep too
	shared  bool          // other nodes may change what the store holds
	pulses  pulses        // of the projects that somebody looks at
	looks   looks         // for work
	changes bell          // rings when something may have become claimable or due
	news    bell          // rings when there is something for who watches
	seen    workers       // who asked for work lately
}

// NewRuns returns the rules over a store, beside the Service of the same store.
func NewRuns(svc *Service, queue Queue, catalog Catalog, sealer Sealer, o RunOptions) *Runs {
	r := &Runs{
		svc: svc, queue: queue, catalog: catalog, sealer: sealer, opt: o.orDefault(), newID: errand.NewID,
		jitter: func(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(d) + 1)) },
	}
	svc.changed, svc.remaining = r.changed, r.remaining
	return r
}

// now is the time in the resolution in which times are kept.
func (r *Runs) now() time.Time { return r.svc.Now().UTC().Truncate(time.Microsecond) }

// bell wakes everybody who waits for a change.
type bell struct {
	mu    sync.Mutex
	c     chan struct{}
	rings uint64 // so far, from 1 on
}

// next returns a channel that is closed at the next ring.
func (b *bell) next() <-chan struct{} {
	c, _ := b.after()
	return c
}

// after is next with the number of the ring before.
func (b *bell) after() (<-chan struct{}, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c, b.rings + 1
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rings++
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}

// changed tells everybody who waits that a task has changed its status.
func (r *Runs) changed() {
	r.changes.ring()
	r.news.ring()
}

// Changed returns a channel that is closed when an event has been recorded here,
// or a worker has told of progress. It is a hint: what to do is read from the
// store.
func (r *Runs) Changed() <-chan struct{} { return r.news.next() }

// Feed returns up to limit events of a project after the one numbered after, in
// their order.
func (r *Runs) Feed(ctx context.Context, p errand.Principal, project string, after int64, limit int) ([]errand.Event, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return nil, err
	}
	if limit < 1 || limit > MaxLimit {
		return nil, errand.Errorf(errand.Invalid, "limit", "limit must be 1 to %d, not %d", MaxLimit, limit)
	}
	return r.queue.Feed(ctx, project, after, limit)
}

// LastSeq returns the number of the newest event: where a reader begins who
// wants only what is still to come.
func (r *Runs) LastSeq(ctx context.Context, p errand.Principal, project string) (int64, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return 0, err
	}
	return r.queue.LastSeq(ctx)
}

// Scheduled returns a page of the tasks that were submitted to run later.
func (r *Runs) Scheduled(ctx context.Context, p errand.Principal, f errand.Filter) (errand.Page, error) {
	if err := checkFilter(p, f); err != nil {
		return errand.Page{}, err
	}
	return r.queue.Scheduled(ctx, f)
}

// Log returns up to limit bytes of what a task's attempts wrote, from offset,
// and how much there is.
func (r *Runs) Log(ctx context.Context, p errand.Principal, project, id string, offset int64, limit int) ([]byte, int64, error) {
	if _, err := r.svc.Show(ctx, p, project, "", id); err != nil {
		return nil, 0, err
	}
	if offset < 0 {
		return nil, 0, errand.Errorf(errand.Invalid, "offset", "offset must not be negative")
	}
	if limit < 1 || limit > MaxLogRead {
		return nil, 0, errand.Errorf(errand.Invalid, "limit", "limit must be 1 to %d bytes, not %d", MaxLogRead, limit)
	}
	return r.queue.Log(ctx, project, id, offset, limit)
}

// MaxLogRead is how much of a log one call returns at the most.
const MaxLogRead = 1 << 20

// Backlog says how much there is to do, in all projects: it is for metrics, not
// for callers.
func (r *Runs) Backlog(ctx context.Context) (b Backlog, now time.Time, err error) {
	now = r.now()
	b, err = r.queue.Backlog(ctx, now)
	return b, now, err
}
