package tasks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

const (
	pastA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	pastB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	pastI = "11111111-2222-3333-4444-000000000001"
)

// pastStore is a store in memory that counts purges and holds, in two projects,
// one finished task for each of the last days.
type pastStore struct {
	storetest.Queue
	tasks.History

	mu     sync.Mutex
	limits []int // of the purges
	fail   error
}

func (s *pastStore) purges() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.limits)
}

func (s *pastStore) breaks(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *pastStore) Purge(ctx context.Context, p tasks.Purge) (tasks.Purged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = append(s.limits, p.Limit)
	if s.fail != nil {
		return tasks.Purged{}, s.fail
	}
	return s.History.Purge(ctx, p)
}

func newPast(t *testing.T, now time.Time, days int) *pastStore {
	t.Helper()
	memory := storetest.Memory()
	s := &pastStore{Queue: memory, History: memory.(tasks.History)}
	for _, project := range []string{pastA, pastB} {
		if err := memory.AddInstance(t.Context(), errand.Instance{Project: project, ID: pastI, Name: "i", Engine: errand.Kafka}); err != nil {
			t.Fatal(err)
		}
		var all []*errand.Task
		for n := range days {
			at := now.AddDate(0, 0, -n)
			all = append(all, &errand.Task{ID: fmt.Sprintf("%032x", n), Project: project, Instance: pastI, Operation: "EXTEND", Status: errand.Succeeded, CreatedAt: at, UpdatedAt: at})
		}
		if err := memory.Put(t.Context(), all, func(_, x *errand.Task) (*errand.Event, error) {
			return &errand.Event{Project: x.Project, Instance: x.Instance, Task: x.ID, At: now}, nil
		}); err != nil {
			t.Fatal(err)
		}
		for n := range days {
			if _, err := memory.AppendLog(t.Context(), project, fmt.Sprintf("%032x", n), []byte("12345"), 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func (s *pastStore) left(t *testing.T, project string) int {
	t.Helper()
	p, err := s.List(t.Context(), errand.Filter{Project: project, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	return p.Total
}

func (s *pastStore) retention(o tasks.RetentionOptions) *tasks.Retention {
	return tasks.NewRetention(s, func(context.Context) ([]string, error) { return []string{pastB, pastA}, nil }, time.Now, o)
}

const day = 24 * time.Hour

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// take returns what was logged since the last time.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

func TestRetentionRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPast(t, time.Now(), 10)
		var out lines
		log := slog.New(slog.NewTextHandler(&out, nil))
		r := s.retention(tasks.RetentionOptions{
			Rule:  tasks.Rule{Age: 5*day + day/2, LogAge: 2*day + day/2},
			Rules: map[string]tasks.Rule{pastB: {Count: 8}},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx, log) }()
		time.Sleep(45 * time.Second)
		synctest.Wait()
		if n := s.purges(); n != 0 {
			t.Errorf("%d purges within 45 seconds of the start", n)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if a, b := s.left(t, pastA), s.left(t, pastB); a != 6 || b != 8 {
			t.Errorf("%d and %d tasks are left, want 6 and 8", a, b)
		}
		text := out.take()
		for _, want := range []string{
			`msg="history purged" tasks=4 logs=7 log_bytes=35 events=4 project=` + pastA,
			`msg="history purged" tasks=2 logs=2 log_bytes=10 events=2 project=` + pastB,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("log is\n%s\nwant a line with %s", text, want)
			}
		}
		if got, want := r.Total(), (tasks.Purged{Tasks: 6, Logs: 9, LogBytes: 45, Events: 6}); got != want {
			t.Errorf("total is %+v, want %+v", got, want)
		}
		before := s.purges()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := s.purges() - before; n < 2*5 || n > 2*7 {
			t.Errorf("%d purges of two projects in an hour, want one of each about every ten minutes", n)
		}
		if text := out.take(); text != "" {
			t.Errorf("log of nothing: %s", text)
		}
		time.Sleep(2 * day)
		synctest.Wait()
		if a := s.left(t, pastA); a != 4 {
			t.Errorf("two days later %d tasks are left, want 4", a)
		}
		s.breaks(errors.New("broken"))
		out.take()
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if text := out.take(); !strings.Contains(text, "level=ERROR msg=retention") || !strings.Contains(text, "broken") {
			t.Errorf("log of a store that fails: %s", text)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestRetentionWithoutRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPast(t, time.Now(), 2)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.retention(tasks.RetentionOptions{}).Run(ctx, slog.New(slog.DiscardHandler)) }()
		time.Sleep(day)
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Run ended by itself: it would stop the server")
		default:
		}
		cancel()
		if err := <-ended; err != nil || s.purges() != 0 {
			t.Errorf("%v, %d purges", err, s.purges())
		}
	})
}

// A rule for a project that is not there is most likely a misspelt one.
func TestRetentionOfUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPast(t, time.Now(), 10)
		var out lines
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		r := s.retention(tasks.RetentionOptions{Rule: tasks.Rule{Count: 1}, Rules: map[string]tasks.Rule{"c": {}}})
		go func() { ended <- r.Run(ctx, slog.New(slog.NewTextHandler(&out, nil))) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if text := out.take(); s.purges() != 0 || !strings.Contains(text, "which does not exist") {
			t.Errorf("%d purges; log is %s", s.purges(), text)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestRetentionPauses has more than one batch to remove.
func TestRetentionPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPast(t, time.Now(), 1000)
		r := s.retention(tasks.RetentionOptions{})
		start := time.Now()
		done, err := r.Purge(t.Context(), boss, tasks.PurgeRequest{Project: pastA, Keep: 100})
		if err != nil || done != (tasks.Purged{Tasks: 900, Logs: 900, LogBytes: 4500, Events: 900}) {
			t.Errorf("%+v, %v", done, err)
		}
		if s.purges() < 5 || slices.Max(s.limits) > 500 || time.Since(start) < 4*5*time.Millisecond {
			t.Errorf("%d batches of up to %d in %v", s.purges(), slices.Max(s.limits), time.Since(start))
		}
	})
}

var boss = errand.Principal{User: errand.User{ID: "u1", Name: "root"}, Role: errand.Admin, Project: pastB, Remote: "192.0.2.1", Request: "r1"}

func TestPurgeByHand(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	rules := tasks.RetentionOptions{Rule: tasks.Rule{Age: 5 * day}, Rules: map[string]tasks.Rule{pastB: {}}}
	for _, tt := range []struct {
		name    string
		opt     tasks.RetentionOptions
		who     errand.Role
		q       tasks.PurgeRequest
		want    tasks.Purged
		kind    errand.Kind
		subject string // of an error
	}{
		{name: "by age, of all", who: errand.Admin, q: tasks.PurgeRequest{Age: 7 * day}, want: tasks.Purged{Tasks: 6, Logs: 6, LogBytes: 30, Events: 6}},
		{name: "by age, counted", who: errand.Admin, q: tasks.PurgeRequest{Age: 7 * day, DryRun: true}, want: tasks.Purged{Tasks: 6, Logs: 6, LogBytes: 30, Events: 6}},
		{name: "by moment, of one", who: errand.Admin, q: tasks.PurgeRequest{Project: pastA, Before: now.Add(-7 * day)}, want: tasks.Purged{Tasks: 2, Logs: 2, LogBytes: 10, Events: 2}},
		{name: "by count", who: errand.Admin, q: tasks.PurgeRequest{Keep: 4}, want: tasks.Purged{Tasks: 12, Logs: 12, LogBytes: 60, Events: 12}},
		{name: "of logs", who: errand.Admin, q: tasks.PurgeRequest{LogAge: 7 * day}, want: tasks.Purged{Logs: 6, LogBytes: 30}},
		{name: "of logs by moment", who: errand.Admin, q: tasks.PurgeRequest{LogsBefore: now.Add(-7*day + time.Hour)}, want: tasks.Purged{Logs: 6, LogBytes: 30}},
		{name: "by the rules", opt: rules, who: errand.Admin, want: tasks.Purged{Tasks: 5, Logs: 5, LogBytes: 25, Events: 5}},
		{name: "by the rules that keep all", opt: rules, who: errand.Admin, q: tasks.PurgeRequest{Project: pastB}, kind: errand.Invalid, subject: "purge"},
		{name: "by rules of a project that is not there", opt: tasks.RetentionOptions{Rule: rules.Rule, Rules: map[string]tasks.Rule{"c": {}}},
			who: errand.Admin, kind: errand.Invalid, subject: "purge"},
		{name: "by count, in spite of such rules", opt: tasks.RetentionOptions{Rules: map[string]tasks.Rule{"c": {}}},
			who: errand.Admin, q: tasks.PurgeRequest{Keep: 9}, want: tasks.Purged{Tasks: 2, Logs: 2, LogBytes: 10, Events: 2}},
		{name: "without rules", who: errand.Admin, kind: errand.Invalid, subject: "purge"},
		{name: "operator", who: errand.Operator, q: tasks.PurgeRequest{Keep: 4}, kind: errand.Forbidden, subject: "role"},
		{name: "unknown project", who: errand.Admin, q: tasks.PurgeRequest{Project: "cccccccccccccccccccccccccccccccc", Keep: 4}, kind: errand.NotFound, subject: "project"},
		{name: "keep less than none", who: errand.Admin, q: tasks.PurgeRequest{Keep: -1}, kind: errand.Invalid, subject: "keep"},
		{name: "age and moment", who: errand.Admin, q: tasks.PurgeRequest{Age: day, Before: now.Add(-day)}, kind: errand.Invalid, subject: "before"},
		{name: "age of minutes", who: errand.Admin, q: tasks.PurgeRequest{Age: time.Hour - time.Second}, kind: errand.Invalid, subject: "before"},
		{name: "age of logs of minutes", who: errand.Admin, q: tasks.PurgeRequest{LogAge: time.Minute, DryRun: true}, kind: errand.Invalid, subject: "logs_before"},
		{name: "an hour", who: errand.Admin, q: tasks.PurgeRequest{Age: time.Hour, DryRun: true}, want: tasks.Purged{Tasks: 18, Logs: 18, LogBytes: 90, Events: 18}},
		{name: "age below zero", who: errand.Admin, q: tasks.PurgeRequest{LogAge: -day}, kind: errand.Invalid, subject: "logs_before"},
		{name: "the future", who: errand.Admin, q: tasks.PurgeRequest{Before: now.Add(day)}, kind: errand.Invalid, subject: "before"},
		{name: "after what never was", who: errand.Admin, q: tasks.PurgeRequest{Keep: 4, After: "x"}, kind: errand.Invalid, subject: "after"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newPast(t, now, 10)
			var out bytes.Buffer
			tt.opt.Log = slog.New(slog.NewTextHandler(&out, nil))
			who := boss
			who.Role = tt.who
			got, err := s.retention(tt.opt).Purge(t.Context(), who, tt.q)
			if e := errand.ErrorOf(err); (e == nil) != (tt.subject == "") || e != nil && (e.Kind != tt.kind || e.Subject != tt.subject) {
				t.Fatalf("error is %v, want %v about %q", err, tt.kind, tt.subject)
			}
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			gone := 20 - s.left(t, pastA) - s.left(t, pastB)
			if removes := !tt.q.DryRun && err == nil; removes && gone != int(tt.want.Tasks) || !removes && gone != 0 {
				t.Errorf("%d tasks are gone", gone)
			}
			said := strings.Contains(out.String(), `msg="history purged by hand"`) && strings.Contains(out.String(), "user=root") && strings.Contains(out.String(), "remote=192.0.2.1")
			if said != (!tt.q.DryRun && err == nil) {
				t.Errorf("log is %q", out.String())
			}
		})
	}
}

