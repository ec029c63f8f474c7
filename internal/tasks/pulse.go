package tasks

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/errandhq/errand"
)

// The bounds of what is followed.
const (
	maxPulses  = 1000             // projects
	pulseIdle  = 10 * time.Minute // after which nobody looks any more
	pulseReach = 100_000          // events that are read at the most to catch up
	pulseBatch = 1000             // events read at a time
	pulseFresh = time.Second      // how old what has not ended may be
	lateRing   = 250 * time.Millisecond
)

// pulses follow what happens in the projects that somebody looks at, so that all
// who look at the same share one reading of it.
type pulses struct {
	late atomic.Bool // a ring is to come for what was too fresh to be read again

	mu    sync.Mutex
	all   map[string]*pulse
	swept time.Time
}

// pulse follows one project. What is after turn belongs to who holds it.
type pulse struct {
	project string
	asked   time.Time // last; under the lock of pulses

	turn   chan struct{}
	begun  bool
	story  story
	since  time.Time // everything that has happened from then on is in story
	live   live
	ring   uint64    // of the bell before the last look
	looked time.Time // when that was
	err    error     // of the last look, if that failed
}

// of returns the pulse of a project, and lets go of those that nobody has asked
// for lately.
func (l *pulses) of(project string, now time.Time) *pulse {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept).Abs() > pulseIdle/10 {
		l.swept = now
		for name, p := range l.all {
			if now.Sub(p.asked).Abs() > pulseIdle {
				delete(l.all, name)
			}
		}
	}
	p := l.all[project]
	if p == nil {
		p = &pulse{project: project, turn: make(chan struct{}, 1)}
		l.makeRoom()
		l.all[project] = p
	}
	p.asked = now
	return p
}

// makeRoom lets go of the pulse that was asked for least lately, if there are
// too many.
func (l *pulses) makeRoom() {
	if l.all == nil {
		l.all = map[string]*pulse{}
	}
	if len(l.all) < maxPulses {
		return
	}
	var oldest *pulse
	for _, p := range l.all {
		if oldest == nil || p.asked.Before(oldest.asked) {
			oldest = p
		}
	}
	delete(l.all, oldest.project)
}

// withPulse brings the pulse of a project up to date and shows it to use, which
// keeps nothing of it that changes. Where whole is set, what has not ended is of
// the last event that is known, too.
func (r *Runs) withPulse(ctx context.Context, project string, now time.Time, whole bool, use func(*pulse)) error {
	p := r.pulses.of(project, now)
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return errand.Errorf(errand.Unavailable, "overview", "the request ended before the project was looked at").WithCause(ctx.Err())
	}
	if err := r.look(ctx, p, now, whole); err != nil {
		return err
	}
	use(p)
	return nil
}

// look reads what is new, if there may be something: the bell has rung, or others
// share the store, whose rings may be late. The number of the ring is read before
// the store is: what rings meanwhile is looked at the next time.
func (r *Runs) look(ctx context.Context, p *pulse, now time.Time, whole bool) error {
	_, ring := r.news.after()
	fresh := now.Sub(p.looked).Abs() < pulseFresh
	if p.err != nil && p.ring == ring && fresh {
		return p.err
	}
	if !p.begun || p.err != nil || p.ring != ring || r.shared && !fresh {
		if err := r.follow(ctx, p, now); err != nil {
			return p.failed(ring, now, err)
		}
		p.ring, p.looked, p.err = ring, now, nil
	}
	age := now.Sub(p.live.at).Abs()
	switch {
	case p.live.known && p.live.ring == ring && !(r.shared && age >= pulseFresh):
	case p.live.known && age < pulseFresh && !(whole && p.live.seq < p.story.seq):
		r.ringLate(pulseFresh - age)
	default:
		n, err := r.readLive(ctx, p, now)
		if err != nil {
			return p.failed(ring, now, err)
		}
		n.ring, n.seq = ring, p.story.seq
		p.live = n
	}
	return nil
}

// failed notes that a look failed, so that the many who wait do not all try in
// turn what will fail again; but not because of who went away.
func (p *pulse) failed(ring uint64, now time.Time, err error) error {
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		p.ring, p.looked, p.err = ring, now, err
	}
	return err
}

// ringLate rings once more after a while, for those who have been shown what was
// too fresh to be read again.
func (r *Runs) ringLate(after time.Duration) {
	if !r.pulses.late.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(max(after, lateRing), func() {
		r.pulses.late.Store(false)
		r.news.ring()
	})
}

// follow reads the events that came since the last look.
func (r *Runs) follow(ctx context.Context, p *pulse, now time.Time) error {
	for batch := 0; ; batch++ {
		if !p.begun {
			if err := r.begin(ctx, p, now); err != nil {
				return err
			}
		}
		events, err := r.queue.Feed(ctx, p.project, p.story.seq, pulseBatch)
		if err != nil {
			return err
		}
		for i := range events {
			p.story.tell(&events[i])
		}
		if len(events) < pulseBatch {
			p.story.forget(now)
			return nil
		}
		if batch%10 == 9 {
			last, err := r.queue.LastSeq(ctx)
			if err != nil {
				return err
			}
			p.begun = last-p.story.seq <= pulseReach // else it has fallen far behind
		}
	}
}

// begin begins the story of a project where the last day does, or pulseReach
// events ago.
func (r *Runs) begin(ctx context.Context, p *pulse, now time.Time) error {
	last, err := r.queue.LastSeq(ctx)
	if err != nil {
		return err
	}
	since := now.Add(-OverviewDay)
	// What is numbered up to day happened before, and what comes after to did not.
	day := int64(0)
	for to := last; day < to; {
		middle := day + (to-day)/2
		e, ok, err := r.eventAfter(ctx, p.project, middle)
		if err != nil {
			return err
		}
		if ok && e.At.Before(since) {
			day = e.Seq
		} else {
			to = middle
		}
	}
	start := max(day, last-pulseReach)
	if start > day {
		missed, ok, err := r.eventAfter(ctx, p.project, day)
		if err != nil {
			return err
		}
		if ok && missed.Seq <= start {
			first, ok, err := r.eventAfter(ctx, p.project, start)
			if err != nil {
				return err
			}
			if since = now; ok {
				since = first.At
			}
		}
	}
	p.begun, p.story, p.since = true, storyAfter(start), since
	return nil
}

// eventAfter returns the first event of a project after the one numbered seq.
func (r *Runs) eventAfter(ctx context.Context, project string, seq int64) (e errand.Event, ok bool, err error) {
	events, err := r.queue.Feed(ctx, project, seq, 1)
	if err != nil || len(events) == 0 {
		return e, false, err
	}
	return events[0], true, nil
}
