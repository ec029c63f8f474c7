// Package wire holds what every wire format has in common: the [Dialect], the
// seam [Handle] that turns a service call into a route, the [Router] that picks
// the dialect of a request, and the rendering of errors. What a product says on
// the wire is in the packages below this one.
package wire

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// Authenticator finds out who signed a request. It may read the body, which it
// then puts back. Errors are *errand.Error.
type Authenticator interface {
	Authenticate(r *http.Request) (errand.Principal, error)
}

// Dialect is one product's spelling of the API: its routes and its words.
// What a product lacks is a route that is not registered on its value.
type Dialect struct {
	Name     string
	Failures Failures

	// AppendError appends the body of an error answer. e is for what the row
	// does not hold; its cause must not be shown.
	AppendError func(b []byte, row Failure, e *errand.Error, requestID string) []byte

	// Auth authenticates requests that the router has not authenticated yet.
	Auth Authenticator

	mux    *http.ServeMux
	routes []string
}

// Routes returns the patterns of the dialect's routes, as in "GET /v3/projects",
// in the order in which they were added.
func (d *Dialect) Routes() []string { return slices.Clone(d.routes) }

// handle adds a route to the mux and to Routes.
func (d *Dialect) handle(pattern string, h http.HandlerFunc) {
	d.mux.HandleFunc(pattern, h)
	d.routes = append(d.routes, pattern)
}

// New returns a dialect without routes.
func New(name string, failures Failures, appendError func([]byte, Failure, *errand.Error, string) []byte, auth Authenticator) *Dialect {
	d := &Dialect{Name: name, Failures: failures, AppendError: appendError, Auth: auth, mux: http.NewServeMux()}
	d.mux.HandleFunc("/", d.noRoute)
	return d
}

// Handle adds a route that decodes a request, calls the service for its
// principal and encodes what it returns. Nothing else happens in a handler.
func Handle[In, Out any](d *Dialect, pattern string,
	decode func(*http.Request) (In, error),
	call func(context.Context, errand.Principal, In) (Out, error),
	encode func(*Reply, Out),
) {
	handle(d, pattern, 0, decode, call, encode)
}

// HandleWaiting is Handle for calls that wait for something to happen, for up to
// longest: the deadlines of the connection are put off by so much, and the
// context of the call is also done once the server is told to stop, so that
// nobody holds that up. A call should then succeed with what it has.
func HandleWaiting[In, Out any](d *Dialect, pattern string, longest time.Duration,
	decode func(*http.Request) (In, error),
	call func(context.Context, errand.Principal, In) (Out, error),
	encode func(*Reply, Out),
) {
	handle(d, pattern, longest, decode, call, encode)
}

func handle[In, Out any](d *Dialect, pattern string, longest time.Duration,
	decode func(*http.Request) (In, error),
	call func(context.Context, errand.Principal, In) (Out, error),
	encode func(*Reply, Out),
) {
	d.handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		x := ExchangeOf(r)
		x.Dialect, x.Route = d.Name, pattern
		if err := authenticate(d.Auth, r, x); err != nil {
			d.Fail(w, r, err)
			return
		}
		answer(d, w, r, longest, decode, func(ctx context.Context, in In) (Out, error) { return call(ctx, x.Principal, in) }, encode)
	})
}

// HandlePublic is Handle for the few routes that anybody may call.
func HandlePublic[In, Out any](d *Dialect, pattern string,
	decode func(*http.Request) (In, error),
	call func(context.Context, In) (Out, error),
	encode func(*Reply, Out),
) {
	d.handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		x := ExchangeOf(r)
		x.Dialect, x.Route = d.Name, pattern
		answer(d, w, r, 0, decode, call, encode)
	})
}

func answer[In, Out any](d *Dialect, w http.ResponseWriter, r *http.Request, longest time.Duration,
	decode func(*http.Request) (In, error), call func(context.Context, In) (Out, error), encode func(*Reply, Out),
) {
	in, err := decode(r)
	if err != nil {
		d.Fail(w, r, err)
		return
	}
	ctx := r.Context()
	if longest > 0 {
		var cancel context.CancelFunc
		ctx, cancel = mayWait(w, r, longest)
		defer cancel()
	}
	out, err := call(ctx, in)
	if err != nil {
		d.Fail(w, r, err)
		return
	}
	reply := newReply()
	encode(reply, out)
	reply.send(ctx, w, r.Method)
}

// answerTime is what an answer gets beyond the time that its call may wait.
const answerTime = 30 * time.Second

// mayWait lets the answer to r take its time, and returns a context that ends
// with the request or when the server is told to stop.
func mayWait(w http.ResponseWriter, r *http.Request, longest time.Duration) (context.Context, context.CancelFunc) {
	// The body has been read. A deadline for reading that passes while the
	// handler runs would end the request.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Now().Add(longest + answerTime))
	ctx, cancel := context.WithCancel(r.Context())
	if stopping := ExchangeOf(r).Stopping; stopping != nil {
		stop := context.AfterFunc(stopping, cancel)
		return ctx, func() { stop(); cancel() }
	}
	return ctx, cancel
}

// authenticate fills in the principal of x once.
func authenticate(auth Authenticator, r *http.Request, x *Exchange) error {
	if x.known {
		return nil
	}
	p, err := auth.Authenticate(r)
	if err != nil {
		return err
	}
	p.Request, p.Remote = x.ID, RemoteOf(r)
	x.Principal, x.known = p, true
	return nil
}

// RemoteOf returns the IP address that r came from, "" if it has none. Headers
// are not asked: anybody can write them.
func RemoteOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// ServeHTTP answers r if the dialect has a route for it. Paths are matched as
// they come: a server that redirects is taken for one that succeeded by some of
// the provider's clients.
func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !tidy(r.URL.Path) || r.URL.Path == "*" {
		d.Fail(w, r, noURL(r))
		return
	}
	d.mux.ServeHTTP(w, r)
}

// noRoute answers what no route matches: 405 if other methods have one.
func (d *Dialect) noRoute(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := d.mux.Handler(other); pattern != "/" {
			allow = append(allow, m)
		}
	}
	if allow == nil {
		d.Fail(w, r, noURL(r))
		return
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	d.Fail(w, r, errand.Errorf(errand.Invalid, "method", "method %.32s is not allowed here; allowed: %s", r.Method, strings.Join(allow, ", ")))
}

func noURL(r *http.Request) error {
	return errand.Errorf(errand.NotFound, "url", "there is no %.32s %.128s here", r.Method, r.URL.Path)
}

// tidy reports whether a path has no empty and no dot segments, which the mux
// would answer with a redirect.
func tidy(p string) bool {
	return strings.HasPrefix(p, "/") && !strings.Contains(p, "//") && !strings.Contains(p, "/./") && !strings.Contains(p, "/../") &&
		!strings.HasSuffix(p, "/.") && !strings.HasSuffix(p, "/..")
}
