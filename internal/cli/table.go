package cli

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// columnIs says what a column of a table is.
type columnIs uint8

const (
	isKey    columnIs = 1 << iota // what -o name prints
	isFree                        // text that may be cut so that the table fits
	isStatus                      // its word has a colour
	isSpare                       // may be left out so that the table fits, the last one first
	isDear                        // may be left out after all spare ones
	isWide                        // only there with -o wide
)

type column struct {
	head string
	is   columnIs
}

// table is rows under headings.
type table struct {
	columns []column
	rows    [][]string
}

func newTable(columns ...column) *table { return &table{columns: columns} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// The limits of what is shown of one value, in columns of a terminal.
const (
	maxCell  = 200  // in a table
	maxLine  = 1000 // of a task or an error, where it has a line to itself
	goodCell = 16   // a column is made so narrow before another is left out
	minCell  = 8    // and so narrow after that
	gapWidth = 2    // between two columns
)

// table prints t, so that it fits the terminal if there is one.
func (a *app) table(t *table) error {
	wide := a.output == formWide
	limit, width := maxCell, a.width()
	if wide {
		limit, width = 0, 0
	}
	t = t.shown(wide)
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = textWidth(c.head)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i] = cut(cell(row[i]), limit)
			widths[i] = max(widths[i], textWidth(row[i]))
		}
	}
	if width > 0 {
		t.fit(widths, width)
	}
	return t.write(a.stdout, widths, a.paint())
}

// shown is t with the columns that -o wide adds, or without.
func (t *table) shown(wide bool) *table {
	out := &table{rows: make([][]string, len(t.rows))}
	for i, c := range t.columns {
		if c.is&isWide != 0 && !wide {
			continue
		}
		out.columns = append(out.columns, c)
		for n, row := range t.rows {
			out.rows[n] = append(out.rows[n], row[i])
		}
	}
	return out
}

// fit makes t fit into width: free columns become narrower, the widest first, then
// spare ones are left out, then free ones become narrower still. The width of what
// is left out is 0. Ids stay whole.
func (t *table) fit(widths []int, width int) {
	over := func() bool {
		sum := -gapWidth
		for _, w := range widths {
			if w > 0 {
				sum += w + gapWidth
			}
		}
		return sum > width
	}
	narrow := func(least int) {
		for over() {
			widest := -1
			for i, c := range t.columns {
				if c.is&isFree != 0 && widths[i] > max(least, textWidth(c.head)) && (widest < 0 || widths[i] > widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				return
			}
			widths[widest]--
		}
	}
	narrow(goodCell)
	for _, spare := range []columnIs{isSpare, isDear} {
		for i := len(widths) - 1; i >= 0 && over(); i-- {
			if t.columns[i].is&spare != 0 {
				widths[i] = 0
			}
		}
	}
	narrow(minCell)
}

func (t *table) write(w io.Writer, widths []int, p painter) error {
	var b strings.Builder
	line := func(cells []string, heading bool) {
		pad := 0
		for i, text := range cells {
			if widths[i] == 0 {
				continue
			}
			b.WriteString(strings.Repeat(" ", pad))
			text = cut(text, widths[i])
			pad = widths[i] - textWidth(text) + gapWidth
			switch {
			case heading:
				text = p.heading(text)
			case t.columns[i].is&isStatus != 0:
				text = p.status(text)
			}
			b.WriteString(text)
		}
		b.WriteByte('\n')
	}
	heads := make([]string, len(t.columns))
	for i, c := range t.columns {
		heads[i] = c.head
	}
	line(heads, true)
	for _, row := range t.rows {
		line(row, false)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// facts prints names with their values, one a line. Empty values are left out.
func (a *app) facts(list [][2]string) error {
	longest := 0
	for _, f := range list {
		if f[1] != "" {
			longest = max(longest, textWidth(f[0]))
		}
	}
	limit := maxLine
	if a.output == formWide {
		limit = 0
	}
	p := a.paint()
	var b strings.Builder
	for _, f := range list {
		if f[1] == "" {
			continue
		}
		value := cut(cell(f[1]), limit)
		if f[0] == "status" {
			value = p.status(value)
		}
		b.WriteString(p.heading(f[0]) + strings.Repeat(" ", longest-textWidth(f[0])+gapWidth) + value + "\n")
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// width returns how wide the terminal is that standard output goes to, or 0: as
// wide as it gets. COLUMNS says it otherwise.
func (a *app) width() int {
	if n, err := strconv.Atoi(a.getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if f, ok := a.stdout.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 0
}

// isTerminal reports whether a person reads what is written to w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// cell makes a text fit for a terminal: what the server sends may hold anything.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

// oneLine is s if all of it can be shown, and else s quoted.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.ContainsRune(s, unicode.ReplacementChar) {
		return strconv.Quote(s)
	}
	return s
}

// plain is text of several lines in which whatever a terminal would obey is
// written as an escape.
func plain(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.ContainsFunc(text, hidden) {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	var b strings.Builder
	for _, r := range text { // bytes that are not UTF-8 become U+FFFD
		if hidden(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// textWidth returns how many columns of a terminal s takes.
func textWidth(s string) int { return widths().StringWidth(s) }

// widths counts as Unicode does, whatever the locale: a character of uncertain
// width is narrow.
func widths() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// cut returns s, or as much of it as fits into width columns with a mark that
// there was more. A width of 0 is no limit. Marks without a width of their own are
// counted too: thousands of them can be put on one letter.
func cut(s string, width int) string {
	if width <= 0 {
		return s
	}
	const marks = 4 // that a letter may carry
	if runes := []rune(s); len(runes) > width*marks {
		s = string(runes[:width*marks]) + "…"
		if textWidth(s) <= width {
			return s
		}
	}
	if textWidth(s) <= width {
		return s
	}
	return widths().Truncate(s, width, "…")
}
