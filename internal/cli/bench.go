package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
)

// The limits of a bench.
const (
	maxBenchClients   = 1024
	maxBenchDuration  = time.Hour
	maxBenchInstances = 1000
	maxBenchRecords   = 100_000
	maxBenchRate      = 1e6
	maxBenchRequests  = 1_000_000_000
)

// benchOperation is what is submitted where nothing else is asked for: it is
// built in, belongs to workers, and takes no parameter that it must have.
const benchOperation = "kafkaConfigModify"

// benchArgs is what `errand bench` is given.
type benchArgs struct {
	mix                 string
	kinds               []benchShare
	clients, workers    int
	duration            time.Duration
	requests            int
	rate                float64
	instances, records  int
	operation, engine   string
	operationIsGiven    bool
	paramsFile          string
	params              json.RawMessage
	instance            string // that list reads, or "" for instances of its own
	limit               int
	keep                bool
	removal, drain, end time.Duration
}

// benchShare is how often a kind comes in a mix.
type benchShare struct {
	kind   string
	weight int
}

func benchKinds() []string { return []string{"submit", "run", "list"} }

func (a *app) benchCmd() *cobra.Command {
	g := benchArgs{removal: 10 * time.Minute, drain: 10 * time.Second, end: time.Minute}
	var cmd *cobra.Command
	cmd = a.clientCmd("bench", "Put load on a server and print how it answers", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		g.operationIsGiven = cmd.Flags().Changed("operation")
		if err := g.check(a); err != nil {
			return err
		}
		r, err := a.bench(ctx, s, &g)
		if r != nil {
			if err := a.benchReport(r); err != nil {
				return err
			}
			if err == nil {
				err = r.failure()
			}
		}
		return err
	})
	cmd.Long = benchHelp
	f := cmd.Flags()
	f.StringVar(&g.mix, "mix", "submit", "`KINDS` of requests: submit, run, list, or several with their weights, as submit=1,list=8")
	f.IntVar(&g.clients, "clients", 16, "how many make requests at a time, 1 to "+strconv.Itoa(maxBenchClients))
	f.DurationVar(&g.duration, "duration", 10*time.Second, "for how long, at most "+maxBenchDuration.String())
	f.IntVar(&g.requests, "requests", 0, "stop after this many requests, if the duration is not over before (default as many as fit)")
	f.Float64Var(&g.rate, "rate", 0, "begin this many requests a second, however fast the answers are (default the next one after each answer)")
	f.IntVar(&g.workers, "workers", 0, "how many attempts run at a time in mix run (default as many as clients)")
	f.IntVar(&g.instances, "instances", 16, "how many instances to register for each kind, 1 to "+strconv.Itoa(maxBenchInstances))
	f.IntVar(&g.records, "records", 1000, "how many records to import into each instance that mix list reads, 1 to "+strconv.Itoa(maxBenchRecords))
	f.StringVar(&g.instance, "instance", "", "let mix list read the instance with this `ID`, and write nothing")
	f.IntVar(&g.limit, "limit", 10, "how many tasks a page of mix list has at the most")
	f.StringVar(&g.operation, "operation", benchOperation, "`NAME` of the operation to submit")
	f.StringVar(&g.engine, "engine", string(errand.Kafka), "what the instances run: kafka, rocketmq, rabbitmq or redis")
	f.StringVar(&g.paramsFile, "params", "", "`FILE` with the operation's parameters as one JSON object; - is standard input (default none)")
	f.BoolVar(&g.keep, "keep", false, "leave the instances and their records behind")
	return cmd
}

