package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func randomChecks() []check {
	return []check{{"random calls are answered like the oracle's", randomCalls}}
}

// randomCalls runs many short random histories, each in two new projects of one
// store, and wants every answer to be the oracle's.
func randomCalls(t *testing.T, s tasks.Store) {
	var histories atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		h := histories.Add(1)
		m := &machine{
			ctx: t.Context(), store: s, oracle: &oracle{},
			projects: []string{fmt.Sprintf("a%031x", h), fmt.Sprintf("b%031x", h)},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add instance":    m.addInstance,
			"delete instance": m.deleteInstance,
			"put":             m.put,
			"put more":        m.put,
			"delete":          m.delete,
			"get":             m.get,
			"list":            m.list,
			"list more":       m.list,
			"events":          m.events,
			"":                m.totals,
		})
	})
}

type machine struct {
	ctx           context.Context
	store, oracle tasks.Store
	projects      []string
}

func (m *machine) project(t *rapid.T) string {
	return rapid.SampledFrom(m.projects).Draw(t, "project")
}

// Few ids, so that calls meet.
func anInstance(t *rapid.T) string { return instanceID(rapid.IntRange(0, 3).Draw(t, "instance")) }
func aTask(t *rapid.T) string      { return taskID(rapid.IntRange(0, 15).Draw(t, "task")) }

// aMoment lies a multiple of some power of two away from another one, and a
// microsecond beside it: whatever a store divides time by, this hits its edges.
func aMoment(t *rapid.T) time.Time {
	base := rapid.SampledFrom([]int64{0, noon.UnixMicro(), 1 << 50}).Draw(t, "base")
	step := int64(1) << rapid.IntRange(0, 45).Draw(t, "scale")
	at := base/step*step + rapid.Int64Range(-3, 3).Draw(t, "steps")*step + rapid.Int64Range(-1, 1).Draw(t, "beside")
	return time.UnixMicro(max(at, 0)).UTC()
}

func (m *machine) addInstance(t *rapid.T) {
	i := errand.Instance{
		Project: m.project(t), ID: anInstance(t), Name: "i",
		Engine: rapid.SampledFrom(errand.Engines()).Draw(t, "engine"), CreatedAt: noon,
	}
	m.same(t, "AddInstance", m.store.AddInstance(m.ctx, i), m.oracle.AddInstance(m.ctx, i))
}

func (m *machine) deleteInstance(t *rapid.T) {
	p, i := m.project(t), anInstance(t)
	m.same(t, "DeleteInstance", m.store.DeleteInstance(m.ctx, p, i), m.oracle.DeleteInstance(m.ctx, p, i))
}

var errRefused = errors.New("refused")

func (m *machine) put(t *rapid.T) {
	var batch []*errand.Task
	var verdicts []int
	project, instance := m.project(t), anInstance(t)
	for range rapid.IntRange(1, 6).Draw(t, "batch") {
		if rapid.IntRange(0, 9).Draw(t, "elsewhere") == 0 {
			instance = anInstance(t)
		}
		batch = append(batch, m.task(t, project, instance))
		verdicts = append(verdicts, rapid.IntRange(0, 19).Draw(t, "verdict"))
	}
	answer := func(s tasks.Store) (olds []*errand.Task, err error) {
		n := 0
		err = s.Put(m.ctx, batch, func(old, task *errand.Task) (*errand.Event, error) {
			if task == batch[0] {
				olds, n = nil, 0 // from the start, perhaps again
			}
			olds = append(olds, old)
			n++
			switch {
			case verdicts[n-1] == 0, old != nil && old.Run != nil: // no record may replace a task that runs here
				return nil, errRefused
			case verdicts[n-1] <= 2:
				return nil, nil
			}
			return save(old, task)
		})
		return olds, err
	}
	got, gotErr := answer(m.store)
	want, wantErr := answer(m.oracle)
	m.same(t, "Put", gotErr, wantErr)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("decide was shown %s, want %s", show(got), show(want))
	}
}

func (m *machine) task(t *rapid.T, project, instance string) *errand.Task {
	x := rich(0, 0, aMoment(t))
	x.ID, x.Project, x.Instance = aTask(t), project, instance
	x.JobID = x.ID
	if rapid.IntRange(0, 4).Draw(t, "job") == 0 {
		x.JobID = aTask(t)
	}
	x.Status = rapid.SampledFrom(errand.Statuses()).Draw(t, "status")
	x.Params = rapid.StringN(0, 20, 60).Filter(func(s string) bool { return errand.ValidText(s, 60) }).Draw(t, "params")
	if rapid.Bool().Draw(t, "plain") {
		x.Details, x.Origin, x.Progress = nil, nil, nil
	}
	return x
}

