package errand_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/postgres"
	"github.com/errandhq/errand/internal/server"
	"github.com/errandhq/errand/internal/signature"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/dcs"
	"github.com/errandhq/errand/internal/wire/dms"
	"github.com/errandhq/errand/internal/wire/native"
)

var (
	benchTasks = flag.Int("tasks", 1_000_000, "how many tasks the benchmark's database holds")
	benchDir   = flag.String("dir", "", "where to keep the benchmark's database, or with -db its keys, for the next run; empty: nowhere")
	benchDB    = flag.String("db", "", "the URL of a PostgreSQL database to measure; empty: SQLite")
)

// The shape of the benchmark's history: one hot instance with a tenth of all
// tasks, the others share the rest, over a year.
const (
	benchInstances = 1000
	benchYear      = 365 * 24 * time.Hour
)

// benchOperations are what the benchmarks submit: one that waits for its turn on
// its instance, and one that waits for nothing.
const benchOperations = `
engine: kafka
name: inLane
---
engine: kafka
name: free
lane: none
`

func benchInstance(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

var benchEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// BenchmarkHTTP measures the server as a client meets it: signed requests over
// loopback to the handler that is shipped, next to a constant answer of the
// same size from the same server. The load generator shares the machine; it
// writes bytes made beforehand and reads as little as it can. Run it with
// make bench.
func BenchmarkHTTP(b *testing.B) {
	h := newBenchServer(b)
	list := func(i int, query string) string {
		return "/v2/" + h.project + "/instances/" + benchInstance(i) + "/tasks?limit=10" + query
	}
	// So many pages that hardly one is asked for again while it is kept.
	some := func(query string) []string {
		var all []string
		for offset := range 10 {
			for i := 1; i < benchInstances; i++ {
				all = append(all, list(i, query+"&offset="+strconv.Itoa(offset)))
			}
		}
		return all
	}
	month := "&begin_time=20250601000000&end_time=20250701000000"
	deep := "&offset=" + strconv.Itoa(*benchTasks/10*9/10)
	for _, c := range []struct {
		name   string
		paths  []string
		anyone bool
	}{
		{"constant", []string{"/constant"}, true},
		{"list", some(""), false},
		{"list-again", some("")[:100], false},
		{"list-month", some(month), false},
		{"list-hot", []string{list(0, "")}, false},
		{"list-hot-deep", []string{list(0, deep)}, false},
		{"show", h.shows, false},
		{"constant-again", []string{"/constant"}, true},
	} {
		for _, conns := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/c=%d", c.name, conns), func(b *testing.B) { h.load(b, c.paths, nil, conns) })
		}
	}
	for _, conns := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("import-1/c=%d", conns), func(b *testing.B) { h.load(b, []string{"/import"}, nil, conns) })
	}
	for _, conns := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("submit/c=%d", conns), func(b *testing.B) {
			b.Cleanup(func() { h.drain(b) })
			var paths []string
			for i := range benchInstances {
				paths = append(paths, "/api/v1/projects/"+h.project+"/instances/"+benchInstance(i)+"/tasks")
			}
			h.load(b, paths, []byte(`{"operation":"inLane","params":{"log.retention.hours":"72"}}`), conns)
		})
	}
}

type benchServer struct {
	addr            string
	project         string
	access, secret  string
	shows           []string
	svc             *tasks.Service
	runs            *tasks.Runs
	directory       *auth.Directory
	operations      *catalog.Catalog
	restarted       func() *tasks.Runs // that remember nothing, as after a start
	nextImport      atomic.Int64
	importPrincipal errand.Principal
}

