package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/signature"
)

// The shape of the crash test.
const (
	crashRounds    = 3
	crashClients   = 1000 // imports that are on their way at any time
	crashRecords   = 3    // in each import
	crashInstances = 4
)

// crashImport is one import of the test: what was sent and what became of it.
type crashImport struct {
	instance string
	tasks    map[string]string // by id, as the list answer must write it
	body     string
	acked    bool
}

// crashTest is servers that are killed again and again.
type crashTest struct {
	*fleet
	instances []string
	imports   []*crashImport
}

// TestKill kills real servers in the middle of a storm of imports: the one, on
// PostgreSQL one of three, all three, and PostgreSQL itself. What they had
// acknowledged must be there afterwards, byte for byte and once; what they had
// not, wholly or not at all.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills real servers")
	}
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		c := newCrashTest(t, "")
		for round := range crashRounds {
			c.round(t, round, c.killServers(1), func() { c.start(t, 0) })
		}
		c.canFail(t)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		pg, url := database(t)
		c := newCrashTest(t, url)
		c.round(t, 0, c.killServers(1), func() { c.start(t, 0) })
		c.round(t, 1, c.killServers(3), func() {
			for n := range c.nodes {
				c.start(t, n)
			}
		})
		c.round(t, 2, func() {
			if err := pg.Kill(); err != nil {
				t.Error(err)
			}
		}, func() {
			if err := pg.Recover(); err != nil {
				t.Fatal(err)
			}
			c.ready(t)
		})
		c.canFail(t)
	})
}

func newCrashTest(t *testing.T, url string) *crashTest {
	t.Helper()
	c := &crashTest{fleet: newFleet(t, t.TempDir(), url)}
	c.startAll(t)
	for i := range crashInstances {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		c.instances = append(c.instances, id)
		if _, err := c.client(t).Register(t.Context(), errand.Instance{Project: c.project(), ID: id, Name: id, Engine: errand.Kafka}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// killServers returns a function that kills the first n servers.
func (c *crashTest) killServers(n int) func() {
	return func() {
		for _, node := range c.nodes[:n] {
			_ = node.Process.Kill()
			<-node.ended
		}
	}
}

// round imports until kill has been called, mends what it did, and checks.
func (c *crashTest) round(t *testing.T, round int, kill, mend func()) {
	t.Helper()
	enough := int64(100 + rand.IntN(1500))
	acked, lost := c.storm(t, round, enough, kill)
	t.Logf("round %d: killed with %d imports acknowledged and %d not", round, acked, lost)
	if acked == 0 || lost == 0 {
		t.Fatalf("round %d proves nothing: %d imports acknowledged, %d not", round, acked, lost)
	}
	mend()
	c.quiet(t)
	c.check(t)
}

// ready waits until every server is.
func (c *crashTest) ready(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		for end := time.Now().Add(time.Minute); ; stormWait(t.Context(), 50*time.Millisecond) {
			if status, text := body(t, "http://"+n.addr+"/readyz"); status == http.StatusOK {
				break
			} else if time.Now().After(end) {
				t.Fatalf("a server is not ready: %s", text)
			}
		}
	}
}

// canFail shows that the check can.
func (c *crashTest) canFail(t *testing.T) {
	t.Helper()
	ghost := newCrashImport(c.instances[0], "never sent", 0)
	ghost.acked = true
	c.imports = append(c.imports, ghost)
	if c.differences(t) == nil {
		t.Error("an acknowledged import that is not there goes unnoticed")
	}
	c.imports = c.imports[:len(c.imports)-1]
	there := slices.IndexFunc(c.imports, func(x *crashImport) bool { return x.acked })
	for id := range c.imports[there].tasks {
		c.imports[there].tasks[id] += " "
	}
	if c.differences(t) == nil {
		t.Error("a record that differs by a byte goes unnoticed")
	}
}

// storm imports from many clients at once and kills when enough has been
// acknowledged.
func (c *crashTest) storm(t *testing.T, round int, enough int64, how func()) (acked, lost int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cl := c.client(t)
	var count atomic.Int64
	var killing atomic.Bool
	kill := sync.OnceFunc(func() {
		killing.Store(true)
		how()
		cancel()
	})
	var clients sync.WaitGroup
	mine := make([][]*crashImport, crashClients)
	for n := range crashClients {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				x := newCrashImport(c.instances[n%crashInstances], fmt.Sprintf("%d.%d.%d", round, n, i), int64(n))
				mine[n] = append(mine[n], x)
				_, err := cl.Import(ctx, c.project(), x.instance, strings.NewReader(x.body))
				x.acked = err == nil
				if err != nil && !killing.Load() {
					t.Errorf("import before the kill: %v", err)
					kill()
				}
				if err != nil {
					return // nobody tries again
				}
				if x.acked && count.Add(1) >= enough {
					kill()
				}
			}
		})
	}
	clients.Wait()
	kill()
	for _, list := range mine {
		for _, x := range list {
			if x.acked {
				acked++
			} else {
				lost++
			}
		}
		c.imports = append(c.imports, list...)
	}
	return acked, lost
}

