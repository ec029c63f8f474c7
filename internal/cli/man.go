package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) manCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{Use: "man", Short: "Print the manual page, or write one for each command",
		Long: `Print errand's manual page, for "man -l -" or a file. With --dir, write a page for
each command into a directory, such as /usr/local/share/man/man1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // the same program writes the same pages
			head := &doc.GenManHeader{Title: "ERRAND", Section: "1", Source: "Errand " + Version(), Manual: "Errand"}
			if dir == "" {
				return doc.GenMan(root, head, a.stdout)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return usage("--dir: %w", err)
			}
			head.Title = "" // each page has its own
			if err := doc.GenManTree(root, head, dir); err != nil {
				return err
			}
			pages, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "wrote %s: %d pages\n", dir, len(pages))
			return err
		}}
	cmd.Flags().StringVar(&dir, "dir", "", "`DIR` to write a page for each command into, created if it is not there")
	return cmd
}
