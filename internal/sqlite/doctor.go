package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/upkeep"
)

var _ upkeep.Patient = (*Patient)(nil)

// Patient is a database that is checked while no server uses it.
type Patient struct {
	path  string
	steps []stored.Migration
	lock  *os.File
	c     *conn
	// other reads what counts are made from while c mends them.
	other *conn
}

// OpenPatient opens the database at path as it is: nothing in it changes unless
// it is mended. No other process may have it.
func OpenPatient(path string) (*Patient, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, errand.Errorf(errand.NotFound, "database", "database %s does not exist", path)
	}
	steps, err := ownMigrations()
	if err != nil {
		return nil, err
	}
	if path, err = prepare(path); err != nil {
		return nil, err
	}
	p := &Patient{path: path, steps: steps}
	if p.lock, err = lock(path); err != nil {
		return nil, err
	}
	if p.c, err = connect(path, wholeFile); err != nil {
		return nil, errors.Join(cannotOpen(path, err), unlock(p.lock))
	}
	if p.other, err = connect(path, wholeFile, `PRAGMA query_only = ON`); err != nil {
		return nil, errors.Join(cannotOpen(path, err), p.c.Close(), unlock(p.lock))
	}
	return p, nil
}

// Close lets go of the file.
func (p *Patient) Close() error {
	return errors.Join(p.other.Close(), p.c.Close(), unlock(p.lock))
}

// Name implements upkeep.Patient.
func (p *Patient) Name() string { return "sqlite:" + p.path }

// Now implements upkeep.Patient. It is never later than this machine's clock says:
// by an event from the future, everything would have expired.
func (p *Patient) Now(context.Context) (time.Time, error) {
	us, err := p.c.number(`SELECT at FROM events ORDER BY seq DESC LIMIT 1`)
	now := time.Now()
	if last := at(us); err == nil && us != 0 && last.Before(now) {
		now = last
	}
	return now, classify(err)
}

// Examine implements upkeep.Patient.
func (p *Patient) Examine(ctx context.Context, o upkeep.CheckOptions) ([]upkeep.Finding, bool, error) {
	var all []upkeep.Finding
	for _, look := range []func(context.Context, upkeep.CheckOptions) (upkeep.Finding, bool, error){
		p.integrity, p.version, p.schema, p.copying, p.encoding, p.clock,
	} {
		f, usable, err := look(ctx, o)
		if err != nil {
			return all, false, err
		}
		if all = append(all, f); !usable {
			return all, false, nil
		}
	}
	return all, true, nil
}

// integrity has SQLite check its own structures: quickly, or every page of every
// index too.
func (p *Patient) integrity(ctx context.Context, o upkeep.CheckOptions) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "integrity", What: "damage that SQLite itself finds (quick_check)"}
	pragma := `PRAGMA quick_check`
	if o.Full {
		f.What, pragma = "damage that SQLite itself finds (integrity_check)", `PRAGMA integrity_check`
	}
	p.c.SetInterrupt(ctx.Done())
	defer p.c.SetInterrupt(nil)
	err := p.c.rows(pragma, func(st *sqlite.Stmt) error {
		if text := st.ColumnText(0); text != "ok" {
			if f.Count++; f.Count == 1 {
				f.Example = text
			}
		}
		return nil
	})
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCorrupt {
		f.Count, f.Example, err = 1, err.Error(), nil
	}
	if ctx.Err() != nil {
		return f, false, ctx.Err()
	}
	if f.Count > 0 {
		f.Severity, f.Act = upkeep.Bad, "restore a backup; what can be read of this file, `sqlite3 FILE .recover` gets out"
	}
	return f, f.Count == 0, err
}

// version compares the migrations that the file has seen with those of this
// program.
func (p *Patient) version(context.Context, upkeep.CheckOptions) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "version", What: "migrations that are missing, or are not of this program"}
	done, err := applied(p.c, p.path)
	var pending []stored.Migration
	if err == nil {
		pending, err = stored.Pending(p.steps, done)
	}
	switch {
	case err != nil:
		f.Severity, f.Count, f.Example, f.Act = upkeep.Bad, 1, err.Error(), "use the version of errand that wrote it"
	case len(pending) > 0:
		f.Severity, f.Count, f.Example = upkeep.Warn, int64(len(pending)), pending[0].Name
		f.Act = "start a server of this version once, which brings the schema up to date, and check again"
	}
	return f, f.Count == 0, nil
}

// schema compares what is there with what the migrations make.
func (p *Patient) schema(context.Context, upkeep.CheckOptions) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "schema", What: "tables and indexes that are missing, or are not as the migrations make them"}
	m, err := sqlite.OpenConn(":memory:", sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return f, false, err
	}
	fresh := &conn{Conn: m}
	defer func() { _ = fresh.Close() }()
	for _, s := range p.steps {
		if err := fresh.script(s.Text); err != nil {
			return f, false, err
		}
	}
	want, err := objects(fresh)
	if err != nil {
		return f, false, err
	}
	have, err := objects(p.c)
	if err != nil {
		return f, false, err
	}
	var wrong []string
	tables := true
	for name, text := range want {
		if have[name] != text {
			wrong = append(wrong, name)
			tables = tables && !strings.HasPrefix(name, "table ")
		}
	}
	if len(wrong) > 0 {
		f.Severity, f.Count, f.Example = upkeep.Bad, int64(len(wrong)), slices.Min(wrong)
		f.Act = "somebody changed it by hand: undo that, or copy the database into a new one"
	}
	return f, tables, nil
}

