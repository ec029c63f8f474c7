package postgres

import (
	"fmt"
	"strings"

	"github.com/errandhq/errand/internal/stored"
)

// parts are the scopes that a listing adds up: one instance, or the groups of a
// project. Instances that were forgotten are subtracted from their group until
// their tasks are removed.
type parts struct {
	with  string // what comes before the statement
	from  string // of a sum over counts c
	sign  string // of a count c
	scope string // of a part
	each  string // what a sum for each part is taken over; "" is one part
	rows  string // the tasks of a part, where a bucket is not counted whole

	params []string
}

var (
	ofScope = parts{
		from: `counts c WHERE c.scope = $scope::bigint AND`, sign: `c.n`, scope: `$scope::bigint`,
		rows:   `(SELECT count(*) FROM tasks WHERE scope = $scope::bigint AND %s)`,
		params: []string{`$scope`},
	}
	ofGroups = parts{
		with: `g AS MATERIALIZED (SELECT id FROM scopes WHERE project = $project::text AND instance = '' AND engine <> '' AND ($engine::text = '' OR engine = $engine::text)),
			p AS MATERIALIZED (SELECT id AS scope, 1 AS sign FROM g UNION ALL SELECT f.scope, -1 FROM forgotten f JOIN g ON g.id = f.grp)`,
		from: `p JOIN counts c ON c.scope = p.scope WHERE`, sign: `c.n * p.sign`, scope: `p.scope`, each: `p`,
		rows: `CASE p.sign WHEN 1 THEN (SELECT count(*) FROM tasks WHERE grp = p.scope AND %[1]s)
			ELSE (SELECT count(*) FROM tasks WHERE scope = p.scope AND %[1]s) END`,
		params: []string{`$project`, `$engine`},
	}
)

// total counts the tasks of parts.
func (p parts) total() string {
	return fmt.Sprintf(`(SELECT coalesce(sum(%s), 0)::bigint FROM %s c.level = %d)`, p.sign, p.from, stored.Coarsest)
}

// since counts the tasks of parts that were created at us, a parameter, or later:
// the later buckets of each size up to the end of the next larger one, and at last
// the rows of the bucket that us is in.
func (p parts) since(us string) string {
	var sums []string
	for level := stored.Coarsest; level >= stored.Finest; level -= stored.Fanout {
		sum := fmt.Sprintf(`(SELECT coalesce(sum(n), 0) FROM counts WHERE scope = %s AND level = %d AND bucket > (%s >> %d)`, p.scope, level, us, level)
		if level < stored.Coarsest {
			sum += fmt.Sprintf(` AND bucket < ((%s >> %d) + 1) << %d`, us, level+stored.Fanout, stored.Fanout)
		}
		sums = append(sums, sum+`)`)
	}
	sums = append(sums, fmt.Sprintf(p.rows, fmt.Sprintf(`created_at >= %[1]s AND created_at < ((%[1]s >> %[2]d) + 1) << %[2]d`, us, stored.Finest)))
	all := strings.Join(sums, "\n\t+ ")
	if p.each == "" {
		return `(` + all + `)::bigint`
	}
	return fmt.Sprintf(`(SELECT coalesce(sum(p.sign * (%s)), 0)::bigint FROM %s)`, all, p.each)
}

// numbered puts numbers in the place of a statement's parameters, which come in the
// order of names and then of parts.
func (p parts) numbered(text string, names ...string) string {
	for i, name := range append(names, p.params...) {
		text = strings.ReplaceAll(text, name+`::`, fmt.Sprintf(`$%d::`, i+1))
	}
	return text
}

// seek finds the task that has $skip newer ones among those before $until: it is the one
// after rest tasks, newest first, of those created before ends. Where there is
// none, neither is there a row.
func (p parts) seek() string {
	with := []string{`WITH h AS MATERIALIZED (SELECT $skip::bigint + ` + p.since(`$until::bigint`) + ` AS rest)`}
	if p.with != "" {
		with = []string{`WITH ` + p.with, strings.TrimPrefix(with[0], `WITH `)}
	}
	above := `h`
	for level := stored.Coarsest; level >= stored.Finest; level -= stored.Fanout {
		within := ``
		if level < stored.Coarsest {
			within = fmt.Sprintf(` AND c.bucket >= (SELECT bucket << %[2]d FROM %[1]s) AND c.bucket < (SELECT (bucket + 1) << %[2]d FROM %[1]s)`, above, stored.Fanout)
		}
		name := fmt.Sprintf(`l%d`, level)
		with = append(with, fmt.Sprintf(`%[1]s AS MATERIALIZED (SELECT bucket, ((SELECT rest FROM %[2]s) - newer)::bigint AS rest
			FROM (SELECT bucket, n, sum(n) OVER (ORDER BY bucket DESC) - n AS newer
				FROM (SELECT c.bucket, sum(%[3]s) AS n FROM %[4]s c.level = %[5]d%[6]s GROUP BY c.bucket) b) w
			WHERE newer <= (SELECT rest FROM %[2]s) AND newer + n > (SELECT rest FROM %[2]s) LIMIT 1)`, name, above, p.sign, p.from, level, within))
		above = name
	}
	return p.numbered(strings.Join(with, ",\n")+fmt.Sprintf("\nSELECT (bucket + 1) << %d AS ends, rest FROM %s", stored.Finest, above), `$skip`, `$until`)
}
