package conformance

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// upstream holds the red cells that are not ours to mend, with the reason. A
// red cell that is not here fails the test, and so does a cell here that is
// not red.
var upstream = map[cellKey]string{
	{"Kafka: malformed instance id that needs escaping", "Node 3.1.215"}:    nodeEscapes,
	{"RocketMQ: malformed instance id that needs escaping", "Node 3.1.215"}: nodeEscapes,
}

const nodeEscapes = "the SDK escapes a space of the path twice in what it signs and once in what it sends; no id of an instance has one"

type cellKey struct{ row, client string }

// table is what was measured, by row and client.
type table struct {
	mu    sync.Mutex
	rows  []string
	cells map[cellKey]cell
	loops []string // Terraform's loops that ended well
	done  int      // clients that came to their end

	requests []string // the ids that clients found in errors

	sights map[sight]bool // what must be seen by one client, and whether it was
}

type sight struct{ row, pattern string }

type cell struct{ made, failed int }

// newTable returns an empty table with the rows of every script.
func newTable() *table {
	t := &table{cells: map[cellKey]cell{}, sights: map[sight]bool{}}
	for _, k := range newScript(newWorld(""), endpoints{}) {
		if !slices.Contains(t.rows, k.row) {
			t.rows = append(t.rows, k.row)
		}
	}
	return t
}

// record counts a call for its cell. It returns the known cause if the cell is
// known to be red.
func (t *table) record(c client, check check, all []seen, err error) (cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := cellKey{check.row, c.String()}
	if check.sight != nil {
		sight := sight{check.row, check.sight.String()}
		t.sights[sight] = t.sights[sight] || slices.ContainsFunc(all, func(s seen) bool { return check.sight.Match(s.Result) })
	}
	v := t.cells[k]
	for _, s := range all {
		if s.Error != nil {
			t.requests = append(t.requests, s.Error.RequestID)
		}
	}
	if all[0].Absent == "" {
		v.made++
		if err != nil {
			v.failed++
		}
	}
	t.cells[k] = v
	return upstream[k]
}

func (v cell) String() string {
	switch {
	case v.made == 0:
		return "–"
	case v.failed > 0:
		return "✗"
	}
	return "✓"
}

// page is where the measured table is kept.
const page = "../docs/conformance.md"

// compare holds the committed page against what was measured, or writes it if
// the environment has UPDATE.
func (t *table) compare(tt *testing.T) {
	if t.done < len(clients) || len(t.loops) == 0 {
		tt.Logf("%d of %d clients were run: the page is not compared", t.done, len(clients))
		return
	}
	for _, s := range t.unseen() {
		tt.Errorf("%s: no client saw %s", s.row, s.pattern)
	}
	for _, k := range t.mended(upstream) {
		tt.Errorf("%s with %s works now: take it out of the table of upstream's faults", k.row, k.client)
	}
	got := t.render()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			tt.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(page)
	if err != nil {
		tt.Fatal(err)
	}
	if string(want) != got {
		tt.Errorf("docs/conformance.md is not what was measured; run `UPDATE=1 go test ./...` in conformance and read the difference.\nmeasured:\n%s", got)
	}
}

// unseen returns what no client saw.
func (t *table) unseen() (sights []sight) {
	for s, was := range t.sights {
		if !was {
			sights = append(sights, s)
		}
	}
	return sights
}

// mended returns the cells of known faults that are not red.
func (t *table) mended(known map[cellKey]string) (cells []cellKey) {
	for k := range known {
		if t.cells[k].failed == 0 {
			cells = append(cells, k)
		}
	}
	return cells
}

