package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
)

// bencher is a bench with what it has made on the server.
type bencher struct {
	*benchArgs
	cl      *client.Client
	project string
	name    string
	made    []string   // instances that may be there
	runs    *benchRuns // nil: no kind needs workers
}

// bench puts the load on and removes what it made. The result is nil if there was
// no load.
func (a *app) bench(ctx context.Context, s *session, g *benchArgs) (*benchResult, error) {
	cl, err := s.wide(2*g.clients + g.workers)
	if err != nil {
		return nil, err
	}
	who, err := cl.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	b := &bencher{benchArgs: g, cl: cl, name: "bench-" + errand.NewID(time.Now())[:16]}
	if b.project, err = s.project(ctx); err != nil {
		return nil, err
	}
	if err := b.allowed(ctx, who); err != nil {
		return nil, err
	}
	r, err := b.measure(ctx)
	if r == nil && ctx.Err() != nil && !g.keep && len(b.made) > 0 {
		fmt.Fprintf(a.stderr, "errand: interrupted; forgetting the %d instances that were made\n", len(b.made))
	}
	if left := b.remove(context.WithoutCancel(ctx)); left != nil {
		err = errors.Join(err, left)
	}
	if r != nil {
		r.Version, r.Server = Version(), s.conf.Server
		if g.keep {
			r.Kept = b.made
		}
	}
	return r, err
}

// wide returns a client that keeps many connections, as many callers would.
func (s *session) wide(connections int) (*client.Client, error) {
	c := s.conf
	hc := &http.Client{Transport: http.DefaultTransport}
	if c.CAFile != "" {
		var err error
		if hc, err = trusting(c.CAFile); err != nil {
			return nil, err
		}
	}
	if t, ok := hc.Transport.(*http.Transport); ok {
		t = t.Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
		hc.Transport = t
	}
	return client.New(client.Options{
		Server: c.Server, Access: c.AccessKey, Secret: c.SecretKey, SecurityToken: c.SecurityToken, HTTP: hc, UserAgent: "errand-bench/" + Version(),
	})
}

// has reports whether kind is in the mix.
func (g *benchArgs) has(kind string) bool {
	for _, s := range g.kinds {
		if s.kind == kind {
			return true
		}
	}
	return false
}

// allowed refuses what the credentials do not allow, and what would harm others.
func (b *bencher) allowed(ctx context.Context, who errand.Principal) error {
	need, why := errand.Admin, "to forget the instances that it registers (--keep leaves them behind)"
	switch {
	case b.instance != "":
		_, err := b.cl.Instance(ctx, b.project, b.instance)
		return err
	case b.has("run"):
		why = "to submit as well as to work"
	case b.keep:
		need, why = errand.Operator, "to register instances"
	}
	if !who.Can(need) {
		return errand.Errorf(errand.Forbidden, "role", "a bench takes role %s, %s; user %s is %s", need, why, who.User.Name, who.Role)
	}
	if !b.has("submit") && !b.has("run") {
		return nil
	}
	if err := b.usable(ctx); err != nil {
		return err
	}
	if b.has("run") && !b.operationIsGiven {
		return b.alone(ctx)
	}
	return nil
}

// usable refuses an operation that is not there, or that somebody else would run.
func (b *bencher) usable(ctx context.Context) error {
	all, err := b.cl.Operations(ctx, errand.Engine(b.engine))
	if err != nil {
		return err
	}
	there := false
	for _, o := range all {
		if o.Name != b.operation {
			continue
		}
		there = true
		if o.Runner != errand.RemoteRunner {
			return errand.Errorf(errand.Conflict, "operation", "the server runs %s itself; a bench needs an operation that is declared with runner: worker, and that no worker serves", b.operation)
		}
	}
	if !there {
		return errand.Errorf(errand.NotFound, "operation", "there is no operation %.64q on %s; `errand operation list` prints those that there are", b.operation, b.engine)
	}
	workers, err := b.cl.Workers(ctx, b.project)
	if err != nil {
		return err
	}
	for _, w := range workers {
		if strings.HasPrefix(w.Name, benchWorker) || time.Since(w.Seen) > 2*client.MaxClaimWait || !serves(w, b.operation, errand.Engine(b.engine)) {
			continue
		}
		return errand.Errorf(errand.Conflict, "operation", "worker %s serves %s and would run the bench's tasks; declare an operation that nobody serves and name it with --operation, or use a project of its own", cell(w.Name), b.operation)
	}
	return nil
}

func serves(w client.Worker, operation string, engine errand.Engine) bool {
	of := len(w.Engines) == 0
	for _, e := range w.Engines {
		of = of || e == engine
	}
	for _, o := range w.Operations {
		if of && o == operation {
			return true
		}
	}
	return false
}

// alone refuses a project where the bench's workers could take a real task.
func (b *bencher) alone(ctx context.Context) error {
	for seen := 0; ; {
		page, total, err := b.cl.Instances(ctx, b.project, seen, 0)
		if err != nil {
			return err
		}
		for _, i := range page {
			if i.Engine == errand.Engine(b.engine) && !strings.HasPrefix(i.Name, "bench-") {
				return errand.Errorf(errand.Conflict, "operation", "the bench's workers would also take tasks of %s on other %s instances of this project, such as %s; "+
					"declare an operation for the bench and name it with --operation, or use a project of its own", b.operation, b.engine, i.ID)
			}
		}
		if seen += len(page); len(page) == 0 || seen >= total {
			return nil
		}
	}
}

