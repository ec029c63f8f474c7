package console

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

type taskView struct {
	frame
	Task       taskRow
	Engine     string
	Facts      []fact
	Why        string
	WhyBehind  string // id of the task in the way
	Stuck      bool
	Percent    int // -1: no progress
	Remaining  string
	Bar        []barPart
	Steps      []stepRow
	Params     string
	Changes    []change // before and after
	Details    []attribute
	Result     string
	Attempts   []attemptRow
	Events     []eventRow
	More       string // address of the next events
	Log        string
	LogNext    int64
	LogCut     bool
	HasRun     bool
	Acts       []choice
	Unfinished bool
}

// fact is a line of the head of a task's page.
type fact struct {
	Name string
	Text string
	To   string // address, or ""
	Time moment
}

// barPart is a step in the bar of all of them.
type barPart struct {
	X, Width, Class, Title string
}

type stepRow struct {
	Name           string
	Sub            bool
	Status         statusView
	Started, Ended moment
	Took, Detail   string
}

type change struct{ Name, Before, After string }

type attemptRow struct {
	Number         int
	Worker         string
	Started, Ended moment
	Took, Error    string
}

type eventRow struct {
	At                    moment
	Act, From, To         string
	Who, Remote, Reason   string
	Request, ShortRequest string
}

// eventsPage is how many events a page of a task shows, logTail how much of its
// log, in bytes.
const (
	eventsPage = 100
	logTail    = 64 << 10
)

func (c *Console) task(v *visit) (reply, error) {
	t, err := c.Runs.Get(v.Context(), v.who, v.project(), v.PathValue("task"))
	if err != nil {
		return reply{}, err
	}
	w, err := c.Runs.Why(v.Context(), v.who, v.project(), t.ID)
	if err != nil {
		return reply{}, err
	}
	l, rows := v.look, c.rows(v)
	view := taskView{
		frame: c.frame(v, "Task", "tasks"), Task: rows.of(t), Engine: engineNames[t.Engine], Why: l.why(t, w),
		Params: indented(t.Params), Percent: -1, HasRun: t.Run != nil, Unfinished: !t.Status.Final() && t.Run != nil,
		Stuck: w.Code == tasks.WhyNoWorker || w.Code == tasks.WhySilent,
	}
	view.Title = clean(t.Operation, cutCell) + " " + view.Task.Short
	if view.Unfinished {
		view.Live = "task=" + t.ID
	}
	if w.Behind != nil {
		view.WhyBehind = w.Behind.ID
	}
	view.Facts = c.facts(v, t)
	view.Changes, view.Details = changes(t.Details)
	l.progress(&view, t, w)
	if t.Run != nil {
		view.Result = indented(string(t.Run.Result))
		for i, a := range t.Run.Attempts {
			view.Attempts = append(view.Attempts, l.attempt(i+1, a))
		}
		if err := c.logTail(v, t, &view); err != nil {
			return reply{}, err
		}
	}
	if err := c.events(v, t, &view); err != nil {
		return reply{}, err
	}
	view.Acts = c.possible(v, t)
	return reply{page: "task", view: view}, nil
}

func (c *Console) facts(v *visit, t *errand.Task) []fact {
	l := v.look
	var out []fact
	add := func(f fact) {
		if f.Text != "" || f.Time.Text != "" {
			f.Name = l.t(f.Name)
			out = append(out, f)
		}
	}
	add(fact{Name: "Submitted", Time: l.moment(t.CreatedAt)})
	if t.Status.Final() {
		add(fact{Name: "Ended", Time: l.moment(t.UpdatedAt)})
	} else {
		add(fact{Name: "Last change", Time: l.moment(t.UpdatedAt)})
	}
	add(fact{Name: "Error code", Text: clean(t.ErrorCode, cutCell)})
	if t.Origin != nil {
		add(fact{Name: "Imported as", Text: clean(t.Origin.Status, cutCell)})
	}
	if r := t.Run; r != nil {
		add(fact{Name: "Lane", Text: cmp.Or(clean(r.Lane, cutCell), l.t("beside any"))})
		if r.Scheduled {
			add(fact{Name: "To be started at", Time: l.moment(r.RunAt)})
		}
		add(fact{Name: "To be started by", Time: l.moment(r.Deadline)})
		if r.Timeout > 0 {
			add(fact{Name: "Time limit of an attempt", Text: l.duration(r.Timeout)})
		}
		add(fact{Name: "Attempts", Text: l.t("%d of %d", len(r.Attempts), r.MaxAttempts)})
		if !t.Status.Final() {
			add(fact{Name: "Worker", Text: clean(r.Lease.Worker, cutCell)})
		}
		if r.Cancel != nil {
			add(fact{Name: "Asked to stop", Text: strings.TrimSuffix(clean(r.Cancel.By.Name+" · "+r.Cancel.Reason, cutLine), " · ")})
		}
		if r.RetryOf != "" {
			add(fact{Name: "Runs again", Text: short(r.RetryOf), To: "tasks/" + r.RetryOf})
		}
	}
	return out
}

