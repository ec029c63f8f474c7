package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

func (a *app) operationCmd() *cobra.Command {
	return group("operation", "List and show what can be submitted", a.operationList(), a.operationShow())
}

func engineFlag(cmd *cobra.Command, engine *string) {
	cmd.Flags().StringVar(engine, "engine", "", "only those of instances that run this: kafka, rocketmq, rabbitmq or redis")
	completeEngine(cmd)
}

func (a *app) operationList() *cobra.Command {
	var engine string
	cmd := a.clientCmd("list", "List the operations that can be submitted", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		all, err := s.Operations(ctx, errand.Engine(engine))
		if err != nil {
			return err
		}
		out := []nativejson.Operation{}
		t := newTable(column{"ENGINE", 0}, column{"NAME", isKey}, column{"RUNNER", 0}, column{"LANE", isSpare}, column{"TITLE", isFree | isSpare})
		for _, o := range all {
			out = append(out, nativejson.OperationOf(o))
			t.add(string(o.Engine), o.Name, string(o.Runner), o.Lane, o.Title)
		}
		return a.print(out, t)
	})
	engineFlag(cmd, &engine)
	a.tableFlag(cmd)
	return cmd
}

func (a *app) operationShow() *cobra.Command {
	var engine string
	cmd := a.clientCmd("show NAME", "Show an operation with the schema of its parameters", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		all, err := s.Operations(ctx, errand.Engine(engine))
		if err != nil {
			return err
		}
		found := []nativejson.Operation{}
		for _, o := range all {
			if o.Name == args[0] {
				found = append(found, nativejson.OperationOf(o))
			}
		}
		if len(found) == 0 {
			var names []string
			for _, o := range all {
				names = append(names, o.Name)
			}
			return fmt.Errorf("%w (`errand operation list` prints those that there are)", notFound("operation", args[0], names))
		}
		if a.structured() {
			return a.data(found)
		}
		for i, o := range found {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			if err := a.operation(o); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Long = "Show an operation, once for each engine that has one of the name."
	engineFlag(cmd, &engine)
	cmd.ValidArgsFunction = a.completeFirst(a.operationWords)
	return cmd
}

func (a *app) operation(o nativejson.Operation) error {
	lane := o.Lane
	switch {
	case lane == "":
		lane = "none: it may run beside anything"
	case o.RejectBusy:
		lane += "; refused while it is taken"
	}
	timeout := "none"
	if o.Timeout > 0 {
		timeout = time.Duration(o.Timeout).String()
	}
	attempts := strconv.Itoa(o.MaxAttempts)
	if o.MaxAttempts > 1 {
		attempts += fmt.Sprintf(", with waits from %s to %s", time.Duration(o.Backoff.Base), time.Duration(o.Backoff.Max))
	}
	if err := a.facts([][2]string{
		{"name", o.Name}, {"engine", string(o.Engine)}, {"title", o.Title}, {"", o.TitleZH}, {"runner", string(o.Runner)}, {"lane", lane},
		{"timeout", timeout}, {"attempts", attempts}, {"worker lost", string(o.OnLost)}, {"secrets", strings.Join(o.Secrets, ", ")},
	}); err != nil {
		return err
	}
	if o.Schema == nil {
		return a.done("params       any JSON object")
	}
	var schema bytes.Buffer
	if err := json.Indent(&schema, o.Schema, "", "  "); err != nil {
		return err
	}
	return a.done("params\n%s", plain(schema.String()))
}
