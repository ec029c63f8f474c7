package console

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// The times and bounds of those who watch a page.
const (
	maxWatching = 5000 // pages of all users
	maxPages    = 50   // of one user
	keepAlive   = 15 * time.Second
	gather      = time.Second      // between two words that something has changed
	maxWatch    = 15 * time.Minute // who comes back is asked for its session, which may have ended
	sendTimeout = 30 * time.Second
)

// live tells a page that something has changed of what it shows, and nothing
// else: the page then asks for itself once more, as whoever is signed in by then.
func (c *Console) live(v *visit) (reply, error) {
	q := v.URL.Query()
	instance, task := q.Get("instance"), q.Get("task")
	mark := func() (any, error) { return c.Runs.Mark(v.Context(), v.who, v.project(), instance, task) }
	first, err := mark()
	if err != nil {
		return reply{}, err
	}
	if v.Method != http.MethodGet {
		return reply{}, errand.Errorf(errand.Invalid, "method", "a stream is asked for with GET")
	}
	leave, err := c.watching.enter(v.who.User.ID)
	if err != nil {
		return reply{}, err
	}
	return reply{write: func(w http.ResponseWriter) {
		defer leave()
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no")
		c.follow(w, v, first, mark)
	}}, nil
}

// watching counts the pages that are watched.
type watching struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by the user's id
}

// enter takes a place for a page of a user.
func (w *watching) enter(user string) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWatching || w.of[user] >= maxPages {
		return nil, errand.Errorf(errand.Unavailable, "watchers", "too many pages are watched already; reload this one by hand")
	}
	if w.of == nil {
		w.of = map[string]int{}
	}
	w.all++
	w.of[user]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if w.of[user]--; w.of[user] == 0 {
			delete(w.of, user)
		}
	}, nil
}

// follow sends a word whenever the mark has changed.
func (c *Console) follow(w http.ResponseWriter, v *visit, last any, mark func() (any, error)) {
	ctx, cancel := context.WithTimeout(v.Context(), maxWatch)
	defer cancel()
	if stopping := wire.ExchangeOf(v.Request).Stopping; stopping != nil {
		defer context.AfterFunc(stopping, cancel)()
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	send := func(text string) bool {
		_ = rc.SetWriteDeadline(time.Now().Add(sendTimeout))
		_, err := fmt.Fprint(w, text)
		return err == nil && rc.Flush() == nil
	}
	if !send("retry: 2000\nevent: hello\ndata: \n\n") {
		return
	}
	// say sends an event, or a sign of life, to who is still signed in; to who is
	// not, that it is over.
	say := func(event string) bool {
		if _, err := c.Directory.Session(ctx, tokenOf(v.Request)); err != nil { // which is remembered
			send("event: ended\ndata: \n\n")
			return false
		}
		if event == "" {
			return send(": still here\n\n")
		}
		return send("event: " + event + "\ndata: \n\n")
	}
	idle := time.NewTicker(keepAlive)
	defer idle.Stop()
	for {
		changed := c.Runs.Changed() // before looking, so that nothing is missed
		now, err := mark()
		if err != nil {
			return
		}
		if now != last {
			last = now
			if !say("change") {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			if !say("") {
				return
			}
		case <-changed:
			pause := time.NewTimer(gather)
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
		}
	}
}
