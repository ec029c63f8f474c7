package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// looksAtMost is how often Take looks for something that nobody else is faster
// with.
const looksAtMost = 1000

// Take implements tasks.Queue. Most who ask find nothing: a look that writes
// nothing comes first. Then it tries the locks of what was found, and passes
// over what others hold.
func (s *Store) Take(ctx context.Context, want tasks.Want, change tasks.Change) (taken []*errand.Task, next time.Time, err error) {
	if want.Limit < 1 {
		return nil, time.Time{}, nil
	}
	for range looksAtMost {
		k := &seeker{want: want}
		if err := s.seek(ctx, k); err != nil {
			s.looks.release(k.found)
			return nil, time.Time{}, err
		}
		if len(k.found) == 0 {
			if k.more == nil {
				return nil, k.next, nil
			}
			select { // another caller of this node has them, and may give them back
			case <-k.more:
				continue
			case <-ctx.Done():
				return nil, time.Time{}, tooLate(ctx.Err())
			}
		}
		taken, offered, err := s.takeFound(ctx, k.found, want, change)
		s.looks.release(k.found)
		if err != nil {
			return nil, time.Time{}, err
		}
		if offered {
			return taken, k.next, nil
		}
	}
	return nil, time.Time{}, unavailable("other nodes were faster with all that was found; try again", nil)
}

// takeFound takes what it can of what was found. If others hold all of it, it
// waits for the first, so that what nobody takes in the end is not passed over.
func (s *Store) takeFound(ctx context.Context, found []candidate, want tasks.Want, change tasks.Change) (taken []*errand.Task, offered bool, err error) {
	x := &taking{s: s, found: found, now: micro(want.Now), change: change}
	if err = s.do(ctx, x.op(false)); err == nil && !x.held {
		x.found = found[:1]
		err = s.do(ctx, x.op(true))
	}
	return x.taken, x.offered, err
}

// taking is a caller's part of a group that takes tasks.
type taking struct {
	s      *Store
	found  []candidate
	now    int64
	change tasks.Change

	held    bool // it had the lock of some
	offered bool // and change was asked about one
	taken   []*errand.Task
}

// op waits for the lock of the only one it is about, or tries those of all.
func (x *taking) op(wait bool) *op {
	o := &op{weight: len(x.found)}
	for _, c := range x.found {
		o.scopes = append(o.scopes, c.scope)
		if wait {
			o.keys = append(o.keys, c.lock())
		} else {
			o.try = append(o.try, c.lock())
		}
	}
	tried := func() []candidate { // nothing is read of those that another of the group may change
		if wait {
			return x.found
		}
		return slices.DeleteFunc(slices.Clone(x.found), func(c candidate) bool { return !slices.Contains(o.tried, c.lock()) })
	}
	o.needs = func(n *needs) {
		for _, c := range tried() {
			n.tasks = append(n.tasks, c.taskKey)
			if c.lane != "" {
				n.lane(laneKey{c.scope, c.lane}, 1, false)
			}
		}
	}
	o.decide = func(f *flow) error {
		x.held, x.offered, x.taken = false, false, nil
		var had []candidate
		for _, c := range tried() {
			if wait || f.got[c.lock()] {
				had = append(had, c)
			} else {
				delete(f.lanes, laneKey{c.scope, c.lane})
			}
		}
		return x.decide(f, had)
	}
	return o
}

func (x *taking) decide(f *flow, had []candidate) error {
	x.held = len(had) > 0
	var all []*saving
	for _, c := range had {
		r := f.tasks[c.taskKey]
		if r == nil || !r.live || r.scope != c.scope || r.Run.Lane != c.lane || r.Status != errand.Pending || micro(r.Run.RunAt) > x.now {
			continue
		}
		if l := f.lanes[laneKey{c.scope, c.lane}]; l != nil {
			if head, ok := l.head(); !ok || head != c.taskKey {
				continue
			}
		}
		x.offered = true
		before := asBefore(&r.Task)
		event, err := x.change(&r.Task)
		if err != nil {
			return err
		}
		if event == nil {
			continue
		}
		v, err := newSaving(r, &before, event)
		if err != nil {
			return err
		}
		if err := f.admits(v); err != nil {
			return err
		}
		all = append(all, v)
	}
	for _, v := range all {
		f.save(v)
		x.taken = append(x.taken, &v.r.Task)
		f.after = append(f.after, func() { x.s.spots.note(v) })
	}
	return nil
}