const benchHelp = `Put load on a server for a while and print, for each kind of request, how many were
answered in a second, and within what time half, 99 % and 99.9 % of them were, and
the longest. The kinds are

  submit  submit an operation; the answer means that the task is durable. Nobody
          runs these tasks
  run     submit an operation, and run it with a worker of this process that does
          nothing: from the submission to the end of the task
  list    read a page of tasks of an instance with their exact total, from a random
          offset

A mix such as submit=1,list=8 makes nine requests of which one submits and eight
list. With --rate requests begin when they are due, whether those before have been
answered or not, as long as one of --clients is free; times are counted from when
the request was due, so that a server that stalls cannot hide it.

This writes real records. For each kind the bench registers instances of its own
(bench-...), and forgets them with all their tasks at the end, also after Ctrl-C,
unless --keep is given; what happened to them stays in the log of events. That
takes an admin's key. Mix list with --instance writes nothing.

A worker that serves the operation would take these tasks for real ones, and the
bench's workers take every task of the operation in the project. So the bench
refuses an operation that a worker serves now; mix run refuses --operation by
default in a project that has other instances of the engine. Declare an operation
for it, or use a project of its own. A task on an instance that is not the bench's
is failed by its workers, never reported as done.

The exit code is 1 if any request failed, or had no answer at the end.

The figures are those of this machine, this network and this moment: the bench
takes processor time of its own, which counts if the server runs beside it.`

// check reads the flags and reports the first that is wrong.
func (g *benchArgs) check(a *app) error {
	var err error
	if g.kinds, err = parseMix(g.mix); err != nil {
		return err
	}
	switch {
	case g.clients < 1 || g.clients > maxBenchClients:
		return usage("--clients %d must be 1 to %d", g.clients, maxBenchClients)
	case g.workers < 0 || g.workers > maxBenchClients:
		return usage("--workers %d must be 1 to %d, or 0 for as many as clients", g.workers, maxBenchClients)
	case g.duration <= 0 || g.duration > maxBenchDuration:
		return usage("--duration %s must be more than 0s and at most %s", g.duration, maxBenchDuration)
	case g.requests < 0 || g.requests > maxBenchRequests:
		return usage("--requests %d must be 1 to %d, or 0 for no bound", g.requests, maxBenchRequests)
	case !(g.rate >= 0 && g.rate <= maxBenchRate):
		return usage("--rate %g must be more than 0 and at most %.0f, or 0 for none", g.rate, maxBenchRate)
	case g.instances < 1 || g.instances > maxBenchInstances:
		return usage("--instances %d must be 1 to %d", g.instances, maxBenchInstances)
	case g.records < 1 || g.records > maxBenchRecords:
		return usage("--records %d must be 1 to %d", g.records, maxBenchRecords)
	case g.limit < 1:
		return usage("--limit %d must be at least 1", g.limit)
	case g.operation == "":
		return usage("--operation must name an operation; `errand operation list` prints those that there are")
	case !errand.Engine(g.engine).Valid():
		return usage("--engine %.64q is not one of %v", g.engine, errand.Engines())
	case g.instance != "" && (len(g.kinds) != 1 || g.kinds[0].kind != "list"):
		return usage("--instance is for --mix list alone: what is submitted goes to instances of the bench's own")
	}
	if g.workers == 0 {
		g.workers = g.clients
	}
	if g.paramsFile == "" {
		return nil
	}
	if g.params, err = (&inputs{stdin: a.stdin}).read("params", g.paramsFile, errand.MaxParamsLen); err == nil && !json.Valid(g.params) {
		err = usage("--params %s is not JSON", g.paramsFile)
	}
	return err
}

// parseMix reads "list", or kinds with their weights.
func parseMix(mix string) ([]benchShare, error) {
	var all []benchShare
	for _, part := range strings.Split(mix, ",") {
		kind, number, weighted := strings.Cut(part, "=")
		s := benchShare{kind, 1}
		if weighted {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || n > 1000 {
				return nil, usage("--mix %.64q: the weight of %s must be 1 to 1000", mix, kind)
			}
			s.weight = n
		}
		if !slices.Contains(benchKinds(), kind) {
			return nil, usage("--mix %.64q: %.32q is not one of %s", mix, kind, strings.Join(benchKinds(), ", "))
		}
		if slices.ContainsFunc(all, func(o benchShare) bool { return o.kind == kind }) {
			return nil, usage("--mix %.64q names %s twice", mix, kind)
		}
		all = append(all, s)
	}
	return all, nil
}

