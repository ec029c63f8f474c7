package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/config"
)

// session is a client of the server that the settings name.
type session struct {
	*client.Client
	conf *config.Config
}

// clientCmd makes a command that talks to a server.
func (a *app) clientCmd(use, short string, args cobra.PositionalArgs, do func(ctx context.Context, s *session, args []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd)
			if err != nil {
				return err
			}
			return s.explain(do(cmd.Context(), s, args))
		}}
	config.AddFlags(cmd.Flags(), clientFlags()...)
	a.completeProfile(cmd)
	a.outputFlag(cmd)
	return cmd
}

func (a *app) connect(cmd *cobra.Command) (*session, error) {
	c, err := a.load(cmd)
	if err != nil {
		return nil, err
	}
	if err := c.ReadClient(a.getenv); err != nil {
		return nil, profileError(err)
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		return nil, usage("no access key: neither HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK in the environment nor the file %s has one; "+
			"`errand serve` writes such a file at its first start, name it with --credentials or ERRAND_CREDENTIALS, or keep the key with `errand login`", c.Credentials)
	}
	cl, err := newClient(c)
	if err != nil {
		return nil, err
	}
	return &session{cl, c}, nil
}

// newClient returns a client of the server that the settings name.
func newClient(c *config.Config) (*client.Client, error) {
	o := client.Options{Server: c.Server, Access: c.AccessKey, Secret: c.SecretKey, SecurityToken: c.SecurityToken, UserAgent: "errand/" + Version()}
	if c.CAFile != "" {
		var err error
		if o.HTTP, err = trusting(c.CAFile); err != nil {
			return nil, err
		}
	}
	return client.New(o)
}

// trusting returns a client that trusts the authorities in a file, and no others.
func trusting(file string) (*http.Client, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, usage("ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, usage("ca-file %s holds no certificate in PEM", file)
	}
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
	}}, nil
}

// explain adds to an error what the person at the keyboard can do about it.
func (s *session) explain(err error) error {
	if err == nil {
		return nil
	}
	switch e := errand.ErrorOf(err); {
	case e.Kind == errand.Unavailable && e.Subject == "server":
		return fmt.Errorf("%w (the address is from %s; set it with ERRAND_SERVER or --server)", err, s.conf.Source("server"))
	case e.Kind == errand.Unauthenticated:
		return fmt.Errorf("%w (access key %s is from %s; it may have been revoked or have expired)", err, s.conf.AccessKey, s.conf.Source("access-key"))
	}
	return err
}

// interrupted reports whether Ctrl-C came before an answer.
func interrupted(err error) bool { return errors.Is(err, context.Canceled) }

// project returns the id of the project to work in: the one that the settings
// give by id or name, or else the one that the access key is for.
func (s *session) project(ctx context.Context) (string, error) {
	switch {
	case s.conf.Project == "":
		p, err := s.Whoami(ctx)
		return p.Project, err
	case errand.ValidProjectID(s.conf.Project):
		return s.conf.Project, nil
	}
	all, err := s.Projects(ctx)
	if err != nil {
		return "", fmt.Errorf("project %.64q is not an id, and its name cannot be looked up: %w", s.conf.Project, err)
	}
	var names []string
	for _, p := range all {
		if p.Name == s.conf.Project {
			return p.ID, nil
		}
		names = append(names, p.Name)
	}
	return "", notFound("project", s.conf.Project, names)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// pairs reads arguments of the form NAME=VALUE.
func pairs(flag string, in []string) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for _, s := range in {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, usage("--%s %.64q must have the form NAME=VALUE", flag, s)
		}
		if _, twice := out[name]; twice {
			return nil, usage("--%s gives %.64q twice", flag, name)
		}
		out[name] = value
	}
	return out, nil
}
