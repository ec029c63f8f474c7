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
	// short transaction, and says in More whether there is more to remove. It
	// never holds up other writers for long, whatever the history, and touches
	// nothing of a task that has not ended. With p.DryRun it removes nothing and
	// counts all that it would remove in the end.
	Purge(ctx context.Context, p Purge) (Purged, error)
}

// Purge selects what of a project's history may go. It leaves no event: who asks
// for it is on record elsewhere, and it is meant to end the growth of events too.
type Purge struct {
	Project string

	// Before selects finished tasks that were created before, with their logs and
	// events, and older events of tasks that are gone already. Zero: none.
	Before time.Time

	// Keep selects finished tasks beyond the newest Keep tasks of the project,
	// with their logs and events. 0: none.
	Keep int

	// LogsBefore selects the logs of finished tasks that were created before.
	// Zero: none.
	LogsBefore time.Time

	Limit  int // tasks, or logs, or events: 1 or more
	DryRun bool
}

// Purged counts what a purge removed, or would.
type Purged struct {
	Tasks, Logs, Events int64
	LogBytes            int64
	More                bool
}
