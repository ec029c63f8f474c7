package sqlite

import (
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
)

// conn is one connection with its prepared statements and the buffers of the
// reads that go through it. It is used by one goroutine at a time.
type conn struct {
	*sqlite.Conn
	text  []byte // of the page being read
	spans []span
	cells []cell
}

// settings hold for every connection. The heap cache is small because pages are
// read through the memory map, and temporary data stays in memory because the
// server may run without a writable /tmp.
const settings = `
PRAGMA synchronous = FULL;
PRAGMA mmap_size = 2147418112;
PRAGMA cache_size = -4096;
PRAGMA temp_store = MEMORY;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 67108864;
`

// busyTimeout is how long a statement waits for another program, such as the
// sqlite3 shell, that holds the file locked.
const busyTimeout = 3 * time.Second

// connect opens a file that exists.
func connect(path string, more ...string) (*conn, error) {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	c.SetBusyTimeout(busyTimeout)
	n := &conn{Conn: c}
	for _, script := range append([]string{settings}, more...) {
		if err := n.script(script); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return n, nil
}

// script runs statements that are used once. It must not end in a comment.
func (c *conn) script(text string) error {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		st, rest, err := c.PrepareTransient(text)
		if err != nil {
			return err
		}
		text = text[len(text)-rest:]
		for more := true; more && err == nil; {
			more, err = st.Step()
		}
		if ferr := st.Finalize(); err == nil {
			err = ferr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exec runs a statement that returns no rows.
func (c *conn) exec(query string, args ...any) error {
	st, err := c.Prepare(query)
	if err != nil {
		return err
	}
	if err := bind(st, args); err != nil {
		return err
	}
	_, err = st.Step()
	return err
}

// rows calls row for each row that query gives. An error of row ends it.
func (c *conn) rows(query string, row func(*sqlite.Stmt) error, args ...any) error {
	st, err := c.Prepare(query)
	if err != nil {
		return err
	}
	if err := bind(st, args); err != nil {
		return err
	}
	for {
		more, err := st.Step()
		if err != nil || !more {
			return err
		}
		if err := row(st); err != nil {
			_ = st.Reset()
			return err
		}
	}
}

// number returns the first column of the first row, and 0 where there is none.
func (c *conn) number(query string, args ...any) (int64, error) {
	var n int64
	err := c.rows(query, func(st *sqlite.Stmt) error {
		n = st.ColumnInt64(0)
		return nil
	}, args...)
	return n, err
}

func bind(st *sqlite.Stmt, args []any) error {
	for i, a := range args {
		switch v := a.(type) {
		case nil:
			st.BindNull(i + 1)
		case string:
			st.BindText(i+1, v)
		case int64:
			st.BindInt64(i+1, v)
		case int:
			st.BindInt64(i+1, int64(v))
		case bool:
			st.BindBool(i+1, v)
		case []byte:
			st.BindBytes(i+1, v)
		default:
			return fmt.Errorf("cannot bind a %T", a)
		}
	}
	return nil
}

// blob returns a copy of a column of bytes.
func blob(st *sqlite.Stmt, col int) []byte {
	b := make([]byte, st.ColumnLen(col))
	st.ColumnBytes(col, b)
	return b
}

// micro and at turn a moment into microseconds and back.
func micro(t time.Time) int64 { return t.UnixMicro() }
func at(us int64) time.Time   { return time.UnixMicro(us).UTC() }

// microOrNull is micro for moments that may be unset.
func microOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micro(t)
}

func atOrZero(st *sqlite.Stmt, col int) time.Time {
	if st.ColumnIsNull(col) {
		return time.Time{}
	}
	return at(st.ColumnInt64(col))
}
