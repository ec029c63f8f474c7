package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

const (
	takeLocks    = `SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k`
	shareLocks   = `SELECT pg_advisory_xact_lock_shared(k) FROM unnest($1::bigint[]) AS k`
	takeLock     = `SELECT pg_advisory_xact_lock($1)`
	rareTimeout  = 2 * time.Minute // of a transaction by itself, such as an import
	groupTimeout = 20 * time.Second
	tries        = 6 // of a transaction of which nothing was committed
)

// tx is a transaction that changes something. What it collects beside its
// statements is written with its COMMIT, in one packet and under the lock that
// puts events in order.
type tx struct {
	*pgx.Conn
	counts []stored.Delta
	events []*errand.Event
	rings  tasks.Ring       // what other nodes are to be told of
	after  []func()         // called once it is durable
	late   func(*pgx.Batch) // queues what else must be written under the lock of the commit
}

// count notes that n tasks of p came or went.
func (t *tx) count(p place, createdAt, n int64) {
	b := createdAt >> stored.Finest
	t.counts = append(t.counts, stored.Delta{Scope: p.scope, Bucket: b, N: n}, stored.Delta{Scope: p.grp, Bucket: b, N: n})
}

// append adds an event to the history, and has the other nodes told.
func (t *tx) append(e *errand.Event) {
	t.events = append(t.events, e)
	t.ring(tasks.RingChanged)
}

func (t *tx) ring(r tasks.Ring) { t.rings |= r }

// lock takes locks in the order that lock.go wants: shared ones of instances
// first. A transaction calls it once, before it reads.
func (t *tx) lock(ctx context.Context, shared, exclusive []int64) error {
	b := &pgx.Batch{}
	queueLocks(b, shared, exclusive)
	if b.Len() == 0 {
		return nil
	}
	return t.SendBatch(ctx, b).Close()
}

func queueLocks(b *pgx.Batch, shared, exclusive []int64) {
	if len(shared) > 0 {
		b.Queue(shareLocks, sorted(shared))
	}
	if len(exclusive) > 0 {
		b.Queue(takeLocks, sorted(exclusive))
	}
}

// transact runs fn in a transaction of its own. An error of fn undoes what fn
// did and is returned as it is. fn may run again: what it finds out must not
// outlive a failed try. A caller who leaves meanwhile does not take the
// transaction along: its outcome would be unknown.
func (s *Store) transact(ctx context.Context, fn func(ctx context.Context, t *tx) error) error {
	end, err := s.begins(ctx)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rareTimeout)
	defer cancel()
	return classify(again(ctx, func() (bool, error) { return s.try(ctx, fn) }))
}

// rare is how many transactions of a node run at once beside its groups.
const rare = 2

// begins waits for a place for a transaction outside the groups, so that those
// always find their connections free.
func (s *Store) begins(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, tooLate(err)
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	select {
	case s.rare <- struct{}{}:
		return func() { <-s.rare }, nil
	case <-ctx.Done():
		return nil, tooLate(ctx.Err())
	case <-s.quit:
		return nil, closing()
	}
}

// queueBegin queues the beginning of a transaction that writes.
func (s *Store) queueBegin(b *pgx.Batch) {
	for _, query := range s.begin {
		b.Queue(query)
	}
}

