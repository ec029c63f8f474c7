package errand

import "time"

// Event is one append-only fact of a task's life: who did what, when, and from
// which status to which. Events outlive the record that they are about.
type Event struct {
	Seq      int64 // grows with every event of a store; assigned by it
	Project  string
	Instance string
	Task     string
	At       time.Time
	Act      Act
	Actor    User
	From, To Status // "" where there was or is no record
	Request  string // id of the request that caused it, as in the access log
	Reason   string
}

// Act says what an event records.
type Act string

// The acts that are recorded.
const (
	ActImported Act = "imported" // a record from elsewhere was stored or brought up to date
	ActDeleted  Act = "deleted"  // the record was deleted
)