// TestPurgeGoesOn asks as long as there is more; a call takes 20 seconds.
func TestPurgeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPast(t, time.Now(), 1000)
		slow := &slowStore{s}
		r := tasks.NewRetention(slow, func(context.Context) ([]string, error) { return []string{pastB, pastA}, nil }, time.Now, tasks.RetentionOptions{})
		var sum tasks.Purged
		calls := 0
		for q := (tasks.PurgeRequest{Keep: 100}); ; calls++ {
			start := time.Now()
			done, err := r.Purge(t.Context(), boss, q)
			if err != nil || done.More != (done.Next != "") {
				t.Fatalf("%+v, %v", done, err)
			}
			if took := time.Since(start); took > 25*time.Second {
				t.Errorf("one call took %v", took)
			}
			if sum = sum.Add(done); !done.More {
				break
			}
			q.After = done.Next
		}
		if want := (tasks.Purged{Tasks: 1800, Logs: 1800, LogBytes: 9000, Events: 1800}); sum != want || calls < 2 {
			t.Errorf("%+v in %d calls, want %+v in several", sum, calls+1, want)
		}
	})
}

// slowStore takes six seconds for a batch.
type slowStore struct{ tasks.History }

func (s *slowStore) Purge(ctx context.Context, p tasks.Purge) (tasks.Purged, error) {
	time.Sleep(6 * time.Second)
	return s.History.Purge(ctx, p)
}
