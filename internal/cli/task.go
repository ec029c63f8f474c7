package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/nativejson"
)

func (a *app) listCmd() *cobra.Command {
	var f errand.Filter
	var engine, from, to string
	cmd := a.clientCmd("list", "List the tasks of a project, newest first", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) (err error) {
		f.Engine = errand.Engine(engine)
		now := time.Now()
		if f.From, err = when("from", from, now, -1); err != nil {
			return err
		}
		if f.To, err = when("to", to, now, -1); err != nil {
			return err
		}
		if f.Project, err = s.project(ctx); err != nil {
			return err
		}
		page, err := s.Tasks(ctx, f)
		if err != nil {
			return err
		}
		return a.tasks(page, f)
	})
	fs := cmd.Flags()
	fs.StringVar(&f.Instance, "instance", "", "only those of the instance with this `ID`")
	fs.StringVar(&engine, "engine", "", "only those of instances that run this: kafka, rocketmq, rabbitmq or redis")
	fs.StringVar(&from, "from", "", "only those submitted at this `TIME` or later: 2026-01-31T18:00:00Z, 2026-01-31, or 24h before now")
	fs.StringVar(&to, "to", "", "only those submitted at this `TIME` or before")
	fs.IntVar(&f.Limit, "limit", 20, "how many at the most")
	fs.IntVar(&f.Offset, "offset", 0, "how many of the newest to pass over")
	return cmd
}

// tasks prints a page of a listing. An instance that all of them share is left out.
func (a *app) tasks(page errand.Page, f errand.Filter) error {
	if a.output == "json" {
		out := struct {
			Total int               `json:"total"`
			Tasks []nativejson.Task `json:"tasks"`
		}{page.Total, []nativejson.Task{}}
		for i := range page.Tasks {
			out.Tasks = append(out.Tasks, nativejson.TaskOf(&page.Tasks[i]))
		}
		return a.json(out)
	}
	headings := []string{"ID", "OPERATION", "STATUS", "DONE", "SUBMITTED", "USER"}
	if f.Instance == "" {
		headings = append(headings, "INSTANCE")
	}
	var rows [][]string
	for _, t := range page.Tasks {
		row := []string{t.ID, t.Operation, string(t.Status), percent(t.Progress), stamp(t.CreatedAt), t.User.Name}
		if f.Instance == "" {
			row = append(row, t.Instance)
		}
		rows = append(rows, row)
	}
	if err := a.table(headings, rows); err != nil {
		return err
	}
	if next := f.Offset + len(page.Tasks); len(page.Tasks) > 0 && next < page.Total {
		fmt.Fprintf(a.stdout, "%d of %d; the next ones: --offset %d\n", len(page.Tasks), page.Total, next)
	}
	return nil
}

func percent(p *errand.Progress) string {
	if p == nil {
		return ""
	}
	return strconv.Itoa(p.Percent) + " %"
}

// taskCmd makes a command about one task.
func (a *app) taskCmd(use, short string, do func(ctx context.Context, s *session, project, task string) error) *cobra.Command {
	return a.clientCmd(use, short, cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		return do(ctx, s, project, args[0])
	})
}

func (a *app) showCmd() *cobra.Command {
	return a.taskCmd("show TASK", "Show a task with its attempts and steps", func(ctx context.Context, s *session, project, id string) error {
		t, err := s.Task(ctx, project, id)
		if err != nil {
			return err
		}
		return a.task(t)
	})
}

func (a *app) whyCmd() *cobra.Command {
	return a.taskCmd("why TASK", "Say what a task waits for, or why it ended", func(ctx context.Context, s *session, project, id string) error {
		w, err := s.Why(ctx, project, id)
		if err != nil {
			return err
		}
		if a.output != "json" {
			return a.done("%s", plain(w.Text))
		}
		j := nativejson.Why{
			Code: w.Code, Text: w.Text, Until: nativejson.Moment{Time: w.Until}, Ahead: w.Ahead, Remaining: nativejson.Span(w.Remaining),
			Worker: w.Worker, LastSeen: nativejson.Moment{Time: w.LastSeen}, Step: w.Step, StepIndex: w.StepIndex, Steps: w.Steps,
		}
		if w.Behind != nil {
			t := nativejson.TaskOf(w.Behind)
			j.Behind = &t
		}
		return a.json(j)
	})
}

func (a *app) cancelCmd() *cobra.Command {
	var reason string
	cmd := a.taskCmd("cancel TASK", "Ask a task to stop", func(ctx context.Context, s *session, project, id string) error {
		t, err := s.Cancel(ctx, project, id, reason)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.json(nativejson.TaskOf(t))
		}
		if t.Status.Final() || t.Run == nil || t.Run.Cancel == nil {
			return a.done("task %s is %s", t.ID, t.Status)
		}
		return a.done("task %s is asked to stop; its worker has until %s, then it is stopped without it", t.ID, stamp(t.Run.Cancel.Force))
	})
	cmd.Long = `Ask a task to stop. One that waits is cancelled at once. The worker of a running one
is told, and has a grace time; after that the task ends without it.`
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the task later")
	return cmd
}

