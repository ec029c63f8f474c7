package tasks

import (
	"context"
	"sync"
	"time"
)

// How often the time is asked for: at first, and by every Sync after that.
const (
	firstSamples = 4
	clockSamples = 2
)

// clockDrift is by how much of the time that has passed two clocks may have come
// apart: more than what clocks of machines do (some 100 parts in a million).
const clockDrift = 500e-6

// MaxSkew is how far a node's own clock may be off before that is worth a
// warning. The node works all the same.
const MaxSkew = time.Second

// Clock gives the time of a store that several nodes share, by the monotonic
// clock of this process: what its machine's clock says, and is set to while the
// process runs, does not matter. Make one with NewClock.
type Clock struct {
	store interface {
		Time(ctx context.Context) (time.Time, error)
	}
	begin time.Time // with its monotonic reading

	mu     sync.Mutex
	origin time.Time     // the store's time at begin, as it was measured last
	within time.Duration // by how much that measurement may be wrong
	at     time.Duration // after begin, when it was made
}

// NewClock returns a clock that has measured the time of store once.
func NewClock(ctx context.Context, store Cluster) (*Clock, error) {
	c := &Clock{store: store, begin: time.Now()}
	return c, c.Sync(ctx)
}

// Sync measures the store's time anew: the answer that took the least time says
// it best. What was measured before stays, where the two do not contradict each
// other and it was the better one. After an error the clock goes on as before.
func (c *Clock) Sync(ctx context.Context) error {
	var origin time.Time
	var within, at time.Duration
	samples := clockSamples
	if c.zero() {
		samples = firstSamples
	}
	for i := range samples {
		asked := time.Since(c.begin)
		said, err := c.store.Time(ctx)
		if err != nil {
			return err
		}
		heard := time.Since(c.begin)
		if half := (heard - asked) / 2; i == 0 || half < within {
			within, at = half, heard
			origin = said.Round(0).Add(-asked - half) // when it was said, half of the way had passed
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.origin.IsZero() {
		known := c.within + time.Duration(clockDrift*float64(at-c.at))
		if apart := origin.Sub(c.origin).Abs(); known < within && apart <= known+within {
			return nil
		}
	}
	c.origin, c.within, c.at = origin, within, at
	return nil
}

func (c *Clock) zero() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.origin.IsZero()
}

// Now returns the store's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.origin.Add(time.Since(c.begin))
}

// Skew returns how far the clock of this machine is ahead of the store's.
func (c *Clock) Skew() time.Duration { return time.Now().Round(0).Sub(c.Now()) }
