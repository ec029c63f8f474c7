package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/worker"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	last := -1
	for d := time.Duration(0); d < 4*time.Hour; d += d/50 + time.Microsecond {
		i := bucketOf(d)
		end := bucketEnd(i)
		if i < last || i < histBuckets-1 && (end < d.Truncate(time.Microsecond) || end > d+d/histSteps+time.Microsecond) {
			t.Fatalf("%s is in bucket %d up to %s; the one before it was in %d", d, i, end, last)
		}
		last = i
	}
	if last != histBuckets-1 {
		t.Errorf("four hours are in bucket %d of %d", last, histBuckets)
	}
	if i := bucketOf(-time.Second); i != 0 {
		t.Errorf("a time before the beginning is in bucket %d", i)
	}

	h := &histogram{}
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("nothing took %s", got)
	}
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.001: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 0.999: 999 * time.Millisecond, 1: time.Second} {
		if got := h.quantile(q); got < want || got > want+want/100 {
			t.Errorf("quantile %g is %s, want %s or up to 1 %% more", q, got, want)
		}
	}
}

// loadOf makes requests that all do the same.
func loadOf(p pace, do func(context.Context, int) error) *load {
	return &load{pace: p, kinds: []*kindLoad{{kind: "test", weight: 1, do: do}}, weights: 1}
}

// TestOpenLoop holds that a stall of the server is seen in the times of all
// requests that were due meanwhile.
func TestOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := loadOf(pace{clients: 1, rate: 10, duration: 2 * time.Second, drain: time.Minute}, func(context.Context, int) error {
			if n++; n == 1 {
				time.Sleep(time.Second)
			}
			return nil
		})
		took, err := l.run(t.Context())
		s := l.kinds[0].stats(took)
		if err != nil || took != 1900*time.Millisecond || s.Count != 20 || l.unsent(took) != 0 {
			t.Errorf("%v: %d requests in %s, %d unsent", err, s.Count, took, l.unsent(took))
		}
		// Ten requests were due while the first one stalled; they waited 900 ms down to nothing.
		if s.Max != 1000 || s.P50 > 1 || s.P99 < 999 {
			t.Errorf("times %+v", s)
		}
		if rank11 := l.kinds[0].times.quantile(0.55); rank11 < 99*time.Millisecond || rank11 > 101*time.Millisecond {
			t.Errorf("the quickest of those that had to wait took %s, want 100ms", rank11)
		}
	})
}

func TestLoadEnds(t *testing.T) {
	t.Parallel()
	unavailable := errand.Errorf(errand.Unavailable, "server", "gone")
	for name, tt := range map[string]struct {
		pace
		answers    time.Duration // each takes so long
		err        error         // of every request
		interrupt  time.Duration
		took       time.Duration
		count      uint64
		unfinished int64
		unsent     int64
		failed     map[string]int64
		refused    bool
	}{
		"duration":        {pace: pace{clients: 2, duration: 2 * time.Second, drain: time.Minute}, answers: time.Second, took: 2 * time.Second, count: 4},
		"requests":        {pace: pace{clients: 2, requests: 3, duration: time.Hour}, answers: time.Second, took: 2 * time.Second, count: 3},
		"late answers":    {pace: pace{clients: 1, duration: time.Second, drain: time.Minute}, answers: 30 * time.Second, took: 30 * time.Second, count: 1},
		"no answers":      {pace: pace{clients: 3, duration: time.Second, drain: time.Minute}, answers: time.Hour, took: 61 * time.Second, unfinished: 3},
		"interrupted":     {pace: pace{clients: 1, duration: time.Hour, drain: time.Minute}, answers: time.Second, interrupt: 2500 * time.Millisecond, took: 3 * time.Second, count: 3},
		"too much":        {pace: pace{clients: 1, rate: 10, duration: 5 * time.Second, drain: time.Minute}, answers: time.Second, took: 5 * time.Second, count: 5, unsent: 45},
		"server in ruins": {pace: pace{clients: 1, duration: time.Second, drain: time.Minute}, err: unavailable, took: time.Second, failed: map[string]int64{"unavailable": 10}},
		"refused": {pace: pace{clients: 1, duration: time.Hour, drain: time.Minute}, err: errand.Errorf(errand.Invalid, "params", "no"), refused: true,
			failed: map[string]int64{"invalid": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := loadOf(tt.pace, func(ctx context.Context, _ int) error {
					if tt.err != nil {
						return tt.err
					}
					if !pauseFor(ctx, tt.answers) {
						return ctx.Err()
					}
					return nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.interrupt > 0 {
					time.AfterFunc(tt.interrupt, cancel)
				}
				took, err := l.run(ctx)
				s := l.kinds[0].stats(took)
				if took != tt.took || s.Count != tt.count || l.unfinished.Load() != tt.unfinished || l.unsent(took) != tt.unsent {
					t.Errorf("%d requests in %s, %d unfinished, %d unsent", s.Count, took, l.unfinished.Load(), l.unsent(took))
				}
				if (err != nil) != tt.refused || len(s.Errors) != len(tt.failed) {
					t.Errorf("error %v, %v", err, s.Errors)
				}
				for kind, n := range tt.failed {
					if s.Errors[kind] != n || s.Example != tt.err.Error() {
						t.Errorf("errors %v, such as %q; want %v", s.Errors, s.Example, tt.failed)
					}
				}
			})
		})
	}
}

