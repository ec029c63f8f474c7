package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestStandby kills a primary and finds on its standby what it had acknowledged.
func TestStandby(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real servers")
	}
	t.Parallel()
	primary := Start(t)
	db := primary.Database(t, "")
	standby := primary.Standby(t)
	url := URLs(db, standby, primary)
	write := func(n int) {
		t.Helper()
		c, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if _, err := c.Exec(t.Context(), "INSERT INTO x VALUES ($1)", n); err != nil {
			t.Fatal(err)
		}
	}
	primary.Exec(t, db, "CREATE TABLE x (n bigint)")
	write(1)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	standby.Promote(t)
	write(2)
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var n, sum int
	if err := c.QueryRow(t.Context(), "SELECT count(*), sum(n) FROM x").Scan(&n, &sum); err != nil || n != 2 || sum != 3 {
		t.Errorf("after the promotion: %d rows, sum %d, %v", n, sum, err)
	}
}
