package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// request is what the server keeps about one request while it is answered. It
// is the ResponseWriter that handlers see.
type request struct {
	http.ResponseWriter
	exchange wire.Exchange
	begun    time.Time
	status   int // 0 until the header is written
	bytes    int64
}

// Bound returns the handler of a listener that is bound to a dialect, or to
// none. Every request goes through it.
func (s *Server) Bound(dialect string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := s.Now()
		q := &request{ResponseWriter: w, begun: now}
		// An id that a client sends is not taken over: it could be anything, and
		// the same for two requests.
		q.exchange.ID, q.exchange.Listener, q.exchange.Stopping = errand.NewID(now), dialect, s.told
		r = wire.Begin(q, r, &q.exchange)
		s.metrics.inFlight.Inc()
		defer s.done(q, r)
		s.serve(q, r)
	})
}

func (s *Server) serve(q *request, r *http.Request) {
	maxBody := s.MaxBody(r)
	if err := oversize(r, maxBody); err != nil {
		// What was not read would be taken for the next request.
		q.Header().Set("Connection", "close")
		s.Fail(q, r, err)
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &body{http.MaxBytesReader(q.ResponseWriter, r.Body, maxBody), maxBody}
	}
	if op := s.ops[r.URL.Path]; op != nil {
		q.exchange.Dialect, q.exchange.Route = "server", "GET "+r.URL.Path
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			q.Header().Set("Allow", "GET, HEAD")
			s.Fail(q, r, errand.Errorf(errand.Invalid, "method", "method %.32s is not allowed here; allowed: GET, HEAD", r.Method))
			return
		}
		op(q, r)
		return
	}
	if s.metrics.inFlightNow() > s.MaxInFlight {
		s.Fail(q, r, errand.Errorf(errand.Unavailable, "load", "the server has too many requests in hand; try again later"))
		return
	}
	s.Handler.ServeHTTP(q, r)
}

// oversize reports what of r is larger than any client has reason to send.
func oversize(r *http.Request, maxBody int64) error {
	if len(r.RequestURI) > MaxURI {
		return errand.Errorf(errand.Invalid, "uri_size", "the request's address is longer than %d bytes", MaxURI)
	}
	n := len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	if n > MaxHeader {
		return errand.Errorf(errand.Invalid, "header_size", "the request's headers are longer than %d bytes", MaxHeader)
	}
	if r.ContentLength > maxBody {
		return bodyTooLarge(maxBody)
	}
	return nil
}

func bodyTooLarge(limit int64) *errand.Error {
	return errand.Errorf(errand.Invalid, "body_size", "the request's body is larger than %d bytes", limit)
}

// body says in our own words that it is too large.
type body struct {
	io.ReadCloser
	max int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = bodyTooLarge(b.max)
	}
	return n, err
}

// done ends a request: it recovers from a panic of the handler, counts and logs.
func (s *Server) done(q *request, r *http.Request) {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		err := fmt.Errorf("panic: %v", p)
		s.Log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("request", q.exchange.ID), slog.Any("error", err), slog.String("stack", string(debug.Stack())))
		if q.status == 0 {
			s.Fail(q, r, err)
			p = nil
		}
	}
	took := s.Now().Sub(q.begun)
	s.metrics.inFlight.Dec()
	s.metrics.observe(q, r.Method, took)
	s.log(r, q, took)
	if p != nil {
		panic(http.ErrAbortHandler) // the answer is cut short: the client must notice
	}
}

// log writes the one line that each request gets. It holds nothing that a
// client could use to sign in: no header, no query, no body.
func (s *Server) log(r *http.Request, q *request, took time.Duration) {
	x, level := &q.exchange, slog.LevelInfo
	switch {
	case q.status >= 500:
		level = slog.LevelError
	case x.Dialect == "server":
		level = slog.LevelDebug // probes come every few seconds
	}
	if !s.Log.Enabled(r.Context(), level) {
		return
	}
	status := q.status
	if status == 0 {
		status = http.StatusOK
	}
	remote, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		remote = r.RemoteAddr
	}
	attrs := make([]slog.Attr, 0, 13)
	attrs = append(attrs,
		slog.String("request", x.ID),
		slog.String("method", methodLabel(r.Method)),
		slog.String("route", routeLabel(x.Route)),
		slog.Int("status", status),
		slog.Int64("bytes", q.bytes),
		slog.Duration("took", took),
		slog.String("dialect", x.Dialect),
		slog.String("remote", remote),
	)
	if x.Principal.Project != "" {
		attrs = append(attrs, slog.String("project", x.Principal.Project))
	}
	if x.Principal.User.Name != "" {
		attrs = append(attrs, slog.String("user", x.Principal.User.Name))
	}
	if x.Err != nil {
		e := errand.ErrorOf(x.Err)
		attrs = append(attrs, slog.String("error", x.Err.Error()), slog.String("subject", e.Subject))
	}
	s.Log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
}

// routeLabel takes the method from a route's pattern. What no route matched has
// the one label "none", whatever its path was.
func routeLabel(pattern string) string {
	if pattern == "" {
		return "none"
	}
	if _, path, ok := strings.Cut(pattern, " "); ok {
		return path
	}
	return pattern
}

// methodLabel bounds what a client can put in logs and metrics.
func methodLabel(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// WriteHeader notes the status.
func (q *request) WriteHeader(status int) {
	if q.status == 0 && status >= 200 {
		q.status = status
	}
	q.ResponseWriter.WriteHeader(status)
}

// writeProgress is how much of an answer must fit in writeTimeout. A longer one,
// such as a backup, may take its time as long as it moves.
const writeProgress = 1 << 20

// Write counts what is written.
func (q *request) Write(p []byte) (int, error) {
	if q.status == 0 {
		q.status = http.StatusOK
	}
	if q.bytes > writeProgress {
		_ = http.NewResponseController(q.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	n, err := q.ResponseWriter.Write(p)
	q.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (q *request) Unwrap() http.ResponseWriter { return q.ResponseWriter }
