package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

func (a *app) instanceCmd() *cobra.Command {
	return group("instance", "Register, list and forget instances", a.instanceAdd(), a.instanceList(), a.instanceShow(), a.instanceForget())
}

func (a *app) instanceAdd() *cobra.Command {
	var i errand.Instance
	var engine string
	var attrs []string
	cmd := a.clientCmd("add", "Register an instance", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) (err error) {
		i.Engine = errand.Engine(engine)
		if i.Attributes, err = pairs("attr", attrs); err != nil {
			return err
		}
		if i.Project, err = s.project(ctx); err != nil {
			return err
		}
		added, err := s.Register(ctx, i)
		if err != nil {
			return err
		}
		return a.instances([]errand.Instance{added}, true)
	})
	f := cmd.Flags()
	f.StringVar(&i.ID, "id", "", "`UUID` that the instance has")
	f.StringVar(&i.Name, "name", "", "its name")
	f.StringVar(&engine, "engine", "", "what it runs: kafka, rocketmq, rabbitmq or redis")
	f.StringArrayVar(&attrs, "attr", nil, "a fact about it, as `NAME=VALUE`; may be given several times")
	for _, name := range []string{"id", "name", "engine"} {
		_ = cmd.MarkFlagRequired(name)
	}
	a.tableFlag(cmd)
	completeEngine(cmd)
	return cmd
}

func (a *app) instanceList() *cobra.Command {
	cmd := a.clientCmd("list", "List the instances of a project", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		all := []errand.Instance{}
		for {
			page, total, err := s.Instances(ctx, project, len(all), 0)
			if err != nil {
				return err
			}
			all = append(all, page...)
			if len(page) == 0 || len(all) >= total {
				return a.instances(all, false)
			}
		}
	})
	a.tableFlag(cmd)
	return cmd
}

func (a *app) instanceShow() *cobra.Command {
	cmd := a.clientCmd("show INSTANCE", "Show an instance", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		id, err := s.instanceID(ctx, project, args[0])
		if err != nil {
			return err
		}
		i, err := s.Instance(ctx, project, id)
		if err != nil {
			return err
		}
		if err := a.instances([]errand.Instance{i}, true); err != nil || a.output != formText && a.output != formWide {
			return err
		}
		list, running, waiting, err := s.Unfinished(ctx, project, id, queueRows)
		if err != nil || len(list) == 0 {
			return err
		}
		fmt.Fprintf(a.stdout, "\n%d running, %d waiting\n", running, waiting)
		return a.table(queueTable(list))
	})
	cmd.Long = "Show an instance and, in tables, the tasks of it that have not ended."
	a.tableFlag(cmd)
	cmd.ValidArgsFunction = a.completeFirst(a.instanceWords)
	return cmd
}

// queueRows is how many unfinished tasks are shown with what they wait on.
const queueRows = 50

// queueTable shows tasks that have not ended.
func queueTable(list []*errand.Task) *table {
	t := newTable(column{"ID", isKey}, column{"OPERATION", isFree}, column{"STATUS", isStatus}, column{"DONE", isDear},
		column{"NOT BEFORE", isSpare}, column{"LANE", isWide}, column{"USER", isFree | isSpare}, column{"WORKER", isFree | isSpare})
	for _, x := range list {
		t.add(x.ID, x.Operation, string(x.Status), percent(x.Progress), stamp(x.Run.RunAt), x.Run.Lane, x.User.Name, x.Run.Lease.Worker)
	}
	return t
}

func (a *app) instanceForget() *cobra.Command {
	cmd := a.clientCmd("forget INSTANCE", "Remove an instance and all its records", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		id, err := s.instanceID(ctx, project, args[0])
		if err != nil {
			return err
		}
		if err := s.Forget(ctx, project, id); err != nil {
			return err
		}
		return a.done("forgot instance %s", id)
	})
	cmd.Long = "Remove an instance and all its records. Nothing brings them back but a backup."
	cmd.ValidArgsFunction = a.completeFirst(a.instanceWords)
	return cmd
}

// instances prints a list, or the one instance that a command is about.
func (a *app) instances(list []errand.Instance, one bool) error {
	out := []nativejson.Instance{}
	t := newTable(column{"ID", isKey}, column{"NAME", isFree}, column{"ENGINE", 0}, column{"REGISTERED", isSpare}, column{"ATTRIBUTES", isFree | isSpare})
	for _, i := range list {
		out = append(out, nativejson.InstanceOf(i))
		var attrs []string
		for _, name := range slices.Sorted(maps.Keys(i.Attributes)) {
			attrs = append(attrs, fmt.Sprintf("%s=%s", name, i.Attributes[name]))
		}
		t.add(i.ID, i.Name, string(i.Engine), stamp(i.CreatedAt), strings.Join(attrs, " "))
	}
	var v any = out
	if one {
		v = out[0]
	}
	return a.print(v, t)
}
