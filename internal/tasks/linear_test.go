package tasks_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
)

// What callers do to one lane, and what they are told.
type (
	call struct {
		act    string // submit, claim, extend, finish, cancel or get
		id     string // of the task, to cancel and get
		token  string // to extend and finish
		status errand.Status
		reject bool // a submission that does not wait
	}
	answer struct {
		id, token string
		status    errand.Status
		stop      bool
		refused   string // the subject of the error
	}
)

// job is a task of the lane as the model sees it; lane holds all that there ever
// were, in the order in which they are to run.
type (
	job struct {
		id, token string
		status    errand.Status
		attempts  int
		asked     bool // to stop
	}
	lane []job
)

// attempts is how many each task has.
const attempts = 2

// step is a lane one call at a time: whether a may be the answer to c, and what
// the lane is then.
func (l lane) step(c call, a answer) (bool, lane) {
	switch c.act {
	case "submit":
		return l.submit(c, a)
	case "claim":
		return l.claim(a)
	case "extend", "finish":
		at := slices.IndexFunc(l, func(j job) bool { return j.status == errand.Running && j.token == c.token })
		if at < 0 {
			return a == answer{refused: "lease"}, l
		}
		if c.act == "extend" {
			return a == answer{stop: l[at].asked}, l
		}
		return l.finish(at, c, a)
	}
	at := slices.IndexFunc(l, func(j job) bool { return j.id == c.id })
	switch {
	case at < 0:
		return a == answer{refused: "task"}, l
	case c.act == "get":
		return a == answer{status: l[at].status}, l
	case l[at].status.Final():
		return a == answer{refused: "status"}, l
	case l[at].status == errand.Running:
		return a == answer{status: errand.Running}, l.with(at, func(j *job) { j.asked = true })
	}
	return a == answer{status: errand.Cancelled}, l.with(at, func(j *job) { j.status = errand.Cancelled })
}

func (l lane) submit(c call, a answer) (bool, lane) {
	if c.reject && slices.ContainsFunc(l, func(j job) bool { return !j.status.Final() }) {
		return a == answer{refused: "instance"}, l
	}
	at, known := slices.BinarySearchFunc(l, a.id, func(j job, id string) int { return strings.Compare(j.id, id) })
	if known || a.id == "" || a.refused != "" {
		return false, l
	}
	return true, slices.Insert(slices.Clone(l), at, job{id: a.id, status: errand.Pending})
}

func (l lane) claim(a answer) (bool, lane) {
	at := slices.IndexFunc(l, func(j job) bool { return j.status == errand.Pending })
	if at < 0 || slices.ContainsFunc(l, func(j job) bool { return j.status == errand.Running }) {
		return a == answer{}, l
	}
	if a.id != l[at].id || a.token == "" || a.token == l[at].token {
		return false, l
	}
	return true, l.with(at, func(j *job) { j.status, j.token, j.attempts = errand.Running, a.token, j.attempts+1 })
}

func (l lane) finish(at int, c call, a answer) (bool, lane) {
	ends := c.status
	if j := l[at]; ends == errand.Failed && !j.asked && j.attempts < attempts {
		ends = errand.Pending // once more
	}
	return a == answer{status: ends}, l.with(at, func(j *job) { j.status = ends })
}

func (l lane) with(at int, change func(*job)) lane {
	l = slices.Clone(l)
	change(&l[at])
	return l
}

var laneModel = porcupine.Model{
	Init: func() any { return lane(nil) },
	Step: func(state, input, output any) (bool, any) {
		return state.(lane).step(input.(call), output.(answer))
	},
	Equal: func(a, b any) bool { return slices.Equal(a.(lane), b.(lane)) },
}

// callers work on one lane at once, and keep what they did.
type callers struct {
	nodes []*tasks.Runs // each caller turns to one of them
	tick  atomic.Int64  // orders calls and answers

	mu          sync.Mutex
	history     []porcupine.Operation
	ids, tokens []string // that there were, also long ago
}

// work makes calls at random.
func (s *callers) work(t *testing.T, client int, seed uint64, calls int) {
	rnd := rand.New(rand.NewPCG(seed, uint64(client)))
	for range calls {
		c := s.draw(rnd)
		called := s.tick.Add(1)
		a, err := s.do(t, s.nodes[client%len(s.nodes)], c)
		returned := s.tick.Add(1)
		if err != nil {
			e := errand.ErrorOf(err)
			if a = (answer{refused: e.Subject}); e.Kind != errand.Conflict && e.Kind != errand.LeaseLost {
				t.Errorf("%+v: %v", c, err)
			}
		}
		s.mu.Lock()
		s.history = append(s.history, porcupine.Operation{ClientId: client, Input: c, Call: called, Output: a, Return: returned})
		if a.id != "" {
			s.ids = append(s.ids, a.id)
		}
		if a.token != "" {
			s.tokens = append(s.tokens, a.token)
		}
		s.mu.Unlock()
	}
}

