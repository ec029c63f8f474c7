package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/native"
)

// anything is a catalog in which every name is an operation.
type anything struct{}

func (anything) Operation(engine errand.Engine, name string) (errand.Operation, bool) {
	return errand.Operation{
		Engine: engine, Name: name, Title: "Anything", Secrets: []string{"password"}, Lane: errand.DefaultLane, Timeout: time.Hour,
		Schema: json.RawMessage(`{"type":"object"}`), MaxAttempts: 1, OnLost: errand.FailWhenLost, Runner: errand.RemoteRunner,
	}, true
}

func (anything) Check(errand.Operation, json.RawMessage) error { return nil }

func (anything) Details(errand.Operation, json.RawMessage) json.RawMessage { return nil }

// allowed lets everybody in as an admin of the stack's project.
type allowed struct{ project string }

func (a allowed) Authenticate(*http.Request) (errand.Principal, error) {
	return errand.Principal{User: errand.User{ID: requestID, Name: "admin"}, Project: a.project, Role: errand.Admin}, nil
}

const requestID = "00000000000000000000000000000001"

// running asks for the calls about tasks that run.
func (s *stack) running(t *testing.T) {
	sealer, err := auth.NewSealer(bytes.Repeat([]byte{7}, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "errand.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	svc := tasks.New(store, time.Now)
	stopping, stop := context.WithCancel(t.Context())
	d := native.New(native.Deps{
		Tasks: svc, Auth: allowed{s.first.Project.ID}, Now: time.Now,
		Runs: tasks.NewRuns(svc, store, anything{}, sealer, tasks.RunOptions{}),
		Operations: func() []errand.Operation {
			o, _ := anything{}.Operation(errand.Redis, "EXTEND")
			return []errand.Operation{o}
		},
	})
	s.h = s.noting(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.ServeHTTP(w, wire.Begin(w, r, &wire.Exchange{ID: requestID, Stopping: stopping}))
	}))
	const p = "/api/v1/projects/{p}"
	id := func(w *httptest.ResponseRecorder) string {
		var task struct{ ID string }
		if err := json.Unmarshal(w.Body.Bytes(), &task); err != nil {
			t.Fatal(err)
		}
		return task.ID
	}
	s.ask(t, 200, "GET /api/v1/operations", "")
	s.ask(t, 201, "POST "+p+"/instances", `{"id":"`+redisID+`","name":"n","engine":"redis"}`)
	submit := "POST " + p + "/instances/{redis}/tasks"
	one := id(s.ask(t, 202, submit, `{"operation":"EXTEND","params":{"a":1},"secrets":{"password":"x"},"timeout_seconds":2.5}`))
	two := id(s.ask(t, 202, submit, `{"operation":"EXTEND"}`))
	s.ask(t, 200, "GET "+p+"/tasks/"+one+"/why", "")
	s.ask(t, 200, "GET "+p+"/tasks/"+two+"/why", "")
	var claimed struct{ Grants []struct{ Token string } }
	w := s.ask(t, 200, "POST "+p+"/claims", `{"worker":"w","operations":["EXTEND"]}`)
	if err := json.Unmarshal(w.Body.Bytes(), &claimed); err != nil || len(claimed.Grants) != 1 {
		t.Fatalf("claims: %s", w.Body)
	}
	lease := "POST " + p + "/leases/" + claimed.Grants[0].Token
	s.ask(t, 200, lease+"/extend", `{"progress":{"percent":10,"steps":[{"name":"a","status":"running"}]},"log":"x\n"}`)
	s.ask(t, 200, "GET "+p+"/tasks/"+one, "")
	s.ask(t, 200, "GET "+p+"/tasks/"+one+"/why", "")
	s.ask(t, 200, "GET "+p+"/tasks/"+one+"/log", "")
	s.ask(t, 202, "POST "+p+"/tasks/"+one+"/cancel", `{"reason":"no"}`)
	s.ask(t, 200, "GET "+p+"/tasks/"+one+"/why", "")
	s.ask(t, 200, lease+"/finish", `{"status":"cancelled"}`)
	s.ask(t, 409, lease+"/finish", `{"status":"cancelled"}`)
	s.ask(t, 409, lease+"/extend", "")
	s.ask(t, 202, "POST "+p+"/tasks/"+one+"/retry", "")
	s.ask(t, 409, "PATCH "+p+"/tasks/"+one, `{"run_at":"2026-01-02T03:04:05Z"}`)
	s.ask(t, 400, "PATCH "+p+"/tasks/"+two, `{}`)
	s.ask(t, 200, "PATCH "+p+"/tasks/"+two, `{"run_at":"2026-01-02T03:04:05Z"}`)
	s.ask(t, 200, "POST "+p+"/tasks/"+two+"/cancel", "")
	s.ask(t, 200, "GET "+p+"/tasks/"+two+"/why", "")
	s.ask(t, 200, "GET "+p+"/tasks/"+one+"/events", "")
	s.ask(t, 200, "GET "+p+"/overview", "")
	s.ask(t, 200, "GET "+p+"/unfinished", "")
	s.ask(t, 200, "GET "+p+"/unfinished?instance={redis}&limit=1", "")
	s.ask(t, 400, "GET "+p+"/unfinished?limit=0", "")
	s.ask(t, 200, "GET "+p+"/search?status=cancelled,pending&operation=EXTEND&limit=1", "")
	s.ask(t, 400, "GET "+p+"/search?status=odd", "")
	s.ask(t, 400, "GET "+p+"/search?cursor=odd", "")
	s.ask(t, 204, "DELETE "+p+"/tasks/"+two, "")
	s.ask(t, 404, "DELETE "+p+"/tasks/"+two, "")
	s.ask(t, 200, "GET "+p+"/workers", "")
	stop() // so that the watch ends with its first line
	s.ask(t, 200, "GET "+p+"/watch?after=0", "")
}
