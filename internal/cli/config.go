package cli

import (
	"github.com/spf13/cobra"

	"github.com/errandhq/errand/internal/config"
)

// serverFlags and clientFlags are the settings that servers and clients take as flags.
func serverFlags() []string {
	return []string{"db", "db-conns", "node", "listen", "host", "default-dialect", "region", "key-file", "credentials", "tls-cert", "tls-key",
		"dms-numeric-step-times", "dcs-legacy-codes",
		"operations", "lease", "cancel-grace", "runners", "work-dir", "keep-tasks", "keep-count", "keep-logs", "drain-timeout", "stop-timeout", "log-format", "log-level"}
}

func clientFlags() []string {
	return []string{"profile", "server", "ca-file", "credentials", "project"}
}

func (a *app) configCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Print every setting with its source",
		Long: "Print the effective value of every setting and where it comes from. Secrets are not shown.\n" +
			"The command takes the flags of all others, to show what they would do.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load(cmd)
			if err != nil {
				return err
			}
			if err := c.ReadClient(a.getenv); err != nil {
				return profileError(err)
			}
			t := newTable(column{"SETTING", isKey}, column{"VALUE", isFree}, column{"SOURCE", isFree})
			for _, s := range c.Settings() {
				t.add(s.Name, s.Value, s.Source)
			}
			return a.print(c.Settings(), t)
		}}
	config.AddFlags(cmd.Flags(), append(serverFlags(), "profile", "server", "ca-file", "project")...)
	a.tableFlag(cmd)
	a.completeProfile(cmd)
	return cmd
}
