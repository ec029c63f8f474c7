package tasks

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// lookers is how many of those who are woken for the same work look for it at a
// time.
const lookers = 8

// turnWait is how long one waits for a turn.
const turnWait = 5 * time.Second

// looks spares the store those who would find nothing. A change wakes everybody
// who waits, and most of them wait for the same: once one has found nothing
// left, the others need not look.
type looks struct {
	mu  sync.Mutex
	all map[string]*look
}

// look is what those who wait for the same work know of it.
type look struct {
	users int
	turns chan struct{}

	mu    sync.Mutex
	empty uint64    // nothing was left after this ring of the bell,
	next  time.Time // but for what is to be run from then on; zero: nothing
}

// join returns the look of those who want the same as want; who has joined
// leaves it.
func (l *looks) join(want Want) (*look, func()) {
	engines := make([]string, len(want.Engines))
	for i, e := range want.Engines {
		engines[i] = string(e)
	}
	operations := slices.Sorted(slices.Values(want.Operations))
	const end = "\x00" // which is in no text
	key := want.Project + end + strings.Join(slices.Sorted(slices.Values(engines)), end) + end + end + strings.Join(operations, end)
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.all[key]
	if k == nil {
		k = &look{turns: make(chan struct{}, lookers)}
		if l.all == nil {
			l.all = map[string]*look{}
		}
		l.all[key] = k
	}
	k.users++
	return k, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.all, key)
		}
	}
}

// take calls take, which says whether it has left nothing. Who has only just come
// always looks; who was woken takes turns, and does not look if nothing was left
// after the ring numbered ring.
func (k *look) take(ctx context.Context, ring uint64, now func() time.Time, came bool, take func() (none bool, next time.Time, err error)) (time.Time, error) {
	if !came {
		patience := time.NewTimer(turnWait)
		defer patience.Stop()
		select {
		case k.turns <- struct{}{}:
			defer func() { <-k.turns }()
		case <-patience.C: // the store is slow: not to ask it is what helps
			return now().Add(turnWait), nil
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
		if next, empty := k.isEmpty(ring, now()); empty {
			return next, nil
		}
	}
	none, next, err := take()
	if err == nil && none {
		k.mu.Lock()
		defer k.mu.Unlock()
		if ring >= k.empty {
			k.empty, k.next = ring, next
		}
	}
	return next, err
}

// isEmpty reports whether nothing can have come since somebody found nothing.
func (k *look) isEmpty(ring uint64, now time.Time) (next time.Time, empty bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.next, k.empty >= ring && (k.next.IsZero() || now.Before(k.next))
}
