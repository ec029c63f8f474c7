package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/config"
)

// defaultProfile is the profile that a login makes where none is named.
const defaultProfile = "default"

func (a *app) loginCmd() *cobra.Command {
	var access string
	cmd := &cobra.Command{Use: "login", Short: "Keep a server's address and an access key in a profile",
		Long: `Ask for an access key, try it, and keep it with the server's address in a profile,
which is then the current one: commands use it where neither flags nor the
environment say otherwise. Profiles are in $XDG_CONFIG_HOME/errand/config.toml or
~/.config/errand/config.toml, which only you can read.

On a terminal the secret is asked for and not shown. Otherwise standard input holds
what "errand key add" or the first start of a server prints, or the access key and
the secret, each on a line; with --access-key the secret alone. A password cannot be
used: let somebody with role admin make you a key.`,
		Example: `  errand login --server https://errand.example.org:8443
  errand login --profile lab < data/credentials
  errand key add --user eve --project blue | ssh eve@example.org errand login`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load(cmd)
			if err != nil {
				return err
			}
			return a.login(cmd.Context(), c, access)
		}}
	config.AddFlags(cmd.Flags(), "profile", "server", "ca-file")
	cmd.Flags().StringVar(&access, "access-key", "", "the access `KEY`, which is no secret (default asked for)")
	a.outputFlag(cmd)
	a.completeProfile(cmd)
	return cmd
}

func (a *app) login(ctx context.Context, c *config.Config, access string) error {
	path, all, err := a.profiles()
	if err != nil {
		return err
	}
	name := c.Profile
	if name == "" {
		name = defaultProfile
	}
	if !config.ValidProfile(name) {
		return usage("a profile's name is 1 to 64 letters, digits, dots, dashes and underscores, unlike %.64q", name)
	}
	p := config.Profile{Server: c.Server, CAFile: c.CAFile, AccessKey: access}
	if old, ok := all.Profiles[name]; ok {
		if c.Source("server") == "default" {
			p.Server = old.Server
		}
		if c.Source("ca-file") == "default" {
			p.CAFile = old.CAFile
		}
	}
	if p.CAFile != "" {
		if p.CAFile, err = filepath.Abs(p.CAFile); err != nil { // it is read from elsewhere later
			return err
		}
	}
	if err := a.askKey(ctx, &p, c.Source("server") == "default"); err != nil {
		return err
	}
	c.Server, c.CAFile, c.AccessKey, c.SecretKey, c.SecurityToken = p.Server, p.CAFile, p.AccessKey, p.SecretKey, p.SecurityToken
	cl, err := newClient(c)
	if err != nil {
		return err
	}
	who, err := cl.Whoami(ctx)
	if err != nil {
		return fmt.Errorf("nothing was kept: %w", err)
	}
	all.Profiles[name], all.Current = p, name
	if err := saveProfiles(path, all); err != nil {
		return err
	}
	if a.structured() {
		return a.data(map[string]string{"profile": name, "server": p.Server, "user": who.User.Name, "role": string(who.Role), "project": who.Project, "file": path})
	}
	return a.done("logged in to %s as %s, %s in project %s\nprofile %s in %s is now the current one", p.Server, oneLine(who.User.Name), who.Role, who.Project, name, path)
}

// askKey completes p from standard input. takeServer lets what is read there also
// name the server.
func (a *app) askKey(ctx context.Context, p *config.Profile, takeServer bool) error {
	if f, ok := a.stdin.(*os.File); ok && isTerminal(f) {
		return a.askPerson(ctx, f, p)
	}
	text, err := io.ReadAll(io.LimitReader(a.stdin, maxPassword))
	if err != nil {
		return err
	}
	if bytes.Contains(text, []byte("HUAWEICLOUD_SDK_AK=")) {
		return readKeyLines(string(text), p, takeServer)
	}
	lines := strings.Fields(string(text))
	if p.AccessKey == "" && len(lines) > 0 {
		p.AccessKey, lines = lines[0], lines[1:]
	}
	if p.AccessKey == "" || len(lines) != 1 {
		return usage("standard input must hold the access key and the secret, each on a line, or what `errand key add` prints; with --access-key the secret alone")
	}
	p.SecretKey = lines[0]
	return nil
}

// readKeyLines reads a key as keyEnv and credentials write it.
func readKeyLines(text string, p *config.Profile, takeServer bool) error {
	for _, line := range strings.Split(text, "\n") {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		switch value = strings.Trim(value, `"'`); name {
		case "ERRAND_SERVER":
			if takeServer {
				p.Server = value
			}
		case "HUAWEICLOUD_SDK_AK":
			if p.AccessKey != "" && p.AccessKey != value {
				return usage("standard input is of access key %.64q, and --access-key names %.64q", value, p.AccessKey)
			}
			p.AccessKey = value
		case "HUAWEICLOUD_SDK_SK":
			p.SecretKey = value
		case "HUAWEICLOUD_SDK_SECURITY_TOKEN":
			p.SecurityToken = value
		}
	}
	if p.AccessKey == "" || p.SecretKey == "" {
		return usage("standard input has no HUAWEICLOUD_SDK_AK with its HUAWEICLOUD_SDK_SK")
	}
	return nil
}

// askPerson asks at a terminal. What is typed there cannot be interrupted by a
// context, so Ctrl-C leaves the reading behind and puts the terminal right.
func (a *app) askPerson(ctx context.Context, f *os.File, p *config.Profile) error {
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- a.ask(f, p) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		err = errors.Join(errors.New("interrupted; nothing was kept"), term.Restore(int(f.Fd()), before))
	}
	return err
}

func (a *app) ask(f *os.File, p *config.Profile) error {
	if p.AccessKey == "" {
		fmt.Fprintf(a.stderr, "access key for %s: ", p.Server)
		line, err := bufio.NewReaderSize(f, 16).ReadString('\n')
		if err != nil {
			return err
		}
		p.AccessKey = strings.TrimSpace(line)
	}
	fmt.Fprintf(a.stderr, "secret of %s (not shown): ", oneLine(p.AccessKey))
	secret, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	p.SecretKey = strings.TrimSpace(string(secret))
	if err == nil && (p.AccessKey == "" || p.SecretKey == "") {
		return usage("both the access key and its secret are needed")
	}
	return err
}

func (a *app) logoutCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "logout", Short: "Forget a profile with its access key",
		Long: `Forget the current profile, or the one that --profile names. The access key itself
stays valid until "errand key revoke" ends it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load(cmd)
			if err != nil {
				return err
			}
			path, all, name, err := a.profile(c.Profile)
			if err != nil {
				return err
			}
			key := all.Profiles[name].AccessKey
			delete(all.Profiles, name)
			if all.Current == name {
				all.Current = ""
			}
			if err := saveProfiles(path, all); err != nil {
				return err
			}
			return a.done("forgot profile %s; access key %s stays valid until it is revoked", name, key)
		}}
	config.AddFlags(cmd.Flags(), "profile")
	a.outputFlag(cmd)
	a.completeProfile(cmd)
	return cmd
}

// profiles reads the file of profiles.
func (a *app) profiles() (string, *config.Profiles, error) {
	path := config.ProfilesPath(a.getenv)
	if path == "" {
		return "", nil, usage("neither XDG_CONFIG_HOME nor HOME says where profiles are kept")
	}
	all, err := config.ReadProfiles(path)
	if err != nil {
		return "", nil, usageError{err}
	}
	return path, all, nil
}

// profile finds a profile by its name, or the current one.
func (a *app) profile(name string) (path string, all *config.Profiles, found string, err error) {
	if path, all, err = a.profiles(); err != nil {
		return "", nil, "", err
	}
	if name == "" {
		if name = all.Current; name == "" {
			return "", nil, "", errand.Errorf(errand.NotFound, "profile", "no profile is the current one: `errand login` makes one, `errand profile use` chooses one")
		}
	}
	if _, ok := all.Profiles[name]; !ok {
		return "", nil, "", profileError(&config.UnknownProfile{Name: name, File: path, Known: all.Names()})
	}
	return path, all, name, nil
}

// profileError is the error of settings that cannot be completed.
func profileError(err error) error {
	if e, ok := errors.AsType[*config.UnknownProfile](err); ok {
		return errand.Errorf(errand.NotFound, "profile", "%s%s", e.Error(), didYouMean(e.Name, e.Known))
	}
	return usageError{err}
}

// saveProfiles replaces the file of profiles, whole or not at all.
func saveProfiles(path string, all *config.Profiles) error {
	text, err := all.Text()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return replaceFile(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// replaceFile writes a file that only its owner can read, whole or not at all,
// in place of one that may be there.
func replaceFile(name string, fill func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	err = fill(f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(name))
}
