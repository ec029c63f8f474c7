package cli

import "github.com/spf13/cobra"

// commands returns every subcommand.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.serveCmd(),
		a.configCmd(),
		a.versionCmd(),
	}
}
