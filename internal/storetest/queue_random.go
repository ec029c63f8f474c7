package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func queueRandomChecks() []queueCheck {
	return []queueCheck{{"random lives are those of the oracle", randomLives}}
}

// randomLives runs random histories of running tasks among records, as
// randomCalls does.
func randomLives(t *testing.T, s Queue) {
	var histories atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		h := histories.Add(1)
		o := Memory()
		m := &lives{
			machine: machine{
				ctx: t.Context(), store: s, oracle: o,
				projects: []string{fmt.Sprintf("a%031x", h), fmt.Sprintf("b%031x", h)},
			},
			queue: s, plain: o, now: noon,
		}
		defer func() { // sweeps cross projects: nothing may be left for the next history
			for _, p := range m.projects {
				for n := range 4 {
					_ = s.DeleteInstance(m.ctx, p, instanceID(n))
				}
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"add instance":    m.addInstance,
			"add another":     m.addInstance,
			"delete instance": m.deleteInstance,
			"put":             m.put,
			"delete":          m.delete,
			"get":             m.get,
			"list":            m.list,
			"events":          m.events,
			"submit":          m.submit,
			"submit more":     m.submit,
			"submit and on":   m.submit,
			"take":            m.take,
			"take more":       m.take,
			"update":          m.update,
			"update more":     m.update,
			"finish":          m.finish,
			"renew":           m.renew,
			"sweep":           m.sweep,
			"lane":            m.lane,
			"unfinished":      m.unfinished,
			"load runs":       m.loadRuns,
			"scheduled":       m.scheduled,
			"log":             m.log,
			"feed":            m.feed,
			"durations":       m.durations,
			"backlog":         m.backlog,
			"":                m.totals,
		})
	})
}

type lives struct {
	machine
	queue, plain tasks.Queue
	now          time.Time
}

// tick lets some time pass, or none.
func (m *lives) tick(t *rapid.T) time.Time {
	m.now = m.now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 500, 5_000, 20_000, 90_000}).Draw(t, "ms")) * time.Millisecond)
	return m.now
}

func (m *lives) submit(t *rapid.T) {
	now := m.tick(t)
	x := waiting(0, 0, 0)
	x.ID, x.Project, x.Instance = aTask(t), m.project(t), anInstance(t)
	x.JobID = x.ID
	x.Operation = rapid.SampledFrom([]string{"EXTEND", "RESTART", "CHECK"}).Draw(t, "operation")
	x.Run.Lane = rapid.SampledFrom([]string{"", "instance", "instance", "instance", "network"}).Draw(t, "lane")
	x.Run.RunAt = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 30, 600}).Draw(t, "delay")) * time.Second)
	x.Run.Scheduled = x.Run.RunAt.After(now)
	if rapid.Bool().Draw(t, "secrets") {
		x.Run.Sealed = []byte("sealed\x00\xff")
	}
	x.Accept(now)
	key := tasks.SubmitKey{
		Key: rapid.SampledFrom([]string{"", "", "k1", "k2", "K1"}).Draw(t, "key"), Digest: rapid.SampledFrom([]string{"d1", "d2"}).Draw(t, "digest"),
		Expires: now.Add(time.Minute),
	}
	verdict := rapid.IntRange(0, 9).Draw(t, "verdict")
	type shown struct {
		First      *errand.Task
		Unfinished int
		Earlier    *errand.Task
		Digest     string
	}
	answer := func(q tasks.Queue) (out shown, err error) {
		out.Earlier, out.Digest, err = q.Submit(m.ctx, clone(x), key, recorded(x, errand.ActSubmitted, ""), func(first *errand.Task, unfinished int) error {
			out.First, out.Unfinished = first, unfinished
			if verdict == 0 {
				return errRefused
			}
			return nil
		})
		return out, err
	}
	got, gotErr := answer(m.queue)
	want, wantErr := answer(m.plain)
	m.sameAnswer(t, "Submit", got, gotErr, want, wantErr)
}

// change draws what becomes of a task; what its life does not allow is refused
// by the rules.
func (m *lives) change(t *rapid.T, now time.Time) tasks.Change {
	switch rapid.IntRange(0, 7).Draw(t, "change") {
	case 0:
		return func(*errand.Task) (*errand.Event, error) { return nil, errRefused }
	case 1:
		return func(x *errand.Task) (*errand.Event, error) { x.Reason = "X"; return nil, nil }
	case 2, 3:
		return cancelling(now)
	case 4:
		return claiming(now) // past the lane
	case 5:
		at := now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "at")) * time.Second)
		return func(x *errand.Task) (*errand.Event, error) {
			return recorded(x, errand.ActRescheduled, errand.Pending), x.Reschedule(at, now)
		}
	}
	return finishing(rapid.SampledFrom([]errand.Status{errand.Succeeded, errand.Failed, errand.Cancelled}).Draw(t, "status"), now)
}

