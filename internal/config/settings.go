package config

import (
	"encoding"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// setting ties a member of Config to the names that it goes by.
type setting struct {
	name   string // in `errand config`; the flag is --name, the key in a file has _ for -
	env    string // the environment variable
	usage  string
	value  string              // what stands for the value in help: FILE, ADDR
	from   string              // "" or "environment": set by neither flag nor file
	secret bool                // printed as "(redacted)"
	member func(c *Config) any // pointer to the member
}

// settings lists every setting in the order in which they are printed.
func settings() []setting {
	const envOnly = "environment"
	return []setting{
		{name: "db", env: "ERRAND_DB", value: "sqlite:PATH|postgres://…", usage: "where records are kept",
			member: func(c *Config) any { return &c.DB }},
		{name: "db-conns", env: "ERRAND_DB_CONNS", value: "N", usage: "connections to PostgreSQL for reads at the most; 0: four for each processor, 8 at least",
			member: func(c *Config) any { return &c.DBConns }},
		{name: "node", env: "ERRAND_NODE", value: "NAME", usage: "name of this server among those that share a database (default host name and port)",
			member: func(c *Config) any { return &c.Node }},
		{name: "listen", env: "ERRAND_LISTEN", value: "ADDR[=DIALECT]", usage: "address to answer on; may be given several times",
			member: func(c *Config) any { return &c.Listen }},
		{name: "host", env: "ERRAND_HOST", value: "HOST[:PORT]=DIALECT", usage: "dialect of a Host header; may be given several times",
			member: func(c *Config) any { return &c.Hosts }},
		{name: "default-dialect", env: "ERRAND_DEFAULT_DIALECT", value: "DIALECT", usage: "dialect where nothing else decides: dms or dcs",
			member: func(c *Config) any { return &c.DefaultDialect }},
		{name: "region", env: "ERRAND_REGION", value: "ID", usage: "region id; names the first project",
			member: func(c *Config) any { return &c.Region }},
		{name: "key-file", env: "ERRAND_KEY_FILE", value: "FILE", usage: "key that stored secrets are sealed with (default errand.key beside the database, with PostgreSQL in this directory)",
			member: func(c *Config) any { return &c.KeyFile }},
		{name: "master-key", env: "ERRAND_MASTER_KEY", from: envOnly, secret: true, usage: "the sealing key itself, in place of the key file",
			member: func(c *Config) any { return &c.MasterKey }},
		{name: "credentials", env: "ERRAND_CREDENTIALS", value: "FILE", usage: "access key of a first start, and of the client commands (default credentials beside the database, with PostgreSQL in this directory)",
			member: func(c *Config) any { return &c.Credentials }},
		{name: "tls-cert", env: "ERRAND_TLS_CERT", value: "FILE", usage: "certificate chain in PEM; the listeners speak TLS",
			member: func(c *Config) any { return &c.TLSCert }},
		{name: "tls-key", env: "ERRAND_TLS_KEY", value: "FILE", usage: "private key in PEM",
			member: func(c *Config) any { return &c.TLSKey }},
		{name: "dms-numeric-step-times", env: "ERRAND_DMS_NUMERIC_STEP_TIMES", value: "bool", usage: "write times of steps as numbers, for SDKs of 2026-08-20 and later",
			member: func(c *Config) any { return &c.NumericStepTimes }},
		{name: "dcs-legacy-codes", env: "ERRAND_DCS_LEGACY_CODES", value: "bool", usage: "write DCS error codes as 111400061 instead of DCS.4061",
			member: func(c *Config) any { return &c.LegacyDCSCodes }},
		{name: "operations", env: "ERRAND_OPERATIONS", value: "DIR", usage: "directory of YAML files that declare operations",
			member: func(c *Config) any { return &c.Operations }},
		{name: "lease", env: "ERRAND_LEASE", value: "DURATION", usage: "how long a worker may be silent before its task is taken from it",
			member: func(c *Config) any { return &c.Lease }},
		{name: "cancel-grace", env: "ERRAND_CANCEL_GRACE", value: "DURATION", usage: "how long a worker has to stop a task that is cancelled",
			member: func(c *Config) any { return &c.CancelGrace }},
		{name: "runners", env: "ERRAND_RUNNERS", value: "N", usage: "programs and simulations that run here at a time; 0: none",
			member: func(c *Config) any { return &c.Runners }},
		{name: "work-dir", env: "ERRAND_WORK_DIR", value: "DIR", usage: "where programs get their working directories (default work beside the database, with PostgreSQL work-PORT in this directory)",
			member: func(c *Config) any { return &c.WorkDir }},
		{name: "keep-tasks", env: "ERRAND_KEEP_TASKS", value: "AGE", usage: "how long finished tasks are kept, such as 90d; 0: for ever",
			member: func(c *Config) any { return &c.KeepTasks }},
		{name: "keep-count", env: "ERRAND_KEEP_COUNT", value: "N", usage: "how many tasks of each project are kept; 0: any number",
			member: func(c *Config) any { return &c.KeepCount }},
		{name: "keep-logs", env: "ERRAND_KEEP_LOGS", value: "AGE", usage: "how long the logs of finished tasks are kept, such as 30d; 0: as long as the tasks",
			member: func(c *Config) any { return &c.KeepLogs }},
		{name: "drain-timeout", env: "ERRAND_DRAIN_TIMEOUT", value: "DURATION", usage: "how long a stop lets running programs go on",
			member: func(c *Config) any { return &c.DrainTimeout }},
		{name: "stop-timeout", env: "ERRAND_STOP_TIMEOUT", value: "DURATION", usage: "how long a stop waits for requests in flight",
			member: func(c *Config) any { return &c.StopTimeout }},
		{name: "log-format", env: "ERRAND_LOG_FORMAT", value: "text|json", usage: "form of the log on standard error",
			member: func(c *Config) any { return &c.LogFormat }},
		{name: "log-level", env: "ERRAND_LOG_LEVEL", value: "LEVEL", usage: "least level that is logged: debug, info, warn or error",
			member: func(c *Config) any { return &c.LogLevel }},
		{name: "profile", env: "ERRAND_PROFILE", value: "NAME", usage: "profile that client commands use, as `errand login` makes them (default the current one)",
			member: func(c *Config) any { return &c.Profile }},
		{name: "server", env: "ERRAND_SERVER", value: "URL", usage: "address of the server that client commands talk to",
			member: func(c *Config) any { return &c.Server }},
		{name: "ca-file", env: "ERRAND_CA_FILE", value: "FILE", usage: "authorities in PEM that sign the server's certificate",
			member: func(c *Config) any { return &c.CAFile }},
		{name: "project", env: "HUAWEICLOUD_SDK_PROJECT_ID", value: "ID", usage: "id of the project that client commands work in",
			member: func(c *Config) any { return &c.Project }},
		{name: "access-key", env: "HUAWEICLOUD_SDK_AK", from: envOnly, usage: "access key that client commands sign with",
			member: func(c *Config) any { return &c.AccessKey }},
		{name: "secret-key", env: "HUAWEICLOUD_SDK_SK", from: envOnly, secret: true, usage: "its secret half",
			member: func(c *Config) any { return &c.SecretKey }},
		{name: "security-token", env: "HUAWEICLOUD_SDK_SECURITY_TOKEN", from: envOnly, secret: true, usage: "token of a temporary access key",
			member: func(c *Config) any { return &c.SecurityToken }},
	}
}

func (s setting) key() string { return strings.ReplaceAll(s.name, "-", "_") }

// set stores texts, of which only lists take more than one.
func (s setting) set(c *Config, texts []string) error {
	last := ""
	if len(texts) > 0 {
		last = texts[len(texts)-1]
	}
	var err error
	switch p := s.member(c).(type) {
	case *string:
		*p = last
	case *bool:
		if *p, err = strconv.ParseBool(last); err != nil {
			err = fmt.Errorf("%.64q is neither true nor false", last)
		}
	case *int:
		if *p, err = strconv.Atoi(last); err != nil {
			err = fmt.Errorf("%.64q is not a whole number", last)
		}
	case *[]Listen:
		*p, err = list[Listen](texts)
	case *[]Host:
		*p, err = list[Host](texts)
	case *slog.Level:
		if p.UnmarshalText([]byte(last)) != nil {
			err = fmt.Errorf("%.64q is not a level; write debug, info, warn or error", last)
		}
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(last))
	default:
		panic(fmt.Sprintf("setting %s has a member of type %T", s.name, p))
	}
	return err
}

