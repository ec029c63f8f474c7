package worker

import (
	"context"
	"maps"
	"slices"
)

// Handler runs one attempt of a task. See the package's comment for what it may
// rely on and what its answer means.
type Handler func(ctx context.Context, j *Job) error

// Mux says which operations a worker runs and how. Operations that it does not
// know are never claimed. The zero Mux is ready to use; it must not be changed
// once a Pool runs it.
type Mux struct {
	handlers map[string]Handler
}

// Handle registers h for the operation with the given machine name, such as
// "EXTEND". It panics if the name is empty or taken, or h is nil: these are
// mistakes of the program.
func (m *Mux) Handle(operation string, h Handler) {
	switch {
	case operation == "" || h == nil:
		panic("worker: Handle takes the name of an operation and a handler")
	case m.handlers[operation] != nil:
		panic("worker: operation " + operation + " has a handler already")
	case m.handlers == nil:
		m.handlers = map[string]Handler{}
	}
	m.handlers[operation] = h
}

// Operations returns the names that have a handler, sorted.
func (m *Mux) Operations() []string { return slices.Sorted(maps.Keys(m.handlers)) }
