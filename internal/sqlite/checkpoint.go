package sqlite

import (
	"time"

	"zombiezen.com/go/sqlite"
)

// How long the checkpointer lets writes gather, and how long it leaves a disk
// alone that refused one.
const (
	checkpointEvery = 200 * time.Millisecond
	checkpointRetry = 5 * time.Second
)

// checkpoints moves what has been written from the log into the database, in
// two phases. The first, on its own connection, does the work beside the
// writer, but never catches up with one that keeps writing: the log would only
// grow. So the writer itself does the short rest between two groups; after that
// the log is empty for a moment and the next group starts it from the top.
//
// Nothing runs while nothing is written.
func (s *Store) checkpoints(c *conn) {
	for {
		select {
		case <-s.quit:
			return
		case <-s.w.wrote:
		}
		wait := checkpointEvery
		for again := true; again; {
			select {
			case <-s.quit:
				return
			case <-time.After(wait):
			}
			left, err := c.checkpoint()
			wait = checkpointEvery
			if err != nil {
				wait = checkpointRetry
				s.log.Warn("checkpoint failed; will be tried again", "err", err)
			} else {
				select {
				case s.w.restart <- struct{}{}:
				case <-s.quit:
					return
				}
			}
			again = err != nil || left
		}
	}
}

// checkpoint is the second phase. What it leaves, the next round does.
func (w *writer) checkpoint() {
	if left, err := w.c.checkpoint(); err != nil || left {
		notify(w.wrote)
	}
}

// checkpoint copies what it can without waiting for anyone, and reports whether
// something is left because a reader still needs it.
func (c *conn) checkpoint() (left bool, err error) {
	err = c.rows(`PRAGMA wal_checkpoint(PASSIVE)`, func(st *sqlite.Stmt) error {
		left = st.ColumnInt64(0) != 0 || st.ColumnInt64(1) > st.ColumnInt64(2)
		return nil
	})
	return left, err
}
