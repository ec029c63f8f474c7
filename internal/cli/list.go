package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// listArgs is what selects the tasks of a listing.
type listArgs struct {
	instance, engine string
	from, to         string
	limit, offset    int
	watch            bool

	// What only a search selects by.
	statuses                []string
	operation, user, cursor string
}

// search reports whether something is asked for that only a search selects by.
func (g *listArgs) search() bool {
	return len(g.statuses) > 0 || g.operation != "" || g.user != "" || g.cursor != ""
}

func (g *listArgs) add(a *app, cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&g.instance, "instance", "", "only those of the instance with this `ID` or name")
	fs.StringVar(&g.engine, "engine", "", "only those of instances that run this: kafka, rocketmq, rabbitmq or redis")
	fs.StringVar(&g.from, "from", "", "only those submitted at this `TIME` or later: 2026-01-31T18:00:00Z, 2026-01-31, or 24h before now")
	fs.StringVar(&g.to, "to", "", "only those submitted at this `TIME` or before")
	fs.IntVar(&g.limit, "limit", 20, "how many at the most")
	fs.IntVar(&g.offset, "offset", 0, "how many of the newest to pass over")
	fs.StringSliceVar(&g.statuses, "status", nil, "only those with this `STATUS`: pending, running, succeeded, failed or cancelled; several are divided by commas")
	fs.StringVar(&g.operation, "operation", "", "only those of the operation with this `NAME`")
	fs.StringVar(&g.user, "user", "", "only those that the user with this `NAME` or id asked for")
	fs.StringVar(&g.cursor, "cursor", "", "go on with a search where another `CURSOR` left off")
	a.completeInstance(cmd)
	a.completeUser(cmd)
	completeEngine(cmd)
	completeStatus(cmd)
	_ = cmd.RegisterFlagCompletionFunc("operation", a.complete(a.operationWords))
}

// filter is what the server is asked for.
func (g *listArgs) filter(ctx context.Context, s *session) (f errand.Filter, err error) {
	f = errand.Filter{Engine: errand.Engine(g.engine), Limit: g.limit, Offset: g.offset}
	now := time.Now()
	if f.From, err = when("from", g.from, now, -1); err != nil {
		return f, err
	}
	if f.To, err = when("to", g.to, now, -1); err != nil {
		return f, err
	}
	if f.Project, err = s.project(ctx); err != nil {
		return f, err
	}
	f.Instance, err = s.instanceID(ctx, f.Project, g.instance)
	return f, err
}

func (a *app) listCmd() *cobra.Command {
	var g listArgs
	cmd := a.clientCmd("list", "List the tasks of a project, newest first", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		f, err := g.filter(ctx, s)
		if err != nil {
			return err
		}
		if g.search() {
			return a.searchTasks(ctx, s, &g, f)
		}
		page, err := s.Tasks(ctx, f)
		if err != nil {
			return err
		}
		if g.watch {
			return a.watchList(ctx, s, f, page)
		}
		return a.tasks(ctx, s, page, f)
	})
	cmd.Long = `List the tasks of a project, newest first. With --watch, go on to show how those go
that have not ended, and new ones, until Ctrl-C.

--status, --operation and --user look through the records from the newest on, which
takes the longer the further apart those are that match, and gives no total.`
	g.add(a, cmd)
	cmd.Flags().BoolVarP(&g.watch, "watch", "w", false, "go on to show how they go, until Ctrl-C")
	a.tableFlag(cmd)
	return cmd
}

// tasks prints a page of a listing. An instance that all of them share is left out.
func (a *app) tasks(ctx context.Context, s *session, page errand.Page, f errand.Filter) error {
	if a.structured() {
		out := struct {
			Total int               `json:"total"`
			Tasks []nativejson.Task `json:"tasks"`
		}{page.Total, []nativejson.Task{}}
		for i := range page.Tasks {
			out.Tasks = append(out.Tasks, nativejson.TaskOf(&page.Tasks[i]))
		}
		return a.data(out)
	}
	t, err := a.taskTable(ctx, s, page.Tasks, f)
	if err != nil {
		return err
	}
	if err := a.print(nil, t); err != nil || a.output == formName {
		return err
	}
	if next := f.Offset + len(page.Tasks); len(page.Tasks) > 0 && next < page.Total {
		fmt.Fprintf(a.stdout, "%d of %d; the next ones: --offset %d\n", len(page.Tasks), page.Total, next)
	}
	return nil
}

func (a *app) taskTable(ctx context.Context, s *session, tasks []errand.Task, f errand.Filter) (*table, error) {
	var names map[string]string
	instance, id := isFree|isDear, isWide
	if f.Instance != "" {
		instance = isWide
	}
	if a.output == formWide || f.Instance == "" && a.output == formText {
		var err error
		if names, err = s.instanceNames(ctx, f.Project, tasks); err != nil {
			return nil, err
		}
	}
	t := newTable(column{"ID", isKey}, column{"OPERATION", isFree}, column{"STATUS", isStatus}, column{"DONE", isDear},
		column{"SUBMITTED", isSpare}, column{"CHANGED", isWide}, column{"USER", isFree | isSpare}, column{"INSTANCE", instance},
		column{"INSTANCE ID", id}, column{"ENGINE", isWide}, column{"ERROR", isWide}, column{"REASON", isWide}, column{"PARAMS", isWide})
	for _, x := range tasks {
		t.add(x.ID, x.Operation, string(x.Status), percent(x.Progress), stamp(x.CreatedAt), stamp(x.UpdatedAt), x.User.Name,
			names[x.Instance], x.Instance, string(x.Engine), x.ErrorCode, x.Reason, x.Params)
	}
	return t, nil
}

func percent(p *errand.Progress) string {
	if p == nil {
		return ""
	}
	return strconv.Itoa(p.Percent) + " %"
}
