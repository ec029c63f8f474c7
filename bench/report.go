package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/errandhq/errand/bench/drive"
)

// report is everything that the page says.
type report struct {
	Command string
	options options
	began   time.Time
	took    time.Duration
	machine []string
	disk    []float64 // synced writes per second, in each round
	peers   []*figures
}

// table is one of the page.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table in Markdown.
func (t *table) write(w io.Writer) {
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	fmt.Fprintln(w, strings.Repeat("|---", len(t.head))+"|")
	for _, r := range t.rows {
		for i := range r {
			r[i] = strings.ReplaceAll(r[i], "|", `\|`)
		}
		line(r)
	}
	fmt.Fprintln(w)
}

// write writes the page. chart is the name of its picture, or "" for none.
func (r *report) write(w io.Writer, chart string) error {
	var b strings.Builder
	r.intro(&b, chart)
	r.submits(&b)
	r.latencies(&b)
	r.drains(&b)
	for _, size := range r.options.Sizes {
		r.pages(&b, size)
	}
	r.growth(&b)
	r.footprints(&b)
	r.who(&b)
	r.losses(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) intro(b *strings.Builder, chart string) {
	fmt.Fprintf(b, `# Errand beside its peers

The same work on the same machine in one run, one system at a time, in %s whose order is reversed each time; the
figures are medians of the rounds. Made on %s in %.0f minutes by

    %s

in the directory bench ("make bench-peers"). Nothing here is a test: repeat it on your own machine before you decide anything.

`, several(r.options.Rounds, "round"), r.began.UTC().Format("2006-01-02"), r.took.Minutes()+0.5, r.Command)
	if chart != "" {
		fmt.Fprintf(b, "![Submissions, latency and pages of Errand and its peers](%s)\n\n", chart)
	}
	b.WriteString("## The machine\n\n")
	for _, m := range r.machine {
		fmt.Fprintf(b, "- %s\n", m)
	}
	fmt.Fprintf(b, "- the disk syncs %s single writes of 4 KiB a second (", number(median(r.disk, mean)))
	for i, d := range r.disk {
		fmt.Fprintf(b, "%s%s", map[bool]string{true: ", "}[i > 0], number(d))
	}
	b.WriteString(` in the rounds)

## Read this first

- Load, workers, servers and databases share these processors. That is the same for all, and it costs the system most that
  does most outside of the database.
- **Errand is measured as a user meets it**: the binary over HTTP, every request signed and checked, with an event and
  counts in the same transaction. The peers, Temporal apart, are library calls in the process that submits and works: no
  HTTP, no authentication, no record of who did what. Their figures are what an application gets that links the library;
  an API of its own would come on top. Errand cannot be had without its API, so there is no such figure for it.
- Not every "submitted" is equally safe: the tables say what is synced to disk before the answer, and what is not.
- Every submission carries the same 55 bytes or so, every handler does nothing. Tasks are spread over 256 owners.
- What takes less than a few milliseconds varies by a third from run to run; ratios vary less.

`)
}

// base is what the others are compared to: the first that was measured.
func (r *report) base(of func(*figures) float64) float64 {
	for _, f := range r.peers {
		if v := of(f); v > 0 {
			return v
		}
	}
	return 0
}

func (r *report) submits(b *strings.Builder) {
	clients := slices.Clone(r.options.Clients)
	for _, f := range r.peers {
		for _, c := range f.peer.clients {
			if !slices.Contains(clients, c) {
				clients = append(clients, c)
			}
		}
	}
	b.WriteString("## Submitting\n\nOne task per call, each client after its answer; nobody runs them. Rate per second, and the time of half and of 99 % of the calls.\n\n")
	t := &table{head: []string{"", "an answered submission is"}}
	for _, c := range clients {
		t.head = append(t.head, several(c, "client")+": /s", "p50", "p99")
	}
	t.head = append(t.head, "ratio at 16")
	at16 := func(f *figures) float64 { return middle(f.submit[16], rate) }
	for _, f := range r.peers {
		row := []string{f.peer.name, f.peer.durable}
		for _, c := range clients {
			row = append(row, cells(f.submit[c], rate, number)...)
		}
		t.add(append(row, ratio(at16(f), r.base(at16)))...)
	}
	t.write(b)
}

// cells are a figure with its times, or dashes.
func cells(all []drive.Result, of func(drive.Result) float64, format func(float64) string) []string {
	if middle(all, p50) == 0 { // no call has fitted into the time
		return []string{"–", "–", "–"}
	}
	return []string{format(middle(all, of)), milliseconds(middle(all, p50)), milliseconds(middle(all, p99))}
}

func (r *report) latencies(b *strings.Builder) {
	b.WriteString("## From submission to the end, on an idle system\n\nOne task at a time, 16 workers waiting, 5 to 20 ms of rest between two. " +
		"*Begun* is when the handler is called, *ended* when the system has recorded the end and says so.\n\n")
	t := &table{head: []string{"", "begun: p50", "p99", "ended: p50", "p99", "not its default"}}
	for _, f := range r.peers {
		row := []string{f.peer.name, "–", "–", "–", "–", f.peer.tuned}
		if len(f.latency) > 0 {
			row[1] = milliseconds(middle(f.latency, func(r drive.Result) float64 { return r.BegunP50 }))
			row[2] = milliseconds(middle(f.latency, func(r drive.Result) float64 { return r.BegunP99 }))
			row[3], row[4] = milliseconds(middle(f.latency, p50)), milliseconds(middle(f.latency, p99))
		}
		if strings.HasPrefix(f.peer.id, "asynq") {
			row[3], row[4] = "nobody says", "nobody says"
		}
		t.add(row...)
	}
	t.write(b)
}

func (r *report) drains(b *strings.Builder) {
	fmt.Fprintf(b, "## Running what waits\n\n%d tasks wait (%d for Temporal); then the workers begin. Tasks per second until the last has ended, or of what was done after ten seconds.\n\n",
		r.options.Drain, min(r.options.Drain, 300))
	t := &table{head: []string{"", "lanes"}}
	for _, w := range r.options.Workers {
		t.head = append(t.head, several(w, "worker")+": /s")
	}
	t.head = append(t.head, "ratio at 16")
	at16 := func(f *figures) float64 { return middle(f.drain[16], rate) }
	for _, f := range r.peers {
		row := []string{f.peer.name, f.peer.lanes}
		for _, w := range r.options.Workers {
			if len(f.drain[w]) == 0 {
				row = append(row, "–")
				continue
			}
			row = append(row, number(middle(f.drain[w], rate)))
		}
		t.add(append(row, ratio(at16(f), r.base(at16)))...)
	}
	t.write(b)
}

func (r *report) pages(b *strings.Builder, size int) {
	fmt.Fprintf(b, "## A page of one owner's tasks, %s tasks in all\n\nThe newest ten, with the exact number of all; then the page alone; then a page at nine tenths of them, with the number.\n\n", number(float64(size)))
	t := &table{head: []string{"", "by", "tasks of the owner", "page and total: p50", "p99", "page alone: p50", "deep page: p50", "ratio"}}
	with := func(f *figures) float64 {
		if l := f.list[size]; l != nil {
			return middle(l.page, p50)
		}
		return 0
	}
	for _, f := range r.peers {
		row := []string{f.peer.name, f.peer.lists, "–", "–", "–", "–", "–", ratio(with(f), r.base(with))}
		if l := f.list[size]; l != nil && len(l.page) > 0 {
			row[2], row[3], row[4] = number(float64(l.total)), milliseconds(middle(l.page, p50)), milliseconds(middle(l.page, p99))
			if len(l.alone) > 0 {
				row[5] = milliseconds(middle(l.alone, p50))
			}
			if len(l.deep) > 0 {
				row[6] = milliseconds(middle(l.deep, p50))
			}
		}
		t.add(row...)
	}
	t.write(b)
}

// growth compares the histories.
func (r *report) growth(b *strings.Builder) {
	sizes := r.options.Sizes
	if len(sizes) < 2 {
		return
	}
	b.WriteString("## What a longer history costs\n\nThe page with its total, p50, and how many times as long it takes on the longest history as on the shortest.\n\n")
	t := &table{head: []string{""}}
	for _, s := range sizes {
		t.head = append(t.head, number(float64(s))+" tasks")
	}
	t.head = append(t.head, "growth")
	for _, f := range r.peers {
		row := []string{f.peer.name}
		var first, last float64
		for i, s := range sizes {
			if f.list[s] == nil || len(f.list[s].page) == 0 {
				row = append(row, "–")
				continue
			}
			last = middle(f.list[s].page, p50)
			if i == 0 {
				first = last
			}
			row = append(row, milliseconds(last))
		}
		if row[len(row)-1] == "–" {
			last = 0
		}
		t.add(append(row, ratio(last, first))...)
	}
	t.write(b)
}

func (r *report) footprints(b *strings.Builder) {
	b.WriteString("## What it takes\n\nAnonymous memory (without files and shared memory) with 16 workers waiting, and after all loads; processor and database queries while nothing happens, watched once for ten seconds. " +
		"Of Errand and Temporal it is the server, of the libraries the process that they live in, which also makes the load here. " +
		"Start is until it answers, on the longest history that was listed; of a library until it is connected and its schema checked, without the start of a process.\n\n")
	t := &table{head: []string{"", "memory idle", "after load", "its database idle", "after load", "processor idle", "queries/s idle", "start"}}
	for _, f := range r.peers {
		row := []string{f.peer.name, "–", "–", "–", "–", "–", "–", "–"}
		if len(f.idle) > 0 && len(f.loaded) > 0 {
			row[1] = megabytes(middle(f.idle, func(i idleFigures) float64 { return float64(i.memory) }))
			row[2] = megabytes(middle(f.loaded, func(l loadedFigures) float64 { return float64(l.memory) }))
			if f.idle[0].database > 0 {
				row[3] = megabytes(middle(f.idle, func(i idleFigures) float64 { return float64(i.database) }))
				row[4] = megabytes(middle(f.loaded, func(l loadedFigures) float64 { return float64(l.database) }))
			}
			row[5] = fmt.Sprintf("%.1f %%", 100*middle(f.idle, func(i idleFigures) float64 { return i.processor }))
			if q := middle(f.idle, func(i idleFigures) float64 { return i.queries }); q >= 0 {
				row[6] = number(q)
			}
		}
		for _, size := range r.options.Sizes {
			if l := f.list[size]; l != nil && len(l.start) > 0 {
				row[7] = milliseconds(median(l.start, mean))
			}
		}
		t.add(row...)
	}
	t.write(b)
}

func (r *report) who(b *strings.Builder) {
	b.WriteString("## Who was measured\n\n")
	t := &table{head: []string{"", "version", "how it is called", "not its default"}}
	for _, f := range r.peers {
		t.add(f.peer.name, f.version, f.peer.met, f.peer.tuned)
	}
	t.write(b)
	for _, f := range r.peers {
		if f.failed != "" {
			fmt.Fprintf(b, "**%s**: %s\n\n", f.peer.name, strings.Join(strings.Fields(f.failed), " "))
		}
	}
}
