package errand

import (
	"encoding/json"
	"time"
)

// Operation is a declared kind of work on an instance: what it is called, what
// it takes, and the limits of its tasks.
type Operation struct {
	Engine  Engine
	Name    string // machine name on the wire, such as "EXTEND"
	Title   string // for people, such as "Change specifications"
	TitleZH string // the same in Chinese

	// Schema is the JSON Schema (draft 2020-12) that parameters must meet; nil
	// takes any JSON object.
	Schema json.RawMessage

	// Secrets names the secret values that a submission may carry. They are
	// sealed from then until the worker gets them, and shown to nobody else.
	Secrets []string

	// Lane is what its tasks must not run beside on one instance; "" is nothing.
	Lane string
	// RejectBusy refuses a submission while the lane is taken, instead of
	// letting it wait in line.
	RejectBusy bool

	Timeout     time.Duration // of one attempt; 0: no limit
	MaxAttempts int           // at least 1
	Backoff     Backoff
	OnLost      LostPolicy

	// Runner says who runs it: a worker that claims it, or the server itself.
	Runner RunnerKind

	// HideRunning makes a running task of this operation show the wire status
	// of a waiting one (DMS: CREATED), because clients that wait for it treat
	// every other word as a failure.
	HideRunning bool
}

// RunnerKind says who runs an operation.
type RunnerKind string

const (
	// RemoteRunner operations are claimed by workers over the native API.
	RemoteRunner RunnerKind = "worker"
	// ProgramRunner operations run a local program on the server.
	ProgramRunner RunnerKind = "program"
	// SimulationRunner operations pretend, for demonstrations and tests.
	SimulationRunner RunnerKind = "simulate"
)

// DefaultLane is the lane of operations that declare none: one change of an
// instance at a time.
const DefaultLane = "instance"

// The limits of tasks whose operation declares none.
const (
	DefaultTimeout     = time.Hour
	DefaultMaxAttempts = 1
)
