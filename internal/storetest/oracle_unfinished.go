package storetest

import (
	"context"
	"slices"

	"github.com/errandhq/errand"
)

func (o *oracle) Unfinished(ctx context.Context, project, instance string, limit int) (list []*errand.Task, running, waiting int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, 0, 0, err
	}
	if instance != "" && o.instance(project, instance) < 0 {
		return nil, 0, 0, errand.Errorf(errand.NotFound, "instance", "no instance")
	}
	for _, t := range o.tasks {
		if !unfinished(t) || t.Project != project || instance != "" && t.Instance != instance {
			continue
		}
		if list = append(list, clone(t)); t.Status == errand.Running {
			running++
		}
	}
	waiting = len(list) - running
	slices.SortFunc(list, inTurn)
	return list[:min(limit, len(list))], running, waiting, nil
}

func (o *oracle) LoadRuns(ctx context.Context, project string, list []errand.Task) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range list {
		list[i].Run = nil
		if at := o.byID(project, list[i].ID); at >= 0 && list[i].Origin == nil && o.tasks[at].Run != nil {
			list[i].Run = clone(o.tasks[at]).Run
			list[i].Run.Sealed = nil
		}
	}
	return ctx.Err()
}
