package wire

import (
	"context"
	"sync"
	"time"

	"github.com/errandhq/errand"
)

// Finder finds an instance for a principal; see tasks.Service.Instance.
type Finder func(ctx context.Context, p errand.Principal, project, id string) (errand.Instance, error)

// The bounds of what Remember keeps.
const (
	rememberFor = 5 * time.Second
	remembered  = 10_000
)

// Remember returns a finder for Router.Instance that asks find about each
// instance once in a while, for stores that other nodes write to, where each
// look is a query. What it remembers decides which dialect answers and what pages
// call an instance, and nothing else: the call itself finds out whether the
// instance is still there.
func Remember(find Finder, now func() time.Time) Finder {
	type key struct{ project, id string }
	type known struct {
		instance errand.Instance
		at       time.Time // when it was found
	}
	var mu sync.RWMutex
	all := map[key]known{}
	return func(ctx context.Context, p errand.Principal, project, id string) (errand.Instance, error) {
		at, k := now(), key{project, id}
		if p.Project == project { // what was found for one of a project may be told to others of it
			mu.RLock()
			i, ok := all[k]
			mu.RUnlock()
			if age := at.Sub(i.at); ok && age >= 0 && age < rememberFor { // the clock may have been set back
				return i.instance, nil
			}
		}
		i, err := find(ctx, p, project, id)
		if err != nil {
			return i, err
		}
		mu.Lock()
		defer mu.Unlock()
		if len(all) >= remembered {
			clear(all) // cheaper than choosing, and what is in use comes back
		}
		all[k] = known{i, at}
		return i, nil
	}
}
