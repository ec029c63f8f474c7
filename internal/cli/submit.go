package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
)

// submitArgs is what `errand submit` is given.
type submitArgs struct {
	instance        string
	params, secrets []string
	paramsFile      string
	runAt, deadline string
	timeout         time.Duration
	key             string
	reject          bool
	waitFlags
}

func (a *app) submitCmd() *cobra.Command {
	var g submitArgs
	cmd := a.clientCmd("submit OPERATION", "Submit an operation on an instance", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		if g.instance, err = s.instanceID(ctx, project, g.instance); err != nil {
			return err
		}
		sub, err := a.submission(ctx, s, project, args[0], &g)
		if err != nil {
			return err
		}
		t, err := s.Submit(ctx, project, g.instance, sub)
		if err != nil {
			return repeatable(explainParams(s.suggestOperation(ctx, err, project, g.instance, args[0]), args[0]), sub.Key)
		}
		return a.submitted(ctx, s, t, g.waitFlags)
	})
	cmd.Long = `Submit an operation on an instance and print the task. The task is durable once it
is printed: the server runs it, whatever becomes of this command.

A parameter is given the type that the operation declares for it; NAME:=JSON gives
it as JSON. Secrets are never on the command line: NAME=- reads one from standard
input, NAME=@FILE from a file.

` + waitHelp
	f := cmd.Flags()
	f.StringVar(&g.instance, "instance", "", "`ID` or name of the instance")
	f.StringArrayVar(&g.params, "param", nil, "a parameter, as `NAME=VALUE`; may be given several times")
	f.StringVar(&g.paramsFile, "params", "", "`FILE` with all parameters as one JSON object; - is standard input")
	f.StringArrayVar(&g.secrets, "secret", nil, "a secret, as `NAME=-` or NAME=@FILE; may be given several times")
	f.StringVar(&g.runAt, "run-at", "", "do not start before this `TIME`: 2026-01-31T18:00:00Z, or 90m from now")
	f.StringVar(&g.deadline, "deadline", "", "fail if it has not started by this `TIME`")
	f.DurationVar(&g.timeout, "timeout", 0, "how long one attempt may take (default as the operation says)")
	f.StringVar(&g.key, "key", "", "idempotency `KEY`: the same key with the same submission is the same task (default a new one)")
	f.BoolVar(&g.reject, "reject", false, "refuse the task if the instance is busy, instead of waiting in line")
	g.add(cmd)
	_ = cmd.MarkFlagRequired("instance")
	cmd.MarkFlagsMutuallyExclusive("param", "params")
	a.tableFlag(cmd)
	a.completeInstance(cmd)
	cmd.ValidArgsFunction = a.completeFirst(a.operationWords)
	return cmd
}

const waitHelp = `With --wait or --watch the exit code says how the task ended: 0 succeeded, 6 failed,
7 cancelled. Ctrl-C ends the waiting only.`

// submission makes a submission of what the command was given.
func (a *app) submission(ctx context.Context, s *session, project, operation string, g *submitArgs) (client.Submission, error) {
	sub := client.Submission{Operation: operation, Timeout: g.timeout, Reject: g.reject, Key: g.key}
	now := time.Now()
	var err error
	if sub.RunAt, err = when("run-at", g.runAt, now, 1); err != nil {
		return sub, err
	}
	if sub.Deadline, err = when("deadline", g.deadline, now, 1); err != nil {
		return sub, err
	}
	if g.timeout < 0 {
		return sub, usage("--timeout %s must not be negative", g.timeout)
	}
	if sub.Key == "" {
		sub.Key = errand.NewID(now) // so that the client may repeat itself
	}
	in := &inputs{stdin: a.stdin}
	if sub.Secrets, err = in.secrets(g.secrets); err != nil {
		return sub, err
	}
	switch {
	case g.paramsFile != "":
		if sub.Params, err = in.read("params", g.paramsFile, errand.MaxParamsLen); err == nil && !json.Valid(sub.Params) {
			err = usage("--params %s is not JSON", g.paramsFile)
		}
	case len(g.params) > 0:
		sub.Params, err = typedParams(ctx, s, project, g.instance, operation, g.params)
	}
	return sub, err
}

