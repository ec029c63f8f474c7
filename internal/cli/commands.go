package cli

import "github.com/spf13/cobra"

// commandGroup is the commands that belong together in the help.
type commandGroup struct {
	id, title string
	commands  []*cobra.Command
}

// groups returns every subcommand.
func (a *app) groups() []commandGroup {
	return []commandGroup{
		{"tasks", "Tasks:", []*cobra.Command{
			a.overviewCmd(), a.submitCmd(), a.listCmd(), a.showCmd(), a.whyCmd(), a.logCmd(), a.watchCmd(), a.eventsCmd(),
			a.cancelCmd(), a.rescheduleCmd(), a.retryCmd(), a.deleteCmd(),
		}},
		{"things", "What tasks work on, and what runs them:", []*cobra.Command{
			a.instanceCmd(), a.operationCmd(), a.workerCmd(), a.importCmd(), a.exportCmd(), a.checkCmd(),
		}},
		{"access", "Access:", []*cobra.Command{
			a.loginCmd(), a.logoutCmd(), a.profileCmd(), a.projectCmd(), a.userCmd(), a.keyCmd(),
		}},
		{"server", "The server and its database:", []*cobra.Command{
			a.serveCmd(), a.demoCmd(), a.backupCmd(), a.purgeCmd(), a.copyCmd(), a.doctorCmd(), a.benchCmd(),
		}},
		{"program", "This program:", []*cobra.Command{
			a.configCmd(), a.completionCmd(), a.manCmd(), a.versionCmd(),
		}},
	}
}

// addCommands gives root every subcommand.
func (a *app) addCommands(root *cobra.Command) {
	for _, g := range a.groups() {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("program")
}
