package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

// taskHistory is what the server says of a task that has ended.
type taskHistory struct {
	instance string
	task     *errand.Task
	events   []errand.Event
}

// violations holds what the server says of tasks against the workers' own
// records: of each instance the lines "begin TASK ATTEMPT" and "end TASK ATTEMPT"
// in the order in which they were written.
func violations(all map[string]*taskHistory, records map[string][]string) []string {
	var bad []string
	for id, h := range all {
		for _, v := range h.replay() {
			bad = append(bad, fmt.Sprintf("task %s: %s", id, v))
		}
	}
	marks := map[string]int{} // lines by their text
	for instance, lines := range records {
		running := ""
		for i, line := range lines {
			word, attempt, _ := strings.Cut(line, " ")
			switch marks[line]++; {
			case line == "":
			case word == "begin":
				running = attempt // what ran before has died: it must not be heard of again
			case running != attempt:
				id, _, _ := strings.Cut(attempt, " ")
				bad = append(bad, fmt.Sprintf("instance %s: attempt %q ended while %q ran: %q; its events: %s",
					instance, attempt, running, lines[max(0, i-5):i+1], all[id].lines()))
			default:
				running = ""
			}
		}
	}
	for line, n := range marks {
		word, attempt, _ := strings.Cut(line, " ")
		id, number, _ := strings.Cut(attempt, " ")
		h, k := all[id], 0
		if line != "" {
			k, _ = strconv.Atoi(number)
		}
		switch {
		case line == "":
		case h == nil:
			bad = append(bad, fmt.Sprintf("%q is of a task that nobody submitted", line))
		case n > 1:
			bad = append(bad, fmt.Sprintf("task %s: attempt %d was run %d times", id, k, n))
		case k < 1 || k > h.task.AttemptNumber():
			bad = append(bad, fmt.Sprintf("task %s: %q, but it has had %d attempts", id, line, h.task.AttemptNumber()))
		case word == "begin" && marks["end "+attempt] == 0 && h.task.Status == errand.Succeeded && k == h.task.AttemptNumber():
			bad = append(bad, fmt.Sprintf("task %s succeeded without the end of attempt %d", id, k))
		}
	}
	for id, h := range all {
		if n := h.task.AttemptNumber(); h.task.Status == errand.Succeeded && marks[fmt.Sprintf("begin %s %d", id, n)] == 0 {
			bad = append(bad, fmt.Sprintf("task %s succeeded and was never run", id))
		}
	}
	slices.Sort(bad)
	return bad
}

// lines writes the events of a task, one to a line.
func (h *taskHistory) lines() string {
	if h == nil {
		return ""
	}
	text := ""
	for _, e := range h.events {
		text += fmt.Sprintf("\n  %s %s %s", e.At.Format("15:04:05.000"), e.Act, e.Reason)
	}
	return text
}

// replay follows the events of a task from the first to the last.
func (h *taskHistory) replay() []string {
	var bad []string
	status, claims, worker := errand.Status(""), 0, ""
	for i, e := range h.events {
		if e.From != status {
			bad = append(bad, fmt.Sprintf("event %d (%s) begins at %q, the one before ended at %q", e.Seq, e.Act, e.From, status))
		}
		if e.From != "" && e.From != e.To && !e.From.CanBecome(e.To) {
			bad = append(bad, fmt.Sprintf("event %d (%s) makes %s of %s", e.Seq, e.Act, e.To, e.From))
		}
		if i > 0 && e.Seq <= h.events[i-1].Seq {
			bad = append(bad, fmt.Sprintf("event %d comes after event %d", e.Seq, h.events[i-1].Seq))
		}
		if first := i == 0; first != (e.Act == errand.ActSubmitted) {
			bad = append(bad, fmt.Sprintf("event %d of the task is %s", i, e.Act))
		}
		switch e.Act {
		case errand.ActClaimed:
			claims++
			worker = e.Reason
		case errand.ActFinished:
			if worker == "" || e.Reason != worker && !strings.HasPrefix(e.Reason, worker+": ") {
				bad = append(bad, fmt.Sprintf("event %d: %q finished what %q had claimed", e.Seq, e.Reason, worker))
			}
			worker = ""
		case "released": // the claim does not count
			claims--
			worker = ""
		case errand.ActLost, errand.ActCancelled:
			worker = "" // and must not finish it any more
		}
		status = e.To
	}
	if status != h.task.Status || !status.Final() {
		bad = append(bad, fmt.Sprintf("it is %s and its events end at %q", h.task.Status, status))
	}
	if claims != h.task.AttemptNumber() {
		bad = append(bad, fmt.Sprintf("it has %d attempts and was claimed %d times", h.task.AttemptNumber(), claims))
	}
	return bad
}

