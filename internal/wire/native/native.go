// Package native is Errand's own API under /api/v1: what the compatible API has
// no calls for. Bodies are JSON; a member or parameter that a call does not know
// is refused rather than passed over. Times are RFC 3339 in UTC with
// microseconds. Package client is its other half.
package native

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// Name is the name of the dialect.
const Name = "native"

// The longest request bodies, in bytes.
const (
	MaxBody   = 1 << 20
	MaxRun    = 4 << 20  // of a submission, and of what a worker reports
	MaxImport = 64 << 20 // of an import
)

// Deps is what the API is made of.
type Deps struct {
	Tasks     *tasks.Service
	Directory *auth.Directory
	Auth      wire.Authenticator
	Now       func() time.Time

	// Store is copied by the backup call, by way of a file in BackupDir, which
	// is best the directory of the database. A nil Store means no such call.
	Store     Backuper
	BackupDir string

	// Runs are the tasks that run here. A server without them only keeps
	// records: it has none of the calls about running.
	Runs *tasks.Runs

	// History lets the past go when an admin asks for it. Nil means no such call.
	History Purger

	// Operations lists what may be submitted. Nil means no such call.
	Operations func() []errand.Operation
}

type api struct {
	svc     *tasks.Service
	dir     *auth.Directory
	runs    *tasks.Runs
	waiting waitingRoom
}

// New returns the dialect.
func New(deps Deps) *wire.Dialect {
	d := wire.New(Name, failures, appendError, deps.Auth)
	a := &api{svc: deps.Tasks, dir: deps.Directory, runs: deps.Runs}
	a.taskRoutes(d)
	a.instanceRoutes(d)
	a.projectRoutes(d)
	a.userRoutes(d)
	a.keyRoutes(d)
	if deps.Runs != nil {
		a.runRoutes(d)
		a.overviewRoutes(d)
		a.workerRoutes(d)
		a.watchRoute(d)
	}
	if deps.Operations != nil {
		operationsRoute(d, deps.Operations)
	}
	if deps.History != nil {
		purgeRoute(d, deps.History)
	}
	if deps.Store != nil {
		b := &backups{store: deps.Store, dir: deps.BackupDir, now: deps.Now}
		b.route(d)
	}
	wire.Handle(d, "GET /api/v1/whoami", decodeNothing,
		func(_ context.Context, p errand.Principal, _ struct{}) (errand.Principal, error) { return p, nil },
		func(r *wire.Reply, p errand.Principal) {
			write(r, struct {
				User    nativejson.User `json:"user"`
				Project string          `json:"project"`
				Role    errand.Role     `json:"role"`
			}{nativejson.User(p.User), p.Project, p.Role})
		})
	return d
}

// decodeBody reads the body of r and takes no parameters.
func decodeBody[T any](r *http.Request) (T, error) { return decodeUpTo[T](r, MaxBody) }

func decodeUpTo[T any](r *http.Request, limit int64) (T, error) {
	var v T
	if _, err := query(r); err != nil {
		return v, err
	}
	return v, wire.DecodeJSON(r, limit, &v)
}

// decodeOptional is decodeBody where no body stands for an empty object.
func decodeOptional[T any](r *http.Request, limit int64) (T, error) {
	v, err := decodeUpTo[T](r, limit)
	if e := errand.ErrorOf(err); e != nil && e.Subject == "body_empty" {
		err = nil
	}
	return v, err
}

func decodeNothing(r *http.Request) (struct{}, error) {
	_, err := query(r)
	return struct{}{}, err
}

// query returns the query of r, of which only the named parameters are known:
// one that is misspelt would otherwise be a filter that is silently not there.
func query(r *http.Request, known ...string) (*wire.Query, error) {
	for name := range r.URL.Query() {
		if slices.Contains(known, name) {
			continue
		}
		has := "none"
		if len(known) > 0 {
			has = strings.Join(known, ", ")
		}
		return nil, errand.Errorf(errand.Invalid, "query", "unknown parameter %.64q; the parameters of this call: %s", name, has)
	}
	return wire.NewQuery(r), nil
}
