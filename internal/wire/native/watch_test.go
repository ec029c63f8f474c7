package native_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/openapitest"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/native"
)

// stream is the answer to a call that goes on: what has come so far, and the
// deadlines that were set for it.
type stream struct {
	mu        sync.Mutex
	header    http.Header
	code      int
	text      strings.Builder
	flushed   int
	broken    bool
	deadlines []time.Time
	ended     chan struct{}
}

func (s *stream) Header() http.Header { return s.header }

func (s *stream) WriteHeader(code int) { s.code = code }

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return 0, errors.New("i/o timeout")
	}
	return s.text.Write(p)
}

func (s *stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed = s.text.Len()
}

func (s *stream) SetReadDeadline(time.Time) error { return nil }

func (s *stream) SetWriteDeadline(d time.Time) error {
	s.deadlines = append(s.deadlines, d)
	return nil
}

// take returns what was flushed since the last time.
func (s *stream) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.text.String()[:s.flushed]
	rest := s.text.String()[s.flushed:]
	s.text.Reset()
	s.text.WriteString(rest)
	s.flushed = 0
	return text
}

func (s *stream) done() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// open begins a call and lets it go on until it waits; begin does not.
func open(ctx, stopping context.Context, h http.Handler, target string, headers map[string]string) *stream {
	s := begin(ctx, stopping, h, target, headers)
	synctest.Wait()
	return s
}

