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
	Remote   string // IP address that the request came from, "" for the server itself; see Principal
	Reason   string
}

// Act says what an event records.
type Act string

// The acts that are recorded.
const (
	ActImported    Act = "imported"    // a record from elsewhere was stored or brought up to date
	ActDeleted     Act = "deleted"     // the record was deleted
	ActSubmitted   Act = "submitted"   // somebody asked for the task
	ActClaimed     Act = "claimed"     // a worker began an attempt
	ActReleased    Act = "released"    // a claim was given back: its worker had gone before it was told
	ActFinished    Act = "finished"    // an attempt ended as its worker said
	ActLost        Act = "lost"        // an attempt ended because its worker was not heard of
	ActStopping    Act = "stopping"    // somebody asked the running task to stop
	ActCancelled   Act = "cancelled"   // the task was cancelled without a worker's word
	ActMissed      Act = "missed"      // its deadline passed before it could start
	ActRescheduled Act = "rescheduled" // its start was moved
	ActStalled     Act = "stalled"     // it waits, and no worker that could run it is there
)
