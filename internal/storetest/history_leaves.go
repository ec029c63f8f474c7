package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func purgeLeavesChecks() []historyCheck {
	return []historyCheck{
		{"purge leaves what has not ended", purgeUnfinished},
		{"purge leaves idempotency keys", purgeKeys},
		{"purge gives no number of an event out again", purgeNumbers},
		{"purge leaves how long operations took", purgeDurations},
		{"purge beside tasks that run", purgeBeside},
		{"purge for a caller who has gone removes nothing", purgeGone},
	}
}

func purgeUnfinished(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1), free(1, 2, 0))
	update(t, s, 2, claiming(noon))
	elsewhere := task(1, 3, noon)
	elsewhere.Status, elsewhere.Origin = errand.Running, &errand.Origin{Status: "EXECUTING"}
	put(t, s, elsewhere)
	for n := range 3 {
		appendLog(t, s, n+1, []byte("a line\n"), logSize)
	}
	before := map[int]*errand.Task{1: get(t, s, taskID(1)), 2: get(t, s, taskID(2)), 3: get(t, s, taskID(3))}
	lived(t, s, 1, 4, noon)
	wantPurged(t, s, tasks.Purge{Before: hours(1), Keep: 1, LogsBefore: hours(1)}, tasks.Purged{Tasks: 1, Logs: 1, LogBytes: livedLog, Events: livedEvents})
	for n, want := range before {
		same(t, fmt.Sprintf("task %d", n), get(t, s, taskID(n)), want)
		wantLog(t, s, n, 0, 100, []byte("a line\n"), 7)
		if es := events(t, s, n); len(es) == 0 {
			t.Errorf("task %d has no events", n)
		}
	}
	wantTaken(t, s, noon, 1)
	update(t, s, 1, finishing(errand.Succeeded, noon))
	update(t, s, 2, finishing(errand.Failed, noon)) // another attempt is left
	wantPurged(t, s, tasks.Purge{Before: hours(1)}, tasks.Purged{Tasks: 1, Logs: 1, LogBytes: 7, Events: 3})
	wantPage(t, list(t, s, errand.Filter{}), 2, 3, 2)
	if page, err := s.Scheduled(t.Context(), errand.Filter{Project: project, Limit: 10}); err != nil || page.Total != 0 {
		t.Errorf("scheduled are %+v, %v", page, err)
	}
}

func purgeKeys(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	key := tasks.SubmitKey{Key: "k", Digest: "d", Expires: hours(24)}
	offer := func(n int, at time.Time) (*errand.Task, error) {
		x := free(1, n, 0)
		x.Accept(at)
		earlier, _, err := s.Submit(t.Context(), x, key, recorded(x, errand.ActSubmitted, ""), admitAll)
		return earlier, err
	}
	if earlier, err := offer(1, noon); err != nil || earlier != nil {
		t.Fatalf("first submission: %v, %v", earlier, err)
	}
	update(t, s, 1, claiming(noon))
	update(t, s, 1, finishing(errand.Succeeded, noon))
	wantPurged(t, s, tasks.Purge{Before: hours(1)}, tasks.Purged{Tasks: 1, Events: 3})
	_, err := offer(2, hours(2))
	wantError(t, err, errand.Conflict, "idempotency_key")
	if earlier, err := offer(2, hours(25)); err != nil || earlier != nil {
		t.Errorf("submission after the key has expired: %v, %v", earlier, err)
	}
}

