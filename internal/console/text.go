package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How much of a text is shown, in characters.
const (
	cutCell  = 120    // in a table
	cutLine  = 1000   // in a line of its own
	cutBlock = 20_000 // in a block
)

// clean makes any text fit to be shown in one line: what would change the text
// around it or not be seen at all is written out, and what is too long is cut.
// That it is not taken for HTML is up to the templates.
func clean(s string, limit int) string { return tidy(s, limit, false) }

// block is clean for text of several lines.
func block(s string, limit int) string { return tidy(s, limit, true) }

func tidy(s string, limit int, lines bool) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > limit {
			fmt.Fprintf(&b, "… (%d)", utf8.RuneCountInString(s))
			return b.String()
		}
		switch {
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// hidden reports whether a character is not seen, or changes how others are: an
// escape, a mark that turns the direction of writing, a line break.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || r == '\u2028' || r == '\u2029'
}

// indented returns JSON in lines, and what is not JSON as it is.
func indented(j string) string {
	if j == "" || j == "{}" {
		return ""
	}
	var b bytes.Buffer
	if json.Indent(&b, []byte(j), "", "  ") != nil {
		return block(j, cutBlock)
	}
	return block(b.String(), cutBlock)
}

// short returns the part of an id that people tell apart. Ids begin with the time.
func short(id string) string {
	if len(id) <= 12 {
		return id
	}
	return "…" + id[len(id)-8:]
}
