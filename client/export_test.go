package client

import (
	"context"
	"time"
)

// WithoutWaiting makes c repeat its calls at once.
func WithoutWaiting(c *Client) {
	c.wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
}