// typedParams asks for the operation's schema to know what is a number.
func typedParams(ctx context.Context, s *session, project, instance, operation string, given []string) (json.RawMessage, error) {
	i, err := s.Instance(ctx, project, instance)
	if err != nil {
		return nil, err
	}
	all, err := s.Operations(ctx, i.Engine)
	if err != nil {
		return nil, err
	}
	return params(given, schemaOf(all, i.Engine, operation))
}

// explainParams adds to a refusal where to read what would be right.
func explainParams(err error, operation string) error {
	if e := errand.ErrorOf(err); e.Kind == errand.Invalid && e.Subject == "params" {
		return fmt.Errorf("%w (`errand operation show %s` prints what it takes)", err, operation)
	} else if e.Kind == errand.NotFound && e.Subject == "operation" {
		return fmt.Errorf("%w (`errand operation list` prints those that there are)", err)
	}
	return err
}

// suggestOperation adds to an error about an operation that is not there which may
// be meant.
func (s *session) suggestOperation(ctx context.Context, err error, project, instance, operation string) error {
	return suggest(err, "operation", operation, func() ([]string, error) {
		i, err := s.Instance(ctx, project, instance)
		if err != nil {
			return nil, err
		}
		return s.operationNames(ctx, i.Engine)
	})
}

// operationNames returns what can be submitted on an engine, or on any.
func (s *session) operationNames(ctx context.Context, engine errand.Engine) ([]string, error) {
	all, err := s.Operations(ctx, engine)
	var names []string
	for _, o := range all {
		names = append(names, o.Name)
	}
	return names, err
}

// repeatable adds to the error of a submission that was cut off how to repeat it
// without making a second task.
func repeatable(err error, key string) error {
	if interrupted(err) {
		return fmt.Errorf("%w; repeat the command with --key %s, which makes no second task", err, key)
	}
	return err
}

// waitFlags say whether a command waits for the task that it has made.
type waitFlags struct {
	wait, watch bool
}

func (w *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait for the end of the task")
	cmd.Flags().BoolVarP(&w.watch, "watch", "w", false, "wait for the end of the task and show how it goes on")
}

// submitted prints a task that was submitted, at its end if that is asked for.
func (a *app) submitted(ctx context.Context, s *session, t *errand.Task, w waitFlags) error {
	var err error
	switch {
	case w.watch:
		t, err = a.follow(ctx, s, t)
	case w.wait:
		t, err = waitFor(ctx, s, t, a.link(), nil)
	}
	if err != nil {
		return err
	}
	if err := a.task(t); err != nil {
		return err
	}
	switch wait := w.wait || w.watch; {
	case wait && t.Status == errand.Failed:
		return outcomeError{exitTaskFailed, fmt.Sprintf("task %s failed: %s", t.ID, oneLine(t.Reason))}
	case wait && t.Status == errand.Cancelled:
		return outcomeError{exitTaskCancelled, fmt.Sprintf("task %s was cancelled: %s", t.ID, oneLine(t.Reason))}
	}
	return nil
}

// outcomeError says how a task ended that was waited for.
type outcomeError struct {
	code int
	msg  string
}

func (e outcomeError) Error() string { return e.msg }

func (a *app) retryCmd() *cobra.Command {
	var secrets []string
	var key string
	var wait waitFlags
	cmd := a.clientCmd("retry TASK", "Run what a task did once more, as a new task", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		values, err := (&inputs{stdin: a.stdin}).secrets(secrets)
		if err != nil {
			return err
		}
		if key == "" {
			key = errand.NewID(time.Now())
		}
		id, err := s.taskID(ctx, project, args[0])
		if err != nil {
			return err
		}
		t, err := s.Retry(ctx, project, id, values, key)
		if err != nil {
			return repeatable(err, key)
		}
		return a.submitted(ctx, s, t, wait)
	})
	cmd.Long = `Submit what a task that has ended did once more, as a new task that names the old
one. Secrets are erased when a task ends, so they are given anew, as in submit.

` + waitHelp
	f := cmd.Flags()
	f.StringArrayVar(&secrets, "secret", nil, "a secret, as `NAME=-` or NAME=@FILE; may be given several times")
	f.StringVar(&key, "key", "", "idempotency `KEY` (default a new one)")
	wait.add(cmd)
	a.tableFlag(cmd)
	cmd.ValidArgsFunction = a.completeFirst(a.taskWords)
	return cmd
}

// codeOf returns the exit code of a task that was waited for.
func codeOf(err error) (int, bool) {
	e, ok := errors.AsType[outcomeError](err)
	return e.code, ok
}
