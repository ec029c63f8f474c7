package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestServer kills a server and finds what it had acknowledged.
func TestServer(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real server")
	}
	t.Parallel()
	s := Start(t)
	db := s.Database(t, "")
	s.Exec(t, db, "CREATE TABLE x (n bigint)", "INSERT INTO x VALUES (7)")
	copied := s.Database(t, db)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Recover(); err != nil { // its children may still hold its memory
		t.Fatal(err)
	}
	c, err := pgx.Connect(t.Context(), s.URL(copied))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var n int
	if err := c.QueryRow(t.Context(), "SELECT n FROM x").Scan(&n); err != nil || n != 7 {
		t.Errorf("after the kill: %d, %v", n, err)
	}
}
