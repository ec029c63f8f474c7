package cli

import (
	"bytes"
	"context"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func (a *app) logCmd() *cobra.Command {
	var follow bool
	cmd := a.taskCmd("log TASK", "Print what a task's attempts wrote", func(ctx context.Context, s *session, project, id string) error {
		if a.structured() {
			if follow {
				return usage("--follow prints text as it comes and has no form in JSON")
			}
			return a.logJSON(ctx, s, project, id)
		}
		w := printable(a.stdout)
		if follow {
			return a.followLog(ctx, s, project, id, w)
		}
		return readLog(ctx, s, project, id, w)
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the task has ended")
	return cmd
}

// followLog writes a log as it grows. It goes on where it was when the server
// comes back.
func (a *app) followLog(ctx context.Context, s *session, project, id string, w io.Writer) error {
	l := a.link()
	for at := int64(0); ; {
		next, err := s.FollowLog(ctx, project, id, at, w)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil // Ctrl-C is how it ends
		case next > at:
			at = next
			l.heard()
		}
		if err := l.broken(err); err != nil {
			return err
		}
		if !pause(ctx, lastPoll) {
			return nil
		}
		if _, err := s.look(ctx, project, id); err == nil {
			l.heard()
		}
	}
}

func readLog(ctx context.Context, s *session, project, id string, w io.Writer) error {
	for at := int64(0); ; {
		p, err := s.Log(ctx, project, id, at, 0)
		if err != nil {
			return err
		}
		if _, err := w.Write(p.Text); err != nil {
			return err
		}
		if at = p.Next; len(p.Text) == 0 || at >= p.Size {
			return nil
		}
	}
}

func (a *app) logJSON(ctx context.Context, s *session, project, id string) error {
	var b bytes.Buffer
	if err := readLog(ctx, s, project, id, &b); err != nil {
		return err
	}
	return a.data(struct {
		Text string `json:"text"`
	}{b.String()})
}

// printable returns w itself, unless it is a terminal: there, what a program
// wrote must not move the cursor or change the keyboard.
func printable(w io.Writer) io.Writer {
	if !isTerminal(w) {
		return w
	}
	return &plainWriter{w: w}
}

// plainWriter writes escapes in place of what a terminal would obey.
type plainWriter struct {
	w    io.Writer
	rest []byte // the first bytes of a character whose end is still to come
}

func (p *plainWriter) Write(b []byte) (int, error) {
	text := append(p.rest, b...)
	whole := len(text)
	for i := range min(utf8.UTFMax-1, len(text)) {
		if at := len(text) - 1 - i; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				whole = at
			}
			break
		}
	}
	p.rest = append([]byte(nil), text[whole:]...)
	if _, err := io.WriteString(p.w, plain(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(b), nil
}
