package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Profile is how one server is reached, under a name.
type Profile struct {
	Server        string `toml:"server"`
	CAFile        string `toml:"ca_file,omitempty"`
	Project       string `toml:"project,omitempty"`
	AccessKey     string `toml:"access_key,omitempty"`
	SecretKey     string `toml:"secret_key,omitempty"`
	SecurityToken string `toml:"security_token,omitempty"`
}

// Profiles is the file of a person's profiles.
type Profiles struct {
	// Current is the profile of commands that name none, or "".
	Current  string             `toml:"current,omitempty"`
	Profiles map[string]Profile `toml:"profiles,omitempty"`
}

// UnknownProfile is the error about a profile that is not in the file.
type UnknownProfile struct {
	Name, File string
	Known      []string
}

func (e *UnknownProfile) Error() string {
	return fmt.Sprintf("no profile %.64q in %s", e.Name, e.File)
}

// ProfilesPath returns where a person's profiles are, or "" where the environment
// does not say.
func ProfilesPath(getenv func(string) string) string {
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "errand", "config.toml")
}

// ReadProfiles reads the file at path. One that is not there holds nothing; one
// that others may read is refused, for there are secrets in it.
func ReadProfiles(path string) (*Profiles, error) {
	p := &Profiles{Profiles: map[string]Profile{}}
	if path == "" {
		return p, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return p, nil
	case err != nil:
		return nil, fmt.Errorf("profiles: %w", err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s holds secrets and others may read it (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, inFile(path, err)
	}
	if p.Profiles == nil {
		p.Profiles = map[string]Profile{}
	}
	return p, nil
}

// Text returns the profiles as the file holds them.
func (p *Profiles) Text() ([]byte, error) { return toml.Marshal(p) }

// Names returns the names of all profiles in alphabetical order.
func (p *Profiles) Names() []string { return slices.Sorted(maps.Keys(p.Profiles)) }

// ValidProfile reports whether name can be that of a profile: it has to be typed.
func ValidProfile(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name != "" && len(name) <= 64 && strings.Trim(name, letters) == ""
}

// ReadClient fills in the client settings that neither flags nor the environment
// give: from the profile that is named, or that is current, and else from the
// credentials file. A credentials file that is named goes over the current profile,
// and a profile that a flag names goes over the environment.
func (c *Config) ReadClient(getenv func(string) string) error {
	profile, credentials := c.Source("profile"), c.Source("credentials")
	byFlag := strings.HasPrefix(profile, "flag")
	switch {
	case byFlag && strings.HasPrefix(credentials, "flag"):
		return errors.New("give either --profile or --credentials, not both")
	case credentials != "default" && !byFlag:
		if err := c.ReadCredentials(); err != nil || profile == "default" {
			return err
		}
	case profile == "default" && c.AccessKey != "" && c.SecretKey != "" && c.Source("server") != "default":
		return nil // all is known
	}
	used, err := c.readProfile(ProfilesPath(getenv), byFlag)
	if err != nil || used {
		return err
	}
	return c.ReadCredentials()
}

// readProfile takes what a profile says, and reports whether there was one. over
// lets it go over the environment.
func (c *Config) readProfile(path string, over bool) (bool, error) {
	all, err := ReadProfiles(path)
	if err != nil {
		return false, err
	}
	if c.Profile == "" {
		if c.Profile = all.Current; c.Profile == "" {
			return false, nil
		}
		c.sources["profile"] = "current in " + path
	}
	p, ok := all.Profiles[c.Profile]
	if !ok {
		return false, &UnknownProfile{Name: c.Profile, File: path, Known: all.Names()}
	}
	source := fmt.Sprintf("profile %s in %s", c.Profile, path)
	take := func(name string, to *string, value string) {
		if value != "" && !strings.HasPrefix(c.Source(name), "flag") && (over || c.Source(name) == "default") {
			*to, c.sources[name] = value, source
		}
	}
	take("server", &c.Server, p.Server)
	take("ca-file", &c.CAFile, p.CAFile)
	// A key pair is taken as a whole, with the project that it opens.
	if over || c.AccessKey == "" && c.SecretKey == "" {
		if over {
			c.SecurityToken, c.Project = "", projectOfFlag(c)
		}
		take("access-key", &c.AccessKey, p.AccessKey)
		take("secret-key", &c.SecretKey, p.SecretKey)
		take("security-token", &c.SecurityToken, p.SecurityToken)
		take("project", &c.Project, p.Project)
	}
	return true, c.complete()
}

// projectOfFlag is the project that a flag names: one of the environment is that
// of another key.
func projectOfFlag(c *Config) string {
	if strings.HasPrefix(c.Source("project"), "flag") {
		return c.Project
	}
	delete(c.sources, "project")
	return ""
}
