// Package mask replaces secrets in text. A worker masks what it sends, and the
// server masks it again, since not every worker does.
package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// minSecret is the length of the shortest value that is masked: text without
// every "1" or "no" would be of no use to anybody.
const minSecret = 3

// Masker replaces secrets in text by "***", in plain form and in the usual
// encodings. Text never gets longer by it. The zero Masker replaces nothing.
type Masker struct {
	replacer *strings.Replacer
	longest  int
}

// New returns a Masker of the values of secrets. Those of less than three bytes
// are not masked.
func New(secrets map[string]string) Masker {
	forms := map[string]bool{}
	for _, v := range secrets {
		for _, f := range formsOf(v) {
			if len(f) >= minSecret {
				forms[f] = true
			}
		}
	}
	if len(forms) == 0 {
		return Masker{}
	}
	all := make([]string, 0, len(forms))
	for f := range forms {
		all = append(all, f)
	}
	// The longest first: a form may be the beginning of another.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	m := Masker{longest: len(all[0])}
	var pairs []string
	for _, f := range all {
		pairs = append(pairs, f, "***")
	}
	m.replacer = strings.NewReplacer(pairs...)
	return m
}

// formsOf returns how a value may turn up in text.
func formsOf(v string) []string {
	if len(v) < minSecret {
		return nil
	}
	forms := []string{v, strings.TrimSpace(v), url.QueryEscape(v), url.PathEscape(v), jsonEscaped(v, true), jsonEscaped(v, false)}
	for _, plain := range []string{v, v + "\n"} { // echo adds a line break
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			forms = append(forms, e.EncodeToString([]byte(plain)))
		}
	}
	for line := range strings.Lines(v) {
		forms = append(forms, strings.TrimSpace(line))
	}
	return forms
}

func jsonEscaped(v string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	_ = e.Encode(v) // strings always encode
	return strings.Trim(strings.TrimSpace(b.String()), `"`)
}

// Longest is how many bytes the longest form of a secret has.
func (m Masker) Longest() int { return m.longest }

// Text masks text.
func (m Masker) Text(s string) string {
	if m.replacer == nil {
		return s
	}
	return m.replacer.Replace(s)
}

// JSON masks every string in a JSON value, and every number that holds a secret.
// Where a secret is left that spans more than one of them, or j is no JSON, all
// of it becomes null.
func (m Masker) JSON(j json.RawMessage) json.RawMessage {
	if m.replacer == nil || j == nil {
		return j
	}
	null := json.RawMessage("null")
	d := json.NewDecoder(bytes.NewReader(j))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return null
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m.value(v)); err != nil {
		return null
	}
	masked := m.Text(strings.TrimSpace(b.String()))
	if !json.Valid([]byte(masked)) {
		return null
	}
	return json.RawMessage(masked)
}

func (m Masker) value(v any) any {
	switch v := v.(type) {
	case string:
		return m.Text(v)
	case json.Number:
		if s := m.Text(v.String()); s != v.String() {
			return s
		}
	case []any:
		for i := range v {
			v[i] = m.value(v[i])
		}
	case map[string]any:
		masked := make(map[string]any, len(v))
		for k, x := range v {
			masked[m.Text(k)] = m.value(x)
		}
		return masked
	}
	return v
}
