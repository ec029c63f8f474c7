package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxTries is how often a call that may be repeated is sent in all.
const maxTries = 3

// firstBackoff is the longest wait before the second try; it doubles with each
// further one.
const firstBackoff = 400 * time.Millisecond

// backoff returns how long to wait after the given try, counted from 0: any time
// up to the bound ("full jitter"), so that many clients that were cut off
// together do not come back together.
func backoff(try int) time.Duration {
	return rand.N(firstBackoff << try)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
