package console

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// timeline is an instance's tasks over a stretch of time, a row for each lane.
// Lengths across are shares of the width; heights are pixels.
type timeline struct {
	Zoom       string // "hour", "day", "week" or "month"
	Span       string // what is shown, in words
	From, To   time.Time
	Prev, Next string // values of "at" for the neighbours; Next is "" if it is all in the future
	Total      int    // tasks that were submitted within it
	Drawn      int    // how many of them are drawn: the newest
	Rows       []laneRow
	Ticks      []chartTick
	Now        string // where now is; "" if it is not within
	Height     int
	Label      string
}

type laneRow struct {
	Name  string
	Y     int // of its name
	LineY int // of the line below it
	Bars  []laneBar
}

// laneBar is a task: the thin part of it waited, the thick part ran.
type laneBar struct {
	ID    string
	Class string
	Title string
	Text  string // within the bar; "" where there is no room

	WaitX, WaitWidth string
	RunX, RunWidth   string
	Y, WaitY         int
	Waited, Ran      bool
}

// The sizes of a timeline, in pixels, and how much is drawn at the most.
const (
	barHigh    = 22
	rowGap     = 6
	laneHead   = 20
	axisHigh   = 24
	maxStack   = 6   // bars above each other in one lane
	maxDrawn   = 400 // tasks
	leastShare = 0.004
	leastLabel = 0.05 // of the width, so that more than a letter is seen
)

// zooms says how many days each stretch has; an hour has none.
var zooms = map[string]int{"hour": 0, "day": 1, "week": 7, "month": 31}

// window returns the stretch of time that ends with at: a whole hour or whole
// days in the viewer's zone.
func (l look) window(zoom string, at time.Time) (from, to time.Time) {
	at = at.In(l.zone)
	if zoom == "hour" { // of the clock, also where the clock is put back and an hour is there twice
		from = at.Add(-time.Duration(at.Minute())*time.Minute - time.Duration(at.Second())*time.Second - time.Duration(at.Nanosecond()))
		return from, from.Add(time.Hour)
	}
	y, m, d := at.Date()
	return l.midnight(y, m, d+1-zooms[zoom]), l.midnight(y, m, d+1)
}

// midnight is the first moment of a day, which is one o'clock where the clock is put
// forward at midnight.
func (l look) midnight(y int, m time.Month, d int) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, l.zone)
	if t.Day() != time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Day() {
		t = t.Add(time.Hour)
	}
	return t
}

// hourFormat is how the address of a timeline names an hour: in UTC, because an
// hour of a clock may come twice.
const hourFormat = "2006-01-02T15:04Z"

// at reads what neighbours writes: the stretch of time that is looked at ends
// with it.
func (l look) at(text string) (time.Time, bool) {
	t, err := time.Parse(hourFormat, text)
	if err != nil {
		if t, err = time.Parse(dayFormat, text); err != nil {
			return t, false
		}
		y, m, d := t.Date()
		t = time.Date(y, m, d, 12, 0, 0, 0, l.zone) // there is always a noon
	}
	return t, t.Year() > 1970 && t.Before(l.now.AddDate(1, 0, 0))
}

// neighbours returns the values of "at" of the stretches before and after; the
// one after is "" if it is all in the future.
func (l look) neighbours(zoom string, from, to time.Time) (prev, next string) {
	name := func(t time.Time) string {
		if zoom == "hour" {
			return t.UTC().Format(hourFormat)
		}
		return t.Format(dayFormat)
	}
	prev = name(from.Add(-time.Minute))
	if to.Before(l.now) && zoom == "hour" {
		next = name(to)
	} else if to.Before(l.now) {
		y, m, d := to.Date()
		next = name(l.midnight(y, m, d+zooms[zoom]-1))
	}
	return prev, next
}

// span is when a task waited and ran.
type span struct {
	task             *errand.Task
	from, start, end time.Time // start is zero if it has not run
	lane             string
}

func spanOf(t *errand.Task, lane string, now time.Time) span {
	s := span{task: t, from: t.CreatedAt, end: t.UpdatedAt, lane: lane}
	if !t.Status.Final() {
		s.end = now
	}
	switch {
	case t.Run == nil && t.Status != errand.Pending: // when a record of elsewhere was started is not known
		s.start = s.from
	case t.Run != nil && len(t.Run.Attempts) > 0:
		s.start = t.Run.Attempts[0].StartedAt
	}
	if s.end.Before(s.from) {
		s.end = s.from
	}
	return s
}

