package stored

import (
	"cmp"
	"slices"
)

// Tasks are counted per scope in buckets of four sizes: 2^23 µs (8.4 s), 2^29
// (8.9 min), 2^35 (9.5 h) and 2^41 (25 d). A bucket of one size holds 64 of the
// next smaller one, so a total, a range or an offset reads a few dozen counts
// at each level and the rows of one smallest bucket, whatever the history.
const (
	Finest   = 23
	Fanout   = 6 // as a shift
	Coarsest = 41
)

// Delta says that N tasks of a scope came (or went, below zero) in a bucket,
// which is the number of the moment shifted by the level.
type Delta struct {
	Scope, Bucket, N int64
}

// Rollup calls each, for each level from the finest, with what changed at it,
// each bucket once. It uses up ds, which are of the finest level.
func Rollup(ds []Delta, each func(level int, ds []Delta) error) error {
	slices.SortFunc(ds, func(a, b Delta) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Bucket, b.Bucket))
	})
	for level := Finest; level <= Coarsest; level += Fanout {
		ds = merge(ds)
		if err := each(level, ds); err != nil {
			return err
		}
		for i := range ds {
			ds[i].Bucket >>= Fanout // the order stays
		}
	}
	return nil
}

// merge adds up neighbours of the same bucket and drops what cancels out.
func merge(ds []Delta) []Delta {
	out := ds[:0]
	for i := 0; i < len(ds); {
		d := ds[i]
		for i++; i < len(ds) && ds[i].Scope == d.Scope && ds[i].Bucket == d.Bucket; i++ {
			d.N += ds[i].N
		}
		if d.N != 0 {
			out = append(out, d)
		}
	}
	return out
}
