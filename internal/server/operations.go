package server

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/errandhq/errand"
)

// operations returns the endpoints for those who run the server. They need no
// credentials and show nothing of what is kept.
func (s *Server) operations() map[string]http.HandlerFunc {
	ops := map[string]http.HandlerFunc{
		"/healthz": func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") },
		"/readyz":  s.ready,
		"/metrics": promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP,
	}
	if s.OpenAPI != nil {
		ops["/openapi.yaml"] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/yaml")
			_, _ = w.Write(s.OpenAPI)
		}
	}
	return ops
}

// ready says whether the server can answer now. Each call looks anew, so that a
// store that comes back makes the server ready by itself.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Load() {
		plain(w, http.StatusServiceUnavailable, "stopping")
		return
	}
	if s.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := s.Ready(ctx); err != nil {
			s.Log.Warn("not ready", "error", err)
			reason := errand.ErrorOf(err).Msg
			if ctx.Err() != nil {
				reason = fmt.Sprintf("the store did not answer within %s", readyTimeout)
			}
			plain(w, http.StatusServiceUnavailable, "not ready: "+reason)
			return
		}
	}
	plain(w, http.StatusOK, "ready")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
