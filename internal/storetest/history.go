package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// HistoryStore is a store that tasks run on and that lets the past go.
type HistoryStore = interface {
	Queue
	tasks.History
}

type historyCheck struct {
	name string
	run  func(*testing.T, HistoryStore)
}

// RunHistory holds the store that open returns against the contract of
// tasks.History, as Run does against that of tasks.Store.
func RunHistory(t *testing.T, open func(*testing.T) HistoryStore) {
	for _, area := range [][]historyCheck{purgeChecks(), purgeLeavesChecks(), purgeRandomChecks()} {
		for _, c := range area {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, open(t))
			})
		}
	}
}

func purgeChecks() []historyCheck {
	return []historyCheck{
		{"purge by age takes tasks with all that is theirs", purgeAge},
		{"purge by age ends just before its moment", purgeMoment},
		{"purge by count keeps the newest of all engines", purgeCount},
		{"purge by age and by count takes what either selects", purgeBoth},
		{"purge of logs leaves their tasks", purgeLogs},
		{"purge takes old events of tasks that are gone", purgeOrphans},
		{"purge goes on in small calls", purgeSmall},
		{"purge that only counts changes nothing", purgeDry},
	}
}

// purge calls until there is no more, as its callers do, and adds up.
func purge(t *testing.T, s tasks.History, p tasks.Purge) tasks.Purged {
	t.Helper()
	sum, err := purgeAll(t, s, p)
	if err != nil {
		t.Fatalf("Purge %+v: %v", p, err)
	}
	return sum
}

func purgeAll(t *testing.T, s tasks.History, p tasks.Purge) (sum tasks.Purged, err error) {
	for range 10_000 {
		done, err := s.Purge(t.Context(), p)
		if err != nil {
			return sum, err
		}
		if !p.DryRun && (done.Tasks > int64(p.Limit) || done.Logs > int64(p.Limit)) {
			return sum, fmt.Errorf("one call with the limit %d did %+v", p.Limit, done)
		}
		if sum = sum.Add(done); !done.More {
			sum.Next = ""
			return sum, nil
		}
		p.After = done.Next
	}
	return sum, fmt.Errorf("there is always more: %+v", sum)
}

// wantPurged counts what p would remove, removes it, and compares both.
func wantPurged(t *testing.T, s tasks.History, p tasks.Purge, want tasks.Purged) {
	t.Helper()
	if p.Project == "" {
		p.Project = project
	}
	if p.Limit == 0 {
		p.Limit = 100
	}
	p.DryRun = true
	same(t, "what would be removed", purge(t, s, p), want)
	p.DryRun = false
	same(t, "what was removed", purge(t, s, p), want)
	same(t, "what was removed a second time", purge(t, s, p), tasks.Purged{})
}

// lived adds task n to an instance as of a moment, with a log, runs it, and leaves
// three events.
func lived(t *testing.T, s HistoryStore, instance, n int, at time.Time) {
	t.Helper()
	x := free(instance, n, 0)
	x.Run.RunAt = at
	x.Accept(at)
	submit(t, s, x)
	update(t, s, n, claiming(at))
	appendLog(t, s, n, fmt.Appendf(nil, "log %04d\n", n), logSize)
	update(t, s, n, finishing(errand.Succeeded, at.Add(time.Second)))
}

const livedEvents, livedLog = 3, 9 // of each task that ran

func hours(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }

func rabbit(n int) errand.Instance {
	i := kafka(n)
	i.Engine = errand.RabbitMQ
	return i
}

func purgeAge(t *testing.T, s HistoryStore) {
	elsewhere := kafka(1)
	elsewhere.Project = otherProject
	register(t, s, kafka(1), rabbit(2), elsewhere)
	for n := range 8 {
		lived(t, s, 1+n%2, n, hours(n))
	}
	foreign := task(1, 1, noon)
	foreign.Project = otherProject
	imported := rich(2, 100, hours(-1000))
	put(t, s, foreign, imported)
	wantPurged(t, s, tasks.Purge{Before: hours(5)}, tasks.Purged{Tasks: 6, Logs: 5, LogBytes: 5 * livedLog, Events: 5*livedEvents + 1})

	for _, n := range []int{0, 4, 100} {
		wantGone(t, s, taskID(n))
		if es := events(t, s, n); len(es) != 0 {
			t.Errorf("task %d has events %+v", n, es)
		}
		_, _, err := s.Log(t.Context(), project, taskID(n), 0, 10)
		wantError(t, err, errand.NotFound, "task")
	}
	_, err := s.GetJob(t.Context(), project, imported.JobID)
	wantError(t, err, errand.NotFound, "task")
	wantPage(t, list(t, s, errand.Filter{}), 3, 7, 6, 5)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 6)
	wantPage(t, list(t, s, errand.Filter{Engine: errand.RabbitMQ}), 2, 7, 5)
	wantPage(t, list(t, s, errand.Filter{Project: otherProject}), 1, 1)
	wantLog(t, s, 5, 0, 100, []byte("log 0005\n"), livedLog)
	if es := events(t, s, 5); len(es) != livedEvents {
		t.Errorf("task 5 has events %+v", es)
	}
	put(t, s, rich(2, 100, hours(-1000))) // which may come back, as something new
	wantPage(t, list(t, s, errand.Filter{}), 4, 7, 6, 5, 100)
	wantPurged(t, s, tasks.Purge{Project: "ffffffffffffffffffffffffffffffff", Before: hours(5), Keep: 1, LogsBefore: hours(5)}, tasks.Purged{})
}

