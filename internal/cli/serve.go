package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/config"
)

func (a *app) serveCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Run the server",
		Long: `Run the server until SIGINT or SIGTERM, then finish the requests in flight.

The first start creates a project named like the region, the user admin and an
access key. They are written to the credentials file, and printed once if standard
output is a terminal: what is logged must not hold them.
SIGHUP takes up changed certificate files at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load(cmd)
			if err != nil {
				return err
			}
			n, err := openNode(cmd.Context(), c, newLog(c, a.stderr))
			if err != nil {
				return err
			}
			err = n.dir.Bootstrap(cmd.Context(), c.Region, func(f auth.First) error {
				return deliver(a.stdout, isTerminal(a.stdout), c, n.urls[0], f)
			})
			if err != nil {
				return errors.Join(err, n.close())
			}
			n.announce(a.stdout, c)
			return n.run(cmd.Context())
		}}
	config.AddFlags(cmd.Flags(), serverFlags()...)
	return cmd
}

// deliver writes the credentials of a first start to their file, and prints them
// where only a person reads them: what goes elsewhere may be kept as a log.
func deliver(w io.Writer, show bool, c *config.Config, url string, f auth.First) error {
	text := credentials(url, f)
	old, err := writeSecret(c.Credentials, text)
	if err != nil {
		return fmt.Errorf("credentials of the first start: %w", err)
	}
	fmt.Fprintf(w, "first start: created project %s, user %s and an access key\n", f.Project.Name, f.User.Name)
	if old != "" {
		fmt.Fprintf(w, "%s was there before and is now %s\n", c.Credentials, old)
	}
	if !show {
		fmt.Fprintf(w, "their credentials are in %s\n", c.Credentials)
		return nil
	}
	fmt.Fprintf(w, "their credentials are in %s and are not shown again:\n\n%s\n", c.Credentials, text)
	return nil
}

// credentials returns lines that both a shell and an env file understand.
func credentials(url string, f auth.First) string {
	return fmt.Sprintf(`ERRAND_SERVER=%s
HUAWEICLOUD_SDK_AK=%s
HUAWEICLOUD_SDK_SK=%s
HUAWEICLOUD_SDK_PROJECT_ID=%s
ERRAND_USER=%s
ERRAND_PASSWORD=%s
`, url, f.Key.Access, f.Key.Secret, f.Project.ID, f.User.Name, f.Password)
}

// writeSecret writes a file that only its owner can read, whole or not at all.
// One that is there already is kept under another name, which is returned.
func writeSecret(name, text string) (old string, err error) {
	if _, err := os.Lstat(name); err == nil {
		old = name + ".old"
		if err := os.Rename(name, old); err != nil {
			return "", err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return old, err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return old, errors.Join(err, os.Remove(f.Name()))
	}
	return old, syncDir(filepath.Dir(name))
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
