package main

import (
	"fmt"
	"strings"

	"github.com/errandhq/errand/bench/drive"
)

// contest is a figure in which one of ours can lose.
type contest struct {
	what   string
	of     func(*figures) float64 // 0: not measured
	more   bool                   // the greater one wins
	format func(float64) string
	why    string // what costs us the difference
}

func (r *report) contests() []contest {
	last := r.options.Sizes[len(r.options.Sizes)-1]
	return []contest{
		{"submissions with 1 client", func(f *figures) float64 { return middle(f.submit[1], rate) }, true, perSecond,
			"one caller pays for HTTP, for the signature and for a commit with an event and counts, with nobody to share it with"},
		{"submissions with 16 clients", func(f *figures) float64 { return middle(f.submit[16], rate) }, true, perSecond,
			"a request of ours costs more processor time than a library call, and load and server share the same processors; what is not synced is not comparable"},
		{"submissions with 64 clients", func(f *figures) float64 { return middle(f.submit[64], rate) }, true, perSecond,
			"as with 16; and beyond the disk, processor time decides"},
		{"time until an idle system begins a task", func(f *figures) float64 {
			return middle(f.latency, func(r drive.Result) float64 { return r.BegunP50 })
		}, false, milliseconds, "submission and claim are two HTTP requests and two synced commits"},
		{"tasks run with 16 workers", func(f *figures) float64 { return middle(f.drain[16], rate) }, true, perSecond,
			"every end of ours is a request and a commit of its own, with its event, and no task runs beside another one of its instance; libraries end many in one statement"},
		{"tasks run with 64 workers", func(f *figures) float64 { return middle(f.drain[64], rate) }, true, perSecond, "as with 16: more workers help who ends many tasks in one statement"},
		{"a page with its total of the longest history", func(f *figures) float64 {
			if l := f.list[last]; l != nil {
				return middle(l.page, p50)
			}
			return 0
		}, false, milliseconds, "a request over HTTP takes a tenth of a millisecond or two by itself; a queue that is a list in Redis has its length at hand, and no filter"},
		{"memory, idle, without the database", func(f *figures) float64 {
			return middle(f.idle, func(i idleFigures) float64 { return float64(i.memory) })
		}, false, megabytes, "a server with its catalogue, its dialects and its documentation is more than a library"},
	}
}

func perSecond(f float64) string { return number(f) + "/s" }

// losses says in what ours are behind a peer.
func (r *report) losses(b *strings.Builder) {
	b.WriteString("## Where Errand loses\n\nWorked out from the figures above: what is better than one of ours by more than a tenth.\n\n")
	lost := 0
	for _, c := range r.contests() {
		var ours, better []string
		for _, f := range r.peers {
			v := c.of(f)
			switch {
			case v == 0:
			case f.peer.ours():
				ours = append(ours, fmt.Sprintf("%s %s", f.peer.name, c.format(v)))
			default:
				if some, than := r.beaten(c, v); some {
					better = append(better, fmt.Sprintf("%s %s%s", f.peer.label(), c.format(v), than))
				}
			}
		}
		if len(ours) > 0 && len(better) > 0 {
			lost++
			fmt.Fprintf(b, "- **%s**: %s. Better: %s. Why: %s.\n", c.what, strings.Join(ours, ", "), strings.Join(better, "; "), c.why)
		}
	}
	if lost == 0 {
		b.WriteString("In nothing that was measured in this run.\n")
	}
}

// beaten reports whether a peer's figure is better than some of ours, and says
// than which where that is not all of them.
func (r *report) beaten(c contest, theirs float64) (some bool, than string) {
	var names []string
	all := 0
	for _, f := range r.peers {
		v := c.of(f)
		if v == 0 || !f.peer.ours() {
			continue
		}
		all++
		if c.more && theirs > 1.1*v || !c.more && theirs < v/1.1 {
			names = append(names, f.peer.name)
		}
	}
	switch len(names) {
	case 0:
		return false, ""
	case all:
		return true, ""
	}
	return true, " (than " + strings.Join(names, ", ") + ")"
}

// ours reports whether p is Errand.
func (p *peer) ours() bool { return strings.HasPrefix(p.id, "errand-") }

// label is p's name, with what makes its figures easier to reach.
func (p *peer) label() string {
	if p.unsynced {
		return p.name + " (not synced)"
	}
	return p.name
}
