// Package worker runs tasks of Errand in your own process: say which operations
// you can run in a [Mux], and let a [Pool] claim them from a [Source], run their
// handlers, keep their leases and report what became of them.
//
// # What a handler can rely on
//
// A handler runs while its worker holds the task's lease, and nobody else runs a
// task of the same instance and lane meanwhile. The pool extends the lease at a
// third of its life, and sends progress, steps and log with the same call. The
// handler's context ends when it should stop, with the reason as its cause (see
// [context.Cause]): [ErrLeaseLost], [ErrStopped], [ErrTimeout] or [ErrStopping].
//
// What the handler returns ends the attempt:
//
//   - nil: the task succeeded, even if it was asked to stop meanwhile.
//   - an error after ErrStopped: the task is cancelled.
//   - any other error: the attempt failed; another one follows if the operation
//     allows more. [Permanent] says that it would fail too, [WithCode] gives the
//     error code to show. A panic is a failure.
//   - anything after ErrLeaseLost: nothing is reported. The server has decided
//     already, and a late word would be refused.
//
// # Handlers that do not stop
//
// A handler that goes on for longer than Pool.Grace after its context has ended
// is abandoned: the pool logs it, extends its lease no more and reports nothing,
// because nobody knows what the handler still does. The server then takes the
// worker for lost, and does what the operation declares for that case. The
// handler keeps its place in the pool until it returns, so the pool is smaller by
// one; and a later task of the same instance and lane that this pool claims is
// not started before it has. That task's log says so.
//
// # Secrets
//
// The values of Job.Secrets are replaced by *** in everything that leaves the
// worker: log, steps, reasons, error codes and results. That covers the value as
// it is, escaped for JSON and for URLs, in base64, and each line of a value of
// several lines; it does not cover what a program makes of them otherwise, nor
// values shorter than three bytes. What a handler prints by other ways is its own
// affair.
package worker

import (
	"context"
	"time"

	"github.com/errandhq/errand"
)

// Source gives out tasks and is told what becomes of them. Errors are read with
// [errand.ErrorOf]: LeaseLost ends the attempt, Invalid means that the call was
// wrong and is not repeated, all others are taken as passing.
type Source interface {
	// Claim leases up to c.Limit tasks. It waits up to c.Wait for the first one,
	// and returns none if none came.
	Claim(ctx context.Context, c ClaimRequest) ([]Grant, error)

	// Extend keeps the lease that token names, and records progress and log.
	Extend(ctx context.Context, token string, b Beat) (Extended, error)

	// Finish ends the attempt. log is the last part of its output, at most
	// MaxLogWrite bytes.
	Finish(ctx context.Context, token string, o errand.Outcome, log []byte) error
}

// The limits of one call.
const (
	MaxClaim    = 100
	MaxLogWrite = 256 << 10
)

// ClaimRequest says what a worker can run.
type ClaimRequest struct {
	Worker     string          // its name, for people
	Operations []string        // machine names
	Engines    []errand.Engine // none: every engine
	Limit      int             // how many tasks at the most, up to MaxClaim
	Wait       time.Duration   // how long to wait for the first one
}

// Grant is a task that this worker alone may run.
type Grant struct {
	// Task is the task with its Run: at least Lane, Timeout and Attempts.
	Task *errand.Task
	// Token names the lease. What is in it is the source's affair.
	Token   string
	Secrets map[string]string
	TTL     time.Duration // the lease is lost after so long a silence
}

// Beat is what a worker says while it runs a task.
type Beat struct {
	Progress *errand.Progress // nil: as before
	Log      []byte           // more output, at most MaxLogWrite bytes
}

// Extended answers a beat.
type Extended struct {
	TTL          time.Duration
	Stop         bool   // somebody asked the task to stop
	Reason       string // why
	LogTruncated bool   // the log is full; more of it is thrown away
}
