package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/errandhq/errand"
)

// Pool claims tasks and runs their handlers, up to Size at a time. Source and Mux
// must be set; zero members stand for their defaults. A Pool runs once.
type Pool struct {
	Source Source
	Mux    *Mux

	Name    string          // of this worker, for people, unique among those that run; host:pid
	Engines []errand.Engine // claim tasks of these only; none: every engine
	Size    int             // handlers at a time; 4
	Log     *slog.Logger    // none: nothing is logged

	// Wait is how long one claim waits for work; 30 s, at most 60 s.
	Wait time.Duration
	// StopTimeout is how long handlers may go on once the pool is to stop; 30 s.
	StopTimeout time.Duration
	// Grace is how long a handler may take to return once its context has ended;
	// 8 s. The server gives an attempt that is out of time ten.
	Grace time.Duration
	// MaxLog is how many bytes of log an attempt may write; a little less than the
	// 4 MiB that a server keeps of a task, so that the mark of a cut fits in.
	MaxLog int64

	base     context.Context // of calls and handlers: it ends with Run
	slots    chan struct{}   // holds one for each handler that may start
	stopping chan struct{}   // closed when handlers must end
	attempts sync.WaitGroup

	mu        sync.Mutex
	lanes     map[lane]*attempt // the last handler that was started in each
	abandoned int
}

// lane is what no two handlers of this pool work on at a time.
type lane struct{ project, instance, name string }

func (p *Pool) prepare(ctx context.Context) error {
	if p.Source == nil || p.Mux == nil || len(p.Mux.handlers) == 0 {
		return errors.New("worker: a pool needs a source and a mux with at least one handler")
	}
	host, _ := os.Hostname()
	p.Name = cmp.Or(p.Name, cmp.Or(host, "worker")+":"+strconv.Itoa(os.Getpid()))
	p.Size = max(1, cmp.Or(p.Size, 4))
	p.Wait = min(60*time.Second, cmp.Or(p.Wait, 30*time.Second))
	p.StopTimeout = cmp.Or(p.StopTimeout, 30*time.Second)
	p.Grace = cmp.Or(p.Grace, 8*time.Second)
	p.MaxLog = cmp.Or(p.MaxLog, 4<<20-256)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	p.base = context.WithoutCancel(ctx)
	p.slots = make(chan struct{}, p.Size)
	for range p.Size {
		p.slots <- struct{}{}
	}
	p.stopping = make(chan struct{})
	p.lanes = map[lane]*attempt{}
	return nil
}

// Run works until ctx is done. It then claims nothing more and gives handlers
// StopTimeout to finish; those that have not are told to stop, and their attempts
// are reported as failed, so that another worker may begin the next one at once.
// Run returns nil when every handler has ended, an error if it had to leave some
// behind, and the source's error at once if the very first claim is refused as
// Invalid, Unauthenticated, Forbidden or NotFound.
func (p *Pool) Run(ctx context.Context) error {
	if err := p.prepare(ctx); err != nil {
		return err
	}
	var cancel context.CancelFunc
	p.base, cancel = context.WithCancel(p.base)
	defer cancel()

	err := p.claims(ctx)
	timer := time.AfterFunc(p.StopTimeout, func() { close(p.stopping) })
	defer timer.Stop()
	p.attempts.Wait()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.abandoned > 0 {
		return fmt.Errorf("worker: %d handlers did not stop when they were told to, and may still be running", p.abandoned)
	}
	return nil
}

// The waits between claims that fail.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// claims asks for work while there is room for it.
func (p *Pool) claims(ctx context.Context) error {
	answered, pause := false, firstPause
	for {
		free := p.acquire(ctx)
		if free == 0 {
			return nil
		}
		asked := time.Now()
		grants, err := p.Source.Claim(ctx, ClaimRequest{
			Worker: p.Name, Operations: p.Mux.Operations(), Engines: p.Engines, Limit: free, Wait: p.Wait,
		})
		for i, g := range grants { // even if the pool is to stop now: they are ours
			if i == free {
				p.Log.Error("the source granted more tasks than were asked for", "asked", free, "granted", len(grants))
				break
			}
			p.start(g, asked)
		}
		for range free - len(grants) {
			p.slots <- struct{}{}
		}
		switch kind := errand.ErrorOf(err); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			answered, pause = true, firstPause
			continue
		case !answered && refused(kind.Kind):
			return err
		}
		p.Log.Warn("claim failed", "error", err, "again_in", pause)
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			return nil
		}
		pause = min(lastPause, 2*pause)
	}
}

// refused reports whether asking again would be of no use.
func refused(k errand.Kind) bool {
	return k == errand.Invalid || k == errand.Unauthenticated || k == errand.Forbidden || k == errand.NotFound
}

// acquire waits for room and takes all there is. It returns 0 once ctx is done.
func (p *Pool) acquire(ctx context.Context) int {
	select {
	case <-ctx.Done():
		return 0
	case <-p.slots:
	}
	if ctx.Err() != nil {
		return 0
	}
	for n := 1; n < MaxClaim; n++ {
		select {
		case <-p.slots:
		default:
			return n
		}
	}
	return MaxClaim
}

// start runs an attempt in a goroutine that Run waits for.
func (p *Pool) start(g Grant, asked time.Time) {
	a := newAttempt(p, g)
	a.asked = asked
	a.before = p.enter(a)
	p.attempts.Go(a.run)
}

// enter notes that a's handler is the next one in its lane, and returns the one
// before it that may still be running, or nil.
func (p *Pool) enter(a *attempt) *attempt {
	if a.task.Run == nil || a.task.Run.Lane == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.lanes[a.lane()]
	p.lanes[a.lane()] = a
	return before
}

// leave frees what a's handler has held. It is called when the handler has
// returned, and nothing more is to be said of it.
func (p *Pool) leave(a *attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := a.lane(); p.lanes[l] == a {
		delete(p.lanes, l)
		if b := a.before; b != nil && !b.done() { // a did not begin because of it
			p.lanes[l] = b
		}
	}
	p.slots <- struct{}{} // never waits: it has room for all
}

// abandon leaves a handler behind until it returns by itself.
func (p *Pool) abandon(a *attempt) {
	p.mu.Lock()
	p.abandoned++
	p.mu.Unlock()
	a.log.Error("the handler does not stop; its task is left to the server, its place stays taken until it returns",
		"cause", context.Cause(a.ctx), "after", p.Grace)
	go func() {
		<-a.returned
		a.log.Warn("an abandoned handler has returned")
		p.mu.Lock()
		p.abandoned--
		p.mu.Unlock()
		p.leave(a)
	}()
}

// sleep waits for d and reports false once ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
