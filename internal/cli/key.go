package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/config"
)

func (a *app) keyCmd() *cobra.Command {
	return group("key", "Make, list and revoke access keys", a.keyAdd(), a.keyList(), a.keyRevoke())
}

func (a *app) keyAdd() *cobra.Command {
	var n client.NewKey
	cmd := a.clientCmd("add", "Make an access key", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		n.Project = s.conf.Project
		k, err := s.AddKey(ctx, n)
		if err != nil {
			return s.suggestUser(ctx, err, n.User)
		}
		if a.structured() {
			return a.data(k)
		}
		fmt.Fprint(a.stdout, keyEnv(s.conf, k))
		return nil
	})
	cmd.Long = "Make an access key and print it, once, in lines for a shell or an env file."
	f := cmd.Flags()
	f.StringVar(&n.User, "user", "", "`NAME` of the user whose key it is")
	f.DurationVar(&n.Lifetime, "temporary", 0, "make a temporary key that lives this `LONG`, such as 1h")
	f.StringVar(&n.Note, "note", "", "what the key is for")
	_ = cmd.MarkFlagRequired("user")
	a.completeUser(cmd)
	return cmd
}

// keyEnv writes a new key as the SDKs and this program read it.
func keyEnv(c *config.Config, k client.Credential) string {
	text := fmt.Sprintf("ERRAND_SERVER=%s\nHUAWEICLOUD_SDK_AK=%s\nHUAWEICLOUD_SDK_SK=%s\nHUAWEICLOUD_SDK_PROJECT_ID=%s\n", c.Server, k.Access, k.Secret, k.Project)
	if k.SecurityToken != "" {
		text += "HUAWEICLOUD_SDK_SECURITY_TOKEN=" + k.SecurityToken + "\n"
	}
	if !k.ExpiresAt.IsZero() {
		text = "# expires " + k.ExpiresAt.UTC().Format(time.RFC3339) + "\n" + text
	}
	return text
}

func (a *app) keyList() *cobra.Command {
	var user string
	cmd := a.clientCmd("list", "List the access keys of a user", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		keys, err := s.Keys(ctx, user)
		if err != nil {
			return s.suggestUser(ctx, err, user)
		}
		t := newTable(column{"ACCESS KEY", isKey}, column{"PROJECT", 0}, column{"CREATED", isSpare}, column{"EXPIRES", 0}, column{"NOTE", isFree})
		for _, k := range keys {
			t.add(k.Access, k.Project, stamp(k.CreatedAt), stamp(k.ExpiresAt), k.Note)
		}
		return a.print(append([]client.Key{}, keys...), t)
	})
	cmd.Flags().StringVar(&user, "user", "", "`NAME` of the user")
	_ = cmd.MarkFlagRequired("user")
	a.tableFlag(cmd)
	a.completeUser(cmd)
	return cmd
}

func (a *app) keyRevoke() *cobra.Command {
	return a.clientCmd("revoke ACCESS-KEY", "End an access key at once", cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		if err := s.RevokeKey(ctx, args[0]); err != nil {
			return err
		}
		return a.done("revoked access key %s", args[0])
	})
}
