package sqlite

import (
	"bytes"
	"fmt"
	"testing"
)

func logPiecesKept(t *testing.T, s *Store) (n int64) {
	t.Helper()
	_ = s.snapshot(t.Context(), func(c *conn) error {
		n = c.mustCount(t, `SELECT count(*) FROM task_log`)
		return nil
	})
	return n
}

// Lines that come one by one must not become as many rows.
func TestLogLinesShareARow(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	x := waitingTask(1, 1)
	mustSubmit(t, s, x)
	var all []byte
	for n := range 500 {
		line := fmt.Appendf(nil, "line %d of what a program says\n", n)
		all = append(all, line...)
		if _, err := s.AppendLog(t.Context(), testProject, x.ID, line, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	got, size, err := s.Log(t.Context(), testProject, x.ID, 0, 1<<20)
	if err != nil || size != int64(len(all)) || !bytes.Equal(got, all) {
		t.Errorf("the log has %d of %d bytes, want %d; %v", len(got), size, len(all), err)
	}
	if n := logPiecesKept(t, s); n > int64(len(all))/shortPiece+1 {
		t.Errorf("%d bytes are kept in %d rows", len(all), n)
	}
}

// Long logs are removed a few at a time, so that nobody waits for long.
func TestForgottenLogsGo(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	const many = 5
	for n := range many {
		x := waitingTask(1, n)
		mustSubmit(t, s, x)
		if _, err := s.AppendLog(t.Context(), testProject, x.ID, bytes.Repeat([]byte("x"), forgetLogs/2), forgetLogs); err != nil {
			t.Fatal(err)
		}
	}
	if n := logPiecesKept(t, s); n != many {
		t.Fatalf("%d pieces, want %d", n, many)
	}
	err := s.w.do(t.Context(), func(tx *tx) error { // as DeleteInstance does, but it tells nobody
		e, err := tx.instance(testProject, instanceID(1))
		if err != nil {
			return err
		}
		if err := tx.exec(`INSERT INTO forgotten VALUES (?, ?)`, e.scope, e.grp); err != nil {
			return err
		}
		return tx.exec(`DELETE FROM instances WHERE scope = ?`, e.scope)
	})
	if err != nil {
		t.Fatal(err)
	}
	if more, err := s.forgetSome(); err != nil || !more {
		t.Fatalf("more to remove: %v, %v", more, err)
	}
	if n := logPiecesKept(t, s); n != 2 {
		t.Errorf("%d pieces of logs are left, want 2: the first three are more than one transaction should remove", n)
	}
	for more := true; more; {
		if more, err = s.forgetSome(); err != nil {
			t.Fatal(err)
		}
	}
	if n := logPiecesKept(t, s); n != 0 {
		t.Errorf("%d pieces of logs are left", n)
	}
	checkLive(t, s)
	checkCounts(t, s)
}
