package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// logs is a log that can be read while it is written.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines returns the JSON lines with the given message.
func (l *logs) lines(t *testing.T, msg string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, s := range strings.Split(strings.TrimSpace(l.String()), "\n") {
		if s == "" {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatalf("log line is no JSON: %q: %v", s, err)
		}
		if m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}

var failures = wire.Failures{
	errand.Internal: {"": {Status: 500, Code: "T.500", Msg: "Internal service error."}},
	errand.Invalid: {
		"":       {Status: 400, Code: "T.400", Msg: "{msg}"},
		"method": {Status: 405, Code: "T.405", Msg: "{msg}"},
	},
	errand.NotFound: {"": {Status: 404, Code: "T.404", Msg: "{msg}"}},
}

type anyone struct{}

func (anyone) Authenticate(r *http.Request) (errand.Principal, error) {
	if r.Header.Get("X-Auth-Token") == "" {
		return errand.Principal{}, errand.Errorf(errand.Unauthenticated, "credentials", "x-auth-token not found")
	}
	return errand.Principal{User: errand.User{Name: "ann\nmallory"}, Project: "p1", Role: errand.Viewer}, nil
}

// testServer is a server around one dialect with routes for the tests.
func testServer(t *testing.T, o Options) (*Server, *logs) {
	t.Helper()
	l := &logs{}
	d := wire.New("test", failures.With(wire.Gateway), func(b []byte, row wire.Failure, _ *errand.Error, id string) []byte {
		return fmt.Appendf(b, `{"error_code":%q,"error_msg":%q,"request_id":%q}`, row.Code, row.Msg, id)
	}, anyone{})
	none := func(*http.Request) (struct{}, error) { return struct{}{}, nil }
	ok := func(reply *wire.Reply, s string) { reply.Body = append(reply.Body, s...) }
	wire.Handle(d, "GET /items/{id}", none, func(context.Context, errand.Principal, struct{}) (string, error) { return `"item"`, nil }, ok)
	wire.HandlePublic(d, "GET /panic", none, func(context.Context, struct{}) (string, error) { panic("secret of the house") }, ok)
	wire.HandlePublic(d, "GET /fault", none, func(context.Context, struct{}) (string, error) { return "", errors.New("disk sda1 is on fire") }, ok)
	wire.HandlePublic(d, "POST /echo", func(r *http.Request) (int, error) {
		b, err := io.ReadAll(r.Body)
		return len(b), err
	}, func(_ context.Context, n int) (string, error) { return fmt.Sprint(n), nil }, ok)
	o.Log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Fail = d.Fail
	if o.Handler == nil {
		o.Handler = d
	}
	return New(o), l
}

func do(s *Server, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Bound("").ServeHTTP(w, r)
	return w
}

func get(s *Server, path string) *httptest.ResponseRecorder {
	return do(s, httptest.NewRequest(http.MethodGet, path, nil))
}

var requestID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func TestRequestID(t *testing.T) {
	t.Parallel()
	s, l := testServer(t, Options{OpenAPI: []byte("openapi: 3.1.0\n")})
	seen := map[string]bool{}
	for _, path := range []string{"/items/1", "/nowhere", "/healthz", "/readyz", "/metrics", "/openapi.yaml", "/panic", "/items/1?x=" + strings.Repeat("y", MaxURI)} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-Request-Id", "0123456789abcdef0123456789abcdef")
		id := do(s, r).Header().Get("X-Request-Id")
		if !requestID.MatchString(id) {
			t.Errorf("%.40s: request id %q", path, id)
		}
		if id == "0123456789abcdef0123456789abcdef" || seen[id] {
			t.Errorf("%.40s: request id %q is not fresh", path, id)
		}
		seen[id] = true
	}
	lines := l.lines(t, "request")
	if len(lines) != len(seen) {
		t.Errorf("%d requests made %d lines", len(seen), len(lines))
	}
	for _, line := range lines {
		if !seen[line["request"].(string)] {
			t.Errorf("line with an id that no answer had: %v", line)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s, _ := testServer(t, Options{})
	post := func(body io.Reader) *http.Request { return httptest.NewRequest(http.MethodPost, "/echo", body) }
	chunked := post(struct{ io.Reader }{io.LimitReader(zeros{}, MaxBody+1)})
	chunked.ContentLength = -1
	headers := func(n int) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/items/1", nil)
		r.Header.Set("X-Auth-Token", "t")
		for i := range 8 {
			r.Header.Set(fmt.Sprintf("X-%d", i), strings.Repeat("v", n/8))
		}
		return r
	}
	declared := post(nil)
	declared.ContentLength = MaxBody + 1
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		code   string
	}{
		{"address at the limit", httptest.NewRequest(http.MethodGet, "/panic?"+strings.Repeat("y", MaxURI-len("/panic?")), nil), 500, "T.500"},
		{"address over it", httptest.NewRequest(http.MethodGet, "/panic?"+strings.Repeat("y", MaxURI-len("/panic?")+1), nil), 414, "APIGW.0201"},
		{"headers below the limit", headers(MaxHeader - 200), 200, ""},
		{"headers over it", headers(MaxHeader), 494, "APIGW.0201"},
		{"body at the limit", post(io.LimitReader(zeros{}, MaxBody)), 200, ""},
		{"body that is declared over it", declared, 413, "APIGW.0201"},
		{"body that turns out to be over it", chunked, 413, "APIGW.0201"},
	} {
		w := do(s, tt.r)
		if w.Code != tt.status || tt.code != "" && !strings.Contains(w.Body.String(), `"`+tt.code+`"`) {
			t.Errorf("%s: %d %.200s, want %d %s", tt.name, w.Code, w.Body, tt.status, tt.code)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestPanic(t *testing.T) {
	t.Parallel()
	s, l := testServer(t, Options{})
	w := get(s, "/panic")
	if w.Code != 500 || !strings.Contains(w.Body.String(), "T.500") || strings.Contains(w.Body.String(), "house") {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	lines := l.lines(t, "panic")
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["error"]), "secret of the house") || !strings.Contains(fmt.Sprint(lines[0]["stack"]), "server_test.go") {
		t.Errorf("the log has no panic with its stack: %v", lines)
	}
	if w := get(s, "/healthz"); w.Code != 200 {
		t.Errorf("after a panic the server answers %d", w.Code)
	}
	if n := s.metrics.inFlightNow(); n != 0 {
		t.Errorf("%d requests are in flight after a panic", n)
	}
}

func TestFaultIsHiddenAndLogged(t *testing.T) {
	t.Parallel()
	s, l := testServer(t, Options{})
	w := get(s, "/fault")
	if w.Code != 500 || strings.Contains(w.Body.String(), "fire") {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	line := l.lines(t, "request")[0]
	if line["level"] != "ERROR" || line["error"] != "disk sda1 is on fire" || line["request"] != w.Header().Get("X-Request-Id") {
		t.Errorf("line %v", line)
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	s, l := testServer(t, Options{})
	r := httptest.NewRequest("GET", "/items/12345?password=q-secret&token=q2-secret", strings.NewReader("b-secret"))
	r.Header.Set("X-Auth-Token", "t-secret")
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=A, SignedHeaders=x, Signature=s-secret")
	r.Header.Set("X-Security-Token", "st-secret")
	r.Header.Set("Cookie", "c-secret")
	do(s, r)
	bad := httptest.NewRequest("GET", "/x%0Amsg=forged", nil)
	bad.Method = "GET\nmsg=forged"
	do(s, bad)

	text := l.String()
	if strings.Contains(text, "secret") {
		t.Errorf("the log holds a secret: %s", text)
	}
	if n := strings.Count(text, "\n"); n != 2 {
		t.Errorf("2 requests made %d lines: %s", n, text)
	}
	line := l.lines(t, "request")[0]
	for k, want := range map[string]any{
		"method": "GET", "route": "/items/{id}", "status": 200.0, "bytes": 6.0, "dialect": "test",
		"project": "p1", "user": "ann\nmallory", "remote": "192.0.2.1", "level": "INFO",
	} {
		if line[k] != want {
			t.Errorf("%s is %v, want %v", k, line[k], want)
		}
	}
	if line["took"] == nil {
		t.Error("the line has no duration")
	}
	if got := l.lines(t, "request")[1]["method"]; got != "other" {
		t.Errorf("an unknown method is logged as %q", got)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s, _ := testServer(t, Options{Version: "v1.2.3"})
	r := httptest.NewRequest("GET", "/items/7f5c0001", nil)
	r.Header.Set("X-Auth-Token", "t")
	do(s, r)
	get(s, "/items/7f5c0002") // no credentials
	get(s, "/nowhere/7f5c0003")
	odd := httptest.NewRequest("GET", "/nowhere", nil)
	odd.Method = "BREW7f5c0004"
	do(s, odd)
	body := get(s, "/metrics").Body.String()
	for _, want := range []string{
		`errand_http_requests_total{dialect="test",method="GET",route="/items/{id}",status="2xx"} 1`,
		`errand_http_requests_total{dialect="test",method="GET",route="/items/{id}",status="4xx"} 1`,
		`errand_http_requests_total{dialect="test",method="GET",route="none",status="4xx"} 1`,
		`errand_http_requests_total{dialect="test",method="other",route="none",status="4xx"} 1`,
		`errand_http_request_duration_seconds_count{dialect="test",route="/items/{id}"} 2`,
		`errand_http_requests_in_flight 1`, // this one
		`version="v1.2.3"`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, never := range []string{"7f5c", "p1", "mallory", "instance", "project", "user="} {
		for _, line := range strings.Split(body, "\n") {
			if strings.HasPrefix(line, "errand_") && strings.Contains(line, never) {
				t.Errorf("metrics hold %q: %s", never, line)
			}
		}
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	var err error
	s, _ := testServer(t, Options{Ready: func(context.Context) error { return err }})
	check := func(status int, text string) {
		t.Helper()
		w := get(s, "/readyz")
		if w.Code != status || strings.TrimSpace(w.Body.String()) != text {
			t.Errorf("readyz: %d %q, want %d %q", w.Code, w.Body, status, text)
		}
		if w := get(s, "/healthz"); w.Code != 200 {
			t.Errorf("healthz: %d", w.Code)
		}
	}
	check(200, "ready")
	err = errand.Errorf(errand.Unavailable, "store", "the disk is full").WithCause(errors.New("/var/x: ENOSPC"))
	check(503, "not ready: the disk is full")
	err = errors.New("/var/x: unclassified")
	check(503, "not ready: internal error")
	err = nil
	check(200, "ready")
	s.stopping.Store(true)
	check(503, "stopping")
}

func TestOperationsMethods(t *testing.T) {
	t.Parallel()
	s, _ := testServer(t, Options{OpenAPI: []byte("openapi: 3.1.0\n")})
	w := do(s, httptest.NewRequest(http.MethodDelete, "/metrics", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("DELETE /metrics: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	if w := get(s, "/openapi.yaml"); w.Body.String() != "openapi: 3.1.0\n" {
		t.Errorf("openapi.yaml: %d %s", w.Code, w.Body)
	}
	s, _ = testServer(t, Options{})
	if w := get(s, "/openapi.yaml"); w.Code != 404 {
		t.Errorf("openapi.yaml without a document: %d", w.Code)
	}
}

// running starts a server on a free port and returns its address and a stop
// that gives Run's error.
func running(t *testing.T, s *Server, dialects ...string) ([]string, func() error) {
	t.Helper()
	var on []Listener
	for _, d := range dialects {
		on = append(on, Listener{Addr: "127.0.0.1:0", Dialect: d})
	}
	urls, err := s.Listen(t.Context(), on...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return urls, stop
}

func TestListenersKeepTheirDialect(t *testing.T) {
	t.Parallel()
	s, _ := testServer(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "<%s>", wire.ExchangeOf(r).Listener)
	})})
	urls, _ := running(t, s, "", "dcs")
	for i, want := range []string{"<>", "<dcs>"} {
		resp, err := http.Get(urls[i] + "/x")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != want {
			t.Errorf("listener %d: %s, want %s", i, b, want)
		}
	}
}

func TestListenAllOrNone(t *testing.T) {
	t.Parallel()
	s, _ := testServer(t, Options{})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	_, err = s.Listen(t.Context(), Listener{Addr: free.Addr().String()}, Listener{Addr: taken.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("listening on a taken address: %v", err)
	}
	again, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Errorf("the other address is still held: %v", err)
	} else {
		again.Close()
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	arrived, proceed := make(chan struct{}), make(chan struct{})
	s, _ := testServer(t, Options{StopTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-proceed
		_, _ = io.WriteString(w, "whole")
	})})
	urls, stop := running(t, s, "")
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get(urls[0] + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(string(b), err)
	}()
	<-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	// The listener is closed while the request still runs.
	addr := strings.TrimPrefix(urls[0], "http://")
	for refused := false; !refused; {
		c, err := net.Dial("tcp", addr)
		if refused = err != nil; !refused {
			c.Close()
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request in flight: %v", err)
	default:
	}
	if w := get(s, "/readyz"); w.Code != 503 {
		t.Errorf("readyz of a stopping server: %d", w.Code)
	}
	close(proceed)
	if got := <-answer; got != "whole<nil>" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// everyone lets all in.
type everyone struct{}

func (everyone) Authenticate(*http.Request) (errand.Principal, error) {
	return errand.Principal{Project: "p1", Role: errand.Viewer}, nil
}

// TestStopEndsWhatWaits stops a server with a call that waits and one that
// streams, and with all the time in the world.
func TestStopEndsWhatWaits(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 2)
	d := wire.New("test", failures, nil, everyone{})
	none := func(*http.Request) (struct{}, error) { return struct{}{}, nil }
	wire.HandleWaiting(d, "GET /wait", time.Hour, none, func(ctx context.Context, _ errand.Principal, _ struct{}) (string, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		return "nothing came", nil
	}, func(reply *wire.Reply, s string) { reply.Body = append(reply.Body, s...) })
	wire.HandleWaiting(d, "GET /live", time.Hour, none, func(context.Context, errand.Principal, struct{}) (string, error) { return "", nil },
		func(reply *wire.Reply, _ string) {
			reply.Type = "text/plain"
			reply.Live = func(ctx context.Context, send func([]byte) error) {
				_ = send([]byte("begun "))
				arrived <- struct{}{}
				<-ctx.Done()
				_ = send([]byte("ended"))
			}
		})
	s, _ := testServer(t, Options{StopTimeout: time.Hour, Handler: d})
	urls, stop := running(t, s, "")
	answers := make(chan string, 2)
	for _, path := range []string{"/wait", "/live"} {
		go func() {
			resp, err := http.Get(urls[0] + path)
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			answers <- fmt.Sprint(string(b), " ", err)
		}()
		<-arrived
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	got := []string{<-answers, <-answers}
	slices.Sort(got)
	if want := []string{"begun ended <nil>", "nothing came <nil>"}; !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
}

// TestPatience checks that a call that may wait outlives the times that others
// have.
func TestPatience(t *testing.T) {
	t.Parallel()
	d := wire.New("test", failures, nil, everyone{})
	none := func(*http.Request) (struct{}, error) { return struct{}{}, nil }
	wire.HandleWaiting(d, "GET /wait", time.Hour, none, func(ctx context.Context, _ errand.Principal, _ struct{}) (string, error) {
		select {
		case <-ctx.Done():
			return "cut short", nil
		case <-time.After(3 * short):
			return "waited", nil
		}
	}, func(reply *wire.Reply, s string) { reply.Body = append(reply.Body, s...) })
	s, _ := testServer(t, Options{Handler: d})
	h := httptest.NewUnstartedServer(s.Bound(""))
	h.Config.ReadTimeout, h.Config.WriteTimeout = short, short
	h.Start()
	defer h.Close()
	resp, err := http.Get(h.URL + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "waited" {
		t.Errorf("%q, %v", b, err)
	}
}

const short = 50 * time.Millisecond

func TestTooManyAtATime(t *testing.T) {
	t.Parallel()
	const most = 3
	arrived, proceed := make(chan struct{}), make(chan struct{})
	s, _ := testServer(t, Options{MaxInFlight: most, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-proceed
	})})
	var busy sync.WaitGroup
	for range most {
		busy.Go(func() { get(s, "/slow") })
		<-arrived
	}
	if w := get(s, "/slow"); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "APIGW.0613") {
		t.Errorf("one request too many: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := get(s, "/healthz"); w.Code != 200 {
		t.Errorf("a busy server's healthz: %d", w.Code)
	}
	close(proceed)
	busy.Wait()
	go func() { <-arrived }()
	if w := get(s, "/slow"); w.Code != 200 {
		t.Errorf("once there is room: %d %s", w.Code, w.Body)
	}
}

func TestStopGivesUpInTheEnd(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	s, _ := testServer(t, Options{StopTimeout: time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done() // ends only when the connection is cut
	})})
	urls, stop := running(t, s, "")
	go func() {
		if resp, err := http.Get(urls[0] + "/stuck"); err == nil {
			resp.Body.Close()
		}
	}()
	<-arrived
	if err := stop(); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("stop with a request that never ends: %v", err)
	}
}

func TestNoRequestAtAll(t *testing.T) {
	t.Parallel()
	s, _ := testServer(t, Options{})
	urls, _ := running(t, s, "")
	for _, tt := range []struct{ name, send, status, text string }{
		{"not HTTP", "hello\r\n\r\n", "400", "API request error."},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400", "API request error."},
		{"unknown transfer coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", "501", "API request error."},
		{"endless header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", maxRead+8192) + "\r\n\r\n", "494", "Request headers too large."},
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(urls[0], "http://"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(c, tt.send) }()
		b, _ := io.ReadAll(c) // a reset after the answer is no matter
		c.Close()
		got := string(b)
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status+" ") || !strings.Contains(got, tt.text) || !strings.Contains(got, "X-Request-Id: ") {
			t.Errorf("%s: answer %.300q", tt.name, got)
		}
	}
}
