package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
)

// The words of --color.
const (
	colourAuto   = "auto"
	colourAlways = "always"
	colourNever  = "never"
)

func (a *app) colourFlag(root *cobra.Command) {
	a.colour = colourAuto
	words := []string{colourAuto, colourAlways, colourNever}
	root.PersistentFlags().Var(&oneOf{p: &a.colour, of: words}, "color", "colour the output: auto (on a terminal, unless NO_COLOR is set), always or never")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// painter gives words their colours, or leaves them as they are.
type painter bool

// paint returns what colours standard output.
func (a *app) paint() painter { return a.painterOf(a.stdout) }

func (a *app) painterOf(w io.Writer) painter {
	switch a.colour {
	case colourAlways:
		return true
	case colourNever:
		return false
	}
	return painter(isTerminal(w) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb")
}

func (p painter) with(code, text string) string {
	if !p || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p painter) heading(text string) string { return p.with("1", text) }

// status colours the word for a status of a task or a step.
func (p painter) status(word string) string { return p.with(p.code(word), word) }

func (painter) code(word string) string {
	switch word {
	case string(errand.Succeeded), "ok", "enabled", "fixed":
		return "32" // green
	case string(errand.Failed), "error":
		return "31" // red
	case string(errand.Cancelled), string(errand.StepSuspended), "warn", "disabled":
		return "33" // yellow
	case string(errand.Running):
		return "36" // cyan
	}
	return ""
}