// safely keeps the rules from looking at the run of a record that has none.
func safely(change tasks.Change) tasks.Change {
	return func(x *errand.Task) (*errand.Event, error) {
		if x.Run == nil {
			return nil, errRefused
		}
		return change(x)
	}
}

func (m *lives) update(t *rapid.T) { m.updateBy(t, m.change(t, m.tick(t))) }

func (m *lives) finish(t *rapid.T) {
	m.updateBy(t, finishing(rapid.SampledFrom([]errand.Status{errand.Succeeded, errand.Failed}).Draw(t, "status"), m.tick(t)))
}

func (m *lives) updateBy(t *rapid.T, change tasks.Change) {
	p, id := m.project(t), aTask(t)
	change = safely(change)
	got, gotErr := m.queue.Update(m.ctx, p, id, change)
	want, wantErr := m.plain.Update(m.ctx, p, id, change)
	m.sameAnswer(t, "Update", got, gotErr, want, wantErr)
}

func (m *lives) renew(t *rapid.T) {
	now, p, id := m.tick(t), m.project(t), aTask(t)
	var progress *errand.Progress
	if rapid.Bool().Draw(t, "progress") {
		progress = &errand.Progress{Percent: rapid.IntRange(0, 100).Draw(t, "percent")}
	}
	change := func(x *errand.Task) error {
		if x.Run == nil {
			return errRefused
		}
		return x.Extend(leaseOf(x), now.Add(10*time.Second), progress, now)
	}
	got, gotErr := m.queue.Renew(m.ctx, p, id, change)
	want, wantErr := m.plain.Renew(m.ctx, p, id, change)
	m.sameAnswer(t, "Renew", got, gotErr, want, wantErr)
}

func (m *lives) take(t *rapid.T) {
	now := m.tick(t)
	want := tasks.Want{
		Project: m.project(t), Now: now, Limit: rapid.IntRange(1, 4).Draw(t, "limit"),
		Operations: rapid.SampledFrom([][]string{nil, nil, {"EXTEND"}, {"CHECK", "RESTART", "A"}}).Draw(t, "operations"),
		Engines:    rapid.SampledFrom([][]errand.Engine{nil, nil, {errand.Kafka}, {errand.Redis, errand.RabbitMQ, errand.RocketMQ}}).Draw(t, "engines"),
	}
	if rapid.IntRange(0, 3).Draw(t, "of all") == 0 {
		want.Project, want.Limit = "", 1000 // other histories have left nothing
	}
	answer := func(q tasks.Queue) (out struct {
		Taken []*errand.Task
		Next  time.Time
	}, err error) {
		out.Taken, out.Next, err = q.Take(m.ctx, want, claiming(now))
		if want.Project == "" { // ids may be the same in two projects
			slices.SortStableFunc(out.Taken, func(a, b *errand.Task) int { return cmp.Compare(a.Project, b.Project) })
		}
		return out, err
	}
	got, gotErr := answer(m.queue)
	right, rightErr := answer(m.plain)
	m.sameAnswer(t, fmt.Sprintf("Take %+v", want), got, gotErr, right, rightErr)
}

func (m *lives) sweep(t *rapid.T) {
	now := m.tick(t)
	const limit = 1000 // which of two projects comes first is not said
	verdict := rapid.IntRange(0, 3).Draw(t, "verdict")
	change := func(x *errand.Task) (*errand.Event, error) {
		switch {
		case verdict == 0 && x.Status == errand.Running:
			return nil, errRefused
		case x.Status == errand.Running:
			from := x.Status
			err := x.Lose("silence", now.Add(time.Second), now)
			return recorded(x, errand.ActLost, from), err
		}
		x.Run.Stalled = verdict == 1
		x.Wait(now)
		return nil, nil
	}
	type answer struct {
		Swept int
		Next  time.Time
	}
	var got, want answer
	var gotErr, wantErr error
	got.Swept, got.Next, gotErr = m.queue.Sweep(m.ctx, now, limit, change)
	want.Swept, want.Next, wantErr = m.plain.Sweep(m.ctx, now, limit, change)
	m.sameAnswer(t, "Sweep", got, gotErr, want, wantErr)
}

func (m *lives) lane(t *rapid.T) {
	p, i := m.project(t), anInstance(t)
	lane := rapid.SampledFrom([]string{"", "instance", "network"}).Draw(t, "lane")
	got, gotErr := m.queue.Lane(m.ctx, p, i, lane)
	want, wantErr := m.plain.Lane(m.ctx, p, i, lane)
	m.sameAnswer(t, "Lane", got, gotErr, want, wantErr)
}

