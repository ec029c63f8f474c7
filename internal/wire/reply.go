package wire

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Reply is an answer in the making. The zero Type is JSON and the zero Status 200.
type Reply struct {
	Status int
	Type   string
	Body   []byte
	Header map[string]string // further headers, or nil

	// Stream, where set, is sent instead of Body; Size is its length. It is
	// closed whatever happens.
	Stream io.ReadCloser
	Size   int64

	// Live, where set, writes the body piece by piece, for as long as it likes
	// or until ctx is done. send passes a piece on at once, and fails if the
	// client does not take it within liveTimeout: nothing is kept for the slow.
	Live func(ctx context.Context, send func([]byte) error)
}

const liveTimeout = 15 * time.Second

// NoContent turns the reply into a bare 204.
func (r *Reply) NoContent() { r.Status = http.StatusNoContent }

var replies = sync.Pool{New: func() any { return &Reply{Body: make([]byte, 0, 4096)} }}

// maxPooled is the largest body buffer that is kept for the next reply.
const maxPooled = 64 << 10

func newReply() *Reply {
	r := replies.Get().(*Reply)
	*r = Reply{Body: r.Body[:0]}
	return r
}

var jsonType = []string{"application/json"}

// send writes the reply and gives its buffer back. A client that has gone away
// is no error of ours.
func (r *Reply) send(ctx context.Context, w http.ResponseWriter, method string) {
	h := w.Header()
	for k, v := range r.Header {
		h.Set(k, v)
	}
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	switch {
	case r.Stream != nil:
		defer r.Stream.Close()
		h.Set("Content-Type", r.Type)
		h.Set("Content-Length", strconv.FormatInt(r.Size, 10))
		w.WriteHeader(r.Status)
		_, _ = io.Copy(w, r.Stream)
	case r.Live != nil:
		h.Set("Content-Type", r.Type)
		w.WriteHeader(r.Status)
		r.live(ctx, w, method)
	case r.Status == http.StatusNoContent:
		w.WriteHeader(r.Status)
	case r.Type == "":
		sendJSON(w, r.Status, r.Body)
	default:
		h.Set("Content-Type", r.Type)
		sendBody(w, r.Status, r.Body)
	}
	if cap(r.Body) <= maxPooled {
		replies.Put(r)
	}
}

func sendJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header()["Content-Type"] = jsonType
	sendBody(w, status, body)
}

func sendBody(w http.ResponseWriter, status int, body []byte) {
	// Set by hand, because net/http chunks longer bodies.
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (r *Reply) live(ctx context.Context, w http.ResponseWriter, method string) {
	if method == http.MethodHead {
		r.Live(ctx, func([]byte) error { return http.ErrBodyNotAllowed })
		return
	}
	rc := http.NewResponseController(w)
	r.Live(ctx, func(piece []byte) error {
		_ = rc.SetWriteDeadline(time.Now().Add(liveTimeout)) // a recorder in a test has none
		if _, err := w.Write(piece); err != nil {
			return err
		}
		return rc.Flush()
	})
}
