package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
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
}

func (a *app) operationList() *cobra.Command {
	var engine string
	cmd := a.clientCmd("list", "List the operations that can be submitted", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		all, err := s.Operations(ctx, errand.Engine(engine))
		if err != nil {
			return err
		}
		out := []nativejson.Operation{}
		var rows [][]string
		for _, o := range all {
			out = append(out, nativejson.OperationOf(o))
			rows = append(rows, []string{string(o.Engine), o.Name, string(o.Runner), o.Lane, o.Title})
		}
		return a.print(out, []string{"ENGINE", "NAME", "RUNNER", "LANE", "TITLE"}, rows)
	})
	engineFlag(cmd, &engine)
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
			return errand.Errorf(errand.NotFound, "operation", "no operation %.64q is declared; `errand operation list` prints those that there are", args[0])
		}
		if a.output == "json" {
			return a.json(found)
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
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"name", o.Name}, {"engine", string(o.Engine)}, {"title", o.Title}, {"", o.TitleZH}, {"runner", string(o.Runner)}, {"lane", lane},
		{"timeout", timeout}, {"attempts", attempts}, {"worker lost", string(o.OnLost)}, {"secrets", strings.Join(o.Secrets, ", ")},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], cell(row[1]))
		}
	}
	if err := w.Flush(); err != nil {
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
