package console

import (
	"cmp"
	"slices"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// operationRow is an operation as pages show it.
type operationRow struct {
	Engine, EngineName, Name, Title string
	Runner                          string
	Lane                            string
	Secrets                         int
}

var runnerWords = map[errand.RunnerKind]string{
	errand.RemoteRunner: "a worker", errand.ProgramRunner: "a program on the server", errand.SimulationRunner: "a simulation",
}

func (l look) operation(o errand.Operation) operationRow {
	return operationRow{
		Engine: string(o.Engine), EngineName: engineNames[o.Engine], Name: clean(o.Name, cutCell), Title: l.title(o),
		Runner: l.t(runnerWords[o.Runner]), Lane: cmp.Or(clean(o.Lane, cutCell), l.t("beside any")), Secrets: len(o.Secrets),
	}
}

type operationsView struct {
	frame
	Groups []operationGroup
}

type operationGroup struct {
	Engine string
	Rows   []operationRow
}

func (c *Console) operations(v *visit) (reply, error) {
	view := operationsView{frame: c.frame(v, "Operations", "operations")}
	for _, o := range c.Operations() {
		row := v.look.operation(o)
		if n := len(view.Groups); n == 0 || view.Groups[n-1].Engine != row.EngineName {
			view.Groups = append(view.Groups, operationGroup{Engine: row.EngineName})
		}
		g := &view.Groups[len(view.Groups)-1]
		g.Rows = append(g.Rows, row)
	}
	return reply{page: "operations", view: view}, nil
}

type operationView struct {
	frame
	Op      operationRow
	Facts   []fact
	Fields  []paramRow
	Open    bool // takes parameters that are not named
	Secrets []string
	Schema  string
}

// paramRow is a parameter that an operation takes.
type paramRow struct {
	Name, Kind, Help string
	Needed           bool
}

func (c *Console) operation(v *visit) (reply, error) {
	o, ok := c.catalog[[2]string{v.PathValue("engine"), v.PathValue("operation")}]
	if !ok {
		return reply{}, errand.Errorf(errand.NotFound, "operation", "there is no such operation")
	}
	l := v.look
	view := operationView{frame: c.frame(v, "Operation", "operations"), Op: l.operation(o), Schema: indented(string(o.Schema)), Secrets: o.Secrets}
	view.Title = view.Op.Name
	add := func(name, text string) { view.Facts = append(view.Facts, fact{Name: l.t(name), Text: text}) }
	add("Engine", view.Op.EngineName)
	add("Run by", view.Op.Runner)
	add("Lane", view.Op.Lane)
	if o.Timeout > 0 {
		add("Time limit of an attempt", l.duration(o.Timeout))
	}
	add("Attempts", l.t("up to %d", max(1, o.MaxAttempts)))
	if o.OnLost == errand.RetryWhenLost {
		add("When its worker is lost", l.t("it is tried again"))
	} else {
		add("When its worker is lost", l.t("it fails: its outcome is unknown"))
	}
	if o.RejectBusy {
		add("When the lane is taken", l.t("it is refused"))
	}
	s := readSchema(o.Schema)
	view.Open = !s.Closed
	view.Fields = l.params(s, "")
	return reply{page: "operation", view: view}, nil
}

// params lists the parameters of a schema, those within others under their
// names.
func (l look) params(s *schema, in string) []paramRow {
	var out []paramRow
	for _, f := range l.fields(s, "", 1, nil) {
		name := in + tokenOfPointer(f.Name)
		kind := "JSON"
		if n := len(f.schema.Types); n > 0 {
			kind = f.schema.Types[0]
			for _, t := range f.schema.Types[1:] {
				kind += " | " + t
			}
		}
		if f.Kind == "choice" && !f.schema.is("boolean") {
			kind = ""
			for i, o := range f.Options {
				if i > 0 {
					kind += " | "
				}
				kind += o.Text
			}
		}
		out = append(out, paramRow{clean(name, cutCell), kind, f.Help, f.Required})
		if f.Kind == "group" {
			out = append(out, l.params(f.schema, name+".")...)
		}
	}
	return out
}

type workersView struct {
	frame
	Rows []workerRow
}

type workerRow struct {
	Name        string
	Server      bool // runs on the server itself
	Alive       bool
	Since, Seen moment
	Operations  []string
	More        int // operations that are not named
	Engines     string
	Doing       []taskRow
}

// The bounds of what a worker's row shows.
const (
	operationsShown = 6
	aliveFor        = tasks.Absent
)

func (c *Console) workers(v *visit) (reply, error) {
	list, err := c.Runs.Workers(v.who, v.project())
	if err != nil {
		return reply{}, err
	}
	unfinished, _, _, err := c.Runs.Unfinished(v.Context(), v.who, v.project(), "", tasks.MaxUnfinished)
	if err != nil {
		return reply{}, err
	}
	l, rows := v.look, c.rows(v)
	view := workersView{frame: c.frame(v, "Workers", "workers")}
	view.Live = "project=1"
	doing := map[string][]taskRow{}
	for _, t := range unfinished {
		if t.Status == errand.Running {
			doing[t.Run.Lease.Worker] = append(doing[t.Run.Lease.Worker], rows.of(t))
		}
	}
	for _, w := range list {
		row := workerRow{
			Name: clean(w.Name, cutCell), Server: w.Project == "", Alive: l.now.Sub(w.Seen) <= aliveFor, Since: l.ago(w.Since), Seen: l.ago(w.Seen),
			Doing: doing[w.Name],
		}
		names := slices.Sorted(slices.Values(w.Operations))
		row.More = max(0, len(names)-operationsShown)
		for _, n := range names[:len(names)-row.More] {
			row.Operations = append(row.Operations, clean(n, cutCell))
		}
		for i, e := range w.Engines {
			if i > 0 {
				row.Engines += ", "
			}
			row.Engines += engineNames[e]
		}
		row.Alive = row.Alive || len(row.Doing) > 0
		view.Rows = append(view.Rows, row)
	}
	slices.SortStableFunc(view.Rows, func(a, b workerRow) int {
		switch {
		case a.Alive == b.Alive:
			return 0
		case a.Alive:
			return -1
		}
		return 1
	})
	return reply{page: "workers", view: view}, nil
}
