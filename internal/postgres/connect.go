package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// readTimeout is how long a caller of a read waits for its answer.
const readTimeout = 35 * time.Second

// setting is one of a session's.
type setting struct{ name, value string }

// What is listed has its order from an index: to collect rows in the order of the
// disk and sort them costs as much as there is history. No statement needs another
// plan for other arguments: planning takes longer than what is planned. A read that
// is slower than the limit would not be waited for.
var readSettings = []setting{
	{"statement_timeout", "30s"},
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_bitmapscan", "off"},
	{"jit", "off"},
}

// A write is never cancelled by the server: where it waits for a synchronous
// standby, that would be answered like success. What a write reads and changes is
// named by keys, whatever is known of the tables' sizes: a plan that goes through
// one of them would be made while it is small, and kept.
var writeSettings = []setting{
	{"lock_timeout", "15s"},
	{"idle_in_transaction_session_timeout", "10s"},
	{"statement_timeout", "0"},
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_seqscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"jit", "off"},
}

// target is the database that a Store uses.
type target struct {
	config *pgxpool.Config
	mode   bool // the address says how statements are executed

	// pooled: a pooler hands its connections from transaction to transaction, so
	// that no setting and no prepared statement stays with them.
	pooled bool

	trouble *trouble // of its connections
}

// parse reads an address.
func parse(url string) (target, error) {
	const example = "postgres://USER:PASSWORD@HOST:5432/DATABASE, with characters such as @ : / ? # % in the password written as %40 and so on"
	if strings.TrimSpace(url) == "" {
		return target{}, errors.New("the database needs an address, such as " + example)
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err == nil && strings.Contains(url, "#") {
		err = errors.New("a fragment")
	}
	if err != nil { // it quotes the address, and may take part of the password for something else
		return target{}, errors.New("the address of the database is not understood; it must be like " + example)
	}
	c := cfg.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	c.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	c.RuntimeParams["client_encoding"] = "UTF8"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "errand"
	}
	const attrs = "target_session_attrs"
	if c.ValidateConnect == nil && len(hosts(c)) > 1 && !strings.Contains(url, attrs) && os.Getenv("PGTARGETSESSIONATTRS") == "" {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	for _, host := range hosts(c) {
		if strings.Contains(c.Database, "@") || !strings.HasPrefix(host, "/") && strings.ContainsAny(host, "@/?#") {
			return target{}, errors.New("the address of the database is not understood; it must be like " + example)
		}
	}
	faults := &trouble{}
	c.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool {
		if noted[e.Code] {
			faults.note(e.Code)
		}
		// A connection on which nothing can be written leads to a server that
		// was the primary once: another one is to be looked for.
		return e.SeverityUnlocalized != "FATAL" && e.SeverityUnlocalized != "PANIC" && e.Code != "25006"
	}
	return target{config: cfg, trouble: faults, mode: strings.Contains(url, "default_query_exec_mode")}, nil
}

// hosts are the servers that c tries, in order.
func hosts(c *pgx.ConnConfig) []string {
	all := []string{fmt.Sprintf("%s:%d", c.Host, c.Port)}
	for _, f := range c.Fallbacks {
		if h := fmt.Sprintf("%s:%d", f.Host, f.Port); h != all[len(all)-1] { // the same one is tried with and without TLS
			all = append(all, h)
		}
	}
	return all
}

// with returns how to connect for sessions with settings.
func (t *target) with(settings []setting) *pgxpool.Config {
	cfg := t.config.Copy()
	if t.pooled {
		if !t.mode {
			cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
		return cfg
	}
	for _, s := range settings {
		cfg.ConnConfig.RuntimeParams[s.name] = s.value
	}
	return cfg
}

// begin are the statements that start a transaction which writes. What is locked
// must be seen as it is once the lock is held, whatever the default of the
// database.
func (t *target) begin() []string {
	all := []string{`BEGIN ISOLATION LEVEL READ COMMITTED`}
	if !t.pooled {
		return all
	}
	for _, s := range writeSettings {
		all = append(all, fmt.Sprintf(`SET LOCAL %s = '%s'`, s.name, s.value))
	}
	return all
}

// pool makes connections as they are needed.
func (t *target) pool(ctx context.Context, settings []setting, size int) (*pgxpool.Pool, error) {
	cfg := t.with(settings)
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = int32(size), 0, 0
	cfg.ConnConfig.OnNotice = noteWarning
	return pgxpool.NewWithConfig(ctx, cfg)
}

// connect makes one connection, and finds out whether a pooler is between: such
// a one refuses a session's settings, or forgets them.
func (t *target) connect(ctx context.Context) (*pgx.Conn, error) {
	c, err := pgx.ConnectConfig(ctx, t.with(writeSettings).ConnConfig)
	if err == nil {
		var kept bool
		err = c.QueryRow(ctx, `SELECT current_setting('lock_timeout') = $1`, pgx.QueryExecModeExec, writeSettings[0].value).Scan(&kept)
		if err == nil && kept {
			return c, nil
		}
		_ = c.Close(ctx)
	}
	if err != nil && code(err) != "08P01" {
		return nil, err
	}
	t.pooled = true
	return pgx.ConnectConfig(ctx, t.with(nil).ConnConfig)
}

// refused explains to the operator who starts a server why the database is not
// used.
func (t *target) refused(err error) error {
	c := t.config.ConnConfig
	where := fmt.Sprintf("database %s on %s (as user %s)", c.Database, strings.Join(hosts(c), ", "), c.User)
	why := "cannot be used"
	switch code(err) {
	case "28P01", "28000":
		why = "refuses that user; check name and password, and the server's pg_hba.conf"
	case "3D000":
		why = "does not exist; create it with: CREATE DATABASE " + pgx.Identifier{c.Database}.Sanitize() + " ENCODING 'UTF8' TEMPLATE template0"
	case "42501":
		why = "does not give that user the rights that are needed: CREATE in its schema, and all on the tables there"
	case "53300":
		why = "has no connection left; raise max_connections or the limit of the user or the database, or lower what others use"
	case "53100":
		why = "cannot be used because its disk is full; free some space"
	case "57P01", "57P02", "57P03":
		why = "is shutting down or starting; try again"
	case "25006":
		why = "takes no writes: it is a standby, or was set to read-only; name the primary, or all servers with commas between"
	case "08P01":
		why = "is behind a pooler that refuses a setting of the address; leave that out, and set it for the user in the database with ALTER ROLE"
	case "":
		switch {
		case errors.Is(err, pgconn.ErrReadOnlyConnection):
			why = "takes no writes: none of the servers is a primary"
		case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err), lost(err):
			why = "cannot be reached; check host and port, and that the server runs and lets this machine in"
		}
	}
	return fmt.Errorf("%s %s: %w", where, why, err)
}
