package native

import (
	"context"
	"net/http"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// A Purger removes history that admins ask to have removed; see
// tasks.Retention.
type Purger interface {
	Purge(ctx context.Context, p errand.Principal, q tasks.PurgeRequest) (tasks.Purged, error)
}

func purgeRoute(d *wire.Dialect, history Purger) {
	wire.Handle(d, "POST /api/v1/purge", decodePurge,
		func(ctx context.Context, p errand.Principal, q tasks.PurgeRequest) (purgeBody, error) {
			done, err := history.Purge(ctx, p, q)
			return purgeBody{q.DryRun, done.Tasks, done.Logs, done.LogBytes, done.Events, done.More, done.Next}, err
		},
		func(r *wire.Reply, b purgeBody) { write(r, b) })
}

// purgeBody counts what was removed, or would be.
type purgeBody struct {
	DryRun   bool   `json:"dry_run"`
	Tasks    int64  `json:"tasks"`
	Logs     int64  `json:"logs"`
	LogBytes int64  `json:"log_bytes"`
	Events   int64  `json:"events"`
	More     bool   `json:"more"`
	Next     string `json:"next,omitempty"`
}

// maxAge is the greatest age that may be asked for, in seconds: a hundred years.
const maxAge = 100 * 366 * 24 * 60 * 60

func decodePurge(r *http.Request) (tasks.PurgeRequest, error) {
	b, err := decodeOptional[struct {
		Project    *string   `json:"project"`
		Before     time.Time `json:"before"`
		Age        *int64    `json:"older_than_seconds"`
		Keep       *int      `json:"keep"`
		LogsBefore time.Time `json:"logs_before"`
		LogAge     *int64    `json:"logs_older_than_seconds"`
		DryRun     bool      `json:"dry_run"`
		After      string    `json:"after"`
	}](r, MaxBody)
	q := tasks.PurgeRequest{Before: b.Before, LogsBefore: b.LogsBefore, DryRun: b.DryRun, After: b.After}
	if err != nil {
		return q, err
	}
	if b.Project != nil {
		// "" would be every project, and is more likely a variable that is not set.
		if q.Project = *b.Project; q.Project == "" {
			return q, errand.Errorf(errand.Invalid, "project", "project must be the id of one, or left out for all projects")
		}
	}
	if q.Age, err = age("older_than_seconds", b.Age); err != nil {
		return q, err
	}
	if q.LogAge, err = age("logs_older_than_seconds", b.LogAge); err != nil {
		return q, err
	}
	if b.Keep != nil {
		if q.Keep = *b.Keep; q.Keep < 1 {
			return q, errand.Errorf(errand.Invalid, "keep", "keep must be 1 or more, or left out to keep any number")
		}
	}
	return q, nil
}

// age reads a number of seconds. 0, which would be everything, is more likely a
// mistake than meant.
func age(name string, seconds *int64) (time.Duration, error) {
	if seconds == nil {
		return 0, nil
	}
	if *seconds < 1 || *seconds > maxAge {
		return 0, errand.Errorf(errand.Invalid, name, "%s must be 1 to %d", name, int64(maxAge))
	}
	return time.Duration(*seconds) * time.Second, nil
}
