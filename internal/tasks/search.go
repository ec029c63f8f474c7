package tasks

import (
	"context"
	"encoding/base64"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// The limits of a search.
const (
	maxSearched = 20_000 // records that one call looks at
	searchPage  = 100    // records that are read first; after that, MaxLimit at a time
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
// Next. No record is found twice, and none is missed that was there all the time,
// whatever is added or deleted between the calls. Errors: as List, and Invalid
// about "status", "cursor", "operation" or "user".
func (s *Service) Search(ctx context.Context, p errand.Principal, q Search) (Found, error) {
	at, err := q.check(p)
	if err != nil {
		return Found{}, err
	}
	var found Found
	for looked, size := 0, max(searchPage, q.Limit); ; size = MaxLimit {
		size = min(size, MaxLimit, maxSearched-looked)
		page, err := s.after(ctx, q.Filter, at, size)
		if err != nil {
			return Found{}, err
		}
		for i := range page.Tasks {
			t := &page.Tasks[i]
			at = place{t.CreatedAt, t.ID, page.reached}
			if q.matches(t) {
				found.Tasks = append(found.Tasks, *t)
			}
			if len(found.Tasks) == q.Limit {
				return found.upTo(at, page.last && i == len(page.Tasks)-1), nil
			}
		}
		if looked += len(page.Tasks); page.last || looked >= maxSearched {
			return found.upTo(at, page.last), nil
		}
	}
}

// upTo notes where a search stopped, unless that is the end.
func (f Found) upTo(at place, end bool) Found {
	if !end {
		f.Next, f.To = at.cursor(), at.at
	}
	return f
}

// check says what is wrong with q, or where it begins.
func (q *Search) check(p errand.Principal) (place, error) {
	if err := checkFilter(p, q.Filter); err != nil {
		return place{}, err
	}
	for _, s := range q.Statuses {
		if !s.Valid() {
			return place{}, errand.Errorf(errand.Invalid, "status", "status %.64q is not one of %v", string(s), errand.Statuses())
		}
	}
	switch {
	case q.Offset != 0:
		return place{}, errand.Errorf(errand.Invalid, "offset", "a search goes on by its cursor and takes no offset")
	case !errand.ValidText(q.Operation, errand.MaxNameLen):
		return place{}, errand.Errorf(errand.Invalid, "operation", "the name of an operation is at most %d bytes of UTF-8", errand.MaxNameLen)
	case !errand.ValidText(q.User, errand.MaxNameLen):
		return place{}, errand.Errorf(errand.Invalid, "user", "the id or name of a user is at most %d bytes of UTF-8", errand.MaxNameLen)
	}
	return placeOf(q.Cursor)
}

func (q *Search) matches(t *errand.Task) bool {
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, t.Status)) &&
		(q.Operation == "" || t.Operation == q.Operation) &&
		(q.User == "" || t.User.ID == q.User || t.User.Name == q.User)
}

// place is where a record stands, or stood, in the order of List. The zero place
// is before the newest.
type place struct {
	at time.Time
	id string

	// crowd is how many records of the same moment come before it, or a lower
	// guess: where to look on.
	crowd int
}

// cursorTag tells cursors of another make.
const cursorTag = "1"

func (a place) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorTag + " " + strconv.FormatInt(a.at.UnixMicro(), 10) + " " + a.id))
}

// placeOf reads a cursor.
func placeOf(cursor string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(text), " ")
	if err == nil && len(parts) == 3 && parts[0] == cursorTag && errand.ValidID(parts[2]) {
		us, err := strconv.ParseInt(parts[1], 10, 64)
		if at := time.UnixMicro(us).UTC(); err == nil && us >= 0 && at.Year() <= 9999 {
			return place{at: at, id: parts[2]}, nil
		}
	}
	return place{}, errand.Errorf(errand.Invalid, "cursor", "the cursor is none that a search has returned")
}

// reached reports whether t is a or comes before it.
func (a place) reached(t *errand.Task) bool {
	return a.id != "" && (t.CreatedAt.After(a.at) || t.CreatedAt.Equal(a.at) && t.ID >= a.id)
}

// rest is a page of what comes after a place.
type rest struct {
	errand.Page
	last    bool // nothing comes after it
	reached int  // the crowd of its last task
}

// crowds is how often a page is looked for among records that are deleted all the
// time.
const crowds = 100

// after returns up to limit tasks that f selects and that come after a place,
// which need not be that of a record that is still there. A page begins at the
// moment of the place, and what is before that place in it is left out. That is
// little as a rule; where so many records share the moment that it would be all,
// the page begins further on, with one at least that is left out: the others may
// have been deleted or added to while they were counted.
func (s *Service) after(ctx context.Context, f errand.Filter, at place, limit int) (rest, error) {
	f.Limit = limit + 1 // for the one that is left out
	if at.id != "" && (f.To.IsZero() || !at.at.After(f.To)) {
		f.To, f.Offset = at.at, at.crowd
	}
	for range crowds {
		if !f.From.IsZero() && f.To.Before(f.From) && !f.To.IsZero() {
			return rest{last: true}, nil // the cursor is of another search
		}
		page, err := s.Store.List(ctx, f)
		if err != nil {
			return rest{}, err
		}
		r := rest{Page: page, last: f.Offset+len(page.Tasks) >= page.Total}
		skip := 0
		for skip < len(page.Tasks) && at.reached(&page.Tasks[skip]) {
			skip++
		}
		r.Tasks = page.Tasks[skip:]
		if len(r.Tasks) > limit {
			r.Tasks, r.last = r.Tasks[:limit], false
		}
		if n := len(r.Tasks); n > 0 && r.Tasks[n-1].CreatedAt.Equal(f.To) {
			r.reached = f.Offset + skip + n - 1
		}
		if (skip > 0 || f.Offset == 0) && (len(r.Tasks) > 0 || r.last) {
			return r, nil
		}
		n, err := s.reachedAt(ctx, f, at)
		if err != nil {
			return rest{}, err
		}
		f.Offset = max(0, n-1)
	}
	return rest{}, errand.Errorf(errand.Unavailable, "search", "the records are deleted faster than they are looked through; try again")
}

// reachedAt counts the tasks created at the moment of a place that it has reached.
func (s *Service) reachedAt(ctx context.Context, f errand.Filter, at place) (int, error) {
	f.From, f.To, f.Offset, f.Limit = at.at, at.at, 0, 1
	page, err := s.Store.List(ctx, f)
	if err != nil {
		return 0, err
	}
	n := sort.Search(page.Total, func(i int) bool {
		if err != nil {
			return true
		}
		f.Offset = i
		var one errand.Page
		one, err = s.Store.List(ctx, f)
		return err == nil && (len(one.Tasks) == 0 || !at.reached(&one.Tasks[0]))
	})
	return n, err
}
