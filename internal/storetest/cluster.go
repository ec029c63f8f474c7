package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/tasks"
)

// Node is a store that other nodes share.
type Node = interface {
	tasks.Store
	tasks.Queue
	tasks.Cluster
	auth.Store
}

// RunCluster holds the stores that open returns against the contract of
// tasks.Cluster, and against what one store promises by itself. Each check has a
// function that opens another node of one and the same store.
func RunCluster(t *testing.T, open func(*testing.T) func() Node) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func() Node)
	}{
		{"time passes", clusterTime},
		{"nodes meet and leave", clusterMeet},
		{"nodes hear what others changed", clusterListen},
		{"instance that one node forgets is gone for the others", clusterForget},
		{"instance that nodes register at once is taken once", clusterRegister},
		{"tasks are taken once by all nodes together", clusterTake},
		{"lanes hold across nodes", clusterLanes},
		{"keys hold across nodes", clusterKeys},
		{"feed misses nothing that any node writes", clusterFeed},
		{"exclusive callers wait for each other across nodes", clusterExclusive},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open(t))
		})
	}
}

func clusterTime(t *testing.T, open func() Node) {
	a, b := open(), open()
	before, err := a.Time(t.Context())
	must(t, err)
	after, err := b.Time(t.Context())
	must(t, err)
	if after.Before(before) || after.Sub(before) > time.Minute {
		t.Errorf("one node reads %v, and then another %v", before, after)
	}
	if off := time.Since(before); off.Abs() > time.Hour { // the store is on this machine
		t.Errorf("the store's clock is %v off", off)
	}
}

// node returns what node n says of itself.
func node(n int) tasks.Node {
	return tasks.Node{
		ID: taskID(n), Name: fmt.Sprintf("höst-%d", n), Version: "1.2.3", StartedAt: noon, Skew: time.Duration(n) * time.Millisecond,
		Workers: []tasks.Worker{{Project: project, Name: "w\u00e9", Operations: []string{"EXTEND"}, Engines: []errand.Engine{errand.Kafka}, Since: noon, Seen: noon}},
	}
}

func clusterMeet(t *testing.T, open func() Node) {
	a, b := open(), open()
	meet := func(s Node, n int, quiet time.Duration) []tasks.Node {
		t.Helper()
		others, err := s.Meet(t.Context(), node(n), quiet)
		must(t, err)
		return others
	}
	want := func(got []tasks.Node, ns ...int) {
		t.Helper()
		if len(got) != len(ns) {
			t.Fatalf("others are %s, want %v", show(got), ns)
		}
		for i, n := range ns {
			w := node(n)
			if w.Seen = got[i].Seen; w.Seen.IsZero() {
				t.Errorf("node %d was seen at no time", n)
			}
			same(t, "node", got[i], w)
		}
	}
	want(meet(a, 2, time.Hour))
	want(meet(b, 1, time.Hour), 2)
	want(meet(a, 2, time.Hour), 1)
	want(meet(b, 3, time.Hour), 1, 2)
	want(meet(a, 2, 0)) // nobody has said something since now
	changed := node(1)
	changed.Version, changed.Workers = "1.2.4", nil
	_, err := b.Meet(t.Context(), changed, time.Hour)
	must(t, err)
	others := meet(a, 2, time.Hour)
	if len(others) != 2 || others[0].Version != "1.2.4" || len(others[0].Workers) != 0 {
		t.Errorf("others are %s, want what node 1 said last", show(others))
	}
	must(t, a.Leave(t.Context(), taskID(1)))
	must(t, a.Leave(t.Context(), taskID(1)))
	want(meet(b, 3, time.Hour), 2)

	crowd := node(4)
	for n := range 10_000 {
		w := crowd.Workers[0]
		w.Name, w.Seen = fmt.Sprintf("worker-%d-%0100d", n, n), noon.Add(time.Duration(n)*time.Second)
		crowd.Workers = append(crowd.Workers, w)
	}
	_, err = a.Meet(t.Context(), crowd, time.Hour)
	must(t, err)
	others = meet(b, 3, time.Hour)
	if len(others) != 2 || len(others[1].Workers) < 100 || others[1].Workers[0].Name != crowd.Workers[10_000].Name {
		t.Errorf("of a node with 10000 workers, %d are named, or not the latest", len(others[len(others)-1].Workers))
	}
}

