package main

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/errandhq/errand/bench/drive"
)

// panel is a part of the chart: a bar for each peer.
type panel struct {
	title  string
	log    bool // the length of a bar is the logarithm of what it stands for
	format func(float64) string
	of     func(*figures) float64
}

// The measures of the chart, in pixels.
const (
	chartWidth  = 860
	labelWidth  = 190
	valueWidth  = 90
	barHeight   = 18
	barGap      = 6
	panelHead   = 42
	panelBottom = 14
)

// The colours are those of the page: text takes the reader's own.
const chartStyle = `text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:14px}.n{fill:#57606a;font-size:12px}
.b{fill:#8c959f}.e{fill:#0969da}.u{opacity:.45}.g{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#8d96a0}.b{fill:#6e7681}.e{fill:#4493f8}.g{fill:#0d1117}}`

// chart draws submissions, latency and pages as SVG.
func (r *report) chart() string {
	last := r.options.Sizes[len(r.options.Sizes)-1]
	panels := []panel{
		{"Submissions per second, 16 clients (longer is better)", false, number, func(f *figures) float64 { return middle(f.submit[16], rate) }},
		{"From submission until the handler begins, idle system, p50 (logarithmic; shorter is better)", true, milliseconds,
			func(f *figures) float64 {
				return middle(f.latency, func(r drive.Result) float64 { return r.BegunP50 })
			}},
		{fmt.Sprintf("A page of an owner's tasks with the exact total, %s tasks, p50 (logarithmic; shorter is better)", number(float64(last))), true, milliseconds,
			func(f *figures) float64 {
				if l := f.list[last]; l != nil {
					return middle(l.page, p50)
				}
				return 0
			}},
	}
	height := 30
	for range panels {
		height += panelHead + len(r.peers)*(barHeight+barGap) + panelBottom
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="Errand beside its peers">`+"\n<style>%s</style>\n", chartWidth, height, chartStyle)
	fmt.Fprintf(&b, `<rect class="g" width="%d" height="%d"/>`+"\n", chartWidth, height)
	y := 0
	for _, p := range panels {
		y = p.draw(&b, r.peers, y)
	}
	fmt.Fprintf(&b, `<text class="n" x="12" y="%d">Errand over HTTP with signed requests; the others but Temporal as library calls. Pale: not synced before the answer.</text>`+"\n", y+16)
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws the panel below y and returns where it ends.
func (p panel) draw(b *strings.Builder, peers []*figures, y int) int {
	lowest, highest := math.Inf(1), 0.0
	for _, f := range peers {
		if v := p.of(f); v > 0 {
			lowest, highest = min(lowest, v), max(highest, v)
		}
	}
	fmt.Fprintf(b, `<text class="t" x="12" y="%d">%s</text>`+"\n", y+26, html.EscapeString(p.title))
	y += panelHead
	for _, f := range peers {
		v := p.of(f)
		class := "b"
		if f.peer.ours() {
			class = "e"
		}
		if f.peer.unsynced {
			class += " u"
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth, y+barHeight-4, html.EscapeString(f.peer.name))
		width := p.width(v, lowest, highest)
		text := "not measured"
		if v > 0 {
			text = p.format(v)
			fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, labelWidth+10, y, width, barHeight)
		}
		fmt.Fprintf(b, `<text class="n" x="%.1f" y="%d">%s</text>`+"\n", float64(labelWidth+16)+width, y+barHeight-4, html.EscapeString(text))
		y += barHeight + barGap
	}
	return y + panelBottom
}

// width returns the length of a bar. On a logarithmic scale the shortest one
// begins a factor of two below the lowest value.
func (p panel) width(v, lowest, highest float64) float64 {
	const room = chartWidth - labelWidth - valueWidth - 20
	switch {
	case v <= 0 || highest <= 0:
		return 0
	case !p.log:
		return room * v / highest
	}
	return room * math.Log(2*v/lowest) / math.Log(2*highest/lowest)
}
