package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// queue is a System in memory.
type queue struct {
	tasks   chan int64
	history int
	broken  bool
	closed  bool
}

func (q *queue) About() About { return About{StartMS: 1, Deep: true} }
func (q *queue) Close() error { q.closed = true; return nil }

func (q *queue) Submit(_ context.Context, seq int64) error {
	if q.broken {
		return errors.New("out of order")
	}
	select {
	case q.tasks <- seq:
	default: // nobody runs them
	}
	return nil
}

func (q *queue) Work(n int, ev Events) (func() error, error) {
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for {
				select {
				case seq := <-q.tasks:
					ev.Begun(seq)
					ev.Done(seq)
				case <-stop:
					return
				}
			}
		})
	}
	return func() error { close(stop); workers.Wait(); return nil }, nil
}

func (q *queue) Fill(_ context.Context, n int) error { q.history = n / 10; return nil }

func (q *queue) List(_ context.Context, offset int, _ bool) (Page, error) {
	return Page{Rows: min(10, q.history-offset), Total: q.history}, nil
}

// talk sends commands and returns the answers after the first.
func talk(t *testing.T, q *queue, commands ...string) []Result {
	t.Helper()
	var out bytes.Buffer
	if err := Serve(t.Context(), q, strings.NewReader(strings.Join(commands, "\n")+"\n"), &out); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&out)
	var about About
	if err := d.Decode(&about); err != nil || about.StartMS != 1 || !about.Deep {
		t.Fatalf("first answer %+v, %v", about, err)
	}
	var all []Result
	for d.More() {
		var r Result
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestServe(t *testing.T) {
	t.Parallel()
	q := &queue{tasks: make(chan int64, 1000)}
	got := talk(t, q,
		`{"do":"latency","workers":2,"seconds":0.05}`,
		`{"do":"drain","tasks":500,"workers":3,"seconds":10}`,
		`{"do":"submit","clients":4,"seconds":0.02}`,
		`{"do":"fill","tasks":1000}`,
		`{"do":"list","seconds":0.01,"total":true}`,
		`{"do":"list","seconds":0.01,"deep":true}`,
		`{"do":"work","workers":1}`, `{"do":"work","workers":1}`, `{"do":"rest"}`,
		`{"do":"dance"}`,
		`{"do":"quit"}`, `{"do":"fill","tasks":5000}`,
	)
	if len(got) != 10 || q.history != 100 {
		t.Fatalf("%d answers, history %d: %+v", len(got), q.history, got)
	}
	for i, r := range got {
		if wrong := i == 7 || i == 9; wrong != (r.Error != "") {
			t.Errorf("answer %d: %+v", i, r)
		}
	}
	latency, drain, submit, list := got[0], got[1], got[2], got[4]
	if latency.Count == 0 || latency.BegunP50 <= 0 || latency.P50 < latency.BegunP50 || latency.P99 < latency.P50 {
		t.Errorf("latency %+v", latency)
	}
	if drain.Count != 500 || drain.Seconds <= 0 || drain.Seconds > 9 {
		t.Errorf("drain %+v", drain)
	}
	if submit.Count == 0 || submit.Rate() <= 0 || submit.Seconds < 0.02 {
		t.Errorf("submit %+v", submit)
	}
	if list.Count < 3 || list.Total != 100 {
		t.Errorf("list %+v", list)
	}
}

func TestErrorsAreAnswers(t *testing.T) {
	t.Parallel()
	for _, r := range talk(t, &queue{broken: true}, `{"do":"submit","clients":2,"seconds":1}`, `{"do":"drain","tasks":5,"workers":1,"seconds":1}`, `{"do":"latency","workers":1,"seconds":1}`) {
		if r.Error != "out of order" {
			t.Errorf("%+v", r)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i)*time.Millisecond)
	}
	if r := result(times, 2*time.Second); r.P50 != 50 || r.P99 != 99 || r.Count != 100 || r.Rate() != 50 {
		t.Errorf("%+v", r)
	}
	if r := result([]time.Duration{time.Second}, 0); r.P50 != 1000 || r.P99 != 1000 || r.Rate() != 0 {
		t.Errorf("%+v", r)
	}
	if r := result(nil, time.Second); r.P50 != 0 || r.Count != 0 {
		t.Errorf("%+v", r)
	}
}

func TestEach(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[int]int{}
	if err := Each(50, 7, func(i int) error { mu.Lock(); defer mu.Unlock(); seen[i]++; return nil }); err != nil || len(seen) != 50 {
		t.Errorf("%v, %v", err, seen)
	}
	broken := errors.New("broken")
	if err := Each(50, 7, func(i int) error {
		if i == 20 {
			return broken
		}
		return nil
	}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
