package cli

import (
	"github.com/spf13/cobra"

	"github.com/errandhq/errand/internal/config"
)

func (a *app) profileCmd() *cobra.Command {
	return group("profile", "List, choose and show profiles", a.profileList(), a.profileUse(), a.profileShow())
}

// profileJSON is a profile without its secret.
type profileJSON struct {
	Name      string `json:"name"`
	Current   bool   `json:"current"`
	Server    string `json:"server"`
	Project   string `json:"project,omitempty"`
	AccessKey string `json:"access_key,omitempty"`
	CAFile    string `json:"ca_file,omitempty"`
}

func profileOf(all *config.Profiles, name string) profileJSON {
	p := all.Profiles[name]
	return profileJSON{name, all.Current == name, p.Server, p.Project, p.AccessKey, p.CAFile}
}

func (a *app) profileList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the profiles", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, all, err := a.profiles()
			if err != nil {
				return err
			}
			out := []profileJSON{}
			t := newTable(column{"NAME", isKey}, column{"CURRENT", 0}, column{"SERVER", isFree}, column{"ACCESS KEY", isSpare}, column{"PROJECT", isWide}, column{"CA FILE", isWide})
			for _, name := range all.Names() {
				p := profileOf(all, name)
				out = append(out, p)
				t.add(name, map[bool]string{true: "yes"}[p.Current], p.Server, p.AccessKey, p.Project, p.CAFile)
			}
			return a.print(out, t)
		}}
	a.tableFlag(cmd)
	return cmd
}

func (a *app) profileUse() *cobra.Command {
	cmd := &cobra.Command{Use: "use NAME", Short: "Make a profile the current one", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, all, name, err := a.profile(args[0])
			if err != nil {
				return err
			}
			all.Current = name
			if err := saveProfiles(path, all); err != nil {
				return err
			}
			return a.done("profile %s is now the current one: %s", name, oneLine(all.Profiles[name].Server))
		}}
	cmd.ValidArgsFunction = a.profileWords
	a.outputFlag(cmd)
	return cmd
}

func (a *app) profileShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show [NAME]", Short: "Show a profile, or the current one, without its secret", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, all, name, err := a.profile(append(args, "")[0])
			if err != nil {
				return err
			}
			p := profileOf(all, name)
			if a.structured() {
				return a.data(p)
			}
			return a.facts([][2]string{{"name", p.Name}, {"current", map[bool]string{true: "yes", false: "no"}[p.Current]}, {"server", p.Server},
				{"project", p.Project}, {"access key", p.AccessKey}, {"ca file", p.CAFile}, {"file", path}})
		}}
	cmd.ValidArgsFunction = a.profileWords
	a.outputFlag(cmd)
	return cmd
}

// profileWords completes the names of profiles.
func (a *app) profileWords(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	_, all, err := a.profiles()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return all.Names(), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeProfile(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("profile", a.profileWords)
}