// aFigure is a number of a measurement.
var aFigure = regexp.MustCompile(`(?m)"(seconds|per_second|\w+_ms)": [0-9.]+`)

// TestBenchJSON holds the shape of -o json: programs read it.
func TestBenchJSON(t *testing.T) {
	t.Parallel()
	_, env := serve(t, t.TempDir())
	r := errandEnv(t, env, "", "bench", "--mix=run=1,submit=2", "--requests=12", "--duration=1h", "--clients=3", "--instances=2", "-o", "json")
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	var got benchResult
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Kinds[0].Count+got.Kinds[1].Count != 12 || got.Kinds[0].P50 <= 0 && got.Kinds[1].P50 <= 0 {
		t.Errorf("%v: %s", err, r.stdout)
	}
	r.stdout = regexp.MustCompile(`"count": \d+`).ReplaceAllString(aFigure.ReplaceAllString(r.stdout, `"$1": N`), `"count": N`)
	kind := func(name string) string {
		return `    {
      "kind": "` + name + `",
      "count": N,
      "per_second": N,
      "p50_ms": N,
      "p99_ms": N,
      "p99_9_ms": N,
      "max_ms": N,
      "errors": {}
    }`
	}
	want := `{
  "version": "` + Version() + `",
  "server": "` + env["ERRAND_SERVER"] + `",
  "mix": "run=1,submit=2",
  "clients": 3,
  "seconds": N,
  "interrupted": false,
  "kinds": [
` + kind("run") + ",\n" + kind("submit") + `
  ],
  "unsent": 0,
  "unfinished": 0
}
`
	if r.stdout != want {
		t.Errorf("got\n%s\nwant\n%s", r.stdout, want)
	}
	runSteps(t, env, []step{{args: "instance list -o json", out: `^\[\]\n$`}, {args: "list", out: `^ID[^\n]*\n$`}})
}

func TestBenchCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, env := serveOperations(t, dir)
	write(t, filepath.Join(dir, "params.json"), `{"kafka_configs":7}`, 0o600)
	env["D"] = dir
	const quick = "bench --requests 8 --duration 1h --clients 2 --instances 2 "
	runSteps(t, env, []step{
		{args: quick + "--mix submit", out: `(?s)^KIND .*\nsubmit +8 .* 0\n2 clients for .* requests after each other, against http`},
		{args: quick + "--mix run --workers 1", out: `\nrun +8 `},
		{args: quick + "--mix list --records 25 --rate 10000", out: `(?s)\nlist +8 .*at 10000 a second`},
		{args: quick + "--mix list --instance $I", out: `\nlist +8 `},
		{args: quick + "--mix run --engine redis --operation elsewhere", out: `\nrun +8 `},
		{args: "instance list", out: `(?s)^ID[^\n]*\n[^\n]* r1 [^\n]*\n$`}, // and no other
		{args: "list --instance $I", out: `^ID[^\n]*\n$`},

		{args: "bench --mix submits", code: exitUsage, out: `"submits" is not one of submit, run, list`},
		{args: "bench --mix submit=0", code: exitUsage, out: `weight of submit must be 1 to 1000`},
		{args: "bench --mix list,list", code: exitUsage, out: `names list twice`},
		{args: "bench --mix=", code: exitUsage, out: `is not one of`},
		{args: "bench --clients 0", code: exitUsage, out: `--clients 0 must be 1 to 1024`},
		{args: "bench --clients 1025", code: exitUsage, out: `--clients 1025`},
		{args: "bench --workers -1", code: exitUsage, out: `--workers -1`},
		{args: "bench --duration 61m", code: exitUsage, out: `at most 1h0m0s`},
		{args: "bench --duration 0s", code: exitUsage, out: `more than 0s`},
		{args: "bench --requests -1", code: exitUsage, out: `--requests -1`},
		{args: "bench --rate -1", code: exitUsage, out: `--rate -1`},
		{args: "bench --rate NaN", code: exitUsage, out: `--rate NaN`},
		{args: "bench --instances 0", code: exitUsage, out: `--instances 0`},
		{args: "bench --records 0", code: exitUsage, out: `--records 0`},
		{args: "bench --limit 0", code: exitUsage, out: `--limit 0`},
		{args: "bench --operation=", code: exitUsage, out: `errand operation list`},
		{args: "bench --engine mysql", code: exitUsage, out: `"mysql" is not one of`},
		{args: "bench --instance $I", code: exitUsage, out: `--mix list alone`},
		{args: "bench --params $D/operations.d/greet", code: exitUsage, out: `not JSON`},
		{args: "bench -o xml", code: exitUsage, out: `text, json`},
		{args: "bench --operation nothing", code: exitNotFound, out: `no operation "nothing" on kafka`},
		{args: "bench --engine redis --operation hold", code: exitRefused, out: `the server runs hold itself`},
		{args: "bench --mix run --engine redis --operation EXTEND", code: exitUsage, out: `errand operation show EXTEND`},
		{args: "bench --params $D/params.json", code: exitUsage, out: `params do not fit kafkaConfigModify: at /kafka_configs`},
		{args: "bench --mix list --instance 5560df16-cebf-4473-95c4-000000000000", code: exitNotFound, out: `does not exist`},

		// Workers must not take real tasks, nor real workers these.
		{args: "instance add --id 5560df16-cebf-4473-95c4-000000000001 --name k1 --engine kafka", out: `k1`},
		{args: "bench --mix run", code: exitRefused, out: `would also take tasks of kafkaConfigModify on other kafka instances .* such as 5560df16`},
		{args: quick + "--mix run --operation kafkaConfigModify", out: `\nrun +8 `},
		{args: quick + "--keep", out: `2 instances named bench-\S* were left behind`},
		{args: "instance list", out: `bench-\w+-submit-0 +kafka`},
	})

	b.stop()
	runSteps(t, env, []step{{args: "bench", code: exitUnreachable, out: `cannot be reached`}})
}

