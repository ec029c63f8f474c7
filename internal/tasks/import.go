package tasks

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/errandhq/errand"
)

// MaxImport is how many records one import may hold.
const MaxImport = 100_000

// Imported says what an import did to the records it was given.
type Imported struct {
	Added, Updated, Unchanged int
}

// Import stores records of tasks that ran elsewhere, all or none. Records that
// are stored already stay as they are; one that was not final is brought up to
// date by a newer one. Errors: NotFound about "instance"; Invalid about a
// member, Conflict about "record" where a record contradicts the stored one,
// both naming the record by its place in records, counted from 1.
func (s *Service) Import(ctx context.Context, p errand.Principal, project, instance string, records []*errand.Task) (Imported, error) {
	if err := authorize(p, project, errand.Operator); err != nil {
		return Imported{}, err
	}
	if !errand.ValidInstanceID(instance) {
		return Imported{}, badInstanceID(instance)
	}
	if _, err := s.Store.Instance(ctx, project, instance); err != nil {
		return Imported{}, err
	}
	if len(records) > MaxImport {
		return Imported{}, errand.Errorf(errand.Invalid, "records", "an import holds at most %d records, not %d; split it", MaxImport, len(records))
	}
	if len(records) == 0 {
		return Imported{}, nil
	}
	place := make(map[*errand.Task]int, len(records))
	for i, t := range records {
		t.Project, t.Instance = project, instance
		if t.JobID == "" {
			t.JobID = t.ID
		}
		if err := t.Validate(); err != nil {
			return Imported{}, inRecord(i+1, err)
		}
		if t.Origin == nil {
			return Imported{}, fmt.Errorf("import of record %d, which has no origin", i+1)
		}
		place[t] = i + 1
	}
	return s.putImported(ctx, p, records, place)
}

func (s *Service) putImported(ctx context.Context, p errand.Principal, records []*errand.Task, place map[*errand.Task]int) (Imported, error) {
	var done Imported
	now := s.Now().UTC().Truncate(time.Microsecond)
	err := s.Store.Put(ctx, records, func(old, t *errand.Task) (*errand.Event, error) {
		if t == records[0] {
			done = Imported{} // the store may try again from the start
		}
		e := event(p, t, errand.ActImported, now)
		e.To = t.Status
		if old == nil {
			done.Added++
			return e, nil
		}
		save, err := supersedes(old, t)
		if err != nil {
			return nil, inRecord(place[t], err)
		}
		if !save {
			done.Unchanged++
			return nil, nil
		}
		done.Updated++
		e.From = old.Status
		return e, nil
	})
	if err != nil {
		return Imported{}, err
	}
	s.changed()
	return done, nil
}

// supersedes reports whether t is a newer record of the task that old is a
// record of. It is an error if the two cannot be records of the same task.
func supersedes(old, t *errand.Task) (bool, error) {
	conflict := func(format string, args ...any) (bool, error) {
		return false, errand.Errorf(errand.Conflict, "record", "id %s: %s", t.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case old.Instance != t.Instance:
		return conflict("another instance of the project has a task of this id")
	case old.Origin == nil:
		return conflict("a task of this id runs here; its record cannot be imported over")
	case sameRecord(old, t):
		return false, nil
	case old.Operation != t.Operation || old.User != t.User || !old.CreatedAt.Equal(t.CreatedAt):
		return conflict("the stored record has another name, user or created_at")
	case old.Status.Final():
		return conflict("the stored record is final (%s) and differs from this one", old.Status)
	case t.UpdatedAt.Before(old.UpdatedAt):
		return false, nil // an older copy of what is stored
	}
	return true, nil
}

func sameRecord(a, b *errand.Task) bool {
	x, y := *a, *b
	x.Engine, y.Engine = "", ""
	x.CreatedAt, y.CreatedAt = x.CreatedAt.UTC(), y.CreatedAt.UTC()
	x.UpdatedAt, y.UpdatedAt = x.UpdatedAt.UTC(), y.UpdatedAt.UTC()
	return reflect.DeepEqual(x, y)
}

func inRecord(n int, err error) error {
	e := errand.ErrorOf(err)
	return errand.Errorf(e.Kind, e.Subject, "record %d: %s", n, e.Msg).WithCause(e.Err)
}