// objects are the tables and indexes of a schema, with how they were made.
func objects(c *conn) (map[string]string, error) {
	all := map[string]string{}
	err := c.rows(`SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'migrations'`, func(st *sqlite.Stmt) error {
		all[st.ColumnText(0)] = st.ColumnText(1)
		return nil
	})
	return all, err
}

func (p *Patient) copying(context.Context, upkeep.CheckOptions) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "copy", What: "unfinished copies into this database"}
	var err error
	f.Count, err = p.c.number(`SELECT count(*) FROM sqlite_schema WHERE name = ?`, copyState)
	if f.Count > 0 {
		f.Severity, f.Act = upkeep.Bad, "run `errand copy` again to finish it, or remove the file"
	}
	return f, f.Count == 0, err
}

func (p *Patient) encoding(context.Context, upkeep.CheckOptions) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "encoding", What: "another encoding of texts than UTF-8"}
	err := p.c.rows(`PRAGMA encoding`, func(st *sqlite.Stmt) error {
		if e := st.ColumnText(0); e != "UTF-8" {
			f.Severity, f.Count, f.Example, f.Act = upkeep.Bad, 1, e, "copy the database into a new one"
		}
		return nil
	})
	return f, true, err
}

// clock compares this machine's with the newest thing that is on record.
func (p *Patient) clock(context.Context, upkeep.CheckOptions) (upkeep.Finding, bool, error) {
	f := upkeep.Finding{Severity: upkeep.OK, Check: "clock", What: "events from the future of this machine's clock"}
	newest, err := p.c.number(`SELECT at FROM events ORDER BY seq DESC LIMIT 1`)
	if err != nil {
		return f, false, err
	}
	f.Count, err = p.c.number(`SELECT count(*) FROM (SELECT at FROM events ORDER BY seq DESC LIMIT 1000) WHERE at > ?`, micro(time.Now().Add(5*time.Second)))
	if f.Count > 0 {
		f.Severity, f.Example = upkeep.Warn, fmt.Sprintf("the newest is of %s", at(newest).Format(time.RFC3339))
		f.Act = "set the clock of this machine"
	}
	return f, true, err
}

// marksOf writes $1 as ?1: SQLite would number the names by their first use.
func marksOf(sql string) string { return strings.ReplaceAll(sql, "$", "?") }

// Rows implements upkeep.Patient.
func (p *Patient) Rows(ctx context.Context, s upkeep.Statement, row func([]any) error) error {
	p.other.SetInterrupt(ctx.Done())
	defer p.other.SetInterrupt(nil)
	err := p.other.rows(marksOf(s.SQL), func(st *sqlite.Stmt) error { return row(valuesOf(st, nil)) }, s.Args...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

func valuesOf(st *sqlite.Stmt, into []any) []any {
	for i := range st.ColumnCount() {
		into = append(into, valueOf(st, i))
	}
	return into
}

// Streams implements upkeep.Patient.
func (p *Patient) Streams(ctx context.Context, queries []string, fn func([]upkeep.Stream) error) (err error) {
	c := p.other
	c.SetInterrupt(ctx.Done())
	defer c.SetInterrupt(nil)
	if err := c.exec(`BEGIN`); err != nil {
		return classify(err)
	}
	var open []*sqlite.Stmt
	defer func() {
		for _, st := range open {
			_ = st.Reset()
		}
		_ = c.exec(`ROLLBACK`) // nothing was written
	}()
	var all []upkeep.Stream
	for _, q := range queries {
		st, err := c.Prepare(q)
		if err != nil {
			return classify(err)
		}
		open = append(open, st)
		var row []any
		done := false
		all = append(all, func() ([]any, error) {
			if done {
				return nil, nil
			}
			more, err := st.Step()
			if err != nil || !more {
				done = true
				return nil, err
			}
			row = valuesOf(st, row[:0])
			return row, nil
		})
	}
	err = fn(all)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

// Mend implements upkeep.Patient: nobody else has the file, so nothing needs to be locked.
func (p *Patient) Mend(ctx context.Context, _ upkeep.Lock, all ...upkeep.Statement) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var sum int64
	d := &Dump{c: p.c}
	err := d.transact(func() error {
		for _, s := range all {
			if err := p.c.exec(marksOf(s.SQL), s.Args...); err != nil {
				return err
			}
			sum += int64(p.c.Changes())
		}
		return nil
	})
	return sum, err
}

// Numbers implements upkeep.Patient.
func (p *Patient) Numbers(ctx context.Context) (map[string]int64, error) {
	return (&Dump{c: p.other}).Numbers(ctx)
}

// Raise implements upkeep.Patient.
func (p *Patient) Raise(_ context.Context, numbers map[string]int64) error {
	d := &Dump{c: p.c}
	return d.transact(func() error { return d.c.raise(numbers) })
}
