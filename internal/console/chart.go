package console

import (
	"slices"
	"strconv"
	"time"

	"github.com/errandhq/errand/internal/tasks"
)

// chart is a bar for each hour, as SVG that the template draws. Lengths across
// are shares of the width, so that it fits any; heights are pixels.
type chart struct {
	Label  string // what it shows, for those who do not see it
	Height int
	Base   int // y of the line that the bars stand on
	TextY  int // of the axis
	Top    string
	Bars   []chartBar
	Ticks  []chartTick
	Empty  bool
}

type chartBar struct {
	X, Width string
	Title    string
	Parts    []chartPart // from below
}

type chartPart struct {
	Class     string
	Y, Height int
}

type chartTick struct{ X, Text string }

// The heights of a chart, in pixels.
const (
	chartTop  = 16
	chartBase = 112
	chartHigh = 132
)

// series is a part of each bar.
type series struct {
	class string
	word  string
	of    func(tasks.Hour) int
}

func endedSeries() []series {
	return []series{
		{"succeeded", "succeeded", func(h tasks.Hour) int { return h.Succeeded }},
		{"failed", "failed", func(h tasks.Hour) int { return h.Failed }},
		{"cancelled", "cancelled", func(h tasks.Hour) int { return h.Cancelled }},
	}
}

func failedSeries() []series { return endedSeries()[1:2] }

func (l look) chart(label string, hours []tasks.Hour, parts []series) chart {
	c := chart{Label: l.t(label), Height: chartHigh, Base: chartBase, TextY: chartHigh - 4, Empty: true}
	sum := func(h tasks.Hour) (n int) {
		for _, s := range parts {
			n += s.of(h)
		}
		return n
	}
	most := 0
	for _, h := range hours {
		most = max(most, sum(h))
	}
	top := niceTop(most)
	c.Top = strconv.Itoa(top)
	n := float64(len(hours))
	for i, h := range hours {
		bar := chartBar{X: percent(float64(i)+0.12, n), Width: percent(0.76, n)}
		bar.Title = h.From.In(l.zone).Format("15:04") + "–" + h.From.Add(time.Hour).In(l.zone).Format("15:04")
		y := float64(chartBase)
		for _, s := range parts {
			k := s.of(h)
			bar.Title += " · " + strconv.Itoa(k) + " " + l.t(s.word)
			if k == 0 {
				continue
			}
			c.Empty = false
			high := max(2, float64(k)*(chartBase-chartTop)/float64(top))
			y -= high
			bar.Parts = append(bar.Parts, chartPart{s.class, int(y), int(high)})
		}
		c.Bars = append(c.Bars, bar)
		if i%6 == 0 {
			c.Ticks = append(c.Ticks, chartTick{percent(float64(i)+0.1, n), h.From.In(l.zone).Format("15:04")})
		}
	}
	return c
}

// niceTop is a round number that is n at least, for the top of an axis.
func niceTop(n int) int {
	for scale := 1; ; scale *= 10 {
		for _, k := range []int{1, 2, 4, 5, 10} {
			if k*scale >= n && k*scale >= 4 {
				return k * scale
			}
		}
	}
}

// hoursOf says the hours of a chart in numbers, the last first, without those in
// which nothing happened.
func (l look) hoursOf(hours []tasks.Hour) []hourRow {
	var out []hourRow
	for _, h := range slices.Backward(hours) {
		if h.Submitted+h.Succeeded+h.Failed+h.Cancelled > 0 {
			out = append(out, hourRow{l.moment(h.From), h.Submitted, h.Succeeded, h.Failed, h.Cancelled})
		}
	}
	return out
}

type hourRow struct {
	From                                    moment
	Submitted, Succeeded, Failed, Cancelled int
}