func begin(ctx, stopping context.Context, h http.Handler, target string, headers map[string]string) *stream {
	s := &stream{header: http.Header{}, ended: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	r.Header.Set("X-Auth-Token", "viewer")
	for name, v := range headers {
		r.Header.Set(name, v)
	}
	go func() {
		defer close(s.ended)
		h.ServeHTTP(s, wire.Begin(s, r, &wire.Exchange{ID: requestID, Stopping: stopping}))
	}()
	return s
}

// watchFor returns what a watch has to say at once.
func (s *stack) watchFor(t *testing.T, target string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &stream{header: http.Header{}, ended: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	r.Header.Set("X-Auth-Token", "viewer")
	go func() { defer close(w.ended); s.ServeHTTP(w, r) }()
	var all string
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(all, "\ndata: "); {
		if time.Now().After(deadline) {
			t.Fatalf("watch: nothing came: %q", all)
		}
		all += w.take()
	}
	cancel()
	<-w.ended
	return all
}

// bench is the API in fake time.
type bench struct {
	running
	h http.Handler
}

var operator = errand.Principal{User: errand.User{ID: "u1", Name: "ops"}, Project: projectID, Role: errand.Admin}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{running: newRuns(t, time.Now)}
	deps := native.Deps{Auth: roles{}, Now: time.Now}
	withRuns(b.running)(&deps)
	b.h = openapitest.Wrap(t, native.New(deps))
	for id, engine := range map[string]errand.Engine{redisID: errand.Redis, kafkaID: errand.Kafka} {
		if _, err := b.svc.Register(t.Context(), operator, errand.Instance{Project: projectID, ID: id, Name: "n", Engine: engine}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) submit(t *testing.T, instance string) *errand.Task {
	t.Helper()
	s := tasks.Submission{Operation: "EXTEND", Params: []byte(`{"new_capacity":1}`)}
	if instance == kafkaID {
		s = tasks.Submission{Operation: "restart"}
	}
	task, err := b.runs.Submit(t.Context(), operator, projectID, instance, s)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func (b *bench) claim(t *testing.T) tasks.Grant {
	t.Helper()
	grants, err := b.runs.Claim(t.Context(), operator, projectID, tasks.ClaimRequest{Worker: "w", Operations: []string{"EXTEND", "restart"}, Limit: 1})
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
	return grants[0]
}

const watchPath = "/api/v1/projects/" + projectID + "/watch"

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.submit(t, kafkaID) // before anybody looks
		ctx, cancel := context.WithCancel(t.Context())
		w := open(ctx, nil, b.h, watchPath, nil)
		if got := w.take(); got != "retry: 2000\nid: 1\n\n" || w.code != 200 || w.header.Get("Cache-Control") != "no-store" {
			t.Errorf("beginning: %d %v %q", w.code, w.header, got)
		}
		id := b.submit(t, redisID).ID
		synctest.Wait()
		if got := w.take(); got != "" {
			t.Errorf("events are not gathered: %q", got)
		}
		time.Sleep(100 * time.Millisecond)
		got := w.take()
		if !strings.HasPrefix(got, "id: 2\nevent: submitted\ndata: {\"seq\":2,") || !strings.Contains(got, `"task":"`+id+`"`) ||
			!strings.HasSuffix(got, `"now":{"status":"pending"}}`+"\n\n") || strings.Count(got, "\n") != 4 {
			t.Errorf("submitted: %q", got)
		}
		g := b.claim(t)
		if other := b.claim(t); g.Task.ID != id { // of the same moment
			g = other
		}
		extend := func(percent int) {
			t.Helper()
			if _, err := b.runs.Extend(t.Context(), operator, projectID, g.Token, tasks.Beat{Progress: &errand.Progress{Percent: percent, Remaining: 3 * time.Second}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		if got := w.take(); strings.Count(got, "event: claimed\n") != 2 || strings.Contains(got, "progress") {
			t.Errorf("claimed: %q", got)
		}
		for percent := range 40 {
			extend(percent)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		got = w.take()
		if n := strings.Count(got, "event: progress\n"); n < 4 || n > 6 || strings.Contains(got, "id: ") {
			t.Errorf("%d times progress in 5 s, with or without an id: %q", n, got)
		}
		want := `event: progress` + "\n" + `data: {"project":"` + projectID + `","instance":"` + redisID + `","task":"` + id + `","now":{"status":"running","percent":39,"remaining_seconds":3}}` + "\n\n"
		if !strings.HasSuffix(got, want) {
			t.Errorf("progress: %q, want it to end in %q", got, want)
		}
		time.Sleep(15 * time.Second)
		if got := w.take(); !strings.HasPrefix(got, ": still here\nid: 4\n\n") || strings.Contains(got, "data") {
			t.Errorf("nothing happens: %q", got)
		}
		cancel()
		synctest.Wait()
		if !w.done() {
			t.Error("the client has gone and the call goes on")
		}
	})
}

func TestWatchResumes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const n = 250 // more than are read at a time
		for range n / 2 {
			b.submit(t, redisID)
			b.submit(t, kafkaID)
		}
		one := b.submit(t, kafkaID)
		for _, tt := range []struct {
			query  string
			last   string
			events int
		}{
			{"", "", 0}, {"?after=0", "", n + 1}, {"?after=240", "", 11}, {"?after=0", "249", 2}, {"", "0", n + 1}, {"", "251", 0},
			{"?after=0&instance=" + redisID, "", n / 2}, {"?after=0&task=" + one.ID, "", 1},
		} {
			headers := map[string]string{}
			if tt.last != "" {
				headers["Last-Event-ID"] = tt.last
			}
			w := open(ctx, nil, b.h, watchPath+tt.query, headers)
			if got := strings.Count(w.take(), "event: submitted\n"); got != tt.events {
				t.Errorf("%s after %q: %d events, want %d", tt.query, tt.last, got, tt.events)
			}
		}
		for query, want := range map[string]int{"?instance=" + strings.Replace(redisID, "1", "9", 1): 404, "?task=" + requestID: 404, "?after=-1": 400, "?after=252": 400, "?task=x": 400, "?colour=red": 400} {
			if w := open(ctx, nil, b.h, watchPath+query, nil); w.code != want || !w.done() {
				t.Errorf("%s: %d, want %d", query, w.code, want)
			}
		}
	})
}

// TestWatchEnds checks each way in which a watch ends, and that no place stays
// taken.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		stopping, stop := context.WithCancel(t.Context())
		w := open(t.Context(), stopping, b.h, watchPath, nil)
		stop()
		synctest.Wait()
		if !w.done() {
			t.Error("the server stops and the watch goes on")
		}
		w = open(t.Context(), nil, b.h, watchPath, nil)
		time.Sleep(15*time.Minute - time.Second)
		if w.done() {
			t.Error("the watch ended early")
		}
		time.Sleep(2 * time.Second)
		if !w.done() {
			t.Error("the watch has no end")
		}
		w = open(t.Context(), nil, b.h, watchPath, nil)
		begun := w.deadlines[len(w.deadlines)-1]
		if left := time.Until(begun); left <= 0 || left > 20*time.Second {
			t.Errorf("a write may take %s", left)
		}
		w.mu.Lock()
		w.broken = true
		w.mu.Unlock()
		b.submit(t, redisID)
		time.Sleep(time.Second)
		if !w.done() {
			t.Error("a client that does not read is not dropped")
		}
		r := httptest.NewRequest(http.MethodHead, watchPath, nil)
		r.Header.Set("X-Auth-Token", "viewer")
		head := httptest.NewRecorder()
		if b.h.ServeHTTP(head, wire.Begin(head, r, &wire.Exchange{ID: requestID})); head.Code != 200 || head.Body.Len() > 0 {
			t.Errorf("HEAD: %d %q", head.Code, head.Body)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all []*stream
		for range 2048 {
			all = append(all, begin(ctx, nil, b.h, watchPath, nil))
		}
		synctest.Wait()
		if last := open(ctx, nil, b.h, watchPath, nil); last.code != 503 || all[2047].code != 200 {
			t.Errorf("one watcher too many: %d after %d", last.code, all[2047].code)
		}
		cancel()
		synctest.Wait()
		if again := open(t.Context(), stopping, b.h, watchPath, nil); again.code != 200 || !again.done() {
			t.Errorf("once there is room, on a server that stops: %d", again.code)
		}
	})
}

