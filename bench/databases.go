package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// postgres is a PostgreSQL of our own: one cluster for all that need one.
type postgres struct {
	bin, dir string
	port     int
	attr     *syscall.SysProcAttr
	cmd      *exec.Cmd
}

// postgresSettings are what is not PostgreSQL's default. Every commit is synced.
func postgresSettings() []string {
	return []string{"fsync=on", "synchronous_commit=on", "shared_buffers=1GB", "max_wal_size=4GB", "max_connections=300"}
}

// startPostgres makes an empty cluster in dir, as the user postgres where this
// runs as root.
func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed")
	}
	slices.Sort(found)
	p := &postgres{bin: filepath.Dir(found[len(found)-1]), dir: dir, attr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if err := p.asPostgres(); err != nil {
			return nil, err
		}
	}
	initdb := p.program("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata="+filepath.Join(dir, "data"))
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	var err error
	if p.port, err = freePort(); err != nil {
		return nil, err
	}
	args := []string{"-D", filepath.Join(dir, "data"), "-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(p.port),
		"-c", "unix_socket_directories=" + dir, "-c", "log_min_messages=fatal"}
	for _, s := range postgresSettings() {
		args = append(args, "-c", s)
	}
	p.cmd = p.program("postgres", args...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = p.query(ctx, "postgres", "SELECT 1", new(int)); err == nil {
			return p, nil
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(err, p.stop())
		}
	}
}

// asPostgres lets the programs run as postgres, because they refuse to be root.
func (p *postgres) asPostgres() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chmod(filepath.Dir(p.dir), 0o755); err != nil { // so that it reaches its own
		return err
	}
	return os.Chown(p.dir, uid, gid)
}

func (p *postgres) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, p.attr
	return cmd
}

func (p *postgres) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", p.port, database)
}

func (p *postgres) query(ctx context.Context, database, sql string, out any) error {
	c, err := pgx.Connect(ctx, p.url(database))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if out == nil {
		_, err := c.Exec(ctx, sql)
		return err
	}
	return c.QueryRow(ctx, sql).Scan(out)
}

// fresh makes an empty database.
func (p *postgres) fresh(ctx context.Context, database string) error {
	if err := p.query(ctx, "postgres", fmt.Sprintf(`DROP DATABASE IF EXISTS %q WITH (FORCE)`, database), nil); err != nil {
		return err
	}
	return p.query(ctx, "postgres", fmt.Sprintf(`CREATE DATABASE %q`, database), nil)
}

// transactions returns how many transactions have ended in a database.
func (p *postgres) transactions(ctx context.Context, database string) (int64, error) {
	var n int64
	err := p.query(ctx, "postgres", fmt.Sprintf(`SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '%s'`, database), &n)
	return n, err
}

func (p *postgres) stop() error {
	if p == nil || p.cmd == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT) // fast shutdown
	return p.cmd.Wait()
}

// redisServer is a Redis of our own, for one peer.
type redisServer struct {
	cmd    *exec.Cmd
	client *redis.Client
}

// startRedis runs Redis on what is in dir. sync is appendfsync: always or everysec.
func startRedis(ctx context.Context, dir, sync string) (*redisServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &redisServer{cmd: exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--logfile", "redis.log",
		"--save", "", "--appendonly", "yes", "--appendfsync", sync)}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	r.client = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if err = r.client.Ping(ctx).Err(); err == nil { // which it refuses while it loads
			return r, nil
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(err, r.stop())
		}
	}
}

// commands returns how many commands Redis has had.
func (r *redisServer) commands(ctx context.Context) (int64, error) {
	info, err := r.client.InfoMap(ctx, "stats").Result()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(info["Stats"]["total_commands_processed"], 10, 64)
}

func (r *redisServer) stop() error {
	_ = r.client.Close()
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	return r.cmd.Wait()
}
