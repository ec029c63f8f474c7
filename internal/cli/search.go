package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/nativejson"
)

// searchParts is how often one command asks for a further part of a search: the
// server looks through 20,000 records for each.
const searchParts = 50

// searchTasks prints tasks by what no index keeps, as far as they are found with
// reasonable trouble.
func (a *app) searchTasks(ctx context.Context, s *session, g *listArgs, f errand.Filter) error {
	switch {
	case g.watch:
		return usage("--watch goes without --status, --operation and --user; see `errand watch`")
	case g.offset > 0:
		return usage("a search has no offset; go on with --cursor, which the one before prints")
	}
	o := client.SearchOptions{Filter: f, Operation: g.operation, User: g.user, Cursor: g.cursor}
	for _, status := range g.statuses {
		o.Statuses = append(o.Statuses, errand.Status(status))
	}
	found := []errand.Task{}
	var to time.Time
	for range searchParts {
		o.Limit = f.Limit - len(found)
		part, err := s.Search(ctx, o)
		if err != nil {
			return err
		}
		found = append(found, part.Tasks...)
		o.Cursor, to = part.Next, part.To
		if part.Next == "" || len(found) >= f.Limit {
			break
		}
	}
	if a.structured() {
		out := nativejson.Found{Tasks: []nativejson.Task{}, Next: o.Cursor, LookedTo: nativejson.Moment{Time: to}}
		for i := range found {
			out.Tasks = append(out.Tasks, nativejson.TaskOf(&found[i]))
		}
		return a.data(out)
	}
	t, err := a.taskTable(ctx, s, found, f)
	if err != nil {
		return err
	}
	if err := a.print(nil, t); err != nil || a.output == formName || o.Cursor == "" {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "looked back to %s; further back: --cursor %s\n", stamp(to), o.Cursor)
	return err
}
