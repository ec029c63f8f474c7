package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/errandhq/errand"
)

// Why a handler's context has ended. Ask with errors.Is of context.Cause(ctx).
var (
	// ErrLeaseLost: the server has taken the task away, or could not be reached
	// for as long as the lease lived. Somebody else may run the task now: stop
	// at once and change nothing more.
	ErrLeaseLost = errors.New("the lease was lost")
	// ErrStopped: somebody asked the task to stop.
	ErrStopped = errors.New("asked to stop")
	// ErrTimeout: the attempt has had all its time.
	ErrTimeout = errors.New("out of time")
	// ErrStopping: this worker is stopping and does not wait any longer.
	ErrStopping = errors.New("the worker is stopping")
)

// stopError is ErrStopped with the words of who asked.
type stopError struct{ reason string }

func (e *stopError) Error() string {
	if e.reason == "" {
		return ErrStopped.Error()
	}
	return ErrStopped.Error() + ": " + e.reason
}

func (e *stopError) Is(target error) bool { return target == ErrStopped }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

type codedError struct {
	code string
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// Permanent marks err as one that another attempt would meet too: the task fails
// now, whatever attempts are left. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// WithCode gives err the error code that the task shows, in the operation's own
// words, at most 256 bytes. WithCode(code, nil) is nil.
func WithCode(code string, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code, err}
}

// panicError is what a handler that panicked returned.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.value) }

// outcomeOf says what becomes of an attempt whose handler returned err. cause is
// why its context had ended before that, or nil.
func outcomeOf(err, cause error, j *Job, worker string, timeout time.Duration) errand.Outcome {
	if err == nil {
		return errand.Outcome{Status: errand.Succeeded, Result: j.returned()}
	}
	o := errand.Outcome{Status: errand.Failed, Result: j.returned(), Reason: err.Error()}
	var said string // what the handler adds to the cause
	if cause != nil && !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		said = ": " + err.Error()
	}
	var stop *stopError
	switch {
	case errors.As(cause, &stop):
		o.Status, o.Reason = errand.Cancelled, stop.reason
		if o.Reason == "" {
			o.Reason = "cancelled"
		}
		return o
	case errors.Is(cause, ErrTimeout):
		o.ErrorCode, o.Reason = "Timeout", "the attempt took longer than "+timeout.String()+said
	case errors.Is(cause, ErrStopping):
		o.ErrorCode, o.Reason = "WorkerStopped", "worker "+worker+" was stopped"+said
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		o.ErrorCode, o.Reason = "Panic", p.Error()
	}
	if c, ok := errors.AsType[*codedError](err); ok && cause == nil {
		o.ErrorCode = c.code
	}
	if _, ok := errors.AsType[*permanentError](err); ok && cause == nil {
		o.Permanent = true
	}
	return o
}
