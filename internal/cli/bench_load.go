package cli

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/errandhq/errand"
)

// kindLoad is one kind of request and what came of it.
type kindLoad struct {
	kind   string
	weight int
	do     func(ctx context.Context, client int) error // one request
	times  histogram

	mu     sync.Mutex
	errors map[string]int64
	first  string
}

func (k *kindLoad) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.errors) == 0 {
		k.errors, k.first = map[string]int64{}, message(err)
	}
	k.errors[errand.ErrorOf(err).Kind.String()]++
}

func (k *kindLoad) stats(took time.Duration) kindStats {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	k.mu.Lock()
	defer k.mu.Unlock()
	s := kindStats{
		Kind: k.kind, Count: k.times.count.Load(), Errors: map[string]int64{}, Example: k.first,
		P50: ms(k.times.quantile(0.5)), P99: ms(k.times.quantile(0.99)), P999: ms(k.times.quantile(0.999)),
		Max: ms(time.Duration(k.times.longest.Load())),
	}
	if took > 0 {
		s.PerSecond = rounded(float64(s.Count) / took.Seconds())
	}
	for kind, n := range k.errors {
		s.Errors[kind] = n
	}
	return s
}

// rounded cuts off digits that mean nothing.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }

// pace says how many requests are made, and when.
type pace struct {
	clients  int
	requests int64         // at the most; 0: as many as fit
	rate     float64       // begun in a second; 0: each after the one before
	duration time.Duration // in which they begin
	drain    time.Duration // for answers after that
}

// load makes requests of several kinds from several clients.
type load struct {
	pace
	kinds   []*kindLoad
	weights int

	started    time.Time
	tickets    atomic.Int64 // requests that were begun, or were due
	begun      atomic.Int64
	unfinished atomic.Int64
	refused    atomic.Pointer[error] // what ended the load early
}

// run makes requests until ctx is done, the time is over or there have been
// enough, and returns how long it took. The error is one that would come again for
// every request: those that only some meet are counted.
func (l *load) run(ctx context.Context) (time.Duration, error) {
	begin, stop := context.WithTimeout(ctx, l.duration)
	defer stop()
	answers, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	// Requests that are on their way when the time is over may still end.
	unwatch := context.AfterFunc(begin, func() { time.AfterFunc(l.drain, giveUp) })
	defer unwatch()

	l.started = time.Now()
	var clients sync.WaitGroup
	for i := range l.clients {
		clients.Go(func() { l.client(begin, stop, answers, i) })
	}
	clients.Wait()
	took := time.Since(l.started)
	if err := l.refused.Load(); err != nil {
		return took, *err
	}
	return took, nil
}

// client makes one request after the other.
func (l *load) client(begin context.Context, stop func(), answers context.Context, client int) {
	for {
		due, ok := l.next(begin)
		if !ok {
			return
		}
		l.begun.Add(1)
		k := l.pick()
		err := k.do(answers, client)
		switch {
		case err == nil:
			k.times.add(time.Since(due))
			continue
		case answers.Err() != nil:
			l.unfinished.Add(1)
			return
		}
		k.failed(err)
		switch errand.ErrorOf(err).Kind {
		case errand.Invalid, errand.Unauthenticated, errand.Forbidden, errand.NotFound:
			l.refused.CompareAndSwap(nil, &err)
			stop()
			return
		case errand.Unavailable, errand.Internal:
			pauseFor(begin, benchPause) // it has trouble enough
		}
	}
}

// benchPause is how long a client waits after an error of the server.
const benchPause = 100 * time.Millisecond

// next waits until the next request is due and returns when that was; false is
// that there is none.
func (l *load) next(begin context.Context) (time.Time, bool) {
	if begin.Err() != nil || time.Since(l.started) >= l.duration {
		return time.Time{}, false
	}
	n := l.tickets.Add(1)
	if l.requests > 0 && n > l.requests {
		return time.Time{}, false
	}
	if l.rate == 0 {
		return time.Now(), true
	}
	due := l.started.Add(time.Duration(float64(n-1) / l.rate * float64(time.Second)))
	return due, due.Sub(l.started) < l.duration && pauseFor(begin, time.Until(due))
}

// pauseFor waits for d and reports false once ctx is done.
func pauseFor(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// pick returns a kind, each as often as its weight says.
func (l *load) pick() *kindLoad {
	n := rand.IntN(l.weights)
	for _, k := range l.kinds {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	return l.kinds[0]
}

// unsent returns how many requests were due while the load went on, and had no
// client that was free.
func (l *load) unsent(took time.Duration) int64 {
	if l.rate == 0 {
		return 0
	}
	due := int64(min(took, l.duration).Seconds() * l.rate)
	if l.requests > 0 {
		due = min(due, l.requests)
	}
	return max(0, due-l.begun.Load())
}
