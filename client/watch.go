package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// Change is something that happened to a task.
type Change struct {
	Event *errand.Event // nil: only its progress has changed

	Instance string
	Task     string

	// Status and Progress (without steps; nil: none) are those of the task as
	// it is now, which may be further on than Event. Status "" is a record that
	// is gone.
	Status   errand.Status
	Progress *errand.Progress
}

// WatchOptions narrow a watch and say where it begins: with what is new, or
// after the event with number After, or with the first that there is.
type WatchOptions struct {
	Instance string // only tasks of this one, or ""
	Task     string // only this one, or ""
	After    int64  // 0: only what is new
	All      bool   // from the first event that there is

	// Broken, if it is set, is told when the connection was cut off or could not
	// be made, each time with the error, and with nil when there is one again.
	Broken func(error)
}

// silence is how long a watch may hear nothing: the server says something every
// 15 seconds.
const silence = 45 * time.Second

// maxWatchLine bounds one line of the stream.
const maxWatchLine = 1 << 20

// Watch returns what happens in a project, as it happens, until ctx is done or
// the loop ends. A connection that is cut off is made again and resumes where it
// was, so that no event is missed or comes twice; changes of progress alone are
// not made up for. An error is the last thing that it yields: the server's
// refusal, such as NotFound about "instance", or that of ctx.
func (c *Client) Watch(ctx context.Context, project string, o WatchOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w := watch{client: c, project: project, options: o, yield: yield}
		if o.After > 0 || o.All {
			w.last = strconv.FormatInt(o.After, 10)
		}
		for try := 0; ; try++ {
			heard, err := w.connect(ctx)
			switch {
			case w.ended:
				return
			case ctx.Err() != nil:
				yield(Change{}, ctx.Err())
				return
			case err != nil && errand.ErrorOf(err).Kind != errand.Unavailable:
				yield(Change{}, err)
				return
			case heard:
				try = 0
			}
			w.tellBroken(err)
			if err := c.wait(ctx, backoff(min(try, 5))); err != nil {
				yield(Change{}, err)
				return
			}
		}
	}
}

type watch struct {
	client  *Client
	project string
	options WatchOptions
	yield   func(Change, error) bool
	last    string // id of the last event, "" before it is known
	ended   bool   // the loop over the changes is left
	broken  bool   // the caller was told so
}

// tellBroken tells the caller that there is no connection. The server ends one
// without an error when it stops.
func (w *watch) tellBroken(err error) {
	if w.options.Broken == nil {
		return
	}
	if err == nil {
		err = errand.Errorf(errand.Unavailable, "server", "the server has ended the connection")
	}
	w.broken = true
	w.options.Broken(err)
}

// connect reads one connection to its end. heard says that the server answered.
func (w *watch) connect(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := url.Values{}
	set(q, "instance", w.options.Instance)
	set(q, "task", w.options.Task)
	header := map[string]string{"Accept": "text/event-stream"}
	if w.last != "" {
		header["Last-Event-ID"] = w.last
	}
	silent := time.AfterFunc(silence, cancel)
	defer silent.Stop()
	resp, err := w.client.send(ctx, call{method: http.MethodGet, path: []string{"projects", w.project, "watch"}, query: q, header: header})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if w.broken {
		w.broken = false
		w.options.Broken(nil)
	}
	if err := w.read(resp.Body, func() { silent.Reset(silence) }); err != nil {
		return true, answerError(resp, errand.ErrorOf(err))
	}
	return true, nil
}

// read reads server-sent events (the HTML standard, section 9.2).
func (w *watch) read(r io.Reader, heard func()) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxWatchLine)
	data, id := "", w.last
	for lines.Scan() {
		heard()
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "data":
			data += value
		case "":
			if lines.Text() != "" { // a comment
				continue
			}
			// Only now has all of the event come.
			w.last = id
			if data == "" {
				continue
			}
			if err := w.tell(data); err != nil || w.ended {
				return err
			}
			data = ""
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return errand.Errorf(errand.Internal, "answer", "the server sent an event of more than %d bytes", maxWatchLine)
	}
	return nil // cut off or ended: the same to us
}

func (w *watch) tell(data string) error {
	var b struct {
		nativejson.Event
		Now *struct {
			Status    errand.Status `json:"status"`
			Percent   *int          `json:"percent"`
			Remaining int64         `json:"remaining_seconds"`
		} `json:"now"`
	}
	if err := json.Unmarshal([]byte(data), &b); err != nil {
		return errand.Errorf(errand.Internal, "answer", "the server sent an event that is broken").WithCause(err)
	}
	c := Change{Instance: b.Instance, Task: b.Task}
	if b.Seq > 0 {
		e := b.Event.Event()
		c.Event = &e
	}
	if b.Now != nil {
		c.Status = b.Now.Status
		if b.Now.Percent != nil {
			c.Progress = &errand.Progress{Percent: *b.Now.Percent, Remaining: time.Duration(b.Now.Remaining) * time.Second}
		}
	}
	w.ended = !w.yield(c, nil)
	return nil
}
