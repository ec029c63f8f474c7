package console

import (
	"maps"
	"slices"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

type instanceView struct {
	frame
	ID, Name, Engine string
	Attributes       []attribute
	Timeline         timeline
	Zooms            []choice
	Running, Waiting int
	Queue            []queueRow
	History          taskTable
}

type attribute struct{ Name, Value string }

// choice is one of several ways to look at a page.
type choice struct {
	To, Text string
	Chosen   bool
}

type queueRow struct {
	taskRow
	Lane string
	Why  string
}

// queueRows is how many unfinished tasks of an instance are shown.
const queueRows = 50

func attributes(i errand.Instance) []attribute {
	var out []attribute
	for _, k := range slices.Sorted(maps.Keys(i.Attributes)) {
		out = append(out, attribute{clean(k, cutCell), clean(i.Attributes[k], cutLine)})
	}
	return out
}

func (c *Console) instance(v *visit) (reply, error) {
	i, err := c.Tasks.Instance(v.Context(), v.who, v.project(), v.PathValue("instance"))
	if err != nil {
		return reply{}, err
	}
	l := v.look
	view := instanceView{
		frame: c.frame(v, "Instance", "instances"), ID: i.ID, Name: clean(i.Name, cutCell), Engine: engineNames[i.Engine],
		Attributes: attributes(i),
	}
	view.Title, view.Live = view.Name, "instance="+i.ID
	unfinished, running, waiting, err := c.Runs.Unfinished(v.Context(), v.who, v.project(), i.ID, queueRows)
	if err != nil {
		return reply{}, err
	}
	view.Running, view.Waiting = running, waiting
	if view.Queue, err = c.queue(v, unfinished); err != nil {
		return reply{}, err
	}
	if view.Timeline, err = c.timeline(v, i, unfinished); err != nil {
		return reply{}, err
	}
	at := v.URL.Query().Get("at")
	for _, z := range []struct{ zoom, word string }{{"hour", "Hour"}, {"day", "Day"}, {"week", "Week"}, {"month", "Month"}} {
		view.Zooms = append(view.Zooms, choice{query("", "zoom", z.zoom, "at", at), l.t(z.word), z.zoom == view.Timeline.Zoom})
	}
	if view.History, err = c.history(v, i.ID); err != nil {
		return reply{}, err
	}
	return reply{page: "instance", view: view}, nil
}

// queue says of each unfinished task what it waits for. The service is asked for
// the first of each lane; the others wait behind it.
func (c *Console) queue(v *visit, unfinished []*errand.Task) ([]queueRow, error) {
	rows, ahead := c.rows(v), map[string]int{}
	var out []queueRow
	for _, t := range unfinished {
		row := queueRow{taskRow: rows.of(t), Lane: clean(t.Run.Lane, cutCell)}
		n := ahead[t.Run.Lane]
		switch {
		case t.Run.Lane == "":
			row.Lane = v.look.t("beside any")
		case !t.Run.RunAt.After(v.look.now):
			ahead[t.Run.Lane]++
			if n > 0 {
				row.Why = v.look.t("It waits in its lane; %d come first.", n)
			}
		}
		if row.Why == "" {
			w, err := c.Runs.Why(v.Context(), v.who, v.project(), t.ID)
			if e := errand.ErrorOf(err); e != nil && e.Kind == errand.NotFound {
				continue // it has ended and was deleted meanwhile
			} else if e != nil {
				return nil, err
			}
			row.Why = v.look.why(t, w)
		}
		out = append(out, row)
	}
	return out, nil
}

// lookBack is how many days before its stretch of time a timeline looks for what
// was submitted then and ran within.
const lookBack = 31

// timeline draws what an instance's tasks did in the stretch of time that the
// address names.
func (c *Console) timeline(v *visit, i errand.Instance, unfinished []*errand.Task) (timeline, error) {
	l, q := v.look, v.URL.Query()
	zoom := q.Get("zoom")
	if _, ok := zooms[zoom]; !ok {
		zoom = "day"
	}
	at := l.now
	if t, ok := l.at(q.Get("at")); ok {
		at = t
	}
	from, to := l.window(zoom, at)
	// What was submitted before may have run within; the newest come first, so that
	// looking back takes no room from those of this time.
	f := errand.Filter{Project: v.project(), Instance: i.ID, From: from.AddDate(0, 0, -lookBack), To: to, Limit: maxDrawn}
	p, err := c.Runs.Timeline(v.Context(), v.who, f)
	if err != nil {
		return timeline{}, err
	}
	f.From, f.Limit = from, 1
	within, err := c.Tasks.List(v.Context(), v.who, f)
	if err != nil {
		return timeline{}, err
	}
	var list []*errand.Task
	drawn := map[string]bool{}
	for k := range p.Tasks {
		list, drawn[p.Tasks[k].ID] = append(list, &p.Tasks[k]), true
	}
	for _, t := range unfinished { // however long ago they were submitted
		if !drawn[t.ID] {
			list = append(list, t)
		}
	}
	tl := l.timelineOf(zoom, from, to, list, c.catalog)
	tl.Total = within.Total
	return tl, nil
}

// history is the table of an instance's tasks.
func (c *Console) history(v *visit, instance string) (taskTable, error) {
	f, problem := v.filter()
	f.Instance = instance
	table := taskTable{Filter: filterOf(v), Problem: problem, Instance: instance}
	if problem != "" {
		return table, nil
	}
	p, err := c.Tasks.List(v.Context(), v.who, f)
	if e := errand.ErrorOf(err); e != nil && e.Kind == errand.Invalid {
		table.Problem = clean(e.Msg, cutLine)
		return table, nil
	} else if e != nil {
		return table, err
	}
	table.Rows = c.rows(v).all(p.Tasks)
	table.Pages = v.pager(f.Offset, f.Limit, len(p.Tasks), p.Total)
	return table, nil
}

// pageLimit is how many tasks a page has where nothing is said.
const pageLimit = 25

// filter reads the parameters that the API has, too: from, to, limit and offset.
func (v *visit) filter() (f errand.Filter, problem string) {
	q := v.URL.Query()
	f = errand.Filter{Project: v.project(), Offset: positive(q.Get("offset")), Limit: pageLimit}
	if n := positive(q.Get("limit")); n > 0 {
		f.Limit = min(n, tasks.MaxLimit)
	}
	for _, b := range []struct {
		name string
		to   *time.Time
		end  bool
	}{{"from", &f.From, false}, {"to", &f.To, true}} {
		text := q.Get(b.name)
		if text == "" {
			continue
		}
		t, ok := v.look.parse(text, b.end)
		if !ok {
			return f, v.look.t("%s is not a time; write it like 2026-01-31 18:00", clean(text, cutCell))
		}
		*b.to = t
	}
	return f, ""
}

// parse reads a time as people and browsers write it, in the viewer's zone. A day
// or a minute that ends a range is in it as a whole.
func (l look) parse(text string, end bool) (time.Time, bool) {
	if t, err := time.Parse(dayFormat, text); err == nil {
		y, m, d := t.Date()
		if end {
			return l.midnight(y, m, d+1).Add(-time.Microsecond), true
		}
		return l.midnight(y, m, d), true
	}
	for _, f := range []struct {
		layout string
		whole  time.Duration
	}{{time.RFC3339, 0}, {"2006-01-02T15:04:05", time.Second}, {"2006-01-02T15:04", time.Minute}, {secondFormat, time.Second}, {minuteFormat, time.Minute}} {
		t, err := time.ParseInLocation(f.layout, text, l.zone)
		if err != nil {
			continue
		}
		if end && f.whole > 0 {
			t = t.Add(f.whole - time.Microsecond)
		}
		return t, true
	}
	return time.Time{}, false
}
