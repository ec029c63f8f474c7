package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// The bounds of the list of instances.
const (
	instancesPage = 50
	maxSearched   = 10_000 // instances that are looked through for a name
)

type instancesView struct {
	frame
	Query   string
	Rows    []instanceRow
	Total   int
	Cut     bool // not all were looked through
	Pages   pager
	New     newInstance
	Problem string
	Open    bool // the form for a new one
	Engines []errand.Engine
}

type newInstance struct{ ID, Name, Engine string }

type instanceRow struct {
	ID, Name, Engine string
	Facts            string
	Running, Waiting int
	Now              string // what runs
	NowID            string
	Percent          int
}

func (c *Console) instances(v *visit) (reply, error) {
	q := strings.TrimSpace(v.URL.Query().Get("q"))
	view := instancesView{frame: c.frame(v, "Instances", "instances"), Query: clean(q, cutCell), Engines: errand.Engines(), Open: v.URL.Query().Has("new")}
	return c.listInstances(v, view, q, 0)
}

func (c *Console) listInstances(v *visit, view instancesView, q string, status int) (reply, error) {
	offset := positive(v.URL.Query().Get("offset"))
	var list []errand.Instance
	var err error
	if q == "" {
		list, view.Total, err = c.Tasks.Instances(v.Context(), v.who, v.project(), offset, instancesPage)
	} else {
		list, view.Cut, err = c.findInstances(v, q)
		view.Total = len(list)
		list = list[min(offset, len(list)):min(offset+instancesPage, len(list))]
	}
	if err != nil {
		return reply{}, err
	}
	unfinished, _, _, err := c.Runs.Unfinished(v.Context(), v.who, v.project(), "", tasks.MaxUnfinished)
	if err != nil {
		return reply{}, err
	}
	queue := map[string]instanceRow{}
	for _, t := range unfinished {
		row := queue[t.Instance]
		if t.Status == errand.Running {
			row.Running++
			row.Now, row.NowID = clean(t.Operation, cutCell), t.ID
			if t.Progress != nil {
				row.Percent = t.Progress.Percent
			}
		} else {
			row.Waiting++
		}
		queue[t.Instance] = row
	}
	for _, i := range list {
		row := queue[i.ID]
		row.ID, row.Name, row.Engine, row.Facts = i.ID, clean(i.Name, cutCell), engineNames[i.Engine], facts(i, 3)
		view.Rows = append(view.Rows, row)
	}
	view.Live = "project=1"
	view.Pages = v.pager(offset, instancesPage, len(view.Rows), view.Total)
	return reply{page: "instances", view: view, status: status}, nil
}

// findInstances looks for a part of a name or an id.
func (c *Console) findInstances(v *visit, q string) (found []errand.Instance, cut bool, err error) {
	q = strings.ToLower(q)
	for at := 0; at < maxSearched; at += tasks.MaxLimit {
		list, total, err := c.Tasks.Instances(v.Context(), v.who, v.project(), at, tasks.MaxLimit)
		if err != nil {
			return nil, false, err
		}
		for _, i := range list {
			if strings.Contains(strings.ToLower(i.Name), q) || strings.Contains(i.ID, q) {
				found = append(found, i)
			}
		}
		if at+len(list) >= total || len(list) == 0 {
			return found, false, nil
		}
	}
	return found, true, nil
}

// facts says the first n attributes of an instance in a line.
func facts(i errand.Instance, n int) string {
	var parts []string
	for _, a := range attributes(i) {
		if len(parts) == n {
			break
		}
		parts = append(parts, a.Name+" "+a.Value)
	}
	return clean(strings.Join(parts, " · "), cutCell)
}

// register adds an instance.
func (c *Console) register(v *visit) (reply, error) {
	f := v.PostForm
	in := newInstance{ID: strings.TrimSpace(f.Get("id")), Name: strings.TrimSpace(f.Get("name")), Engine: f.Get("engine")}
	i, err := c.Tasks.Register(v.Context(), v.who, errand.Instance{Project: v.project(), ID: in.ID, Name: in.Name, Engine: errand.Engine(in.Engine)})
	if e := errand.ErrorOf(err); e != nil {
		if e.Kind != errand.Invalid && e.Kind != errand.Conflict {
			return reply{}, err
		}
		view := instancesView{frame: c.frame(v, "Instances", "instances"), New: in, Problem: clean(e.Msg, cutLine), Open: true, Engines: errand.Engines()}
		return c.listInstances(v, view, "", http.StatusBadRequest)
	}
	return reply{to: "instances/" + i.ID + "?done=registered"}, nil
}

// pager leads to the neighbours of a page of a list.
type pager struct {
	First, Last, Total int    // of what is shown, counted from 1
	Prev, Next         string // queries; "" if there is none
}

func (v *visit) pager(offset, limit, n, total int) pager {
	p := pager{First: min(offset+1, total), Last: offset + n, Total: total}
	at := func(offset int) string {
		q := v.URL.Query()
		q.Set("offset", strconv.Itoa(offset))
		q.Del("done")
		return "?" + q.Encode()
	}
	if offset > 0 {
		p.Prev = at(max(0, offset-limit))
	}
	if offset+n < total && n > 0 {
		p.Next = at(offset + n)
	}
	return p
}

// positive reads a number of a query. What is none is 0, and what is more than
// any list has is as if nothing were left.
func positive(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return min(n, 1<<40)
}

// instanceOptions lists instances to choose from, up to a number of them.
func (c *Console) instanceOptions(ctx context.Context, v *visit) (list []errand.Instance, total int, err error) {
	return c.Tasks.Instances(ctx, v.who, v.project(), 0, tasks.MaxLimit)
}

// query makes an address with parameters of pairs.
func query(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
