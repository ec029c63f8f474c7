package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand/internal/tasks"
)

const (
	maxNodes    = 1000    // that one is told of
	maxNodeSize = 1 << 18 // bytes of what one says of itself
)

// Time implements tasks.Cluster.
func (s *Store) Time(ctx context.Context) (now time.Time, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	})
	return now.UTC(), err
}

// The table of nodes is not logged: it is empty after a crash of the database,
// and on a standby that became the primary, until the nodes have met again.
const meet = `WITH own AS (INSERT INTO nodes (id, seen, node) VALUES ($1::text, clock_timestamp(), $2::text)
		ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, node = excluded.node),
	old AS (DELETE FROM nodes WHERE id <> $1::text AND seen < clock_timestamp() - interval '1 day')
	SELECT id, seen, node FROM nodes WHERE id <> $1::text AND seen >= clock_timestamp() - $3::bigint * interval '1 microsecond' ORDER BY id LIMIT $4`

// Meet implements tasks.Cluster.
func (s *Store) Meet(ctx context.Context, self tasks.Node, quiet time.Duration) (others []tasks.Node, err error) {
	text, err := nodeText(self)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, tooLate(err)
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	rows, err := s.writers.Query(ctx, meet, self.ID, text, quiet.Microseconds(), maxNodes)
	if err != nil {
		return nil, classify(err)
	}
	var id, node string
	var seen time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &seen, &node}, func() error {
		n := tasks.Node{}
		if err := json.Unmarshal([]byte(node), &n); err != nil {
			return err
		}
		n.ID, n.Seen = id, seen.UTC()
		others = append(others, n)
		return nil
	})
	return others, classify(err)
}

// nodeText is what a node says of itself. If its workers are too many, those that
// asked for work last are named.
func nodeText(n tasks.Node) (string, error) {
	b, err := json.Marshal(n)
	if len(b) <= maxNodeSize || err != nil {
		return storable(string(b)), err
	}
	n.Workers = slices.Clone(n.Workers)
	slices.SortFunc(n.Workers, func(a, b tasks.Worker) int { return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.Name, b.Name)) })
	for len(b) > maxNodeSize && len(n.Workers) > 0 && err == nil {
		n.Workers = n.Workers[:len(n.Workers)*3/4]
		b, err = json.Marshal(n)
	}
	return storable(string(b)), err
}

// Leave implements tasks.Cluster.
func (s *Store) Leave(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return tooLate(err)
	}
	if err := s.open(); err != nil {
		return err
	}
	_, err := s.writers.Exec(ctx, `DELETE FROM nodes WHERE id = $1`, id)
	return classify(err)
}
