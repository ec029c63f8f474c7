package tasks

import (
	"context"
	"time"

	"github.com/errandhq/errand"
)

// Search selects tasks by what no index keeps: the newest that match, found by
// looking through those that Filter selects. Zero members select everything.
type Search struct {
	errand.Filter // but for Offset, which must be 0

	Statuses  []errand.Status // any of them
	Operation string          // machine name
	User      string          // id or name of who asked for the task

	// Cursor continues where an earlier Search with the same members stopped.
	Cursor string
}

// Found is a part of what matches a Search, newest first.
type Found struct {
	Tasks []errand.Task
	Next  string    // Cursor of the next part; "" if there is none
	To    time.Time // how far back was looked; zero: to the end
}

// Search returns up to q.Limit tasks. It looks through a bounded number of
// records: a part may hold fewer tasks than asked for, or none, and still have a
// Next. Errors: as List, and Invalid about "status", "cursor", "operation" or
// "user".
func (s *Service) Search(ctx context.Context, p errand.Principal, q Search) (Found, error) {
	return Found{}, errand.Errorf(errand.Unavailable, "search", "not yet")
}