func newBenchServer(b *testing.B) *benchServer {
	b.Helper()
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	}
	store, err := openBenchStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	sealer, err := auth.OpenSealer("", filepath.Join(dir, "errand.key"))
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	directory, err := auth.OpenDirectory(ctx, store, sealer, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	declared := b.TempDir()
	if err := os.WriteFile(filepath.Join(declared, "bench.yaml"), []byte(benchOperations), 0o600); err != nil {
		b.Fatal(err)
	}
	operations, err := catalog.Load(declared)
	if err != nil {
		b.Fatal(err)
	}
	h := &benchServer{svc: tasks.New(store, time.Now), directory: directory, operations: operations}
	h.restarted = func() *tasks.Runs {
		return tasks.NewRuns(tasks.New(store, time.Now), store, operations, sealer, tasks.RunOptions{})
	}
	h.runs = tasks.NewRuns(h.svc, store, operations, sealer, tasks.RunOptions{})
	h.credentials(b, directory, filepath.Join(dir, "bench-key"))
	h.fill(b)

	authn := auth.NewAuthenticator(directory)
	router := &wire.Router{Auth: authn, Instance: h.svc.Instance, Default: dms.Name, Families: []*wire.Family{
		dms.NewFamily(h.svc, catalog.Builtin(), dms.Options{}, authn), dcs.NewFamily(h.svc, dcs.Options{}, authn),
	}, Native: native.New(native.Deps{Tasks: h.svc, Directory: directory, Auth: authn, Now: time.Now, Runs: h.runs})}
	constant := bytes.Repeat([]byte("x"), 2900)
	mux := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/constant":
			w.Header()["Content-Type"] = []string{"application/json"}
			w.Header()["Content-Length"] = []string{"2900"}
			_, _ = w.Write(constant)
		case "/import": // the durable write of one record, without a wire format around it
			h.serveImport(w, r)
		default:
			router.ServeHTTP(w, r)
		}
	})
	s := server.New(server.Options{Handler: mux, Fail: router.Fail, Log: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	srv := httptest.NewServer(s.Bound(""))
	b.Cleanup(srv.Close)
	h.addr = srv.Listener.Addr().String()
	return h
}

// benchStore is what both stores are.
type benchStore interface {
	tasks.Store
	tasks.Queue
	auth.Store
	Close() error
}

func openBenchStore(dir string) (benchStore, error) {
	if *benchDB != "" {
		return postgres.Open(context.Background(), *benchDB, postgres.Options{})
	}
	return sqlite.Open(filepath.Join(dir, "errand.db"), sqlite.Options{})
}

// credentials keeps the key of a database that is used again.
func (h *benchServer) credentials(b *testing.B, d *auth.Directory, file string) {
	b.Helper()
	err := d.Bootstrap(context.Background(), "bench", func(f auth.First) error {
		return os.WriteFile(file, []byte(f.Project.ID+" "+f.Key.Access+" "+f.Key.Secret), 0o600)
	})
	if err != nil {
		b.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(data), &h.project, &h.access, &h.secret); err != nil {
		b.Fatal(err)
	}
	h.importPrincipal = errand.Principal{User: errand.User{ID: "bench", Name: "bench"}, Project: h.project, Role: errand.Admin}
}

// fill makes the history unless it is there already.
func (h *benchServer) fill(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	if _, total, err := h.svc.Instances(ctx, h.importPrincipal, h.project, 0, 1); err != nil {
		b.Fatal(err)
	} else if total == 0 {
		began := time.Now()
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range benchInstances {
			in := errand.Instance{Project: h.project, ID: benchInstance(i), Name: fmt.Sprintf("instance %d", i), Engine: errand.Kafka}
			if _, err := h.svc.Register(ctx, h.importPrincipal, in); err != nil {
				b.Fatal(err)
			}
			n := (*benchTasks - *benchTasks/10) / (benchInstances - 1)
			if i == 0 {
				n = *benchTasks / 10
			}
			for done := 0; done < n; {
				batch := make([]*errand.Task, 0, 10_000)
				for ; done < n && len(batch) < cap(batch); done++ {
					at := benchEpoch.Add(time.Duration(rnd.Int64N(int64(benchYear))))
					batch = append(batch, benchTask(errand.NewID(at), at))
				}
				if _, err := h.svc.Import(ctx, h.importPrincipal, h.project, benchInstance(i), batch); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Logf("%d tasks over %d instances made in %v", *benchTasks, benchInstances, time.Since(began).Round(time.Second))
	}
	for i := range 100 {
		p, err := h.svc.List(ctx, h.importPrincipal, errand.Filter{Project: h.project, Instance: benchInstance(1 + i*7), Limit: 1, Offset: i % 8})
		if err != nil || len(p.Tasks) != 1 {
			b.Fatalf("list: %v", err)
		}
		h.shows = append(h.shows, "/v2/"+h.project+"/instances/"+benchInstance(1+i*7)+"/tasks/"+p.Tasks[0].ID)
	}
}

func benchTask(id string, at time.Time) *errand.Task {
	at = at.Truncate(time.Microsecond)
	return &errand.Task{
		ID: id, JobID: id, Operation: "bindInstancePublicIp", User: errand.User{ID: "3df5acbc24a54fadb62a043c9000a307", Name: "paas_dms"},
		Params: `{"public_ip_id":"1aea7aed-e7d8-40ea-b3de-6f3ee9d5db9f","public_ip_address":"100.93.2.18","enable_public_ip":true}`,
		Status: errand.Succeeded, Origin: &errand.Origin{Status: "SUCCESS"}, CreatedAt: at, UpdatedAt: at.Add(5 * time.Second),
	}
}

// serveImport stores one record durably before it answers.
func (h *benchServer) serveImport(w http.ResponseWriter, r *http.Request) {
	n := int(h.nextImport.Add(1))
	now := time.Now()
	_, err := h.svc.Import(r.Context(), h.importPrincipal, h.project, benchInstance(n%benchInstances), []*errand.Task{benchTask(errand.NewID(now), now)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header()["Content-Length"] = []string{"2"}
	_, _ = w.Write([]byte("{}"))
}

// request returns the bytes of a signed GET, or POST where there is a body.
func (h *benchServer) request(b *testing.B, path string, body []byte) []byte {
	b.Helper()
	method := "GET"
	if body != nil {
		method = "POST"
	}
	r, err := http.NewRequest(method, "http://"+h.addr+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("User-Agent", "huaweicloud-usdk-go/3.0")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Project-Id", h.project)
	if err := signature.Sign(r, h.access, h.secret, body, time.Now()); err != nil {
		b.Fatal(err)
	}
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", method, path, h.addr, len(body))
	_ = r.Header.Write(&buf)
	buf.WriteString("\r\n")
	buf.Write(body)
	return buf.Bytes()
}

// load sends b.N requests over conns connections and reports rate, latency and
// allocations of the whole process, the generator's own few included.
func (h *benchServer) load(b *testing.B, paths []string, body []byte, conns int) {
	var requests [][]byte
	for _, p := range paths {
		requests = append(requests, h.request(b, p, body))
	}
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	latencies := make([][]time.Duration, conns)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range conns {
		latencies[c] = make([]time.Duration, 0, b.N/conns+16)
		wg.Go(func() {
			conn, err := net.Dial("tcp", h.addr)
			if err != nil {
				failed.Add(1)
				return
			}
			defer conn.Close()
			in := bufio.NewReaderSize(conn, 16<<10)
			for i := c * len(requests) / conns; left.Add(-1) >= 0; i++ {
				begin := time.Now()
				if err := roundTrip(conn, in, requests[i%len(requests)]); err != nil {
					b.Log(err)
					failed.Add(1)
					return
				}
				latencies[c] = append(latencies[c], time.Since(begin))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	runtime.ReadMemStats(&after)
	if failed.Load() > 0 {
		b.Fatalf("%d connections failed", failed.Load())
	}
	report(b, slices.Concat(latencies...), "req/s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "mallocs/req")
}

// report reports a rate and how long each took.
func report(b *testing.B, took []time.Duration, rate string) {
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), rate)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// roundTrip writes a request and reads the answer, which must be a success with
// a Content-Length.
func roundTrip(conn net.Conn, in *bufio.Reader, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	length := -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 20")):
			rest, _ := in.Peek(min(in.Buffered(), 500))
			return fmt.Errorf("answer %s %s", line, rest)
		case len(line) > 16 && bytes.EqualFold(line[:15], []byte("content-length:")):
			length = 0
			for _, c := range bytes.TrimSpace(line[15:]) {
				length = length*10 + int(c-'0')
			}
		case len(bytes.TrimSpace(line)) == 0:
			if length < 0 {
				return fmt.Errorf("answer without a length")
			}
			_, err := in.Discard(length)
			return err
		}
	}
}
