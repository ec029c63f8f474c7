package tasks

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"slices"
	"time"

	"github.com/errandhq/errand"
)

// live is what of a project has not ended, and what failed lately, as of a moment.
type live struct {
	known bool
	at    time.Time
	ring  uint64 // of the bell before it was read
	seq   int64  // of the last event that was known then

	list             []*errand.Task // the first
	running, waiting int
	failed           []failedTask // the last first

	// Digests of the progress of what runs: of each task, of the tasks of each
	// instance, and of all. blind stands in for what is beyond list.
	tasks, instances map[string]uint64
	all, blind       uint64
}

type failedTask struct {
	*errand.Task
	at time.Time
}

// readLive reads what has not ended: enough to be shown, and all that runs, as
// far as that may be asked for.
func (r *Runs) readLive(ctx context.Context, p *pulse, now time.Time) (n live, err error) {
	_, n.blind = r.news.after()
	n.known, n.at = true, now
	for limit := maxShown; ; limit = MaxUnfinished {
		n.list, n.running, n.waiting, err = r.queue.Unfinished(ctx, p.project, "", limit)
		if err != nil {
			return n, err
		}
		if n.running <= len(n.list) || limit == MaxUnfinished {
			break
		}
	}
	if n.running <= len(n.list) {
		n.blind = 0
	}
	for i := range n.list {
		n.list[i] = public(n.list[i])
	}
	n.digest()
	n.list = slices.Clone(n.list[:min(len(n.list), maxShown)]) // of the rest, the digests are enough
	for _, f := range slices.Backward(p.story.failed) {
		if len(n.failed) == maxFailedShown || !f.at.After(now.Add(-OverviewDay)) {
			break
		}
		t, err := r.svc.Store.Get(ctx, p.project, f.task)
		switch e := errand.ErrorOf(err); {
		case err != nil && e.Kind == errand.NotFound: // deleted since
		case err != nil:
			return n, err
		case t.Status == errand.Failed:
			n.failed = append(n.failed, failedTask{public(t), f.at})
		}
	}
	return n, nil
}

// failedSince returns the tasks that failed after a moment, the last first.
func (n *live) failedSince(since time.Time) []*errand.Task {
	var all []*errand.Task
	for _, f := range n.failed {
		if f.at.After(since) {
			all = append(all, f.Task)
		}
	}
	return all
}

func (n *live) digest() {
	n.tasks, n.instances, n.all = map[string]uint64{}, map[string]uint64{}, n.blind
	for _, t := range n.list {
		if t.Status != errand.Running || t.Progress == nil {
			continue
		}
		d := progressDigest(t)
		n.tasks[t.ID] = d
		n.instances[t.Instance] += d
		n.all += d
	}
}

// digestOf returns the digest of a task, an instance or the project: the narrowest
// that is not "".
func (n *live) digestOf(instance, task string) uint64 {
	switch {
	case task != "":
		if d, ok := n.tasks[task]; ok {
			return d
		}
		return n.blind
	case instance != "":
		return n.instances[instance] + n.blind
	}
	return n.all
}

// progressDigest tells one progress of a task from another.
func progressDigest(t *errand.Task) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d %d", t.ID, t.Progress.Percent, t.Progress.Remaining)
	hashSteps(h, t.Progress.Steps)
	return h.Sum64()
}

func hashSteps(h hash.Hash64, steps []errand.Step) {
	for _, s := range steps {
		_, _ = fmt.Fprintf(h, "\x00%q%s%d %d%q%q(", s.Name, s.Status, s.StartedAt.UnixMicro(), s.EndedAt.UnixMicro(), s.ErrorCode, s.Detail)
		hashSteps(h, s.Steps)
		_, _ = fmt.Fprint(h, ")")
	}
}