// again calls try until it says that there is no use in another one, waiting a
// little longer each time.
func again(ctx context.Context, try func() (retry bool, err error)) error {
	for n := 1; ; n++ {
		retry, err := try()
		if !retry || n == tries {
			return err
		}
		wait := time.NewTimer(rand.N(10 * time.Millisecond << n))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

// try runs fn once, and reports whether nothing was committed and another try
// may fare better.
func (s *Store) try(ctx context.Context, fn func(ctx context.Context, t *tx) error) (retry bool, err error) {
	c, err := s.writers.Acquire(ctx)
	if err != nil {
		return true, err
	}
	defer c.Release()
	b := &pgx.Batch{}
	s.queueBegin(b)
	if err := c.SendBatch(ctx, b).Close(); err != nil {
		return retriable(c.Conn(), err), err
	}
	t := &tx{Conn: c.Conn()}
	err = fn(ctx, t)
	if err == nil {
		err = s.commit(ctx, &pgx.Batch{}, t)
	}
	if err != nil {
		retry = retriable(c.Conn(), err)
		rollback(ctx, c.Conn())
		return retry, err
	}
	for _, f := range t.after {
		f()
	}
	return false, nil
}

// rollback ends a transaction that failed. A connection on which that is not
// possible is not used again.
func rollback(ctx context.Context, c *pgx.Conn) {
	if c.IsClosed() || c.PgConn().TxStatus() == 'I' {
		return
	}
	if _, err := c.Exec(ctx, `ROLLBACK`); err != nil {
		_ = c.Close(ctx)
	}
}

// retriable reports whether a transaction of which nothing was committed may
// succeed if it is run again: it was the victim of others, or its connection was
// lost.
func retriable(c *pgx.Conn, err error) bool {
	if e, ok := errors.AsType[*errand.Error](err); ok && e.Subject == "outcome" {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == "40001" || e.Code == "40P01") {
		return true
	}
	return c.IsClosed()
}

// commit sends what b holds, what t collected, and COMMIT, in one packet: nothing
// that happens in this process delays those who wait for the lock. Its error
// says whether the outcome is known.
func (s *Store) commit(ctx context.Context, b *pgx.Batch, t *tx) error {
	c := t.Conn
	if len(t.events)+len(t.counts) > 0 {
		b.Queue(takeLock, int64(lockCommit))
		if err := queueCounts(b, t.counts); err != nil {
			return err
		}
		queueEvents(b, t.events)
		if t.late != nil {
			t.late(b)
		}
	}
	if t.rings != 0 {
		b.Queue(`SELECT pg_notify($1, $2)`, s.channel, ringText(s.node, t.rings))
	}
	b.Queue(`COMMIT`)
	forgetWarnings(c.PgConn())
	br := c.SendBatch(ctx, b)
	for range b.Len() - 1 {
		if _, err := br.Exec(); err != nil {
			_ = br.Close()
			// A pooler that loses its server says so (08…) in the place of all
			// answers that it has not had, that to COMMIT among them.
			told := code(err) != "" && code(err)[:2] != "08"
			if told || pgconn.SafeToRetry(err) || !c.IsClosed() {
				return err // COMMIT was not reached, or not sent
			}
			return unknownOutcome(err)
		}
	}
	tag, err := br.Exec()
	_ = br.Close() // what follows COMMIT says nothing about it
	switch e, told := errors.AsType[*pgconn.PgError](err); {
	case told && e.SeverityUnlocalized == "ERROR":
		return err
	case err != nil:
		return unknownOutcome(err)
	case tag.String() != "COMMIT":
		return fmt.Errorf("COMMIT was answered with %s", tag)
	case warned(c.PgConn()):
		return unknownOutcome(errors.New("the wait for the synchronous standby was cancelled"))
	}
	return nil
}

// unknownOutcome says that a connection was lost, or a wait for a standby
// cancelled, between COMMIT and its answer.
func unknownOutcome(cause error) error {
	return errand.Errorf(errand.Unavailable, "outcome",
		"the connection to the database was lost during the commit, so it is not known whether the change was made; "+
			"call again with the same idempotency key, or look at the task").WithCause(cause)
}

const warning = "errand: a commit was warned about"

// noteWarning remembers a warning of the server: while COMMIT runs it means that
// the wait for the synchronous standby was cancelled, although COMMIT is then
// reported as done. It is the OnNotice of connections that write.
func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		c.CustomData()[warning] = true
	}
}

func forgetWarnings(c *pgconn.PgConn) { delete(c.CustomData(), warning) }

