package stored

import (
	"math"
	"time"

	"github.com/errandhq/errand"
)

// Reach is the range of creation times that a filter selects, in microseconds:
// From, up to and not including Until.
type Reach struct {
	From, Until int64
}

// No moment that can be stored or asked for lies outside.
const (
	Always  = math.MinInt64 >> 2
	Forever = math.MaxInt64 >> 2
)

// ReachOf returns what f selects.
func ReachOf(f errand.Filter) Reach {
	r := Reach{Always, Forever}
	if !f.From.IsZero() {
		r.From = min(max(ceilMicro(f.From), Always), Forever)
	}
	if !f.To.IsZero() {
		r.Until = min(max(f.To.UnixMicro(), Always), Forever-1) + 1
	}
	return r
}

// ceilMicro is the first microsecond that is not before t.
func ceilMicro(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 > 0 {
		us++
	}
	return us
}

// FirstMicro is the first microsecond that is not before t, or before every other
// one where t is zero.
func FirstMicro(t time.Time) int64 {
	if t.IsZero() {
		return math.MinInt64
	}
	return ceilMicro(t)
}
