package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// The times and bounds of those who watch a page.
const (
	maxWatching = 5000
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
	if c.watching.Add(1) > maxWatching {
		c.watching.Add(-1)
		return reply{}, errand.Errorf(errand.Unavailable, "watchers", "%d pages are watched already; reload this one by hand", maxWatching)
	}
	return reply{write: func(w http.ResponseWriter) {
		defer c.watching.Add(-1)
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no")
		c.follow(w, v, first, mark)
	}}, nil
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
	signedIn := func() bool {
		_, err := c.Directory.Session(ctx, tokenOf(v.Request)) // which is remembered
		return err == nil
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
			if !signedIn() || !send("event: change\ndata: \n\n") {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			if !signedIn() || !send(": still here\n\n") {
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