func purgeMoment(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	us := time.Microsecond
	put(t, s, task(1, 1, noon.Add(-us)), task(1, 2, noon), task(1, 3, noon.Add(us)))
	wantPurged(t, s, tasks.Purge{Before: noon}, tasks.Purged{Tasks: 1, Events: 1})
	wantPurged(t, s, tasks.Purge{Before: noon.Add(1)}, tasks.Purged{Tasks: 1, Events: 1})
	wantPage(t, list(t, s, errand.Filter{}), 1, 3)
}

func purgeCount(t *testing.T, s HistoryStore) {
	redis := kafka(3)
	redis.Engine = errand.Redis
	register(t, s, kafka(1), rabbit(2), redis)
	for n := range 9 {
		put(t, s, task(1+n%3, n, hours(n/2))) // some of the same moment: the id decides
	}
	waits := free(1, 50, 0)
	waits.Accept(hours(100))
	submit(t, s, waits)
	wantPurged(t, s, tasks.Purge{Keep: 10}, tasks.Purged{})
	wantPurged(t, s, tasks.Purge{Keep: 6}, tasks.Purged{Tasks: 4, Events: 4})
	wantPage(t, list(t, s, errand.Filter{}), 6, 50, 8, 7, 6, 5, 4)
	wantPurged(t, s, tasks.Purge{Keep: 1}, tasks.Purged{Tasks: 5, Events: 5})
	wantPage(t, list(t, s, errand.Filter{}), 1, 50)
}

func purgeBoth(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	for n := range 10 {
		lived(t, s, 1, n, hours(n))
	}
	wantPurged(t, s, tasks.Purge{Before: hours(2), Keep: 7, LogsBefore: hours(5)},
		tasks.Purged{Tasks: 3, Logs: 5, LogBytes: 5 * livedLog, Events: 3 * livedEvents})
	wantPurged(t, s, tasks.Purge{Before: hours(6), Keep: 7, LogsBefore: hours(5)},
		tasks.Purged{Tasks: 3, Logs: 1, LogBytes: livedLog, Events: 3 * livedEvents})
	wantPage(t, list(t, s, errand.Filter{}), 4, 9, 8, 7, 6)
}

func purgeLogs(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1), rabbit(2))
	for n := range 6 {
		lived(t, s, 1+n%2, n, hours(n))
	}
	put(t, s, task(1, 50, hours(1))) // without a log
	wantPurged(t, s, tasks.Purge{LogsBefore: hours(4)}, tasks.Purged{Logs: 4, LogBytes: 4 * livedLog})
	wantPage(t, list(t, s, errand.Filter{}), 7, 5, 4, 3, 2, 50, 1, 0)
	for n := range 6 {
		if n < 4 {
			wantLog(t, s, n, 0, 10, nil, 0)
		} else {
			wantLog(t, s, n, 0, 4, []byte("log "), livedLog)
		}
		if es := events(t, s, n); len(es) != livedEvents {
			t.Errorf("task %d has events %+v", n, es)
		}
	}
}

