package tasks

import (
	"context"
	"time"
)

// A Cluster is what a store adds that several nodes share. Everything that must
// be right at all times is in Store and Queue; this is how nodes hear of each
// other sooner, and agree on the time.
//
// Every implementation must pass storetest.RunCluster.
type Cluster interface {
	// Time returns the store's clock, which decides for all nodes.
	Time(ctx context.Context) (time.Time, error)

	// Meet keeps what self says of itself, and returns the other nodes that said
	// something within the last quiet, by id. Nodes that have said nothing for a
	// day are forgotten. Seen is set by the store's clock.
	Meet(ctx context.Context, self Node, quiet time.Duration) ([]Node, error)

	// Leave forgets a node.
	Leave(ctx context.Context, id string) error

	// Listen calls ring soon after another node has changed something, and now
	// and then without a reason: where notifications cannot be had, that is all
	// there is, and it comes more often. It returns when ctx is done, having
	// reconnected meanwhile as often as needed. ring must be quick.
	Listen(ctx context.Context, ring func(Ring))
}

// Ring says what another node may have changed.
type Ring uint8

// What rings. Changed covers Progress.
const (
	RingChanged     Ring = 1 << iota // a task's status: something may be claimable, due, or news
	RingProgress                     // the progress of a task that runs
	RingCredentials                  // users, roles, keys or tokens
)

// Node is a server that shares its store with others.
type Node struct {
	ID        string // of the process, new with each start
	Name      string // of its host, for people
	Version   string // of the program
	StartedAt time.Time
	Seen      time.Time     // when it last said something
	Skew      time.Duration // how far its own clock is ahead of the store's
	Workers   []Worker      // who asked it for work lately
}
