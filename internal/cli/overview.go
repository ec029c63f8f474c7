package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/nativejson"
)

func (a *app) overviewCmd() *cobra.Command {
	cmd := a.clientCmd("overview", "Say what is going on: what runs, waits, is stuck and why, and failed lately", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			project, err := s.project(ctx)
			if err != nil {
				return err
			}
			o, err := s.Overview(ctx, project)
			if err != nil {
				return err
			}
			if a.structured() {
				return a.data(overviewOf(o))
			}
			return a.overview(ctx, s, project, o)
		})
	cmd.Long = `Say what is going on in a project: how much runs and waits, which tasks go nowhere by
themselves and why, what runs now, and what failed within a day.`
	return cmd
}

// overview prints an overview for people.
func (a *app) overview(ctx context.Context, s *session, project string, o client.Overview) error {
	ended, failed := 0, 0
	for _, h := range o.Hours {
		ended += h.Succeeded + h.Failed + h.Cancelled
		failed += h.Failed
	}
	fmt.Fprintf(a.stdout, "%d running, %d waiting, %d stuck; within a day %d ended, %d of them failed; %d instances, %d records\n",
		o.Running, o.Waiting, len(o.Stuck), ended, failed, o.Instances, o.Tasks)
	var all []errand.Task
	for _, t := range append(o.Unfinished, o.Failed...) {
		all = append(all, *t)
	}
	names, err := s.instanceNames(ctx, project, all)
	if err != nil {
		return err
	}
	stuck := newTable(column{"STUCK", isKey}, column{"OPERATION", isFree}, column{"STATUS", isStatus}, column{"INSTANCE", isFree | isSpare}, column{"WHY", isFree})
	for _, x := range o.Stuck {
		stuck.add(x.Task.ID, x.Task.Operation, string(x.Task.Status), names[x.Task.Instance], x.Why.Text)
	}
	running := newTable(column{"RUNNING", isKey}, column{"OPERATION", isFree}, column{"DONE", isDear}, column{"INSTANCE", isFree | isSpare}, column{"USER", isFree | isSpare}, column{"WORKER", isFree | isSpare})
	for _, x := range o.Unfinished {
		if x.Status == errand.Running {
			running.add(x.ID, x.Operation, percent(x.Progress), names[x.Instance], x.User.Name, x.Run.Lease.Worker)
		}
	}
	lost := newTable(column{"FAILED", isKey}, column{"OPERATION", isFree}, column{"AT", isSpare}, column{"INSTANCE", isFree | isSpare}, column{"USER", isFree | isSpare}, column{"REASON", isFree})
	for _, x := range o.Failed {
		lost.add(x.ID, x.Operation, stamp(x.UpdatedAt), names[x.Instance], x.User.Name, x.Reason)
	}
	for _, t := range []*table{stuck, running, lost} {
		if len(t.rows) == 0 {
			continue
		}
		fmt.Fprintln(a.stdout)
		if err := a.table(t); err != nil {
			return err
		}
	}
	return nil
}

func overviewOf(o client.Overview) nativejson.Overview {
	b := nativejson.Overview{
		At: nativejson.Moment{Time: o.At}, Instances: o.Instances, Tasks: o.Tasks, Running: o.Running, Waiting: o.Waiting,
		Unfinished: []nativejson.Task{}, Stuck: []nativejson.Stuck{}, Failed: []nativejson.Task{}, Hours: []nativejson.Hour{}, Since: nativejson.Moment{Time: o.Since},
	}
	for _, t := range o.Unfinished {
		b.Unfinished = append(b.Unfinished, nativejson.TaskOf(t))
	}
	for _, t := range o.Failed {
		b.Failed = append(b.Failed, nativejson.TaskOf(t))
	}
	for _, s := range o.Stuck {
		b.Stuck = append(b.Stuck, nativejson.Stuck{Task: nativejson.TaskOf(s.Task), Why: whyOf(s.Why)})
	}
	for _, h := range o.Hours {
		b.Hours = append(b.Hours, nativejson.Hour{From: nativejson.Moment{Time: h.From}, Submitted: h.Submitted, Succeeded: h.Succeeded, Failed: h.Failed, Cancelled: h.Cancelled})
	}
	return b
}
