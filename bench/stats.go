package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/errandhq/errand/bench/drive"
)

// median returns the middle of values, the mean of the two middle ones where they
// are even in number, and 0 of none.
func median[T cmp.Ordered](values []T, mean func(a, b T) T) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	s := slices.Sorted(slices.Values(values))
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m]
	}
	return mean(s[m-1], s[m])
}

func mean(a, b float64) float64 { return (a + b) / 2 }

// middle returns the median of what of returns of each result.
func middle[R any](results []R, of func(R) float64) float64 {
	var values []float64
	for _, r := range results {
		values = append(values, of(r))
	}
	return median(values, mean)
}

func p50(r drive.Result) float64  { return r.P50 }
func p99(r drive.Result) float64  { return r.P99 }
func rate(r drive.Result) float64 { return r.Rate() }

// number prints a count or a rate in three significant digits or so.
func number(f float64) string {
	switch {
	case f >= 1000:
		return thousands(int64(f + 0.5))
	case f >= 10:
		return fmt.Sprintf("%.0f", f)
	case f >= 1:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// thousands prints n with commas, cut to three significant digits.
func thousands(n int64) string {
	unit := int64(1)
	for m := n; m >= 1000; m /= 10 {
		unit *= 10
	}
	n = (n + unit/2) / unit * unit
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// milliseconds prints a time.
func milliseconds(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

// megabytes prints bytes.
func megabytes(bytes float64) string { return fmt.Sprintf("%.0f MB", bytes/1e6) }

// ratio prints how a figure compares to that of the one that all are compared to.
func ratio(value, base float64) string {
	if value <= 0 || base <= 0 {
		return "–"
	}
	q := value / base
	if q >= 10 {
		return fmt.Sprintf("%.0f", q)
	}
	return fmt.Sprintf("%.2g", q)
}

// several prints a count with what it counts.
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
