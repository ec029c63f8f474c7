package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/errandhq/errand/bench/drive"
)

// figures are what was measured of a peer, once in each round.
type figures struct {
	peer    *peer
	version string
	failed  string // why it was left out, or what of it

	submit  map[int][]drive.Result // by clients
	latency []drive.Result
	drain   map[int][]drive.Result // by workers
	idle    []idleFigures
	loaded  []loadedFigures
	list    map[int]*listFigures // by size of the history
}

// idleFigures are what a peer takes whose workers wait: its own processes, and
// those of a database that is one.
type idleFigures struct {
	memory, database int64   // bytes
	processor        float64 // share of one core
	queries          float64 // per second; negative: nobody counts
}

// loadedFigures are what it holds after all loads, in bytes.
type loadedFigures struct{ memory, database int64 }

type listFigures struct {
	total      int // tasks of the owner
	start      []float64
	page, deep []drive.Result // with the exact total
	alone      []drive.Result // the page without it
}

// measureAll runs everything.
func measureAll(ctx context.Context, peers []*peer, o options) (*report, error) {
	dir, err := os.MkdirTemp("", "errand-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := onDisk(dir); err != nil && o.Seconds >= 1 {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &environment{dir: dir, bin: filepath.Join(dir, "bin"), self: self}
	if err := os.Mkdir(e.bin, 0o755); err != nil {
		return nil, err
	}
	defer func() { _ = e.pg.stop() }()
	r := &report{began: time.Now(), options: o}
	for _, p := range peers {
		f := &figures{peer: p, submit: map[int][]drive.Result{}, drain: map[int][]drive.Result{}, list: map[int]*listFigures{}}
		r.peers = append(r.peers, f)
		log.Printf("preparing %s", p.id)
		if f.version, err = p.prepare(ctx, e); err != nil {
			f.fail("it could not be built or started here", err)
		}
		// A first start says whether it works at all.
		if f.failed == "" && p.id == "errand-pg" {
			f.try(ctx, e)
		}
	}
	r.began = time.Now()
	for round := range o.Rounds {
		synced, err := diskFloor(dir, time.Second)
		if err != nil {
			return nil, err
		}
		r.disk = append(r.disk, synced)
		for _, f := range r.turn(round) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			log.Printf("round %d of %d: %s", round+1, o.Rounds, f.peer.id)
			if err := f.round(ctx, e, o); err != nil {
				f.fail("a round was cut short", err)
			}
		}
	}
	for _, size := range o.Sizes {
		if err := r.lists(ctx, e, size); err != nil {
			return nil, err
		}
	}
	r.took = time.Since(r.began)
	r.describe(ctx, e)
	return r, ctx.Err()
}

// turn returns who is left, in an order that changes from round to round.
func (r *report) turn(round int) []*figures {
	left := slices.DeleteFunc(slices.Clone(r.peers), func(f *figures) bool { return f.failed != "" })
	if round%2 == 1 {
		slices.Reverse(left)
	}
	return left
}

func (f *figures) fail(what string, err error) {
	text := err.Error()
	if len(text) > 300 {
		text = text[:300] + " …"
	}
	log.Printf("%s: %s: %v", f.peer.id, what, err)
	f.failed = fmt.Sprintf("%s: %s", what, text)
}

// try starts a peer once, and stops it again.
func (f *figures) try(ctx context.Context, e *environment) {
	dir, err := os.MkdirTemp(e.dir, f.peer.id+"-")
	if err == nil {
		var i *instance
		if i, err = f.peer.open(ctx, e, dir, true); err == nil {
			err = i.close()
		}
	}
	if err != nil {
		f.fail("it does not start", err)
	}
}

