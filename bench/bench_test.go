package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand/bench/drive"
)

// TestMain lets this binary be the driver that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-driver" {
		driver(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

// TestQuick runs everything once, on the one peer that needs nothing installed.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs a real server")
	}
	page := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := run(t.Context(), []string{"-quick", "-only", "errand-sqlite", "-out", page}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "\n**Errand") {
		t.Errorf("something failed: %s", text)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| Errand, SQLite |") {
			continue
		}
		rows++
		// What one peer alone has: every figure but queries, a database and a second start.
		if n := strings.Count(line, "–"); n > 0 && n != 4 {
			t.Errorf("%d figures are missing: %s", n, line)
		}
	}
	if rows != 6 {
		t.Errorf("%d rows, want 6: %s", rows, text)
	}
	if svg, err := os.ReadFile(strings.TrimSuffix(page, ".md") + ".svg"); err != nil || !strings.Contains(string(svg), "Errand, SQLite") {
		t.Errorf("the chart: %v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-only nothing":  `"nothing" is not one of errand-sqlite, errand-pg`,
		"-sizes 10":      "1k to 100M",
		"-sizes 1G":      "1k to 100M",
		"-sizes 101M":    "1k to 100M",
		"-sizes 10k,,1M": "1k to 100M",
	} {
		if err := run(t.Context(), strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", args, err, want)
		}
	}
	if got, err := parseSizes("1k,10M"); err != nil || !slices.Equal(got, []int{1000, 10_000_000}) {
		t.Errorf("sizes %v, %v", got, err)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   []float64
		want float64
	}{
		{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3},
	} {
		in := slices.Clone(tt.in)
		if got := median(in, mean); got != tt.want || !slices.Equal(in, tt.in) {
			t.Errorf("median of %v is %g, want %g", tt.in, got, tt.want)
		}
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{number(0.123), "0.12"}, {number(1.26), "1.3"}, {number(99.6), "100"}, {number(1234), "1,230"}, {number(999.7), "1000"},
		{number(1_234_567), "1,230,000"}, {number(1_000_000), "1,000,000"},
		{milliseconds(0.123), "0.12 ms"}, {milliseconds(12.34), "12.3 ms"}, {milliseconds(123.4), "123 ms"}, {milliseconds(1500), "1.5 s"},
		{ratio(3, 2), "1.5"}, {ratio(250, 2), "125"}, {ratio(1, 3), "0.33"}, {ratio(0, 3), "–"}, {ratio(3, 0), "–"},
		{several(1, "client"), "1 client"}, {several(2, "round"), "2 rounds"}, {megabytes(12_600_000), "13 MB"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

// sample is a report of one of ours and one that is better in one thing and worse
// in another, and one that could not be had.
func sample() *report {
	all := allPeers()
	of := func(p *peer, rate int, ms float64) *figures {
		r := []drive.Result{{Count: rate, Seconds: 1, P50: ms, P99: 2 * ms, BegunP50: ms / 2, BegunP99: ms}}
		return &figures{
			peer: p, version: "1.0", submit: map[int][]drive.Result{1: r, 16: r, 64: r}, latency: r, drain: map[int][]drive.Result{16: r, 64: r},
			idle: []idleFigures{{memory: 10e6, queries: -1}}, loaded: []loadedFigures{{memory: 20e6}},
			list: map[int]*listFigures{1000: {total: 100, page: r, alone: r, start: []float64{5}}, 1_000_000: {total: 100_000, page: r, alone: r, start: []float64{9}}},
		}
	}
	ours, theirs := of(all[0], 1000, 2), of(all[2], 3000, 40)
	theirs.idle[0].queries = 12
	gone := &figures{peer: all[8]}
	gone.fail("it could not be built or started here", errors.New("no\ncompiler"))
	return &report{
		Command: "go run . -out x.md", options: options{Rounds: 3, Clients: []int{1, 16, 64}, Workers: []int{16, 64}, Drain: 3000, Sizes: []int{1000, 1_000_000}},
		began: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), took: 14 * time.Minute, machine: []string{"a machine"}, disk: []float64{5000, 6000, 4000},
		peers: []*figures{ours, theirs, gone},
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := sample().write(&b, "benchmarks.svg"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"in 3 rounds whose order", "Made on 2026-11-22 in 14 minutes by\n\n    go run . -out x.md\n", "](benchmarks.svg)",
		"syncs 5,000 single writes of 4 KiB a second (5,000, 6,000, 4,000 in the rounds)",
		"|  | an answered submission is | 1 client: /s | p50 | p99 | 16 clients: /s | p50 | p99 | 64 clients: /s | p50 | p99 | 256 clients: /s | p50 | p99 | ratio at 16 |\n|---|---|",
		"| Errand, SQLite | synced before the answer (synchronous=FULL) | 1,000 | 2.00 ms | 4.00 ms | 1,000 |",
		"| 3,000 | 40.0 ms | 80.0 ms | – | – | – | 3 |\n",
		"## A page of one owner's tasks, 1,000,000 tasks in all",
		"| 100,000 | 40.0 ms | 80.0 ms | 40.0 ms | – | 20 |\n",
		"| Errand, SQLite | 10 MB | 20 MB | – | – | 0.0 % | – | 9.00 ms |\n", "| River, PostgreSQL | 10 MB | 20 MB | – | – | 0.0 % | 12 | 9.00 ms |\n",
		"**Temporal dev server**: it could not be built or started here: no compiler\n",
		"- **submissions with 16 clients**: Errand, SQLite 1,000/s. Better: River, PostgreSQL 3,000/s. Why: ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "**a page with its total of the longest history**") {
		t.Error("what is won is counted as lost")
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "|--") {
			for _, row := range lines[i-1:] {
				if !strings.HasPrefix(row, "|") {
					break
				}
				if strings.Count(row, "|") != strings.Count(line, "|") {
					t.Errorf("a row has other cells than its heading:\n%s\n%s", line, row)
				}
			}
		}
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	r := sample()
	all := allPeers()
	at := func(p *peer, rate int) *figures {
		return &figures{peer: p, submit: map[int][]drive.Result{16: {{Count: rate, Seconds: 1}}}}
	}
	r.peers = []*figures{at(all[0], 1000), at(all[1], 500), at(all[2], 800), at(all[5], 3000), at(all[4], 520)}
	var b strings.Builder
	r.losses(&b)
	want := "- **submissions with 16 clients**: Errand, SQLite 1,000/s, Errand, PostgreSQL 500/s. " +
		"Better: River, PostgreSQL 800/s (than Errand, PostgreSQL); Asynq, Redis everysec (not synced) 3,000/s. Why: "
	if !strings.Contains(b.String(), want) || strings.Count(b.String(), "- **") != 1 {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	r.peers = r.peers[:2]
	b.Reset()
	if r.losses(&b); !strings.Contains(b.String(), "In nothing") {
		t.Errorf("without peers: %s", b.String())
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	svg := sample().chart()
	d := xml.NewDecoder(strings.NewReader(svg))
	bars := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v: %s", err, svg)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !slices.Contains([]string{"svg", "style", "rect", "text"}, e.Name.Local) {
			t.Errorf("the chart has an element %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			if e.Name.Local == "rect" && a.Name.Local == "class" && a.Value != "g" {
				bars++
			}
		}
	}
	if bars != 6 {
		t.Errorf("%d bars, want 6", bars)
	}
	for _, want := range []string{"Errand, SQLite", "3,000", "40.0 ms", "not measured", "prefers-color-scheme:dark"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
	const room = chartWidth - labelWidth - valueWidth - 20
	for _, log := range []bool{false, true} {
		p := panel{log: log}
		short, long := p.width(1, 1, 1000), p.width(1000, 1, 1000)
		if short <= 0 || short >= long || long > room+0.01 || p.width(0, 1, 1000) != 0 {
			t.Errorf("bars of 1 and 1000 (logarithmic: %t) are %.1f and %.1f wide", log, short, long)
		}
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	if n, err := diskFloor(t.TempDir(), 20*time.Millisecond); err != nil || n <= 0 {
		t.Errorf("disk floor %g, %v", n, err)
	}
	me := os.Getpid()
	if anonymous([]int{me}) < 1<<20 || anonymous([]int{-1}) != 0 {
		t.Errorf("this process has %d bytes", anonymous([]int{me}))
	}
	parent, _, ok := stat(me)
	if !ok || parent != os.Getppid() || !slices.Contains(family(parent), me) {
		t.Errorf("the parent of %d is %d, with children %v", me, parent, family(parent))
	}
}