func (m *lives) unfinished(t *rapid.T) {
	p, i, limit := m.project(t), "", rapid.IntRange(0, 6).Draw(t, "limit")
	if rapid.Bool().Draw(t, "one instance") {
		i = anInstance(t)
	}
	type answer struct {
		List             []*errand.Task
		Running, Waiting int
	}
	var got, want answer
	var gotErr, wantErr error
	got.List, got.Running, got.Waiting, gotErr = m.queue.Unfinished(m.ctx, p, i, limit)
	want.List, want.Running, want.Waiting, wantErr = m.plain.Unfinished(m.ctx, p, i, limit)
	if len(got.List) == 0 {
		got.List = nil
	}
	if len(want.List) == 0 {
		want.List = nil
	}
	m.sameAnswer(t, "Unfinished", got, gotErr, want, wantErr)
}

func (m *lives) loadRuns(t *rapid.T) {
	p := m.project(t)
	page, err := m.oracle.List(m.ctx, errand.Filter{Project: p, Limit: 20})
	if err != nil {
		t.Fatal(err)
	}
	page.Tasks = append(page.Tasks, errand.Task{ID: aTask(t), Project: p})
	got, want := slices.Clone(page.Tasks), slices.Clone(page.Tasks)
	gotErr, wantErr := m.queue.LoadRuns(m.ctx, p, got), m.plain.LoadRuns(m.ctx, p, want)
	m.sameAnswer(t, "LoadRuns", got, gotErr, want, wantErr)
}

func (m *lives) scheduled(t *rapid.T) {
	f := errand.Filter{
		Project: m.project(t), Engine: rapid.SampledFrom(append(errand.Engines(), "", "")).Draw(t, "engine"),
		Offset: rapid.IntRange(0, 5).Draw(t, "offset"), Limit: rapid.IntRange(1, 5).Draw(t, "limit"),
	}
	if rapid.Bool().Draw(t, "one instance") {
		f.Instance = anInstance(t)
	}
	got, gotErr := m.queue.Scheduled(m.ctx, f)
	want, wantErr := m.plain.Scheduled(m.ctx, f)
	m.sameAnswer(t, fmt.Sprintf("Scheduled %+v", f), got, gotErr, want, wantErr)
}

func (m *lives) log(t *rapid.T) {
	p, id := m.project(t), aTask(t)
	text := []byte(rapid.StringN(0, 40, 60).Draw(t, "text"))
	gotCut, gotErr := m.queue.AppendLog(m.ctx, p, id, text, 200)
	wantCut, wantErr := m.plain.AppendLog(m.ctx, p, id, text, 200)
	m.sameAnswer(t, "AppendLog", gotCut, gotErr, wantCut, wantErr)
	offset, limit := rapid.Int64Range(0, 250).Draw(t, "offset"), rapid.IntRange(1, 250).Draw(t, "limit")
	got, gotSize, gotErr := m.queue.Log(m.ctx, p, id, offset, limit)
	want, wantSize, wantErr := m.plain.Log(m.ctx, p, id, offset, limit)
	m.sameAnswer(t, "Log", fmt.Sprintf("%q of %d", got, gotSize), gotErr, fmt.Sprintf("%q of %d", want, wantSize), wantErr)
}

func (m *lives) feed(t *rapid.T) {
	p := m.project(t)
	facts := func(q tasks.Queue) (out []errand.Event, err error) {
		out, err = q.Feed(m.ctx, p, 0, 1000)
		for i := range out {
			out[i].Seq = 0
		}
		return out, err
	}
	got, gotErr := facts(m.queue)
	want, wantErr := facts(m.plain)
	m.sameAnswer(t, "Feed", got, gotErr, want, wantErr)
}

func (m *lives) durations(t *rapid.T) {
	p, e := m.project(t), rapid.SampledFrom(errand.Engines()).Draw(t, "engine")
	got, gotErr := m.queue.Durations(m.ctx, p, e, "EXTEND", 5)
	want, wantErr := m.plain.Durations(m.ctx, p, e, "EXTEND", 5)
	m.sameAnswer(t, "Durations", got, gotErr, want, wantErr)
}

func (m *lives) backlog(t *rapid.T) {
	now := m.tick(t)
	got, gotErr := m.queue.Backlog(m.ctx, now)
	want, wantErr := m.plain.Backlog(m.ctx, now)
	m.sameAnswer(t, "Backlog", got, gotErr, want, wantErr)
}
