package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// maxFile bounds the settings and credentials files.
const maxFile = 1 << 20

// AddFlags registers flags for the named settings, and --config for the file.
func AddFlags(fs *pflag.FlagSet, names ...string) {
	if fs.Lookup("config") == nil {
		fs.String("config", "", "settings `FILE` in TOML (or ERRAND_CONFIG)")
	}
	c := defaults()
	for _, s := range settings() {
		if slices.Contains(names, s.name) {
			f := fs.VarPF(&texts{kind: s.value, first: strings.Join(s.texts(c), ",")}, s.name, "", s.usage+" (or "+s.env+")")
			if _, isBool := s.member(c).(*bool); isBool {
				f.NoOptDefVal = "true"
			}
		}
	}
}

// texts is a flag that collects the texts it is given.
type texts struct {
	kind  string
	first string // the default, for the help text
	given []string
}

func (t *texts) String() string     { return t.first }
func (t *texts) Type() string       { return t.kind }
func (t *texts) Set(s string) error { t.given = append(t.given, s); return nil }

// Load returns the effective settings: the defaults, under the file that
// --config or ERRAND_CONFIG names, under the environment that getenv reads,
// under the flags of fs. Empty variables count as absent. Errors name the place
// and say what would be right.
func Load(fs *pflag.FlagSet, getenv func(string) string) (*Config, error) {
	c := defaults()
	path := getenv("ERRAND_CONFIG")
	if f := fs.Lookup("config"); f != nil && f.Changed {
		path = f.Value.String()
	}
	if path != "" {
		if err := c.readFile(path); err != nil {
			return nil, err
		}
	}
	for _, s := range settings() {
		v := getenv(s.env)
		if v == "" {
			continue
		}
		in := []string{v}
		if _, isString := s.member(c).(*string); !isString {
			in = strings.Split(v, ",")
		}
		if err := c.set(s, in, "environment "+s.env); err != nil {
			return nil, err
		}
	}
	for _, s := range settings() {
		f := fs.Lookup(s.name)
		if f == nil || !f.Changed {
			continue
		}
		if t, ok := f.Value.(*texts); ok {
			if err := c.set(s, t.given, "flag --"+s.name); err != nil {
				return nil, err
			}
		}
	}
	return c, c.complete()
}

func (c *Config) set(s setting, texts []string, source string) error {
	if err := s.set(c, texts); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	c.sources[s.name] = source
	return nil
}

// readFile takes settings from a TOML file. An unknown key is an error: a
// misspelt setting that is silently ignored is worse than none.
func (c *Config) readFile(path string) error {
	data, err := readBounded(path)
	if err != nil {
		return fmt.Errorf("settings file: %w", err)
	}
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	c.Listen, c.Hosts = nil, nil // a list in the file replaces the default
	if err := d.Decode(c); err != nil {
		return inFile(path, err)
	}
	var present map[string]any
	if err := toml.Unmarshal(data, &present); err != nil {
		return inFile(path, err)
	}
	for _, s := range settings() {
		if _, ok := present[s.key()]; ok {
			c.sources[s.name] = "file " + path
		}
	}
	if _, ok := present["retention"]; ok {
		c.sources["retention"] = "file " + path
	}
	if _, ok := present["listen"]; !ok {
		c.Listen = defaults().Listen
	}
	return nil
}

// inFile gives an error of the TOML reader its place.
func inFile(path string, err error) error {
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(missing.Errors) > 0 {
		e := missing.Errors[0]
		row, _ := e.Position()
		return fmt.Errorf("%s:%d: there is no setting %q; `errand config` lists them", path, row, strings.Join(e.Key(), "."))
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := e.Position()
		return fmt.Errorf("%s:%d:%d: %s", path, row, column, strings.TrimPrefix(e.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, err
}

// ReadCredentials fills in the client settings that are still at their default
// from the credentials file; where a flag names the file, its lines also go over
// the environment. A file that nobody named need not exist.
func (c *Config) ReadCredentials() error {
	source := c.Source("credentials")
	data, err := readBounded(c.Credentials)
	if err != nil {
		if source == "default" && errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("credentials: %w", err)
	}
	over := strings.HasPrefix(source, "flag")
	// A key pair is taken as a whole: half of one and half of another never fit.
	pairSet := c.AccessKey != "" || c.SecretKey != ""
	if over {
		c.SecurityToken = ""
	}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return fmt.Errorf("%s:%d: a line must read NAME=VALUE", c.Credentials, n+1)
		}
		for _, s := range settings() {
			client := s.from != "" && s.name != "master-key" || s.name == "server" || s.name == "project"
			if s.env != name || !client {
				continue
			}
			taken := c.Source(s.name) != "default" || s.from != "" && pairSet
			if strings.HasPrefix(c.Source(s.name), "flag") || taken && !over {
				continue
			}
			if err := c.set(s, []string{strings.Trim(value, `"'`)}, "credentials file "+c.Credentials); err != nil {
				return err
			}
		}
	}
	return nil
}