// newCrashImport makes records with ids, times and texts of their own.
func newCrashImport(instance, name string, salt int64) *crashImport {
	x := &crashImport{instance: instance, tasks: map[string]string{}}
	var texts []string
	for i := range crashRecords {
		id := errand.NewID(time.Now())
		at := time.UnixMilli(1_700_000_000_000 + salt*86_400_000/7 + int64(i)).UTC().Format("2006-01-02T15:04:05.000Z")
		text := fmt.Sprintf(`{"id":%q,"name":"kafkaConfigModify","user_name":"user %s","user_id":"u%d","params":"{\"n\":\"%s\",\"i\":%d} é 主题\n","status":"SUCCESS","created_at":%q,"updated_at":%q}`,
			id, name, i, name, i, at, at)
		x.tasks[id] = text
		texts = append(texts, text)
	}
	x.body = fmt.Sprintf(`{"task_count":"%d","tasks":[%s]}`, len(texts), strings.Join(texts, ","))
	return x
}

func (c *crashTest) check(t *testing.T) {
	t.Helper()
	diffs := c.differences(t)
	for i, d := range diffs {
		if i == 10 {
			t.Fatalf("and %d more", len(diffs)-i)
		}
		t.Error(d)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// differences compares what the server lists with what was imported.
func (c *crashTest) differences(t *testing.T) []string {
	t.Helper()
	var bad []string
	there := map[string]string{}
	for _, instance := range c.instances {
		total := -1
		for start := 1; total != start-1; {
			page := c.list(t, instance, start)
			if total >= 0 && page.Count != total {
				bad = append(bad, fmt.Sprintf("the total of %s went from %d to %d", instance, total, page.Count))
			}
			total = page.Count
			if len(page.Tasks) == 0 && start-1 != total {
				return append(bad, fmt.Sprintf("instance %s lists %d of %d records", instance, start-1, total))
			}
			for _, raw := range page.Tasks {
				var task struct{ ID string }
				if err := json.Unmarshal(raw, &task); err != nil {
					t.Fatal(err)
				}
				if _, twice := there[task.ID]; twice {
					bad = append(bad, fmt.Sprintf("record %s is listed twice", task.ID))
				}
				there[task.ID] = string(raw)
			}
			start += len(page.Tasks)
		}
	}
	for _, x := range c.imports {
		found := 0
		for id, want := range x.tasks {
			got, ok := there[id]
			if !ok {
				continue
			}
			found++
			if got != want {
				bad = append(bad, fmt.Sprintf("record %s is\n%s\nand was\n%s", id, got, want))
			}
			delete(there, id)
		}
		switch {
		case x.acked && found != len(x.tasks):
			bad = append(bad, fmt.Sprintf("%d of %d records of an acknowledged import are there", found, len(x.tasks)))
		case found != 0 && found != len(x.tasks):
			bad = append(bad, fmt.Sprintf("%d of %d records of an import are there: it is half done", found, len(x.tasks)))
		}
	}
	for id := range there {
		bad = append(bad, fmt.Sprintf("record %s was never imported", id))
	}
	return bad
}

// crashPage is a page of the compatible list call, whose records stay bytes.
type crashPage struct {
	Count int `json:"task_count,string"`
	Tasks []json.RawMessage
}

func (c *crashTest) list(t *testing.T, instance string, start int) crashPage {
	t.Helper()
	url := fmt.Sprintf("%s/v2/%s/instances/%s/tasks?limit=100&start=%d", c.front, c.project(), instance, start)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.Sign(r, c.env["HUAWEICLOUD_SDK_AK"], c.env["HUAWEICLOUD_SDK_SK"], nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("list: %d %s, %v", resp.StatusCode, b, err)
	}
	var p crashPage
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatalf("list: %v: %s", err, b)
	}
	return p
}