// TestBenchRights covers who may not bench.
func TestBenchRights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, env := serveOperations(t, dir)
	for role, steps := range map[string][]step{
		"viewer": {
			{args: "bench", code: exitRefused, out: `takes role admin, to forget the instances .*eve-viewer is viewer`},
			{args: "bench --keep", code: exitRefused, out: `takes role operator`},
			{args: "bench --mix list", code: exitRefused, out: `takes role admin`},
			{args: "bench --mix list --instance $I --requests 5", out: `\nlist +5 `},
		},
		"operator": {
			{args: "bench", code: exitRefused, out: `--keep leaves them behind`},
			{args: "bench --mix run --keep", code: exitRefused, out: `takes role admin, to submit as well as to work`},
			{args: "bench --keep --requests 5", out: `\nsubmit +5 `},
		},
		"worker": {{args: "bench --mix run --keep", code: exitRefused, out: `takes role admin`}},
	} {
		runSteps(t, env, []step{{args: "user add eve-" + role + " --role cn-north-4=" + role, out: role}})
		file := filepath.Join(dir, role)
		if err := os.WriteFile(file, []byte(errandEnv(t, env, "", "key", "add", "--user=eve-"+role).stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		runSteps(t, map[string]string{"ERRAND_CREDENTIALS": file, "I": testInstance}, steps)
	}
}

// TestBenchInterrupted covers Ctrl-C, and tasks that are not the bench's.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	_, env := serveOperations(t, t.TempDir())
	cl, err := client.New(client.Options{Server: env["ERRAND_SERVER"], Access: env["HUAWEICLOUD_SDK_AK"], Secret: env["HUAWEICLOUD_SDK_SK"]})
	if err != nil {
		t.Fatal(err)
	}
	foreign := submitted(t, env, "", "submit elsewhere --instance $I -o json")
	b := start(t, env, "bench", "--mix=run", "--engine=redis", "--operation=elsewhere", "--duration=1h", "--clients=2", "--instances=2", "-o", "json")
	done, mine := false, false
	for c, err := range cl.Watch(t.Context(), env["HUAWEICLOUD_SDK_PROJECT_ID"], client.WatchOptions{All: true}) {
		if err != nil {
			t.Fatal(err)
		}
		done = done || c.Task == foreign.ID && c.Status == errand.Failed
		mine = mine || c.Task != foreign.ID && c.Status == errand.Succeeded
		if done && mine {
			break
		}
	}

	runSteps(t, env, []step{{args: "why " + foreign.ID, out: `load generator .* did nothing`}})
	if code := b.stop(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, b.stderr)
	}
	var got benchResult
	if err := json.Unmarshal([]byte(b.stdout.String()), &got); err != nil || !got.Interrupted || got.Foreign != 1 || got.Kinds[0].Count == 0 || got.Unfinished != 0 {
		t.Errorf("%v: %s", err, b.stdout)
	}
	runSteps(t, env, []step{{args: "instance list", out: `(?s)^ID[^\n]*\n[^\n]* r1 [^\n]*\n$`}})

	// While a worker serves an operation, nobody is to bench with it.
	if _, err := cl.Claim(t.Context(), env["HUAWEICLOUD_SDK_PROJECT_ID"], claimOf("elsewhere")); err != nil {
		t.Fatal(err)
	}
	runSteps(t, env, []step{{args: "bench --engine redis --operation elsewhere", code: exitRefused, out: `worker other serves elsewhere`}})
}

// TestBenchSetUpInterrupted covers Ctrl-C before the load.
func TestBenchSetUpInterrupted(t *testing.T) {
	t.Parallel()
	_, env := serve(t, t.TempDir())
	cl, err := client.New(client.Options{Server: env["ERRAND_SERVER"], Access: env["HUAWEICLOUD_SDK_AK"], Secret: env["HUAWEICLOUD_SDK_SK"]})
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, env, "bench", "--mix=list", "--duration=1h", "--instances=1000", "--records=1")
	for total := 0; total < 3; {
		if _, total, err = cl.Instances(t.Context(), env["HUAWEICLOUD_SDK_PROJECT_ID"], 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	code := b.stop()
	if log := b.stderr.String(); code != exitFailure || !regexp.MustCompile(`^errand: interrupted; forgetting the \d+ instances .*\nerrand: interrupted before the load began\n$`).MatchString(log) {
		t.Errorf("exit code %d: %s", code, log)
	}
	runSteps(t, env, []step{{args: "instance list -o json", out: `^\[\]\n$`}})
}

// TestBenchFailures covers what is said where requests failed.
func TestBenchFailures(t *testing.T) {
	t.Parallel()
	r := &benchResult{Kinds: []kindStats{
		{Kind: "list", Count: 2, P50: 1.5, P99: 2, P999: 2, Max: 2},
		{Kind: "submit", Errors: map[string]int64{"unavailable": 3, "conflict": 1}, Example: "gone"},
	}}
	var out strings.Builder
	if err := (&app{getenv: func(string) string { return "" }, stdout: &out}).benchReport(r); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^list +2 +0.0 +1.50 ms +2.00 ms +2.00 ms +2.00 ms +0$`).MatchString(out.String()) ||
		!regexp.MustCompile(`(?m)^submit +0 +0.0 +- +- +- +- +4$`).MatchString(out.String()) {
		t.Errorf("printed\n%s", out.String())
	}
	for want, r := range map[string]*benchResult{
		"4 requests failed or had no answer": r,
		"1 requests failed or had no answer": {Unfinished: 1, Kinds: r.Kinds[:1]},
		"":                                   {Kinds: r.Kinds[:1]},
	} {
		if err := r.failure(); want == "" && err != nil || want != "" && (err == nil || err.Error() != want || exitCode(err) != exitFailure) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func claimOf(operation string) worker.ClaimRequest {
	return worker.ClaimRequest{Worker: "other", Operations: []string{operation}}
}
