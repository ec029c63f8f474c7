package client

import (
	"context"
	"net/http"
	"time"

	"github.com/errandhq/errand"
)

// Purge says what history to remove: finished tasks with their logs and events,
// or logs alone. Each member selects by itself; a Purge that selects nothing
// stands for what the settings of the server say.
type Purge struct {
	Project string // the id of a project; "" for all

	Before    time.Time     // tasks that were created before, and older events of tasks that are gone
	OlderThan time.Duration // in place of Before; to the second, an hour or more
	Keep      int           // tasks beyond the newest so many of each project

	LogsBefore    time.Time     // logs of tasks that were created before
	LogsOlderThan time.Duration // in place of LogsBefore; to the second, an hour or more

	DryRun bool   // remove nothing, and count
	After  string // the Next of the answer before
}

// Purged counts what a call has removed, or would.
type Purged struct {
	DryRun   bool  `json:"dry_run"`
	Tasks    int64 `json:"tasks"`
	Logs     int64 `json:"logs"` // that were not empty
	LogBytes int64 `json:"log_bytes"`
	Events   int64 `json:"events"`

	// More says that there is more to do than one call does; Next goes into
	// After of the next one.
	More bool   `json:"more"`
	Next string `json:"next,omitempty"`
}

// Purge removes history, for up to 20 seconds. It is for admins, and repeated by
// itself only where it removes nothing. Errors: NotFound about "project"; Invalid
// about "purge" where neither p nor the server selects anything, and about
// members of p.
func (c *Client) Purge(ctx context.Context, p Purge) (Purged, error) {
	in := struct {
		Project    string    `json:"project,omitempty"`
		Before     time.Time `json:"before,omitzero"`
		Age        int64     `json:"older_than_seconds,omitempty"`
		Keep       int       `json:"keep,omitempty"`
		LogsBefore time.Time `json:"logs_before,omitzero"`
		LogAge     int64     `json:"logs_older_than_seconds,omitempty"`
		DryRun     bool      `json:"dry_run,omitempty"`
		After      string    `json:"after,omitempty"`
	}{p.Project, p.Before, 0, p.Keep, p.LogsBefore, 0, p.DryRun, p.After}
	for _, a := range []struct {
		name string
		from time.Duration
		to   *int64
	}{{"OlderThan", p.OlderThan, &in.Age}, {"LogsOlderThan", p.LogsOlderThan, &in.LogAge}} {
		*a.to = int64(a.from / time.Second)
		if a.from != 0 && *a.to <= 0 { // which would be left out, and select something else
			return Purged{}, errand.Errorf(errand.Invalid, "purge", "%s must be a second or more, not %v", a.name, a.from)
		}
	}
	var out Purged
	err := c.do(ctx, call{method: http.MethodPost, path: []string{"purge"}, in: in, repeat: p.DryRun}, &out)
	return out, err
}