// TestViolations makes sure that the judge of the storm can find fault.
func TestViolations(t *testing.T) {
	t.Parallel()
	const instance = "i"
	lines := func(text string) map[string][]string { return map[string][]string{instance: strings.Split(text, "\n")} }
	event := func(act errand.Act, from, to errand.Status, reason string) errand.Event {
		return errand.Event{Act: act, From: from, To: to, Reason: reason}
	}
	history := func(status errand.Status, attempts int, events ...errand.Event) *taskHistory {
		for i := range events {
			events[i].Seq = int64(i + 1)
		}
		return &taskHistory{instance, &errand.Task{Status: status, Run: &errand.Run{Attempts: make([]errand.Attempt, attempts)}}, events}
	}
	submitted := event(errand.ActSubmitted, "", errand.Pending, "")
	claimed := event(errand.ActClaimed, errand.Pending, errand.Running, "worker w")
	done := event(errand.ActFinished, errand.Running, errand.Succeeded, "worker w")
	lost := event(errand.ActLost, errand.Running, errand.Pending, "worker w was silent")
	const once, both = "begin a 1\nend a 1", "begin a 1\nend a 1\nbegin b 1\nend b 1"
	good := func() *taskHistory { return history(errand.Succeeded, 1, submitted, claimed, done) }
	again := func() *taskHistory { return history(errand.Succeeded, 2, submitted, claimed, lost, claimed, done) }
	for _, tt := range []struct {
		name    string
		a, b    *taskHistory
		records string
		want    string // "" is nothing
	}{
		{"one after the other", good(), good(), both, ""},
		{"lost, then run again", again(), good(), "begin a 1\nbegin a 2\nend a 2\nbegin b 1\nend b 1", ""},
		{"side by side", good(), good(), "begin a 1\nbegin b 1\nend a 1\nend b 1", "ended while"},
		{"a stale attempt goes on", again(), nil, "begin a 1\nbegin a 2\nend a 2\nend a 1", "ended while"},
		{"twice", good(), nil, once + "\n" + once, "2 times"},
		{"nobody's", good(), nil, both, "nobody submitted"},
		{"one attempt too many", good(), nil, once + "\nbegin a 2\nend a 2", "1 attempts"},
		{"never run", good(), nil, "", "never run"},
		{"never ended", good(), nil, "begin a 1", "without the end"},
		{"finished under a lost lease", history(errand.Succeeded, 1, submitted, claimed, lost, done), nil, once, "begins at"},
		{"finished by another", history(errand.Succeeded, 1, submitted, claimed, event(errand.ActFinished, errand.Running, errand.Succeeded, "worker x")), nil, once, "had claimed"},
		{"not final", history(errand.Running, 1, submitted, claimed), nil, once, "events end at"},
		{"another end", history(errand.Failed, 1, submitted, claimed, done), nil, once, "events end at"},
		{"a claim without a record", history(errand.Succeeded, 2, submitted, claimed, done), nil, once, "claimed 1 times"},
		{"no submission", history(errand.Succeeded, 1, claimed, done), nil, once, "event 0"},
		{"impossible", history(errand.Succeeded, 0, submitted, event(errand.ActFinished, errand.Pending, errand.Succeeded, "")), nil, "", "makes succeeded of pending"},
	} {
		all := map[string]*taskHistory{"a": tt.a}
		if tt.b != nil {
			all["b"] = tt.b
		}
		bad := violations(all, lines(tt.records))
		if (len(bad) == 0) != (tt.want == "") || tt.want != "" && !strings.Contains(strings.Join(bad, "\n"), tt.want) {
			t.Errorf("%s: found %q, want %q", tt.name, bad, tt.want)
		}
	}
}
