package catalog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// The limits of declarations.
const (
	maxFiles      = 1000
	maxFile       = 1 << 20
	maxOperations = 10_000 // of a catalog
	maxNesting    = 64
	maxKept       = 200 // problems of a catalog; what follows is only more of the same
)

// Load returns the built-in operations and those declared in the files of dir
// whose names end in .yaml or .yml; dir may be "" for the built-in ones only.
// Names that begin with a dot, and directories, are passed over. If anything is
// wrong the error is a Problems that tells all of it, and nothing is loaded.
func Load(dir string) (*Catalog, error) {
	c := builtins()
	if dir == "" {
		return c, nil
	}
	files, err := declarations(dir)
	if err != nil {
		return nil, err
	}
	return c.read(files)
}

// CheckFile returns what the one file at path declares, by itself and on top of
// the built-in operations. Its error is that of [Load].
func CheckFile(path string) ([]Entry, error) {
	c, err := builtins().read([]string{path})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(c.Entries(), func(e Entry) bool { return e.File == "" }), nil
}

// read adds what files declare.
func (c *Catalog) read(files []string) (*Catalog, error) {
	var all Problems
	for _, file := range files {
		s := &source{file: file}
		if data, err := readFile(file); err != nil {
			s.problems = append(s.problems, Problem{File: file, Msg: err.Error()})
		} else {
			s.dir = filepath.Dir(file)
			s.add(c, data)
		}
		all = append(all, s.problems...)
		if len(all) >= maxKept {
			break
		}
	}
	if len(all) > 0 {
		return nil, all
	}
	return c, nil
}

// declarations returns the paths of the files of dir that declare operations.
func declarations(dir string) ([]string, error) {
	listed, err := os.ReadDir(dir)
	if err != nil {
		return nil, Problems{{File: dir, Msg: reason(err)}}
	}
	var files []string
	for _, f := range listed {
		name := f.Name()
		if strings.HasPrefix(name, ".") || f.IsDir() || !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
			continue
		}
		files = append(files, filepath.Join(dir, name))
	}
	if len(files) > maxFiles {
		return nil, Problems{{File: dir, Msg: fmt.Sprintf("expected at most %d files of operations, found %d", maxFiles, len(files))}}
	}
	return files, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe would wait for its writer
	if err != nil {
		return nil, errors.New(reason(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("expected a file, found %s", kindOf(info.Mode()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.New(reason(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, errors.New(reason(err))
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("expected at most %d bytes, found more", maxFile)
	}
	return data, nil
}

// reason is what the system says is wrong, without the path, which the Problem
// names.
func reason(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

func kindOf(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	case m.IsRegular():
		return "a file"
	}
	return "a device"
}

// source is one file while it is read.
type source struct {
	file     string
	dir      string // of the file: what relative paths in it start from
	problems Problems
}

// fail notes a problem at a node.
func (s *source) fail(n *yaml.Node, format string, args ...any) {
	if len(s.problems) < maxKept {
		s.problems = append(s.problems, Problem{File: s.file, Line: n.Line, Column: n.Column, Msg: fmt.Sprintf(format, args...)})
	}
}

// add declares in c what data holds: one operation to a YAML document.
func (s *source) add(c *Catalog, data []byte) {
	for _, doc := range s.documents(data) {
		before := len(s.problems)
		s.vet(doc)
		if len(s.problems) > before {
			continue
		}
		for _, e := range s.declaration(doc, c) {
			k := key{e.Engine, e.Name}
			if old := c.entries[k]; old != nil && old.File != "" {
				s.fail(doc, "expected each operation once, found %s %s, which is declared at %s already", e.Engine, e.Name, old.File)
				continue
			}
			if len(c.entries) >= maxOperations {
				s.fail(doc, "expected at most %d operations", maxOperations)
				return
			}
			c.entries[k] = e
		}
	}
	slices.SortStableFunc(s.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// documents parses data into the roots of its documents. Empty ones, as between
// two dividers, are left out.
func (s *source) documents(data []byte) []*yaml.Node {
	if p, ok := unprintable(s.file, data); ok {
		s.problems = append(s.problems, p)
		return nil
	}
	l, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxNesting))))
	if err != nil {
		s.problems = append(s.problems, Problem{File: s.file, Msg: err.Error()})
		return nil
	}
	var docs []*yaml.Node
	for {
		var n yaml.Node
		switch err := l.Load(&n); {
		case errors.Is(err, io.EOF):
			if len(docs) == 0 && len(s.problems) == 0 {
				s.problems = append(s.problems, Problem{File: s.file, Line: 1, Column: 1, Msg: "expected an operation, found an empty file"})
			}
			return docs
		case err != nil:
			s.problems = append(s.problems, unreadable(s.file, err))
			return docs
		}
		if n.Kind == yaml.DocumentNode && len(n.Content) == 1 && n.Content[0].ShortTag() != nullTag {
			docs = append(docs, n.Content[0])
		}
	}
}

// unprintable finds the first byte that is no text. The YAML reader refuses it
// too, without its place.
func unprintable(file string, data []byte) (Problem, bool) {
	p := Problem{File: file, Line: 1, Column: 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			p.Msg = fmt.Sprintf("expected text in UTF-8, found the byte %#x", data[0])
			return p, true
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f:
			p.Msg = fmt.Sprintf("expected text, found the control character %U", r)
			return p, true
		case r == '\n':
			p.Line, p.Column = p.Line+1, 1
		default:
			p.Column++
		}
		data = data[size:]
	}
	return p, false
}

// unreadable gives an error of the YAML reader its place.
func unreadable(file string, err error) Problem {
	p := Problem{File: file, Line: 1, Column: 1, Msg: "expected YAML: " + err.Error()}
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Line, p.Column, p.Msg = max(1, e.Mark.Line), max(1, e.Mark.Column), "expected YAML: "+e.Message
		if e.ContextMsg != "" {
			p.Msg += " " + e.ContextMsg
		}
	}
	return p
}
