// Package catalog knows the operations that may be submitted: the built-in ones,
// which the provider's reference pages and clients name, and those that an
// administrator declares in YAML files. Docs: docs/operations.md.
package catalog

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/records"
)

// builtin declares the built-in operations, in the format of everybody's.
//
//go:embed builtin.yaml
var builtin []byte

// Entry is one operation of a catalog, with the declaration of the local runner
// that its Runner names. What an Entry points to must not be changed.
type Entry struct {
	errand.Operation

	Program    *Program    // of errand.ProgramRunner, else nil
	Simulation *Simulation // of errand.SimulationRunner, else nil

	// File is where it was declared, as file:line; "" is built in.
	File string

	schema *jsonschema.Schema // nil takes any object
}

// Program is a local program that runs an operation.
type Program struct {
	Path string   // absolute; it was executable when the catalog was loaded
	Args []string // after the name
	Dir  string   // where it runs, absolute; "": a new directory for each attempt
}

// Simulation pretends to run an operation.
type Simulation struct {
	Duration time.Duration // of all steps together
	Steps    []SimulatedStep
	FailRate float64 // how many of all attempts fail, 0 to 1

	ErrorCode string // of those that fail
	Reason    string
}

// SimulatedStep is one step of a simulation.
type SimulatedStep struct {
	Name     string
	Duration time.Duration
}

// Catalog is a set of operations, one to an engine and name. It does not change
// and may be used by many goroutines.
type Catalog struct {
	entries map[key]*Entry
}

type key struct {
	engine errand.Engine
	name   string
}

// Builtin returns the built-in operations in the order of [Catalog.Entries].
func Builtin() []errand.Operation { return builtins().Operations() }

// builtins returns a catalog of the built-in operations only.
func builtins() *Catalog {
	c := &Catalog{entries: map[key]*Entry{}}
	s := &source{file: "built-in operations"}
	s.add(c, builtin)
	if len(s.problems) > 0 {
		panic(s.problems) // the file is part of the program, and a test reads it
	}
	for _, e := range c.entries {
		e.File = ""
	}
	return c
}

// Operation returns the operation of an engine that has a name.
func (c *Catalog) Operation(engine errand.Engine, name string) (errand.Operation, bool) {
	e, ok := c.Entry(engine, name)
	return e.Operation, ok
}

// Entry returns what is declared under a name for an engine.
func (c *Catalog) Entry(engine errand.Engine, name string) (Entry, bool) {
	if e, ok := c.entries[key{engine, name}]; ok {
		return *e, true
	}
	return Entry{}, false
}

// Entries returns every entry: by engine in the order of [errand.Engines], then
// by name.
func (c *Catalog) Entries() []Entry {
	all := make([]Entry, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, *e)
	}
	rank := errand.Engines()
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(slices.Index(rank, a.Engine), slices.Index(rank, b.Engine)), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Operations returns the operations of Entries.
func (c *Catalog) Operations() []errand.Operation {
	var all []errand.Operation
	for _, e := range c.Entries() {
		all = append(all, e.Operation)
	}
	return all
}

// Check holds parameters against the schema of an operation of the catalog. Its
// error is Invalid about "params": it says where they are wrong and what would
// be right, and repeats no value, since they may hold personal data.
func (c *Catalog) Check(o errand.Operation, params json.RawMessage) error {
	e, ok := c.entries[key{o.Engine, o.Name}]
	if !ok {
		return errand.Errorf(errand.NotFound, "operation", "no operation %.64q is declared for %s instances", o.Name, o.Engine)
	}
	v, err := decodeParams(params)
	if err != nil {
		return errand.Errorf(errand.Invalid, "params", "%s", err)
	}
	if e.schema == nil {
		return nil
	}
	if err := e.schema.Validate(v); err != nil {
		return errand.Errorf(errand.Invalid, "params", "params do not fit %s: %s", e.Name, explain(err))
	}
	return nil
}

// A Problem is one thing that is wrong with a declaration.
type Problem struct {
	File         string
	Line, Column int // counted from 1; 0 where the whole file is meant
	Msg          string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Msg)
}

// Problems is the error of declarations that cannot be used, in the order of
// their files and lines.
type Problems []Problem

// maxProblems is how many problems the text of an error lists.
const maxProblems = 20

func (p Problems) Error() string {
	text := ""
	for i, one := range p {
		if i == maxProblems {
			return fmt.Sprintf("%s\nand %d more", text, len(p)-i)
		}
		if i > 0 {
			text += "\n"
		}
		text += one.String()
	}
	return text
}

// Details returns what the parameters of a task of a Redis instance tell of
// before and after, in the members that the provider documents for its listings.
// The other products have no such values.
func (c *Catalog) Details(o errand.Operation, params json.RawMessage) json.RawMessage {
	if o.Engine != errand.Redis {
		return nil
	}
	return records.Details(params)
}
