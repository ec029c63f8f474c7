package postgres

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand/internal/tasks"
)

// What may be taken of one operation, or of any, in one project, or in all. The
// operation is part of the index, so that what waits for another worker costs
// who asks nothing, however much it is.
const (
	candidates = `SELECT c.project_key, c.id, c.run_at, c.scope, c.lane FROM `
	found      = ` (SELECT project_key, id, run_at, scope, lane FROM live
		WHERE ready = 1 AND (cardinality($3::text[]) = 0 OR engine = ANY($3)) AND `
	inProject = `project_key = (SELECT id FROM scopes WHERE project = $1 AND instance = '' AND engine = '')`
	inAll     = `$1 = '' AND running = 0`
	ofEach    = `unnest($2::text[]) AS o(name) CROSS JOIN LATERAL`
	ofOne     = ` AND operation = o.name`
	ofAny     = ` AND cardinality($2::text[]) = 0`
	inTime    = ` AND run_at <= $4 ORDER BY run_at, id LIMIT $5) c ORDER BY c.run_at, c.id LIMIT $5`
	tooEarly  = ` AND run_at > $4 ORDER BY run_at, id LIMIT $5) c ORDER BY c.run_at, c.id LIMIT $5`
)

// lookFor returns the statements that find what may be taken now, and what next.
func lookFor(w tasks.Want) (now, next string) {
	query := candidates
	if len(w.Operations) > 0 {
		query += ofEach
	}
	query += found
	if w.Project != "" {
		query += inProject
	} else {
		query += inAll
	}
	if len(w.Operations) > 0 {
		query += ofOne
	} else {
		query += ofAny
	}
	return query + inTime, query + tooEarly
}

// candidate is a task that may be taken, if nobody is faster.
type candidate struct {
	taskKey
	scope int64
	lane  string
	runAt int64
}

func (c candidate) lock() int64 {
	if c.lane == "" {
		return taskLock(c.project, c.id)
	}
	return laneLock(c.scope, c.lane)
}

// seeker is a caller who looks for work.
type seeker struct {
	want tasks.Want

	found []candidate
	next  time.Time
	more  <-chan struct{} // closed when something may be free that others were given; nil if nothing was
}

// look is one look at the database, for all who want the same at the moment.
type look struct {
	seekers []*seeker
	begun   bool
	done    chan struct{}
	err     error
}

// desk is where those who want the same meet.
type desk struct {
	users   int
	pending *look
	turn    chan struct{}
}

// looks deals out what is found among the callers of this node, so that no two
// of them try the same task.
type looks struct {
	mu    sync.Mutex
	desks map[string]*desk
	dealt map[taskKey]bool
	freed chan struct{} // closed when some of dealt are free again
}

// spare is how many more tasks are looked for than are wanted: other nodes may
// be faster with some.
const spare = 16

func deskOf(w tasks.Want) string {
	var b strings.Builder
	b.WriteString(w.Project)
	for _, o := range w.Operations {
		b.WriteString("\x00" + o)
	}
	b.WriteString("\x00")
	for _, e := range w.Engines {
		b.WriteString("\x00" + string(e))
	}
	return b.String()
}

// seek finds tasks for k by a look that begins after this call, together with
// others who want the same. What is found is k's alone until it is given back.
func (s *Store) seek(ctx context.Context, k *seeker) error {
	d, l := s.looks.join(k)
	defer s.looks.part(deskOf(k.want), d)
	for {
		select {
		case <-l.done:
			return l.err
		case <-ctx.Done():
			<-s.looks.abandon(d, l, k)
			return tooLate(ctx.Err())
		case d.turn <- struct{}{}:
			if s.looks.begin(d, l) {
				l.err = s.look(context.WithoutCancel(ctx), l)
				close(l.done)
			}
			<-d.turn
		}
	}
}

func (k *looks) join(who *seeker) (*desk, *look) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.desks == nil {
		k.desks, k.dealt, k.freed = make(map[string]*desk), make(map[taskKey]bool), make(chan struct{})
	}
	name := deskOf(who.want)
	d := k.desks[name]
	if d == nil {
		d = &desk{turn: make(chan struct{}, 1)}
		k.desks[name] = d
	}
	d.users++
	if d.pending == nil {
		d.pending = &look{done: make(chan struct{})}
	}
	d.pending.seekers = append(d.pending.seekers, who)
	return d, d.pending
}

func (k *looks) part(name string, d *desk) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d.users--; d.users == 0 {
		delete(k.desks, name)
	}
}

// begin reports whether the caller is to look: nobody has begun to.
func (k *looks) begin(d *desk, l *look) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.begun {
		return false
	}
	l.begun, d.pending = true, nil
	return true
}

// abandon takes who has gone out of a look, or returns what to wait for if that
// has begun.
func (k *looks) abandon(d *desk, l *look, who *seeker) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.begun {
		return l.done
	}
	l.seekers = slices.DeleteFunc(l.seekers, func(x *seeker) bool { return x == who })
	if len(l.seekers) == 0 {
		d.pending = nil
	}
	gone := make(chan struct{})
	close(gone)
	return gone
}

// look asks the database, and deals out what it has.
func (s *Store) look(ctx context.Context, l *look) error {
	want := l.seekers[0].want
	limit := spare
	for _, k := range l.seekers {
		limit += k.want.Limit
		if k.want.Now.After(want.Now) {
			want.Now = k.want.Now
		}
	}
	s.looks.mu.Lock()
	limit += len(s.looks.dealt)
	s.looks.mu.Unlock()

	now, next := lookFor(want)
	operations, engines := slices.Compact(slices.Sorted(slices.Values(want.Operations))), []string{}
	if operations == nil {
		operations = []string{}
	}
	for _, e := range want.Engines {
		engines = append(engines, string(e))
	}
	var all, later []candidate
	err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all, later = nil, nil
		b := &pgx.Batch{}
		for _, q := range [...]struct {
			query string
			limit int
			into  *[]candidate
		}{{now, limit, &all}, {next, 1, &later}} {
			b.Queue(q.query, want.Project, operations, engines, micro(want.Now), q.limit).Query(func(rows pgx.Rows) error {
				var x candidate
				_, err := pgx.ForEachRow(rows, []any{&x.project, &x.id, &x.runAt, &x.scope, &x.lane}, func() error {
					*q.into = append(*q.into, x)
					return nil
				})
				return err
			})
		}
		return c.SendBatch(ctx, b).Close()
	})
	if err == nil {
		s.looks.deal(l, all, later)
	}
	return err
}

// deal gives each seeker the first of what is left that is due for it.
func (k *looks) deal(l *look, all, later []candidate) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all = append(all, later...)
	for _, who := range l.seekers {
		who.found, who.next, who.more = nil, time.Time{}, nil
		for _, c := range all {
			switch {
			case c.runAt > micro(who.want.Now):
				if who.next.IsZero() {
					who.next = at(c.runAt)
				}
			case k.dealt[c.taskKey]:
				who.more = k.freed
			case len(who.found) < who.want.Limit:
				k.dealt[c.taskKey] = true
				who.found = append(who.found, c)
			}
		}
	}
}

// release gives back what was dealt: it has been taken by now, or may be dealt
// again.
func (k *looks) release(cs []candidate) {
	if len(cs) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range cs {
		delete(k.dealt, c.taskKey)
	}
	close(k.freed)
	k.freed = make(chan struct{})
}
