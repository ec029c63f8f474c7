package wire

import (
	"context"
	"net/http"

	"github.com/errandhq/errand"
)

// Exchange is what is learned about one request on its way through the server.
// The outermost handler makes it with Begin; the router and the dialects fill it
// in; the access log and the metrics read it once the answer is written.
type Exchange struct {
	ID       string // request id, sent as X-Request-Id
	Listener string // dialect that the listener is bound to, or ""

	// Stopping is done once the server is told to stop. Nil: never.
	Stopping context.Context

	Dialect   string // who answered
	Route     string // pattern of the route that matched, or ""
	Principal errand.Principal
	Err       error // what went wrong, with its private cause
	known     bool  // Principal has been authenticated
}

type exchangeKey struct{}

// Begin returns r with x attached, and sets X-Request-Id on the answer.
func Begin(w http.ResponseWriter, r *http.Request, x *Exchange) *http.Request {
	w.Header()["X-Request-Id"] = []string{x.ID}
	return r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
}

// ExchangeOf returns the exchange of r. A request that was not begun gets an
// empty one, so that handlers can be tested by themselves.
func ExchangeOf(r *http.Request) *Exchange {
	if x, ok := r.Context().Value(exchangeKey{}).(*Exchange); ok {
		return x
	}
	return &Exchange{}
}