// draw chooses a call. Those about a task or a lease mostly are about one of the
// newest, for which the callers compete.
func (s *callers) draw(rnd *rand.Rand) call {
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := func(all []string) string {
		return all[max(0, len(all)-1-rnd.IntN(3))]
	}
	n := rnd.IntN(20)
	switch {
	case n < 5 || len(s.ids) == 0:
		return call{act: "submit", reject: rnd.IntN(4) == 0}
	case n < 10 || len(s.tokens) == 0:
		return call{act: "claim"}
	case n < 15:
		return call{act: "finish", token: recent(s.tokens), status: []errand.Status{errand.Succeeded, errand.Failed, errand.Cancelled}[rnd.IntN(3)]}
	case n < 16:
		return call{act: "extend", token: recent(s.tokens)}
	case n < 18:
		return call{act: "cancel", id: recent(s.ids)}
	}
	return call{act: "get", id: s.ids[rnd.IntN(len(s.ids))]}
}

func (s *callers) do(t *testing.T, runs *tasks.Runs, c call) (answer, error) {
	ctx := t.Context()
	switch c.act {
	case "submit":
		task, err := runs.Submit(ctx, as(errand.Operator), project, kafkaID, tasks.Submission{Operation: "EXTEND", Reject: c.reject})
		if err != nil {
			return answer{}, err
		}
		return answer{id: task.ID}, nil
	case "claim":
		grants, err := runs.Claim(ctx, as(errand.Worker), project, tasks.ClaimRequest{Worker: "w", Operations: []string{"EXTEND"}, Limit: 10})
		if err != nil || len(grants) == 0 {
			return answer{}, err
		}
		if len(grants) > 1 {
			t.Errorf("%d tasks of one lane were given out at once", len(grants))
		}
		return answer{id: grants[0].Task.ID, token: grants[0].Token}, nil
	case "extend":
		x, err := runs.Extend(ctx, as(errand.Worker), project, c.token, tasks.Beat{})
		return answer{stop: x.Stop}, err
	}
	var task *errand.Task
	var err error
	switch c.act {
	case "finish":
		task, err = runs.Finish(ctx, as(errand.Worker), project, c.token, errand.Outcome{Status: c.status}, nil)
	case "cancel":
		task, err = runs.Cancel(ctx, as(errand.Operator), project, c.id, "")
	case "get":
		task, err = runs.Get(ctx, as(errand.Viewer), project, c.id)
	}
	if err != nil {
		return answer{}, err
	}
	return answer{status: task.Status}, nil
}

// laneHistory records what some callers did to one lane over a real store.
func laneHistory(t *testing.T, seed uint64, clients, calls int) []porcupine.Operation {
	t.Helper()
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	svc := newService(t) // its clock stands still: tasks run in the order of their ids
	again := shelf{"EXTEND": {Lane: "instance", MaxAttempts: attempts, OnLost: errand.FailWhenLost}}
	s := &callers{nodes: []*tasks.Runs{tasks.NewRuns(svc, svc.Store.(*sqlite.Store), again, sealer, tasks.RunOptions{})}}
	return s.record(t, seed, clients, calls)
}

// record has clients make calls, and returns what they did.
func (s *callers) record(t *testing.T, seed uint64, clients, calls int) []porcupine.Operation {
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() { s.work(t, client, seed, calls) })
	}
	wg.Wait()
	return s.history
}

// TestLaneIsLinearizable checks that whatever callers do to a lane at once, each
// is answered as if all had come one after the other, in an order that agrees
// with who was answered before whom.
func TestLaneIsLinearizable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			history := laneHistory(t, seed, 6, 40)
			if !porcupine.CheckOperations(laneModel, history) {
				t.Errorf("no order of these calls explains their answers:\n%s", told(history))
			}
			// The same with one claim's answer forged must not pass.
			at := slices.IndexFunc(history, func(o porcupine.Operation) bool { return o.Output.(answer).token != "" })
			if at < 0 {
				t.Fatal("nothing was claimed")
			}
			forged := slices.Clone(history)
			forged[at].Output = answer{}
			if porcupine.CheckOperations(laneModel, forged) {
				t.Error("a history from which a claim was taken passes")
			}
		})
	}
}

func told(history []porcupine.Operation) string {
	var b strings.Builder
	for _, o := range history {
		fmt.Fprintf(&b, "%d %4d-%4d %+v: %+v\n", o.ClientId, o.Call, o.Return, o.Input, o.Output)
	}
	return b.String()
}

