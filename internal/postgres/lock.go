package postgres

import (
	"encoding/binary"
	"hash/fnv"
)

// The order in which a transaction takes its locks. All are advisory and end
// with the transaction, so that no two that wait for each other can form a ring,
// and no statement meets a row that another transaction holds for long.
//
//  1. instanceLock, shared, of every instance whose tasks it changes, by key.
//     Who forgets an instance takes it exclusively.
//  2. laneLock of every (instance, lane), taskLock of every task that is in no
//     lane, keyLock of every idempotency key, recordsLock of every project whose
//     imported or ended records it changes: exclusively, by key.
//     tokensLock of the user whose sessions change stands alone.
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

// The first byte of a key says what is locked, so that keys in their order are
// in the order above. The rest is a hash: two things that share a key wait for
// each other now and then, and that is all.
const (
	ofInstance = 0x50 + iota
	ofLane
	ofTask
	ofKey
	ofRecords
	ofTokens
)

func instanceLock(scope int64) int64          { return lockOf(ofInstance, scope, "") }
func laneLock(scope int64, lane string) int64 { return lockOf(ofLane, scope, lane) }
func taskLock(project int64, id string) int64 { return lockOf(ofTask, project, id) }
func keyLock(project int64, key string) int64 { return lockOf(ofKey, project, key) }
func recordsLock(project int64) int64         { return lockOf(ofRecords, project, "") }

func tokensLock(user string) int64 { return lockOf(ofTokens, 0, user) }

func lockOf(what byte, number int64, name string) int64 {
	h := fnv.New64a()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(number))
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(name))
	return int64(what)<<56 | int64(h.Sum64()>>8)
}
