package wire_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/records"
	"github.com/errandhq/errand/internal/wire/dcs"
	"github.com/errandhq/errand/internal/wire/dms"
)

// TestReferencePages takes the example answers out of the provider's reference
// pages, imports them and asks for them again: what comes back must be what the
// page shows, member by member. The pages are not part of this repository: the
// test reads them from ../shared/seeds beside it, or from $ERRAND_SEEDS. What
// the golden files hold of the examples is checked in any case.
func TestReferencePages(t *testing.T) {
	dir := os.Getenv("ERRAND_SEEDS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "seeds")
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(pages) == 0 {
		t.Skipf("the reference pages are not in %s; set ERRAND_SEEDS to where they are", dir)
	}
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			example := exampleOf(t, string(text))
			instance := instanceFor(t, string(text))
			h, svc := newStack(t, dms.Options{}, dcs.Options{})
			admin := errand.Principal{User: errand.User{ID: "u1", Name: "admin"}, Project: projectID, Role: errand.Admin}
			if _, err := svc.Register(t.Context(), admin, instance); err != nil {
				t.Fatal(err)
			}
			list, _, err := records.Read(bytes.NewReader(example), records.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := svc.Import(t.Context(), admin, projectID, instance.ID, list); err != nil {
				t.Fatal(err)
			}
			path := "/v2/" + projectID + "/instances/" + instance.ID + "/tasks"
			if strings.Contains(string(text), "/tasks/{task_id}") {
				path += "/" + list[0].ID
			}
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("X-Auth-Token", "viewer")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if diff := cmp.Diff(normal(t, example, len(list)), normal(t, w.Body.Bytes(), len(list))); w.Code != 200 || diff != "" {
				t.Errorf("%d (-page +answer):\n%s", w.Code, diff)
			}
		})
	}
}

// exampleOf returns the example answer of a page: the JSON object that begins
// with task_count.
func exampleOf(t *testing.T, text string) []byte {
	t.Helper()
	at := strings.Index(text, `"task_count"`)
	if at < 0 {
		t.Fatal("the page has no example answer")
	}
	at = strings.LastIndex(text[:at], "{")
	var raw json.RawMessage
	if err := json.NewDecoder(strings.NewReader(text[at:])).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	return raw
}

// instanceFor returns an instance of the engine that a page is about.
func instanceFor(t *testing.T, text string) errand.Instance {
	t.Helper()
	i := errand.Instance{Project: projectID, ID: instances[0].id, Name: "reference"}
	switch lower := strings.ToLower(text); {
	case strings.Contains(lower, "dcs_endpoint"):
		i.Engine = errand.Redis
	case strings.Contains(lower, "rocketmq"):
		i.Engine = errand.RocketMQ
	case strings.Contains(lower, "kafka"):
		i.Engine = errand.Kafka
	default:
		t.Fatal("cannot tell what the page is about")
	}
	return i
}

// normal decodes an answer. task_count is compared as the number of records that
// were imported: one page prints it as a number, where its own table says that
// it is a string, and one shows two records of four.
func normal(t *testing.T, answer []byte, total int) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	if v["task_count"] == nil {
		t.Errorf("no task_count in %s", answer)
	}
	v["task_count"] = total
	return v
}
