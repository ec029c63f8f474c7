// Command bench puts the same work on Errand and on its peers, side by side on
// this machine, in alternating rounds, and writes what came of it as a page with
// a chart. It starts its own PostgreSQL and Redis, in temporary directories, and
// stops them again.
//
//	go run . -out ../docs/benchmarks.md
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/errandhq/errand/bench/drive"
)

// options say how much is measured.
type options struct {
	Rounds  int
	Seconds float64 // of each load
	Idle    float64 // of watching what is idle
	Clients []int
	Workers []int
	Drain   int   // tasks that wait for the workers
	Sizes   []int // of histories that are listed
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "-driver" {
		driver(os.Args[2:])
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	out := fs.String("out", "", "`FILE` to write the page to, with its chart beside it; empty: standard output, without a chart")
	only := fs.String("only", "", "`NAMES` of what to measure, divided by commas: "+strings.Join(names(allPeers()), ",")+"; empty: all")
	quick := fs.Bool("quick", false, "measure next to nothing: to see that it works")
	rounds := fs.Int("rounds", 3, "how many rounds")
	seconds := fs.Float64("seconds", 1.5, "how long each load lasts")
	sizes := fs.String("sizes", "", "how many tasks the histories hold that are listed, such as 10k,1M,10M; empty: 10k,1M, or 1k with -quick")
	err := fs.Parse(args)
	if err != nil {
		return err
	}
	o := options{Rounds: *rounds, Seconds: *seconds, Idle: 10, Clients: []int{1, 16, 64}, Workers: []int{16, 64}, Drain: 3000}
	if *quick {
		o = options{Rounds: 1, Seconds: 0.2, Idle: 0.5, Clients: []int{1, 16}, Workers: []int{16}, Drain: 200}
		*sizes = cmp.Or(*sizes, "1k")
	}
	*sizes = cmp.Or(*sizes, "10k,1M")
	if o.Sizes, err = parseSizes(*sizes); err != nil {
		return err
	}
	peers, err := choose(allPeers(), *only)
	if err != nil {
		return err
	}
	r, err := measureAll(ctx, peers, o)
	if err != nil {
		return err
	}
	r.Command = "go run . " + strings.Join(args, " ")
	if *out == "" {
		return r.write(os.Stdout, "")
	}
	return r.writeFiles(*out)
}

// writeFiles writes the page and its chart.
func (r *report) writeFiles(page string) error {
	chart := strings.TrimSuffix(page, filepath.Ext(page)) + ".svg"
	if err := os.WriteFile(chart, []byte(r.chart()), 0o644); err != nil {
		return err
	}
	f, err := os.Create(page)
	if err != nil {
		return err
	}
	if err := r.write(f, filepath.Base(chart)); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// parseSizes reads numbers such as 10k and 1M.
func parseSizes(text string) ([]int, error) {
	var all []int
	for _, s := range strings.Split(text, ",") {
		unit := 1
		digits, k := strings.CutSuffix(s, "k")
		if k {
			unit = 1000
		} else if m, ok := strings.CutSuffix(s, "M"); ok {
			digits, unit = m, 1_000_000
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > 100_000_000/unit || n*unit < 1000 {
			return nil, fmt.Errorf("-sizes %s: %q is not a number of tasks from 1k to 100M", text, s)
		}
		all = append(all, n*unit)
	}
	return all, nil
}

func names(peers []*peer) []string {
	var all []string
	for _, p := range peers {
		all = append(all, p.id)
	}
	return all
}

// choose returns the peers that are named, or all.
func choose(all []*peer, only string) ([]*peer, error) {
	if only == "" {
		return all, nil
	}
	wanted := strings.Split(only, ",")
	for _, w := range wanted {
		if !slices.Contains(names(all), w) {
			return nil, fmt.Errorf("-only %s: %q is not one of %s", only, w, strings.Join(names(all), ", "))
		}
	}
	return slices.DeleteFunc(all, func(p *peer) bool { return !slices.Contains(wanted, p.id) }), nil
}

// driver is the process that holds a system that is written in Go.
func driver(args []string) {
	ctx := context.Background()
	s, err := startSystem(ctx, args[0], args[1:])
	if err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(drive.About{Error: err.Error()})
		os.Exit(1)
	}
	err = drive.Serve(ctx, s, os.Stdin, os.Stdout)
	if closed := s.Close(); err == nil {
		err = closed
	}
	if err != nil {
		log.Fatalf("%s: %v", args[0], err)
	}
}

func startSystem(ctx context.Context, kind string, args []string) (drive.System, error) {
	switch {
	case kind == "errand" && len(args) == 3:
		return startErrand(ctx, args[0], args[1], args[2])
	case kind == "river" && len(args) == 1:
		return startRiver(ctx, args[0])
	case kind == "asynq" && len(args) == 1:
		return startAsynq(ctx, args[0])
	case kind == "temporal" && len(args) == 2:
		return startTemporal(ctx, args[0], args[1])
	}
	return nil, fmt.Errorf("no driver %s with %d arguments", kind, len(args))
}

// pollInterval is what peers are set to that ask their database for work again
// and again, so that they are quicker than by default.
const pollInterval = 50 * time.Millisecond
