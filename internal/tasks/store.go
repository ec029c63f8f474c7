package tasks

import (
	"context"

	"github.com/errandhq/errand"
)

// A Change looks at a record inside a store's transaction and says what becomes
// of it: it may alter t, and returns the event that records the change. No
// event means that nothing is to be saved; an error undoes the whole call and is
// returned as it is. A Change must be quick and pure: it runs again if the
// database asks for another try.
//
// No record changes without an event: that is why the event is the answer.
type Change func(t *errand.Task) (*errand.Event, error)

// A Store keeps tasks, instances and events. It knows nothing of leases, roles
// or time: it selects, it saves, and it makes each method atomic and durable
// before it returns. Errors that it does not classify as *errand.Error are
// Internal; a store that is full, locked or shutting down is Unavailable.
// All methods may be called concurrently.
//
// Every implementation must pass storetest.Run.
type Store interface {
	// Put offers each task of batch, in order and in one transaction, to
	// decide, together with the record that has its id in its project, or nil.
	// Where decide returns an event, the task is saved (added, or in place of
	// old, whose CreatedAt it may change) and the event is appended. The store
	// fills in Engine; an unknown instance is NotFound about "instance". A task
	// whose id belongs to another instance of the project is still offered:
	// decide must refuse it.
	Put(ctx context.Context, batch []*errand.Task, decide func(old, t *errand.Task) (*errand.Event, error)) error

	// Get returns one task of a project, or NotFound about "task".
	Get(ctx context.Context, project, id string) (*errand.Task, error)

	// GetJob is Get by JobID.
	GetJob(ctx context.Context, project, jobID string) (*errand.Task, error)

	// List returns the matching tasks, newest first by (CreatedAt, ID), with
	// the total of all that match, from one snapshot. Its cost grows with
	// f.Limit and not with the history, the total or f.Offset. An offset past
	// the end gives an empty page with the total. An instance that is not known
	// is NotFound about "instance". Progress is read without its steps: it is
	// non-nil exactly where there is some.
	List(ctx context.Context, f errand.Filter) (errand.Page, error)

	// Delete removes one task if change returns an event, which is appended;
	// otherwise it leaves it and returns change's error. NotFound about "task"
	// if there is none. What change does to the task is not saved.
	Delete(ctx context.Context, project, id string, change Change) error

	// Events returns up to limit events of one task, oldest first, with a Seq
	// above after. Events outlive their task; unknown ids have none.
	Events(ctx context.Context, project, task string, after int64, limit int) ([]errand.Event, error)

	// AddInstance registers i, or reports Conflict about "instance" if the id is
	// taken in its project. The project need not be known to the store.
	AddInstance(ctx context.Context, i errand.Instance) error

	// Instance returns one instance, or NotFound about "instance".
	Instance(ctx context.Context, project, id string) (errand.Instance, error)

	// Instances returns up to limit instances of a project, by id, after
	// passing over offset of them, with the total.
	Instances(ctx context.Context, project string, offset, limit int) ([]errand.Instance, int, error)

	// DeleteInstance forgets an instance and all its records, or reports
	// NotFound about "instance". From its first moment the instance and its
	// records are gone for every other call; events stay. It works in small
	// batches that never hold up other writers for long, and one that a crash
	// cut off is completed by the store itself.
	DeleteInstance(ctx context.Context, project, id string) error

	// Ping reports whether the store can read and write now.
	Ping(ctx context.Context) error
}