// progress fills in the bar and the table of steps.
func (l look) progress(view *taskView, t *errand.Task, w tasks.Why) {
	if t.Progress == nil {
		if t.Status == errand.Running {
			view.Percent = 0
		}
		return
	}
	view.Percent = t.Progress.Percent
	if w.Remaining > 0 {
		view.Remaining = l.t("about %s left", l.duration(w.Remaining))
	}
	n := float64(len(t.Progress.Steps))
	for i, s := range t.Progress.Steps {
		status := l.step(s.Status)
		view.Bar = append(view.Bar, barPart{percent(float64(i), n), percent(stepShare(i, len(t.Progress.Steps)), n), status.Class, clean(s.Name, cutCell) + ": " + status.Word})
		view.Steps = append(view.Steps, l.stepRow(s, false))
		for _, sub := range s.Steps {
			view.Steps = append(view.Steps, l.stepRow(sub, true))
		}
	}
}

// stepShare is how much of its place a step in the bar takes: all but the last
// leave a gap.
func stepShare(i, n int) float64 {
	if i == n-1 {
		return 1
	}
	return 0.985
}

func (l look) stepRow(s errand.Step, sub bool) stepRow {
	row := stepRow{
		Name: clean(s.Name, cutCell), Sub: sub, Status: l.step(s.Status), Started: l.moment(s.StartedAt), Ended: l.moment(s.EndedAt),
		Detail: clean(strings.TrimSpace(s.ErrorCode+" "+s.Detail), cutLine),
	}
	switch {
	case s.StartedAt.IsZero():
	case !s.EndedAt.IsZero():
		row.Took = l.duration(s.EndedAt.Sub(s.StartedAt))
	case s.Status == errand.StepRunning:
		row.Took = l.duration(l.now.Sub(s.StartedAt))
	}
	return row
}

func (l look) attempt(n int, a errand.Attempt) attemptRow {
	row := attemptRow{Number: n, Worker: clean(a.Worker, cutCell), Started: l.moment(a.StartedAt), Ended: l.moment(a.EndedAt), Error: clean(a.Error, cutLine)}
	end := a.EndedAt
	if end.IsZero() {
		end = l.now
	}
	row.Took = l.duration(end.Sub(a.StartedAt))
	return row
}

// changes finds in details what was before and what is after; the rest are facts.
func changes(details json.RawMessage) ([]change, []attribute) {
	var members map[string]json.RawMessage
	if json.Unmarshal(details, &members) != nil {
		return nil, nil
	}
	value := func(name string) string {
		var s string
		if json.Unmarshal(members[name], &s) == nil {
			return clean(s, cutLine)
		}
		return clean(string(members[name]), cutLine)
	}
	var pairs []change
	var rest []attribute
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if of, ok := strings.CutPrefix(name, "old_"); ok {
			pairs = append(pairs, change{clean(of, cutCell), value(name), value("new_" + of)})
		} else if of, ok := strings.CutPrefix(name, "new_"); ok {
			if _, paired := members["old_"+of]; !paired {
				pairs = append(pairs, change{clean(of, cutCell), "", value(name)})
			}
		} else {
			rest = append(rest, attribute{clean(name, cutCell), value(name)})
		}
	}
	return pairs, rest
}

// acts of events, for people.
var actWords = map[errand.Act]string{
	errand.ActImported: "imported", errand.ActDeleted: "deleted", errand.ActSubmitted: "submitted", errand.ActClaimed: "attempt begun",
	errand.ActReleased: "given back", errand.ActFinished: "attempt ended", errand.ActLost: "worker lost", errand.ActStopping: "asked to stop",
	errand.ActCancelled: "cancelled", errand.ActMissed: "deadline missed", errand.ActRescheduled: "moved", errand.ActStalled: "no worker there",
}

