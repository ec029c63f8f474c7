package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/signature"
)

// DefaultMaxBody is the longest body that the provider's gateway lets a signed
// request have.
const DefaultMaxBody = 12 << 20

// DefaultMaxHeld is how many bytes of long bodies are held at a time. A body must
// be read before its signature can be checked, and all that this takes of a
// sender is an access key, which is no secret.
const DefaultMaxHeld = 128 << 20

// freeBody is how much of each body does not count as held, so that nobody can
// crowd out ordinary calls with long bodies.
const freeBody = 64 << 10

// body reads the body of r as far as its signature covers it, and puts it back.
// It counts as held until the context of r is done.
func (a *Authenticator) body(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody || signature.Unsigned(r.Header) {
		return nil, nil
	}
	if r.ContentLength > a.MaxBody {
		return nil, a.tooLong(nil)
	}
	in := &held{Reader: r.Body, total: &a.held, most: a.MaxHeld}
	body, err := io.ReadAll(io.LimitReader(in, a.MaxBody+1))
	if in.counted > 0 {
		context.AfterFunc(r.Context(), in.release)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || int64(len(body)) > a.MaxBody {
		return nil, a.tooLong(err)
	}
	if errors.Is(err, errHeld) {
		return nil, errand.Errorf(errand.Unavailable, "load", "the server has too many long request bodies in hand; try again later")
	}
	if err != nil {
		return nil, errand.Errorf(errand.Invalid, "request", "the request body could not be read").WithCause(err)
	}
	r.Body = &readBody{Reader: bytes.NewReader(body), Closer: r.Body}
	return body, nil
}

func (a *Authenticator) tooLong(cause error) error {
	return errand.Errorf(errand.Invalid, "body_size", "the request body is longer than %d bytes", a.MaxBody).WithCause(cause)
}

// readBody is a body that was read, for whoever reads it again.
type readBody struct {
	*bytes.Reader
	io.Closer
}

var errHeld = errors.New("auth: too many bytes of bodies are held")

// held counts what is read of one body, beyond its first freeBody bytes, into
// the total of all. It counts what has arrived, not what is announced: to
// announce costs nothing.
type held struct {
	io.Reader
	total   *atomic.Int64
	most    int64
	read    int64
	counted int64
}

func (h *held) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.read += int64(n)
	if more := h.read - freeBody - h.counted; more > 0 {
		h.counted += more
		if h.total.Add(more) > h.most {
			return n, errHeld
		}
	}
	return n, err
}

func (h *held) release() { h.total.Add(-h.counted) }
