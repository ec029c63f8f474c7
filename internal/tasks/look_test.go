package tasks

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/errandhq/errand"
)

// lineQueue holds tasks that any worker may take, and counts who looks.
type lineQueue struct {
	Queue
	mu    sync.Mutex
	tasks int
	asked atomic.Int64
}

func (q *lineQueue) Take(_ context.Context, want Want, change Change) ([]*errand.Task, time.Time, error) {
	q.asked.Add(1)
	time.Sleep(time.Millisecond)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tasks == 0 {
		return nil, time.Time{}, nil
	}
	q.tasks--
	t := &errand.Task{ID: fmt.Sprintf("%032x", q.tasks), Project: want.Project, Status: errand.Pending, Run: &errand.Run{MaxAttempts: 1}}
	_, err := change(t)
	return []*errand.Task{t}, time.Time{}, err
}

// TestFewLook lets many workers wait for the same work: each change costs a few
// looks, not as many as there are workers, and all work is taken.
func TestFewLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const workers, changes, each = 200, 10, 3
		q := &lineQueue{}
		r := NewRuns(New(nil, time.Now), q, nil, nil, RunOptions{})
		p := errand.Principal{Role: errand.Worker}
		var granted atomic.Int64
		var waiting sync.WaitGroup
		for i := range workers {
			waiting.Go(func() {
				for range changes * each { // who got something comes again
					got, err := r.ClaimAll(t.Context(), p, ClaimRequest{Worker: fmt.Sprint(i), Operations: []string{"a", "b"}, Limit: 1, Wait: MaxWait})
					if err != nil {
						t.Error(err)
					}
					if len(got) == 0 {
						return
					}
					granted.Add(1)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Second)
		before := q.asked.Load()
		for range changes {
			q.mu.Lock()
			q.tasks += each
			q.mu.Unlock()
			r.changed()
			time.Sleep(time.Second)
		}
		if asked := q.asked.Load() - before; asked > changes*each*3*lookers {
			t.Errorf("%d workers looked %d times after %d changes", workers, asked, changes)
		}
		waiting.Wait()
		if n := granted.Load(); n != changes*each {
			t.Errorf("%d of %d tasks were granted", n, changes*each)
		}
		if len(r.looks.all) != 0 {
			t.Errorf("%d looks are left", len(r.looks.all))
		}
	})
}

// TestLookWhenDue lets two workers wait for a task that is to be run later: no
// ring says that its time has come.
func TestLookWhenDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var k look
		k.turns = make(chan struct{}, lookers)
		due := time.Now().Add(time.Minute)
		asked := 0
		take := func() (bool, time.Time, error) { asked++; return true, due, nil }
		for _, came := range []bool{true, false, false} {
			if next, err := k.take(t.Context(), 1, time.Now, came, take); err != nil || !next.Equal(due) {
				t.Errorf("next %v, %v", next, err)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		time.Sleep(time.Minute)
		if _, _ = k.take(t.Context(), 1, time.Now, false, take); asked != 2 {
			t.Error("nobody looked when the time had come")
		}
		if _, _ = k.take(t.Context(), 1, time.Now, true, take); asked != 3 {
			t.Error("who came anew did not look")
		}
		if _, _ = k.take(t.Context(), 2, time.Now, false, take); asked != 4 {
			t.Error("nobody looked after a ring")
		}
		for range lookers { // a store that hangs
			k.turns <- struct{}{}
		}
		if next, err := k.take(t.Context(), 3, time.Now, false, take); err != nil || asked != 4 || !next.Equal(time.Now().Add(turnWait)) {
			t.Errorf("asked a store that hangs: %v, %v", next, err)
		}
	})
}

// TestLooksApart checks that only who wants the same shares a look: who finds
// nothing would keep others from theirs.
func TestLooksApart(t *testing.T) {
	t.Parallel()
	var all looks
	join := func(project, engines, operations string) *look {
		want := Want{Project: project, Operations: strings.Split(operations, ",")}
		for _, e := range strings.Fields(engines) {
			want.Engines = append(want.Engines, errand.Engine(e))
		}
		k, _ := all.join(want)
		return k
	}
	first := join("p", "kafka redis", "a,b")
	if join("p", "redis kafka", "b,a") != first {
		t.Error("the order keeps two apart")
	}
	for _, other := range [][3]string{{"q", "kafka redis", "a,b"}, {"p", "kafka", "a,b"}, {"p", "", "a,b"}, {"p", "kafka redis", "a"}, {"p", "kafka redis", "a\nb"}, {"p", "kafka", "redis,a,b"}} {
		if join(other[0], other[1], other[2]) == first {
			t.Errorf("%q shares a look with others", other)
		}
	}
}
