package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

// maxMessage is the longest line that is read as a message: a result of its full
// length, and something around it.
const maxMessage = 128 << 10

// message is a line of JSON on a program's standard output. Members that are not
// known are ignored as long as there is one that is.
type message struct {
	Steps     []string        `json:"steps"`
	Step      json.RawMessage `json:"step"`
	SubStep   string          `json:"substep"`
	Progress  *float64        `json:"progress"`
	Remaining *float64        `json:"remaining"`
	Log       *string         `json:"log"`
	Result    json.RawMessage `json:"result"`
	Error     *reported       `json:"error"`
}

// reported is a failure in a program's own words.
type reported struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Permanent bool   `json:"permanent"`
}

func (r *reported) failure() error {
	err := errors.New(r.Message)
	if r.Message == "" {
		err = errors.New("the program reported an error without a message")
	}
	if r.Code != "" {
		err = worker.WithCode(r.Code, err)
	}
	if r.Permanent {
		err = worker.Permanent(err)
	}
	return err
}

// stepMessage is the long form of a step.
type stepMessage struct {
	Name      string            `json:"name"`
	Status    errand.StepStatus `json:"status"`
	Detail    string            `json:"detail"`
	ErrorCode string            `json:"error_code"`
}

// listener takes in what a program says on its standard output.
type listener struct {
	job   *worker.Job
	log   io.Writer // of what is no message
	last  *progress
	error *reported // the last one
}

// progress is what was said last, since each member may come by itself.
type progress struct{ percent, remaining float64 }

// listen reads until the end. It keeps no more of a line than a message may have.
func (l *listener) listen(r io.Reader) error {
	in := bufio.NewReaderSize(r, 32<<10)
	for {
		if err := l.plain(in); err != nil {
			return endOf(err)
		}
		if err := l.braced(in); err != nil {
			return endOf(err)
		}
	}
}

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// plain passes everything on, as much at a time as there is, up to the next line
// that begins with a brace. It is called at the beginning of a line.
func (l *listener) plain(in *bufio.Reader) error {
	for begins := true; ; {
		if _, err := in.Peek(1); err != nil {
			return err
		}
		all, _ := in.Peek(in.Buffered()) // never fails
		if begins && all[0] == '{' {
			return nil
		}
		if at := bytes.Index(all, []byte("\n{")); at >= 0 {
			all = all[:at+1]
		}
		_, _ = l.log.Write(all)
		begins = all[len(all)-1] == '\n'
		_, _ = in.Discard(len(all)) // never fails
	}
}

// braced reads a line that may be a message.
func (l *listener) braced(in *bufio.Reader) error {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		switch line = append(line, part...); {
		case len(line) > maxMessage && errors.Is(err, bufio.ErrBufferFull):
			_, _ = l.log.Write(line)
			return l.rest(in)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		if len(line) > maxMessage || !l.message(line) {
			_, _ = l.log.Write(line)
		}
		return err
	}
}

// rest passes the rest of a line on.
func (l *listener) rest(in *bufio.Reader) error {
	for {
		part, err := in.ReadSlice('\n')
		_, _ = l.log.Write(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// message does what a line says and reports whether it was understood.
func (l *listener) message(line []byte) bool {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return false
	}
	var step stepMessage
	stepped := m.Step != nil && !bytes.Equal(m.Step, []byte("null"))
	if stepped {
		if json.Unmarshal(m.Step, &step.Name) != nil && json.Unmarshal(m.Step, &step) != nil {
			return false
		}
		if step.Name == "" || step.Status != "" && !validStep(step.Status) {
			return false
		}
	}
	known := stepped || m.Steps != nil || m.SubStep != "" || m.Progress != nil || m.Remaining != nil || m.Log != nil || m.Result != nil || m.Error != nil
	if !known {
		return false
	}
	if m.Steps != nil {
		l.job.Plan(m.Steps...)
	}
	switch {
	case !stepped:
	case step.Status == "":
		l.job.Step(step.Name)
	default:
		l.job.SetStep(step.Name, step.Status, step.Detail, step.ErrorCode)
	}
	if m.SubStep != "" {
		l.job.SubStep(m.SubStep)
	}
	l.progress(m)
	if m.Log != nil {
		l.job.Logf("%s", *m.Log)
	}
	if m.Result != nil {
		if err := l.job.Result(m.Result); err != nil {
			l.job.Logf("[the result is left out: %s]", strings.TrimPrefix(err.Error(), "result: "))
		}
	}
	if m.Error != nil {
		l.error = m.Error
	}
	return true
}

func validStep(s errand.StepStatus) bool {
	for _, x := range errand.StepStatuses() {
		if x == s {
			return true
		}
	}
	return false
}

// progress brings what is out of range into it.
func (l *listener) progress(m message) {
	if m.Progress == nil && m.Remaining == nil {
		return
	}
	if l.last == nil {
		l.last = &progress{}
	}
	if m.Progress != nil {
		l.last.percent = min(100, max(0, *m.Progress))
	}
	l.last.remaining = 0 // what was said for another percentage is out of date
	if m.Remaining != nil {
		l.last.remaining = min((10 * 365 * 24 * time.Hour).Seconds(), max(0, *m.Remaining))
	}
	l.job.Progress(int(math.Round(l.last.percent)), time.Duration(l.last.remaining*float64(time.Second)))
}

// lastLine keeps the last line that was written to it, if it is not too long.
type lastLine struct {
	line []byte // complete or not
	over bool   // the line is longer than what is kept
	text string // the last complete one that was not blank
}

const maxReason = 512

func (l *lastLine) Write(p []byte) (int, error) {
	n := len(p)
	for {
		part, rest, ends := bytes.Cut(p, []byte("\n"))
		if l.over = l.over || len(l.line)+len(part) > maxReason; !l.over {
			l.line = append(l.line, part...)
		}
		if !ends {
			return n, nil
		}
		l.end()
		p = rest
	}
}

func (l *lastLine) end() {
	if s := strings.TrimSpace(string(l.line)); s != "" || l.over {
		l.text = s
	}
	if l.over { // a part of it could be a part of a secret
		l.text = ""
	}
	l.line, l.over = l.line[:0], false
}