// measure makes what the load needs, and puts it on.
func (b *bencher) measure(ctx context.Context) (*benchResult, error) {
	l := &load{pace: pace{clients: b.clients, requests: int64(b.requests), rate: b.rate, duration: b.duration, drain: b.drain}}
	work, stopWorkers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorkers()

	for _, share := range b.kinds {
		do, err := b.prepare(ctx, share.kind)
		if err != nil {
			return nil, err
		}
		l.kinds, l.weights = append(l.kinds, &kindLoad{kind: share.kind, weight: share.weight, do: do}), l.weights+share.weight
	}
	workers := make(chan error, 1)
	if b.runs == nil {
		workers <- nil
	} else {
		go func() { workers <- b.work(work) }()
	}
	took, err := l.run(ctx)
	stopWorkers()
	err = errors.Join(err, <-workers)
	r := &benchResult{Mix: b.mix, Clients: b.clients, Rate: b.rate, Seconds: rounded(took.Seconds()), Interrupted: ctx.Err() != nil,
		Unsent: l.unsent(took), Unfinished: l.unfinished.Load()}
	if b.runs != nil {
		r.Foreign = b.runs.foreign.Load()
	}
	answered := uint64(0)
	for _, k := range l.kinds {
		r.Kinds = append(r.Kinds, k.stats(took))
		answered += k.times.count.Load()
	}
	if err != nil && answered == 0 {
		return nil, err
	}
	return r, err
}

// prepare returns a function that makes one request of a kind.
func (b *bencher) prepare(ctx context.Context, kind string) (func(context.Context, int) error, error) {
	if kind == "list" {
		return b.prepareList(ctx)
	}
	instances, err := b.register(ctx, kind, errand.Engine(b.engine))
	if err != nil {
		return nil, err
	}
	submit := func(ctx context.Context, caller int) (*errand.Task, error) {
		t, err := b.cl.Submit(ctx, b.project, instances[caller%len(instances)], client.Submission{Operation: b.operation, Params: b.params})
		if err != nil {
			return nil, explainParams(err, b.operation)
		}
		return t, nil
	}
	if kind == "submit" {
		return func(ctx context.Context, caller int) error { _, err := submit(ctx, caller); return err }, nil
	}
	b.runs = newBenchRuns(b.cl.Source(b.project), instances)
	return func(ctx context.Context, caller int) error {
		t, err := submit(ctx, caller)
		if err != nil {
			return err
		}
		return b.runs.await(ctx, t.ID, b.end)
	}, nil
}

// errSetUp is what comes of Ctrl-C before the load began.
var errSetUp = errors.New("interrupted before the load began")

// register adds the instances of a kind. A request that is on its way is not cut
// off: it might be carried out once the instance has been forgotten.
func (b *bencher) register(ctx context.Context, kind string, engine errand.Engine) ([]string, error) {
	var ids []string
	for n := range b.instances {
		if ctx.Err() != nil {
			return nil, errSetUp
		}
		id := errand.NewID(time.Now())
		id = strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
		b.made = append(b.made, id) // even if the answer is lost
		_, err := b.cl.Register(context.WithoutCancel(ctx), errand.Instance{Project: b.project, ID: id, Name: b.name + "-" + kind + "-" + strconv.Itoa(n), Engine: engine})
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// prepareList imports records to read, unless there is an instance to read.
func (b *bencher) prepareList(ctx context.Context) (func(context.Context, int) error, error) {
	ids := []string{b.instance}
	if b.instance == "" {
		var err error
		if ids, err = b.register(ctx, "list", errand.Kafka); err != nil {
			return nil, err
		}
		for _, id := range ids {
			if ctx.Err() != nil {
				return nil, errSetUp
			}
			if _, err := b.cl.Import(context.WithoutCancel(ctx), b.project, id, bytes.NewReader(benchRecords(b.records, time.Now()))); err != nil {
				return nil, err
			}
		}
	}
	var total atomic.Int64
	return func(ctx context.Context, _ int) error {
		f := errand.Filter{Project: b.project, Instance: ids[rand.IntN(len(ids))], Limit: b.limit, Offset: int(rand.Int64N(max(1, total.Load())))}
		page, err := b.cl.Tasks(ctx, f)
		if err == nil {
			total.Store(int64(page.Total))
		}
		return err
	}, nil
}

// benchRecords returns an answer of the provider's list call with n tasks, one a
// minute up to now.
func benchRecords(n int, now time.Time) []byte {
	var b bytes.Buffer
	b.WriteString(`{"tasks":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		at := now.Add(-time.Duration(i+1) * time.Minute)
		const layout = "2006-01-02T15:04:05.000Z"
		fmt.Fprintf(&b, `{"id":%q,"name":"restartInstance","status":"SUCCESS","created_at":%q,"updated_at":%q}`,
			errand.NewID(at), at.UTC().Format(layout), at.Add(time.Second).UTC().Format(layout))
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// remove forgets the instances, unless they are to be kept.
func (b *bencher) remove(ctx context.Context) error {
	if b.keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.removal)
	defer cancel()
	var errs []error
	for _, id := range b.made {
		err := b.cl.Forget(ctx, b.project, id)
		if err != nil && errand.ErrorOf(err).Kind != errand.NotFound {
			errs = append(errs, fmt.Errorf("instance %s is left behind: %w", id, err))
		}
	}
	if len(errs) > 3 {
		errs = append(errs[:3], fmt.Errorf("and %d more whose names begin with %s", len(errs)-3, b.name))
	}
	return errors.Join(errs...)
}
