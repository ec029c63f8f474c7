package worker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

// record returns a job whose log goes nowhere else.
func record(secrets map[string]string, limit int64) *Job {
	return newJob(Grant{Task: &errand.Task{Params: `{}`}, Secrets: secrets}, limit)
}

// TestLines writes the same text in pieces of every size.
func TestLines(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{"a": "s3cret"}
	in := "one\r\n\ntw\xffo s3cret\nlast s3cret"
	want := "one\n\ntw\uFFFDo ***\nlast ***\n"
	for size := 1; size <= len(in); size++ {
		j := record(secrets, 1000)
		w := j.Writer()
		for rest := in; rest != ""; {
			n := min(size, len(rest))
			if k, err := w.Write([]byte(rest[:n])); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		_, _ = w.Close(), w.Close()
		if got := string(j.out.next()); got != want {
			t.Fatalf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

// TestLineCut moves a secret over the place where a line is cut.
func TestLineCut(t *testing.T) {
	t.Parallel()
	const secret = "abcdefghijkl"
	before := strings.Repeat(secret, 20) // masked, they draw in what is beyond the cut
	for at := maxLine - 2*len(secret); at <= maxLine+5*len(secret); at++ {
		j := record(map[string]string{"a": secret}, 1<<20)
		w := j.Writer()
		line := before + strings.Repeat("-", at-len(before)) + secret + strings.Repeat("-", 5000)
		_, _ = w.Write([]byte(line + "\nnext\n"))
		got := string(j.out.next())
		first, rest, _ := strings.Cut(got, "\n")
		if rest != "next\n" || !strings.HasSuffix(first, " [the line is cut here: it had "+itoa(len(line))+" bytes]") || len(first) > maxLine+60 || len(first) < maxLine-300 {
			t.Fatalf("a secret at %d: %d bytes end with %q, then %q", at, len(first), first[max(0, len(first)-80):], rest)
		}
		if strings.ContainsAny(strings.TrimRight(first[:strings.Index(first, " [")], "-*"), "abcdefghijkl") {
			t.Fatalf("a part of the secret at %d is left", at)
		}
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestLogCap(t *testing.T) {
	t.Parallel()
	j := record(nil, 10)
	j.Logf("1234")
	j.Logf("1234")
	j.Logf("1")
	j.Logf("2")
	if got, want := string(j.out.next()), "1234\n1234\n[the log is cut here: an attempt may write 10 bytes]\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	j.out.drop(5)
	if got := string(j.out.next()); !strings.HasPrefix(got, "1234\n[the log") {
		t.Errorf("after some was sent: %q", got)
	}
}

// TestNoTooManySteps keeps progress within what the server takes.
func TestNoTooManySteps(t *testing.T) {
	t.Parallel()
	j := record(nil, 1000)
	for i := range 2 * errand.MaxProgressSteps {
		j.Step(strings.Repeat("s", 300) + itoa(i))
		j.Step("step " + itoa(i))
		j.SubStep("part")
	}
	p, _ := j.snapshot()
	check := errand.Task{ID: strings.Repeat("0", 32), JobID: strings.Repeat("0", 32), Operation: "x", Status: errand.Running, CreatedAt: now(), UpdatedAt: now(), Progress: p}
	if err := check.Validate(); err != nil || count(p.Steps) != errand.MaxProgressSteps {
		t.Errorf("%d steps: %v", count(p.Steps), err)
	}
	for _, s := range p.Steps {
		if len(s.Name) > errand.MaxNameLen {
			t.Errorf("a name of %d bytes", len(s.Name))
		}
	}
}

func TestStepsOfAPlan(t *testing.T) {
	t.Parallel()
	j := record(map[string]string{"a": "s3cret"}, 1000)
	j.SubStep("before any step")
	j.Plan("a", "b", "c s3cret")
	j.Plan("a")
	j.Step("b")
	j.SubStep("b1")
	j.SubStep("b2")
	j.SetStep("c s3cret", errand.StepRunning, "beside b", "")
	j.SetStep("d", "odd", "", "")
	j.Progress(-5, -1)
	j.close(errand.Cancelled, "")
	p, _ := j.snapshot()
	var got []string
	for _, s := range p.Steps {
		got = append(got, s.Name+" "+string(s.Status)+" "+s.Detail)
		for _, x := range s.Steps {
			got = append(got, "- "+x.Name+" "+string(x.Status))
		}
	}
	want := "a waiting ;b failed ;- b1 succeeded;- b2 cancelled;c *** failed beside b"
	if strings.Join(got, ";") != want || p.Percent != 0 || p.Remaining != 0 {
		t.Errorf("steps %q, %d%%, %v", got, p.Percent, p.Remaining)
	}
}
