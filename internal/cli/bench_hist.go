package cli

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// The shape of a histogram: microseconds, exact below histSteps, and above in
// histSteps buckets for each doubling, so that a bucket is less than 1 % wide. The
// last bucket holds all that took longer than two hours or so.
const (
	histBits    = 7
	histSteps   = 1 << histBits
	histBuckets = 27 * histSteps
)

// histogram counts durations in bounded memory. Its zero value is empty, and its
// methods may be called concurrently; a quantile that is read while others add is
// that of a moment or so ago.
type histogram struct {
	buckets [histBuckets]atomic.Uint64
	count   atomic.Uint64
	longest atomic.Int64 // ns
}

func bucketOf(d time.Duration) int {
	us := uint64(max(0, d.Microseconds()))
	if us < histSteps {
		return int(us)
	}
	shift := bits.Len64(us) - 1 - histBits // us>>shift is histSteps or more, and less than twice that
	return min(histBuckets-1, (shift+1)*histSteps+int(us>>shift)-histSteps)
}

// bucketEnd returns the longest time, in whole microseconds, that bucket i counts.
func bucketEnd(i int) time.Duration {
	if i < histSteps {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/histSteps - 1
	return time.Duration((i%histSteps+histSteps+1)<<shift-1) * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)].Add(1)
	h.count.Add(1)
	for {
		longest := h.longest.Load()
		if int64(d) <= longest || h.longest.CompareAndSwap(longest, int64(d)) {
			return
		}
	}
}

// quantile returns the time within which the share q of all that was counted
// ended, at most 1 % too long, or 0 if nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(1, uint64(q*float64(h.count.Load())+0.999999))
	seen := uint64(0)
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); seen >= rank {
			return min(bucketEnd(i), time.Duration(h.longest.Load()))
		}
	}
	return time.Duration(h.longest.Load())
}
