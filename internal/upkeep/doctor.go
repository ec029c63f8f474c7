package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Severity says how bad a finding is.
type Severity string

// How bad findings are. An error means that something is wrong for users, or
// will be; a warning, that a person should know.
const (
	OK   Severity = "ok"
	Warn Severity = "warn"
	Bad  Severity = "error"
)

// Finding is what one check of a database found.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"`             // its name, which stays
	What     string   `json:"what"`              // what was looked for
	Count    int64    `json:"count"`             // how many there are
	Example  string   `json:"example,omitempty"` // one of them
	Act      string   `json:"act,omitempty"`     // what mending does, or what a person has to do
	Fixable  bool     `json:"fixable,omitempty"` // mending can do that
	Mended   int64    `json:"mended,omitempty"`  // how much was; Count is what is left
}

// Statement is one of SQL, as both kinds of store understand it.
type Statement struct {
	SQL  string
	Args []any
}

// Lock names what no writer may change meanwhile. The zero Lock is none.
type Lock struct {
	Counts bool // the counts of tasks

	// Lane is a lane of an instance, by the number of its scope. With Lane ""
	// and an ID it is a task in no lane.
	Scope   int64
	Lane    string
	Project int64
	ID      string
}

// Stream gives one row after another, and nil after the last. The row is good
// until the next call.
type Stream func() ([]any, error)

// A Patient is a database that is checked, and mended. It may be in use.
type Patient interface {
	Name() string

	// Now is the time that decides there. Where nothing uses the database, it is
	// when something did last: what was due since then is nobody's fault.
	Now(ctx context.Context) (time.Time, error)

	// Examine checks what only this kind of database has. It reports false if
	// the tables cannot be relied upon, so that nothing else can be checked.
	Examine(ctx context.Context, o CheckOptions) ([]Finding, bool, error)

	// Rows calls row for each row that s gives. The row is row's to keep.
	Rows(ctx context.Context, s Statement, row func([]any) error) error

	// Streams opens queries side by side, all as of one moment, for fn, which may
	// call Mend.
	Streams(ctx context.Context, queries []string, fn func([]Stream) error) error

	// Mend runs statements in one short transaction under lock, and returns how
	// many rows they changed.
	Mend(ctx context.Context, lock Lock, all ...Statement) (int64, error)

	// Numbers and Raise are about the columns that are numbered: the greatest
	// number that was given out for each, as "table.column", and that no number up
	// to the given ones is given out again.
	Numbers(ctx context.Context) (map[string]int64, error)
	Raise(ctx context.Context, numbers map[string]int64) error
}

// CheckOptions may be left at zero.
type CheckOptions struct {
	// Fix mends what is safe to mend. The status of a task is never changed.
	Fix bool

	// Full checks every page of the database where that can be done.
	Full bool

	// Now is taken for the time of the database if it is set.
	Now time.Time

	// Progress is told the name of each check before it begins. It may be nil.
	Progress func(check string)
}

// Report is what is wrong with a database.
type Report struct {
	Database string    `json:"database"`
	Findings []Finding `json:"findings"`

	// Stopped is the check after which nothing was looked at; "" if all was.
	Stopped string `json:"stopped,omitempty"`
}

// Unfit is the error of a Patient that cannot be checked any further, for what its
// Finding says.
type Unfit struct {
	Finding Finding
	Err     error
}

func (u *Unfit) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u *Unfit) Unwrap() error { return u.Err }

// stop ends a report with err, as a finding if it is one. What an earlier check of
// that name found was wrong.
func (r Report) stop(at string, err error) (Report, error) {
	u, ok := errors.AsType[*Unfit](err)
	if !ok {
		return r, err
	}
	r.Findings = append(slices.DeleteFunc(r.Findings, func(f Finding) bool { return f.Check == u.Finding.Check }), u.Finding)
	r.Stopped = at
	return r, nil
}

// Errors returns how many checks found what is wrong and is so still.
func (r Report) Errors() int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == Bad {
			n++
		}
	}
	return n
}

// check looks for one thing.
type check struct {
	name     string
	severity Severity // of what is found
	what     string
	act      string

	// find counts what is wrong and gives an example.
	find func(context.Context, *visit) (int64, string, error)

	// mend puts it right; nil leaves that to a person.
	mend func(context.Context, *visit) error
}

// visit is one run of the checks.
type visit struct {
	Patient
	now time.Time
}

// Check looks for everything that may be wrong with p.
func Check(ctx context.Context, p Patient, o CheckOptions) (Report, error) {
	progress := o.Progress
	if progress == nil {
		progress = func(string) {}
	}
	r := Report{Database: p.Name(), Findings: []Finding{}}
	progress("the database itself")
	found, usable, err := p.Examine(ctx, o)
	r.Findings = append(r.Findings, found...)
	if n := len(r.Findings); !usable && n > 0 {
		r.Stopped = r.Findings[n-1].Check
	}
	if err != nil || !usable {
		return r.stop(r.Stopped, err)
	}
	v := &visit{Patient: p, now: o.Now}
	if v.now.IsZero() {
		if v.now, err = p.Now(ctx); err != nil {
			return r.stop("the time", err)
		}
	}
	for _, c := range checks() {
		progress(c.what)
		f, err := c.run(ctx, v, o.Fix)
		if err != nil {
			return r.stop(c.name, fmt.Errorf("%s: %w", c.name, err))
		}
		r.Findings = append(r.Findings, f)
	}
	return r, nil
}

func (c check) run(ctx context.Context, v *visit, fix bool) (Finding, error) {
	f := Finding{Severity: OK, Check: c.name, What: c.what}
	var err error
	if f.Count, f.Example, err = c.find(ctx, v); err != nil || f.Count == 0 {
		return f, err
	}
	f.Severity, f.Act, f.Fixable = c.severity, c.act, c.mend != nil
	if !fix || c.mend == nil {
		return f, nil
	}
	if err := c.mend(ctx, v); err != nil {
		return f, err
	}
	left, example, err := c.find(ctx, v)
	if err != nil {
		return f, err
	}
	f.Mended, f.Count = max(0, f.Count-left), left
	if left == 0 {
		f.Severity = OK
	} else {
		f.Example = example
	}
	return f, nil
}
