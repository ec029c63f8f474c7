package tasks

import (
	"slices"
	"time"

	"github.com/errandhq/errand"
)

// The bounds of what a story holds.
const (
	maxMarks  = 10_000 // instances, and tasks, whose last event is known
	maxFailed = 200
	maxHours  = 48
)

// story is what is known of a project's past, from its events.
type story struct {
	seq       int64 // of the last event in it, or before it begins
	hours     map[int64]*Hour
	failed    []failure // the latest, oldest first
	instances marks
	tasks     marks
}

// failure is a task that failed.
type failure struct {
	task string
	at   time.Time
}

// storyAfter returns a story that begins after an event.
func storyAfter(seq int64) story {
	return story{
		seq: seq, hours: map[int64]*Hour{},
		instances: marks{floor: trace{seq: seq}, of: map[string]trace{}},
		tasks:     marks{floor: trace{seq: seq}, of: map[string]trace{}},
	}
}

// marks keep the last event of things. What is not in them had none since floor.
type marks struct {
	floor trace
	of    map[string]trace
}

// trace is what a thing's events leave.
type trace struct {
	seq   int64
	freed time.Time // when one of its tasks last got out of the way of others
}

func (m *marks) get(id string) trace {
	if t, ok := m.of[id]; ok {
		return t
	}
	return m.floor
}

// put keeps t. Where there is no room all are cleared, and raise the floor: each
// looks changed once, and none unchanged.
func (m *marks) put(id string, t trace) {
	if _, ok := m.of[id]; !ok && len(m.of) >= maxMarks {
		for _, x := range m.of {
			m.floor.seq, m.floor.freed = max(m.floor.seq, x.seq), later(m.floor.freed, x.freed)
		}
		clear(m.of)
	}
	m.of[id] = t
}

// tell adds the next event.
func (k *story) tell(e *errand.Event) {
	k.seq = e.Seq
	k.tasks.put(e.Task, trace{seq: e.Seq})
	in := trace{seq: e.Seq, freed: k.instances.get(e.Instance).freed}
	if frees(e) {
		in.freed = later(in.freed, e.At)
	}
	k.instances.put(e.Instance, in)
	switch {
	case e.Act == errand.ActImported: // it happened elsewhere
	case e.Act == errand.ActSubmitted:
		k.hour(e.At).Submitted++
	case e.Act == errand.ActDeleted:
		k.failed = slices.DeleteFunc(k.failed, func(f failure) bool { return f.task == e.Task })
	case e.From == e.To:
	case e.To == errand.Succeeded:
		k.hour(e.At).Succeeded++
	case e.To == errand.Cancelled:
		k.hour(e.At).Cancelled++
	case e.To == errand.Failed:
		k.hour(e.At).Failed++
		if len(k.failed) == maxFailed {
			k.failed = slices.Delete(k.failed, 0, 1)
		}
		k.failed = append(k.failed, failure{e.Task, e.At})
	}
}

// frees reports whether a task has got out of the way of others in its lane.
func frees(e *errand.Event) bool {
	waited := e.From == errand.Pending || e.From == errand.Running
	return e.Act == errand.ActRescheduled || waited && e.To != e.From && e.To != errand.Running
}

// hour returns the hour that a moment is in.
func (k *story) hour(at time.Time) *Hour {
	from := at.UTC().Truncate(time.Hour)
	h := k.hours[from.Unix()]
	if h == nil {
		h = &Hour{From: from}
		k.hours[from.Unix()] = h
	}
	return h
}

// forget drops the hours that nobody will ask for any more.
func (k *story) forget(now time.Time) {
	if len(k.hours) <= maxHours {
		return
	}
	for at := range k.hours {
		if at < now.Add(-OverviewDay-time.Hour).Unix() {
			delete(k.hours, at)
		}
	}
}

// last24 returns the 24 hours up to the one that now is in, oldest first.
func (k *story) last24(now time.Time) []Hour {
	from := now.UTC().Truncate(time.Hour).Add(-23 * time.Hour)
	hours := make([]Hour, 24)
	for i := range hours {
		hours[i] = Hour{From: from.Add(time.Duration(i) * time.Hour)}
		if h := k.hours[hours[i].From.Unix()]; h != nil {
			hours[i] = *h
		}
	}
	return hours
}

// lastOf returns the number of the last event of a task, an instance or the
// project: the narrowest that is not "". Of what had none since the story begins,
// it is a number that no event of it has passed.
func (k *story) lastOf(instance, task string) int64 {
	switch {
	case task != "":
		return k.tasks.get(task).seq
	case instance != "":
		return k.instances.get(instance).seq
	}
	return k.seq
}

// freed returns when a task of an instance last got out of the way of others, as
// far as is known.
func (k *story) freed(instance string) time.Time { return k.instances.get(instance).freed }
