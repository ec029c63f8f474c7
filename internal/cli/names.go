package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/errandhq/errand"
)

// pageSize is how many things are asked for at a time where all are needed.
const pageSize = 200

// everyInstance calls each for the instances of a project until it returns false.
func (s *session) everyInstance(ctx context.Context, project string, each func(errand.Instance) bool) error {
	for seen := 0; ; {
		page, total, err := s.Instances(ctx, project, seen, pageSize)
		if err != nil {
			return err
		}
		for _, i := range page {
			if !each(i) {
				return nil
			}
		}
		if seen += len(page); len(page) == 0 || seen >= total {
			return nil
		}
	}
}

// instanceID returns the id of the instance that is meant by its id or its name.
func (s *session) instanceID(ctx context.Context, project, given string) (string, error) {
	if given == "" || errand.ValidInstanceID(given) {
		return given, nil
	}
	var ids, names []string
	err := s.everyInstance(ctx, project, func(i errand.Instance) bool {
		names = append(names, i.Name)
		if i.Name == given {
			ids = append(ids, i.ID)
		}
		return true
	})
	switch {
	case err != nil:
		return "", err
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		return "", usage("%d instances are called %.64q; name one of them by its id: %s", len(ids), given, someNames(ids))
	}
	return "", notFound("instance", given, names)
}

// instanceNames returns the names of the instances of tasks, by their ids. What
// was forgotten meanwhile has none.
func (s *session) instanceNames(ctx context.Context, project string, tasks []errand.Task) (map[string]string, error) {
	names := map[string]string{}
	missing := map[string]bool{}
	for _, t := range tasks {
		missing[t.Instance] = true
	}
	if len(missing) == 0 {
		return names, nil
	}
	page, _, err := s.Instances(ctx, project, 0, pageSize)
	if err != nil {
		return nil, err
	}
	for _, i := range page {
		names[i.ID] = i.Name
		delete(missing, i.ID)
	}
	for id := range missing {
		i, err := s.Instance(ctx, project, id)
		if err != nil && errand.ErrorOf(err).Kind != errand.NotFound {
			return nil, err
		}
		names[id] = i.Name
	}
	return names, nil
}

// The bounds of a beginning of a task's id: how long it must be, and among how
// many of the newest tasks it is looked for.
const (
	minPrefix   = 6
	prefixReach = 1000
)

// taskID returns the id of the task that is meant by its id or the beginning of it.
func (s *session) taskID(ctx context.Context, project, given string) (string, error) {
	if len(given) < minPrefix || len(given) >= 32 || strings.Trim(given, "0123456789abcdef") != "" {
		return given, nil // the server says what is wrong with it
	}
	var found []string
	for seen := 0; seen < prefixReach; {
		page, err := s.Tasks(ctx, errand.Filter{Project: project, Offset: seen, Limit: pageSize})
		if err != nil {
			return "", err
		}
		for _, t := range page.Tasks {
			if strings.HasPrefix(t.ID, given) {
				found = append(found, t.ID)
			}
		}
		if seen += len(page.Tasks); len(page.Tasks) == 0 || seen >= page.Total {
			break
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", errand.Errorf(errand.NotFound, "task", "none of the newest %d tasks has an id that begins with %s", prefixReach, given)
	}
	return "", usage("%d tasks have an id that begins with %s: %s", len(found), given, someNames(found))
}

// notFound is the error about a name that nothing has, with the one that may have
// been meant.
func notFound(what, given string, names []string) error {
	return errand.Errorf(errand.NotFound, what, "no %s %.64q%s", what, given, didYouMean(given, names))
}

// suggest adds to an error of the server that there is no such thing what may
// have been meant. The names are asked for only then; whether that works is no
// matter.
func suggest(err error, what, given string, names func() ([]string, error)) error {
	if err == nil {
		return nil
	}
	if e := errand.ErrorOf(err); e.Kind != errand.NotFound || e.Subject != what {
		return err
	}
	all, failed := names()
	if failed != nil {
		return err
	}
	if hint := didYouMean(given, all); hint != "" {
		return fmt.Errorf("%w%s", err, hint)
	}
	return err
}

// didYouMean ends a sentence about a name that nothing has.
func didYouMean(given string, names []string) string {
	best, at := "", max(2, len(given)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(given), strings.ToLower(n), at); d < at {
			best, at = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %.64q?", best)
}

// distance counts the letters to change, add or leave out to make b of a, as far
// as they are fewer than limit.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if d := len(x) - len(y); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		before := row[0]
		row[0] = i + 1
		for j := range y {
			change := before
			if x[i] != y[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(y)]
}

// someNames lists a few names for a message.
func someNames(names []string) string {
	const most = 10
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
