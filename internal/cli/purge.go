package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/config"
	"github.com/errandhq/errand/internal/tasks"
)

// newRetention returns what lets the past of a store go, as the settings say.
func newRetention(c *config.Config, store store, now func() time.Time, log *slog.Logger) *tasks.Retention {
	o := tasks.RetentionOptions{Rule: ruleFor(c, ""), Log: log}
	for id := range c.Retention {
		if o.Rules == nil {
			o.Rules = map[string]tasks.Rule{}
		}
		o.Rules[id] = ruleFor(c, id)
	}
	ids := func(ctx context.Context) ([]string, error) {
		all, err := store.Projects(ctx)
		var ids []string
		for _, p := range all {
			ids = append(ids, p.ID)
		}
		return ids, err
	}
	return tasks.NewRetention(store, ids, now, o)
}

// purgeCounters adds to a server's metrics what it has removed since its start.
func purgeCounters(to prometheus.Registerer, r *tasks.Retention) {
	for _, c := range []struct {
		name, help string
		value      func(tasks.Purged) int64
	}{
		{"errand_purged_tasks_total", "Finished tasks that retention or an admin removed.", func(p tasks.Purged) int64 { return p.Tasks }},
		{"errand_purged_logs_total", "Logs that were removed, with their tasks or before them.", func(p tasks.Purged) int64 { return p.Logs }},
		{"errand_purged_log_bytes_total", "Bytes of those logs.", func(p tasks.Purged) int64 { return p.LogBytes }},
		{"errand_purged_events_total", "Events that were removed.", func(p tasks.Purged) int64 { return p.Events }},
	} {
		to.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help}, func() float64 { return float64(c.value(r.Total())) }))
	}
}

func ruleFor(c *config.Config, project string) tasks.Rule {
	age, count, logs := c.For(project)
	return tasks.Rule{Age: age, Count: count, LogAge: logs}
}

func (a *app) purgeCmd() *cobra.Command {
	var p client.Purge
	var all, yes bool
	var tasksAge, logsAge string
	var cmd *cobra.Command
	cmd = a.clientCmd("purge", "Remove finished tasks, or their logs", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) (err error) {
		given := cmd.Flags().Changed
		if given("older-than") {
			if p.OlderThan, err = age("older-than", tasksAge); err != nil {
				return err
			}
		}
		if given("logs-older-than") {
			if p.LogsOlderThan, err = age("logs-older-than", logsAge); err != nil {
				return err
			}
		}
		switch {
		case given("keep") && p.Keep < 1:
			return usage("--keep %d: it must be 1 or more", p.Keep)
		case all && given("project"):
			return usage("give either --project or --all-projects, not both")
		}
		if !all {
			if p.Project, err = s.project(ctx); err != nil {
				return err
			}
		}
		if yes && !p.DryRun {
			return a.purge(ctx, s, p)
		}
		asked := p.DryRun
		p.DryRun = true
		if asked {
			return a.purge(ctx, s, p)
		}
		sum, err := a.purgeAll(ctx, s, p)
		if err != nil {
			return err
		}
		return usage("%s; nothing was removed: give --yes to remove this, or --dry-run to count only", counted(sum))
	})
	f := cmd.Flags()
	f.StringVar(&tasksAge, "older-than", "", "finished tasks that were created longer ago, such as `90d`")
	f.IntVar(&p.Keep, "keep", 0, "finished tasks beyond the newest `N` of the project")
	f.StringVar(&logsAge, "logs-older-than", "", "logs of finished tasks that were created longer ago, such as `30d`")
	f.BoolVar(&all, "all-projects", false, "of every project, and not only of one")
	f.BoolVar(&p.DryRun, "dry-run", false, "remove nothing, and say what would be removed")
	f.BoolVar(&yes, "yes", false, "remove it; nothing brings it back but a backup")
	cmd.Long = `Remove finished tasks with their logs and events, or their logs alone. Each of
--older-than, --keep and --logs-older-than selects by itself; without any of them,
what the settings keep-tasks, keep-count and keep-logs of the server say goes. An
age is at least 1h; m are minutes, and a month is written 30d.
Tasks that have not ended stay, whatever their age.

Without --yes, it says what would go and removes nothing. The work is done in
small batches while the server goes on; it may be interrupted and repeated.`
	return cmd
}

// age reads the age of a flag. One that is empty, such as a variable that is not
// set, is refused: what the settings say was not asked for.
func age(flag, text string) (time.Duration, error) {
	var a config.Age
	if err := a.UnmarshalText([]byte(text)); err != nil {
		return 0, usage("--%s: %w", flag, err)
	}
	if time.Duration(a) < tasks.MinAge {
		return 0, usage("--%s %s would be nearly everything: m are minutes, and an age is at least 1h; a month is written 30d", flag, text)
	}
	return time.Duration(a), nil
}

// purge removes, or counts, and prints what.
func (a *app) purge(ctx context.Context, s *session, p client.Purge) error {
	sum, err := a.purgeAll(ctx, s, p)
	if err != nil {
		return err
	}
	if a.structured() {
		return a.data(sum)
	}
	return a.done("%s", counted(sum))
}

// purgeAll calls until there is no more, and adds up. What was removed before an
// error is told.
func (a *app) purgeAll(ctx context.Context, s *session, p client.Purge) (client.Purged, error) {
	sum := client.Purged{DryRun: p.DryRun}
	for {
		done, err := s.Purge(ctx, p)
		if err != nil {
			if sum.Tasks+sum.Logs+sum.Events > 0 && !p.DryRun {
				err = fmt.Errorf("%s; then: %w", counted(sum), err)
			}
			return sum, err
		}
		sum.Tasks += done.Tasks
		sum.Logs += done.Logs
		sum.LogBytes += done.LogBytes
		sum.Events += done.Events
		if !done.More {
			return sum, nil
		}
		p.After = done.Next
		fmt.Fprintf(a.stderr, "errand: %s so far\n", counted(sum))
	}
}

func counted(p client.Purged) string {
	verb := "removed"
	if p.DryRun {
		verb = "would remove"
	}
	return fmt.Sprintf("%s %d tasks, %d logs of %d bytes, %d events", verb, p.Tasks, p.Logs, p.LogBytes, p.Events)
}
