package errand

import "slices"

// Status says where a task is in its life.
type Status string

const (
	// Pending tasks are accepted and durable but not running: they wait for
	// their time, for their lane, for a worker, or for another attempt.
	Pending Status = "pending"

	// Running tasks are held by a worker under a lease. A crash of the worker
	// leaves the task running until the lease expires and a sweep ends the
	// attempt.
	Running Status = "running"

	// Succeeded is final: the last attempt reported success.
	Succeeded Status = "succeeded"

	// Failed is final: the last attempt failed, or the task's deadline passed.
	Failed Status = "failed"

	// Cancelled is final: somebody asked for the task to stop and it did.
	Cancelled Status = "cancelled"
)

// next is the whole state machine; everything else is bookkeeping.
var next = map[Status][]Status{
	Pending: {Running, Cancelled, Failed},            // Failed: its deadline passed before it could start
	Running: {Pending, Succeeded, Failed, Cancelled}, // Pending again: another attempt is due
}

// Statuses lists every status in the order of a task's life.
func Statuses() []Status {
	return []Status{Pending, Running, Succeeded, Failed, Cancelled}
}

// Valid reports whether s is one of the five statuses.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Final reports whether nothing can follow s.
func (s Status) Final() bool { return s.Valid() && len(next[s]) == 0 }

// CanBecome reports whether a task may go from s to t.
func (s Status) CanBecome(t Status) bool { return slices.Contains(next[s], t) }
