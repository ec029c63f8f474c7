package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

// seed gives an instance n tasks over a year, by statements of its own, and has
// the planner know of them. Ids are the instance and a number.
func seed(t testing.TB, s *Store, instance, n int) {
	t.Helper()
	const row = `SELECT i.scope, $2::bigint + k * ($3::bigint / $4::bigint), lpad(to_hex($5::bigint), 16, '0') || lpad(to_hex(k), 16, '0'), i.grp, i.project_key, NULL, 'EXTEND',
		'e3b0c44298fc1c149afbf4c8996fb924', 'alice', '{"public_ip_id":"b5a4c6c0-3c5c-4a5e-9a4e-1f2d3c4b5a69","public_ip_address":"203.0.113.7","enable_public_ip":true}',
		NULL, 'succeeded', '', '', NULL, NULL, NULL, $2::bigint + k * ($3::bigint / $4::bigint), NULL
		FROM instances i, generate_series(0::bigint, $4::bigint - 1) AS k WHERE i.id = $1`
	year := (365 * 24 * time.Hour).Microseconds()
	ctx := context.Background()
	err := pgx.BeginFunc(ctx, s.writers, func(t pgx.Tx) error {
		_, err := t.Exec(ctx, `INSERT INTO tasks (scope, created_at, id, grp, project_key, job_id, operation, user_id, user_name, params, details,
			status, error_code, reason, origin, percent, remaining, updated_at, steps) `+row, instanceID(instance), micro(noon), year, n, instance)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settle counts what seed added, and has the planner know of it.
func settle(t testing.TB, s *Store) {
	t.Helper()
	for _, query := range []string{
		`TRUNCATE counts`,
		`INSERT INTO counts SELECT scope, level, created_at >> level, count(*)
			FROM (SELECT scope, created_at FROM tasks UNION ALL SELECT grp, created_at FROM tasks) t, unnest('{23,29,35,41}'::int[]) AS level GROUP BY 1, 2, 3`,
		`VACUUM ANALYZE tasks`, `VACUUM ANALYZE counts`, `ANALYZE instances`, `ANALYZE scopes`,
	} {
		if _, err := s.writers.Exec(context.Background(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

// BenchmarkList lists ten tasks of instances with a thousand and with a hundred
// thousand, and of all together.
func BenchmarkList(b *testing.B) {
	s := openNew(b)
	const small, big = 1000, 100_000
	for n := range 50 {
		register(b, s, n)
		seed(b, s, n, small)
	}
	register(b, s, 1000)
	seed(b, s, 1000, big)
	settle(b, s)
	month := noon.AddDate(0, 6, 3)
	for _, c := range []struct {
		name   string
		filter errand.Filter
	}{
		{"1k", errand.Filter{Instance: instanceID(7)}},
		{"100k", errand.Filter{Instance: instanceID(1000)}},
		{"100k/deep", errand.Filter{Instance: instanceID(1000), Offset: 90_000}},
		{"100k/30d", errand.Filter{Instance: instanceID(1000), From: month, To: month.AddDate(0, 0, 30)}},
		{"100k/30d/deep", errand.Filter{Instance: instanceID(1000), From: month, To: month.AddDate(0, 0, 30), Offset: 5000}},
		{"engine", errand.Filter{Engine: errand.Kafka}},
		{"project", errand.Filter{}},
		{"project/deep", errand.Filter{Offset: 130_000}},
	} {
		c.filter.Project, c.filter.Limit = testProject, 10
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := s.List(context.Background(), c.filter)
				if err != nil || len(p.Tasks) != 10 {
					b.Fatalf("%d tasks, %v", len(p.Tasks), err)
				}
			}
		})
	}
	b.Run("instance", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Instance(context.Background(), testProject, instanceID(7)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel/100k", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.List(context.Background(), errand.Filter{Project: testProject, Instance: instanceID(1000), Limit: 10}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
