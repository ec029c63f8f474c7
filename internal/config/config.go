// Package config holds every setting of the program in one struct. A setting
// comes from a file, from the environment or from a flag, the later over the
// earlier, and remembers which it was.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Config is the effective value of every setting. The zero Config is of no use;
// [Load] fills it in.
type Config struct {
	// DB says where records are kept: "sqlite:" and the path of a file, which is
	// created if it does not exist, or the URL of a PostgreSQL database.
	DB string `toml:"db"`

	// DBConns bounds this node's connections to PostgreSQL for reads; 0 lets it
	// choose.
	DBConns int `toml:"db_conns"`

	// Node is what this server is called among those that share its database.
	Node string `toml:"node"`

	// Listen holds the addresses that the server answers on, each as
	// ADDR[=DIALECT]. A listener with a dialect speaks only that one.
	Listen []Listen `toml:"listen"`

	// Hosts maps values of the Host header to dialects, each as
	// HOST[:PORT]=DIALECT. Without a port, every port matches.
	Hosts []Host `toml:"host"`

	// DefaultDialect answers where neither the listener, the host nor the
	// instance decides, and it words the failures of authentication.
	DefaultDialect string `toml:"default_dialect"`

	// Region names the first project. SDKs that are given a region and no
	// project id look for a project of the region's name.
	Region string `toml:"region"`

	// KeyFile holds the key that stored secrets are sealed with. It is created
	// with mode 0600 if it does not exist, and is not read where MasterKey is set.
	KeyFile string `toml:"key_file"`

	// MasterKey is the sealing key itself: 32 bytes in base64. It comes from the
	// environment only.
	MasterKey string `toml:"-"`

	// Credentials is the file that a first start writes its access key to (mode
	// 0600), and that the client commands read when the environment names none.
	Credentials string `toml:"credentials"`

	// TLSCert and TLSKey are PEM files. Set, every listener speaks TLS, and
	// changed files are taken up without a restart.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`

	// NumericStepTimes and LegacyDCSCodes choose between two spellings that the
	// provider's clients know; see the options of the same names of the dialects.
	NumericStepTimes bool `toml:"dms_numeric_step_times"`
	LegacyDCSCodes   bool `toml:"dcs_legacy_codes"`

	// Operations is a directory of YAML files that declare operations; "" leaves
	// the built-in ones only.
	Operations string `toml:"operations"`

	// Lease is how long a worker may be silent before its task is taken from it.
	Lease Duration `toml:"lease"`

	// CancelGrace is how long a worker has to stop a task that is to be
	// cancelled; after that the task ends without it.
	CancelGrace Duration `toml:"cancel_grace"`

	// Runners is how many declared programs and simulations run at a time in
	// this process; 0 leaves them all to others.
	Runners int `toml:"runners"`

	// WorkDir is where each attempt of a program gets a directory of its own.
	WorkDir string `toml:"work_dir"`

	// KeepTasks, KeepCount and KeepLogs say how long history is kept: finished
	// tasks by age, tasks of each project by their number, and the logs of
	// finished tasks by age. 0 is for ever, or any number.
	KeepTasks Age `toml:"keep_tasks"`
	KeepCount int `toml:"keep_count"`
	KeepLogs  Age `toml:"keep_logs"`

	// Retention says the same of single projects, by id; only the file can.
	Retention map[string]Keep `toml:"retention"`

	// DrainTimeout is how long a stopping process lets the programs and
	// simulations that it runs go on. What is left then is stopped.
	DrainTimeout Duration `toml:"drain_timeout"`

	// StopTimeout is how long a stopping server waits for requests in flight.
	StopTimeout Duration `toml:"stop_timeout"`

	// LogFormat is "text" or "json".
	LogFormat string `toml:"log_format"`

	// LogLevel is the least level that is logged.
	LogLevel slog.Level `toml:"log_level"`

	// Profile names the profile that the client commands use; "" is the current
	// one, if there is one.
	Profile string `toml:"profile"`

	// Server is the base address that the client commands talk to.
	Server string `toml:"server"`

	// CAFile is a PEM file of authorities that the client commands trust for
	// the server's certificate, in place of the system's.
	CAFile string `toml:"ca_file"`

	// Project is the id of the project that the client commands work in.
	Project string `toml:"project"`

	// AccessKey, SecretKey and SecurityToken are what the client commands sign
	// with. They come from the environment or the credentials file only.
	AccessKey     string `toml:"-"`
	SecretKey     string `toml:"-"`
	SecurityToken string `toml:"-"`

	sources map[string]string // by the setting's name
}