// TestLaneModel checks that the model refuses what must not happen, and takes
// what looks like it but may.
func TestLaneModel(t *testing.T) {
	t.Parallel()
	submit := func(id string) porcupine.Operation {
		return porcupine.Operation{Input: call{act: "submit"}, Output: answer{id: id}}
	}
	claim := func(id, token string) porcupine.Operation {
		return porcupine.Operation{Input: call{act: "claim"}, Output: answer{id: id, token: token}}
	}
	finish := func(token string, s errand.Status, a answer) porcupine.Operation {
		return porcupine.Operation{Input: call{act: "finish", token: token, status: s}, Output: a}
	}
	ends := func(token string) porcupine.Operation {
		return finish(token, errand.Succeeded, answer{status: errand.Succeeded})
	}
	cancel := func(id string, a answer) porcupine.Operation {
		return porcupine.Operation{Input: call{act: "cancel", id: id}, Output: a}
	}
	get := func(id string, s errand.Status) porcupine.Operation {
		return porcupine.Operation{Input: call{act: "get", id: id}, Output: answer{status: s}}
	}
	lost := answer{refused: "lease"}
	busy := porcupine.Operation{Input: call{act: "submit", reject: true}, Output: answer{refused: "instance"}}
	extend := func(token string, a answer) porcupine.Operation {
		return porcupine.Operation{Input: call{act: "extend", token: token}, Output: a}
	}
	for _, tt := range []struct {
		name    string
		history []porcupine.Operation
		atOnce  int // so many of the last calls overlap
		want    bool
	}{
		{"one after the other", []porcupine.Operation{submit("a"), submit("b"), claim("a", "1"), ends("1"), claim("b", "2"), ends("2")}, 0, true},
		{"two of a lane side by side", []porcupine.Operation{submit("a"), submit("b"), claim("a", "1"), claim("b", "2")}, 0, false},
		{"the second once the first ends", []porcupine.Operation{submit("a"), submit("b"), claim("a", "1"), claim("b", "2"), ends("1")}, 2, true},
		{"the younger first", []porcupine.Operation{submit("a"), submit("b"), claim("b", "1")}, 0, false},
		{"the younger first, since the older came later", []porcupine.Operation{submit("b"), submit("a"), claim("b", "1")}, 2, true},
		{"one task twice", []porcupine.Operation{submit("a"), claim("a", "1"), claim("a", "2")}, 2, false},
		{"one token twice", []porcupine.Operation{submit("a"), claim("a", "1"), finish("1", errand.Failed, answer{status: errand.Pending}), claim("a", "1")}, 0, false},
		{"another attempt", []porcupine.Operation{submit("a"), claim("a", "1"), finish("1", errand.Failed, answer{status: errand.Pending}), claim("a", "2")}, 0, true},
		{"an attempt too many", []porcupine.Operation{
			submit("a"), claim("a", "1"), finish("1", errand.Failed, answer{status: errand.Pending}), claim("a", "2"),
			finish("2", errand.Failed, answer{status: errand.Pending}),
		}, 0, false},
		{"a lease that has ended writes", []porcupine.Operation{submit("a"), claim("a", "1"), ends("1"), ends("1")}, 0, false},
		{"a lease that has ended is refused", []porcupine.Operation{submit("a"), claim("a", "1"), ends("1"), finish("1", errand.Succeeded, lost), extend("1", lost)}, 0, true},
		{"a lease that is held is refused", []porcupine.Operation{submit("a"), claim("a", "1"), extend("1", lost)}, 0, false},
		{"a task of nobody", []porcupine.Operation{claim("a", "1")}, 0, false},
		{"nothing for who asks while one waits", []porcupine.Operation{submit("a"), claim("", "")}, 0, false},
		{"nothing for who asks while one arrives", []porcupine.Operation{submit("a"), claim("", "")}, 2, true},
		{"a cancelled task runs", []porcupine.Operation{submit("a"), cancel("a", answer{status: errand.Cancelled}), claim("a", "1")}, 0, false},
		{"a running task is cancelled at once", []porcupine.Operation{submit("a"), claim("a", "1"), cancel("a", answer{status: errand.Cancelled})}, 0, false},
		{"who was asked to stop is not told", []porcupine.Operation{
			submit("a"), claim("a", "1"), cancel("a", answer{status: errand.Running}), extend("1", answer{}),
		}, 0, false},
		{"busy without a task", []porcupine.Operation{submit("a"), claim("a", "1"), ends("1"), busy}, 0, false},
		{"busy with one", []porcupine.Operation{submit("a"), claim("a", "1"), busy, ends("1")}, 0, true},
		{"an old status", []porcupine.Operation{submit("a"), claim("a", "1"), get("a", errand.Pending)}, 0, false},
		{"an old status just as it changes", []porcupine.Operation{submit("a"), claim("a", "1"), get("a", errand.Pending)}, 2, true},
	} {
		for i := range tt.history {
			o := &tt.history[i]
			o.ClientId, o.Call, o.Return = i, int64(2*i), int64(2*i+1)
			if i >= len(tt.history)-tt.atOnce {
				o.Call, o.Return = int64(2*(len(tt.history)-tt.atOnce)), int64(2*len(tt.history))
			}
		}
		if got := porcupine.CheckOperations(laneModel, tt.history); got != tt.want {
			t.Errorf("%s: passes %t, want %t", tt.name, got, tt.want)
		}
	}
}
