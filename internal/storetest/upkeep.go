package storetest

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/tasks"
)

// Whole is a store of everything.
type Whole interface {
	tasks.Store
	tasks.Queue
	auth.Store
}

// Noon is the moment at which what Fill leaves is as it should be: nothing is
// overdue and nothing has expired.
func Noon() time.Time { return noon.Add(5 * time.Second) }

// Fill puts something of every kind into an empty store: accounts, instances of
// which one has been forgotten, imported records beside those that ran here,
// tasks that wait, run, are scheduled and have ended, with secrets, logs and
// keys. imported is how many imported records there are beside the others.
func Fill(t *testing.T, s Whole, imported int) {
	t.Helper()
	ctx := t.Context()
	must(t, s.AddProject(ctx, auth.Project{ID: project, Name: "cn-north-4", CreatedAt: noon}))
	must(t, s.AddProject(ctx, auth.Project{ID: otherProject, Name: "another é", CreatedAt: noon}))
	for n := 1; n <= 3; n++ {
		must(t, s.AddUser(ctx, user(n)))
		must(t, s.AddKey(ctx, key(n)))
		must(t, s.AddToken(ctx, token(n), 10))
	}
	_, err := s.Check(ctx, "master_key", []byte("fingerprint\x00of this store"))
	must(t, err)

	redis := kafka(3)
	redis.Engine, redis.Name = errand.Redis, "redis-3"
	far := kafka(4)
	far.Project = otherProject
	register(t, s, kafka(1), kafka(2), redis, far, kafka(9))
	fillQueue(t, s)
	fillRecords(t, s, imported)

	// The greatest number of a scope is one that is no longer there.
	register(t, s, kafka(10))
	must(t, s.DeleteInstance(ctx, project, instanceID(9)))
	must(t, s.DeleteInstance(ctx, project, instanceID(10)))
}

// fillQueue leaves tasks in every state in which they can be.
func fillQueue(t *testing.T, s Whole) {
	t.Helper()
	keyed(t, s, 1, "a key", "digest", noon)
	submit(t, s, waiting(1, 2, 0), full(1, 3), planned(1, 4, 0), planned(3, 5, 1), full(2, 6), full(3, 7), free(2, 8, 0), free(2, 9, time.Hour), free(3, 14, 0))
	wantTaken(t, s, noon, 1, 6, 7, 8, 14)
	for _, n := range []int{1, 8} {
		appendLog(t, s, n, []byte("\x00\xffline of a task that runs\n"), 1<<20)
	}
	update(t, s, 6, finishing(errand.Succeeded, noon.Add(time.Second)))
	update(t, s, 7, finishing(errand.Failed, noon.Add(time.Second))) // waits for another attempt
	update(t, s, 8, finishing(errand.Cancelled, noon.Add(time.Second)))
	update(t, s, 1, cancelling(noon.Add(2*time.Second)))
}

func fillRecords(t *testing.T, s Whole, imported int) {
	t.Helper()
	const batch = 500
	var records []*errand.Task
	for n := range imported {
		x := task(1+n%3, 1000+n, noon.Add(-time.Duration(n)*37*time.Minute))
		x.Origin = &errand.Origin{Status: "SUCCESS"}
		if n%10 == 0 {
			x = rich(1+n%3, 1000+n, noon.Add(-time.Duration(n)*time.Second))
		}
		if records = append(records, x); len(records) == batch {
			put(t, s, records...)
			records = records[:0]
		}
	}
	put(t, s, records...)
}