func list[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](texts []string) ([]T, error) {
	var out []T
	for _, t := range texts {
		if t = strings.TrimSpace(t); t == "" {
			continue
		}
		var v T
		if err := P(&v).UnmarshalText([]byte(t)); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// texts is the inverse of set.
func (s setting) texts(c *Config) []string {
	switch p := s.member(c).(type) {
	case *string:
		return []string{*p}
	case *bool:
		return []string{strconv.FormatBool(*p)}
	case *int:
		return []string{strconv.Itoa(*p)}
	case *[]Listen:
		return strs(*p)
	case *[]Host:
		return strs(*p)
	case *slog.Level:
		return []string{strings.ToLower(p.String())}
	case fmt.Stringer:
		return []string{p.String()}
	default:
		panic(fmt.Sprintf("setting %s has a member of type %T", s.name, p))
	}
}

func strs[T fmt.Stringer](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = v.String()
	}
	return out
}

// Setting is one effective setting as it may be shown.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // lists are joined by commas, secrets are "(redacted)"
	Source string `json:"source"`
}

// Settings returns every setting with its source, secrets redacted.
func (c *Config) Settings() []Setting {
	var out []Setting
	for _, s := range settings() {
		v := strings.Join(s.texts(c), ",")
		if s.secret && v != "" {
			v = "(redacted)"
		}
		out = append(out, Setting{Name: s.name, Value: Redact(v), Source: c.Source(s.name)})
	}
	return append(out, c.retentionSettings()...)
}
