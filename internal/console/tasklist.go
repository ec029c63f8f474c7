package console

import (
	"net/url"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// taskTable is a page of a listing, with what it was filtered by.
type taskTable struct {
	Filter   filterView
	Problem  string
	Rows     []taskRow
	Pages    pager
	Instance string // all are of this one; "" if they are of several

	// Of a search, which has no total and goes on with a cursor.
	Searched bool
	Looked   moment // how far back was looked, if not to the end
	Next     string
}

// filterView is what the form of a filter holds.
type filterView struct {
	From, To, Instance, Engine, Operation, User string
	Statuses                                    map[string]bool
}

func filterOf(v *visit) filterView {
	q := v.URL.Query()
	f := filterView{
		From: v.look.typed(q.Get("from"), false), To: v.look.typed(q.Get("to"), true), Instance: q.Get("instance"), Engine: q.Get("engine"),
		Operation: clean(q.Get("operation"), cutCell), User: clean(q.Get("user"), cutCell), Statuses: map[string]bool{},
	}
	for _, s := range q["status"] {
		f.Statuses[s] = true
	}
	return f
}

type taskListView struct {
	frame
	Table    taskTable
	Statuses []statusChoice
	Engines  []errand.Engine
	Filtered bool
}

type statusChoice struct {
	Value, Word string
	Chosen      bool
}

// taskList lists the tasks of a project. Without a status, an operation or a user
// it is the listing of the API, with its total; with one of them it is a search.
func (c *Console) taskList(v *visit) (reply, error) {
	view := taskListView{frame: c.frame(v, "Tasks", "tasks"), Engines: errand.Engines()}
	table := taskTable{Filter: filterOf(v)}
	for _, s := range errand.Statuses() {
		view.Statuses = append(view.Statuses, statusChoice{string(s), v.look.t(statusWords[s]), table.Filter.Statuses[string(s)]})
	}
	q := v.URL.Query()
	for _, name := range []string{"from", "to", "instance", "engine", "operation", "user", "status", "offset"} {
		view.Filtered = view.Filtered || q.Get(name) != ""
	}
	f, problem := v.filter()
	f.Engine = errand.Engine(q.Get("engine"))
	f.Instance = strings.TrimSpace(q.Get("instance"))
	if problem == "" && f.Instance != "" && !errand.ValidInstanceID(f.Instance) {
		problem = c.instanceByName(v, &f)
	}
	table.Problem = problem
	if problem == "" {
		if err := c.fill(v, &table, f); err != nil {
			return reply{}, err
		}
		if !table.Searched { // to look through the records once more after every change would be too much
			view.Live = "project=1"
		}
	}
	view.Table = table
	return reply{page: "tasks", view: view}, nil
}

// instanceByName puts the id of an instance in place of its name, or says what is
// wrong with that.
func (c *Console) instanceByName(v *visit, f *errand.Filter) string {
	found, cut, err := c.findInstances(v, f.Instance)
	if err != nil {
		return clean(errand.ErrorOf(err).Msg, cutLine)
	}
	exact := ""
	for _, i := range found {
		if i.Name == f.Instance {
			if exact != "" {
				return v.look.t("Several instances are called %s; give the id of one.", clean(f.Instance, cutCell))
			}
			exact = i.ID
		}
	}
	if exact == "" && cut {
		return v.look.t("Only the first 10,000 instances were looked through.")
	}
	if exact == "" {
		return v.look.t("There is no instance %s.", clean(f.Instance, cutCell))
	}
	f.Instance = exact
	return ""
}

// fill lists or searches.
func (c *Console) fill(v *visit, table *taskTable, f errand.Filter) error {
	q := v.URL.Query()
	search := tasks.Search{Filter: f, Operation: strings.TrimSpace(q.Get("operation")), User: strings.TrimSpace(q.Get("user")), Cursor: q.Get("cursor")}
	for _, s := range q["status"] {
		if s != "" {
			search.Statuses = append(search.Statuses, errand.Status(s))
		}
	}
	table.Searched = search.Operation != "" || search.User != "" || len(search.Statuses) > 0
	var err error
	var list []errand.Task
	if table.Searched {
		search.Offset = 0
		var found tasks.Found
		if found, err = c.Tasks.Search(v.Context(), v.who, search); err == nil {
			list, table.Next = found.Tasks, nextCursor(v.URL.Query(), found.Next)
			if found.Next != "" {
				table.Looked = v.look.moment(found.To)
			}
		}
	} else {
		var p errand.Page
		p, err = c.Tasks.List(v.Context(), v.who, f)
		list = p.Tasks
		table.Pages = v.pager(f.Offset, f.Limit, len(p.Tasks), p.Total)
	}
	if e := errand.ErrorOf(err); e != nil {
		if e.Kind != errand.Invalid && e.Kind != errand.NotFound {
			return err
		}
		table.Problem = clean(e.Msg, cutLine)
		return nil
	}
	table.Rows = c.rows(v).all(list)
	return nil
}

func nextCursor(q url.Values, cursor string) string {
	if cursor == "" {
		return ""
	}
	q.Set("cursor", cursor)
	q.Del("done")
	return "?" + q.Encode()
}

// typed is a time of an address as the field for one shows it; what is none stays
// as it is, beside the word that it is none.
func (l look) typed(text string, end bool) string {
	if t, ok := l.parse(text, end); ok {
		return l.inputTime(t)
	}
	return text
}

// inputTime writes a time as the field for one wants it.
func (l look) inputTime(t time.Time) string { return t.In(l.zone).Format("2006-01-02T15:04:05") }
