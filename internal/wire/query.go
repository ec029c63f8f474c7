package wire

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/errandhq/errand"
)

// Query reads the parameters of a request and keeps the first error, so that
// decoders stay flat. A parameter that is empty counts as absent, because the
// provider's Go SDK sends empty strings so. One that is given twice is an error:
// nobody can say which was meant.
type Query struct {
	raw string
	err error
}

// NewQuery returns the query of r.
func NewQuery(r *http.Request) *Query { return &Query{raw: r.URL.RawQuery} }

// Err returns the first error: Invalid about the parameter.
func (q *Query) Err() error { return q.err }

// String returns the value of the first of names that is present, or "".
func (q *Query) String(names ...string) string {
	for _, name := range names {
		if v := q.get(name); v != "" {
			return v
		}
	}
	return ""
}

// Has reports whether the parameter is present and not empty.
func (q *Query) Has(name string) bool { return q.get(name) != "" }

// Int returns a whole number from low to high, or def where it is absent. A
// number above high is an error about name+"_too_large".
func (q *Query) Int(name string, def, low, high int) int {
	v := q.get(name)
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if v[0] == '+' || err != nil && !isDigits(v) || err == nil && n < low {
		q.fail(name, "%s must be a whole number from %d to %d, not %.32q", name, low, high, v)
		return def
	}
	if err != nil || n > high {
		q.fail(name+"_too_large", "%s must be at most %d, not %.32s", name, high, v)
		return def
	}
	return n
}

// compact is how the provider writes times in queries, always in UTC.
const compact = "20060102150405"

// Time returns the second that the first present of names gives in the form
// YYYYMMDDHHmmss (UTC), or the zero time.
func (q *Query) Time(names ...string) time.Time {
	for _, name := range names {
		v := q.get(name)
		if v == "" {
			continue
		}
		t, err := ParseCompactTime(v)
		if err != nil {
			q.fail(name, "%s must be a time in UTC as YYYYMMDDHHmmss, such as 20200609160000, not %.32q", name, v)
			return time.Time{}
		}
		return t
	}
	return time.Time{}
}

// ParseCompactTime reads the provider's YYYYMMDDHHmmss, in UTC.
func ParseCompactTime(s string) (time.Time, error) {
	if len(s) != len(compact) || !isDigits(s) {
		return time.Time{}, errand.Errorf(errand.Invalid, "time", "%.32q is not a time as YYYYMMDDHHmmss", s)
	}
	return time.ParseInLocation(compact, s, time.UTC)
}

// EndOfSecond returns the last instant of the second of t, for range ends that
// are given in whole seconds and are included. The zero time stays zero.
func EndOfSecond(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Truncate(time.Second).Add(time.Second - time.Microsecond)
}

func (q *Query) fail(subject, format string, args ...any) {
	if q.err == nil {
		q.err = errand.Errorf(errand.Invalid, subject, format, args...)
	}
}

// get returns the decoded value of a parameter. It looks through the raw query
// each time: queries are short, and this way none is copied into a map.
func (q *Query) get(name string) string {
	value, found := "", false
	for rest := q.raw; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		k, v, _ := strings.Cut(pair, "=")
		if k != name {
			if !strings.ContainsAny(k, "%+") {
				continue
			}
			if dk, err := url.QueryUnescape(k); err != nil || dk != name {
				continue
			}
		}
		if found {
			q.fail(name, "%s is given more than once", name)
			return ""
		}
		found = true
		if strings.ContainsAny(v, "%+") {
			dv, err := url.QueryUnescape(v)
			if err != nil {
				q.fail(name, "%s has a broken %%-escape", name)
				return ""
			}
			v = dv
		}
		value = v
	}
	return value
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
