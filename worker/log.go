package worker

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/errandhq/errand/internal/mask"
)

// maxLine is how many bytes of one line of output are kept.
const maxLine = 64 << 10

// output collects the log of an attempt until it is sent.
type output struct {
	mask mask.Masker
	max  int64  // bytes that the attempt may write
	full func() // called when there is enough for a call of its own

	mu    sync.Mutex
	buf   []byte
	taken int64
	shut  bool // nothing more is taken
}

// line adds one line without its end. What it may hold of secrets is masked
// already.
func (o *output) line(s string) {
	s = strings.ToValidUTF8(s, "\uFFFD")
	o.mu.Lock()
	defer o.mu.Unlock()
	switch n := int64(len(s)) + 1; {
	case o.shut:
		return
	case o.taken+n > o.max:
		o.shut = true
		o.buf = fmt.Appendf(o.buf, "[the log is cut here: an attempt may write %d bytes]\n", o.max)
	default:
		o.taken += n
		o.buf = append(append(o.buf, s...), '\n')
	}
	if len(o.buf) >= MaxLogWrite {
		o.full()
	}
}

// close takes nothing more, and forgets what is waiting.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut, o.buf = true, nil
}

func (o *output) closed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shut
}

// next returns what one call can send. It stays until it is dropped.
func (o *output) next() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.buf)
	if n > MaxLogWrite {
		// At a line's end, so that no character is cut in two.
		n = bytes.LastIndexByte(o.buf[:MaxLogWrite], '\n') + 1
	}
	return bytes.Clone(o.buf[:n])
}

func (o *output) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)
}

func (o *output) drop(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = bytes.Clone(o.buf[min(n, len(o.buf)):])
	if len(o.buf) == 0 {
		o.buf = nil
	}
}

// lines makes lines of what is written to it.
type lines struct {
	out     *output
	buf     []byte
	skipped int64 // bytes of the line that were not kept
	mu      sync.Mutex
}

// Write never fails and never waits.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	if l.out.closed() {
		l.buf, l.skipped = nil, 0
		return n, nil
	}
	for len(p) > 0 {
		at := bytes.IndexByte(p, '\n')
		if at < 0 {
			l.add(p)
			break
		}
		l.add(p[:at])
		l.end()
		p = p[at+1:]
	}
	return n, nil
}

// Close ends the last line if it lacks its end.
func (l *lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) > 0 {
		l.end()
	}
	return nil
}

// add keeps enough of a line to see every secret that begins before the cut.
func (l *lines) add(p []byte) {
	room := maxLine + l.out.mask.Longest() - len(l.buf)
	if len(p) > room {
		l.skipped += int64(len(p) - room)
		p = p[:room]
	}
	l.buf = append(l.buf, p...)
}

func (l *lines) end() {
	l.out.line(cutLine(l.out.mask, strings.TrimSuffix(string(l.buf), "\r"), l.skipped))
	l.buf, l.skipped = l.buf[:0], 0
	if cap(l.buf) > 4<<10 {
		l.buf = nil
	}
}

// cutLine masks a line and cuts it to what is kept of one. skipped is how many
// bytes of it are missing from s already.
func cutLine(m mask.Masker, s string, skipped int64) string {
	size := int64(len(s)) + skipped
	s = m.Text(s)
	if skipped > 0 {
		// What is left of a secret that was cut in two is in here.
		s = s[:max(0, len(s)-m.Longest())]
	}
	if len(s) > maxLine {
		s, skipped = s[:maxLine], 1
	}
	if skipped > 0 {
		s += fmt.Sprintf(" [the line is cut here: it had %d bytes]", size)
	}
	return s
}
