package server

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// BenchmarkMiddleware is what every request pays before and after its answer:
// the difference between its first line and the others.
func BenchmarkMiddleware(b *testing.B) {
	answer := make([]byte, 2900)
	constant := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(answer)
	})
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	server := func(w io.Writer, level slog.Level) http.Handler {
		log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
		return New(Options{Handler: constant, Log: log}).Bound("")
	}
	for _, bb := range []struct {
		name string
		h    http.Handler
	}{
		{"none", constant},
		{"no log", server(null, slog.LevelWarn)},
		{"log", server(null, slog.LevelInfo)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest(http.MethodGet, "/v2/p/instances/i/tasks?limit=10", nil)
			r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=A, SignedHeaders=x-sdk-date, Signature=00")
			r.Header.Set("X-Sdk-Date", "20260101T000000Z")
			r.Header.Set("User-Agent", "huaweicloud-usdk-go/3.0")
			for b.Loop() {
				bb.h.ServeHTTP(nowhere{http.Header{}}, r)
			}
		})
	}
}

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header       { return n.h }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