func clusterListen(t *testing.T, open func() Node) {
	a, b := open(), open()
	register(t, a, kafka(1))
	ctx, cancel := context.WithCancel(t.Context())
	rings := make(chan tasks.Ring, 1000)
	var wg sync.WaitGroup
	wg.Go(func() { b.Listen(ctx, func(r tasks.Ring) { rings <- r }) })
	defer wg.Wait()
	defer cancel()
	const all = tasks.RingChanged | tasks.RingProgress | tasks.RingCredentials
	if r := <-rings; r != all {
		t.Errorf("first ring is %v, want all: something may have been missed", r)
	}
	for _, c := range []struct {
		ring   tasks.Ring
		change func() error
	}{
		{tasks.RingChanged, func() error { submit(t, a, free(1, 1, 0)); return nil }},
		{tasks.RingCredentials, func() error { return a.AddUser(t.Context(), user(1)) }},
		{tasks.RingChanged, func() error { update(t, a, 1, claiming(noon)); return nil }},
		{tasks.RingCredentials, func() error { return a.AddKey(t.Context(), key(1)) }},
		{tasks.RingChanged, func() error { return a.DeleteInstance(t.Context(), project, instanceID(1)) }},
	} {
		must(t, c.change())
		for r := range rings { // the test's own deadline ends the wait
			if r&c.ring != 0 {
				break
			}
		}
	}
}

func clusterForget(t *testing.T, open func() Node) {
	a, b := open(), open()
	register(t, a, kafka(1), kafka(2))
	for n := range 30 {
		put(t, a, task(1, n, noon.Add(time.Duration(n)*time.Minute)))
	}
	of := errand.Filter{Instance: instanceID(1), Limit: 5}
	for range 10 { // both nodes know where it is
		list(t, a, of)
		list(t, b, of)
	}
	must(t, a.DeleteInstance(t.Context(), project, instanceID(1)))
	for _, s := range []Node{b, a} {
		of.Project = project
		_, err := s.List(t.Context(), of)
		wantError(t, err, errand.NotFound, "instance")
		_, err = s.Instance(t.Context(), project, instanceID(1))
		wantError(t, err, errand.NotFound, "instance")
		wantError(t, s.Put(t.Context(), []*errand.Task{task(1, 99, noon)}, save), errand.NotFound, "instance")
		x := free(1, 98, 0)
		_, _, err = s.Submit(t.Context(), x, tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), admitAll)
		wantError(t, err, errand.NotFound, "instance")
		wantPage(t, list(t, s, errand.Filter{}), 0)
	}
	again := kafka(1)
	again.Engine = errand.Redis
	register(t, a, again)
	put(t, a, task(1, 7, noon))
	page := list(t, b, of)
	wantPage(t, page, 1, 7)
	if page.Tasks[0].Engine != errand.Redis {
		t.Errorf("the instance that took its place runs %s", page.Tasks[0].Engine)
	}
}

func clusterRegister(t *testing.T, open func() Node) {
	nodes := []Node{open(), open(), open()}
	for n := range 5 {
		var wg sync.WaitGroup
		errs := make([]error, 2*len(nodes))
		for i := range errs {
			wg.Go(func() { errs[i] = nodes[i%len(nodes)].AddInstance(t.Context(), kafka(n)) })
		}
		wg.Wait()
		added := 0
		for _, err := range errs {
			if err == nil {
				added++
				continue
			}
			wantError(t, err, errand.Conflict, "instance")
		}
		if added != 1 {
			t.Errorf("instance %d was registered %d times", n, added)
		}
	}
}