// Listen is one address to answer on.
type Listen struct {
	Addr    string // host:port
	Dialect string // "" unless the listener is bound to one
}

// Host gives the dialect of a value of the Host header.
type Host struct {
	Name    string // in lower case, with the port if it matters
	Dialect string
}

// Duration is a time.Duration that is written like "10s" or "1m30s".
type Duration time.Duration

// Dialects returns the names of dialects that listeners and hosts can be bound to.
func Dialects() []string { return []string{"dms", "dcs"} }

func defaults() *Config {
	return &Config{
		DB:             "sqlite:errand.db",
		Listen:         []Listen{{Addr: "127.0.0.1:8080"}},
		DefaultDialect: "dms",
		Region:         "cn-north-4",
		Lease:          Duration(10 * time.Second),
		CancelGrace:    Duration(30 * time.Second),
		Runners:        4,
		DrainTimeout:   Duration(15 * time.Second),
		StopTimeout:    Duration(20 * time.Second),
		LogFormat:      "text",
		LogLevel:       slog.LevelInfo,
		Server:         "http://127.0.0.1:8080",
		sources:        map[string]string{},
	}
}

// SQLitePath returns the path in DB, or "" if that is another database.
func (c *Config) SQLitePath() string {
	path, ok := strings.CutPrefix(c.DB, "sqlite:")
	if !ok {
		return ""
	}
	return path
}

// Postgres reports whether DB is PostgreSQL, which several nodes may share.
func (c *Config) Postgres() bool { return postgresURL(c.DB) }

// Source says where the value of the named setting comes from: "default",
// "file PATH", "environment NAME", "flag --NAME", "profile NAME in PATH" or
// "credentials file PATH".
func (c *Config) Source(name string) string {
	if s := c.sources[name]; s != "" {
		return s
	}
	return "default"
}

// complete fills in what follows from other settings and checks what only the
// whole can tell.
func (c *Config) complete() error {
	if err := checkDB(c.DB); err != nil {
		return err
	}
	if c.DBConns < 0 || c.DBConns > maxConns {
		return bad("db-conns", strconv.Itoa(c.DBConns), "it must be 0 to %d", maxConns)
	}
	if len(c.Node) > 64 || strings.ContainsFunc(c.Node, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return bad("node", c.Node, "a name is at most 64 bytes of text")
	}
	dir, work := filepath.Dir(c.SQLitePath()), "work"
	if c.Postgres() { // this directory, which several nodes of a machine may share
		if dir = "."; len(c.Listen) > 0 {
			work += "-" + c.Listen[0].port()
		}
	}
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(dir, "errand.key")
	}
	if c.Credentials == "" {
		c.Credentials = filepath.Join(dir, "credentials")
	}
	if c.WorkDir == "" {
		c.WorkDir = filepath.Join(dir, work)
	}
	if len(c.Listen) == 0 {
		return bad("listen", "", "at least one address, such as 127.0.0.1:8080, must be given")
	}
	if !slices.Contains(Dialects(), c.DefaultDialect) {
		return bad("default-dialect", c.DefaultDialect, "it must be one of %s", strings.Join(Dialects(), ", "))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return bad("log-format", c.LogFormat, "it must be text or json")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("tls-cert and tls-key must be set together: only one of them is")
	}
	if c.Region == "" || len(c.Region) > 64 {
		return bad("region", c.Region, "it must be 1 to 64 bytes, such as cn-north-4")
	}
	if err := c.checkTimes(); err != nil {
		return err
	}
	if err := c.checkRetention(); err != nil {
		return err
	}
	if !strings.HasPrefix(c.Server, "http://") && !strings.HasPrefix(c.Server, "https://") {
		return bad("server", c.Server, "it must begin with http:// or https://, such as http://127.0.0.1:8080")
	}
	return nil
}