// round measures a peer that begins with nothing.
func (f *figures) round(ctx context.Context, e *environment, o options) (err error) {
	dir := filepath.Join(e.dir, f.peer.id)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	i, err := f.peer.open(ctx, e, dir, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.close(), os.RemoveAll(dir)) }()
	latency, err := i.do(drive.Command{Do: "latency", Workers: 16, Seconds: 2 * o.Seconds})
	if err != nil {
		return err
	}
	f.latency = append(f.latency, latency)
	if len(f.idle) == 0 { // once is enough: it takes the longest, and varies the least
		idle, err := i.rest(ctx, o)
		if err != nil {
			return err
		}
		f.idle = append(f.idle, idle)
	}
	for _, workers := range o.Workers {
		tasks := o.Drain
		if f.peer.drain > 0 {
			tasks = min(tasks, f.peer.drain)
		}
		r, err := i.do(drive.Command{Do: "drain", Tasks: tasks, Workers: workers, Seconds: 10})
		if err != nil {
			return err
		}
		f.drain[workers] = append(f.drain[workers], r)
	}
	for _, clients := range slices.Concat(o.Clients, f.peer.clients) {
		r, err := i.do(drive.Command{Do: "submit", Clients: clients, Seconds: o.Seconds})
		if err != nil {
			return err
		}
		f.submit[clients] = append(f.submit[clients], r)
	}
	own, database := i.memory()
	f.loaded = append(f.loaded, loadedFigures{own, database})
	return nil
}

func (i *instance) memory() (own, database int64) {
	if i.databasePIDs != nil {
		database = anonymous(i.databasePIDs())
	}
	return anonymous(i.pids()), database
}

// rest watches a peer whose workers wait for work that does not come.
func (i *instance) rest(ctx context.Context, o options) (idleFigures, error) {
	f := idleFigures{queries: -1}
	if _, err := i.do(drive.Command{Do: "work", Workers: 16}); err != nil {
		return f, err
	}
	all := i.pids()
	if i.databasePIDs != nil {
		all = slices.Concat(all, i.databasePIDs())
	}
	count := func() (n int64, err error) {
		if i.queries != nil {
			n, err = i.queries(ctx)
		}
		return n, err
	}
	pause := time.Duration(o.Idle * float64(time.Second))
	time.Sleep(time.Second + i.late)
	before, err := count()
	if err != nil {
		return f, err
	}
	start, worked := time.Now(), processorTime(all)
	time.Sleep(pause)
	f.memory, f.database = i.memory()
	f.processor = (processorTime(all) - worked).Seconds() / time.Since(start).Seconds()
	after, err := count()
	if err != nil {
		return f, err
	}
	if i.queries != nil {
		f.queries = max(0, float64(after-before-1)) / time.Since(start).Seconds() // one of them is ours
	}
	_, err = i.do(drive.Command{Do: "rest"})
	return f, err
}

// lists fills every peer with a history and reads pages of it, in rounds.
func (r *report) lists(ctx context.Context, e *environment, size int) error {
	dirOf := func(f *figures) string { return filepath.Join(e.dir, f.peer.id+"-list") }
	for round := range r.options.Rounds {
		for _, f := range r.turn(round) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if size > temporalHistory*10 && f.peer.id == "temporal" {
				continue
			}
			log.Printf("histories of %d, round %d of %d: %s", size, round+1, r.options.Rounds, f.peer.id)
			if round == 0 {
				f.list[size] = &listFigures{}
			}
			if err := f.readHistory(ctx, e, dirOf(f), size, round == 0, r.options); err != nil {
				f.fail(fmt.Sprintf("reading a history of %d", size), err)
			}
		}
	}
	for _, f := range r.peers {
		if err := os.RemoveAll(dirOf(f)); err != nil {
			return err
		}
	}
	return nil
}

func (f *figures) readHistory(ctx context.Context, e *environment, dir string, size int, fresh bool, o options) (err error) {
	if fresh {
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
			return err
		}
	}
	i, err := f.peer.open(ctx, e, dir, fresh)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	l := f.list[size]
	if fresh {
		filled, err := i.do(drive.Command{Do: "fill", Tasks: size})
		if err != nil {
			return err
		}
		log.Printf("%s: filled in %.1f s", f.peer.id, filled.Seconds)
		if i.settle != nil {
			if err := i.settle(ctx); err != nil {
				return err
			}
		}
	} else {
		l.start = append(l.start, i.about.StartMS)
	}
	page, err := i.do(drive.Command{Do: "list", Seconds: o.Seconds / 2, Total: true})
	if err != nil {
		return err
	}
	l.page, l.total = append(l.page, page), page.Total
	alone, err := i.do(drive.Command{Do: "list", Seconds: o.Seconds / 2})
	if err != nil {
		return err
	}
	l.alone = append(l.alone, alone)
	if i.about.Deep {
		deep, err := i.do(drive.Command{Do: "list", Seconds: o.Seconds / 2, Total: true, Deep: true})
		if err != nil {
			return err
		}
		l.deep = append(l.deep, deep)
	}
	return nil
}
