package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
)

func (a *app) importCmd() *cobra.Command {
	var instance string
	cmd := a.clientCmd("import FILE...", "Store records in the provider's response format", cobra.MinimumNArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			in, err := a.readImport(args)
			if err != nil {
				return err
			}
			project, err := s.project(ctx)
			if err != nil {
				return err
			}
			if instance, err = s.instanceID(ctx, project, instance); err != nil {
				return err
			}
			done, err := in.send(ctx, s.Client, project, instance)
			if err != nil {
				return err
			}
			if a.structured() {
				return a.data(done)
			}
			if done.Announced > done.Records {
				fmt.Fprintf(a.stderr, "errand: the input announces %d records and holds %d: pages may be missing\n", done.Announced, done.Records)
			}
			return a.done("%d records: %d added, %d updated, %d unchanged", done.Records, done.Added, done.Updated, done.Unchanged)
		})
	cmd.Long = `Store the records in FILEs, which hold answers of the provider's list and show
calls, one or more in each; "-" is standard input. All records of all files are
stored, or none. Records that are there already stay as they are, so that an
import may be repeated.`
	cmd.Flags().StringVar(&instance, "instance", "", "`ID` or name of the instance that the records are of")
	_ = cmd.MarkFlagRequired("instance")
	a.completeInstance(cmd)
	return cmd
}

// importInput is the content of several files on its way to the server.
type importInput struct {
	body  bytes.Buffer
	files []importFile
}

// importFile is where a file's content lies in the body.
type importFile struct {
	name      string
	at        int // in bytes
	documents int
	records   []int // in each document
}

// readImport reads files and checks that each is whole: documents must not run
// on from one file into the next.
func (a *app) readImport(names []string) (*importInput, error) {
	in := &importInput{}
	for _, name := range names {
		at := in.body.Len()
		if err := a.appendFile(&in.body, name); err != nil {
			return nil, err
		}
		f := importFile{name: name, at: at}
		if err := f.count(in.body.Bytes()[at:]); err != nil {
			return nil, err
		}
		in.files = append(in.files, f)
		in.body.WriteByte('\n')
	}
	return in, nil
}

func (a *app) appendFile(to *bytes.Buffer, name string) error {
	var from io.Reader = a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usageError{err}
		}
		defer f.Close()
		from = f
	}
	left := int64(client.MaxImport - to.Len())
	n, err := io.Copy(to, io.LimitReader(from, left+1))
	if err == nil && n > left {
		err = usage("%s: an import is at most %d bytes; split it", name, client.MaxImport)
	}
	return err
}

// count finds the documents of a file. What is in them is the server's to judge.
func (f *importFile) count(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) && f.documents > 0 {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return usage("%s is empty; expected an answer of the provider's list or show call", f.name)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return usage("%s ends in the middle of a document (document %d)", f.name, f.documents+1)
		case err != nil:
			return usage("%s is not JSON (document %d, after byte %d): %w", f.name, f.documents+1, d.InputOffset(), err)
		}
		var doc struct {
			Tasks []json.RawMessage `json:"tasks"`
		}
		_ = json.Unmarshal(raw, &doc) // another form: the server says what is wrong with it
		f.documents++
		f.records = append(f.records, len(doc.Tasks))
	}
}

func (in *importInput) send(ctx context.Context, c *client.Client, project, instance string) (client.Imported, error) {
	done, err := c.Import(ctx, project, instance, bytes.NewReader(in.body.Bytes()))
	return done, in.place(err)
}

var (
	documentPlace = regexp.MustCompile(`^document (\d+)(, record \d+)?(?: \((after )?byte (\d+)\))?`)
	recordPlace   = regexp.MustCompile(`^record (\d+): `)
)

// place says in which file an error is, instead of where in all of them together.
func (in *importInput) place(err error) error {
	if err == nil {
		return nil
	}
	e := *errand.ErrorOf(err)
	if m := documentPlace.FindStringSubmatch(e.Msg); m != nil {
		n, _ := strconv.Atoi(m[1])
		for _, f := range in.files {
			if n > f.documents {
				n -= f.documents
				continue
			}
			where := fmt.Sprintf("%s: document %d%s", f.name, n, m[2])
			if m[4] != "" {
				at, _ := strconv.Atoi(m[4])
				where += fmt.Sprintf(" (%sbyte %d)", m[3], at-f.at)
			}
			e.Msg = where + e.Msg[len(m[0]):]
			return replaced(err, &e)
		}
	}
	if m := recordPlace.FindStringSubmatch(e.Msg); m != nil {
		n, _ := strconv.Atoi(m[1])
		for _, f := range in.files {
			for i, records := range f.records {
				if n > records {
					n -= records
					continue
				}
				e.Msg = fmt.Sprintf("%s: document %d, record %d: %s", f.name, i+1, n, e.Msg[len(m[0]):])
				return replaced(err, &e)
			}
		}
	}
	return err
}

// replaced returns err with another cause and the same request id.
func replaced(err error, e *errand.Error) error {
	if answer, ok := errors.AsType[*client.Error](err); ok {
		c := *answer
		c.Err = e
		return &c
	}
	return e
}
