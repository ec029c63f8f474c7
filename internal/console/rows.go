package console

import (
	"context"
	"strconv"

	"github.com/errandhq/errand"
)

// taskRow is a task as a line of a table.
type taskRow struct {
	ID, Short string
	Operation string // machine name
	Title     string // for people; "" if it is not known
	Status    statusView
	Percent   int // -1: nothing to show
	Left      string
	User      string
	Instance  string // id
	Name      string // of the instance
	Created   moment
	Changed   moment
	Starts    moment // of one that is to run later
	Took      string
	Reason    string
	Imported  bool
}

// catalog finds operations by engine and name.
type catalog map[[2]string]errand.Operation

func catalogOf(operations []errand.Operation) catalog {
	all := catalog{}
	for _, o := range operations {
		all[[2]string{string(o.Engine), o.Name}] = o
	}
	return all
}

func (c catalog) of(t *errand.Task) (errand.Operation, bool) {
	o, ok := c[[2]string{string(t.Engine), t.Operation}]
	return o, ok
}

// rows makes lines of tables, and looks up what tasks only name.
type rows struct {
	c         *Console
	v         *visit
	catalog   catalog
	instances map[string]string // names by id
}

func (c *Console) rows(v *visit) *rows {
	return &rows{c: c, v: v, catalog: c.catalog, instances: map[string]string{}}
}

// name returns the name of an instance. One that is gone has none.
func (r *rows) name(ctx context.Context, id string) string {
	if name, ok := r.instances[id]; ok {
		return name
	}
	name := ""
	if i, err := r.c.Find(ctx, r.v.who, r.v.project(), id); err == nil {
		name = clean(i.Name, cutCell)
	}
	r.instances[id] = name
	return name
}

func (r *rows) of(t *errand.Task) taskRow {
	l := r.v.look
	row := taskRow{
		ID: t.ID, Short: short(t.ID), Operation: clean(t.Operation, cutCell), Status: l.status(t.Status), Percent: -1,
		User: clean(t.User.Name, cutCell), Instance: t.Instance, Name: r.name(r.v.Context(), t.Instance),
		Created: l.moment(t.CreatedAt), Changed: l.ago(t.UpdatedAt), Reason: clean(t.Reason, cutCell), Imported: t.Origin != nil,
	}
	if o, ok := r.catalog.of(t); ok {
		row.Title = l.title(o)
	}
	if t.Status == errand.Running && t.Origin == nil {
		row.Percent = 0
		if p := t.Progress; p != nil {
			row.Percent = p.Percent
			if p.Remaining > 0 {
				row.Left = l.t("about %s left", l.duration(p.Remaining))
			}
		}
	}
	if t.Status == errand.Pending && t.Run != nil && t.Run.RunAt.After(l.now) {
		row.Starts = l.ago(t.Run.RunAt)
	}
	switch {
	case t.Status.Final():
		row.Took = l.duration(t.UpdatedAt.Sub(t.CreatedAt))
	case t.Origin == nil:
		row.Took = l.duration(l.now.Sub(t.CreatedAt))
	}
	return row
}

func (r *rows) all(list []errand.Task) []taskRow {
	out := make([]taskRow, 0, len(list))
	for i := range list {
		out = append(out, r.of(&list[i]))
	}
	return out
}

func (r *rows) refs(list []*errand.Task) []taskRow {
	out := make([]taskRow, 0, len(list))
	for _, t := range list {
		out = append(out, r.of(t))
	}
	return out
}

// percent writes a share of a whole for an attribute of SVG.
func percent(part, whole float64) string {
	if whole <= 0 {
		return "0%"
	}
	return strconv.FormatFloat(100*part/whole, 'f', 3, 64) + "%"
}