// TestClaimWaits checks what ends a claim that waits.
func TestClaimWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		claim := func(ctx, stopping context.Context, wait string) *stream {
			s := &stream{header: http.Header{}, ended: make(chan struct{})}
			body := strings.NewReader(`{"worker":"w","operations":["EXTEND"],"wait_seconds":` + wait + `}`)
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/projects/"+projectID+"/claims", body)
			r.Header.Set("X-Auth-Token", "worker")
			r.Header.Set("Content-Type", "application/json")
			go func() {
				defer close(s.ended)
				b.h.ServeHTTP(s, wire.Begin(s, r, &wire.Exchange{ID: requestID, Stopping: stopping}))
			}()
			synctest.Wait()
			return s
		}
		const none = `{"grants":[]}`
		if s := claim(t.Context(), nil, "0"); !s.done() || s.text.String() != none {
			t.Errorf("a claim that does not wait: %v %s", s.done(), s.text.String())
		}
		s := claim(t.Context(), nil, "0.5")
		time.Sleep(499 * time.Millisecond)
		if s.done() {
			t.Error("the claim ended early")
		}
		time.Sleep(2 * time.Millisecond)
		if !s.done() || s.code != 200 || s.text.String() != none {
			t.Errorf("nothing came: %d %s", s.code, s.text.String())
		}
		s = claim(t.Context(), nil, "60")
		if left := time.Until(s.deadlines[0]); left < 61*time.Second {
			t.Errorf("a claim that waits for 60 s has %s to be answered", left)
		}
		id := b.submit(t, redisID).ID
		synctest.Wait()
		if !s.done() || !strings.Contains(s.text.String(), id) {
			t.Errorf("work came: %d %s", s.code, s.text.String())
		}
		stopping, stop := context.WithCancel(t.Context())
		stopped := claim(t.Context(), stopping, "60")
		ctx, leave := context.WithCancel(t.Context())
		left := claim(ctx, nil, "60")
		stop()
		leave()
		synctest.Wait()
		for name, s := range map[string]*stream{"server stops": stopped, "worker has gone": left} {
			if !s.done() || s.code != 200 || s.text.String() != none {
				t.Errorf("%s: ended %v, %d %s", name, s.done(), s.code, s.text.String())
			}
		}
	})
}
