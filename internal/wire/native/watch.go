package native

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// The times and sizes of a watch.
const (
	// keepAlive is how long a watcher hears nothing at the most.
	keepAlive = 15 * time.Second
	// gather is how long events are gathered before they are looked for again.
	gather = 50 * time.Millisecond
	// progressEvery is the least time between two looks at tasks that run.
	progressEvery = time.Second
	// maxWatch ends a watch. Whoever comes back is asked for credentials, which
	// may have been revoked since.
	maxWatch = 15 * time.Minute

	watchBatch = 100
	// maxFollowed is of how many running tasks a watcher is told the progress.
	maxFollowed = 100
)

// watchRoute streams events as server-sent events (the HTML standard, section
// 9.2). The store is the only buffer: each watcher reads from where it is.
func (a *api) watchRoute(d *wire.Dialect) {
	wire.HandleWaiting(d, "GET /api/v1/projects/{project}/watch", maxWatch, decodeWatch, a.watch,
		func(r *wire.Reply, w *watcher) {
			r.Type = "text/event-stream"
			r.Header = map[string]string{"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
			r.Live = w.run
		})
}

type watchQuery struct {
	project, instance, task string
	after                   int64
	resume                  bool // after was given
}

func decodeWatch(r *http.Request) (watchQuery, error) {
	q, err := query(r, "after", "instance", "task")
	if err != nil {
		return watchQuery{}, err
	}
	w := watchQuery{
		project: r.PathValue("project"), instance: q.String("instance"), task: q.String("task"),
		after: int64(q.Int("after", 0, 0, 1<<62)), resume: q.Has("after"),
	}
	if err := q.Err(); err != nil {
		return w, err
	}
	// A browser that comes back sends the address that it began with, too.
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		w.resume = true
		if w.after, err = strconv.ParseInt(id, 10, 64); err != nil || w.after < 0 {
			return w, errand.Errorf(errand.Invalid, "last_event_id", "Last-Event-ID must be the id of an event of this stream, not %.32q", id)
		}
	}
	return w, nil
}

// watcher is one client's place in the events of a project.
type watcher struct {
	watchQuery
	runs  *tasks.Runs
	who   errand.Principal
	leave func()

	// followed holds tasks that were seen running, with the time of the last
	// change that the client was told of.
	followed map[string]time.Time
}

func (a *api) watch(ctx context.Context, p errand.Principal, q watchQuery) (*watcher, error) {
	ctx = context.WithoutCancel(ctx) // a server that stops answers, and ends the stream at once
	w := &watcher{watchQuery: q, runs: a.runs, who: p, leave: a.waiting.leave, followed: map[string]time.Time{}}
	last, err := a.runs.LastSeq(ctx, p, q.project)
	switch {
	case err != nil:
		return nil, err
	case !q.resume:
		w.after = last
	case q.after > last: // of a database that was set back: to wait for that event would hide those until then
		return nil, errand.Errorf(errand.Invalid, "last_event_id", "there is no event %d: the newest is %d; begin anew", q.after, last)
	}
	if _, err := a.runs.Feed(ctx, p, q.project, w.after, 1); err != nil { // whether it may be watched at all
		return nil, err
	}
	if q.instance != "" {
		if _, err := a.svc.Instance(ctx, p, q.project, q.instance); err != nil {
			return nil, err
		}
	}
	if q.task != "" {
		t, err := a.runs.Get(ctx, p, q.project, q.task)
		if err != nil {
			return nil, err
		}
		w.follow(t)
	}
	return w, a.waiting.enter()
}