func clusterTake(t *testing.T, open func() Node) {
	nodes := []Node{open(), open(), open()}
	register(t, nodes[0], kafka(1), kafka(2))
	const many = 120
	for n := range many {
		submit(t, nodes[n%3], free(1+n%2, n, 0))
	}
	var mu sync.Mutex
	got := make(map[string]int)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for {
				want := everything(noon)
				want.Limit = 7
				taken, _, err := nodes[i%3].Take(t.Context(), want, claiming(noon))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, x := range taken {
					got[x.ID]++
				}
				done := len(got) == many
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wg.Wait()
	for id, n := range got {
		if n != 1 {
			t.Errorf("task %s was taken %d times", id, n)
		}
	}
}

// clusterLanes has every node submit to, take from and finish in the same lanes.
func clusterLanes(t *testing.T, open func() Node) {
	nodes := []Node{open(), open(), open()}
	register(t, nodes[0], kafka(1), kafka(2))
	const each = 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	running, finished := map[string]int{}, 0
	for i, s := range nodes {
		wg.Go(func() {
			for n := range each {
				x := waiting(1+n%2, i*each+n, 0)
				if _, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), admitAll); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for {
				mu.Lock()
				done := finished == len(nodes)*each
				mu.Unlock()
				if done || t.Failed() {
					return
				}
				taken, _, err := s.Take(t.Context(), everything(noon), claiming(noon))
				if err != nil {
					t.Error(err)
					return
				}
				for _, x := range taken {
					mu.Lock()
					if running[x.Instance]++; running[x.Instance] != 1 {
						t.Errorf("%d of %s run", running[x.Instance], x.Instance)
					}
					running[x.Instance]--
					mu.Unlock()
					if _, err := s.Update(t.Context(), project, x.ID, finishing(errand.Succeeded, noon)); err != nil {
						t.Error(err)
					}
					mu.Lock()
					finished++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if p := list(t, nodes[0], errand.Filter{}); p.Total != len(nodes)*each {
		t.Errorf("total is %d", p.Total)
	}
}

func clusterKeys(t *testing.T, open func() Node) {
	nodes := []Node{open(), open(), open()}
	register(t, nodes[0], kafka(1))
	for round := range 10 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		added, ids := 0, map[string]bool{}
		for i := range 9 {
			wg.Go(func() {
				x := free(1, round*100+i, 0)
				key := tasks.SubmitKey{Key: fmt.Sprintf("key-%d", round), Digest: "d", Expires: noon.Add(time.Hour)}
				earlier, _, err := nodes[i%3].Submit(t.Context(), x, key, recorded(x, errand.ActSubmitted, ""), admitAll)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if earlier == nil {
					added++
					ids[x.ID] = true
				} else {
					ids[earlier.ID] = true
				}
			})
		}
		wg.Wait()
		if added != 1 || len(ids) != 1 {
			t.Errorf("round %d: %d tasks were added, and callers were told of %d", round, added, len(ids))
		}
	}
}

// clusterFeed reads the feed at one node while all write: what it has passed must
// never get an event later.
func clusterFeed(t *testing.T, open func() Node) {
	nodes := []Node{open(), open(), open()}
	register(t, nodes[0], kafka(1), kafka(2), kafka(3))
	const writers, each = 6, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				x := free(1+w%3, w*each+n, 0)
				if _, _, err := nodes[w%3].Submit(t.Context(), x, tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), admitAll); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var seqs []int64
	for len(seqs) < writers*each && !t.Failed() {
		after := int64(0)
		if len(seqs) > 0 {
			after = seqs[len(seqs)-1]
		}
		es, err := nodes[0].Feed(t.Context(), project, after, 10)
		must(t, err)
		for _, e := range es {
			seqs = append(seqs, e.Seq)
		}
	}
	wg.Wait()
	es, err := nodes[1].Feed(t.Context(), project, 0, 10*writers*each)
	must(t, err)
	var all []int64
	for _, e := range es {
		all = append(all, e.Seq)
	}
	if !slices.Equal(seqs, all) {
		t.Errorf("the follower saw %d events, there are %d, or in another order", len(seqs), len(all))
	}
	last, err := nodes[2].LastSeq(t.Context())
	must(t, err)
	if len(all) > 0 && last != all[len(all)-1] {
		t.Errorf("LastSeq is %d, want %d", last, all[len(all)-1])
	}
}

func clusterExclusive(t *testing.T, open func() Node) {
	nodes := []Node{open(), open(), open()}
	u := user(1)
	u.Password = ""
	must(t, nodes[0].AddUser(t.Context(), u))
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			s := nodes[i%3]
			err := s.Exclusively(t.Context(), func(ctx context.Context) error {
				u, err := s.User(ctx, taskID(1))
				if err != nil {
					return err
				}
				longer := u.Password + "x"
				return s.UpdateUser(ctx, u.ID, func(u *auth.User) error {
					u.Password = longer // lost, if another is inside
					return nil
				})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := nodes[1].User(t.Context(), taskID(1))
	must(t, err)
	if len(got.Password) != 12 {
		t.Errorf("%d of 12 changes were kept", len(got.Password))
	}
	boom := errors.New("boom")
	if err := nodes[2].Exclusively(t.Context(), func(context.Context) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("error is %v, want fn's own", err)
	}
}
