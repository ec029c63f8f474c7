package native

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/errandhq/errand/internal/wire"
)

// write makes v the body of r. v is one of our own types, so that it cannot
// fail; if it does, the server's recovery answers.
func write(r *wire.Reply, v any) {
	b := bytes.NewBuffer(r.Body)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false) // details stay as they are
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	r.Body = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// created makes v the answer to a call that made it.
func created(r *wire.Reply, v any) {
	r.Status = http.StatusCreated
	write(r, v)
}

// each maps a list; the result is never nil, so that it is written as [].
func each[A, B any](list []A, of func(A) B) []B {
	out := make([]B, 0, len(list))
	for _, a := range list {
		out = append(out, of(a))
	}
	return out
}
