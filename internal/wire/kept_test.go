package wire

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

type anyone struct{}

func (anyone) Authenticate(*http.Request) (errand.Principal, error) { return errand.Principal{}, nil }

// TestHandleKept checks when a call is made again and when its answer is sent
// again.
func TestHandleKept(t *testing.T) {
	t.Parallel()
	d := New("test", Failures{}, func(b []byte, row Failure, e *errand.Error, _ string) []byte { return append(b, e.Msg...) }, anyone{})
	version, calls, refuse := 0, 0, error(nil)
	HandleKept(d, "GET /x", func(r *http.Request) (string, error) { return r.URL.RawQuery, nil },
		func(errand.Principal, string) (int, error) { return version, refuse },
		func(_ context.Context, _ errand.Principal, in string) (string, error) {
			calls++
			if in == "fails" {
				return "", errand.Errorf(errand.NotFound, "task", "nothing")
			}
			if in == "long" {
				return strings.Repeat("x", maxKeptBody+1), nil
			}
			return fmt.Sprintf("%s %d %s", in, calls, strings.Repeat("y", 50_000)), nil
		},
		func(r *Reply, s string) { r.Body = append(r.Body, s...) })
	get := func(query string) string {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x?"+query, nil))
		if got := w.Header().Get("Content-Length"); w.Code == http.StatusOK && got != fmt.Sprint(w.Body.Len()) {
			t.Errorf("%s: Content-Length %s of %d", query, got, w.Body.Len())
		}
		b := w.Body.String()
		return fmt.Sprint(w.Code, " ", b[:min(len(b), 5)])
	}
	want := func(query, answer string, made int) {
		t.Helper()
		if got := get(query); got != answer || calls != made {
			t.Errorf("%s: %q after %d calls, want %q after %d", query, got, calls, answer, made)
		}
	}
	want("a", "200 a 1 y", 1) // the version is unknown: nothing is kept
	want("a", "200 a 2 y", 2)
	version = 7
	want("a", "200 a 3 y", 3)
	want("a", "200 a 3 y", 3)
	want("b", "200 b 4 y", 4)
	want("a", "200 a 3 y", 4)
	version = 8
	want("a", "200 a 5 y", 5)
	version = 0
	want("a", "200 a 6 y", 6)
	version = 8
	want("a", "200 a 5 y", 6)
	refuse = errand.Errorf(errand.Forbidden, "role", "no")
	if got := get("a"); !strings.HasSuffix(got, " no") {
		t.Errorf("who may not ask is answered %s", got)
	}
	refuse = nil
	for made := 7; made < 9; made++ {
		if get("fails"); calls != made {
			t.Errorf("an error was kept")
		}
	}
	get("long")
	if get("long"); calls != 10 {
		t.Error("a long answer was kept")
	}
	for i := range 200 { // 10 MB
		get(fmt.Sprint("n", i))
	}
	before := calls
	for i := range 200 {
		get(fmt.Sprint("n", i))
	}
	if again := calls - before; again < 200-maxKept/50_000 || again > 199 {
		t.Errorf("%d of 200 answers were made again: the bound does not hold", again)
	}
}
