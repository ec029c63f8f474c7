package runner

import (
	"context"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/worker"
)

// self is who acts in the events of tasks that the server runs by itself.
var self = errand.Principal{User: errand.User{ID: "errand", Name: "errand"}, Role: errand.Worker}

// Local returns a source that claims tasks of every project in this process.
func Local(runs *tasks.Runs) worker.Source { return local{runs} }

type local struct{ runs *tasks.Runs }

func (l local) Claim(ctx context.Context, c worker.ClaimRequest) ([]worker.Grant, error) {
	got, err := l.runs.ClaimAll(ctx, self, tasks.ClaimRequest(c))
	if err != nil {
		return nil, err
	}
	var grants []worker.Grant
	for _, g := range got {
		// A lease belongs to a project, and the token has to say to which.
		grants = append(grants, worker.Grant{Task: g.Task, Token: g.Task.Project + ":" + g.Token, Secrets: g.Secrets, TTL: g.TTL})
	}
	return grants, nil
}

func (l local) Extend(ctx context.Context, token string, b worker.Beat) (worker.Extended, error) {
	p, token, err := within(token)
	if err != nil {
		return worker.Extended{}, err
	}
	x, err := l.runs.Extend(ctx, p, p.Project, token, tasks.Beat(b))
	return worker.Extended(x), err
}

func (l local) Finish(ctx context.Context, token string, o errand.Outcome, log []byte) error {
	p, token, err := within(token)
	if err != nil {
		return err
	}
	_, err = l.runs.Finish(ctx, p, p.Project, token, o, log)
	return err
}

// within returns the principal for the project of a token, and the lease's own.
func within(token string) (errand.Principal, string, error) {
	project, token, ok := strings.Cut(token, ":")
	if !ok {
		return errand.Principal{}, "", errand.Errorf(errand.LeaseLost, "lease", "this is not a lease token")
	}
	p := self
	p.Project = project
	return p, token, nil
}
