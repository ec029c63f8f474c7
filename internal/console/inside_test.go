package console

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/api"
	"github.com/errandhq/errand/internal/tasks"
)

// said finds the texts that the pages say, in templates and in Go.
func said(t *testing.T) map[string]bool {
	t.Helper()
	const text = `"((?:[^"\\]|\\.)*)"`
	all := map[string]bool{}
	find := func(src, pattern string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(src, -1) {
			s, err := strconv.Unquote(`"` + m[1] + `"`)
			if err != nil {
				t.Fatal(err)
			}
			all[s] = true
		}
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := templateFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		find(string(b), `\.T `+text)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, p := range []string{`\.[tT]\(`, `c\.frame\(v, `, `fact\{Name: `, `\badd\(`, `\.chart\(`, `(?m)^\s+(?:path: "\w+", )?(?:verb|lead): `, `, head: `} {
			find(string(b), p+text)
		}
	}
	for _, words := range []any{statusWords, stepWords, actWords, runnerWords, headlines, notices} {
		j, err := json.Marshal(words)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]string
		if err := json.Unmarshal(j, &m); err != nil {
			t.Fatal(err)
		}
		for _, s := range m {
			all[s] = true
		}
	}
	for _, r := range errand.Roles() {
		all[string(r)] = true
	}
	for _, s := range []string{"Hour", "Day", "Week", "Month", "d", "h", "min", "s"} {
		all[s] = true
	}
	return all
}

// TestChinese checks that whatever pages say has its Chinese, with the same places
// for what is put in, and that nothing else is translated.
func TestChinese(t *testing.T) {
	t.Parallel()
	w, all := newWords(), said(t)
	if len(all) < 200 {
		t.Fatalf("only %d texts were found", len(all))
	}
	verbs := regexp.MustCompile(`%[sd]`)
	for text := range all {
		zh, ok := w.zh[text]
		if !ok {
			t.Errorf("%q has no Chinese", text)
		}
		if a, b := verbs.FindAllString(text, -1), verbs.FindAllString(zh, -1); ok && !slices.Equal(a, b) {
			t.Errorf("%q has %v, its Chinese %v", text, a, b)
		}
	}
	// Messages of errors are translated too where they are our own.
	for text := range w.zh {
		if !all[text] && !strings.Contains(errorTexts(t), text) {
			t.Errorf("%q is translated, and nothing says it", text)
		}
	}
}

// errorTexts returns the sources, in which messages of errors stand.
func errorTexts(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "../auth/directory.go") {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(src)
	}
	return b.String()
}

// TestOwns checks that no call of an API is hidden by a page.
func TestOwns(t *testing.T) {
	t.Parallel()
	var doc struct{ Paths map[string]yaml.Node }
	if err := yaml.Unmarshal(api.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Paths) < 20 {
		t.Fatalf("only %d paths", len(doc.Paths))
	}
	calls := 0
	for _, g := range newReference(api.OpenAPI).groups {
		calls += len(g.Calls)
	}
	if calls < len(doc.Paths) {
		t.Errorf("the page shows %d calls of %d paths", calls, len(doc.Paths))
	}
	for path := range doc.Paths {
		if owns(path) {
			t.Errorf("the console owns %s", path)
		}
	}
	for _, path := range []string{"/", "/tasks/1", "/static/x"} {
		if !owns(path) {
			t.Errorf("the console does not own %s", path)
		}
	}
	// Some clients join an endpoint that ends in a slash with a path that begins
	// with one.
	for _, path := range []string{"", "//", "//v2/p/instances/i/tasks", "//v3/projects", "/v2/p/tasks", "/api", "/tasksx", "tasks"} {
		if owns(path) {
			t.Errorf("the console owns %q", path)
		}
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/": "./", "/tasks": "./", "/tasks/1": "../", "/tasks/1/log": "../../", "/instances/": "../"} {
		if got := root(path); got != want {
			t.Errorf("root(%q) = %q, want %q", path, got, want)
		}
	}
}

func FuzzSafeNext(f *testing.F) {
	for _, s := range []string{"", "tasks?status=failed", "//evil.example", "/evil", "https://evil.example/", "tasks/../../x", `\\evil`, "tasks\r\nSet-Cookie: x", "javascript:alert(1)", "instances/%2e%2e/x", "?done=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		next := safeNext(s)
		base := &url.URL{Scheme: "http", Host: "errand.example", Path: "/prefix/signin"}
		u, err := base.Parse("./" + next)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", s, next, err)
		}
		if u.Host != base.Host || !strings.HasPrefix(u.Path, "/prefix/") || strings.ContainsAny(next, "\r\n") {
			t.Fatalf("%q leads to %s", s, u)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("plain", 3)
	f.Add("\u202e\x1b[31m\x00\xff\u2028", 100)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1000)
		for _, out := range []string{clean(s, limit), block(s, limit)} {
			if !utf8.ValidString(out) || len(out) > 10*limit+40 {
				t.Fatalf("%q becomes %q", s, out)
			}
			for _, r := range out {
				if hidden(r) && r != '\n' && r != '\t' {
					t.Fatalf("%q shows %q", s, out)
				}
			}
		}
	})
}

