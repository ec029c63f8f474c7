package upkeep

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

var letters = Table{Name: "letters", Columns: []Column{{"a", Int, true}, {"b", Text, true}, {"c", Bytes, true}}, Key: []int{1, 0}}

func sumOf(rows ...[]any) Sum {
	s := newSummer(letters)
	for _, r := range rows {
		s.add(r)
	}
	return s.sum(letters)
}

// TestSums has rows that differ in one thing each.
func TestSums(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i, rows := range [][][]any{
		{},
		{{int64(1), "x", []byte("y")}},
		{{int64(1), "x", []byte("y")}, {int64(1), "x", []byte("y")}},
		{{int64(-1), "x", []byte("y")}},
		{{nil, "x", []byte("y")}},
		{{int64(1), nil, []byte("xy")}},
		{{int64(1), "", []byte("xy")}},
		{{int64(1), "xy", []byte{}}},
		{{int64(1), "xy", nil}},
		{{int64(1), "x\x00", []byte("y")}},
		{{int64(1), "x", []byte("\x00y")}},
		{{int64(1), "x", []byte("y")}, {int64(2), "x", []byte("y")}},
		{{int64(2), "x", []byte("y")}, {int64(1), "x", []byte("y")}},
	} {
		s := sumOf(rows...)
		if s.Rows != int64(len(rows)) || s.Table != "letters" {
			t.Errorf("%v: %+v", rows, s)
		}
		if j, ok := seen[s.SHA256]; ok {
			t.Errorf("rows %d have the sum of rows %d", i, j)
		}
		seen[s.SHA256] = i
	}
	// Sums are compared with those that other versions have printed.
	const want = "d74802ffaf6c41528b4cb4ff67dfd72d42cbb4a4eda6bd53696fd8526973fac8"
	if got := sumOf([]any{int64(1), "x", []byte("y")}).SHA256; got != want {
		t.Errorf("the sum of one row is %s, want %s", got, want)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	row := []any{int64(7), "k\n", []byte{1}}
	if got := fmt.Sprint(letters.KeyOf(row), letters.Names(letters.Key...), letters.Names()); got != "[k\n 7] [b a] [a b c]" {
		t.Errorf("key %q", got)
	}
	if got := letters.KeyText(row); got != `b "k\n", a 7` {
		t.Errorf("key for people: %s", got)
	}
}

func TestSameTables(t *testing.T) {
	t.Parallel()
	other := letters
	other.Columns = []Column{{"a", Int, true}, {"b", Text, true}, {"c", Bytes, false}}
	for _, tt := range []struct {
		a, b []Table
		why  string
	}{
		{[]Table{letters}, []Table{letters}, ""},
		{[]Table{letters}, nil, "x has a table letters that y has not"},
		{nil, []Table{letters}, "y has a table letters that x has not"},
		{[]Table{letters}, []Table{other}, "table letters has other columns in x than in y"},
	} {
		err := sameTables("x", tt.a, "y", tt.b)
		if (err == nil) != (tt.why == "") || err != nil && (!strings.Contains(err.Error(), tt.why) || errand.ErrorOf(err).Subject != "schema") {
			t.Errorf("%v, want %q", err, tt.why)
		}
	}
}

// pages is a patient of which only the streams are used.
type pages struct {
	Patient
	all [][][]any
}

func (p pages) Streams(_ context.Context, _ []string, fn func([]Stream) error) error {
	var streams []Stream
	for _, rows := range p.all {
		streams = append(streams, func() ([]any, error) {
			if len(rows) == 0 {
				return nil, nil
			}
			row := rows[0]
			rows = rows[1:]
			return row, nil
		})
	}
	return fn(streams)
}

type place struct {
	level         int
	scope, bucket int64
}

// TestWrongCounts holds the one pass over tasks and counts against plain sums, on
// random histories.
func TestWrongCounts(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		p, want := randomCounts(random)
		got := map[place][2]int64{}
		var order []place
		err := (&visit{Patient: p}).eachWrongCount(t.Context(), func(w wrongCell) error {
			at := place{w.level, w.scope, w.bucket}
			got[at] = [2]int64{w.want, w.have}
			order = append(order, at)
			return nil
		})
		if err != nil || !maps.Equal(got, want) || len(order) != len(got) {
			t.Fatalf("found %v, want %v (%v)", got, want, err)
		}
		for i, parent := range order {
			for _, child := range order[i:] {
				if child.scope == parent.scope && child.level == parent.level-fanout && child.bucket>>fanout == parent.bucket {
					t.Fatalf("%v comes after %v, which is counted from it", child, parent)
				}
			}
		}
	}
}

// randomCounts makes tasks and counts of which some are wrong, and says which:
// what each should be, and is.
func randomCounts(random *rand.Rand) (pages, map[place][2]int64) {
	type task struct{ scope, grp, at int64 }
	var tasks []task
	should := map[place]int64{}
	for range random.IntN(60) {
		x := task{2 + random.Int64N(4), random.Int64N(2) * 10, (random.Int64N(200) - 100) << (20 + random.IntN(20))}
		tasks = append(tasks, x)
		for _, l := range levels {
			should[place{l, x.scope, x.at >> l}]++
			should[place{l, x.grp, x.at >> l}]++
		}
	}
	is := maps.Clone(should)
	for at := range should {
		switch random.IntN(8) {
		case 0:
			delete(is, at)
		case 1:
			is[at]++
		}
	}
	for range random.IntN(5) {
		is[place{levels[random.IntN(4)], random.Int64N(12), random.Int64N(9) - 4}] += 1 + random.Int64N(3)
	}
	wrong := map[place][2]int64{}
	for at := range is {
		if is[at] != should[at] {
			wrong[at] = [2]int64{should[at], is[at]}
		}
	}
	for at, n := range should {
		if is[at] != n {
			wrong[at] = [2]int64{n, is[at]}
		}
	}
	p := pages{all: make([][][]any, 2+len(levels))}
	for _, x := range tasks {
		p.all[0] = append(p.all[0], []any{x.scope, x.at})
		p.all[1] = append(p.all[1], []any{x.grp, x.at})
	}
	for at, n := range is {
		i := 2 + slices.Index(levels[:], at.level)
		p.all[i] = append(p.all[i], []any{at.scope, at.bucket, n})
	}
	for _, rows := range p.all {
		slices.SortFunc(rows, func(a, b []any) int {
			return cmp.Or(cmp.Compare(number(a[0]), number(b[0])), cmp.Compare(number(a[1]), number(b[1])))
		})
	}
	return p, wrong
}
