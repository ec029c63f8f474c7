package cli

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
)

func (a *app) userCmd() *cobra.Command {
	return group("user", "Add, list and change users", a.userAdd(), a.userList(), a.userSet())
}

func (a *app) userAdd() *cobra.Command {
	var n client.NewUser
	var roles []string
	var password bool
	cmd := a.clientCmd("add NAME", "Add a user", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) (err error) {
		n.Name = args[0]
		if n.Roles, err = readRoles(roles); err != nil {
			return err
		}
		if password {
			if n.Password, err = a.readPassword(); err != nil {
				return err
			}
		}
		u, err := s.AddUser(ctx, n)
		if err != nil {
			return err
		}
		return a.print(u, userTable(u))
	})
	cmd.Flags().BoolVar(&n.Admin, "admin", false, "let the user do everything in every project")
	a.userFlags(cmd, &roles, &password)
	return cmd
}

func (a *app) userList() *cobra.Command {
	cmd := a.clientCmd("list", "List all users", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		all, err := s.Users(ctx)
		if err != nil {
			return err
		}
		return a.print(append([]client.User{}, all...), userTable(all...))
	})
	a.tableFlag(cmd)
	return cmd
}

func (a *app) userSet() *cobra.Command {
	var roles []string
	var password, disable, enable bool
	cmd := a.clientCmd("set NAME", "Change a user", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) (err error) {
		var change client.UserChange
		if change.Roles, err = readRoles(roles); err != nil {
			return err
		}
		if password {
			p, err := a.readPassword()
			if err != nil {
				return err
			}
			change.Password = &p
		}
		if disable || enable {
			change.Disabled = &disable
		}
		if change.Roles == nil && change.Password == nil && change.Disabled == nil {
			return usage("nothing to change: give --role, --password-stdin, --disable or --enable")
		}
		u, err := s.SetUser(ctx, args[0], change)
		if err != nil {
			return s.suggestUser(ctx, err, args[0])
		}
		return a.print(u, userTable(u))
	})
	cmd.Flags().BoolVar(&disable, "disable", false, "refuse every credential of the user")
	cmd.Flags().BoolVar(&enable, "enable", false, "take the user's credentials again")
	cmd.MarkFlagsMutuallyExclusive("disable", "enable")
	cmd.ValidArgsFunction = a.completeFirst(a.userWords)
	a.userFlags(cmd, &roles, &password)
	return cmd
}

func (a *app) userFlags(cmd *cobra.Command, roles *[]string, password *bool) {
	cmd.Flags().StringArrayVar(roles, "role", nil, "role in a project, as `PROJECT=ROLE`: viewer, operator or worker, or nothing to take it away; may be given several times")
	cmd.Flags().BoolVar(password, "password-stdin", false, "read the password from standard input")
	a.tableFlag(cmd)
}

func readRoles(in []string) (map[string]errand.Role, error) {
	given, err := pairs("role", in)
	if err != nil || len(given) == 0 {
		return nil, err
	}
	roles := make(map[string]errand.Role, len(given))
	for project, role := range given {
		roles[project] = errand.Role(role)
	}
	return roles, nil
}

// maxPassword bounds what is read of a password: more is refused anyway.
const maxPassword = 64 << 10

// readPassword reads one line, or all of an input without one. A password in an
// argument could be read by everybody on the machine.
func (a *app) readPassword() (string, error) {
	b, err := io.ReadAll(io.LimitReader(a.stdin, maxPassword))
	if err != nil {
		return "", err
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if password == "" || strings.ContainsAny(password, "\r\n") {
		return "", usage("standard input must hold the password, in one line")
	}
	return password, nil
}

func userTable(list ...client.User) *table {
	t := newTable(column{"NAME", isKey}, column{"ID", isSpare}, column{"STATUS", isStatus}, column{"ROLES", isFree}, column{"CREATED", isSpare})
	for _, u := range list {
		status := "enabled"
		if u.Disabled {
			status = "disabled"
		}
		var roles []string
		if u.Admin {
			roles = append(roles, "admin")
		}
		for _, project := range slices.Sorted(maps.Keys(u.Roles)) {
			roles = append(roles, project+"="+string(u.Roles[project]))
		}
		t.add(u.Name, u.ID, status, strings.Join(roles, " "), stamp(u.CreatedAt))
	}
	return t
}

// suggestUser adds to an error about a user who is not there who may be meant.
func (s *session) suggestUser(ctx context.Context, err error, name string) error {
	return suggest(err, "user", name, func() ([]string, error) { return s.userNames(ctx) })
}

func (s *session) userNames(ctx context.Context) ([]string, error) {
	all, err := s.Users(ctx)
	var names []string
	for _, u := range all {
		names = append(names, u.Name)
	}
	return names, err
}