// FuzzForm feeds any schema and any values through a form: what comes out is JSON,
// or something is marked.
func FuzzForm(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":"integer"},"b":{"enum":[1,"x",null]},"c":{"type":"array","items":{"type":"number"}},"d":{"type":"object","properties":{"e":{"type":"boolean"}}}}}`, "1", "x")
	f.Add(`{"properties":{"a/b~c":{"type":["string","integer"],"pattern":"^a$","default":7}},"required":["a/b~c"],"additionalProperties":false}`, "", "{")
	f.Fuzz(func(t *testing.T, s, value, other string) {
		l := look{lang: "en", words: newWords()}
		parsed := readSchema(json.RawMessage(s))
		fields := l.fields(parsed, "", 0, nil)
		values := url.Values{otherParams: {other}}
		for _, x := range fields {
			values.Set(x.Name, value)
			for _, y := range x.Fields {
				values.Set(y.Name, value)
			}
		}
		fields = l.fields(parsed, "", 0, values)
		params, _, ok := l.read(fields)
		if ok && !json.Valid(params) {
			t.Fatalf("%q with %q and %q gives %s", s, value, other, params)
		}
		if !ok && !slices.ContainsFunc(fields, func(x field) bool { return x.Problem != "" || x.Kind == "group" }) {
			t.Fatalf("%q with %q and %q is refused, and nothing is marked", s, value, other)
		}
	})
}

func TestAssign(t *testing.T) {
	t.Parallel()
	l := look{lang: "en", words: newWords()}
	fields := l.fields(readSchema(json.RawMessage(`{"properties":{"size":{"type":"integer"},"window":{"type":"object","properties":{"day":{"type":"string"}}},"list":{"type":"array","items":{"type":"object"}}}}`)), "", 0, nil)
	rest := assign(fields, `params do not fit x: at /size: must be 9 at most; at /window/day: must be a string; at /list/0/x: must be y; at /: must have z; and 3 more`)
	if fields[0].Problem != "must be 9 at most" || fields[1].Fields[0].Problem != "must be a string" || fields[2].Problem != "must be y" || !strings.Contains(rest, "must have z") {
		t.Errorf("%+v, rest %q", fields, rest)
	}
	if rest := assign(fields, "something else"); rest != "something else" {
		t.Errorf("rest %q", rest)
	}
}

// TestFormKeepsValues checks what is typed in a field for what a schema says.
func TestFormKeepsValues(t *testing.T) {
	t.Parallel()
	l := look{lang: "en", words: newWords()}
	s := readSchema(json.RawMessage(`{"additionalProperties":false,"properties":{"list":{"type":"array","items":{"type":"string"},"default":["a","b"]},
		"maybe":{"enum":["a",null,""]},"flag":{"type":["boolean","null"]},"text":{"type":["string","integer"],"default":"5"},"many":{"type":"string","default":"x\ny"}}}`))
	fields := l.fields(s, "", 0, nil)
	if params, _, ok := l.read(fields); !ok || string(params) != `{"list":["a","b"],"text":"5","many":"x\ny"}` {
		t.Errorf("an untouched form gives %s, %v", params, ok)
	}
	if fields[4].Kind != "block" {
		t.Errorf("lines are typed in a %s", fields[4].Kind)
	}
	values := url.Values{"/list": {"1\r\n2\r\n"}, "/maybe": {"null"}, "/flag": {"true"}, "/text": {"6"}, "/many": {"x\r\nz"}}
	fields = l.fields(s, "", 0, values)
	if params, _, ok := l.read(fields); !ok || string(params) != `{"list":["1","2"],"maybe":null,"flag":true,"text":6,"many":"x\nz"}` {
		t.Errorf("the form gives %s, %v", params, ok)
	}
	if !fields[1].Options[1].Chosen || fields[1].Options[2].Chosen {
		t.Errorf("chosen: %+v", fields[1].Options)
	}
}

