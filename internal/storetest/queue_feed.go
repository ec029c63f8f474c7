package storetest

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func feedChecks() []queueCheck {
	return []queueCheck{
		{"feed has all events of a project in their order", feedOrder},
		{"feed is paged by number", feedPages},
		{"durations are those of successful attempts, newest first", durationsOrder},
		{"durations are told apart", durationsApart},
		{"durations are bounded", durationsBound},
		{"scheduled tasks are listed with their runs", scheduledList},
		{"scheduled tasks are filtered and paged", scheduledPages},
	}
}

func feed(t *testing.T, s Queue, project string, after int64, limit int) []errand.Event {
	t.Helper()
	es, err := s.Feed(t.Context(), project, after, limit)
	if err != nil {
		t.Fatalf("Feed: %v", err)
	}
	return es
}

func lastSeq(t *testing.T, s Queue) int64 {
	t.Helper()
	n, err := s.LastSeq(t.Context())
	if err != nil {
		t.Fatalf("LastSeq: %v", err)
	}
	return n
}

func feedOrder(t *testing.T, s Queue) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, kafka(1), there)
	if n := lastSeq(t, s); n != 0 {
		t.Errorf("the last event of none has number %d", n)
	}
	elsewhere := waiting(1, 9, 0)
	elsewhere.Project = otherProject
	submit(t, s, waiting(1, 1, 0))
	put(t, s, task(1, 2, noon))
	submit(t, s, elsewhere)
	wantTaken(t, s, noon, 1)
	update(t, s, 1, finishing(errand.Succeeded, noon))
	if err := s.Delete(t.Context(), project, taskID(1), drop); err != nil {
		t.Fatal(err)
	}
	type fact struct {
		Task string
		Act  errand.Act
		To   errand.Status
	}
	var got []fact
	seq := int64(0)
	for _, e := range feed(t, s, project, 0, 100) {
		if e.Seq <= seq || e.Project != project {
			t.Errorf("event %d of %s follows %d", e.Seq, e.Project, seq)
		}
		seq = e.Seq
		got = append(got, fact{e.Task, e.Act, e.To})
	}
	same(t, "feed", got, []fact{
		{taskID(1), errand.ActSubmitted, errand.Pending}, {taskID(2), errand.ActImported, errand.Succeeded}, {taskID(1), errand.ActClaimed, errand.Running},
		{taskID(1), errand.ActFinished, errand.Succeeded}, {taskID(1), errand.ActDeleted, ""},
	})
	if n := lastSeq(t, s); n != seq {
		t.Errorf("the last event has number %d, want %d", n, seq)
	}
	for _, e := range feed(t, s, project, 0, 100) {
		if e.Task == taskID(1) {
			es := events(t, s, 1)
			same(t, "first event of the task", es[0], e)
			break
		}
	}
	if es := feed(t, s, taskID(7), 0, 100); len(es) != 0 {
		t.Errorf("the feed of a project that nobody knows has %+v", es)
	}
}

func feedPages(t *testing.T, s Queue) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, kafka(1), there)
	for n := range 20 {
		x := free(1, n, 0)
		if n%3 == 0 {
			x.Project = otherProject
		}
		submit(t, s, x)
	}
	all := feed(t, s, project, 0, 100)
	if len(all) != 13 {
		t.Fatalf("%d events, want 13", len(all))
	}
	for i, e := range all {
		got := feed(t, s, project, e.Seq, 4)
		same(t, "events after "+show(e.Seq), append([]errand.Event{}, got...), append([]errand.Event{}, all[i+1:min(i+5, len(all))]...))
	}
	if es := feed(t, s, project, lastSeq(t, s)+100, 4); len(es) != 0 {
		t.Errorf("events to come: %+v", es)
	}
}

// ran has task n take so long and end.
func ran(t *testing.T, s Queue, x *errand.Task, took time.Duration, status errand.Status) {
	t.Helper()
	submit(t, s, x)
	for _, change := range []func(*errand.Task) (*errand.Event, error){claiming(noon), finishing(status, noon.Add(took))} {
		if _, err := s.Update(t.Context(), x.Project, x.ID, change); err != nil {
			t.Fatal(err)
		}
	}
}

func wantDurations(t *testing.T, s Queue, project string, e errand.Engine, operation string, limit int, want ...time.Duration) {
	t.Helper()
	got, err := s.Durations(t.Context(), project, e, operation, limit)
	if err != nil {
		t.Fatalf("Durations: %v", err)
	}
	same(t, "durations", append([]time.Duration{}, got...), append([]time.Duration{}, want...))
}