// The bounds of what is set about running tasks. A shorter lease would be lost
// by a worker on a busy network; a longer one leaves a dead worker unnoticed.
const (
	minLease   = time.Second
	maxLease   = time.Hour
	maxGrace   = 24 * time.Hour
	maxRunners = 1000
)

func (c *Config) checkTimes() error {
	switch {
	case c.Lease < Duration(minLease) || c.Lease > Duration(maxLease):
		return bad("lease", c.Lease.String(), "it must be %s to %s", Duration(minLease), Duration(maxLease))
	case c.CancelGrace <= 0 || c.CancelGrace > Duration(maxGrace):
		return bad("cancel-grace", c.CancelGrace.String(), "it must be more than 0 and at most %s", Duration(maxGrace))
	case c.Runners < 0 || c.Runners > maxRunners:
		return bad("runners", strconv.Itoa(c.Runners), "it must be 0 to %d", maxRunners)
	case c.DrainTimeout < 0:
		return bad("drain-timeout", c.DrainTimeout.String(), "it must not be negative")
	case c.StopTimeout <= 0:
		return bad("stop-timeout", c.StopTimeout.String(), "it must be more than 0, such as 20s")
	}
	return nil
}

func bad(name, value, format string, args ...any) error {
	return fmt.Errorf("setting %s cannot be %.200q: %s", name, value, fmt.Sprintf(format, args...))
}

// UnmarshalText reads ADDR[=DIALECT].
func (l *Listen) UnmarshalText(b []byte) error {
	addr, dialect, bound := strings.Cut(string(b), "=")
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%.200q is not an address to listen on; write HOST:PORT or HOST:PORT=DIALECT, such as 127.0.0.1:8080", b)
	}
	if bound && !slices.Contains(Dialects(), dialect) {
		return fmt.Errorf("%.64q in %.200q is not a dialect; it must be one of %s", dialect, b, strings.Join(Dialects(), ", "))
	}
	*l = Listen{Addr: net.JoinHostPort(host, port), Dialect: dialect}
	return nil
}

// port returns the port that is listened on.
func (l Listen) port() string {
	_, port, _ := net.SplitHostPort(l.Addr)
	return port
}

func (l Listen) String() string {
	if l.Dialect == "" {
		return l.Addr
	}
	return l.Addr + "=" + l.Dialect
}

// UnmarshalText reads HOST[:PORT]=DIALECT.
func (h *Host) UnmarshalText(b []byte) error {
	name, dialect, ok := strings.Cut(string(b), "=")
	if !ok || name == "" || strings.ContainsAny(name, "/ \t@") {
		return fmt.Errorf("%.200q is not a host; write HOST=DIALECT or HOST:PORT=DIALECT, such as dcs.example.com=dcs", b)
	}
	if !slices.Contains(Dialects(), dialect) {
		return fmt.Errorf("%.64q in %.200q is not a dialect; it must be one of %s", dialect, b, strings.Join(Dialects(), ", "))
	}
	*h = Host{Name: strings.ToLower(name), Dialect: dialect}
	return nil
}

func (h Host) String() string { return h.Name + "=" + h.Dialect }

// UnmarshalText reads a duration with its unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%.64q is not a duration; write a number with its unit, such as 20s or 1m30s", b)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }
