package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The sizes beyond which a file or a function is taken apart.
const (
	maxFileLines = 600
	maxFuncLines = 80
)

// TestCode holds every file that ships to what no linter of ours checks: its
// size, no init functions, a comment on every export.
func TestCode(t *testing.T) {
	t.Parallel()
	files := 0
	for _, p := range list(t).own() {
		for _, name := range p.GoFiles {
			files++
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range violationsIn(fset, f) {
				t.Errorf("%s: %s", filepath.Join(strings.TrimPrefix(p.ImportPath, module+"/"), name), v)
			}
		}
	}
	if files < 20 {
		t.Fatalf("only %d files were looked at", files)
	}
}

func violationsIn(fset *token.FileSet, f *ast.File) []string {
	var bad []string
	lines := func(n ast.Node) int { return fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1 }
	if n := fset.File(f.Pos()).LineCount(); n > maxFileLines {
		bad = append(bad, fmt.Sprintf("%d lines, more than %d", n, maxFileLines))
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if n := lines(d); n > maxFuncLines {
				bad = append(bad, fmt.Sprintf("func %s has %d lines, more than %d", d.Name.Name, n, maxFuncLines))
			}
			if d.Recv == nil && d.Name.Name == "init" {
				bad = append(bad, "has an init function")
			}
			if d.Name.IsExported() && d.Doc == nil && !plainMethod(d) {
				bad = append(bad, fmt.Sprintf("func %s has no comment", d.Name.Name))
			}
		case *ast.GenDecl:
			bad = append(bad, undocumented(d)...)
		}
	}
	return bad
}

// plainMethod reports whether a method's name says it all, or its receiver's
// type is not exported: the comment is on the interface then.
func plainMethod(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return false
	}
	switch d.Name.Name {
	case "String", "Type", "Set", "Error", "Unwrap", "Len", "Less", "Swap":
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	id, ok := t.(*ast.Ident)
	return ok && !id.IsExported()
}

func undocumented(d *ast.GenDecl) []string {
	var bad []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				bad = append(bad, fmt.Sprintf("type %s has no comment", s.Name.Name))
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					bad = append(bad, fmt.Sprintf("%s has no comment", n.Name))
				}
			}
		}
	}
	return bad
}

func TestCodeRulesBite(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"package p\n" + strings.Repeat("\n", maxFileLines),
		"package p\nfunc f() {\n" + strings.Repeat("_ = 0\n", maxFuncLines) + "}\n",
		"package p\nfunc init() {}\n",
		"package p\nfunc F() {}\n",
		"package p\n// T is documented.\ntype T struct{}\nfunc (T) M() {}\n",
		"package p\ntype T struct{}\n",
		"package p\nconst C = 1\n",
		"package p\nvar (\n\tV = 1\n)\n",
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "p.go", src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if len(violationsIn(fset, f)) != 1 {
			t.Errorf("%d violations in %.60q", len(violationsIn(fset, f)), src)
		}
	}
}
