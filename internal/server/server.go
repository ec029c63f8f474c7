// Package server answers HTTP: listeners, TLS, what every request goes through
// (id, limits, recovery, access log, metrics), the endpoints for operations and
// a graceful stop. What is answered is up to the handler that it is given.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of one request and one connection.
const (
	MaxURI    = 8 << 10  // bytes of the request's target
	MaxHeader = 32 << 10 // bytes of all header names and values
	MaxBody   = 12 << 20 // bytes, where Options.MaxBody says nothing else; what the provider's gateway takes

	// MaxInFlight is how many requests are answered at a time, where
	// Options.MaxInFlight says nothing else. One more is told to come back later.
	MaxInFlight = 4096

	// maxRead is where net/http itself gives up on a header: well above
	// MaxHeader, so that the answer is ours and in the client's dialect.
	maxRead = 512 << 10

	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 60 * time.Second // of the first writeProgress bytes, then between two writes
	idleTimeout       = 120 * time.Second
	readyTimeout      = 2 * time.Second
)

// Options are what a Server needs. Handler, Fail and Log must be set.
type Options struct {
	Handler http.Handler // answers what is not an endpoint for operations

	// Fail answers r with err in the words of the dialect that r is meant for.
	Fail func(w http.ResponseWriter, r *http.Request, err error)

	// MaxBody returns the longest body that r may have. Nil stands for the
	// constant of the same name for all.
	MaxBody func(r *http.Request) int64

	MaxInFlight int64 // 0: the constant of the same name

	Ready   func(context.Context) error // nil: always ready
	OpenAPI []byte                      // served at /openapi.yaml, or nil
	Certs   *Certs                      // nil: plain HTTP
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
	Version string

	// StopTimeout is how long Run waits for requests in flight once it is told
	// to stop. Zero: not at all.
	StopTimeout time.Duration
}

// Listener is an address to answer on.
type Listener struct {
	Addr    string // host:port; port 0 for a free one
	Dialect string // "" unless bound to one
}

// Server answers HTTP on any number of listeners. Create it with New, bind it
// with Listen, then call Run once.
type Server struct {
	Options
	metrics  *metrics
	ops      map[string]http.HandlerFunc
	stopping atomic.Bool
	bound    []*binding

	// told is done once Run is told to stop: calls that wait end then.
	told context.Context
	tell context.CancelFunc
}

type binding struct {
	listener net.Listener
	dialect  string
	http     *http.Server
}

// New returns a server that listens nowhere yet.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = MaxInFlight
	}
	if o.MaxBody == nil {
		o.MaxBody = func(*http.Request) int64 { return MaxBody }
	}
	s := &Server{Options: o, metrics: newMetrics(o.Version)}
	s.ops = s.operations()
	s.told, s.tell = context.WithCancel(context.Background())
	return s
}

// Registry returns where the server's metrics live, for others to add theirs.
func (s *Server) Registry() *prometheus.Registry { return s.metrics.registry }

// Listen binds the addresses and returns the base address of each, such as
// http://127.0.0.1:43117, in order. Nothing is answered before Run. If one
// cannot be bound, none stays.
func (s *Server) Listen(ctx context.Context, listeners ...Listener) ([]string, error) {
	scheme := "http"
	if s.Certs != nil {
		scheme = "https"
	}
	var urls []string
	for _, l := range listeners {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", l.Addr)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("cannot listen on %s: %w", l.Addr, err)
		}
		s.bound = append(s.bound, &binding{listener: ln, dialect: l.Dialect, http: s.httpServer(l.Dialect)})
		urls = append(urls, scheme+"://"+reachable(ln.Addr().String()))
	}
	return urls, nil
}

// reachable makes an address that can be dialled of one that was listened on.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		if ip.To4() == nil {
			return net.JoinHostPort("::1", port)
		}
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// Close gives the bound addresses up again, for a server that never runs.
func (s *Server) Close() {
	for _, b := range s.bound {
		_ = b.listener.Close()
	}
	s.bound = nil
}

func (s *Server) httpServer(dialect string) *http.Server {
	h := &http.Server{
		Handler:           s.Bound(dialect),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxRead,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),

		// Its answer to OPTIONS * would have no request id and no line in the log.
		DisableGeneralOptionsHandler: true,
	}
	if s.Certs != nil {
		h.TLSConfig = s.Certs.config()
	}
	return h
}

// Run answers requests until ctx is done, then stops: it reports itself as not
// ready, takes no new connections and finishes the requests in flight. It
// returns nil after a clean stop, and waits for every goroutine it started.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, len(s.bound))
	var serving sync.WaitGroup
	for _, b := range s.bound {
		serving.Go(func() { failed <- b.serve() })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, s.stop())
	serving.Wait()
	return err
}

func (b *binding) serve() error {
	var err error
	if b.http.TLSConfig != nil {
		err = b.http.ServeTLS(b.listener, "", "")
	} else {
		err = b.http.Serve(&plainListener{b.listener})
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("listener %s: %w", b.listener.Addr(), err)
}

// stop ends all listeners at once and waits for what they still have in hand.
func (s *Server) stop() error {
	s.stopping.Store(true)
	s.tell()
	s.Log.Info("stopping", "requests_in_flight", s.metrics.inFlightNow())
	ctx, cancel := context.WithTimeout(context.Background(), s.StopTimeout)
	defer cancel()
	errs := make([]error, len(s.bound))
	var wg sync.WaitGroup
	for i, b := range s.bound {
		wg.Go(func() {
			errs[i] = b.http.Shutdown(ctx)
			if errs[i] != nil {
				_ = b.http.Close()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("requests that were still running after %s were cut off: %w", s.StopTimeout, errs[0])
	}
	return nil
}
