package postgres

// The order in which a transaction takes its locks. All are advisory and end
// with the transaction, so that no two that wait for each other can form a ring,
// and no statement meets a row that another transaction holds for long.
//
//  1. lockInstance, shared, of every instance whose tasks it changes, by key.
//     Who forgets an instance takes it exclusively.
//  2. lockLane of every (instance, lane), lockTask of every task that is in no
//     lane, lockKey of every idempotency key, lockRecords of every project whose
//     imported or ended records it changes: exclusively, by key.
//  3. lockCommit, exclusively, in the same packet as the counts, the events and
//     COMMIT: events get their numbers in the order in which they become
//     visible, so that who follows the feed misses none.
//
// A transaction that looks for work does not know its lanes beforehand: it tries
// the locks of the tasks that it found, and passes over those that others hold.
const (
	lockMigrate  = 0x45727244_00000001 // one node brings the schema up to date
	lockCommit   = 0x45727244_00000002
	lockAccounts = 0x45727244_00000003 // changes of users and credentials; see auth.Store
)