func TestWholeRunes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "abc": "abc", "日志": "日志", "日志"[:5]: "日", "日志"[:4]: "日", "日"[:2]: "日"[:2], "a\xff": "a\xff", "\x80\x80\x80\x80": "\x80\x80\x80\x80"} {
		if got := string(wholeRunes([]byte(text))); got != want {
			t.Errorf("wholeRunes(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	pairs, rest := changes(json.RawMessage(`{"old_port":6379,"new_port":6380,"new_mode":"x","old_gone":"y","enable_ssl":true}`))
	want := []change{{"mode", "", "x"}, {"gone", "y", ""}, {"port", "6379", "6380"}}
	if !slices.Equal(pairs, want) || len(rest) != 1 || rest[0] != (attribute{"enable_ssl", "true"}) {
		t.Errorf("%v, %v", pairs, rest)
	}
}

// TestTimeline lays out random tasks: whatever they are, everything is within the
// drawing, and what runs side by side does not cover each other as long as there
// is room.
func TestTimeline(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	share := func(t *rapid.T, s string) float64 {
		v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		if err != nil || math.IsNaN(v) || v < 0 || v > 100.01 {
			t.Fatalf("%q is no share of the width", s)
		}
		return v
	}
	rapid.Check(t, func(t *rapid.T) {
		// Around both changes of the clocks.
		now := rapid.SampledFrom([]time.Time{time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC), time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}).Draw(t, "now")
		l := look{lang: "en", words: newWords(), zone: berlin, now: now}
		zoom := rapid.SampledFrom([]string{"hour", "day", "week", "month"}).Draw(t, "zoom")
		from, to := l.window(zoom, now)
		if from.After(now) || to.Before(now) || zoom == "day" && (from.Hour() != 0 || to.Hour() != 0) {
			t.Fatalf("%s: %v to %v does not hold %v", zoom, from, to, now)
		}
		var list []*errand.Task
		for i := range rapid.IntRange(0, 30).Draw(t, "n") {
			created := from.Add(time.Duration(rapid.Int64Range(-int64(25*time.Hour), int64(to.Sub(from))).Draw(t, "created")))
			x := &errand.Task{ID: errand.NewID(created), Operation: "op" + strconv.Itoa(i), Status: rapid.SampledFrom(errand.Statuses()).Draw(t, "status"), CreatedAt: created}
			x.UpdatedAt = created.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "took")))
			if rapid.Bool().Draw(t, "runs") {
				x.Run = &errand.Run{Lane: rapid.SampledFrom([]string{"", "instance", "other"}).Draw(t, "lane")}
				if x.Status != errand.Pending {
					x.Run.Attempts = []errand.Attempt{{StartedAt: created.Add(x.UpdatedAt.Sub(created) / 2)}}
				}
			}
			list = append(list, x)
		}
		tl := l.timelineOf(zoom, from, to, list, catalog{})
		for _, row := range tl.Rows {
			if row.LineY > tl.Height {
				t.Fatalf("row at %d of %d", row.LineY, tl.Height)
			}
			for _, b := range row.Bars {
				for _, s := range []string{b.WaitX, b.WaitWidth} {
					share(t, s)
				}
				if b.Ran && share(t, b.RunX)+share(t, b.RunWidth) > 100.5 {
					t.Fatalf("bar from %s, %s wide", b.RunX, b.RunWidth)
				}
				if b.Y+barHigh > row.LineY {
					t.Fatalf("bar at %d under the line at %d", b.Y, row.LineY)
				}
			}
		}
		for _, k := range tl.Ticks {
			share(t, k.X)
		}
	})
}

func TestWindowNeighbours(t *testing.T) {
	t.Parallel()
	// One where a day has no midnight, one where an hour comes twice.
	for name, near := range map[string]string{"UTC": "2026-05-20", "America/Santiago": "2026-09-06", "Europe/Berlin": "2026-10-25"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(dayFormat, near)
		if err != nil {
			t.Fatal(err)
		}
		neighbours(t, zone, now.AddDate(0, 0, 201))
	}
}

