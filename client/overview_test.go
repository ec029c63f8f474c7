package client_test

import (
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/worker"
)

// TestLook follows a few tasks by the calls of those who look before they read.
func TestLook(t *testing.T) {
	t.Parallel()
	c, p := newRunServer(t)
	ctx := t.Context()
	var ids []string
	for range 3 {
		task, err := c.Submit(ctx, p, redisID, client.Submission{Operation: "EXTEND"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, task.ID)
	}
	list, running, waiting, err := c.Unfinished(ctx, p, redisID, 2)
	if err != nil || running != 0 || waiting != 3 || len(list) != 2 || list[0].ID != ids[0] || list[0].Run == nil {
		t.Fatalf("unfinished: %d, %d, %+v, %v", running, waiting, list, err)
	}
	o, err := c.Overview(ctx, p)
	if err != nil || o.Waiting != 3 || o.Instances != 1 || len(o.Hours) != 24 || o.Hours[23].Submitted != 3 || len(o.Stuck) != 1 || o.Stuck[0].Why.Code != "no_worker" || o.Stuck[0].Task.ID != ids[0] {
		t.Errorf("overview %+v, %v", o, err)
	}
	grants, err := c.Claim(ctx, p, worker.ClaimRequest{Worker: "w", Operations: []string{"EXTEND"}})
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, %v", len(grants), err)
	}
	if _, err := c.Finish(ctx, p, grants[0].Token, errand.Outcome{Status: errand.Failed, Reason: "no", Permanent: true}, nil); err != nil {
		t.Fatal(err)
	}
	if o, err = c.Overview(ctx, p); err != nil || len(o.Failed) != 1 || o.Failed[0].ID != ids[0] || o.Hours[23].Failed != 1 {
		t.Errorf("overview after a failure: %+v, %v", o, err)
	}

	search := client.SearchOptions{Filter: errand.Filter{Project: p, Limit: 1}, Statuses: []errand.Status{errand.Pending, errand.Failed}, Operation: "EXTEND", User: "admin"}
	var found []string
	for {
		f, err := c.Search(ctx, search)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range f.Tasks {
			found = append(found, x.ID)
		}
		if search.Cursor = f.Next; f.Next == "" {
			break
		}
	}
	if len(found) != 3 || found[0] != ids[2] || found[2] != ids[0] {
		t.Errorf("found %v, want %v from the last on", found, ids)
	}

	wantError(t, "delete of a task that waits", c.DeleteTask(ctx, p, ids[1]), errand.Conflict, "task")
	if err := c.DeleteTask(ctx, p, ids[0]); err != nil {
		t.Fatal(err)
	}
	wantError(t, "delete of a task that is gone", c.DeleteTask(ctx, p, ids[0]), errand.NotFound, "task")
}
