package storetest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/errandhq/errand"
)

func logChecks() []queueCheck {
	return []queueCheck{
		{"log is read from any offset", logReads},
		{"log is cut at its limit", logLimit},
		{"log of what is not there", logUnknown},
		{"log goes with its record", logGoes},
		{"log lines of callers at once stay whole", logCallers},
	}
}

const logSize = 1 << 20 // more than these checks write

func appendLog(t *testing.T, s Queue, n int, text []byte, limit int64) (truncated bool) {
	t.Helper()
	truncated, err := s.AppendLog(t.Context(), project, taskID(n), text, limit)
	if err != nil {
		t.Fatalf("AppendLog: %v", err)
	}
	return truncated
}

func wantLog(t *testing.T, s Queue, n int, offset int64, limit int, want []byte, size int) {
	t.Helper()
	got, whole, err := s.Log(t.Context(), project, taskID(n), offset, limit)
	if err != nil {
		t.Fatalf("Log: %v", err)
	}
	if !bytes.Equal(got, want) || whole != int64(size) {
		t.Errorf("log from %d has %d bytes of %d, want %d of %d; equal: %v", offset, len(got), whole, len(want), size, bytes.Equal(got, want))
	}
}

func logReads(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0), waiting(1, 2, 0))
	wantLog(t, s, 1, 0, 100, nil, 0)
	var all []byte
	for n := range 60 {
		piece := bytes.Repeat([]byte{byte(n), 0xff, 0, '\n'}, n*n/2)
		if n == 30 {
			piece = bytes.Repeat([]byte("a long line "), 6000)
		}
		all = append(all, piece...)
		if appendLog(t, s, 1, piece, logSize) {
			t.Error("a log that has room is said to be full")
		}
	}
	for _, offset := range []int{0, 1, 3, 4, 5, 1000, 4095, 4096, 4097, 16384, 20000, 70000, len(all) - 1, len(all), len(all) + 1, 1 << 40} {
		for _, limit := range []int{1, 2, 100, 4096, 65536, 1 << 20} {
			from := min(offset, len(all))
			wantLog(t, s, 1, int64(offset), limit, all[from:min(from+limit, len(all))], len(all))
		}
	}
	wantLog(t, s, 2, 0, 10, nil, 0)
	update(t, s, 1, cancelling(noon))
	appendLog(t, s, 1, []byte("the last line\n"), logSize)
	wantLog(t, s, 1, int64(len(all)), 100, []byte("the last line\n"), len(all)+14)
}

func logLimit(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0))
	for _, c := range []struct {
		text      string
		limit     int64
		truncated bool
		want      string
	}{
		{"abc", 5, false, "abc"},
		{"", 5, false, "abc"},
		{"de", 5, false, "abcde"},
		{"", 5, false, "abcde"},
		{"f", 5, true, "abcde"},
		{"fgh", 7, true, "abcdefg"},
		{"x", 3, true, "abcdefg"}, // the limit was lowered
		{"h", 8, false, "abcdefgh"},
	} {
		if got := appendLog(t, s, 1, []byte(c.text), c.limit); got != c.truncated {
			t.Errorf("append %q up to %d: truncated is %v", c.text, c.limit, got)
		}
		wantLog(t, s, 1, 0, 100, []byte(c.want), len(c.want))
	}
}

func logUnknown(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0))
	for _, where := range []struct{ project, id string }{{project, taskID(2)}, {otherProject, taskID(1)}} {
		_, err := s.AppendLog(t.Context(), where.project, where.id, []byte("x"), 10)
		wantError(t, err, errand.NotFound, "task")
		_, _, err = s.Log(t.Context(), where.project, where.id, 0, 10)
		wantError(t, err, errand.NotFound, "task")
	}
}

func logGoes(t *testing.T, s Queue) {
	register(t, s, kafka(1), kafka(2))
	for _, gone := range []func() error{
		func() error { return s.Delete(t.Context(), project, taskID(1), drop) },
		func() error { return s.DeleteInstance(t.Context(), project, instanceID(1)) },
	} {
		submit(t, s, waiting(1, 1, 0))
		appendLog(t, s, 1, []byte("old"), 10)
		update(t, s, 1, cancelling(noon))
		if err := gone(); err != nil {
			t.Fatal(err)
		}
		_, err := s.AppendLog(t.Context(), project, taskID(1), []byte("x"), 10)
		wantError(t, err, errand.NotFound, "task")
		submit(t, s, waiting(2, 1, 0)) // the same id once more
		wantLog(t, s, 1, 0, 10, nil, 0)
		if err := s.Delete(t.Context(), project, taskID(1), drop); err != nil {
			t.Fatal(err)
		}
	}
}

func logCallers(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0))
	const callers, each = 8, 25
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				appendLog(t, s, 1, fmt.Appendf(nil, "%d %d\n", c, i), logSize)
			}
		})
	}
	wg.Wait()
	text, _, err := s.Log(t.Context(), project, taskID(1), 0, logSize)
	if err != nil {
		t.Fatal(err)
	}
	var next [callers]int
	for line := range bytes.Lines(text) {
		var c, i int
		if _, err := fmt.Sscanf(string(line), "%d %d\n", &c, &i); err != nil || i != next[c] {
			t.Fatalf("line %q (%v), want number %d of the caller", line, err, next[c])
		}
		next[c]++
	}
	for c, n := range next {
		if n != each {
			t.Errorf("caller %d has %d lines, want %d", c, n, each)
		}
	}
}
