package storetest

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func listChecks() []check {
	return []check{
		{"list is newest first, ties by id", listOrder},
		{"list counts all and pages through all", listPages},
		{"list includes both ends of its range", listRange},
		{"list counts right at every scale of time", listScales},
		{"list pages deep into ranges and engines", listDeep},
		{"list of an instance that nobody knows", listUnknown},
		{"list across instances and engines", listAcross},
		{"list keeps its total when records go", listAfterDelete},
		{"list shows whole records but the steps", listWhole},
		{"list of many at one moment", listOneMoment},
	}
}

func listOrder(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s,
		task(1, 5, noon), task(1, 9, noon), task(1, 7, noon), // one moment
		task(1, 1, noon.Add(time.Microsecond)),
		task(1, 99, noon.Add(-time.Microsecond)),
		task(1, 50, noon.AddDate(-30, 0, 0)), // imported later, happened long before
		task(1, 51, noon.AddDate(1, 0, 0)))
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 7, 51, 1, 9, 7, 5, 99, 50)
}

func listPages(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1), kafka(2))
	const many = 131
	var want []int
	var batch []*errand.Task
	for n := range many {
		batch = append(batch, task(1, n, noon.Add(-time.Duration(n)*5*time.Hour)))
		want = append(want, n)
	}
	put(t, s, batch...)
	for _, size := range []int{1, 10, 100, 130, 131, 132} {
		for offset := 0; offset < many; offset += size {
			end := min(offset+size, many)
			page := list(t, s, errand.Filter{Instance: instanceID(1), Offset: offset, Limit: size})
			wantPage(t, page, many, want[offset:end]...)
			page = list(t, s, errand.Filter{Offset: offset, Limit: size})
			wantPage(t, page, many, want[offset:end]...)
		}
	}
	for _, offset := range []int{many, many + 1, 1 << 31, 1 << 62} {
		wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1), Offset: offset, Limit: 10}), many)
		wantPage(t, list(t, s, errand.Filter{Offset: offset, Limit: 10}), many)
	}
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(2)}), 0)
}

func listRange(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	us := func(n int64) time.Time { return time.UnixMicro(noon.UnixMicro() + n) }
	put(t, s, task(1, 1, us(1)), task(1, 2, us(2)), task(1, 3, us(3)), task(1, 4, us(1e13)))
	for _, c := range []struct {
		name     string
		from, to time.Time
		want     []int
	}{
		{"open", time.Time{}, time.Time{}, []int{4, 3, 2, 1}},
		{"both ends", us(2), us(3), []int{3, 2}},
		{"one microsecond", us(2), us(2), []int{2}},
		{"from only", us(2), time.Time{}, []int{4, 3, 2}},
		{"to only", time.Time{}, us(2), []int{2, 1}},
		{"from just after a record", us(2).Add(time.Nanosecond), us(3), []int{3}},
		{"to just after a record", us(1), us(2).Add(999 * time.Nanosecond), []int{2, 1}},
		{"between records", us(4), us(5), nil},
		{"before all", us(-9), us(0), nil},
		{"after all", us(2e13), time.Time{}, nil},
		{"the wrong way round", us(3), us(1), nil},
		{"all of history", time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), []int{4, 3, 2, 1}},
		{"beyond what can be stored", time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), []int{4, 3, 2, 1}},
		{"in another zone", us(2).In(time.FixedZone("west", -7*3600)), us(2).In(time.FixedZone("east", 3600)), []int{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := errand.Filter{Instance: instanceID(1), From: c.from, To: c.to}
			wantPage(t, list(t, s, f), len(c.want), c.want...)
			for f.Offset = range len(c.want) + 2 {
				wantPage(t, list(t, s, f), len(c.want), c.want[min(f.Offset, len(c.want)):]...)
			}
		})
	}
}

// listScales has tasks a microsecond to a year around one moment, and asks for
// every range between two of them.
func listScales(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	var batch []*errand.Task
	at := func(us int64) {
		batch = append(batch, task(1, len(batch), time.UnixMicro(noon.UnixMicro()+us)))
	}
	for e := 45; e >= 0; e-- {
		at(-1 << e)
	}
	for e := range 45 {
		at(1 << e)
	}
	put(t, s, batch...)
	for i := range batch {
		for k := i; k < len(batch); k++ {
			for _, instance := range []string{instanceID(1), ""} {
				f := errand.Filter{Instance: instance, From: batch[i].CreatedAt, To: batch[k].CreatedAt, Offset: k - i, Limit: 2}
				wantPage(t, list(t, s, f), k-i+1, i) // the oldest in the range
			}
		}
	}
}