// purgeNumbers is about who follows the feed and stands at its end.
func purgeNumbers(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	for round := range 3 {
		for n := range 3 {
			put(t, s, task(1, n, noon))
		}
		last, err := s.LastSeq(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// One by one: the newest event goes with the last of them.
		wantPurged(t, s, tasks.Purge{Before: hours(1), Limit: 1}, tasks.Purged{Tasks: 3, Events: 3})
		if es, err := s.Feed(t.Context(), project, 0, 10); err != nil || len(es) != 0 {
			t.Errorf("round %d: feed of nothing is %+v, %v", round, es, err)
		}
		put(t, s, task(1, 100+round, hours(10)))
		es, err := s.Feed(t.Context(), project, last, 10)
		if err != nil || len(es) != 1 || es[0].Task != taskID(100+round) || es[0].Seq <= last {
			t.Fatalf("round %d: feed after %d is %+v, %v; want the new event", round, last, es, err)
		}
		wantPurged(t, s, tasks.Purge{Before: hours(11)}, tasks.Purged{Tasks: 1, Events: 1})
	}
}

func purgeDurations(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	lived(t, s, 1, 1, noon)
	wantPurged(t, s, tasks.Purge{Before: hours(1)}, tasks.Purged{Tasks: 1, Logs: 1, LogBytes: livedLog, Events: livedEvents})
	got, err := s.Durations(t.Context(), project, errand.Kafka, "EXTEND", 5)
	if err != nil || len(got) != 1 || got[0] != time.Second {
		t.Errorf("durations are %v, %v", got, err)
	}
}

func purgeGone(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	for _, dry := range []bool{false, true} {
		done, err := s.Purge(ended(t), tasks.Purge{Project: project, Before: hours(1), Limit: 10, DryRun: dry})
		if err == nil || !done.Nothing() {
			t.Errorf("dry %v: %+v, %v; want an error and nothing", dry, done, err)
		}
	}
	get(t, s, taskID(1))
}

func purgeRandomChecks() []historyCheck {
	return []historyCheck{{"random lives with purges are those of the oracle", randomPurges}}
}

// randomPurges is randomLives with purges. The times of events do not go back
// here: what a store does with those that do is its own affair.
func randomPurges(t *testing.T, s HistoryStore) {
	var histories atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		h := histories.Add(1)
		o := &oracle{}
		m := &pasts{history: s, past: o, lives: lives{
			machine: machine{ctx: t.Context(), store: s, oracle: o, projects: []string{fmt.Sprintf("c%031x", h), fmt.Sprintf("d%031x", h)}},
			queue:   s, plain: o, now: noon,
		}}
		defer func() { // sweeps and claims cross projects
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
			"import":          m.importOne,
			"import more":     m.importOne,
			"delete":          m.deleteOne,
			"get":             m.get,
			"list":            m.list,
			"events":          m.events,
			"submit":          m.submit,
			"submit more":     m.submit,
			"take":            m.take,
			"finish":          m.finish,
			"finish more":     m.finish,
			"log":             m.log,
			"feed":            m.feed,
			"durations":       m.durations,
			"purge":           m.purge,
			"purge more":      m.purge,
			"":                m.totals,
		})
	})
}

type pasts struct {
	lives
	history, past tasks.History
}

// importOne stores a record of now or of some time ago.
func (m *pasts) importOne(t *rapid.T) {
	now := m.tick(t)
	x := m.task(t, m.project(t), anInstance(t))
	x.CreatedAt = m.moment(t)
	put := func(s tasks.Store) error {
		return s.Put(m.ctx, []*errand.Task{clone(x)}, func(old, x *errand.Task) (*errand.Event, error) {
			if old != nil {
				if old.Run != nil || old.Status.Final() || old.Instance != x.Instance {
					return nil, errRefused
				}
				x.CreatedAt = old.CreatedAt // as it is of the same task
			}
			e, err := save(old, x)
			e.At = now
			return e, err
		})
	}
	m.same(t, "Put", put(m.store), put(m.oracle))
}

func (m *pasts) deleteOne(t *rapid.T) {
	now, p, id := m.tick(t), m.project(t), aTask(t)
	change := func(x *errand.Task) (*errand.Event, error) {
		e, err := drop(x)
		e.Project, e.At = p, now
		return e, err
	}
	m.same(t, "Delete", m.store.Delete(m.ctx, p, id, change), m.oracle.Delete(m.ctx, p, id, change))
}

// moment is one of the last few minutes, at or beside a time at which something
// may have happened.
func (m *pasts) moment(t *rapid.T) time.Time {
	ago := rapid.SampledFrom([]int{0, 1, 500, 5_000, 20_000, 90_000, 200_000}).Draw(t, "ago")
	return m.now.Add(-time.Duration(ago)*time.Millisecond + time.Duration(rapid.IntRange(-1, 1).Draw(t, "beside"))*time.Microsecond)
}

func (m *pasts) purge(t *rapid.T) {
	p := tasks.Purge{Project: m.project(t), Limit: rapid.IntRange(1, 6).Draw(t, "limit")}
	if rapid.Bool().Draw(t, "by age") {
		p.Before = m.moment(t)
	}
	if rapid.Bool().Draw(t, "by count") {
		p.Keep = rapid.IntRange(1, 8).Draw(t, "keep")
	}
	if rapid.Bool().Draw(t, "logs") {
		p.LogsBefore = m.moment(t)
	}
	all := func(h tasks.History, dry bool) (sum tasks.Purged, err error) {
		p := p
		for p.DryRun = dry; ; {
			done, err := h.Purge(m.ctx, p)
			if err != nil {
				return sum, err
			}
			if sum = sum.Add(done); !done.More {
				sum.Next = ""
				return sum, nil
			}
			p.After = done.Next
		}
	}
	for _, dry := range []bool{true, false} {
		got, gotErr := all(m.history, dry)
		want, wantErr := all(m.past, dry)
		m.sameAnswer(t, fmt.Sprintf("Purge %+v, dry %v", p, dry), got, gotErr, want, wantErr)
	}
}