func purgeOrphans(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1), rabbit(2))
	for n := range 4 {
		lived(t, s, 1+n%2, n, hours(n)) // 0 and 2 in the one, 1 and 3 in the other
	}
	if err := s.Delete(t.Context(), project, taskID(0), func(t *errand.Task) (*errand.Event, error) {
		e, err := drop(t)
		e.At = hours(4)
		return e, err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteInstance(t.Context(), project, instanceID(2)); err != nil {
		t.Fatal(err)
	}
	// Task 2 is there: it is younger than all of these moments but the last.
	wantPurged(t, s, tasks.Purge{Keep: 1, LogsBefore: noon}, tasks.Purged{})
	wantPurged(t, s, tasks.Purge{Before: hours(1)}, tasks.Purged{Events: livedEvents})
	if es := events(t, s, 0); len(es) != 1 || es[0].Act != errand.ActDeleted {
		t.Errorf("task 0 has events %+v, want the youngest", es)
	}
	wantPurged(t, s, tasks.Purge{Before: hours(2)}, tasks.Purged{Events: livedEvents})
	if es := events(t, s, 3); len(es) != livedEvents {
		t.Errorf("task 3 has events %+v, want all", es)
	}
	wantPurged(t, s, tasks.Purge{Before: hours(5)}, tasks.Purged{Tasks: 1, Logs: 1, LogBytes: livedLog, Events: 2*livedEvents + 1})
}

func purgeSmall(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1), rabbit(2))
	for n := range 12 {
		lived(t, s, 1+n%2, n, hours(n))
		if n%3 == 0 { // one that waits, one that was imported before it had ended
			waits, elsewhere := free(1, 100+n, 0), task(2, 200+n, hours(n))
			waits.Accept(hours(n))
			elsewhere.Status, elsewhere.Origin = errand.Running, &errand.Origin{Status: "EXECUTING"}
			submit(t, s, waits)
			put(t, s, elsewhere)
		}
	}
	p := tasks.Purge{Project: project, Before: hours(10), LogsBefore: hours(11), Limit: 3}
	want := tasks.Purged{Tasks: 10, Logs: 11, LogBytes: 11 * livedLog, Events: 10 * livedEvents}
	total := 20
	var sum tasks.Purged
	for calls := 0; ; calls++ {
		done, err := s.Purge(t.Context(), p)
		if err != nil || calls > 200 {
			t.Fatalf("call %d: %+v, %v", calls, done, err)
		}
		total -= int(done.Tasks)
		sum = sum.Add(done)
		if got := list(t, s, errand.Filter{}); got.Total != total || len(got.Tasks) != total {
			t.Errorf("after %+v: %d tasks listed, total %d, want %d", sum, len(got.Tasks), got.Total, total)
		}
		if done.Tasks > 0 && sum.Tasks < 10 { // the oldest are gone, no others
			wantGone(t, s, taskID(int(sum.Tasks)-1))
			get(t, s, taskID(int(sum.Tasks)))
		}
		if p.After = done.Next; !done.More {
			break
		}
	}
	sum.Next = ""
	same(t, "what was removed", sum, want)
	wantPage(t, list(t, s, errand.Filter{}), 10, 11, 10, 209, 109, 206, 106, 203, 103, 200, 100)
}

func purgeDry(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1))
	for n := range 12 {
		lived(t, s, 1, n, hours(n))
	}
	feed := func() []errand.Event {
		es, err := s.Feed(t.Context(), project, 0, 1000)
		if err != nil {
			t.Error(err)
		}
		return es
	}
	before, page := feed(), list(t, s, errand.Filter{})
	p := tasks.Purge{Project: project, Before: hours(3), Keep: 10, LogsBefore: hours(7), Limit: 2, DryRun: true}
	want := tasks.Purged{Tasks: 3, Logs: 7, LogBytes: 7 * livedLog, Events: 3 * livedEvents}
	same(t, "what would be removed", purge(t, s, p), want)
	same(t, "what would be removed then", purge(t, s, p), want)
	same(t, "the feed", feed(), before)
	same(t, "the listing", list(t, s, errand.Filter{}), page)
	wantLog(t, s, 0, 0, 100, []byte("log 0000\n"), livedLog)
}

// purgeBeside purges while tasks run.
func purgeBeside(t *testing.T, s HistoryStore) {
	register(t, s, kafka(1), rabbit(2))
	const lives, each = 6, 25
	var wg sync.WaitGroup
	for l := range lives {
		wg.Go(func() {
			for i := range each {
				lived(t, s, 1+l%2, 1+l*each+i, hours(i)) // none is purged before it has run
			}
		})
	}
	stop := make(chan struct{})
	var sum tasks.Purged
	var purging sync.WaitGroup
	purging.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			done, err := s.Purge(t.Context(), tasks.Purge{Project: project, Before: hours(n % each), LogsBefore: hours(n % each), Limit: 1 + n%5})
			if err != nil {
				t.Errorf("Purge: %v", err)
				return
			}
			sum = sum.Add(done)
		}
	})
	wg.Wait()
	close(stop)
	purging.Wait()
	if t.Failed() {
		return
	}
	const all = lives * each
	page := list(t, s, errand.Filter{})
	if page.Total != len(page.Tasks) || page.Total+int(sum.Tasks) != all {
		t.Errorf("%d tasks are listed, total %d, %d were removed, of %d", len(page.Tasks), page.Total, sum.Tasks, all)
	}
	sum = sum.Add(purge(t, s, tasks.Purge{Project: project, Before: hours(each), Limit: 50}))
	same(t, "what was removed in all", sum, tasks.Purged{Tasks: all, Logs: all, LogBytes: all * livedLog, Events: all * livedEvents})
	wantPage(t, list(t, s, errand.Filter{}), 0)
}
