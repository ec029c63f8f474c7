package postgres

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// TestLanesInAStorm has two nodes do all that touches lanes at once, and looks at
// the marks of what may be taken in the end.
func TestLanesInAStorm(t *testing.T) {
	t.Parallel()
	nodes := twoNodes(t)
	register(t, nodes[0], 1, 2, 3)
	const callers, each, ids = 8, 60, 40
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			s := nodes[c%2]
			for n := range each {
				k := 1 + rand.IntN(ids)
				x := waiting(1+k%3, k, []string{"x", "y", ""}[k%5%3])
				x.Run.RunAt = noon.Add(time.Duration(rand.IntN(3)-2) * time.Minute)
				x.Run.Due = noon
				var err error
				switch rand.IntN(12) {
				case 0, 1, 2:
					_, err = submit(t.Context(), s, x, "")
				case 3, 4:
					_, _, err = s.Take(t.Context(), tasks.Want{Operations: []string{"EXTEND"}, Now: noon, Limit: 1 + n%4}, claiming)
				case 5, 6:
					_, err = s.Update(t.Context(), testProject, x.ID, finishing)
				case 7:
					err = s.Delete(t.Context(), testProject, x.ID, func(x *errand.Task) (*errand.Event, error) { return fact(x, errand.ActDeleted), nil })
				case 8:
					_, _, err = s.Sweep(t.Context(), noon.Add(time.Hour), 10, func(x *errand.Task) (*errand.Event, error) {
						if x.Status == errand.Running {
							return finishing(x)
						}
						x.Run.RunAt, x.Run.Due = x.Run.RunAt.Add(time.Second), noon.Add(2*time.Hour)
						return nil, nil
					})
				case 9:
					x.Run, x.Status = nil, errand.Succeeded
					err = s.Put(t.Context(), []*errand.Task{x}, save)
				case 10:
					_, err = s.Renew(t.Context(), testProject, x.ID, func(*errand.Task) error { return nil })
				case 11:
					if n%10 == 0 {
						if err = s.DeleteInstance(t.Context(), testProject, instanceID(3)); err == nil {
							err = s.AddInstance(t.Context(), testInstance(3))
						}
					} else {
						_, err = s.AppendLog(t.Context(), testProject, x.ID, fmt.Append(nil, n), 1<<20)
					}
				}
				if e := errand.ErrorOf(err); e != nil && (e.Kind == errand.Internal || e.Kind == errand.Unavailable) {
					t.Errorf("%v: %v", e.Kind, err)
				}
			}
		})
	}
	wg.Wait()
	checkLive(t, nodes[0])
	checkCounts(t, nodes[0])
}
