// Package house checks what the code of every package has to keep to, and holds
// nothing else.
package house

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/errandhq/errand"

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string // direct
	Deps       []string // all
	GoFiles    []string
}

// graph is every package of the module and what it needs, by import path.
type graph map[string]pkg

// list asks the go command for every package of this module with its dependencies.
func list(t *testing.T) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Standard,Imports,Deps,GoFiles", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	g := graph{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g[p.ImportPath] = p
	}
}

// ours returns the path of a package below the module, or false.
func ours(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// own returns the module's packages in a stable order.
func (g graph) own() []pkg {
	var out []pkg
	for path, p := range g {
		if _, ok := ours(path); ok {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b pkg) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return out
}

// drivers are the modules that speak to a database.
var drivers = []string{"zombiezen.com/go/sqlite", "modernc.org/sqlite", "github.com/jackc/pgx", "database/sql"}

func isDriver(path string) bool {
	return slices.ContainsFunc(drivers, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
}

func isStore(path string) bool { return path == "internal/sqlite" || path == "internal/postgres" }

// below reports whether path is dir or a package below it.
func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// violations checks the direction of dependencies that docs/architecture.md
// sets.
func (g graph) violations() []string {
	var bad []string
	for _, p := range g.own() {
		name, _ := ours(p.ImportPath)
		report := func(dep, why string) { bad = append(bad, fmt.Sprintf("%s needs %s: %s", name, dep, why)) }
		for _, dep := range p.Imports {
			local, isOurs := ours(dep)
			switch {
			case isDriver(dep) && !isStore(name) && name != "internal/pgtest":
				report(dep, "a database driver belongs in a store")
			case name == "internal/tasks" && !g[dep].Standard && local != "." && local != "internal/mask":
				report(dep, "the rules know the vocabulary and how secrets are masked, and nothing else")
			case name == "internal/upkeep" && !g[dep].Standard && local != ".":
				report(dep, "what copies and checks databases knows the vocabulary and nothing else")
			case !isOurs:
			case (local == "internal/cli" || local == "internal/server" || local == "internal/config" || isStore(local)) &&
				name != "internal/cli" && !(name == "cmd/errand" && local == "internal/cli"):
				report(dep, "only internal/cli puts the parts together")
			case isDialect(name) && isDialect(local) && name != local:
				report(dep, "dialects and the console do not know each other")
			}
		}
		for _, dep := range p.Deps {
			local, isOurs := ours(dep)
			switch {
			case (name == "." || name == "internal/mask") && !g[dep].Standard:
				report(dep, "the vocabulary and the masking of secrets need the standard library only")
			case (below(name, "internal/wire") || name == "internal/console") && isOurs && isStore(local):
				report(dep, "dialects and the console see the service, never a store")
			case (name == "client" || name == "worker") && (isDriver(dep) || dep == "html/template" || dep == "text/template"):
				report(dep, "public packages pull in no driver and no template")
			case local == "internal/storetest" || local == "internal/pgtest" || name == "cmd/errand" && dep == "testing":
				report(dep, "tests are in no shipped binary")
			}
		}
	}
	return bad
}

// isDialect reports whether path is the console or a package of one wire format.
func isDialect(path string) bool {
	return path == "internal/console" || strings.HasPrefix(path, "internal/wire/")
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	g := list(t)
	if len(g.own()) < 5 {
		t.Fatalf("go list found %d packages of this module", len(g.own()))
	}
	for _, v := range g.violations() {
		t.Error(v)
	}
}

// TestDependencyRulesBite breaks each rule in turn.
func TestDependencyRulesBite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, to string }{
		{".", "example.com/lib"},
		{"internal/tasks", "example.com/lib"},
		{"internal/tasks", module + "/internal/auth"},
		{"internal/tasks", "database/sql"},
		{"internal/mask", module},
		{"internal/upkeep", module + "/internal/stored"},
		{"internal/upkeep", "github.com/jackc/pgx/v5"},
		{"internal/auth", "zombiezen.com/go/sqlite"},
		{"internal/auth", module + "/internal/sqlite"},
		{"internal/server", "modernc.org/sqlite/lib"},
		{"internal/wire/dms", module + "/internal/wire/dcs"},
		{"internal/wire/dms", module + "/internal/sqlite"},
		{"internal/wire/dms", module + "/internal/server"},
		{"internal/console", module + "/internal/wire/dms"},
		{"client", "html/template"},
		{"client", "github.com/jackc/pgx/v5"},
		{"worker", module + "/internal/config"},
		{"cmd/errand", module + "/internal/server"},
		{"cmd/errand", module + "/internal/storetest"},
		{"cmd/errand", module + "/internal/pgtest"},
		{"cmd/errand", "testing"},
		{"internal/cli", module + "/internal/storetest"},
	} {
		g := graph{}
		for _, path := range []string{"html/template", "text/template", "database/sql", "testing"} {
			g[path] = pkg{ImportPath: path, Standard: true}
		}
		path := strings.TrimSuffix(module+"/"+tt.from, "/.")
		g[path] = pkg{ImportPath: path, Imports: []string{tt.to}, Deps: []string{tt.to}}
		if len(g.violations()) == 0 {
			t.Errorf("no rule keeps %s from %s", tt.from, tt.to)
		}
	}
	for _, tt := range []struct{ from, to string }{
		{"internal/cli", module + "/internal/sqlite"},
		{"cmd/errand", module + "/internal/cli"},
		{"internal/sqlite", "zombiezen.com/go/sqlite/sqlitex"},
		{"internal/tasks", module},
		{"internal/tasks", module + "/internal/mask"},
		{"internal/wire/dms", module + "/internal/wire"},
	} {
		path := module + "/" + tt.from
		g := graph{path: {ImportPath: path, Imports: []string{tt.to}, Deps: []string{tt.to}}}
		if v := g.violations(); len(v) > 0 {
			t.Errorf("%s may need %s, but: %v", tt.from, tt.to, v)
		}
	}
}
