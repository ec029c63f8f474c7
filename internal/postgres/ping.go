package postgres

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

const (
	pulseEvery  = 3 * time.Second // how long an answer of Ping holds
	pulseFailed = time.Second     // and one that was an error
	pulseLimit  = 5 * time.Second // for the database to answer

	troubleFor = 15 * time.Second // how long a fault of the schema is remembered
	roomProbe  = 256 << 10        // bytes that a disk which was full has to take
)

// pulse remembers what the last Ping found, so that probes cost nothing.
type pulse struct {
	turn chan struct{} // held by who asks the database
	at   time.Time
	err  error
}

// trouble is the last fault that a call met and that a small write does not show:
// a full disk still takes what fits into the pages that it has, and a table that
// is missing is missed by who needs it.
type trouble struct {
	mu   sync.Mutex
	code string
	at   time.Time
}

// noted are the faults that are remembered, by SQLSTATE.
var noted = map[string]bool{"53100": true, "42P01": true, "42703": true, "42501": true}

// note remembers a fault, which ends the one before it; "" is none.
func (t *trouble) note(code string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.code, t.at = code, time.Now()
}

// last returns the fault that is not over yet, or "". That of a full disk is over
// once the disk has taken something.
func (t *trouble) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.code != "53100" && time.Since(t.at) > troubleFor {
		t.code = ""
	}
	return t.code
}

// Ping implements tasks.Store. The database must take a write and make it
// durable, which a standby does not, have room for more, and have let other calls
// do their work. What was found a few seconds ago holds.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return tooLate(err)
	}
	if err := s.open(); err != nil {
		return err
	}
	select {
	case s.pulse.turn <- struct{}{}:
		defer func() { <-s.pulse.turn }()
	case <-ctx.Done():
		return tooLate(ctx.Err())
	}
	if fault := s.target.trouble.last(); fault != "" && fault != "53100" {
		return unavailable(reports[fault], nil)
	}
	hold := pulseEvery
	if s.pulse.err != nil {
		hold = pulseFailed
	} else if s.target.trouble.last() != "" {
		hold = 0
	}
	if !s.pulse.at.IsZero() && time.Since(s.pulse.at) < hold {
		return s.pulse.err
	}
	// What is found is for all who ask, so it does not end with this caller.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), pulseLimit)
	defer cancel()
	err := s.beat(limited)
	if lost(err) && limited.Err() == nil { // one connection may have been ended by itself
		err = s.beat(limited)
	}
	s.pulse.at, s.pulse.err = time.Now(), classify(err)
	return s.pulse.err
}

func (s *Store) beat(ctx context.Context) error {
	if s.target.trouble.last() == "53100" {
		if err := s.room(ctx); err != nil {
			return err
		}
		s.target.trouble.note("")
	}
	_, err := s.writers.Exec(ctx, `UPDATE pulse SET n = n + 1`)
	return err
}

// room reports whether the disk takes more than fits into what the database has
// of it already. Nothing of it is kept.
func (s *Store) room(ctx context.Context) error {
	some := make([]byte, roomProbe)
	_, _ = rand.Read(some) // never fails; what repeats itself would be kept small
	tx, err := s.writers.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, `INSERT INTO checks (name, value) VALUES ('room', $1)`, some)
	return err
}
