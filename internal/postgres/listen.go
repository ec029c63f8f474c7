package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand/internal/tasks"
)

const (
	pollEvery   = 500 * time.Millisecond // without notifications
	recallEvery = 3 * time.Second        // what is remembered of credentials, without them
	netEvery    = 10 * time.Second       // with them
	echoEvery   = time.Minute            // whether they still come
	echoWait    = 3 * time.Second        // for one's own

	backoffFirst = 100 * time.Millisecond // before connecting again
	backoffMost  = 15 * time.Second

	ringAll = tasks.RingChanged | tasks.RingProgress | tasks.RingCredentials
)

// errDeaf says that a connection works and notifications do not come through.
var errDeaf = errors.New("no notification came through")

// channelOf names the channel of those who keep their tables in a schema.
func channelOf(schema string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(schema))
	return fmt.Sprintf("errand_%016x", h.Sum64())
}

// Listen implements tasks.Cluster.
func (s *Store) Listen(ctx context.Context, ring func(tasks.Ring)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	backoff, level := backoffFirst, slog.LevelInfo
	for ctx.Err() == nil {
		began := time.Now()
		err := s.listen(ctx, ring)
		if ctx.Err() != nil {
			return
		}
		pause := backoff
		switch {
		case errors.Is(err, errDeaf):
			pause = echoEvery
			s.log.Log(ctx, level, "notifications of the database do not come through; asking it twice a second instead", "again", pause)
			level = slog.LevelDebug // it is likely to stay so
		case time.Since(began) > netEvery:
			backoff = backoffFirst
			pause = 0
		default:
			backoff = min(2*backoff, backoffMost)
		}
		if err != nil && !errors.Is(err, errDeaf) {
			s.log.Warn("the connection for notifications was lost; connecting again", "err", err)
		}
		s.poll(ctx, pause, ring)
	}
}

// poll rings without being told to, for about as long as pause.
func (s *Store) poll(ctx context.Context, pause time.Duration, ring func(tasks.Ring)) {
	var told time.Time // to forget credentials, which many requests would have to look up again
	for end := time.Now().Add(about(pause)); ; {
		left := time.Until(end)
		if left <= 0 || !sleep(ctx, min(left, about(pollEvery))) {
			return
		}
		r := tasks.RingChanged | tasks.RingProgress
		if time.Since(told) > recallEvery {
			r, told = ringAll, time.Now()
		}
		ring(r)
	}
}

// about is d with a jitter, so that nodes do not ask all at once.
func about(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// listen hears notifications as long as they come through.
func (s *Store) listen(ctx context.Context, ring func(tasks.Ring)) error {
	c, err := pgx.ConnectConfig(ctx, s.target.with(nil).ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if _, err := c.Exec(ctx, `LISTEN `+s.channel); err != nil {
		return err
	}
	ring(ringAll) // what was missed
	for {
		if err := s.echo(ctx, c, ring); err != nil {
			return err
		}
		for end := time.Now().Add(about(echoEvery)); time.Now().Before(end); {
			if err := hear(ctx, c, about(netEvery), func(payload string) bool {
				s.heard(payload, ring)
				return false
			}); err != nil {
				return err
			}
			ring(ringAll)
		}
	}
}

// heard passes on what another node says.
func (s *Store) heard(payload string, ring func(tasks.Ring)) {
	if node, r := ringOf(payload); node != s.node && r != 0 {
		ring(r)
	}
}

// echo sends a notification by another connection, as those of other nodes come,
// and waits for it.
func (s *Store) echo(ctx context.Context, c *pgx.Conn, ring func(tasks.Ring)) error {
	if err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `SELECT pg_notify($1, $2)`, s.channel, ringText(s.node, 0))
		return err
	}); err != nil {
		return err
	}
	came := false
	err := hear(ctx, c, echoWait, func(payload string) bool {
		s.heard(payload, ring)
		came = payload == ringText(s.node, 0)
		return came
	})
	if err == nil && !came {
		err = errDeaf
	}
	return err
}

// hear calls each for the notifications that come within d, until each is done.
func hear(ctx context.Context, c *pgx.Conn, d time.Duration, each func(payload string) (done bool)) error {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		n, err := c.WaitForNotification(limited)
		switch {
		case err == nil:
			if each(n.Payload) {
				return nil
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() != nil && !c.IsClosed():
			return nil
		default:
			return err
		}
	}
}
