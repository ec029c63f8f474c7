package client_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire/native"
)

func TestPurge(t *testing.T) {
	t.Parallel()
	var known []string
	asked := make(chan tasks.PurgeRequest, 1)
	s := newServer(t, func(d *native.Deps) {
		r := tasks.NewRetention(d.Store.(*sqlite.Store), func(context.Context) ([]string, error) { return known, nil }, time.Now, tasks.RetentionOptions{})
		d.History = noting{r, asked}
	})
	known = []string{s.first.Project.ID}
	c, project := s.admin(t), s.first.Project.ID
	if _, err := c.Register(t.Context(), errand.Instance{Project: project, ID: redisID, Name: "r", Engine: errand.Redis}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Import(t.Context(), project, redisID, strings.NewReader(record)); err != nil {
		t.Fatal(err)
	}
	before := time.Date(2024, 1, 2, 3, 4, 5, 678000, time.UTC)
	for _, tt := range []struct {
		name string
		p    client.Purge
		want client.Purged
		sent tasks.PurgeRequest
	}{
		{"count", client.Purge{Before: before, DryRun: true}, client.Purged{DryRun: true, Tasks: 1, Events: 1}, tasks.PurgeRequest{Before: before, DryRun: true}},
		{"keep", client.Purge{Project: project, Keep: 3}, client.Purged{}, tasks.PurgeRequest{Project: project, Keep: 3}},
		{"logs", client.Purge{LogsBefore: before}, client.Purged{}, tasks.PurgeRequest{LogsBefore: before}},
		{"logs by age", client.Purge{LogsOlderThan: time.Hour}, client.Purged{}, tasks.PurgeRequest{LogAge: time.Hour}},
		{"by age", client.Purge{OlderThan: 90*time.Minute + time.Millisecond}, client.Purged{Tasks: 1, Events: 1}, tasks.PurgeRequest{Age: 90 * time.Minute}},
	} {
		got, err := c.Purge(t.Context(), tt.p)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		if sent := <-asked; sent != tt.sent {
			t.Errorf("%s: the server was asked for %+v, want %+v", tt.name, sent, tt.sent)
		}
	}
	for subject, p := range map[string]client.Purge{"purge": {}, "keep": {Keep: -1}, "after": {Keep: 1, After: "x"}} {
		_, err := c.Purge(t.Context(), p)
		wantError(t, subject, err, errand.Invalid, subject)
		if subject != "keep" { // which is refused earlier
			<-asked
		}
	}
	if _, err := c.Purge(t.Context(), client.Purge{Keep: 1, OlderThan: time.Millisecond}); err == nil || errand.ErrorOf(err).Kind != errand.Invalid {
		t.Errorf("an age of less than a second: %v", err)
	}
}

// noting tells what was asked of a Purger.
type noting struct {
	native.Purger
	asked chan tasks.PurgeRequest
}

func (n noting) Purge(ctx context.Context, p errand.Principal, q tasks.PurgeRequest) (tasks.Purged, error) {
	n.asked <- q
	return n.Purger.Purge(ctx, p, q)
}
