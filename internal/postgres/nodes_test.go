package postgres

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// waiting returns a task that can be run at noon.
func waiting(instance, n int, lane string) *errand.Task {
	t := testTask(instance, n)
	t.Run = &errand.Run{Lane: lane, RunAt: noon, MaxAttempts: 1, OnLost: errand.FailWhenLost}
	t.Accept(noon)
	return t
}

func fact(t *errand.Task, act errand.Act) *errand.Event {
	return &errand.Event{Project: t.Project, Instance: t.Instance, Task: t.ID, At: noon, Act: act, To: t.Status}
}

func admit(*errand.Task, int) error { return nil }

func submit(ctx context.Context, s *Store, t *errand.Task, key string) (earlier *errand.Task, err error) {
	earlier, _, err = s.Submit(ctx, t, tasks.SubmitKey{Key: key, Digest: "d", Expires: noon.Add(time.Hour)}, fact(t, errand.ActSubmitted), admit)
	return earlier, err
}

func claiming(t *errand.Task) (*errand.Event, error) {
	err := t.Claim(errand.Lease{Token: t.ID, Worker: "w", Beat: noon, Expires: noon.Add(time.Minute)}, noon)
	return fact(t, errand.ActClaimed), err
}

func finishing(t *errand.Task) (*errand.Event, error) {
	err := t.Finish(t.ID, errand.Outcome{Status: errand.Succeeded}, noon, noon)
	return fact(t, errand.ActFinished), err
}

// twoNodes returns two stores of one database.
func twoNodes(t testing.TB) [2]*Store {
	t.Helper()
	url := realServer(t).URL(newDatabase(t))
	return [2]*Store{openAt(t, url), openAt(t, url)}
}

// TestNodesShareLanes has the workers of two nodes race for the tasks of a few
// lanes, while others submit more.
func TestNodesShareLanes(t *testing.T) {
	t.Parallel()
	nodes := twoNodes(t)
	const lanes, each, workers = 4, 15, 3
	for l := range lanes {
		register(t, nodes[0], l)
	}
	var wg sync.WaitGroup
	for l := range lanes {
		wg.Go(func() {
			for n := range each {
				if _, err := submit(t.Context(), nodes[n%2], waiting(l, 1+l*each+n, "x"), ""); err != nil {
					t.Errorf("Submit: %v", err)
				}
			}
		})
	}
	var mu sync.Mutex
	runs := make(map[string]string) // by instance
	var left atomic.Int64
	left.Store(lanes * each)
	for w := range 2 * workers {
		wg.Go(func() {
			s := nodes[w%2]
			for left.Load() > 0 && !t.Failed() {
				got, _, err := s.Take(t.Context(), tasks.Want{Operations: []string{"EXTEND"}, Now: noon, Limit: 1 + w%3}, claiming)
				if err != nil {
					t.Errorf("Take: %v", err)
				}
				mu.Lock()
				for _, x := range got {
					if other := runs[x.Instance]; other != "" {
						t.Errorf("task %s was taken while %s runs in its lane", x.ID, other)
					}
					runs[x.Instance] = x.ID
				}
				mu.Unlock()
				for _, x := range got {
					mu.Lock()
					delete(runs, x.Instance)
					mu.Unlock()
					if _, err := nodes[(w+1)%2].Update(t.Context(), x.Project, x.ID, finishing); err != nil {
						t.Errorf("Update on the other node: %v", err)
					}
					left.Add(-1)
				}
			}
		})
	}
	wg.Wait()
	if p, err := nodes[0].List(t.Context(), errand.Filter{Project: testProject, Limit: 1}); err != nil || p.Total != lanes*each {
		t.Errorf("%d tasks, %v", p.Total, err)
	}
	checkCounts(t, nodes[0])
	checkLive(t, nodes[0])
}

// TestNodesShareKeysAndTasks has two nodes race on idempotency keys, and change
// one task.
func TestNodesShareKeysAndTasks(t *testing.T) {
	t.Parallel()
	nodes := twoNodes(t)
	register(t, nodes[0], 1)
	const callers, rounds = 6, 20
	if _, err := submit(t.Context(), nodes[0], waiting(1, 1_000_000, ""), ""); err != nil {
		t.Fatal(err)
	}
	var ids [rounds][callers]string
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			s := nodes[c%2]
			for r := range rounds {
				x := waiting(1, 1+r*callers+c, "x")
				earlier, err := submit(t.Context(), s, x, fmt.Sprint("key", r))
				if err != nil {
					t.Errorf("Submit: %v", err)
				}
				if ids[r][c] = x.ID; earlier != nil {
					ids[r][c] = earlier.ID
				}
				_, err = s.Update(t.Context(), testProject, fmt.Sprintf("%032x", 1_000_000), func(x *errand.Task) (*errand.Event, error) {
					n, _ := strconv.Atoi(x.Reason)
					x.Reason = strconv.Itoa(n + 1)
					return fact(x, errand.ActStopping), nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for r := range ids {
		for _, id := range ids[r] {
			if id != ids[r][0] {
				t.Errorf("key %d gave tasks %s and %s", r, ids[r][0], id)
			}
		}
	}
	x, err := nodes[1].Get(t.Context(), testProject, fmt.Sprintf("%032x", 1_000_000))
	if err != nil || x.Reason != strconv.Itoa(callers*rounds) {
		t.Errorf("the task says %s (%v), want %d: a change was lost", x.Reason, err, callers*rounds)
	}
	if p, err := nodes[0].List(t.Context(), errand.Filter{Project: testProject, Limit: 1}); err != nil || p.Total != rounds+1 {
		t.Errorf("%d tasks (%v), want one for each key and one more", p.Total, err)
	}
	checkCounts(t, nodes[0])
	checkLive(t, nodes[0])
}

// TestFeedIsReadInOneOrder follows the feed on two nodes while both write.
func TestFeedIsReadInOneOrder(t *testing.T) {
	t.Parallel()
	nodes := twoNodes(t)
	const writers, each = 4, 60
	for n := range writers {
		register(t, nodes[0], n)
	}
	done := make(chan struct{})
	var seen [2][]errand.Event
	var following, wg sync.WaitGroup
	for i, s := range nodes {
		following.Go(func() {
			after, last := int64(0), false
			for {
				es, err := s.Feed(t.Context(), testProject, after, 7)
				if err != nil {
					t.Errorf("Feed: %v", err)
					return
				}
				if seen[i] = append(seen[i], es...); len(es) > 0 {
					after = es[len(es)-1].Seq
					continue
				}
				if last {
					return
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				var err error
				if x := waiting(w, 1+w*each+n, ""); n%5 == 4 {
					x.Run, x.Status = nil, errand.Succeeded
					err = nodes[w%2].Put(t.Context(), []*errand.Task{x}, save)
				} else {
					_, err = submit(t.Context(), nodes[w%2], x, "")
				}
				if err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	close(done)
	following.Wait()
	whole, err := nodes[0].Feed(t.Context(), testProject, 0, 10*writers*each)
	if err != nil || len(whole) != writers*each {
		t.Fatalf("the feed has %d events, %v", len(whole), err)
	}
	for i := range seen {
		if !reflect.DeepEqual(seen[i], whole) {
			t.Errorf("who followed on node %d saw %d events, not the %d that there are in their order", i, len(seen[i]), len(whole))
		}
	}
}