// run sends what happens until ctx is done or the client does not take it.
func (w *watcher) run(ctx context.Context, send func([]byte) error) {
	defer w.leave()
	ctx, cancel := context.WithTimeout(ctx, maxWatch)
	defer cancel()
	// The id tells a client that is cut off before the first event where it was.
	if send([]byte("retry: 2000\nid: "+strconv.FormatInt(w.after, 10)+"\n\n")) != nil {
		return
	}
	idle := time.NewTicker(keepAlive)
	defer idle.Stop()
	stale, looked := true, time.Time{} // progress may have changed since it was looked at
	for {
		changed := w.runs.Changed() // before looking, so that nothing is missed
		more, err := w.events(ctx, send)
		if err != nil {
			return
		}
		if more {
			continue
		}
		var look <-chan time.Time
		if left := progressEvery - time.Since(looked); stale && left > 0 {
			look = time.After(left)
		} else if stale {
			if w.progress(ctx, send) != nil {
				return
			}
			stale, looked = false, time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			if send([]byte(": still here\nid: "+strconv.FormatInt(w.after, 10)+"\n\n")) != nil {
				return
			}
		case <-look:
		case <-changed:
			stale = true
			if sleep(ctx, gather) != nil {
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// nowBody is how a task is at the moment, which may be further on than the event
// that it comes with.
type nowBody struct {
	Status           errand.Status `json:"status"`
	Percent          *int          `json:"percent,omitempty"`
	RemainingSeconds int64         `json:"remaining_seconds,omitempty"`
}

func nowOf(t *errand.Task) *nowBody {
	b := &nowBody{Status: t.Status}
	if p := t.Progress; p != nil {
		b.Percent, b.RemainingSeconds = &p.Percent, int64(p.Remaining/time.Second)
	}
	return b
}

// events sends the next batch of events and reports whether there may be more.
func (w *watcher) events(ctx context.Context, send func([]byte) error) (bool, error) {
	list, err := w.runs.Feed(ctx, w.who, w.project, w.after, watchBatch)
	if err != nil {
		return false, err
	}
	var out bytes.Buffer
	seen := map[string]*nowBody{}
	for _, e := range list {
		w.after = e.Seq
		if w.instance != "" && e.Instance != w.instance || w.task != "" && e.Task != w.task {
			continue
		}
		now, ok := seen[e.Task]
		if !ok {
			if now, err = w.now(ctx, e.Task); err != nil {
				return false, err
			}
			seen[e.Task] = now
		}
		out.WriteString("id: " + strconv.FormatInt(e.Seq, 10) + "\n")
		appendData(&out, string(e.Act), struct {
			nativejson.Event
			Now *nowBody `json:"now,omitempty"`
		}{nativejson.EventOf(e), now})
	}
	if out.Len() > 0 {
		err = send(out.Bytes())
	}
	return len(list) == watchBatch, err
}

// now looks at a task. One that is gone is nil.
func (w *watcher) now(ctx context.Context, id string) (*nowBody, error) {
	t, err := w.runs.Get(ctx, w.who, w.project, id)
	if e := errand.ErrorOf(err); e != nil {
		delete(w.followed, id)
		if e.Kind == errand.NotFound {
			return nil, nil
		}
		return nil, err
	}
	w.follow(t)
	return nowOf(t), nil
}

// follow keeps t in mind while it runs.
func (w *watcher) follow(t *errand.Task) {
	_, known := w.followed[t.ID]
	switch {
	case t.Status != errand.Running:
		delete(w.followed, t.ID)
	case known || len(w.followed) < maxFollowed:
		w.followed[t.ID] = t.UpdatedAt
	}
}

// progress tells of what has changed in tasks that run, which is no event. It
// has no id: whoever resumes gets the newest.
func (w *watcher) progress(ctx context.Context, send func([]byte) error) error {
	var out bytes.Buffer
	for id, told := range w.followed {
		t, err := w.runs.Get(ctx, w.who, w.project, id)
		if e := errand.ErrorOf(err); e != nil && e.Kind != errand.NotFound {
			return err
		}
		if err != nil || t.Status != errand.Running {
			delete(w.followed, id) // its event is next
			continue
		}
		if t.UpdatedAt.Equal(told) {
			continue
		}
		w.followed[id] = t.UpdatedAt
		appendData(&out, "progress", struct {
			Project  string   `json:"project"`
			Instance string   `json:"instance"`
			Task     string   `json:"task"`
			Now      *nowBody `json:"now"`
		}{t.Project, t.Instance, t.ID, nowOf(t)})
	}
	if out.Len() == 0 {
		return nil
	}
	return send(out.Bytes())
}

// appendData ends a server-sent event. JSON is on one line.
func appendData(out *bytes.Buffer, name string, v any) {
	out.WriteString("event: " + name + "\ndata: ")
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // our own types
	}
	out.WriteByte('\n')
}