func (m *machine) delete(t *rapid.T) {
	p, id := m.project(t), aTask(t)
	change := rapid.SampledFrom([]tasks.Change{
		drop, drop, drop,
		func(*errand.Task) (*errand.Event, error) { return nil, nil },
		func(*errand.Task) (*errand.Event, error) { return nil, errRefused },
	}).Draw(t, "change")
	m.same(t, "Delete", m.store.Delete(m.ctx, p, id, change), m.oracle.Delete(m.ctx, p, id, change))
}

func (m *machine) get(t *rapid.T) {
	p, id := m.project(t), aTask(t)
	got, gotErr := m.store.Get(m.ctx, p, id)
	want, wantErr := m.oracle.Get(m.ctx, p, id)
	m.sameAnswer(t, "Get", got, gotErr, want, wantErr)
	got, gotErr = m.store.GetJob(m.ctx, p, id)
	want, wantErr = m.oracle.GetJob(m.ctx, p, id)
	m.sameAnswer(t, "GetJob", got, gotErr, want, wantErr)
}

func (m *machine) list(t *rapid.T) {
	f := errand.Filter{
		Project: m.project(t),
		Engine:  rapid.SampledFrom(append(errand.Engines(), "", "")).Draw(t, "engine"),
		Offset:  rapid.IntRange(0, 12).Draw(t, "offset"),
		Limit:   rapid.IntRange(1, 12).Draw(t, "limit"),
	}
	if rapid.Bool().Draw(t, "one instance") {
		f.Instance = anInstance(t)
	}
	if rapid.Bool().Draw(t, "from") {
		f.From = aMoment(t).Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "ns")))
	}
	if rapid.Bool().Draw(t, "to") {
		f.To = aMoment(t).Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "ns")))
	}
	got, gotErr := m.store.List(m.ctx, f)
	want, wantErr := m.oracle.List(m.ctx, f)
	if len(got.Tasks) == 0 {
		got.Tasks = nil
	}
	m.sameAnswer(t, fmt.Sprintf("List %+v", f), got, gotErr, want, wantErr)
}

func (m *machine) events(t *rapid.T) {
	p, id := m.project(t), aTask(t)
	got, gotErr := m.store.Events(m.ctx, p, id, 0, 1000)
	want, wantErr := m.oracle.Events(m.ctx, p, id, 0, 1000)
	last := int64(0)
	for i := range got {
		if got[i].Seq <= last {
			t.Fatalf("event %d follows %d", got[i].Seq, last)
		}
		last, got[i].Seq = got[i].Seq, 0
	}
	for i := range want {
		want[i].Seq = 0
	}
	m.sameAnswer(t, "Events", got, gotErr, want, wantErr)
}

// totals runs after every step.
func (m *machine) totals(t *rapid.T) {
	for _, p := range m.projects {
		f := errand.Filter{Project: p, Limit: 1}
		got, gotErr := m.store.List(m.ctx, f)
		want, wantErr := m.oracle.List(m.ctx, f)
		m.same(t, "List", gotErr, wantErr)
		if got.Total != want.Total {
			t.Fatalf("the project holds %d tasks, want %d", got.Total, want.Total)
		}
	}
}

// same compares errors by what callers act on.
func (m *machine) same(t *rapid.T, call string, got, want error) {
	if (got == nil) != (want == nil) {
		t.Fatalf("%s: error is %v, want %v", call, got, want)
	}
	if got == nil {
		return
	}
	g, w := errand.ErrorOf(got), errand.ErrorOf(want)
	if g.Kind != w.Kind || g.Subject != w.Subject || errors.Is(got, errRefused) != errors.Is(want, errRefused) {
		t.Fatalf("%s: error is %v about %q (%v), want %v about %q (%v)", call, g.Kind, g.Subject, got, w.Kind, w.Subject, want)
	}
}

func (m *machine) sameAnswer(t *rapid.T, call string, got any, gotErr error, want any, wantErr error) {
	m.same(t, call, gotErr, wantErr)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is\n%s, want\n%s", call, show(got), show(want))
	}
}
