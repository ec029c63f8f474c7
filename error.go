package errand

import (
	"errors"
	"fmt"
)

// Kind classifies an [Error] for the caller that must act on it. The zero Kind
// is Internal: an error that nobody classified is never shown to a client.
type Kind uint8

// The kinds of error that cross package boundaries.
const (
	Internal        Kind = iota // a fault of ours; logged in full, hidden from clients
	Invalid                     // the request is wrong and will stay wrong
	Unauthenticated             // the caller is not known, or could not prove who it is
	Forbidden                   // the caller is known and may not do this
	NotFound                    // there is no such thing, or none the caller may see
	Conflict                    // the thing is not in a status that allows this
	LeaseLost                   // the lease that the caller names is no longer held
	Unavailable                 // try again later
)

// Kinds lists every kind; tables that must be complete are checked against it.
func Kinds() []Kind {
	return []Kind{Internal, Invalid, Unauthenticated, Forbidden, NotFound, Conflict, LeaseLost, Unavailable}
}

func (k Kind) String() string {
	names := [...]string{"internal", "invalid", "unauthenticated", "forbidden", "not found", "conflict", "lease lost", "unavailable"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is the only error type that crosses package boundaries on purpose.
type Error struct {
	Kind    Kind
	Subject string // what it is about: "task", "instance_id", "limit"
	Msg     string // safe to show to the client
	Err     error  // the cause; for logs only
}

// Errorf returns an Error of the given kind about subject. The message is shown
// to clients: it must hold nothing that they may not see.
func Errorf(kind Kind, subject, format string, args ...any) *Error {
	return &Error{Kind: kind, Subject: subject, Msg: fmt.Sprintf(format, args...)}
}

// WithCause returns a copy of e that carries err for the log.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// Error gives the message and the cause: it is for logs. Clients are shown Msg.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorOf returns the first Error in err's chain, or an Internal one that wraps
// err. It is how an edge (dialect, command line, console) reads any error. It
// returns nil for a nil err.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Msg: "internal error", Err: err}
}
