package console

import (
	"regexp"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// How many tasks of a kind the overview shows.
const overviewRows = 20

type overviewView struct {
	frame
	Running, Waiting int
	FailedCount      int // within the hours that are known
	EndedCount       int
	Instances, Tasks int

	RunningRows, WaitingRows []taskRow
	Stuck                    []stuckRow
	Failed                   []taskRow

	Throughput, Failures chart
	Hours                []hourRow
	Since                moment
	Short                bool // less than a day is known
}

type stuckRow struct {
	taskRow
	Why string
}

func (c *Console) overview(v *visit) (reply, error) {
	o, err := c.Runs.Overview(v.Context(), v.who, v.project())
	if err != nil {
		return reply{}, err
	}
	l, rows := v.look, c.rows(v)
	view := overviewView{
		frame: c.frame(v, "Overview", "overview"), Running: o.Running, Waiting: o.Waiting, Instances: o.Instances, Tasks: o.Tasks,
		Failed:     rows.refs(o.Failed),
		Throughput: l.chart("Tasks that ended, by hour", o.Hours, endedSeries()),
		Failures:   l.chart("Failures, by hour", o.Hours, failedSeries()),
		Hours:      l.hoursOf(o.Hours), Since: l.moment(o.Since),
	}
	view.Live = "project=1"
	if len(o.Hours) > 0 {
		view.Short = o.Since.After(o.Hours[0].From)
	}
	for _, h := range o.Hours {
		view.FailedCount += h.Failed
		view.EndedCount += h.Succeeded + h.Failed + h.Cancelled
	}
	for _, t := range o.Unfinished {
		switch row := rows.of(t); {
		case t.Status == errand.Running && len(view.RunningRows) < overviewRows:
			view.RunningRows = append(view.RunningRows, row)
		case t.Status == errand.Pending && len(view.WaitingRows) < overviewRows:
			view.WaitingRows = append(view.WaitingRows, row)
		}
	}
	for _, s := range o.Stuck {
		view.Stuck = append(view.Stuck, stuckRow{rows.of(s.Task), l.why(s.Task, s.Why)})
	}
	return reply{page: "overview", view: view}, nil
}

// saidTime is a time in a sentence of the service.
var saidTime = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// why says in the language of the page what a task waits for. English has the
// sentence of the service, with its times in the viewer's zone.
func (l look) why(t *errand.Task, w tasks.Why) string {
	if l.lang != "zh" {
		return clean(l.localized(t, w), cutLine)
	}
	return clean(l.whyChinese(t, w), cutLine)
}

// localized is the sentence of the service with its own time in the viewer's zone.
// Times in what users and workers wrote, which comes after it, stay as they are.
func (l look) localized(t *errand.Task, w tasks.Why) string {
	first := saidTime.FindStringIndex(w.Text)
	again := t.Run != nil && len(t.Run.Attempts) > 0
	if first == nil || w.Code != tasks.WhyEnded && (w.Code != tasks.WhyTime || again) {
		return w.Text
	}
	at, err := time.Parse(time.RFC3339, w.Text[first[0]:first[1]])
	if err != nil {
		return w.Text
	}
	return w.Text[:first[0]] + l.moment(at).Text + w.Text[first[1]:]
}

func (l look) whyChinese(t *errand.Task, w tasks.Why) string {
	ago := ""
	if !w.LastSeen.IsZero() {
		ago = l.duration(l.now.Sub(w.LastSeen))
	}
	text := ""
	switch w.Code {
	case tasks.WhyEnded:
		return l.t(statusWords[t.Status]) + " · " + l.moment(t.UpdatedAt).Text + sep(t.Reason)
	case tasks.WhyRecord:
		return l.t("The record was imported; the task does not run here.")
	case tasks.WhyTime:
		text = l.t("It is to be started at %s, in %s.", l.moment(w.Until).Text, l.duration(w.Until.Sub(l.now)))
		if t.Run != nil && len(t.Run.Attempts) > 0 {
			text = l.t("Attempt %d of %d failed; the next one starts in %s.", len(t.Run.Attempts), t.Run.MaxAttempts, l.duration(w.Until.Sub(l.now))) + sep(t.Reason)
		}
		return text
	case tasks.WhyLane:
		text = l.t("It waits in its lane behind task %s; %d come first.", w.Behind.ID, w.Ahead)
	case tasks.WhyNoWorker:
		text = l.t("No worker serves operation %s.", t.Operation)
		if ago != "" {
			text += l.t("The last one was seen %s ago.", ago)
		}
		return text
	case tasks.WhyWorker:
		text = l.t("It waits for a worker to take it; one was seen %s ago.", ago)
	case tasks.WhyRunning:
		text = l.t("Worker %s runs it and was heard of %s ago.", w.Worker, ago)
	case tasks.WhySilent:
		text = l.t("Worker %s was last heard of %s ago; its lease has expired.", w.Worker, ago)
	case tasks.WhyCancelled:
		text = l.t("It is asked to stop; worker %s was heard of %s ago.", w.Worker, ago)
	}
	if w.Steps > 0 {
		text += l.t("Step %d of %d: %s.", w.StepIndex, w.Steps, w.Step)
	}
	if w.Remaining > 0 {
		text += l.t("About %s left.", l.duration(w.Remaining))
	}
	return text
}

func sep(reason string) string {
	if reason == "" {
		return ""
	}
	return " · " + reason
}
