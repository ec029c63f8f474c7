package worker

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/mask"
)

// Job is one attempt of a task as its handler sees it. Its methods may be called
// from several goroutines; none of them waits for the server.
type Job struct {
	Task    *errand.Task      // not to be changed
	Secrets map[string]string // by the names that the operation declares

	out  *output
	wake chan struct{} // has room for one: there is something to send

	mu       sync.Mutex
	progress errand.Progress
	version  int  // of progress, 0: nothing to show
	step     bool // a step has changed since the last beat
	result   json.RawMessage
}

func newJob(g Grant, maxLog int64) *Job {
	j := &Job{Task: g.Task, Secrets: g.Secrets, wake: make(chan struct{}, 1)}
	j.out = &output{mask: mask.New(g.Secrets), max: maxLog, full: j.ring}
	return j
}

func (j *Job) ring() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Params decodes the task's parameters into v. Its error is permanent.
func (j *Job) Params(v any) error {
	if err := json.Unmarshal([]byte(j.Task.Params), v); err != nil {
		return Permanent(fmt.Errorf("params: %w", err))
	}
	return nil
}

// Result keeps what the task returns, encoded as JSON: at most 64 KiB.
func (j *Job) Result(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	b = j.out.mask.JSON(b)
	if len(b) > errand.MaxDetailsLen {
		return fmt.Errorf("result: it has %d bytes as JSON, more than %d", len(b), errand.MaxDetailsLen)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.result = b
	return nil
}

// Progress says how far the attempt has come, 0 to 100, and how long it will
// still take; 0 is unknown. What is out of range is brought into it.
func (j *Job) Progress(percent int, remaining time.Duration) {
	j.change(false, func(p *errand.Progress) {
		p.Percent = min(100, max(0, percent))
		p.Remaining = max(0, remaining).Round(time.Second)
	})
}

// Plan names the steps that are to come, so that those who watch see how many
// there are. It does nothing to steps that are there already.
func (j *Job) Plan(steps ...string) {
	j.change(true, func(p *errand.Progress) {
		for _, name := range steps {
			j.stepNamed(p, name)
		}
	})
}

// Step begins a step, and ends the one before it as succeeded.
func (j *Job) Step(name string) {
	j.change(true, func(p *errand.Progress) {
		s := j.stepNamed(p, name)
		if s == nil {
			return
		}
		now := now()
		for i := range p.Steps {
			if x := &p.Steps[i]; x != s && x.Status == errand.StepRunning {
				endStep(x, errand.StepSucceeded, now)
			}
		}
		setStatus(s, errand.StepRunning, now)
	})
}

// SubStep begins a part of the current step, and ends the part before it as
// succeeded. It does nothing where no step has begun.
func (j *Job) SubStep(name string) {
	j.change(true, func(p *errand.Progress) {
		at := slices.IndexFunc(p.Steps, func(s errand.Step) bool { return s.Status == errand.StepRunning })
		if at < 0 || count(p.Steps) >= errand.MaxProgressSteps {
			return
		}
		s, now := &p.Steps[at], now()
		for i := range s.Steps {
			endStep(&s.Steps[i], errand.StepSucceeded, now)
		}
		s.Steps = append(s.Steps, errand.Step{Name: j.short(name), Status: errand.StepRunning, StartedAt: now})
	})
}

// SetStep sets the status of a step, with a word on it and an error code where
// there are any. Other steps stay as they are, so several can run at a time. It
// does nothing if status is none that a step can have.
func (j *Job) SetStep(name string, status errand.StepStatus, detail, errorCode string) {
	if !slices.Contains(errand.StepStatuses(), status) {
		return
	}
	j.change(true, func(p *errand.Progress) {
		if s := j.stepNamed(p, name); s != nil {
			setStatus(s, status, now())
			s.Detail, s.ErrorCode = j.short(detail), j.short(errorCode)
		}
	})
}

// Logf adds a line to the task's log, or several if the text has several.
func (j *Job) Logf(format string, args ...any) {
	w := j.Writer()
	fmt.Fprintf(w, format, args...)
	_ = w.Close() // never fails
}

// Writer returns a writer to the task's log. Each has a line of its own, so that
// those of several sources do not mix; Close ends the last one if it lacks its
// line break. A line is cut after 64 KiB, and the log of an attempt after
// Pool.MaxLog, with a mark that says so. Writes never fail.
func (j *Job) Writer() io.WriteCloser { return &lines{out: j.out} }

// change alters the progress and lets the pool know.
func (j *Job) change(step bool, f func(*errand.Progress)) {
	j.mu.Lock()
	f(&j.progress)
	j.version++
	j.step = j.step || step
	j.mu.Unlock()
	if step {
		j.ring()
	}
}

// stepNamed returns a step of p, the last of its name; a new one if there is
// none, or nil if there are too many.
func (j *Job) stepNamed(p *errand.Progress, name string) *errand.Step {
	name = j.short(name)
	for i := range slices.Backward(p.Steps) {
		if p.Steps[i].Name == name {
			return &p.Steps[i]
		}
	}
	if count(p.Steps) >= errand.MaxProgressSteps {
		return nil
	}
	p.Steps = append(p.Steps, errand.Step{Name: name, Status: errand.StepWaiting})
	return &p.Steps[len(p.Steps)-1]
}

// short makes text fit for a name: masked, valid, at most 256 bytes.
func (j *Job) short(s string) string { return clean(j.out.mask, s, errand.MaxNameLen) }

// clean masks text and cuts it to limit bytes of UTF-8 without zeros.
func clean(m mask.Masker, s string, limit int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(m.Text(s), "\x00", "\uFFFD"), "\uFFFD")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
	}
	return s
}

