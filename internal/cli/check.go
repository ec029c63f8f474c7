package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/nativejson"
)

func (a *app) checkCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "check FILE...", Short: "Check files that declare operations, without a server",
		Long: `Check files that declare operations, or directories of them, and print what they
declare, or what is wrong with each line. Nothing is run and no server is needed.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var found []catalog.Entry
			var problems catalog.Problems
			for _, name := range args {
				entries, err := checkPath(name)
				if p, ok := errors.AsType[catalog.Problems](err); ok {
					problems = append(problems, p...)
				} else if err != nil {
					return err
				}
				found = append(found, entries...)
			}
			return a.checked(found, problems)
		}}
	a.tableFlag(cmd)
	return cmd
}

func checkPath(name string) ([]catalog.Entry, error) {
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		return catalog.CheckFile(name) // which tells what is wrong with it
	}
	c, err := catalog.Load(name)
	if err != nil {
		return nil, err
	}
	var declared []catalog.Entry
	for _, e := range c.Entries() {
		if e.File != "" {
			declared = append(declared, e)
		}
	}
	return declared, nil
}

func (a *app) checked(found []catalog.Entry, problems catalog.Problems) error {
	type problemJSON struct {
		File    string `json:"file"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Message string `json:"message"`
	}
	out := struct {
		Operations []nativejson.Operation `json:"operations"`
		Problems   []problemJSON          `json:"problems"`
	}{[]nativejson.Operation{}, []problemJSON{}}
	t := newTable(column{"ENGINE", 0}, column{"NAME", isKey}, column{"RUNNER", 0}, column{"DECLARED", isFree})
	for _, e := range found {
		out.Operations = append(out.Operations, nativejson.OperationOf(e.Operation))
		t.add(string(e.Engine), e.Name, string(e.Runner), e.File)
	}
	for _, p := range problems {
		out.Problems = append(out.Problems, problemJSON{p.File, p.Line, p.Column, p.Msg})
	}
	switch {
	case a.structured():
		if err := a.data(out); err != nil {
			return err
		}
	case len(problems) > 0:
		for _, p := range problems {
			fmt.Fprintln(a.stdout, plain(p.String()))
		}
	default:
		if err := a.print(out, t); err != nil {
			return err
		}
	}
	if n := len(problems); n > 0 {
		return usage("problems found: %d", n)
	}
	return nil
}
