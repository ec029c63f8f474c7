package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/nativejson"
)

func (a *app) watchCmd() *cobra.Command {
	var o client.WatchOptions
	cmd := a.clientCmd("watch", "Print what happens to tasks, as it happens", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		if o.Instance, err = s.instanceID(ctx, project, o.Instance); err != nil {
			return err
		}
		if o.Task, err = s.taskID(ctx, project, o.Task); err != nil {
			return err
		}
		o.All = o.After == 0 && o.All
		l := a.link()
		o.Broken = func(err error) {
			if err != nil {
				_ = l.broken(err)
			} else {
				l.heard()
			}
		}
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
	f.StringVar(&o.Instance, "instance", "", "only tasks of the instance with this `ID` or name")
	a.completeInstance(cmd)
	f.StringVar(&o.Task, "task", "", "only the task with this `ID`")
	f.Int64Var(&o.After, "after", 0, "begin after the event with this number, as seq in -o json (default with what is new)")
	f.BoolVar(&o.All, "all", false, "begin with the first event that there is")
	cmd.MarkFlagsMutuallyExclusive("after", "all")
	return cmd
}

// change prints one line.
func (a *app) change(c client.Change) error {
	if a.structured() {
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
		return a.dataLine(j)
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
