package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/errandhq/errand"
)

// ttl is how long a credential's meaning is remembered. It bounds how long
// another node of the same database goes on honouring a revoked one if it does
// not hear of that; on the node that revokes it ends at once.
const ttl = 5 * time.Second

// The sizes of a cache. What does not exist is remembered apart from what does:
// a flood of made-up credentials then pushes out none that is in use.
const (
	maxKnown   = 10_000
	maxUnknown = 1_000
	maxLookups = 16 // that go to the store at the same time
)

// cache remembers for a short while what a credential stands for, and that it
// stands for nothing.
type cache[K comparable, V any] struct {
	now   func() time.Time
	find  func(context.Context, K) (V, error) // asks the store
	slots chan struct{}

	mu             sync.RWMutex
	generation     uint64 // grows with forget
	known, unknown map[K]entry[V]
}

type entry[V any] struct {
	value V
	err   error
	at    time.Time // when it was read
}

func newCache[K comparable, V any](now func() time.Time, find func(context.Context, K) (V, error)) *cache[K, V] {
	return &cache[K, V]{
		now: now, find: find, slots: make(chan struct{}, maxLookups),
		known: map[K]entry[V]{}, unknown: map[K]entry[V]{},
	}
}

// get returns what find says about k, now or up to ttl ago. Only Unauthenticated
// errors are remembered.
func (c *cache[K, V]) get(ctx context.Context, k K) (V, error) {
	now := c.now()
	c.mu.RLock()
	e, ok := c.known[k]
	if !ok {
		e, ok = c.unknown[k]
	}
	c.mu.RUnlock()
	if age := now.Sub(e.at); ok && age >= 0 && age < ttl { // the clock may have been set back
		return e.value, e.err
	}
	return c.lookUp(ctx, k, now)
}

func (c *cache[K, V]) lookUp(ctx context.Context, k K, now time.Time) (V, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		var none V
		return none, errand.Errorf(errand.Unavailable, "credentials", "the request ended before its credentials were looked up").WithCause(ctx.Err())
	}
	c.mu.RLock()
	generation := c.generation
	c.mu.RUnlock()
	v, err := c.find(ctx, k)
	e, refused := errors.AsType[*errand.Error](err)
	if err != nil && (!refused || e.Kind != errand.Unauthenticated) {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return v, err // it may have changed since find read it
	}
	put, limit := c.known, maxKnown
	if err != nil {
		put, limit = c.unknown, maxUnknown
	}
	delete(c.known, k)
	delete(c.unknown, k)
	if len(put) >= limit {
		clear(put) // cheaper than choosing, and all of it comes back when needed
	}
	put[k] = entry[V]{value: v, err: err, at: now}
	return v, err
}

// forget drops everything, and what is being looked up meanwhile.
func (c *cache[K, V]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	clear(c.known)
	clear(c.unknown)
}

// drop is forget for one key.
func (c *cache[K, V]) drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	delete(c.known, k)
	delete(c.unknown, k)
}