// benchResult is what came of a bench, as it is printed in JSON.
type benchResult struct {
	Version     string      `json:"version"`
	Server      string      `json:"server"`
	Mix         string      `json:"mix"`
	Clients     int         `json:"clients"`
	Rate        float64     `json:"rate,omitempty"` // that was asked for
	Seconds     float64     `json:"seconds"`        // from the first request to the last answer
	Interrupted bool        `json:"interrupted"`
	Kinds       []kindStats `json:"kinds"`
	// Unsent is how many requests were due, and had no client to make them.
	Unsent int64 `json:"unsent"`
	// Unfinished is how many had no answer a while after the end.
	Unfinished int64 `json:"unfinished"`
	// Foreign is how many tasks of others were claimed, and failed.
	Foreign int64    `json:"foreign,omitempty"`
	Kept    []string `json:"kept,omitempty"` // instances that were left behind
}

// kindStats is what came of one kind of request. Times are in milliseconds, and of
// requests that succeeded.
type kindStats struct {
	Kind      string           `json:"kind"`
	Count     uint64           `json:"count"`
	PerSecond float64          `json:"per_second"`
	P50       float64          `json:"p50_ms"`
	P99       float64          `json:"p99_ms"`
	P999      float64          `json:"p99_9_ms"`
	Max       float64          `json:"max_ms"`
	Errors    map[string]int64 `json:"errors"` // by kind of error
	Example   string           `json:"error_example,omitempty"`
}

// benchReport prints the figures.
func (a *app) benchReport(r *benchResult) error {
	if a.structured() {
		return a.data(r)
	}
	t := newTable(column{"KIND", isKey}, column{"COUNT", 0}, column{"PER SECOND", 0}, column{"P50", 0}, column{"P99", 0}, column{"P99.9", isSpare}, column{"MAX", isSpare}, column{"ERRORS", 0})
	for _, k := range r.Kinds {
		t.add(k.Kind, strconv.FormatUint(k.Count, 10), fmt.Sprintf("%.1f", k.PerSecond),
			k.millis(k.P50), k.millis(k.P99), k.millis(k.P999), k.millis(k.Max), strconv.FormatInt(k.failed(), 10))
	}
	if err := a.table(t); err != nil {
		return err
	}
	for _, k := range r.Kinds {
		if len(k.Errors) > 0 {
			fmt.Fprintf(a.stdout, "%s failed: %s; the first: %s\n", k.Kind, countsOf(k.Errors), plain(k.Example))
		}
	}
	for _, n := range []struct {
		count int64
		text  string
	}{
		{r.Unsent, "requests were due and never made: all clients were waiting for answers"},
		{r.Unfinished, "requests had no answer when the bench gave up waiting"},
		{r.Foreign, "tasks of others were claimed by the bench's workers, and failed"},
		{int64(len(r.Kept)), "instances named bench-... were left behind"},
	} {
		if n.count > 0 {
			fmt.Fprintf(a.stdout, "%d %s\n", n.count, n.text)
		}
	}
	how := "after each other"
	if r.Rate > 0 {
		how = fmt.Sprintf("at %g a second", r.Rate)
	}
	ended := ""
	if r.Interrupted {
		ended = "; interrupted"
	}
	_, err := fmt.Fprintf(a.stdout, "%d clients for %.1f s, requests %s, against %s%s\n", r.Clients, r.Seconds, how, r.Server, ended)
	return err
}

// millis is a time for people; where no request succeeded there is none.
func (k kindStats) millis(ms float64) string {
	if k.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f ms", ms)
}

func (k kindStats) failed() (sum int64) {
	for _, n := range k.Errors {
		sum += n
	}
	return sum
}

// failure is the error of a bench of which not every request succeeded.
func (r *benchResult) failure() error {
	failed := r.Unfinished
	for _, k := range r.Kinds {
		failed += k.failed()
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d requests failed or had no answer", failed)
}

func countsOf(errors map[string]int64) string {
	var parts []string
	for kind, n := range errors {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