func (a *app) rescheduleCmd() *cobra.Command {
	var runAt string
	cmd := a.taskCmd("reschedule TASK", "Move the start of a task that waits", func(ctx context.Context, s *session, project, id string) error {
		at, err := when("run-at", runAt, time.Now(), 1)
		if err != nil {
			return err
		}
		if at.IsZero() {
			return usage("--run-at must say when to start the task")
		}
		t, err := s.Reschedule(ctx, project, id, at)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.json(nativejson.TaskOf(t))
		}
		return a.done("task %s is not to start before %s", t.ID, stamp(at))
	})
	cmd.Long = `Move the start of a task that has not started, to an earlier or a later time. It
keeps its deadline, which the new time must not be after.`
	cmd.Flags().StringVar(&runAt, "run-at", "", "do not start before this `TIME`: 2026-01-31T18:00:00Z, or 90m from now")
	_ = cmd.MarkFlagRequired("run-at")
	return cmd
}

func (a *app) eventsCmd() *cobra.Command {
	return a.taskCmd("events TASK", "List what happened to a task, oldest first", func(ctx context.Context, s *session, project, id string) error {
		out := []nativejson.Event{}
		var rows [][]string
		for after := int64(0); ; {
			list, err := s.Events(ctx, project, id, after, 0)
			if err != nil {
				return err
			}
			for _, e := range list {
				out, after = append(out, nativejson.EventOf(e)), e.Seq
				rows = append(rows, []string{stamp(e.At), string(e.Act), transition(e.From, e.To), e.Actor.Name, e.Remote, e.Reason})
			}
			if len(list) == 0 {
				return a.print(out, []string{"AT", "WHAT", "STATUS", "WHO", "FROM", "REASON"}, rows)
			}
		}
	})
}

func transition(from, to errand.Status) string {
	if from == to || from == "" {
		return string(to)
	}
	return string(from) + " > " + string(to)
}

func (a *app) watchCmd() *cobra.Command {
	var o client.WatchOptions
	cmd := a.clientCmd("watch", "Print what happens to tasks, as it happens", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		o.All = o.After == 0 && o.All
		for c, err := range s.Watch(ctx, project, o) {
			switch {
			case ctx.Err() != nil:
				return nil // Ctrl-C is how it ends
			case err != nil:
				return err
			}
			if err := a.change(c); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Long = `Print what happens to the tasks of a project, a line for each event, until Ctrl-C.
A connection that is cut off is made again, and nothing is missed or comes twice.
With -o json each line is one JSON object.`
	f := cmd.Flags()
	f.StringVar(&o.Instance, "instance", "", "only tasks of the instance with this `ID`")
	f.StringVar(&o.Task, "task", "", "only the task with this `ID`")
	f.Int64Var(&o.After, "after", 0, "begin after the event with this number, as seq in -o json (default with what is new)")
	f.BoolVar(&o.All, "all", false, "begin with the first event that there is")
	cmd.MarkFlagsMutuallyExclusive("after", "all")
	return cmd
}

// change prints one line.
func (a *app) change(c client.Change) error {
	if a.output == "json" {
		j := struct {
			Event    *nativejson.Event `json:"event,omitempty"` // none: only the progress has changed
			Instance string            `json:"instance"`
			Task     string            `json:"task"`
			Status   errand.Status     `json:"status,omitempty"`
			Percent  *int              `json:"percent,omitempty"`
		}{Instance: c.Instance, Task: c.Task, Status: c.Status}
		if c.Event != nil {
			e := nativejson.EventOf(*c.Event)
			j.Event = &e
		}
		if c.Progress != nil {
			j.Percent = &c.Progress.Percent
		}
		return a.jsonLine(j)
	}
	if c.Event == nil {
		_, err := fmt.Fprintf(a.stdout, "%s  %s  %s  %s\n", stamp(time.Now()), c.Task, c.Status, percent(c.Progress))
		return err
	}
	e := c.Event
	_, err := fmt.Fprintf(a.stdout, "%s  %s  %s  %s  by %s", stamp(e.At), c.Task, e.Act, transition(e.From, e.To), cell(e.Actor.Name))
	if err == nil && e.Reason != "" {
		_, err = fmt.Fprintf(a.stdout, "  %s", cell(e.Reason))
	}
	if err == nil {
		_, err = fmt.Fprintln(a.stdout)
	}
	return err
}
