package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/errandhq/errand"
)

// The limits of one operation.
const (
	maxTimeout  = 30 * 24 * time.Hour
	maxBackoff  = 24 * time.Hour
	maxAttempts = 100
	maxSecrets  = 64
)

// How long to wait between the attempts of operations that do not say.
const (
	defaultBackoffBase = 5 * time.Second
	defaultBackoffMax  = 5 * time.Minute
)

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,127}$`)
	laneForm   = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)
	secretForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
)

// declaration is one operation while it is read. What a file says is kept as
// changes, because it goes on top of another operation for each engine.
type declaration struct {
	*source
	at      map[string]*yaml.Node // where its members are
	engines []errand.Engine
	name    string
	changes []func(*Entry)
}

func (d *declaration) set(f func(*Entry)) { d.changes = append(d.changes, f) }

// declaration reads one operation and returns an entry for each of its engines,
// or nothing if there is a problem. A built-in operation of c that has its
// engine and name gives the members that it leaves out.
func (s *source) declaration(n *yaml.Node, c *Catalog) []*Entry {
	before := len(s.problems)
	d := &declaration{source: s, at: map[string]*yaml.Node{}}
	members := map[string]func(*yaml.Node){}
	for name, read := range map[string]func(*declaration, *yaml.Node){
		"engine": (*declaration).readEngine, "name": (*declaration).readName,
		"title": (*declaration).readTitle, "title_zh": (*declaration).readTitleZH,
		"params": (*declaration).readParams, "secrets": (*declaration).readSecrets,
		"lane": (*declaration).readLane, "busy": (*declaration).readBusy,
		"timeout": (*declaration).readTimeout, "attempts": (*declaration).readAttempts,
		"backoff": (*declaration).readBackoff, "on_lost": (*declaration).readOnLost,
		"hide_running": (*declaration).readHideRunning, "runner": (*declaration).readRunner,
	} {
		members[name] = func(v *yaml.Node) {
			d.at[name] = v
			read(d, v)
		}
	}
	s.object(n, "an operation", members, "engine", "name")
	var all []*Entry
	for _, engine := range d.engines {
		e := base(c, engine, d.name)
		e.File = fmt.Sprintf("%s:%d", s.file, n.Line)
		for _, change := range d.changes {
			change(e)
		}
		if len(s.problems) == before {
			d.checkTogether(e)
		}
		all = append(all, e)
	}
	if len(s.problems) > before {
		return nil
	}
	return all
}

// base returns what a declaration changes: the built-in operation of its name,
// or the defaults.
func base(c *Catalog, engine errand.Engine, name string) *Entry {
	if e, ok := c.Entry(engine, name); ok && e.File == "" {
		return &e
	}
	return &Entry{Operation: errand.Operation{
		Engine: engine, Name: name, Title: name, TitleZH: name,
		Lane: errand.DefaultLane, Timeout: errand.DefaultTimeout, MaxAttempts: errand.DefaultMaxAttempts,
		Backoff: errand.Backoff{Base: defaultBackoffBase, Max: defaultBackoffMax},
		OnLost:  errand.FailWhenLost, Runner: errand.RemoteRunner,
	}}
}

// checkTogether refuses members that contradict each other.
func (d *declaration) checkTogether(e *Entry) {
	if e.RejectBusy && e.Lane == "" {
		d.fail(d.where("busy", "lane"), "expected a lane beside busy: reject, found lane: none; without a lane an instance is never busy")
	}
	if e.OnLost == errand.RetryWhenLost && e.MaxAttempts < 2 {
		d.fail(d.where("on_lost", "attempts"), "expected attempts of at least 2 beside on_lost: retry, found %d", e.MaxAttempts)
	}
	for _, secret := range e.Secrets {
		if slices.Contains(properties(e.schema), secret) {
			d.fail(d.where("secrets", "params"), "expected secrets that are no params, found %s in both; params are shown to everybody who may read the task", secret)
		}
	}
}

// where returns the first of the named members that the declaration has.
func (d *declaration) where(names ...string) *yaml.Node {
	for _, name := range names {
		if n, ok := d.at[name]; ok {
			return n
		}
	}
	return d.at["name"]
}

func (d *declaration) readEngine(n *yaml.Node) {
	var words []string
	for _, e := range errand.Engines() {
		words = append(words, string(e))
	}
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		if nodes = n.Content; len(nodes) == 0 {
			d.fail(n, "expected an engine, found an empty list")
		}
	}
	for _, one := range nodes {
		word, ok := d.oneOf(one, words...)
		switch engine := errand.Engine(word); {
		case !ok:
		case slices.Contains(d.engines, engine):
			d.fail(one, "expected each engine once, found %s again", word)
		default:
			d.engines = append(d.engines, engine)
		}
	}
}

func (d *declaration) readName(n *yaml.Node) {
	d.name, _ = d.word(n, "the name", nameForm, "a letter and up to 127 letters, digits, dots, dashes and underscores")
}

// word returns a text of the given form.
func (d *declaration) word(n *yaml.Node, what string, form *regexp.Regexp, inWords string) (string, bool) {
	text, ok := d.text(n, what, errand.MaxNameLen)
	if ok && !form.MatchString(text) {
		d.fail(n, "expected %s as %s, found %s", what, inWords, found(n))
		ok = false
	}
	return text, ok
}

// readTitle also sets the Chinese title where there is none yet: an English one
// is better than the machine's name.
func (d *declaration) readTitle(n *yaml.Node) {
	title, _ := d.text(n, "the title", errand.MaxNameLen)
	d.set(func(e *Entry) {
		if e.TitleZH == e.Name {
			e.TitleZH = title
		}
		e.Title = title
	})
}

func (d *declaration) readTitleZH(n *yaml.Node) {
	title, _ := d.text(n, "the title", errand.MaxNameLen)
	d.set(func(e *Entry) { e.TitleZH = title })
}

func (d *declaration) readParams(n *yaml.Node) {
	raw, compiled := d.schema(n)
	d.set(func(e *Entry) { e.Schema, e.schema = raw, compiled })
}

func (d *declaration) readSecrets(n *yaml.Node) {
	var secrets []string
	for _, one := range d.list(n, "names of secrets", maxSecrets) {
		name, ok := d.word(one, "the name of a secret", secretForm, "a letter or underscore and up to 63 letters, digits and underscores")
		if ok && slices.Contains(secrets, name) {
			d.fail(one, "expected each secret once, found %s again", name)
		}
		secrets = append(secrets, name)
	}
	d.set(func(e *Entry) { e.Secrets = secrets })
}

func (d *declaration) readLane(n *yaml.Node) {
	lane, _ := d.word(n, "the lane", laneForm, "none, or a small letter and up to 63 small letters, digits, dots, dashes and underscores")
	if lane == "none" {
		lane = ""
	}
	d.set(func(e *Entry) { e.Lane = lane })
}

func (d *declaration) readBusy(n *yaml.Node) {
	word, _ := d.oneOf(n, "queue", "reject")
	d.set(func(e *Entry) { e.RejectBusy = word == "reject" })
}

func (d *declaration) readTimeout(n *yaml.Node) {
	timeout, _ := d.duration(n, time.Second, maxTimeout)
	d.set(func(e *Entry) { e.Timeout = timeout })
}

func (d *declaration) readAttempts(n *yaml.Node) {
	attempts, _ := d.integer(n, 1, maxAttempts)
	d.set(func(e *Entry) { e.MaxAttempts = attempts })
}

func (d *declaration) readBackoff(n *yaml.Node) {
	b := errand.Backoff{Base: defaultBackoffBase}
	before := len(d.problems)
	d.object(n, "the backoff", map[string]func(*yaml.Node){
		"base": func(v *yaml.Node) { b.Base, _ = d.duration(v, time.Millisecond, maxBackoff) },
		"max":  func(v *yaml.Node) { b.Max, _ = d.duration(v, time.Millisecond, maxBackoff) },
	})
	switch {
	case b.Max == 0:
		b.Max = max(b.Base, defaultBackoffMax)
	case b.Max < b.Base && len(d.problems) == before:
		d.fail(n, "expected a max of at least the base, which is %s, found %s", short(b.Base), short(b.Max))
	}
	d.set(func(e *Entry) { e.Backoff = b })
}

func (d *declaration) readOnLost(n *yaml.Node) {
	word, _ := d.oneOf(n, string(errand.FailWhenLost), string(errand.RetryWhenLost))
	d.set(func(e *Entry) { e.OnLost = errand.LostPolicy(word) })
}

func (d *declaration) readHideRunning(n *yaml.Node) {
	hide, _ := d.boolean(n)
	d.set(func(e *Entry) { e.HideRunning = hide })
}
