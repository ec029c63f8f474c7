package tasks

import (
	"context"
	"time"
)

// History is the part of a store that lets the past go.
//
// Every implementation must pass storetest.RunHistory.
type History interface {
	// Purge removes what p selects, the oldest first, about p.Limit of it in one
	// short transaction, and says in More whether there may be more to remove: it
	// is called again and again until there is not. What one call reads and
	// writes grows with p.Limit and not with the history, nor with how many tasks
	// that have not ended stand among the old ones; to that end a call may also
	// remove less than p.Limit, or nothing, and still say More.
	//
	// What it selects goes as a whole: a task with its run, its log and all its
	// events, but not with the idempotency key that it was submitted with, so
	// that it can still not be submitted twice. The counts that listings show are
	// exact after each call. Nothing is touched of a task that has not ended,
	// whether it runs here or was imported so; numbers of events are not given
	// out a second time. Of several nodes that purge the same project at the same
	// time, each removes something else, or nothing. An unknown project has
	// nothing to remove.
	//
	// With p.DryRun it removes nothing, and counts what would be removed; the
	// counts of the calls until More is false add up to all that would be gone in
	// the end. Each task, log and event is counted once.
	//
	// Errors: Invalid about "after" where that is no Next of the same store.
	Purge(ctx context.Context, p Purge) (Purged, error)
}

// Purge selects what of a project's history may go. It leaves no event: who asks
// for it is on record elsewhere, and it is meant to end the growth of events too.
type Purge struct {
	Project string

	// Before selects finished tasks that were created before, with their logs and
	// events. It also selects older events of tasks that are gone already, deleted
	// by somebody or forgotten with their instance, as far as no newer event of
	// the project comes before them in the feed: clocks that were set back may
	// delay those. Zero: none.
	Before time.Time

	// Keep selects finished tasks beyond the newest Keep tasks of the project, of
	// all engines and in any status, in the order of List, with their logs and
	// events. 0: none.
	Keep int

	// LogsBefore selects the logs of finished tasks that were created before. The
	// tasks and their events stay. Zero: none.
	LogsBefore time.Time

	// After is the Next of the call before with the same selection, or "": the
	// beginning. It spares a store from passing again over what it must leave. A
	// store may ignore it, except in a dry run that said More.
	After string

	Limit  int // tasks, or logs, or events: 1 or more
	DryRun bool
}

// Purged counts what a purge removed, or would.
type Purged struct {
	Tasks    int64
	Logs     int64 // with their tasks or without; a log of no bytes is none
	LogBytes int64
	Events   int64

	More bool   // call again
	Next string // for After of that call; may be "" where a store needs none
}

// Add adds up what two calls removed; More and Next are those of the later one.
func (p Purged) Add(later Purged) Purged {
	later.Tasks += p.Tasks
	later.Logs += p.Logs
	later.LogBytes += p.LogBytes
	later.Events += p.Events
	return later
}

// Nothing reports whether nothing was removed.
func (p Purged) Nothing() bool { return p.Tasks == 0 && p.Logs == 0 && p.Events == 0 }
