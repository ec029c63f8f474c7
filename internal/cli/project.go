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
		return a.print(p, projectTable(p))
	})
	cmd.Flags().StringVar(&id, "id", "", "`ID` of the project: 32 hex digits or a UUID (default a new one)")
	a.tableFlag(cmd)
	return cmd
}

func (a *app) projectList() *cobra.Command {
	cmd := a.clientCmd("list", "List all projects", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		all, err := s.Projects(ctx)
		if err != nil {
			return err
		}
		return a.print(append([]client.Project{}, all...), projectTable(all...))
	})
	a.tableFlag(cmd)
	return cmd
}

func projectTable(list ...client.Project) *table {
	t := newTable(column{"ID", isKey}, column{"NAME", isFree}, column{"CREATED", isSpare})
	for _, p := range list {
		t.add(p.ID, p.Name, stamp(p.CreatedAt))
	}
	return t
}
