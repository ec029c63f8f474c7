package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand/client"
)

func (a *app) projectCmd() *cobra.Command {
	return group("project", "Add and list projects", a.projectAdd(), a.projectList())
}

func (a *app) projectAdd() *cobra.Command {
	var id string
	cmd := a.clientCmd("add NAME", "Add a project", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		p, err := s.AddProject(ctx, args[0], id)
		if err != nil {
			return err
		}
		return a.print(p, projectHeadings(), projectRows(p))
	})
	cmd.Flags().StringVar(&id, "id", "", "`ID` of the project: 32 hex digits or a UUID (default a new one)")
	return cmd
}

func (a *app) projectList() *cobra.Command {
	return a.clientCmd("list", "List all projects", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		all, err := s.Projects(ctx)
		if err != nil {
			return err
		}
		return a.print(all, projectHeadings(), projectRows(all...))
	})
}

func projectHeadings() []string { return []string{"ID", "NAME", "CREATED"} }

func projectRows(list ...client.Project) [][]string {
	var rows [][]string
	for _, p := range list {
		rows = append(rows, []string{p.ID, p.Name, stamp(p.CreatedAt)})
	}
	return rows
}
