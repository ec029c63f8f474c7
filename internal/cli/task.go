package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/nativejson"
)

// taskCmd makes a command about one task.
func (a *app) taskCmd(use, short string, do func(ctx context.Context, s *session, project, task string) error) *cobra.Command {
	cmd := a.clientCmd(use, short, cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		id, err := s.taskID(ctx, project, args[0])
		if err != nil {
			return err
		}
		return do(ctx, s, project, id)
	})
	cmd.ValidArgsFunction = a.completeFirst(a.taskWords)
	return cmd
}

func (a *app) showCmd() *cobra.Command {
	var watch bool
	cmd := a.taskCmd("show TASK", "Show a task with its attempts and steps", func(ctx context.Context, s *session, project, id string) error {
		t, err := s.Task(ctx, project, id)
		if err == nil && watch {
			t, err = a.follow(ctx, s, t)
			if ctx.Err() != nil {
				return nil // Ctrl-C is how it ends
			}
		}
		if err != nil {
			return err
		}
		return a.task(t)
	})
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show how it goes on until it has ended, and then the task")
	a.tableFlag(cmd)
	return cmd
}

func (a *app) whyCmd() *cobra.Command {
	return a.taskCmd("why TASK", "Say what a task waits for, or why it ended", func(ctx context.Context, s *session, project, id string) error {
		w, err := s.Why(ctx, project, id)
		if err != nil {
			return err
		}
		if !a.structured() {
			return a.done("%s", cut(oneLine(w.Text), maxLine))
		}
		return a.data(whyOf(w))
	})
}

func whyOf(w client.Why) nativejson.Why {
	j := nativejson.Why{
		Code: w.Code, Text: w.Text, Until: nativejson.Moment{Time: w.Until}, Ahead: w.Ahead, Remaining: nativejson.Span(w.Remaining),
		Worker: w.Worker, LastSeen: nativejson.Moment{Time: w.LastSeen}, Step: w.Step, StepIndex: w.StepIndex, Steps: w.Steps,
	}
	if w.Behind != nil {
		t := nativejson.TaskOf(w.Behind)
		j.Behind = &t
	}
	return j
}

func (a *app) deleteCmd() *cobra.Command {
	cmd := a.taskCmd("delete TASK", "Delete the record of a task that has ended", func(ctx context.Context, s *session, project, id string) error {
		if err := s.DeleteTask(ctx, project, id); err != nil {
			return err
		}
		return a.done("deleted the record of task %s", id)
	})
	cmd.Long = `Delete the record of a task that has ended, with its log. What happened to it stays in
the history of events (errand events). Nothing else brings it back but a backup.`
	return cmd
}

func (a *app) cancelCmd() *cobra.Command {
	var reason string
	cmd := a.taskCmd("cancel TASK", "Ask a task to stop", func(ctx context.Context, s *session, project, id string) error {
		t, err := s.Cancel(ctx, project, id, reason)
		if err != nil {
			return err
		}
		if a.output != formText {
			return a.task(t)
		}
		if t.Status.Final() || t.Run == nil || t.Run.Cancel == nil {
			return a.done("task %s is %s", t.ID, t.Status)
		}
		return a.done("task %s is asked to stop; its worker has until %s, then it is stopped without it", t.ID, stamp(t.Run.Cancel.Force))
	})
	cmd.Long = `Ask a task to stop. One that waits is cancelled at once. The worker of a running one
is told, and has a grace time; after that the task ends without it.`
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the task later")
	a.tableFlag(cmd)
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
		if a.output != formText {
			return a.task(t)
		}
		return a.done("task %s is not to start before %s", t.ID, stamp(at))
	})
	cmd.Long = `Move the start of a task that has not started, to an earlier or a later time. It
keeps its deadline, which the new time must not be after.`
	cmd.Flags().StringVar(&runAt, "run-at", "", "do not start before this `TIME`: 2026-01-31T18:00:00Z, or 90m from now")
	_ = cmd.MarkFlagRequired("run-at")
	a.tableFlag(cmd)
	return cmd
}

func (a *app) eventsCmd() *cobra.Command {
	cmd := a.taskCmd("events TASK", "List what happened to a task, oldest first", func(ctx context.Context, s *session, project, id string) error {
		out := []nativejson.Event{}
		t := newTable(column{"SEQ", isKey | isWide}, column{"AT", 0}, column{"WHAT", 0}, column{"STATUS", 0}, column{"WHO", isFree}, column{"FROM", isSpare}, column{"REASON", isFree}, column{"REQUEST", isWide})
		for after := int64(0); ; {
			list, err := s.Events(ctx, project, id, after, 0)
			if err != nil {
				return err
			}
			for _, e := range list {
				out, after = append(out, nativejson.EventOf(e)), e.Seq
				t.add(strconv.FormatInt(e.Seq, 10), stamp(e.At), string(e.Act), transition(e.From, e.To), e.Actor.Name, e.Remote, e.Reason, e.Request)
			}
			if len(list) == 0 {
				return a.print(out, t)
			}
		}
	})
	a.tableFlag(cmd)
	return cmd
}

func transition(from, to errand.Status) string {
	if from == to || from == "" {
		return string(to)
	}
	return string(from) + " > " + string(to)
}