const head = `# Conformance

What the provider's own SDKs do against Errand. Made by ` + "`conformance/`" + `, which runs each release as users install
it against the binary, gives it instances and records of its own, and compares every member of every answer and every
error (status, code, message, request id) with what was put in. The same page comes of a server on SQLite and of two nodes
on PostgreSQL. Do not edit: ` + "`UPDATE=1 go test ./...`" + ` in
` + "`conformance/`" + ` writes this page, and the same command without UPDATE fails if the page is not what it measures.

✓ every call of the row gave exactly what it must · ✗ it did not, see below · – the release has no such call or parameter

| SDK | packages | notes |
|---|---|---|
| Go | ` + "`github.com/huaweicloud/huaweicloud-sdk-go-v3`" + ` | |
| Python | ` + "`huaweicloudsdkkafka`, `…rocketmq`, `…rabbitmq`, `…dcs`, `…core`" + ` | |
| Java | ` + "`com.huaweicloud.sdk:huaweicloud-sdk-kafka`, `…-rocketmq`, `…-rabbitmq`, `…-dcs`" + ` | The column 3.1.143 has DCS 3.1.130, the newest there is. Releases 3.0.83 and 3.0.91 do not resolve: their parent POM is missing. |
| Node | ` + "`@huaweicloud/huaweicloud-sdk-kafka`, `…-rocketmq`" + ` | npm has no packages for RabbitMQ and DCS. 3.1.215 asks for a core that npm does not have; core 3.1.211 is put in its place, with ` + "`uuid`" + `, which it loads and does not name. |

None of the SDKs has a setting for a token (X-Auth-Token); the loops of Terraform below use one. Clocks are put wrong by a
header of the caller's, which the Node SDK has no way to add.

The rows about a task that runs come from simulations that the command line submits. The client begins to look while the
task waits for its turn, and goes on until it has ended. Every answer must be right, statuses and steps must only move
forward, from the first of these words to the last; what lies between does not last, and one client at least must see it:

| | status | progress |
|---|---|---|
| Kafka | CREATED, EXECUTING, SUCCESS | WAITING, IN_PROGRESS, COMPLETED |
| RocketMQ (bindInstancePublicIp) | CREATED, SUCCESS | the same |
| RabbitMQ (unbindInstancePublicIp) | CREATED, SUCCESS | no such call |
| DCS | EXECUTING, SUCCESS; job: INIT, RUNNING, SUCCESS | WAITING, EXECUTING, FINISH; enable_show is true from the first step on |

Scheduled tasks: the Go SDK has the calls for Kafka since 0.1.179 and for the others since 0.1.185, the Python SDK since
the releases of the same days; the Java releases here do not have them. The models take job_count as a text, only those of
Python 3.1.219 as a number, and read a text of digits just as well. The limit is a number for RocketMQ, a text for the others.
`

func (t *table) render() string {
	var b strings.Builder
	b.WriteString(head)
	for _, s := range services {
		fmt.Fprintf(&b, "\n## %s\n\n|", s.title)
		for _, c := range clients {
			fmt.Fprintf(&b, " | %s", c)
		}
		b.WriteString(" |\n|---|" + strings.Repeat(":-:|", len(clients)) + "\n")
		for _, row := range t.rows {
			short, ours := strings.CutPrefix(row, s.title+": ")
			if !ours {
				continue
			}
			fmt.Fprintf(&b, "| %s", short)
			for _, c := range clients {
				fmt.Fprintf(&b, " | %s", t.cells[cellKey{row, c.String()}])
			}
			b.WriteString(" |\n")
		}
	}
	t.renderCauses(&b)
	t.renderLoops(&b)
	return b.String()
}

func (t *table) renderCauses(b *strings.Builder) {
	if len(upstream) == 0 {
		return
	}
	b.WriteString("\n## Why a cell is red\n\n| call | client | upstream's reason |\n|---|---|---|\n")
	byName := func(a, b cellKey) int { return strings.Compare(a.row+a.client, b.row+b.client) }
	for _, k := range slices.SortedFunc(maps.Keys(upstream), byName) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", k.row, k.client, upstream[k])
	}
}

func (t *table) renderLoops(b *strings.Builder) {
	b.WriteString(`
## Terraform

Terraform itself is not run here. What the data sources and waiters of the provider's Terraform provider ask for, and when
they stop, is re-enacted with plain HTTP and a token:

`)
	slices.Sort(t.loops)
	for _, l := range t.loops {
		fmt.Fprintf(b, "- ✓ %s\n", l)
	}
}

func (t *table) finished() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
}

func (t *table) looped(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loops = append(t.loops, what)
}