func (c *Console) events(v *visit, t *errand.Task, view *taskView) error {
	after := int64(positive(v.URL.Query().Get("after")))
	list, err := c.Tasks.Events(v.Context(), v.who, v.project(), t.ID, after, eventsPage)
	if err != nil {
		return err
	}
	l := v.look
	for _, e := range list {
		row := eventRow{
			At: l.moment(e.At), Act: l.t(actWords[e.Act]), Who: clean(e.Actor.Name, cutCell), Remote: clean(e.Remote, cutCell),
			Request: clean(e.Request, cutCell), ShortRequest: short(e.Request), Reason: clean(e.Reason, cutLine),
		}
		if e.To != "" && e.To != e.From {
			row.To = l.t(statusWords[e.To])
			if e.From != "" {
				row.From = l.t(statusWords[e.From])
			}
		}
		view.Events = append(view.Events, row)
	}
	if len(list) == eventsPage {
		view.More = "?after=" + strconv.FormatInt(list[len(list)-1].Seq, 10) + "#events"
	}
	return nil
}

// logTail reads the end of a task's log.
func (c *Console) logTail(v *visit, t *errand.Task, view *taskView) error {
	_, size, err := c.Runs.Log(v.Context(), v.who, v.project(), t.ID, 0, 1)
	if err != nil {
		return err
	}
	from := max(0, size-logTail)
	text, _, err := c.Runs.Log(v.Context(), v.who, v.project(), t.ID, from, tasks.MaxLogRead)
	if err != nil {
		return err
	}
	text = wholeRunes(text)
	view.LogNext, view.LogCut = from+int64(len(text)), from > 0
	if view.LogCut { // not in the middle of a line
		if i := slices.Index(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
	}
	view.Log = block(string(text), len(text))
	return nil
}

// wholeRunes leaves a character that is cut at the end of a text to the part that
// comes next, unless there is nothing else.
func wholeRunes(text []byte) []byte {
	for n := 1; n < utf8.UTFMax && n < len(text); n++ {
		if b := text[len(text)-n]; utf8.RuneStart(b) {
			if !utf8.FullRune(text[len(text)-n:]) {
				return text[:len(text)-n]
			}
			break
		}
	}
	return text
}

// log sends a log: the part from an offset on for the page that follows it, or
// the whole as a file.
func (c *Console) log(v *visit) (reply, error) {
	id, q := v.PathValue("task"), v.URL.Query()
	if q.Has("download") {
		return c.download(v, id)
	}
	from, err := strconv.ParseInt(q.Get("from"), 10, 64)
	if err != nil || from < 0 {
		return reply{}, errand.Errorf(errand.Invalid, "from", "from must be how many bytes of the log to pass over")
	}
	text, size, err := c.Runs.Log(v.Context(), v.who, v.project(), id, from, logTail)
	if err != nil {
		return reply{}, err
	}
	text = wholeRunes(text)
	return reply{write: func(w http.ResponseWriter) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("X-Log-Next", strconv.FormatInt(from+int64(len(text)), 10))
		h.Set("X-Log-Size", strconv.FormatInt(size, 10))
		_, _ = w.Write([]byte(block(string(text), len(text))))
	}}, nil
}

// download sends a log as it is, in parts: it may be long.
func (c *Console) download(v *visit, id string) (reply, error) {
	text, size, err := c.Runs.Log(v.Context(), v.who, v.project(), id, 0, tasks.MaxLogRead)
	if err != nil {
		return reply{}, err
	}
	return reply{write: func(w http.ResponseWriter) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Disposition", `attachment; filename="task-`+id+`.log"`)
		for at := int64(0); ; {
			if _, err := w.Write(text); err != nil {
				return
			}
			if at += int64(len(text)); len(text) == 0 || at >= size {
				return
			}
			if text, _, err = c.Runs.Log(v.Context(), v.who, v.project(), id, at, tasks.MaxLogRead); err != nil {
				panic(http.ErrAbortHandler) // the file must not look complete
			}
		}
	}}, nil
}
