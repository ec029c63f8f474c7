package tasks

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/errandhq/errand"
)

// Worker is who asked for work lately.
type Worker struct {
	Name       string
	Operations []string
	Engines    []errand.Engine // none: every engine
	Since      time.Time       // when it was first seen
	Seen       time.Time       // when it last asked for work, or now while it waits
}

// absent is how long a worker that does not ask is still taken to be there: it
// may be busy with what it has.
const absent = 2 * time.Minute

// maxWorkers bounds how many workers are remembered.
const maxWorkers = 10_000

// workers remembers who asked for work. It is memory of this process only: after
// a restart it is empty until workers ask again, which they do at once.
type workers struct {
	mu  sync.Mutex
	all map[workerKey]*presence
}

// workerKey's project is "" for the server itself, which works for every project.
type workerKey struct{ project, name string }

type presence struct {
	Worker
	waiting int // calls that wait right now
}

func (w *workers) enter(project string, c ClaimRequest, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[workerKey]*presence{}
	}
	k := workerKey{project, c.Worker}
	p := w.all[k]
	if p == nil {
		w.forget(now)
		p = &presence{Worker: Worker{Name: c.Worker, Since: now}}
		w.all[k] = p
	}
	p.Operations, p.Engines, p.Seen = slices.Clone(c.Operations), slices.Clone(c.Engines), now
	p.waiting++
}

func (w *workers) leave(project, name string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.all[workerKey{project, name}]; p != nil {
		p.Seen = now
		p.waiting--
	}
}

// forget makes room: who has not been seen for long goes, and if all are there,
// any.
func (w *workers) forget(now time.Time) {
	if len(w.all) < maxWorkers {
		return
	}
	maps.DeleteFunc(w.all, func(_ workerKey, p *presence) bool { return p.waiting == 0 && now.Sub(p.Seen) > absent })
	for k := range w.all {
		if len(w.all) < maxWorkers {
			return
		}
		delete(w.all, k)
	}
}

// list returns the workers of a project by name, those that wait as seen now.
func (w *workers) list(project string, now time.Time) []Worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Worker
	for k, p := range w.all {
		if k.project == project || k.project == "" {
			x := p.Worker
			if p.waiting > 0 {
				x.Seen = now
			}
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b Worker) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// serves reports whether a worker that could run t is taken to be there.
func (w *workers) serves(t *errand.Task, now time.Time) bool {
	seen := w.lastSeen(t, now)
	return !seen.IsZero() && now.Sub(seen) <= absent
}

// lastSeen returns when a worker that could run t was last seen, or zero.
func (w *workers) lastSeen(t *errand.Task, now time.Time) time.Time {
	var last time.Time
	for _, x := range w.list(t.Project, now) {
		if len(x.Engines) > 0 && !slices.Contains(x.Engines, t.Engine) {
			continue
		}
		if slices.Contains(x.Operations, t.Operation) && x.Seen.After(last) {
			last = x.Seen
		}
	}
	return last
}
