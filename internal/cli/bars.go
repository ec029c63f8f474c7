package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/errandhq/errand"
)

// bars is the view of a terminal: a bar for each task, which goes up into the
// history of the screen when the task has ended.
type bars struct {
	progress *mpb.Progress
	paint    painter
	of       map[string]*bar
}

// bar is one task. The library draws it from a goroutine of its own.
type bar struct {
	*mpb.Bar
	paint painter

	mu   sync.Mutex
	task *errand.Task
	at   time.Time // when task was told
}

// newBars draws to w. A width of 0 is that of the terminal.
func newBars(w io.Writer, p painter, width int) *bars {
	o := []mpb.ContainerOption{mpb.WithOutput(w), mpb.PopCompletedMode(), mpb.WithRefreshRate(150 * time.Millisecond)}
	if width > 0 {
		o = append(o, mpb.WithWidth(width), mpb.WithAutoRefresh())
	}
	return &bars{progress: mpb.New(o...), paint: p, of: map[string]*bar{}}
}

// The widths of what stands beside a bar, and of the bar itself.
const (
	barName  = 16
	barSize  = 24
	barLeast = 8 // on a narrow terminal
	barStep  = 30
)

func (v *bars) show(t *errand.Task) {
	b := v.of[t.ID]
	if b == nil {
		b = &bar{paint: v.paint}
		b.tell(t)
		style := mpb.BarStyle().Lbound("").Filler("━").Tip("━").Padding("─").Rbound("")
		b.Bar = v.progress.New(100, style, mpb.BarWidth(barSize), mpb.BarFillerTrim(),
			mpb.PrependDecorators(decor.Any(b.name, decor.WCSyncWidthR), decor.Any(b.status)), mpb.AppendDecorators(decor.Any(b.right)))
		v.of[t.ID] = b
	}
	b.tell(t)
	if t.Progress != nil {
		b.SetCurrent(int64(min(99, t.Progress.Percent))) // the end is said by the status
	}
	switch {
	case t.Status == errand.Succeeded:
		b.SetTotal(100, true)
	case t.Status.Final():
		b.Abort(false)
	default:
		return
	}
	b.Wait()
}

func (b *bar) tell(t *errand.Task) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.task, b.at = t, time.Now()
}

// name and status stand before the bar.
func (b *bar) name(decor.Statistics) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cut(cell(b.task.Operation), barName)
}

func (b *bar) status(decor.Statistics) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	word := string(b.task.Status)
	return "  " + b.paint.with(b.paint.code(word), fmt.Sprintf("%-9s", word)) + "  "
}

// right is what stands after it: as much as there is room for.
func (b *bar) right(s decor.Statistics) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.task
	room := max(1, s.AvailableWidth-barLeast-1)
	if t.Status.Final() {
		return cut("  "+cut(oneLine(t.Reason), maxCell), room)
	}
	if t.Progress == nil {
		return ""
	}
	text := fmt.Sprintf("  %3d %%", t.Progress.Percent)
	if left := t.Progress.Remaining - time.Since(b.at); left > 0 && t.Status == errand.Running {
		text += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	if name, n := currentStep(t.Progress); n > 0 {
		text += fmt.Sprintf("  %d/%d %s", n, len(t.Progress.Steps), cut(cell(name), barStep))
	}
	return cut(text, room)
}

func (v *bars) say(text string) { fmt.Fprintf(v.progress, "errand: %s\n", text) }

// end leaves the bars as they are.
func (v *bars) end() {
	for _, b := range v.of {
		if !b.AbortedOrCompleted() {
			b.Abort(false)
		}
	}
	v.progress.Wait()
}
