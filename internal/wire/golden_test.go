package wire_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/openapitest"
	"github.com/errandhq/errand/internal/records"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/dcs"
	"github.com/errandhq/errand/internal/wire/dms"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const projectID = "0123456789abcdef0123456789abcdef"

// instances are the instances of the golden files, and what is imported into
// them from testdata/records.
var instances = []struct {
	name, id string
	engine   errand.Engine
	records  []string
}{
	{"kafka", "11111111-2222-3333-4444-000000000001", errand.Kafka, []string{"kafka-list"}},
	{"kafka2", "11111111-2222-3333-4444-000000000002", errand.Kafka, []string{"kafka-show", "kafka-progress"}},
	{"rocketmq", "11111111-2222-3333-4444-000000000003", errand.RocketMQ, []string{"rocketmq"}},
	{"rabbitmq", "11111111-2222-3333-4444-000000000004", errand.RabbitMQ, []string{"rabbitmq"}},
	{"redis", "11111111-2222-3333-4444-000000000005", errand.Redis, []string{"redis"}},
	{"redis2", "11111111-2222-3333-4444-000000000006", errand.Redis, []string{"redis-centre"}},
	{"empty", "11111111-2222-3333-4444-000000000007", errand.Redis, nil},
}

// tokens takes the X-Auth-Token header for the role of the caller: who signed is
// not what these tests are about.
type tokens struct{}

func (tokens) Authenticate(r *http.Request) (errand.Principal, error) {
	token := r.Header.Get("X-Auth-Token")
	if token == "" {
		return errand.Principal{}, errand.Errorf(errand.Unauthenticated, "credentials", "x-auth-token not found")
	}
	return errand.Principal{User: errand.User{ID: "u1", Name: token}, Project: projectID, Role: errand.Role(token)}, nil
}

// newStack returns the compatible API over a fresh database, held against the
// OpenAPI document.
func newStack(t *testing.T, dmsOptions dms.Options, dcsOptions dcs.Options) (http.Handler, *tasks.Service) {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "errand.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	svc := tasks.New(store, func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) })
	router := &wire.Router{
		Auth: tokens{}, Instance: svc.Instance, Default: dms.Name,
		Families: []*wire.Family{
			dms.NewFamily(svc, catalog.Builtin(), dmsOptions, tokens{}),
			dcs.NewFamily(svc, dcsOptions, tokens{}),
		},
		Hosts: map[string]string{"dms.example": dms.Name, "dcs.example": dcs.Name},
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		router.ServeHTTP(w, wire.Begin(w, r, &wire.Exchange{ID: "00000000000000000000000000000001"}))
	})
	return openapitest.Wrap(t, h), svc
}

func fill(t *testing.T, svc *tasks.Service) {
	t.Helper()
	admin := errand.Principal{User: errand.User{ID: "u1", Name: "admin"}, Project: projectID, Role: errand.Admin}
	for _, i := range instances {
		if _, err := svc.Register(t.Context(), admin, errand.Instance{Project: projectID, ID: i.id, Name: i.name, Engine: i.engine}); err != nil {
			t.Fatal(err)
		}
		for _, name := range i.records {
			data, err := os.ReadFile(filepath.Join("testdata", "records", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			list, _, err := records.Read(bytes.NewReader(data), records.Limits{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := svc.Import(t.Context(), admin, projectID, i.id, list); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// TestGolden replays testdata/*.http on a fresh database each: a line for the
// host and one for the role, the request, and the answer. Names in braces stand
// for ids; -update rewrites the answers.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var dmsOptions dms.Options
			var dcsOptions dcs.Options
			if strings.Contains(file, "numeric-times") {
				dmsOptions.NumericStepTimes = true
			}
			if strings.Contains(file, "legacy-codes") {
				dcsOptions.LegacyCodes = true
			}
			h, svc := newStack(t, dmsOptions, dcsOptions)
			fill(t, svc)
			var got strings.Builder
			for i, part := range strings.Split(string(data), "\n### ") {
				if i > 0 {
					got.WriteString("### ")
				}
				request, _, _ := strings.Cut(strings.TrimPrefix(part, "### "), "\n\n")
				if i == 0 && strings.HasPrefix(part, "### ") {
					got.WriteString("### ")
				}
				got.WriteString(request + "\n\n" + exchange(t, h, request) + "\n")
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(data) {
				t.Errorf("%s\n--- got ---\n%s", file, got.String())
			}
		})
	}
}

// exchange sends the request that the lines describe and renders the answer.
func exchange(t *testing.T, h http.Handler, request string) string {
	t.Helper()
	lines := strings.Split(request, "\n") // title, request line, headers
	for _, i := range instances {
		lines[1] = strings.ReplaceAll(lines[1], "{"+i.name+"}", i.id)
	}
	lines[1] = strings.ReplaceAll(lines[1], "{project}", projectID)
	method, target, _ := strings.Cut(lines[1], " ")
	r := httptest.NewRequest(method, "http://errand.example/", nil)
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("%s: %v", lines[1], err)
	}
	r.URL, r.RequestURI = u, target
	for _, line := range lines[2:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", w.Code, w.Header().Get("Content-Type"))
	if allow := w.Header().Get("Allow"); allow != "" {
		fmt.Fprintf(&b, "Allow: %s\n", allow)
	}
	if w.Body.Len() > 0 {
		var body bytes.Buffer
		if err := json.Indent(&body, w.Body.Bytes(), "", "  "); err != nil {
			t.Fatalf("%s: answer is not JSON: %v: %s", lines[1], err, w.Body)
		}
		fmt.Fprintf(&b, "%s\n", body.String())
	}
	return b.String()
}
