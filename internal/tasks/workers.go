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
	Project    string // "" for a server itself, which works for every project
	Name       string
	Operations []string
	Engines    []errand.Engine // none: every engine
	Since      time.Time       // when it was first seen
	Seen       time.Time       // when it last asked for work, or now while it waits
}

// Absent is how long a worker that does not ask is still taken to be there: it
// may be busy with what it has.
const Absent = 2 * time.Minute

// forgotten is after how long without asking for work nobody is spoken of any
// more: each start of a server may bring a new name.
const forgotten = 24 * time.Hour

// maxWorkers bounds how many workers are remembered.
const maxWorkers = 10_000

// workers remembers who asked for work: here, and on other nodes as far as these
// have told. It is memory of this process only: after a restart it is empty until
// workers ask again, which they do at once, or other nodes tell.
type workers struct {
	mu   sync.Mutex
	all  map[workerKey]*presence
	told map[workerKey]Worker // by other nodes
}

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
		p = &presence{Worker: Worker{Project: project, Name: c.Worker, Since: now}}
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
	maps.DeleteFunc(w.all, func(_ workerKey, p *presence) bool { return p.waiting == 0 && now.Sub(p.Seen) > Absent })
	for k := range w.all {
		if len(w.all) < maxWorkers {
			return
		}
		delete(w.all, k)
	}
}

// lately returns who asked for work here lately, the last first, for other nodes.
func (w *workers) lately(now time.Time) []Worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Worker
	for _, p := range w.all {
		if x := p.at(now); now.Sub(x.Seen) <= Absent {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b Worker) int { return b.Seen.Compare(a.Seen) })
	all = all[:min(len(all), maxToldWorkers)]
	operations := 0
	for i, x := range all {
		if operations += len(x.Operations); operations > maxToldOperations {
			return all[:i]
		}
	}
	return all
}

// at is the worker as it is now: one that waits is there.
func (p *presence) at(now time.Time) Worker {
	x := p.Worker
	if p.waiting > 0 {
		x.Seen = now
	}
	return x
}

// hear takes in what another node has told of its workers.
func (w *workers) hear(list []Worker, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil {
		w.told = map[workerKey]Worker{}
	}
	maps.DeleteFunc(w.told, func(_ workerKey, x Worker) bool { return now.Sub(x.Seen) > forgotten })
	for _, x := range list {
		k := workerKey{x.Project, x.Name}
		known, ok := w.told[k]
		if !ok && len(w.told) >= maxWorkers {
			clear(w.told) // who is still there will be told of again
		}
		w.told[k] = newest(known, x)
	}
}

// newest joins what is known of one worker from two sides: it may ask any node.
func newest(a, b Worker) Worker {
	if a.Seen.After(b.Seen) {
		a, b = b, a
	}
	if !a.Since.IsZero() && a.Since.Before(b.Since) {
		b.Since = a.Since
	}
	return b
}

// each calls fn with every worker of a project that is not forgotten. One that
// asked several nodes may be among them twice.
func (w *workers) each(project string, now time.Time, fn func(Worker)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := func(k workerKey, x Worker) {
		if (k.project == project || k.project == "") && now.Sub(x.Seen) <= forgotten {
			fn(x)
		}
	}
	for k, p := range w.all {
		of(k, p.at(now))
	}
	for k, x := range w.told {
		of(k, x)
	}
}

// list returns the workers of a project by name, those that wait as seen now.
func (w *workers) list(project string, now time.Time) []Worker {
	joined := map[workerKey]Worker{}
	w.each(project, now, func(x Worker) {
		k := workerKey{x.Project, x.Name}
		joined[k] = newest(joined[k], x)
	})
	return slices.SortedFunc(maps.Values(joined), func(a, b Worker) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Project, b.Project))
	})
}

// serves reports whether a worker that could run t is taken to be there.
func (w *workers) serves(t *errand.Task, now time.Time) bool {
	seen := w.lastSeen(t, now)
	return !seen.IsZero() && now.Sub(seen) <= Absent
}

// lastSeen returns when a worker that could run t was last seen, or zero.
func (w *workers) lastSeen(t *errand.Task, now time.Time) time.Time {
	var last time.Time
	w.each(t.Project, now, func(x Worker) {
		serves := slices.Contains(x.Operations, t.Operation) && (len(x.Engines) == 0 || slices.Contains(x.Engines, t.Engine))
		if serves && x.Seen.After(last) {
			last = x.Seen
		}
	})
	return last
}