func listDeep(t *testing.T, s tasks.Store) {
	for n, e := range errand.Engines() {
		i := kafka(n)
		i.Engine = e
		register(t, s, i)
	}
	const many = 896
	var batch []*errand.Task
	for n := range many {
		batch = append(batch, task(n%4, n, noon.Add(time.Duration(n/8)*17*time.Minute))) // eight at each moment
	}
	put(t, s, batch...)
	for _, of := range []struct {
		filter errand.Filter
		first  int
		step   int
	}{{errand.Filter{}, 0, 1}, {errand.Filter{Engine: errand.RocketMQ}, 1, 4}, {errand.Filter{Instance: instanceID(2)}, 2, 4}} {
		for _, r := range [][2]int{{0, many - 8}, {160, many - 8}, {0, 720}, {80, 800}} { // first tasks of two moments
			f := of.filter
			f.From, f.To, f.Limit = batch[r[0]].CreatedAt, batch[r[1]].CreatedAt, 7
			var want []int
			for n := of.first; n < many; n += of.step {
				if n >= r[0] && n < r[1]+8 {
					want = append([]int{n}, want...)
				}
			}
			for f.Offset = 0; f.Offset < len(want)+20; f.Offset += 13 {
				from := min(f.Offset, len(want))
				wantPage(t, list(t, s, f), len(want), want[from:min(from+7, len(want))]...)
			}
		}
	}
}

func listUnknown(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	for _, f := range []errand.Filter{
		{Project: project, Instance: instanceID(2), Limit: 10},
		{Project: otherProject, Instance: instanceID(1), Limit: 10},
	} {
		_, err := s.List(t.Context(), f)
		wantError(t, err, errand.NotFound, "instance")
	}
	wantPage(t, list(t, s, errand.Filter{Project: otherProject}), 0)
	wantPage(t, list(t, s, errand.Filter{Project: otherProject, Engine: errand.Kafka}), 0)
	wantPage(t, list(t, s, errand.Filter{Engine: errand.Redis}), 0)
}

func listAcross(t *testing.T, s tasks.Store) {
	here := []errand.Instance{kafka(1), kafka(2), kafka(3), kafka(4), kafka(5)}
	here[2].Engine, here[3].Engine, here[4].Engine = errand.RocketMQ, errand.RabbitMQ, errand.Redis
	register(t, s, here...)
	there := kafka(1)
	there.Project = otherProject
	register(t, s, there)
	elsewhere := task(1, 1, noon)
	elsewhere.Project = otherProject
	put(t, s, elsewhere)
	for n := range 40 {
		put(t, s, task(1+n%5, n, noon.Add(-time.Duration(n/3)*time.Hour))) // three at each moment
	}
	var all, kafkas, redises []int
	for hour := range 14 {
		for n := min(3*hour+2, 39); n >= 3*hour; n-- {
			all = append(all, n)
			switch n % 5 {
			case 0, 1:
				kafkas = append(kafkas, n)
			case 4:
				redises = append(redises, n)
			}
		}
	}
	for _, c := range []struct {
		filter errand.Filter
		want   []int
	}{
		{errand.Filter{}, all},
		{errand.Filter{Engine: errand.Kafka}, kafkas},
		{errand.Filter{Engine: errand.Redis}, redises},
		{errand.Filter{Project: otherProject}, []int{1}},
	} {
		total := len(c.want)
		for c.filter.Offset = range total {
			wantPage(t, list(t, s, c.filter), total, c.want[c.filter.Offset:]...)
		}
	}
	page := list(t, s, errand.Filter{})
	for i := range page.Tasks {
		n := all[i]
		if got, want := page.Tasks[i], here[n%5]; got.Instance != want.ID || got.Engine != want.Engine || got.Project != project {
			t.Errorf("task %d is of %s (%s) in %s, want %s (%s)", n, got.Instance, got.Engine, got.Project, want.ID, want.Engine)
		}
	}
	// An instance decides its engine: asking for another is ignored.
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(5), Engine: errand.Kafka}), len(redises), redises...)
}

func listAfterDelete(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	var want []int
	for n := range 60 {
		put(t, s, task(1, n, noon.Add(-time.Duration(n)*3*time.Minute)))
		if n%3 != 1 {
			want = append(want, n)
		}
	}
	for n := 1; n < 60; n += 3 {
		if err := s.Delete(t.Context(), project, taskID(n), drop); err != nil {
			t.Fatal(err)
		}
	}
	for offset := range want {
		wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1), Offset: offset, Limit: 4}), len(want), want[offset:min(offset+4, len(want))]...)
	}
	for _, n := range want {
		if err := s.Delete(t.Context(), project, taskID(n), drop); err != nil {
			t.Fatal(err)
		}
	}
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 0)
	wantPage(t, list(t, s, errand.Filter{From: time.Unix(0, 0)}), 0)
}

func listWhole(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, rich(1, 1, noon), task(1, 2, noon))
	for _, f := range []errand.Filter{{Instance: instanceID(1)}, {Engine: errand.Kafka}, {}} {
		page := list(t, s, f)
		for i, want := range []*errand.Task{task(1, 2, noon), rich(1, 1, noon)} {
			want.Engine = errand.Kafka
			if want.Progress != nil {
				want.Progress.Steps = nil
			}
			same(t, "listed task", &page.Tasks[i], want)
		}
	}
}

// listOneMoment is what an import of a whole history with coarse times gives.
func listOneMoment(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	const many = 700
	var batch []*errand.Task
	for n := range many {
		batch = append(batch, task(1, n, noon))
	}
	put(t, s, batch...)
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1), Offset: 500, Limit: 2}), many, many-501, many-502)
	wantPage(t, list(t, s, errand.Filter{From: noon, To: noon, Offset: 699, Limit: 2}), many, 0)
	wantPage(t, list(t, s, errand.Filter{From: noon.Add(time.Microsecond)}), 0)
}