// snapshot returns the progress as it is, and its version.
func (j *Job) snapshot() (*errand.Progress, int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.progress
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		p.Steps[i].Steps = slices.Clone(p.Steps[i].Steps)
	}
	j.step = false
	return &p, j.version
}

// urgent reports whether there is something that should not wait for the next
// beat: soon for a step, now for a log that fills a call.
func (j *Job) urgent() (soon, immediately bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.step, j.out.size() >= MaxLogWrite
}

// close ends the steps as the attempt ended.
func (j *Job) close(s errand.Status, code string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.version == 0 {
		return
	}
	p, now, changed := &j.progress, now(), false
	end, part := errand.StepFailed, errand.StepFailed
	switch s {
	case errand.Succeeded:
		end, part = errand.StepSucceeded, errand.StepSucceeded
		changed = p.Percent != 100 || p.Remaining != 0
		p.Percent, p.Remaining = 100, 0
	case errand.Cancelled:
		part = errand.StepCancelled
	}
	for i := range p.Steps {
		x := &p.Steps[i]
		if x.Status != errand.StepRunning {
			continue
		}
		changed = true
		for k := range x.Steps {
			endStep(&x.Steps[k], part, now)
		}
		if endStep(x, end, now); end == errand.StepFailed && x.ErrorCode == "" {
			x.ErrorCode = code
		}
	}
	if changed {
		j.version++
	}
}

func (j *Job) returned() json.RawMessage {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.result
}

func setStatus(s *errand.Step, status errand.StepStatus, now time.Time) {
	switch status {
	case errand.StepWaiting:
		s.StartedAt, s.EndedAt = time.Time{}, time.Time{}
	case errand.StepRunning, errand.StepSuspended:
		if s.StartedAt.IsZero() || !s.EndedAt.IsZero() {
			s.StartedAt, s.EndedAt = now, time.Time{}
		}
	default:
		if s.StartedAt.IsZero() {
			s.StartedAt = now
		}
		s.EndedAt = now
		for i := range s.Steps {
			endStep(&s.Steps[i], status, now)
		}
	}
	s.Status = status
}

// endStep ends a step that is running.
func endStep(s *errand.Step, status errand.StepStatus, now time.Time) {
	if s.Status == errand.StepRunning {
		setStatus(s, status, now)
	}
}

func count(steps []errand.Step) int {
	n := len(steps)
	for _, s := range steps {
		n += len(s.Steps)
	}
	return n
}

// now is the time in the resolution in which times are kept.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