func neighbours(t *testing.T, zone *time.Location, now time.Time) {
	t.Helper()
	l := look{lang: "en", words: newWords(), zone: zone, now: now}
	for zoom := range zooms {
		from, to := l.window(zoom, now.AddDate(0, 0, -200))
		for range 6 { // back and forth again
			prev, next := l.neighbours(zoom, from, to)
			at, ok := l.at(prev)
			if !ok {
				t.Fatal(prev)
			}
			if f, until := l.window(zoom, at); until != from {
				t.Errorf("%s: before %v comes %v to %v", zoom, from, f, until)
			}
			if at, ok = l.at(next); !ok {
				t.Fatal(next)
			}
			f, until := l.window(zoom, at)
			if f != to {
				t.Errorf("%s: after %v comes %v", zoom, to, f)
			}
			from, to = f, until
		}
	}
	from, to := l.window("day", now)
	if _, next := l.neighbours("day", from, to); next != "" {
		t.Errorf("after today comes %q", next)
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	l := look{lang: "en", words: newWords(), zone: time.UTC}
	hours := make([]tasks.Hour, 24)
	for i := range hours {
		hours[i] = tasks.Hour{From: time.Date(2026, 1, 1, i, 0, 0, 0, time.UTC), Succeeded: i * i, Failed: i, Cancelled: i % 2}
	}
	c := l.chart("Failures, by hour", hours, endedSeries())
	for _, b := range c.Bars {
		for _, p := range b.Parts {
			if p.Y < 0 || p.Y+p.Height > chartBase+2 {
				t.Errorf("%s: %+v", b.Title, p)
			}
		}
	}
	if c.Empty || !l.chart("Failures, by hour", hours[:1], endedSeries()).Empty || c.Top != "1000" {
		t.Errorf("%+v", c)
	}
	for n, want := range map[int]int{0: 4, 3: 4, 5: 5, 9: 10, 11: 20, 21: 40, 99: 100, 401: 500} {
		if got := niceTop(n); got != want {
			t.Errorf("niceTop(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	l := look{lang: "en", words: newWords(), zone: time.UTC, now: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
	for d, want := range map[time.Duration]string{0: "0 s", 40 * time.Millisecond: "40 ms", 61 * time.Second: "1 min 1 s", 11 * time.Minute: "11 min", 25 * time.Hour: "1 d 1 h", 90 * time.Minute: "1 h 30 min", -time.Second: "0 s", 400 * 24 * time.Hour: "400 d"} {
		if got := l.duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
	if m := l.ago(l.now.Add(-time.Minute)); m.Text != "1 min ago" || !strings.Contains(m.UTC, "2026-01-01 23:59:00 UTC") {
		t.Errorf("ago: %+v", m)
	}
	for accept, want := range map[string]string{"": "en", "de": "en", "zh": "zh", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "en-GB,zh;q=0.5": "en", "\x00;;": "en"} {
		if got := l.words.preferred(accept); got != want {
			t.Errorf("preferred(%q) = %q, want %q", accept, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %q", n, got)
		}
	}
	for text, want := range map[string]string{"2026-01-31": "2026-01-31T23:59:59.999999Z", "2026-01-31T18:00": "2026-01-31T18:00:59.999999Z", "2026-01-31 18:00:01": "2026-01-31T18:00:01.999999Z", "2026-01-31T18:00:00Z": "2026-01-31T18:00:00Z"} {
		if got, ok := l.parse(text, true); !ok || got.Format(time.RFC3339Nano) != want {
			t.Errorf("parse(%q) = %v, %v", text, got, ok)
		}
	}
}

// TestTries checks what tries to sign in are counted against, and that what is
// remembered stays bounded.
func TestTries(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "": "",
	} {
		if got := network(from); got != want {
			t.Errorf("network(%q) = %q, want %q", from, got, want)
		}
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tr := newTries()
	for n := range maxTryFrom + 10 {
		if _, wait := tr.begin("192.0.2."+strconv.Itoa(n), "ann", now); wait > 0 {
			t.Fatalf("the first try of %d has to wait %v", n, wait)
		}
	}
	if len(tr.all) > maxTryFrom {
		t.Errorf("%d addresses are remembered", len(tr.all))
	}
	for range tryBurst {
		tr.begin("198.51.100.1", "ann", now)
	}
	if _, wait := tr.begin("198.51.100.1", "ann", now); wait <= 0 || wait > tryEvery {
		t.Errorf("after %d tries the next waits %v", tryBurst, wait)
	}
	if _, wait := tr.begin("198.51.100.1", "ann", now.Add(tryEvery)); wait > 0 {
		t.Errorf("after %v the next still waits %v", tryEvery, wait)
	}
	// Others from there are held up later.
	if _, wait := tr.begin("198.51.100.1", "eve", now); wait > 0 {
		t.Errorf("another name waits %v", wait)
	}
	for n := range allBurst {
		tr.begin("203.0.113.1", strconv.Itoa(n), now)
	}
	if _, wait := tr.begin("203.0.113.1", "ann", now); wait <= 0 {
		t.Error("any number of names can be tried")
	}
	giveBack, _ := tr.begin("198.51.100.1", "ann", now.Add(2*tryEvery))
	giveBack()
	if _, wait := tr.begin("198.51.100.1", "ann", now.Add(2*tryEvery)); wait > 0 {
		t.Error("a try that was given back is gone")
	}
}

// TestWatching checks that nobody takes all the places for those who watch.
func TestWatching(t *testing.T) {
	t.Parallel()
	var w watching
	var leave func()
	for range maxPages {
		var err error
		if leave, err = w.enter("ann"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.enter("ann"); err == nil {
		t.Error("one user watches any number of pages")
	}
	if _, err := w.enter("eve"); err != nil {
		t.Errorf("others cannot watch: %v", err)
	}
	leave()
	if _, err := w.enter("ann"); err != nil {
		t.Errorf("a place that was left is not free: %v", err)
	}
}
