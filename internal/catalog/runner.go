package catalog

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/errandhq/errand"
)

// The limits of local runners.
const (
	maxPath  = 4096
	maxArgs  = 256
	maxArg   = 4096
	maxSteps = 100
)

func (d *declaration) readRunner(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != textTag || n.Value != string(errand.RemoteRunner) {
			d.fail(n, "expected worker, program: {…} or simulate: {…}, found %s", found(n))
		}
		d.set(func(e *Entry) { e.Runner, e.Program, e.Simulation = errand.RemoteRunner, nil, nil })
		return
	}
	if len(n.Content) != 2 {
		d.fail(n, "expected one runner, found %d", len(n.Content)/2)
		return
	}
	d.object(n, "a runner", map[string]func(*yaml.Node){
		string(errand.ProgramRunner): func(v *yaml.Node) {
			p := d.program(v)
			d.set(func(e *Entry) { e.Runner, e.Program, e.Simulation = errand.ProgramRunner, p, nil })
		},
		string(errand.SimulationRunner): func(v *yaml.Node) {
			s := d.simulation(v)
			d.set(func(e *Entry) { e.Runner, e.Program, e.Simulation = errand.SimulationRunner, nil, s })
		},
	})
}

// program reads a declaration of a local program and looks whether it is there:
// an operation that can never start is better found now.
func (d *declaration) program(n *yaml.Node) *Program {
	p := &Program{}
	d.object(n, "a program", map[string]func(*yaml.Node){
		"path": func(v *yaml.Node) {
			p.Path = d.path(v, "the program's path", func(m os.FileMode) error {
				switch {
				case !m.IsRegular():
					return fmt.Errorf("expected a program, found %s", kindOf(m))
				case m&0o111 == 0:
					return fmt.Errorf("expected a program, found a file that is not executable (mode %#o)", m.Perm())
				}
				return nil
			})
		},
		"args": func(v *yaml.Node) {
			for _, one := range d.list(v, "arguments", maxArgs) {
				if arg, ok := d.argument(one); ok {
					p.Args = append(p.Args, arg)
				}
			}
		},
		"dir": func(v *yaml.Node) {
			p.Dir = d.path(v, "the directory", func(m os.FileMode) error {
				if !m.IsDir() {
					return fmt.Errorf("expected a directory, found %s", kindOf(m))
				}
				return nil
			})
		},
	}, "path")
	return p
}

// argument returns a text that may be empty.
func (d *declaration) argument(n *yaml.Node) (string, bool) {
	if n.ShortTag() == textTag && n.Value == "" {
		return "", true
	}
	return d.text(n, "an argument", maxArg)
}

// path returns a path as an absolute one, if what is there passes the check.
func (d *declaration) path(n *yaml.Node, what string, check func(os.FileMode) error) string {
	path, ok := d.text(n, what, maxPath)
	if !ok {
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(d.dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		d.fail(n, "expected %s, found %s: %s", what, found(n), reason(err))
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		d.fail(n, "expected %s, found %s: %s: %s", what, found(n), path, reason(err))
		return ""
	}
	if err := check(info.Mode()); err != nil {
		d.fail(n, "%s: %s", err, path)
	}
	return path
}

func (d *declaration) simulation(n *yaml.Node) *Simulation {
	s := &Simulation{}
	before := len(d.problems)
	d.object(n, "a simulation", map[string]func(*yaml.Node){
		"duration":   func(v *yaml.Node) { s.Duration, _ = d.duration(v, 0, maxTimeout) },
		"steps":      func(v *yaml.Node) { s.Steps = d.steps(v) },
		"fail_rate":  func(v *yaml.Node) { s.FailRate = d.rate(v) },
		"error_code": func(v *yaml.Node) { s.ErrorCode, _ = d.text(v, "the error code", errand.MaxNameLen) },
		"error":      func(v *yaml.Node) { s.Reason, _ = d.text(v, "the error", errand.MaxAttributeLen) },
	})
	if len(d.problems) == before {
		d.spread(n, s)
	}
	if s.FailRate > 0 && s.Reason == "" {
		s.Reason = "the simulation failed, as declared"
	}
	return s
}

func (d *declaration) steps(n *yaml.Node) []SimulatedStep {
	var steps []SimulatedStep
	for _, one := range d.list(n, "steps", maxSteps) {
		step := SimulatedStep{Duration: -1}
		d.object(one, "a step", map[string]func(*yaml.Node){
			"name":     func(v *yaml.Node) { step.Name, _ = d.text(v, "the name of a step", errand.MaxNameLen) },
			"duration": func(v *yaml.Node) { step.Duration, _ = d.duration(v, 0, maxTimeout) },
		}, "name")
		steps = append(steps, step)
	}
	return steps
}

// spread gives every step its time. Steps have durations of their own, which add
// up, or share that of the whole in equal parts.
func (d *declaration) spread(n *yaml.Node, s *Simulation) {
	timed, sum := 0, time.Duration(0)
	for _, step := range s.Steps {
		if step.Duration >= 0 {
			timed++
			sum += step.Duration
		}
	}
	_, whole := member(n, "duration")
	switch {
	case len(s.Steps) == 0 && !whole:
		d.fail(n, "expected the member duration or steps of a simulation, found neither")
	case timed == 0 && !whole:
		d.fail(n, "expected a duration of the simulation or of each of its steps, found none")
	case timed > 0 && whole:
		d.fail(n, "expected a duration of the simulation or of each of its steps, found both")
	case timed > 0 && timed < len(s.Steps):
		d.fail(n, "expected a duration of each step, found it in %d of %d", timed, len(s.Steps))
	case timed > 0:
		s.Duration = sum
	default:
		for i := range s.Steps {
			s.Steps[i].Duration = s.Duration / time.Duration(len(s.Steps))
		}
	}
}

func (d *declaration) rate(n *yaml.Node) float64 {
	f, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64)
	tag := n.ShortTag()
	if tag != floatTag && tag != intTag || err != nil || math.IsNaN(f) || f < 0 || f > 1 {
		d.fail(n, "expected a number of 0 to 1, found %s", found(n))
		return 0
	}
	return f
}

// member returns the value of a member of a mapping.
func member(n *yaml.Node, name string) (*yaml.Node, bool) {
	for k, v := range pairs(n) {
		if k.Value == name {
			return v, true
		}
	}
	return nil, false
}
