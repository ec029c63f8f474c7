package cli

import "github.com/spf13/cobra"

// commands returns every subcommand.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.serveCmd(),
		a.demoCmd(),
		a.submitCmd(),
		a.listCmd(),
		a.showCmd(),
		a.whyCmd(),
		a.logCmd(),
		a.watchCmd(),
		a.eventsCmd(),
		a.cancelCmd(),
		a.rescheduleCmd(),
		a.retryCmd(),
		a.operationCmd(),
		a.checkCmd(),
		a.workerCmd(),
		a.importCmd(),
		a.instanceCmd(),
		a.projectCmd(),
		a.userCmd(),
		a.keyCmd(),
		a.backupCmd(),
		a.copyCmd(),
		a.doctorCmd(),
		a.purgeCmd(),
		a.benchCmd(),
		a.configCmd(),
		a.versionCmd(),
	}
}
