package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/records"
)

// exportArgs is what `errand export` is given.
type exportArgs struct {
	instance, file, dir, from, to string
}

// exported says what became of an export.
type exported struct {
	Instance string `json:"instance"`
	Records  int    `json:"records"`
	File     string `json:"file"`
}

func (a *app) exportCmd() *cobra.Command {
	var g exportArgs
	cmd := a.clientCmd("export", "Write records in the provider's response format, as import reads them", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		f := errand.Filter{Project: project}
		now := time.Now()
		if f.From, err = when("from", g.from, now, -1); err != nil {
			return err
		}
		if f.To, err = when("to", g.to, now, -1); err != nil {
			return err
		}
		if f.Instance, err = s.instanceID(ctx, project, g.instance); err != nil {
			return err
		}
		switch {
		case g.dir != "":
			return a.exportAll(ctx, s, f, g.dir)
		case f.Instance == "":
			return usage("give --instance for one, or --dir for a file of each instance")
		}
		return a.exportOne(ctx, s, f, g.file)
	})
	cmd.Long = `Write the tasks of an instance, newest first, in the format of the provider's list
answers, to standard output or a file; with --dir, those of every instance, each
into DIR/INSTANCE-ID.json. "errand import" reads them back: operation, status, user,
parameters, details, error, progress with its steps, and all times. How a task was
run here is not in the format: attempts, lane, log and result stay behind, and a
task that has not ended comes back as a record of what it was.

The work is done page by page, with the memory of one. A file appears whole or not
at all. In a long history each document has at most 50,000 records, to be imported
in parts where a file exceeds the 64 MiB of one import.`
	cmd.Example = `  errand export --instance orders -f orders.json
  errand export --dir records --from 720h`
	fs := cmd.Flags()
	fs.StringVar(&g.instance, "instance", "", "`ID` or name of the instance")
	fs.StringVarP(&g.file, "file", "f", "-", "`FILE` to write; - is standard output")
	fs.StringVar(&g.dir, "dir", "", "`DIR` for a file of each instance, created if it is not there")
	fs.StringVar(&g.from, "from", "", "only tasks submitted at this `TIME` or later: 2026-01-31T18:00:00Z, 2026-01-31, or 24h before now")
	fs.StringVar(&g.to, "to", "", "only tasks submitted at this `TIME` or before")
	cmd.MarkFlagsMutuallyExclusive("dir", "instance")
	cmd.MarkFlagsMutuallyExclusive("dir", "file")
	a.completeInstance(cmd)
	return cmd
}

func (a *app) exportOne(ctx context.Context, s *session, f errand.Filter, file string) error {
	if file == "-" {
		w := bufio.NewWriter(a.stdout)
		if _, err := s.export(ctx, f, w); err != nil {
			return err
		}
		return w.Flush()
	}
	done, err := s.exportFile(ctx, f, file)
	if err != nil {
		return err
	}
	if a.structured() {
		return a.data(done)
	}
	return a.done("wrote %s, %d records", done.File, done.Records)
}

// exportAll writes a file for each instance.
func (a *app) exportAll(ctx context.Context, s *session, f errand.Filter, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usage("--dir: %w", err)
	}
	var all []errand.Instance
	err := s.everyInstance(ctx, f.Project, func(i errand.Instance) bool { all = append(all, i); return true })
	if err != nil {
		return err
	}
	out := []exported{}
	t := newTable(column{"FILE", isKey}, column{"INSTANCE", isFree}, column{"RECORDS", 0})
	for _, i := range all {
		f.Instance = i.ID
		done, err := s.exportFile(ctx, f, filepath.Join(dir, i.ID+".json"))
		if err != nil {
			return fmt.Errorf("instance %s: %w", i.ID, err)
		}
		out = append(out, done)
		t.add(done.File, i.Name, fmt.Sprint(done.Records))
	}
	return a.print(out, t)
}

func (s *session) exportFile(ctx context.Context, f errand.Filter, file string) (exported, error) {
	done := exported{Instance: f.Instance, File: file}
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() { // to replace a device or a link would be a surprise
		return done, usage("%s is no regular file, and a file is replaced as a whole; leave --file out and send standard output there", file)
	}
	err := replaceFile(file, func(w io.Writer) (err error) {
		b := bufio.NewWriter(w)
		if done.Records, err = s.export(ctx, f, b); err != nil {
			return err
		}
		return b.Flush()
	})
	return done, err
}

// export writes the tasks that f selects. Each page begins where the one before
// ended in time, so that neither new tasks nor deleted ones make it miss any; but
// of more than a page of one moment, as many may be missed as are deleted
// meanwhile.
func (s *session) export(ctx context.Context, f errand.Filter, to io.Writer) (int, error) {
	w := records.NewWriter(to)
	f.Limit, f.Offset = pageSize, 0
	seen := map[string]bool{} // of those that were created at f.To
	for {
		page, err := s.Tasks(ctx, f)
		if err != nil {
			return 0, err
		}
		fresh := false
		for i := range page.Tasks {
			t := &page.Tasks[i]
			if seen[t.ID] {
				continue
			}
			fresh = true
			if !t.CreatedAt.Equal(f.To) {
				clear(seen)
				f.To, f.Offset = t.CreatedAt, 0
			}
			seen[t.ID] = true
			if err := s.exportTask(ctx, t, w); err != nil {
				return 0, err
			}
		}
		if len(page.Tasks) < f.Limit {
			return w.Records(), w.Close()
		}
		if !fresh { // more than a page of one moment
			f.Offset += len(page.Tasks)
		}
	}
}

// exportTask writes one task. A listing has no steps, so they are asked for.
func (s *session) exportTask(ctx context.Context, t *errand.Task, w *records.Writer) error {
	if t.Progress != nil {
		full, err := s.Task(ctx, t.Project, t.ID)
		switch {
		case err == nil:
			t = full
		case errand.ErrorOf(err).Kind == errand.NotFound: // deleted meanwhile
			return nil
		default:
			return err
		}
	}
	return w.Write(t)
}