// timelineOf lays out tasks, the newest first, in a stretch of time.
func (l look) timelineOf(zoom string, from, to time.Time, list []*errand.Task, ops catalog) timeline {
	tl := timeline{Zoom: zoom, From: from, To: to}
	tl.Span = from.Format(dayFormat)
	switch zoom {
	case "hour":
		tl.Span = from.Format(minuteFormat) + " – " + to.Format("15:04")
	case "week", "month":
		tl.Span += " – " + to.Add(-time.Second).Format(dayFormat)
	}
	tl.Prev, tl.Next = l.neighbours(zoom, from, to)
	lanes := map[string][]span{}
	for _, t := range list {
		s := spanOf(t, laneOf(t, ops), l.now)
		if s.end.After(from) && s.from.Before(to) {
			lanes[s.lane] = append(lanes[s.lane], s)
			if !t.CreatedAt.Before(from) {
				tl.Drawn++
			}
		}
	}
	names := make([]string, 0, len(lanes))
	for name := range lanes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { // the lane of the instance first, what has none last
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	y := axisHigh
	for _, name := range names {
		row := l.laneRow(name, lanes[name], from, to, y)
		tl.Rows = append(tl.Rows, row)
		y = row.LineY
	}
	tl.Height = y + 4
	tl.Ticks = l.ticks(zoom, from, to)
	if l.now.After(from) && l.now.Before(to) {
		tl.Now = percent(float64(l.now.Sub(from)), float64(to.Sub(from)))
	}
	tl.Label = l.t("Timeline of %s", tl.Span)
	return tl
}

func rank(lane string) int {
	switch lane {
	case errand.DefaultLane:
		return 0
	case "":
		return 2
	}
	return 1
}

// laneOf is the lane of a task; of a record that ran elsewhere, that of its
// operation here.
func laneOf(t *errand.Task, ops catalog) string {
	if t.Run != nil {
		return t.Run.Lane
	}
	if o, ok := ops.of(t); ok {
		return o.Lane
	}
	return errand.DefaultLane
}

// laneRow lays out one lane. What overlaps is put above each other, as far as
// there is room.
func (l look) laneRow(name string, spans []span, from, to time.Time, y int) laneRow {
	row := laneRow{Name: clean(name, 40), Y: y + 13}
	if name == "" {
		row.Name = l.t("beside any")
	}
	y += laneHead
	slices.SortStableFunc(spans, func(a, b span) int { return a.begin().Compare(b.begin()) })
	whole := float64(to.Sub(from))
	var free [maxStack]float64 // up to where each level is taken
	used := 1
	for _, s := range spans {
		begin := share(s.begin(), from, whole)
		level := 0
		for level < maxStack-1 && free[level] > begin {
			level++
		}
		// Up to its end, though one that is drawn wider than it is reaches further:
		// what ran one after another stays in one line.
		free[level] = share(s.end, from, whole)
		used = max(used, level+1)
		row.Bars = append(row.Bars, l.laneBar(s, from, whole, y+level*(barHigh+rowGap)))
	}
	row.LineY = y + used*(barHigh+rowGap) + 2
	return row
}

// begin is from when on a span takes room: what only waited is as long as it did.
func (s span) begin() time.Time {
	if s.start.IsZero() {
		return s.from
	}
	return s.start
}

// share is where t is between from and the end of the stretch, 0 to 1.
func share(t, from time.Time, whole float64) float64 {
	return min(1, max(0, float64(t.Sub(from))/whole))
}

func (l look) laneBar(s span, from time.Time, whole float64, y int) laneBar {
	t := s.task
	b := laneBar{
		ID: t.ID, Class: string(t.Status), Text: clean(t.Operation, 40), Y: y, WaitY: y + barHigh/2 - 2,
	}
	if t.User.Name != "" {
		b.Text += " · " + clean(t.User.Name, 40)
	}
	title := []string{b.Text, l.t(statusWords[t.Status])}
	title = append(title, s.from.In(l.zone).Format(secondFormat)+" – "+s.end.In(l.zone).Format(secondFormat))
	if !s.start.IsZero() && t.Run != nil {
		title = append(title, l.t("waited %s, ran %s", l.duration(s.start.Sub(s.from)), l.duration(s.end.Sub(s.start))))
	}
	if t.Reason != "" {
		title = append(title, clean(t.Reason, cutCell))
	}
	b.Title = strings.Join(title, "\n")
	waitTo := s.start
	if waitTo.IsZero() {
		waitTo = s.end
	}
	at, start, end := share(s.from, from, whole), share(waitTo, from, whole), share(s.end, from, whole)
	b.Waited, b.WaitX, b.WaitWidth = start > at || s.start.IsZero(), percent(at, 1), percent(max(leastShare, start-at), 1)
	if end-start < leastLabel {
		b.Text = ""
	}
	if !s.start.IsZero() {
		b.Ran, b.RunX, b.RunWidth = true, percent(min(start, 1-leastShare), 1), percent(max(leastShare, end-start), 1)
	}
	return b
}

// ticks are the lines of the axis.
func (l look) ticks(zoom string, from, to time.Time) []chartTick {
	whole := float64(to.Sub(from))
	var out []chartTick
	for t, i := from, 0; t.Before(to); i++ {
		text := t.Format("15:04")
		switch zoom {
		case "week":
			text = t.Format("01-02")
		case "month":
			text = t.Format("01-02")
			if i%5 != 0 {
				text = ""
			}
		}
		out = append(out, chartTick{percent(float64(t.Sub(from)), whole), text})
		switch zoom {
		case "hour":
			t = t.Add(10 * time.Minute)
		case "day":
			t = t.Add(4 * time.Hour)
		default:
			t = t.AddDate(0, 0, 1)
		}
	}
	return out
}