func durationsOrder(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	wantDurations(t, s, project, errand.Kafka, "EXTEND", 9)
	for n, took := range []time.Duration{time.Second, time.Hour, 0, 1500 * time.Microsecond} {
		ran(t, s, free(1, n, 0), took, errand.Succeeded)
	}
	ran(t, s, free(1, 10, 0), time.Minute, errand.Cancelled)
	ran(t, s, free(1, 11, 0), time.Minute, errand.Failed) // to be tried again
	if _, err := s.Update(t.Context(), project, taskID(11), claiming(noon.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	update(t, s, 11, finishing(errand.Succeeded, noon.Add(time.Hour+7*time.Second))) // that attempt alone
	all := []time.Duration{7 * time.Second, 1500 * time.Microsecond, 0, time.Hour, time.Second}
	wantDurations(t, s, project, errand.Kafka, "EXTEND", 9, all...)
	wantDurations(t, s, project, errand.Kafka, "EXTEND", 2, all[:2]...)
	// They are history: the record may go.
	if err := s.Delete(t.Context(), project, taskID(0), drop); err != nil {
		t.Fatal(err)
	}
	wantDurations(t, s, project, errand.Kafka, "EXTEND", 9, all...)
}

func durationsApart(t *testing.T, s Queue) {
	there, redis := kafka(1), kafka(2)
	there.Project, redis.Engine = otherProject, errand.Redis
	register(t, s, kafka(1), redis, there)
	x, other := free(1, 2, 0), free(1, 3, 0)
	x.Operation, other.Project = "RESTART", otherProject
	ran(t, s, free(1, 1, 0), time.Second, errand.Succeeded)
	ran(t, s, x, 2*time.Second, errand.Succeeded)
	ran(t, s, other, 3*time.Second, errand.Succeeded)
	ran(t, s, free(2, 4, 0), 4*time.Second, errand.Succeeded)
	wantDurations(t, s, project, errand.Kafka, "EXTEND", 9, time.Second)
	wantDurations(t, s, project, errand.Kafka, "RESTART", 9, 2*time.Second)
	wantDurations(t, s, otherProject, errand.Kafka, "EXTEND", 9, 3*time.Second)
	wantDurations(t, s, project, errand.Redis, "EXTEND", 9, 4*time.Second)
	wantDurations(t, s, project, errand.RabbitMQ, "EXTEND", 9)
}

func durationsBound(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	var want []time.Duration
	for n := range keptDurations + 20 {
		took := time.Duration(n) * time.Second
		ran(t, s, free(1, n, 0), took, errand.Succeeded)
		want = append([]time.Duration{took}, want...)
	}
	wantDurations(t, s, project, errand.Kafka, "EXTEND", 1000, want[:keptDurations]...)
}

// planned returns task n, to be run later, as it is submitted some hours after
// noon.
func planned(instance, n, hours int) *errand.Task {
	x := waiting(instance, n, 100*time.Hour)
	x.Run.Scheduled = true
	x.Accept(noon.Add(time.Duration(hours) * time.Hour))
	return x
}

func scheduled(t *testing.T, s Queue, f errand.Filter) errand.Page {
	t.Helper()
	f.Project = project
	if f.Limit == 0 {
		f.Limit = 1000
	}
	p, err := s.Scheduled(t.Context(), f)
	if err != nil {
		t.Fatalf("Scheduled %+v: %v", f, err)
	}
	return p
}

func scheduledList(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	wantPage(t, scheduled(t, s, errand.Filter{Instance: instanceID(1)}), 0)
	submit(t, s, planned(1, 1, 0), waiting(1, 2, time.Hour), full(1, 3), planned(1, 4, 1), planned(1, 5, 2), planned(1, 6, 3))
	put(t, s, task(1, 7, noon))
	update(t, s, 4, cancelling(noon))
	wantTaken(t, s, noon, 3)
	if err := s.Delete(t.Context(), project, taskID(5), drop); err != nil {
		t.Fatal(err)
	}
	for _, f := range []errand.Filter{{Instance: instanceID(1)}, {}} {
		page := scheduled(t, s, f)
		wantPage(t, page, 4, 6, 4, 3, 1)
		for i := range page.Tasks {
			same(t, "scheduled task", &page.Tasks[i], get(t, s, page.Tasks[i].ID))
		}
	}
}

func scheduledPages(t *testing.T, s Queue) {
	redis, there := kafka(2), kafka(1)
	redis.Engine, there.Project = errand.Redis, otherProject
	register(t, s, kafka(1), redis, there)
	elsewhere := planned(1, 1, 0)
	elsewhere.Project = otherProject
	submit(t, s, elsewhere)
	for n := range 12 {
		submit(t, s, planned(1+n%2, n, n/2))
	}
	hour := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }
	for _, c := range []struct {
		f     errand.Filter
		total int
		ns    []int
	}{
		{errand.Filter{}, 12, []int{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{errand.Filter{Offset: 3, Limit: 4}, 12, []int{8, 7, 6, 5}},
		{errand.Filter{Offset: 11, Limit: 4}, 12, []int{0}},
		{errand.Filter{Offset: 12, Limit: 4}, 12, nil},
		{errand.Filter{Engine: errand.Redis}, 6, []int{11, 9, 7, 5, 3, 1}},
		{errand.Filter{Engine: errand.RocketMQ}, 0, nil},
		{errand.Filter{Instance: instanceID(1), Limit: 3}, 6, []int{10, 8, 6}},
		{errand.Filter{Instance: instanceID(1), Engine: errand.Redis, Offset: 4}, 6, []int{2, 0}}, // an instance decides its engine
		{errand.Filter{From: hour(1), To: hour(2)}, 4, []int{5, 4, 3, 2}},
		{errand.Filter{Instance: instanceID(2), From: hour(1), To: hour(2), Offset: 1}, 2, []int{3}},
	} {
		wantPage(t, scheduled(t, s, c.f), c.total, c.ns...)
	}
	_, err := s.Scheduled(t.Context(), errand.Filter{Project: project, Instance: instanceID(9), Limit: 1})
	wantError(t, err, errand.NotFound, "instance")
	if err := s.DeleteInstance(t.Context(), project, instanceID(2)); err != nil {
		t.Fatal(err)
	}
	wantPage(t, scheduled(t, s, errand.Filter{}), 6, 10, 8, 6, 4, 2, 0)
}