func warned(c *pgconn.PgConn) bool { return c.CustomData()[warning] != nil }

// queueCounts queues the changes of counts, each once and in one order.
func queueCounts(b *pgx.Batch, ds []stored.Delta) error {
	var scopes, levels, buckets, ns, lessScopes, lessLevels, lessBuckets, lessNs []int64
	err := stored.Rollup(ds, func(level int, ds []stored.Delta) error {
		for _, d := range ds {
			if d.N > 0 {
				scopes, levels, buckets, ns = append(scopes, d.Scope), append(levels, int64(level)), append(buckets, d.Bucket), append(ns, d.N)
			} else {
				lessScopes, lessLevels = append(lessScopes, d.Scope), append(lessLevels, int64(level))
				lessBuckets, lessNs = append(lessBuckets, d.Bucket), append(lessNs, -d.N)
			}
		}
		return nil
	})
	if len(scopes) > 0 {
		b.Queue(`INSERT INTO counts (scope, level, bucket, n) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
			ON CONFLICT (scope, level, bucket) DO UPDATE SET n = counts.n + excluded.n`, scopes, levels, buckets, ns)
	}
	if len(lessScopes) > 0 {
		const less = ` unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS d(scope, level, bucket, n)
			WHERE c.scope = d.scope AND c.level = d.level AND c.bucket = d.bucket`
		b.Queue(`DELETE FROM counts c USING`+less+` AND c.n = d.n`, lessScopes, lessLevels, lessBuckets, lessNs)
		b.Queue(`UPDATE counts c SET n = c.n - d.n FROM`+less, lessScopes, lessLevels, lessBuckets, lessNs)
	}
	return err
}

// eventsAtOnce bounds the events in one statement.
const eventsAtOnce = 5000

// queueEvents queues events in their order, which is that of their numbers.
func queueEvents(b *pgx.Batch, all []*errand.Event) {
	for len(all) > 0 {
		es := all[:min(len(all), eventsAtOnce)]
		all = all[len(es):]
		var texts [11][]string
		ats := make([]int64, 0, len(es))
		for _, e := range es {
			ats = append(ats, micro(e.At))
			for i, s := range [...]string{
				e.Project, e.Instance, e.Task, string(e.Act), e.Actor.ID, e.Actor.Name, string(e.From), string(e.To), e.Request, e.Reason, e.Remote,
			} {
				texts[i] = append(texts[i], storable(s))
			}
		}
		b.Queue(`INSERT INTO events (project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason, remote)
			SELECT project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason, remote
			FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
				WITH ORDINALITY AS e(project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason, remote, n)
			ORDER BY n`,
			texts[0], texts[1], texts[2], ats, texts[3], texts[4], texts[5], texts[6], texts[7], texts[8], texts[9], texts[10])
	}
}

// storable is s without what PostgreSQL's texts cannot hold. Tasks are checked
// for that before they come here, but not what events say of others.
func storable(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// The letters of rings in a notification, after the node and a blank.
var ringLetters = [...]struct {
	ring   tasks.Ring
	letter byte
}{{tasks.RingChanged, 'c'}, {tasks.RingProgress, 'p'}, {tasks.RingCredentials, 'k'}}

// ringText is what other nodes are told; ringOf reads it.
func ringText(node string, r tasks.Ring) string {
	text := []byte(node + " ")
	for _, l := range ringLetters {
		if r&l.ring != 0 {
			text = append(text, l.letter)
		}
	}
	return string(text)
}

func ringOf(text string) (node string, r tasks.Ring) {
	node, letters, _ := strings.Cut(text, " ")
	for _, l := range ringLetters {
		if strings.IndexByte(letters, l.letter) >= 0 {
			r |= l.ring
		}
	}
	return node, r
}

// sorted returns keys in the order in which they are taken, each once.
func sorted(keys []int64) []int64 {
	slices.Sort(keys)
	return slices.Compact(keys)
}
