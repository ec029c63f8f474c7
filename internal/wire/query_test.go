package wire

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func query(raw string) *Query {
	r := httptest.NewRequest("GET", "/x", nil)
	r.URL.RawQuery = raw
	return NewQuery(r)
}

func TestQueryInt(t *testing.T) {
	for _, tt := range []struct {
		raw     string
		want    int
		subject string // of the error, or ""
	}{
		{"", 10, ""},
		{"limit=", 10, ""},
		{"limit", 10, ""}, // how the Go SDK sends an empty string
		{"limit=1", 1, ""},
		{"limit=100", 100, ""},
		{"a=b&limit=7&c=d", 7, ""},
		{"limit=007", 7, ""},
		{"%6Cimit=7", 7, ""},
		{"limit=%37", 7, ""},
		{"limit=0", 10, "limit"},
		{"limit=-1", 10, "limit"},
		{"limit=+5", 10, "limit"}, // a space, once decoded
		{"limit=%2B5", 10, "limit"},
		{"limit=1e1", 10, "limit"},
		{"limit=1.0", 10, "limit"},
		{"limit=0x10", 10, "limit"},
		{"limit=ten", 10, "limit"},
		{"limit=٣", 10, "limit"},
		{"limit=%zz", 10, "limit"},
		{"limit=5&limit=5", 10, "limit"},
		{"limit=5&%6cimit=6", 10, "limit"},
		{"limit=101", 10, "limit_too_large"},
		{"limit=99999999999999999999", 10, "limit_too_large"},
		{"limit=" + strings.Repeat("9", 100_000), 10, "limit_too_large"},
		{"limit=" + strings.Repeat("x", 100_000), 10, "limit"},
		{"limitt=5&imit=3", 10, ""},
		{"&&=&limit=5&", 5, ""},
	} {
		q := query(tt.raw)
		got := q.Int("limit", 10, 1, 100)
		if e := errand.ErrorOf(q.Err()); got != tt.want || (e == nil) != (tt.subject == "") || e != nil && (e.Kind != errand.Invalid || e.Subject != tt.subject || len(e.Msg) > 200) {
			t.Errorf("Int(%.40q) = %d, %v; want %d, error about %q", tt.raw, got, e, tt.want, tt.subject)
		}
	}
}

func TestQueryTime(t *testing.T) {
	at := time.Date(2020, 6, 9, 16, 0, 1, 0, time.UTC)
	for _, tt := range []struct {
		raw     string
		want    time.Time
		subject string
	}{
		{"", time.Time{}, ""},
		{"begin_time=", time.Time{}, ""},
		{"begin_time=20200609160001", at, ""},
		{"start_time=20200609160001", at, ""},
		{"begin_time=&start_time=20200609160001", at, ""},
		{"begin_time=20200609160001&start_time=20200609160001", at, ""},
		{"begin_time=2020060916000", time.Time{}, "begin_time"},
		{"begin_time=202006091600011", time.Time{}, "begin_time"},
		{"begin_time=20200231000000", time.Time{}, "begin_time"},
		{"begin_time=20200609240000", time.Time{}, "begin_time"},
		{"start_time=2020-06-09T16:00:01Z", time.Time{}, "start_time"},
		{"start_time=-0200609160001", time.Time{}, "start_time"},
		{"start_time=20200609160001&start_time=20200609160001", time.Time{}, "start_time"},
		{"start_time=%E2%80%AE200609160001", time.Time{}, "start_time"},
	} {
		q := query(tt.raw)
		got := q.Time("begin_time", "start_time")
		if e := errand.ErrorOf(q.Err()); !got.Equal(tt.want) || (e == nil) != (tt.subject == "") || e != nil && (e.Kind != errand.Invalid || e.Subject != tt.subject) {
			t.Errorf("Time(%q) = %v, %v; want %v, error about %q", tt.raw, got, e, tt.want, tt.subject)
		}
	}
	if got, want := EndOfSecond(at), at.Add(999999*time.Microsecond); !got.Equal(want) {
		t.Errorf("EndOfSecond = %v, want %v", got, want)
	}
	if !EndOfSecond(time.Time{}).IsZero() {
		t.Error("EndOfSecond of no time is a time")
	}
}

func TestQueryKeepsFirstError(t *testing.T) {
	q := query("limit=x&offset=y")
	q.Int("limit", 1, 1, 2)
	q.Int("offset", 1, 1, 2)
	if e := errand.ErrorOf(q.Err()); e == nil || e.Subject != "limit" {
		t.Errorf("error = %v, want the first one, about limit", e)
	}
}

// FuzzQuery checks that no query string makes a decoder panic or lets a value
// out of its range through.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"", "limit=10&start=1&begin_time=20200101000000&end_time=20200101000000", "limit", "limit=%", "limit=1&limit=2",
		"a=%zz&limit=3", "begin_time=20200230000000", "=&&&=", "l%69mit=5", "limit=+1", "offset=99999999999999999999",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q := query(raw)
		n := q.Int("limit", 10, 1, 100)
		at := q.Time("begin_time", "start_time")
		_ = q.String("instance", "engine")
		if n < 1 || n > 100 {
			t.Errorf("limit = %d", n)
		}
		if e := errand.ErrorOf(q.Err()); e != nil {
			if e.Kind != errand.Invalid || e.Subject == "" || e.Msg == "" {
				t.Errorf("error %+v is not a clear one", e)
			}
		} else if !at.IsZero() && (at.Year() < 0 || at.Year() > 9999 || at.Nanosecond() != 0) {
			t.Errorf("time = %v", at)
		}
	})
}
